"""A record changes its value or its weights; what is not this plan's record stays as it is."""

from typing import Any

import pytest

from crossfade.errors import DeadlineExceeded, FatalError, PreconditionError
from crossfade.routers.base import Side


@pytest.fixture
def zone(account: Any) -> str:
    """A hosted zone ``shop.example``."""
    made = account.client("route53").create_hosted_zone(Name="shop.example", CallerReference="once")
    return str(made["HostedZone"]["Id"].removeprefix("/hostedzone/"))


def put(account: Any, zone: str, name: str, value: str, *, ttl: int = 5, **more: Any) -> None:
    record = {"Name": name, "Type": "CNAME", "TTL": ttl, "ResourceRecords": [{"Value": value}], **more}
    account.client("route53").change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    account.asked.clear()


def records(account: Any, zone: str) -> dict[str, Any]:
    shown = account.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return {
        f"{each['Name']}{each.get('SetIdentifier', '')}": each.get("Weight", each["ResourceRecords"][0]["Value"])
        for each in shown
        if each["Type"] == "CNAME"
    }


def cname(account: Any, zone: str, **changes: Any) -> Any:
    return account.router(kind="route53", **{"zone": zone, "record": "DB.shop.example", "timeout": "300ms", **changes})


def pair(account: Any, zone: str) -> Any:
    return cname(account, zone, weighted={"source": "old", "target": "new"})


def test_the_cname_is_rewritten_there_and_back_with_its_ttl(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "OLD.db.example.", ttl=3)
    put(account, zone, "db2.shop.example", "old.db.example")
    router = cname(account, zone)
    with router:
        assert router.serving() is Side.SOURCE
        router.repoint(Side.TARGET)
        assert router.serving() is Side.TARGET
    expected = {"db.shop.example.": "new.db.example", "db2.shop.example.": "old.db.example"}
    assert records(account, zone) == expected
    assert router.obstacles() == []
    changed = [params for name, params in account.asked if name == "ChangeResourceRecordSets"]
    assert [c["ResourceRecordSet"]["TTL"] for params in changed for c in params["ChangeBatch"]["Changes"]] == [3]
    router.repoint(Side.SOURCE)
    assert router.serving() is Side.SOURCE


def test_hosts_may_be_others_than_those_of_the_connections(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "a.example")
    router = cname(account, zone, source="a.example", target="b.example")
    router.repoint(Side.TARGET)
    assert records(account, zone) == {"db.shop.example.": "b.example"}


def test_a_weighted_pair_changes_places_in_one_change(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "h1", SetIdentifier="old", Weight=7)
    put(account, zone, "db.shop.example", "h2", SetIdentifier="new", Weight=0)
    router = pair(account, zone)
    assert router.serving() is Side.SOURCE
    router.repoint(Side.TARGET)
    assert router.serving() is Side.TARGET
    assert records(account, zone) == {"db.shop.example.old": 0, "db.shop.example.new": 100}
    assert account.written() == ["ChangeResourceRecordSets"]
    router.repoint(Side.SOURCE)
    assert records(account, zone) == {"db.shop.example.old": 100, "db.shop.example.new": 0}


@pytest.mark.parametrize(("weights", "seen"), [((0, 0), "every weight at 0"), ((50, 50), "seen old, new")])
def test_a_pair_that_leads_to_both_is_no_side(account: Any, zone: str, weights: tuple[int, int], seen: str) -> None:
    for name, weight in zip(("old", "new"), weights, strict=True):
        put(account, zone, "db.shop.example", name, SetIdentifier=name, Weight=weight)
    with pytest.raises(FatalError, match=seen):
        pair(account, zone).serving()


def test_a_third_record_that_takes_clients_is_refused(account: Any, zone: str) -> None:
    for name, weight in (("old", 100), ("new", 0), ("other", 1)):
        put(account, zone, "db.shop.example", name, SetIdentifier=name, Weight=weight)
    with pytest.raises(PreconditionError, match=r"leads to others, too: .*other \(1\)\. Set their weights to 0"):
        pair(account, zone).repoint(Side.TARGET)
    assert account.written() == []


def test_a_record_of_another_kind_is_refused(account: Any, zone: str) -> None:
    with pytest.raises(PreconditionError, match=f"db.shop.example in the hosted zone {zone} does not exist as a CNAME"):
        cname(account, zone).serving()
    put(account, zone, "db.shop.example", "h1", SetIdentifier="old", Weight=100)
    with pytest.raises(PreconditionError, match=r"has a routing policy \(records 'old'\): name the two"):
        cname(account, zone).repoint(Side.TARGET)
    with pytest.raises(PreconditionError, match=r"no weighted CNAME record new; there are: old \(100\)"):
        pair(account, zone).serving()
    assert account.written() == []


def test_a_value_of_neither_side_is_shown(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "elsewhere.example")
    with pytest.raises(FatalError, match=r"seen elsewhere.example\. Known: source is old.db.example, target is new"):
        cname(account, zone).serving()


def test_a_long_ttl_is_an_obstacle(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "old.db.example", ttl=300)
    assert ["TTL of 300 s, the plan allows 5 s" in each for each in cname(account, zone).obstacles()] == [True]
    assert cname(account, zone, max_ttl="5min").obstacles() == []


def test_it_waits_until_every_name_server_has_the_change(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "old.db.example")
    pending, looks = {"ChangeInfo": {"Status": "PENDING"}}, iter(range(4))
    account.answer_instead("route53", "GetChange", lambda: pending if next(looks, None) is not None else None)
    cname(account, zone, timeout="10s").repoint(Side.TARGET)
    assert [name for name, _ in account.asked].count("GetChange") == 5


def test_a_change_that_never_arrives_is_named(account: Any, zone: str) -> None:
    put(account, zone, "db.shop.example", "old.db.example")
    account.answer_instead("route53", "GetChange", lambda: {"ChangeInfo": {"Status": "PENDING"}})
    with pytest.raises(DeadlineExceeded, match=r"Route 53 db.shop.example: the change .* Seen last: status PENDING"):
        cname(account, zone).repoint(Side.TARGET)


def test_an_unknown_zone_is_named(account: Any) -> None:
    with pytest.raises(PreconditionError, match=r"no such thing as the record db.shop.example in .* ZNONE"):
        cname(account, "ZNONE").serving()
