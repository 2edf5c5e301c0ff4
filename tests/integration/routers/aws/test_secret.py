"""A connection secret gets a new version: where the database is changes, nothing else, and no password shows."""

import json
import logging
from typing import Any

import pytest

from crossfade.errors import FatalError, PreconditionError, TransientError
from crossfade.routers.base import Side

PASSWORD = "it's s3cret"
HELD = {"engine": "postgres", "host": "old.db.example", "port": 5432, "dbname": "shop", "username": "shop_app"}


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG, "crossfade")
    yield
    assert "s3cret" not in caplog.text


def create(account: Any, held: Any = None, **changes: Any) -> None:
    text = held if isinstance(held, str) else json.dumps({**HELD, "password": PASSWORD, **changes})
    account.client("secretsmanager").create_secret(Name="shop/db", SecretString=text)
    account.asked.clear()


def secret(account: Any, **changes: Any) -> Any:
    return account.router(kind="secret", **{"secret": "shop/db", **changes})


def value(account: Any, stage: str = "AWSCURRENT") -> dict[str, Any]:
    shown = account.client("secretsmanager").get_secret_value(SecretId="shop/db", VersionStage=stage)
    held: dict[str, Any] = json.loads(shown["SecretString"])
    return held


def test_the_current_version_leads_there_and_back_and_keeps_every_other_key(account: Any) -> None:
    create(account, note="naïve")
    router = secret(account)
    with router:
        assert router.serving() is Side.SOURCE
        router.repoint(Side.TARGET)
        assert router.serving() is Side.TARGET
    there = {"host": "new.db.example", "port": 5433, "dbname": "shop2"}
    assert value(account) == {**HELD, "password": PASSWORD, "note": "naïve", **there}
    assert value(account, "AWSPREVIOUS")["host"] == "old.db.example"
    router.repoint(Side.SOURCE)
    assert router.serving() is Side.SOURCE
    assert value(account) == {**HELD, "password": PASSWORD, "note": "naïve"}


def test_identifiers_and_a_port_as_text_follow(account: Any) -> None:
    create(account, port="5432", dbInstanceIdentifier="shop-old")
    router = secret(account, target={"host": "c.example", "port": 6432, "cluster": "shop-new"})
    router.repoint(Side.TARGET)
    held = value(account)
    assert (held["host"], held["port"], held["dbClusterIdentifier"]) == ("c.example", "6432", "shop-new")
    assert "dbInstanceIdentifier" not in held


def test_what_is_done_already_is_not_done_again(account: Any) -> None:
    create(account)
    secret(account).repoint(Side.TARGET)
    account.asked.clear()
    secret(account).repoint(Side.TARGET)
    secret(account).resume()
    assert account.written() == []


def test_a_password_rotated_in_the_same_moment_is_not_undone(account: Any) -> None:
    create(account)
    rotated = json.dumps({**HELD, "password": "rotated"})

    handlers = [1]

    def rotate(**_: Any) -> None:
        if not handlers:
            return
        handlers.clear()
        account.client("secretsmanager").put_secret_value(SecretId="shop/db", SecretString=rotated)

    account.on("secretsmanager", "provide-client-params.*.UpdateSecretVersionStage", rotate)
    with pytest.raises(TransientError, match="got a new version in the same moment") as caught:
        secret(account).repoint(Side.TARGET)
    assert PASSWORD not in str(caught.value)
    assert value(account)["password"] == "rotated"
    assert secret(account).serving() is Side.SOURCE
    secret(account).repoint(Side.TARGET)
    assert value(account)["password"] == "rotated"
    assert secret(account).serving() is Side.TARGET


def test_a_host_of_neither_side_is_shown(account: Any) -> None:
    create(account, port=5555)
    with pytest.raises(FatalError, match=r"seen old.db.example:5555\. Known: source is old.db.example:5432, target is"):
        secret(account).serving()


@pytest.mark.parametrize("held", [f"password={PASSWORD}", f'["{PASSWORD}"]', '{"password": "s3cret"}'])
def test_a_secret_of_another_form_is_refused_without_being_shown(account: Any, held: str) -> None:
    create(account, held)
    with pytest.raises(PreconditionError, match="is no JSON object with the key 'host'") as caught:
        secret(account).repoint(Side.TARGET)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert account.written() == []


def test_obstacles_are_a_rotation_an_owner_and_other_keys_with_the_host(account: Any) -> None:
    create(account, url=f"postgresql://shop_app:{PASSWORD}@old.db.example/shop")
    seen = {"OwningService": "rds", "VersionIdsToStages": {"v9": ["AWSPENDING"]}}
    account.answer_instead("secretsmanager", "DescribeSecret", lambda: seen)
    said = secret(account).obstacles()
    assert len(said) == 3
    assert "belongs to rds" in said[0]
    assert "is being rotated" in said[1]
    assert "also names the host under url" in said[2]
    assert "s3cret" not in "".join(said)


def test_nothing_stands_in_the_way_of_an_ordinary_secret(account: Any) -> None:
    create(account)
    assert secret(account).obstacles() == []


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("AccessDeniedException", PreconditionError, "Allow secretsmanager:PutSecretValue"),
        ("ThrottlingException", TransientError, "throttled PutSecretValue"),
    ],
)
def test_an_error_of_aws_names_the_action(account: Any, code: str, kind: type[Exception], said: str) -> None:
    create(account)
    account.fail("secretsmanager", "put_secret_value", code)
    with pytest.raises(kind, match=said):
        secret(account).repoint(Side.TARGET)


def test_an_unknown_secret_is_named(account: Any) -> None:
    with pytest.raises(PreconditionError, match="no such thing as the secret 'shop/db'"):
        secret(account).serving()
