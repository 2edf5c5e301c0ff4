"""The operators that drop and restore NOT NULL, against a real journal on a real target."""

import json

import pytest

from crossfade.errors import NotOursToWrite, PreconditionError
from crossfade.journal import State, open_journal
from crossfade.plan import parse_plan
from crossfade_airflow.connections import endpoint
from crossfade_airflow.operators import DropNotNullOperator, RestoreNotNullOperator
from crossfade_lab import testing

OF_PLAN = {"plan": "shop", "target_conn_id": "shop_target"}
PLAN = {
    "source": "shop_source",
    "target": "shop_target",
    "routers": [
        {"kind": "pgbouncer", "admin": ["console"], "database": "shop", "switch": {"file": "/tmp/databases.ini"}}
    ],
    "cutover": {"application_roles": ["shop_app"], "approvers": ["alice"]},
}


@pytest.fixture(scope="module")
def server():
    with testing.server(18) as running:
        yield running


@pytest.fixture
def journal(server, monkeypatch):
    found = {"conn_type": "postgres", "host": server.host, "port": server.port, "schema": "postgres"}
    for name in ("SOURCE", "TARGET"):
        login = {"login": server.user, "password": server.password}
        monkeypatch.setenv(f"AIRFLOW_CONN_SHOP_{name}", json.dumps(found | login))
    with endpoint("shop_target", needed_by="the test").session("test") as conn:
        conn.execute("DROP SCHEMA IF EXISTS crossfade CASCADE; DROP TABLE IF EXISTS notes")
        conn.execute('CREATE TABLE notes (id int PRIMARY KEY, "Full Text" text NOT NULL)')
        opened = open_journal(conn)
        opened.pin(parse_plan(PLAN, name="shop"))
        yield opened


def nullable(journal):
    query = "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'notes'::regclass AND attname = 'Full Text'"
    return not journal.conn.execute(query).fetchone()["attnotnull"]


def drop(columns=(("public", "notes", "Full Text"),)):
    return DropNotNullOperator(task_id="drop", columns=[list(column) for column in columns], **OF_PLAN)


def test_not_null_goes_and_comes_back(journal):
    assert drop().execute({}) == 1
    assert nullable(journal)
    assert drop().execute({}) == 0
    assert RestoreNotNullOperator(task_id="restore", **OF_PLAN).execute({}) == 1
    assert not nullable(journal)


def test_it_is_not_dropped_where_the_target_serves_but_is_restored_there(journal):
    drop().execute({})
    journal.set_state(journal.get("shop").id, State.CUT_OVER)
    with pytest.raises(NotOursToWrite, match="cut over"):
        drop().execute({})
    RestoreNotNullOperator(task_id="restore", **OF_PLAN).execute({})
    assert not nullable(journal)


@pytest.mark.parametrize("column", [["notes", "id"], ["public", "notes", ""], "abc"])
def test_what_is_not_a_column_is_refused(journal, column):
    operator = DropNotNullOperator(task_id="drop", columns=[column], **OF_PLAN)
    with pytest.raises(PreconditionError, match="Give each as a list of three"):
        operator.execute({})
    assert not nullable(journal)


def test_columns_are_rendered():
    assert "columns" in DropNotNullOperator.template_fields
