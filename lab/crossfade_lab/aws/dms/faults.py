"""Faults that a test asks for over a private path of the server: faults of workers, killed workers, throttling."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from crossfade_lab.aws.dms.errors import DmsClientError
from crossfade_lab.aws.dms.models import LocalDms, dms_backends
from crossfade_lab.aws.dms.tasks import ReplicationTask

PATH = "/_lab/"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Faults:
    """WSGI middleware before moto: answers the private path, and throttles the actions it was told to.

    :param application: what answers everything else
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._throttled: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith(PATH):
            return self._control(path.removeprefix(PATH), environ, start_response)
        if +self._throttled and self._takes_turn(_action(environ)):
            return _refuse(environ, start_response)
        return self._application(environ, start_response)

    def _takes_turn(self, action: str) -> bool:
        if self._throttled[action] < 1:
            return False
        self._throttled[action] -= 1
        return True

    def _control(self, verb: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = json.loads(_body(environ) or "{}")
        try:
            answer = self._carry_out(verb, asked)
        except (DmsClientError, KeyError) as error:
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [f"{verb}: {getattr(error, 'message', None) or error!r}".encode()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _carry_out(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        if verb == "throttle":
            self._throttled[asked["action"]] = int(asked["times"])
        elif verb == "fault":
            _task(asked["task"]).directory.faults(asked["faults"])
        elif verb == "kill":
            with LocalDms.lock:
                return {"killed": _task(asked["task"]).kill_worker()}
        elif verb == "directory":
            return {"directory": str(_task(asked["task"]).directory.path)}
        elif verb != "health":
            raise KeyError(verb)
        return {}


def _task(arn: str) -> ReplicationTask:
    _, _, _, region, account, *_ = arn.split(":")
    return dms_backends[account][region].task(arn)


def _action(environ: dict[str, Any]) -> str:
    """The action of a request of the JSON, the query or the RPC protocol; empty for others (S3, Route 53)."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rpartition(".")[2]
    if "/operation/" in environ.get("PATH_INFO", ""):
        return str(environ["PATH_INFO"]).rpartition("/")[2]
    if str(environ.get("CONTENT_TYPE", "")).startswith("application/x-www-form-urlencoded"):
        return parse_qs(_body(environ)).get("Action", [""])[0]
    return ""


def _body(environ: dict[str, Any]) -> str:
    """The body, which stays readable for whoever comes next."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body.decode()


def _refuse(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """ThrottlingException, as the protocol of the request has it."""
    if "HTTP_X_AMZ_TARGET" in environ:
        kind, body = "application/x-amz-json-1.1", json.dumps({"__type": "ThrottlingException", "message": _RATE})
    elif "/operation/" in environ.get("PATH_INFO", ""):
        kind, body = "application/cbor", ""
    else:
        error = f"<Error><Type>Sender</Type><Code>Throttling</Code><Message>{_RATE}</Message></Error>"
        kind, body = "text/xml", f"<ErrorResponse>{error}<RequestId>lab</RequestId></ErrorResponse>"
    headers = [("Content-Type", kind), ("X-Amzn-ErrorType", "ThrottlingException")]
    start_response("400 Bad Request", [*headers, ("Content-Length", str(len(body)))])
    return [body.encode()]


_RATE = "Rate exceeded"
