import json
import logging

import pytest
from airflow.sdk.log import mask_logs

from crossfade.errors import PreconditionError
from crossfade_airflow.connections import (
    UnusableConnection,
    aws_client,
    endpoint,
    http_endpoint,
    resolver,
    ssh_endpoint,
)

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


SSH = {
    "conn_type": "ssh",
    "host": "pool-1.example",
    "port": 2222,
    "login": "deploy",
    "password": "ssh s3cret",
    "extra": {
        "private_key": "the k3y's text",
        "private_key_passphrase": "p4ssphrase",
        "host_key": "ssh-ed25519 AAAA",
        "compress": True,
    },
}


def test_an_ssh_connection_is_read_as_its_provider_writes_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_POOL_1", json.dumps(SSH))
    found = ssh_endpoint("pool_1")
    assert (found.name, found.address, found.user, found.password) == (
        "pool_1",
        "pool-1.example:2222",
        "deploy",
        "ssh s3cret",
    )
    assert (found.private_key, found.passphrase) == ("the k3y's text", "p4ssphrase")
    assert (found.host_key, found.no_host_key_check) == ("ssh-ed25519 AAAA", False)
    for secret in ("ssh s3cret", "the k3y's text", "p4ssphrase"):
        assert secret not in mask_logs(logging.getLogger(), "info", {"event": f"seen {secret}"})["event"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"conn_type": "postgres"}, "is of type 'postgres': make it one of type ssh"),
        ({"host": ""}, "has no host"),
        ({"login": None}, "has no login"),
        ({"extra": {"no_host_key_check": True, "host_key": "AAAA"}}, "has a host key, and no_host_key_check"),
        ({"extra": {"host_proxy_cmd": "nc x"}}, "proxy command"),
        ({"extra": "[]"}, "not a JSON object"),
    ],
)
def test_an_ssh_connection_that_cannot_be_used_says_why(monkeypatch, changes, problem):
    monkeypatch.setenv("AIRFLOW_CONN_POOL_1", json.dumps({**SSH, **changes}))
    with pytest.raises(UnusableConnection, match=rf"'pool_1', which the plan 'shop' names, .*{problem}") as caught:
        ssh_endpoint("pool_1", needed_by="the plan 'shop'")
    assert "s3cret" not in str(caught.value)


def test_a_missing_ssh_connection_is_named():
    with pytest.raises(UnusableConnection, match="'pool_nowhere', which the plan names, does not exist"):
        ssh_endpoint("pool_nowhere")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "example.org", "port": None, "schema": "https"}, "https://example.org/on"),
        ({"host": "example.org", "port": 8080, "schema": None}, "http://example.org:8080/on"),
        ({"host": "https://example.org", "port": 8443, "schema": None}, "https://example.org:8443/on"),
        ({"host": "https://example.org/api/", "port": None, "schema": None}, "https://example.org/api/on"),
    ],
)
def test_an_http_connection_leads_where_the_http_provider_would_go(define, fields, url):
    define("page", conn_type="http", **fields)
    assert http_endpoint("page").url("/on") == url


def test_extras_of_an_http_connection_are_headers_but_for_options(define):
    extra = {"X-Token": "t0ken", "headers": {"Authorization": "Bearer s3cret"}, "verify": "/ca.pem", "timeout": 5}
    define("page", conn_type="http", schema="https", extra=extra)
    found = http_endpoint("page")
    assert found.headers == {"X-Token": "t0ken", "Authorization": "Bearer s3cret"}
    assert found.verify == "/ca.pem"
    logged = mask_logs(logging.getLogger(), "info", {"event": f"{found.headers} {found.password}"})["event"]
    assert "s3cret" not in logged
    assert "t0ken" not in logged


def test_an_http_connection_without_a_host_says_so(define):
    define("page", conn_type="http", host=None, schema=None, port=None)
    with pytest.raises(UnusableConnection, match=r"'page'.*leads to no host"):
        http_endpoint("page")
    with pytest.raises(UnusableConnection, match="does not exist"):
        http_endpoint("nowhere")
