"""An AWS account as moto serves it, within this process, and two databases that nobody connects to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from crossfade.connect import Endpoint
from crossfade.plan import parse_plan
from crossfade.routers import switching
from crossfade.routers.base import Router, Side
from crossfade.routers.declared import router_of

SIDES = {
    Side.SOURCE: Endpoint(name="shop_source", host="old.db.example", port=5432, dbname="shop", user="crossfade"),
    Side.TARGET: Endpoint(name="shop_target", host="new.db.example", port=5433, dbname="shop2", user="crossfade"),
}


@cache
def _client(service: str) -> Any:
    """Made once: to read a service's model takes longer than a test. moto answers every client, while it is on."""
    keys = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}
    return boto3.client(service, region_name="eu-west-1", **keys)


class Account:
    """An account's clients; what they were asked is kept as ``(operation, parameters)``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._over = False

    def on(self, service: str, event: str, handler: Callable[..., None]) -> None:
        """Call a handler at an event of botocore, until the test ends."""

        def call(**what: Any) -> None:
            if not self._over:
                handler(**what)

        _client(service).meta.events.register(event, call)

    def close(self) -> None:
        """From now on the clients are another account's."""
        self._over = True

    def client(self, service: str) -> Any:
        """A boto3 client of that service."""
        return _client(service)

    def clients(self, conn_id: str, service: str) -> Any:
        """As a migration is given them."""
        assert conn_id == "aws_shop"
        return self.client(service)

    def router(self, **declared: Any) -> Any:
        """The router of a plan that declares it so."""
        raw = {
            "source": "shop_source",
            "target": "shop_target",
            "routers": [{"aws": "aws_shop", **declared}],
            "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
        }
        entry = parse_plan(raw, name="shop").routers[0]
        found: Router = router_of(entry, sides=SIDES, resolve=lambda name: SIDES[Side(name)], clients=self.clients)
        return found

    def written(self) -> list[str]:
        """Operations asked for so far that change something."""
        return [name for name, _ in self.asked if not name.startswith(("Describe", "List", "Get"))]

    def answer_instead(self, service: str, operation: str, answer: Callable[[], dict[str, Any] | None]) -> None:
        """Let an operation show a state that moto does not have; None: what moto shows."""

        def replace(parsed: dict[str, Any], **_: Any) -> None:
            parsed.update(answer() or {})

        self.on(service, f"after-call.*.{operation}", replace)

    def fail(self, service: str, operation: str, code: str) -> None:
        """Let an operation (in boto3's spelling) fail with that code of AWS."""
        name = self.client(service).meta.method_to_api_mapping[operation]
        error = ClientError({"Error": {"Code": code, "Message": "seen"}}, name)

        def refuse(**_: Any) -> None:
            raise error

        self.on(service, f"before-call.*.{name}", refuse)

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Keep what is asked."""
        self.asked.append((model.name, params))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An empty account."""
    monkeypatch.setattr(switching, "POLL", 0.02)
    made = Account()
    for service in ("rds", "route53", "secretsmanager"):
        made.on(service, "provide-client-params.*", made.note)
    try:
        with mock_aws():
            yield made
    finally:
        made.close()
