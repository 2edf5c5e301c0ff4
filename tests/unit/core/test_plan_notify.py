"""Who is told of a failed validation: refused with the key and what to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crossfade.errors import PlanError
from crossfade.plan import Plan, parse_plan
from crossfade.plan_notify import NotifyEmail, NotifySlack, NotifySns

TOPIC = "arn:aws:sns:eu-west-1:123456789012:nightly"
SLACK = {"slack": "slack_api_default", "channel": "#databases"}
EMAIL = {"email": "team@shop.example"}


def plan(notify: Any) -> Plan:
    return parse_plan(
        {
            "source": "shop_source",
            "target": "shop_target",
            "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
            "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
            "validate": {"notify": notify},
        },
        name="shop",
    )


def test_each_kind_has_its_connection() -> None:
    slack, sns, email, other = plan(
        [
            SLACK,
            {"sns": TOPIC},
            EMAIL,
            {"email": ["a@b.example", "c@d.example"], "smtp": "relay", "from": "e@f.example"},
        ]
    ).validation.notify
    assert isinstance(slack, NotifySlack) and isinstance(sns, NotifySns) and isinstance(email, NotifyEmail)
    assert [each.connection for each in (slack, sns, email, other)] == [
        "slack_api_default",
        "aws_default",
        "smtp_default",
        "relay",
    ]
    assert sns.region == "eu-west-1"
    assert isinstance(other, NotifyEmail)
    assert (other.email, other.sender) == (("a@b.example", "c@d.example"), "e@f.example")


def test_one_is_taken_for_a_list_of_one_and_nobody_is_told_by_default() -> None:
    assert plan(SLACK).validation.notify == plan([SLACK]).validation.notify
    assert plan([]).validation.notify == ()


def test_a_plan_as_it_is_pinned_is_read_again() -> None:
    written = plan([SLACK, {"sns": TOPIC}, {**EMAIL, "from": "a@b.example"}])
    assert parse_plan(json.loads(written.to_json()), name="shop") == written


@pytest.mark.parametrize(
    ("notify", "key", "problem"),
    [
        ({"slack": "s"}, "0.channel", "this key is required"),
        ({"slack": "s", "channel": None}, "0.channel", 'write "#databases" in quotes'),
        ({"slack": "s", "channel": "data bases"}, "0.channel", "got 'data bases'"),
        ({"slack": "", "channel": "x"}, "0.slack", "at least 1 character"),
        ([SLACK, {"slack": "s", "chanel": "x"}], "1.chanel", "unknown key. Did you mean 'channel'?"),
        ({"sns": "nightly"}, "0.sns", "'nightly' is no topic's ARN: arn:aws:sns:<region>"),
        ({"sns": TOPIC.replace("2:", ":")}, "0.sns", "12 digits"),
        ({"sns": f"{TOPIC}\n"}, "0.sns", "is no topic's ARN"),
        ({"sns": f"{TOPIC}.fifo"}, "0.sns", "is a FIFO topic"),
        ({"email": "team"}, "0.email.0", "'team' is no e-mail address"),
        ({"email": ["a@b.example", "a@b.example\nBcc: c@d.example"]}, "0.email.1", "is no e-mail address"),
        ({"email": "a@b.example\n"}, "0.email.0", "is no e-mail address"),
        ({"email": []}, "0.email", "at least 1 item"),
        ({**EMAIL, "from": "Team <a@b.example>"}, "0.from", "write it without a name"),
        ({**EMAIL, **SLACK}, "0", "exactly one of slack, sns, email"),
        ({"pager": "p"}, "0", "exactly one of slack, sns, email"),
        ("slack", "", "got 'slack'"),
    ],
)
def test_an_error_names_the_key_and_what_to_write(notify: Any, key: str, problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(notify)
    assert caught.value.key == f"validate.notify.{key}".rstrip(".")
    assert problem in str(caught.value)
