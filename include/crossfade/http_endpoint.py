"""Where the HTTP calls of hooks go, and with what they authenticate; from a connection, never from a plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from crossfade.errors import PreconditionError


class NoHttpHere(PreconditionError):
    """The plan names an HTTP connection, but nothing here can turn one into an address."""


class HttpMisdeclared(PreconditionError):
    """What should say where an HTTP connection leads cannot be read."""

    def __init__(self, *, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"the HTTP connection {name!r} {problem}")


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpEndpoint:
    """One host that is called. Secrets never show in its repr."""

    name: str  #: what people call it: the connection id
    base_url: str  #: scheme, host, port, and a path in front of all others; without a login
    user: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True  #: whether its certificate is checked, or against which bundle of CAs

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HttpMisdeclared(name=self.name, problem="leads to no host: give it one, and http or https")

    def url(self, path: str) -> str:
        """The whole URL of a path."""
        return self.base_url.rstrip("/") + path

    @classmethod
    def from_text(cls, name: str, text: str) -> HttpEndpoint:
        """
        Of ``https://user:password@host/base``, or of JSON with the keys url and headers. Raises `HttpMisdeclared`.

        The text shows in no error.
        """
        headers: Mapping[str, str] = {}
        if text.lstrip().startswith("{"):
            try:
                told = json.loads(text)
                text, headers = str(told["url"]), {str(k): str(v) for k, v in told.get("headers", {}).items()}
            except (ValueError, KeyError, AttributeError):
                raise HttpMisdeclared(name=name, problem='is no JSON such as {"url": …, "headers": {…}}') from None
        try:
            parts = urlsplit(text)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
            place = f"{host}:{parts.port}" if parts.port else host
        except ValueError:
            raise HttpMisdeclared(name=name, problem="is no URL such as https://user:password@host") from None
        return cls(
            name=name,
            base_url=f"{parts.scheme}://{place}{parts.path}",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            headers=headers,
        )


Http = Callable[[str], HttpEndpoint]  #: HTTP connection id -> where it leads


def no_http(conn_id: str) -> HttpEndpoint:
    """For migrations without HTTP connections. Raises `NoHttpHere`."""
    raise NoHttpHere(
        f"the plan names the HTTP connection {conn_id!r}, but none are configured here: run this as an Airflow task or "
        "with the command crossfade"
    )
