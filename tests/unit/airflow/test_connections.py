import json
import logging

import pytest
from airflow.sdk.log import mask_logs

from crossfade.errors import PreconditionError
from crossfade_airflow.connections import UnusableConnection, aws_client, endpoint, resolver

PASSWORD = "it's s3cret%40\\x"
WHOLE = {
    "conn_type": "postgres",
    "host": "db.example",
    "port": 6543,
    "schema": "shop",
    "login": "crossfade",
    "password": PASSWORD,
    "extra": {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "keepalives": True, "cursor": "dictcursor"},
}


@pytest.fixture
def define(monkeypatch):
    def define(conn_id, **fields):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**WHOLE, **fields}))

    return define


def test_an_endpoint_carries_what_libpq_knows_and_nothing_else(define):
    define("shop_source")
    found = endpoint("shop_source", needed_by="a test")
    assert (found.name, found.host, found.port, found.dbname) == ("shop_source", "db.example", 6543, "shop")
    assert (found.user, found.password) == ("crossfade", PASSWORD)
    assert found.options == {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "keepalives": "1"}


@pytest.mark.parametrize("shown", ["{0.password}", "{1}", "cannot connect: {1} refused", "password={0.password} host"])
def test_the_password_and_conninfos_never_show_in_a_log(define, shown):
    define("shop_source")
    found = endpoint("shop_source", needed_by="a test")
    text = shown.format(found, found.conninfo())
    logged = mask_logs(logging.getLogger(), "info", {"event": text})["event"]
    assert "s3cret" not in logged
    assert "***" in logged


def test_a_missing_connection_is_named_with_its_plan():
    with pytest.raises(
        UnusableConnection, match=r"'shop_nowhere', which the plan 'shop' names, does not exist"
    ) as caught:
        resolver("shop")("shop_nowhere")
    assert isinstance(caught.value, PreconditionError)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": None}, "has no host"),
        ({"schema": ""}, "has no database"),
        ({"login": None}, "has no login"),
        ({"extra": {"iam": True}}, "IAM"),
    ],
)
def test_a_connection_that_lacks_something_says_what(define, fields, problem):
    define("shop_source", **fields)
    with pytest.raises(UnusableConnection, match=problem):
        endpoint("shop_source", needed_by="a test")


AWS = {
    "conn_type": "aws",
    "login": "AKIALAB",
    "password": "aws s3cret",
    "extra": {"region_name": "eu-west-3", "endpoint_url": "http://127.0.0.1:5999"},
}


def test_an_aws_client_is_what_its_connection_says_and_retries_adaptively(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps(AWS))
    client = aws_client("aws_shop", "rds")
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-3", "http://127.0.0.1:5999")
    assert client.meta.config.retries["mode"] == "adaptive"
    assert client.meta.config.read_timeout == 30


def test_an_aws_connection_may_say_otherwise(monkeypatch):
    extra = {**AWS["extra"], "config_kwargs": {"read_timeout": 77}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SHOP", json.dumps({**AWS, "extra": extra}))
    config = aws_client("aws_shop", "secretsmanager").meta.config
    assert (config.read_timeout, config.retries["mode"]) == (77, "adaptive")


def test_a_missing_aws_connection_is_named_and_never_replaced_by_the_workers_own_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "worker")
    with pytest.raises(UnusableConnection, match=r"'aws_nowhere', which the plan \(for rds\) names, does not exist"):
        aws_client("aws_nowhere", "rds")
