"""The assessment finds what a switch in AWS would meet, before anything starts."""

import json
from typing import Any

from crossfade.assess import CHECKS, Severity


def problems(check: str, *routers: Any) -> list[tuple[str, str]]:
    return [(problem.object, problem.seen) for problem in CHECKS[check].function(switches=list(routers))]


def test_a_router_that_is_missing_or_leads_to_the_target_is_a_blocker_and_one_in_order_is_none(account: Any) -> None:
    def secret(name: str) -> Any:
        return account.router(kind="secret", secret=name)

    for name, host, port in (("good", "old.db.example", 5432), ("moved", "new.db.example", 5433)):
        text = json.dumps({"host": host, "port": port})
        account.client("secretsmanager").create_secret(Name=name, SecretString=text)
    found = problems("routers.serves_source", secret("good"), secret("moved"), secret("unknown"))
    assert CHECKS["routers.serves_source"].severity is Severity.BLOCKER
    assert found[0] == ("secret moved", "it leads to the target")
    assert found[1][0] == "secret unknown"
    assert "no such thing as the secret 'unknown'" in found[1][1]
    assert len(found) == 2


def test_that_clients_will_notice_is_a_warning(account: Any) -> None:
    (said,) = problems("routers.hold_clients", account.router(kind="secret", secret="good"))
    assert "cannot hold clients" in said[1]
    assert problems("routers.hold_clients") == []
