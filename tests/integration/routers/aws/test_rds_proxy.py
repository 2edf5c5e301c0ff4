"""An RDS Proxy changes its target, waits until it can be written to, and names the reason where it cannot."""

from typing import Any

import pytest

from crossfade.errors import DeadlineExceeded, FatalError, PreconditionError, TransientError
from crossfade.routers.base import Pausing, Side


@pytest.fixture
def proxied(account: Any) -> Any:
    """A proxy that leads to the instance ``old``; beside it a cluster ``new``."""
    rds = account.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="old", DBInstanceClass="db.m6g.large", Engine="postgres", MasterUsername="m",
        MasterUserPassword="a password", AllocatedStorage=20,
    )  # fmt: skip
    rds.create_db_cluster(
        DBClusterIdentifier="new", Engine="aurora-postgresql", MasterUsername="m", MasterUserPassword="a password"
    )
    (first, *_) = account.client("ec2").describe_subnets()["Subnets"]
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop"
    rds.create_db_proxy(
        DBProxyName="shop-proxy", EngineFamily="POSTGRESQL", RoleArn="arn:aws:iam::123456789012:role/proxy",
        VpcSubnetIds=[first["SubnetId"]], Auth=[{"AuthScheme": "SECRETS", "SecretArn": secret}],
    )  # fmt: skip
    rds.register_db_proxy_targets(DBProxyName="shop-proxy", DBInstanceIdentifiers=["old"])
    rds.describe_db_proxy_targets(DBProxyName="shop-proxy")  # as moto has it, the first look sees REGISTERING
    account.asked.clear()
    return account


def proxy(account: Any, **changes: Any) -> Any:
    declared = {"proxy": "shop-proxy", "source": {"instance": "old"}, "target": {"cluster": "new"}, "timeout": "300ms"}
    return account.router(kind="rds_proxy", **{**declared, **changes})


def health(account: Any, *answers: dict[str, Any]) -> None:
    """Let the proxy show the cluster like this, one answer a look, the last one for ever."""
    left = list(answers)

    def answer() -> dict[str, Any]:
        shown = left.pop(0) if len(left) > 1 else left[0]
        tracked = {"Type": "TRACKED_CLUSTER", "RdsResourceId": "new"}
        member = {"Type": "RDS_INSTANCE", "RdsResourceId": "new-1", "TrackedClusterId": "new", **shown}
        return {"Targets": [tracked, member]}

    account.answer_instead("rds", "DescribeDBProxyTargets", answer)


def test_the_target_is_exchanged_there_and_back(proxied: Any) -> None:
    router = proxy(proxied)
    with router:
        assert router.serving() is Side.SOURCE
        router.repoint(Side.TARGET)
        assert router.serving() is Side.TARGET
        shown = proxied.client("rds").describe_db_proxy_targets(DBProxyName="shop-proxy")["Targets"]
        assert [target["RdsResourceId"] for target in shown] == ["new"]
        router.repoint(Side.SOURCE)
        assert router.serving() is Side.SOURCE


def test_what_is_done_already_is_not_done_again(proxied: Any) -> None:
    router = proxy(proxied)
    router.repoint(Side.SOURCE)
    router.resume()
    assert proxied.written() == []


def test_a_proxy_left_without_a_target_is_on_neither_side_and_can_be_repointed(proxied: Any) -> None:
    proxied.client("rds").deregister_db_proxy_targets(DBProxyName="shop-proxy", DBInstanceIdentifiers=["old"])
    with pytest.raises(
        FatalError, match=r"no registered target\. Known: source is instance old, target is cluster new"
    ):
        proxy(proxied).serving()
    proxy(proxied).repoint(Side.TARGET)
    assert proxy(proxied).serving() is Side.TARGET


def test_a_database_of_nobody_knows_whom_is_left_alone(proxied: Any) -> None:
    proxied.client("rds").register_db_proxy_targets(DBProxyName="shop-proxy", DBInstanceIdentifiers=["other"])
    proxied.asked.clear()
    with pytest.raises(FatalError, match="seen instance old, instance other"):
        proxy(proxied).serving()
    with pytest.raises(FatalError, match="seen instance other"):
        proxy(proxied).repoint(Side.TARGET)
    assert proxied.written() == []


def test_it_waits_for_the_writer_of_a_cluster(proxied: Any) -> None:
    reader = {"Role": "READ_ONLY", "TargetHealth": {"State": "AVAILABLE"}}
    writer = {"Role": "READ_WRITE", "TargetHealth": {"State": "REGISTERING"}}
    health(proxied, reader, reader, writer, {"Role": "READ_WRITE", "TargetHealth": {"State": "AVAILABLE"}})
    router = proxy(proxied, timeout="10s")
    router.repoint(Side.TARGET)
    looks = [name for name, _ in proxied.asked if name == "DescribeDBProxyTargets"]
    assert len(looks) >= 5


def test_a_target_that_stays_away_is_named_with_the_proxys_reason(proxied: Any) -> None:
    seen = {"State": "UNAVAILABLE", "Reason": "AUTH_FAILURE", "Description": "no credentials for shop_app"}
    health(proxied, {"TargetHealth": seen})
    said = r"AUTH_FAILURE no credentials for shop_app \(the proxy's secrets must hold"
    with pytest.raises(DeadlineExceeded, match=said) as caught:
        proxy(proxied).repoint(Side.TARGET)
    assert isinstance(caught.value, TransientError)
    assert "cluster new as its only target was not done within 0.3 s" in str(caught.value)


def test_obstacles_are_unknown_databases_and_an_unwell_proxy(proxied: Any) -> None:
    assert proxy(proxied).obstacles() == []
    unknown = proxy(proxied, target={"cluster": "nwe"}).obstacles()
    assert ["the target, cluster nwe, does not exist" in each for each in unknown] == [True]
    sick = [{"Type": "RDS_INSTANCE", "RdsResourceId": "old", "TargetHealth": {"State": "UNAVAILABLE"}}]
    proxied.answer_instead("rds", "DescribeDBProxyTargets", lambda: {"Targets": sick})
    (said,) = proxy(proxied).obstacles()
    assert "does not find instance old available: UNAVAILABLE" in said


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("DBProxyNotFoundFault", PreconditionError, "no such thing as the RDS Proxy 'shop-proxy'"),
        ("AccessDenied", PreconditionError, "Allow rds:DescribeDBProxyTargets"),
        ("Throttling", TransientError, "throttled"),
    ],
)
def test_an_error_of_aws_names_proxy_and_action(account: Any, code: str, kind: type[Exception], said: str) -> None:
    account.fail("rds", "describe_db_proxy_targets", code)
    with pytest.raises(kind, match=said):
        proxy(account).serving()


def test_it_cannot_hold_clients_and_says_what_they_see(account: Any) -> None:
    assert not isinstance(proxy(account), Pausing)
    assert "their sessions end" in proxy(account).effect()
