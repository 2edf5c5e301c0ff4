"""As whom AWS DMS logs in, on either side and in either direction."""

from __future__ import annotations

from typing import Any

import pytest

from crossfade.connect import Endpoint
from crossfade.engines.dms.access import RoleUnknown, dms_role, role_of_way_back, role_of_way_forward
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side

ARN = "arn:aws:dms:eu-west-1:123456789012:endpoint:AGAIN"


class Aws:
    """AWS, which knows one endpoint with its login in a secret."""

    def describe_endpoints(self, **_: Any) -> dict[str, Any]:
        return {"Endpoints": [{"EndpointIdentifier": "again", "EndpointArn": ARN}]}


def migration(back: dict[str, Any], **more: Any) -> Migration:
    """Whose connections have the role of their name."""
    declared = {
        "source": "shop_source",
        "target": "shop_target",
        "engine": "dms",
        "dms": {
            "instance": {"class": "dms.r6i.large"},
            "source": {"connection": "reads"},
            "target": {"connection": "writes"},
            "back": back,
            **more,
        },
        "tables": {"include": ["public.*"]},
        "routers": [{"kind": "secret", "secret": "shop"}],
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"], "smoke": ["select 1"]},
        "rollback": {"way_back": "dms"},
    }

    def resolve(asked: str) -> Endpoint:
        return Endpoint(name=asked, host="h", dbname="shop", user=asked, password="p")

    return Migration(parse_plan(declared, name="shop"), resolve, lambda conn_id, service: Aws())


def test_by_default_the_same_roles_go_either_way() -> None:
    m = migration({})
    assert (dms_role(m, Side.SOURCE), role_of_way_forward(m), role_of_way_back(m, Side.SOURCE)) == ("reads",) * 3
    assert role_of_way_forward(migration({}, source_role="named")) == "named"


def test_after_a_rollback_the_source_is_read_as_whom_its_own_endpoint_logs_in() -> None:
    m = migration({"again": {"connection": "reads_again"}}, source_role="named")
    assert dms_role(m, Side.SOURCE) == "named"
    assert role_of_way_forward(m) == "reads_again"


def test_a_login_in_a_secret_is_named_by_the_plan() -> None:
    assert role_of_way_forward(migration({"again": ARN}, source_role="named")) == "named"
    with pytest.raises(RoleUnknown, match=r"Name the role in the plan: dms\.source_role"):
        role_of_way_forward(migration({"again": ARN}))
