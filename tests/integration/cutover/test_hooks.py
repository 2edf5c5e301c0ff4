"""Hooks before and after a cutover: SQL on real servers, calls to a real HTTP server, and their rehearsal."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crossfade import control
from crossfade.connect import Endpoint
from crossfade.cutover import decision
from crossfade.cutover.hooks import HookFailed, came_to_nothing, run_hooks
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.http_endpoint import HttpEndpoint
from crossfade.journal import Journal, State
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Direction, Side
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import free_port


@dataclass
class Listener:
    """What a web server was asked, and what it is to answer."""

    port: int = 0
    status: int = 200
    silence: float = 0.0  #: seconds before it answers
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def web() -> Iterator[Listener]:
    listener, over = Listener(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(text) if text else None
            listener.asked.append((self.command, self.path, dict(self.headers), body))
            over.wait(listener.silence)
            self.send_response(listener.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test looks at `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield listener
    over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Source and target are databases of one server here."""
    with testing.server(18) as running:
        for name in ("source", "target"):
            with running.connect() as admin:
                admin.execute(f"CREATE DATABASE {name}")
            with running.connect(name) as admin:
                admin.execute('CREATE TABLE "Order Items" (id int)')
        yield running


@pytest.fixture(autouse=True)
def empty(server: PostgresServer) -> None:
    for name in ("source", "target"):
        with server.connect(name) as admin:
            admin.execute('TRUNCATE "Order Items"')


def rows(server: PostgresServer, name: str) -> int:
    with server.connect(name) as admin:
        return admin.execute('SELECT count(*) FROM "Order Items"').fetchone()[0]  # type: ignore[index]


def migration(server: PostgresServer, web: Listener | None = None, **hooks: Any) -> Migration:
    plan = {
        "source": "source",
        "target": "target",
        "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"], "hooks": hooks},
    }
    known = {name: Endpoint.from_dsn(name, server.dsn(dbname=name)) for name in ("source", "target")}

    def http(conn_id: str) -> HttpEndpoint:
        if web is None or conn_id != "status_page":
            raise PreconditionError(f"no connection {conn_id}")
        return HttpEndpoint(
            name=conn_id, base_url=web.url + "/api", user="bot", password="s3cret", headers={"X-Token": "t0ken"}
        )

    return Migration(parse_plan(plan, name="shop"), known.__getitem__, http=http)


ADD = 'INSERT INTO "Order Items" VALUES (1)'


def test_sql_is_run_on_the_side_it_names(server: PostgresServer) -> None:
    m = migration(server, before=[{"sql": ADD}, {"sql": ADD, "side": "target"}, {"sql": ADD, "side": "target"}])
    assert [outcome.problem for outcome in run_hooks(m, "before")] == [None, None, None]
    assert (rows(server, "source"), rows(server, "target")) == (1, 2)


def test_only_the_hooks_of_the_event_are_run(server: PostgresServer) -> None:
    m = migration(server, before=[{"sql": ADD}], undone=[{"sql": ADD, "side": "target"}])
    run_hooks(m, "undone")
    assert run_hooks(m, "after") == []
    assert (rows(server, "source"), rows(server, "target")) == (0, 1)


def test_a_rehearsal_leaves_nothing_of_sql(server: PostgresServer) -> None:
    m = migration(server, before=[{"sql": ADD}])
    (outcome,) = run_hooks(m, "before", rehearsal=True)
    assert outcome.problem is None
    assert outcome.note == "rolled back"
    assert rows(server, "source") == 0


@pytest.mark.parametrize("statement", ["VACUUM", "DO $$ BEGIN COMMIT; END $$"])
def test_what_cannot_be_rolled_back_is_run_but_not_rehearsed(server: PostgresServer, statement: str) -> None:
    m = migration(server, before=[{"sql": statement}])
    (rehearsed,) = run_hooks(m, "before", rehearsal=True)
    assert "not rehearsed, it cannot be rolled back" in str(rehearsed)
    assert rehearsed.problem is None
    (outcome,) = run_hooks(m, "before")
    assert outcome.problem is None


@pytest.mark.parametrize("rehearsal", [True, False])
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("COMMIT", "transaction control is not allowed"),
        ("/* hidden */ rollback", "transaction control is not allowed"),
        (f"{ADD}; COMMIT", "cannot insert multiple commands"),
        ("SELECT * FROM missing", "does not exist"),
    ],
)
def test_bad_sql_is_a_problem_in_earnest_and_in_a_rehearsal(
    server: PostgresServer, statement: str, problem: str, rehearsal: bool
) -> None:
    (outcome,) = run_hooks(migration(server, after=[{"sql": statement}]), "after", rehearsal=rehearsal)
    assert outcome.problem is not None
    assert problem in outcome.problem
    assert rows(server, "source") == 0


def test_sql_ends_at_its_timeout(server: PostgresServer) -> None:
    start = time.monotonic()
    (outcome,) = run_hooks(migration(server, after=[{"sql": "SELECT pg_sleep(30)", "timeout": "200ms"}]), "after")
    assert "statement timeout" in str(outcome.problem)
    assert time.monotonic() - start < 10


def test_a_failure_before_stops_what_follows_and_the_cutover(server: PostgresServer) -> None:
    m = migration(server, before=[{"sql": ADD}, {"sql": "SELECT 1/0"}, {"sql": ADD, "side": "target"}])
    with pytest.raises(HookFailed, match=r"hook sql on source: 'SELECT 1/0' failed .*: division by zero.*go_on"):
        run_hooks(m, "before")
    assert (rows(server, "source"), rows(server, "target")) == (1, 0)


def test_a_failure_that_is_to_go_on_is_only_told(server: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    m = migration(server, before=[{"sql": "SELECT 1/0", "on_failure": "go_on"}, {"sql": ADD}])
    failed, done = run_hooks(m, "before")
    assert "division by zero" in str(failed)
    assert done.problem is None
    assert rows(server, "source") == 1
    assert any(record.levelno == logging.WARNING and "division by zero" in record.message for record in caplog.records)


@pytest.mark.parametrize("event", ["after", "undone"])
def test_afterwards_no_failure_keeps_the_others_from_being_run(server: PostgresServer, event: Any) -> None:
    m = migration(server, **{event: [{"sql": "SELECT 1/0"}, {"sql": ADD}]})
    failed, done = run_hooks(m, event)
    assert failed.problem
    assert not done.problem
    assert rows(server, "source") == 1


def test_a_rehearsal_stops_at_nothing(server: PostgresServer) -> None:
    m = migration(server, before=[{"sql": "SELECT 1/0"}, {"sql": "SELECT 1"}])
    assert [bool(outcome.problem) for outcome in run_hooks(m, "before", rehearsal=True)] == [True, False]


def test_a_side_that_is_dead_is_a_problem_and_no_error(server: PostgresServer) -> None:
    m = migration(server, after=[{"sql": ADD}])
    m.resolve = lambda name: Endpoint(name=name, host="127.0.0.1", port=free_port(), dbname=name, user="x")
    (outcome,) = run_hooks(m, "after")
    assert "cannot connect to source" in str(outcome.problem)


def test_a_call_carries_what_is_happening_beside_the_plans_own_body(server: PostgresServer, web: Listener) -> None:
    hook = {"http": {"url": f"{web.url}/page?x=1", "body": {"state": "on"}, "headers": {"X-Mine": "1"}}}
    (outcome,) = run_hooks(migration(server, before=[hook]), "before", direction=Direction.BACK)
    ((method, path, headers, body),) = web.asked
    assert (method, path) == ("POST", "/page?x=1")
    assert body == {"state": "on", "plan": "shop", "event": "before", "direction": "back", "rehearsal": False}
    assert headers["X-Mine"] == "1"
    assert "X-Crossfade-Rehearsal" not in headers
    assert str(outcome).startswith(f"hook http POST {web.url}/page: status 200")


def test_a_get_has_no_body(server: PostgresServer, web: Listener) -> None:
    hook = {"http": {"url": web.url, "method": "GET"}}
    run_hooks(migration(server, before=[hook]), "before")
    assert [(method, body) for method, _, _, body in web.asked] == [("GET", None)]


def test_host_and_secrets_come_from_the_connection_and_show_nowhere(
    server: PostgresServer, web: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web.status = 500
    hook = {"http": {"url": "/page", "connection": "status_page"}}
    (outcome,) = run_hooks(migration(server, web, after=[hook]), "after")
    ((_, path, headers, _),) = web.asked
    assert path == "/api/page"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"bot:s3cret"
    assert headers["X-Token"] == "t0ken"
    told = f"{caplog.text} {outcome!r}"
    assert "s3cret" not in told
    assert "t0ken" not in told


def test_a_connection_that_is_missing_is_a_problem(server: PostgresServer) -> None:
    hook = {"http": {"url": "/page", "connection": "nowhere"}}
    (outcome,) = run_hooks(migration(server, after=[hook]), "after")
    assert outcome.problem == "no connection nowhere"


@pytest.mark.parametrize(
    ("status", "expect", "problem"),
    [
        (204, {}, None),
        (302, {}, "status 302, expected was one from 200 to 299"),
        (302, {"expect": 302}, None),
        (200, {"expect": [201, 202]}, "status 200, expected was 201, 202"),
        (503, {}, "status 503"),
    ],
)
def test_the_status_decides_and_redirects_are_not_followed(
    server: PostgresServer, web: Listener, status: int, expect: dict[str, Any], problem: str | None
) -> None:
    web.status = status
    (outcome,) = run_hooks(migration(server, after=[{"http": {"url": web.url, **expect}}]), "after")
    assert len(web.asked) == 1
    assert outcome.problem is None if problem is None else problem in str(outcome.problem)


def test_a_server_that_does_not_answer_is_given_up_at_the_timeout(server: PostgresServer, web: Listener) -> None:
    web.silence = 30
    start = time.monotonic()
    with pytest.raises(HookFailed, match=r"no answer within 0\.3 s"):
        run_hooks(migration(server, before=[{"http": {"url": web.url}, "timeout": "300ms"}]), "before")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("rehearsal", [True, False])
def test_a_server_that_is_not_there_is_a_problem(server: PostgresServer, rehearsal: bool) -> None:
    hook = {"http": {"url": f"http://127.0.0.1:{free_port()}"}}
    (outcome,) = run_hooks(migration(server, after=[hook]), "after", rehearsal=rehearsal)
    assert outcome.problem


def test_a_rehearsal_connects_but_does_not_call(server: PostgresServer, web: Listener) -> None:
    hook = {"http": {"url": "/page", "connection": "status_page"}}
    (outcome,) = run_hooks(migration(server, web, before=[hook]), "before", rehearsal=True)
    assert outcome.note == f"not called, 127.0.0.1:{web.port} can be reached"
    assert web.asked == []


def test_a_rehearsal_calls_where_the_hook_says_so_and_says_what_it_is(server: PostgresServer, web: Listener) -> None:
    run_hooks(migration(server, before=[{"http": {"url": web.url}, "rehearse": True}]), "before", rehearsal=True)
    ((_, _, headers, body),) = web.asked
    assert headers["X-Crossfade-Rehearsal"] == "1"
    assert body["rehearsal"] is True


def test_dags_are_left_to_the_graph(server: PostgresServer) -> None:
    (outcome,) = run_hooks(migration(server, before=[{"dag": "stop_workers"}]), "before")
    assert outcome.problem is None
    assert str(outcome).startswith("hook dag stop_workers: a task of the DAG runs it")


@pytest.fixture
def journalled(server: PostgresServer) -> Iterator[Migration]:
    """A migration that its journal knows, active, without any attempt."""
    m = migration(server)
    with m.session(Side.SOURCE, "test") as source, m.session(Side.TARGET, "test") as target:
        control.install(source, Side.SOURCE)
        control.install(target, Side.TARGET)
        Journal(target).pin(m.plan)
        yield m
        for conn in (source, target):
            conn.execute("DROP SCHEMA crossfade CASCADE")


def enter(m: Migration, state: State, *, direction: Direction = Direction.FORWARD, decided: str | None = None) -> None:
    """An attempt on its old side, decided or not, and the migration's state."""
    with m.session(direction.old, "test") as old, m.session(direction.new, "test") as new:
        if direction is Direction.BACK:  # only the side that has authority begins another
            there = decision.open_attempt(new, old, m.plan, Direction.FORWARD)
            new.execute("UPDATE crossfade.attempt SET decision = 'commit' WHERE id = %s", [there.id])
        attempt = decision.open_attempt(old, new, m.plan, direction)
        old.execute("UPDATE crossfade.attempt SET decision = %s WHERE id = %s", [decided, attempt.id])
    with m.session(Side.TARGET, "test") as target:
        target.execute("UPDATE crossfade.migration SET state = %s", [state.value])


def test_a_cutover_that_was_refused_came_to_nothing(journalled: Migration) -> None:
    assert came_to_nothing(journalled)


@pytest.mark.parametrize(
    ("direction", "state", "decided", "expected"),
    [
        (Direction.FORWARD, State.ACTIVE, "abort", True),
        (Direction.FORWARD, State.CUTTING_OVER, "abort", True),
        (Direction.FORWARD, State.CUTTING_OVER, "commit", False),
        (Direction.FORWARD, State.CUT_OVER, "commit", False),
        (Direction.BACK, State.CUT_OVER, "abort", True),
        (Direction.BACK, State.ROLLING_BACK, "abort", True),
        (Direction.BACK, State.ROLLING_BACK, "commit", False),
        (Direction.BACK, State.ACTIVE, "commit", False),
    ],
)
def test_what_became_of_a_cutover_is_read_from_journal_and_decision(
    journalled: Migration, direction: Direction, state: State, decided: str, expected: bool
) -> None:
    enter(journalled, state, direction=direction, decided=decided)
    assert came_to_nothing(journalled, direction=direction, seconds=0) is expected


def test_a_decision_that_is_still_to_come_is_waited_for(journalled: Migration) -> None:
    enter(journalled, State.CUTTING_OVER)
    with pytest.raises(DeadlineExceeded, match="Trigger the DAG abort"):
        came_to_nothing(journalled, seconds=0)
    timer = threading.Timer(0.3, enter, [journalled, State.ACTIVE], {"decided": "abort"})
    timer.start()
    assert came_to_nothing(journalled, seconds=20)
    timer.join()
