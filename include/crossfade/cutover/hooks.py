"""The user's hooks around a cutover: SQL and HTTP here; DAGs are tasks of the migration's graph."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_never
from urllib.parse import urlsplit, urlunsplit

import psycopg

from crossfade.connect import Connection
from crossfade.cutover import decision, smoke
from crossfade.errors import CrossfadeError, DeadlineExceeded, PreconditionError
from crossfade.journal import State
from crossfade.plan_hooks import DagHook, Hook, HttpHook, SqlHook
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

Event = Literal["before", "after", "undone"]

REHEARSAL_HEADER = "X-Crossfade-Rehearsal"

#: What a statement answers that cannot be rolled back: VACUUM and its like, or a procedure that commits.
_NOT_IN_A_TRANSACTION = (psycopg.errors.ActiveSqlTransaction, psycopg.errors.InvalidTransactionTermination)


class HookFailed(PreconditionError):
    """A hook before the cutover failed, and the plan says that this stops it."""

    def __init__(self, *, hook: str, problem: str) -> None:
        self.hook, self.problem = hook, problem
        super().__init__(
            f"the hook {hook} failed before the cutover: {problem}. Put it right, or let the cutover go on without it "
            "by on_failure: go_on"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HookOutcome:
    """A hook as it went."""

    hook: str  #: what people call it
    ms: float
    problem: str | None  #: why it failed; None where it did not
    note: str = ""  #: what was not done, in a rehearsal or because a task of the graph does it

    def __str__(self) -> str:
        how = f"failed: {self.problem}" if self.problem else self.note or "done"
        return f"hook {self.hook}: {how} ({self.ms:.0f} ms)"


def run_hooks(
    m: Migration, event: Event, *, direction: Direction = Direction.FORWARD, rehearsal: bool = False
) -> list[HookOutcome]:
    """
    Run the plan's hooks of an event, one after the other; those that are DAGs are only noted.

    In a rehearsal SQL is rolled back, and a call is made only where its hook says so: else its host is looked up and
    connected to. A failure is logged and reported; one before a cutover raises `HookFailed` unless its hook is to go
    on, and the hooks after it are not run. Nothing else is ever raised, and a rehearsal raises nothing.
    """
    outcomes = []
    for hook in getattr(m.plan.cutover.hooks, event):
        outcome = _timed(m, hook, _Told(m.plan.name, event, direction, rehearsal))
        outcomes.append(outcome)
        log.log(logging.WARNING if outcome.problem else logging.INFO, "%s", outcome)
        stops = event == "before" and not rehearsal and hook.on_failure != "go_on"
        if outcome.problem and stops:
            raise HookFailed(hook=outcome.hook, problem=outcome.problem)
    return outcomes


@dataclass(frozen=True, slots=True)
class _Told:
    """What every hook is told."""

    plan: str
    event: Event
    direction: Direction
    rehearsal: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan,
            "event": self.event,
            "direction": self.direction.value,
            "rehearsal": self.rehearsal,
        }


def told(plan: str, event: Event, *, direction: Direction = Direction.FORWARD) -> dict[str, Any]:
    """What a DAG that is a hook finds under ``crossfade`` in its conf."""
    return _Told(plan, event, direction, False).as_json()


#: In which states a migration is while a cutover in that direction is under way, and once the new side serves.
_UNDER_WAY = {Direction.FORWARD: {State.CUTTING_OVER}, Direction.BACK: {State.ROLLING_BACK}}
_SERVED = {Direction.FORWARD: {State.CUT_OVER, State.COMPLETED}, Direction.BACK: {State.ACTIVE}}


def came_to_nothing(m: Migration, *, direction: Direction = Direction.FORWARD, seconds: float = 120) -> bool:
    """
    Whether a cutover that did not end well was refused, undone or aborted, so that hooks of ``undone`` are due.

    False where it had been decided: the new side is opened then, sooner or later. While that is open, and a watchdog or
    an abort is about to decide, it is waited for. Raises `DeadlineExceeded` after so many seconds, `Unreachable`.
    """
    deadline = time.monotonic() + seconds
    while True:
        with m.journal() as journal:
            state = journal.get(m.plan.name).state
        if state not in _UNDER_WAY[direction]:
            return state not in _SERVED[direction]
        with m.session(direction.old, "hook") as old:
            attempt = decision.newest(old, m.plan.name)
        if attempt is None or attempt.decision is not None:
            return attempt is None or attempt.decision is decision.Decision.ABORT
        if time.monotonic() > deadline:
            seen = f"the {direction.noun} is undecided. Trigger the DAG abort, then clear this task"
            raise DeadlineExceeded(f"the decision of the {direction.noun}", seconds=seconds, seen=seen)
        time.sleep(0.5)


def label(hook: Hook) -> str:
    """What people call a hook; a query string, which may hold secrets, is left out."""
    match hook:
        case SqlHook():
            return f"sql on {hook.side}: {' '.join(hook.sql.split())[:60]!r}"
        case HttpHook():
            url = urlunsplit(urlsplit(hook.http.url)._replace(query="", fragment=""))
            at = f" of {hook.http.connection}" if hook.http.connection else ""
            return f"http {hook.http.method} {url}{at}"
        case DagHook():
            return f"dag {hook.dag}"
        case _:
            assert_never(hook)


def _timed(m: Migration, hook: Hook, about: _Told) -> HookOutcome:
    start, problem, note = time.monotonic(), None, ""
    try:
        note = _run(m, hook, about)
    except (CrossfadeError, psycopg.Error, OSError, TimeoutError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    except Exception as error:  # a hook is the user's: whatever it makes of ours must not decide over a cutover
        log.exception("the hook %s met an error that nobody thought of", label(hook))
        problem = type(error).__name__
    return HookOutcome(hook=label(hook), ms=(time.monotonic() - start) * 1000, problem=problem, note=note)


def _run(m: Migration, hook: Hook, about: _Told) -> str:
    """Run it; what was not done, as a note."""
    match hook:
        case SqlHook():
            return _sql(m, hook, about.rehearsal)
        case HttpHook():
            return _http(m, hook, about)
        case DagHook():
            return "a task of the DAG runs it" if not about.rehearsal else "not rehearsed"
        case _:
            assert_never(hook)


def _sql(m: Migration, hook: SqlHook, rehearsal: bool) -> str:
    _refuse_transaction_control(hook.sql)
    with m.session(Side(hook.side), "hook") as conn:
        timeout = f"{max(int(hook.timeout.total_seconds() * 1000), 1)}ms"
        conn.execute("SELECT set_config('statement_timeout', %s, false)", [timeout])
        if not rehearsal:
            _one_statement(conn, hook.sql)
            return ""
        try:
            with conn.transaction(force_rollback=True):
                _one_statement(conn, hook.sql)
        except _NOT_IN_A_TRANSACTION as error:
            return f"not rehearsed, it cannot be rolled back: {error.diag.message_primary}"
        return "rolled back"


def _refuse_transaction_control(statement: str) -> None:
    try:
        smoke.refuse_transaction_control(statement)
    except smoke.SmokeFailed:
        raise PreconditionError("transaction control is not allowed in a hook: one statement, in its own") from None


def _one_statement(conn: Connection, statement: str) -> None:
    conn.execute(statement.encode(), binary=True)  # the extended protocol takes one statement only


def _http(m: Migration, hook: HttpHook, about: _Told) -> str:
    from crossfade.cutover.http_call import Options, call  # a watchdog has to start quickly, and seldom calls

    request = hook.http
    seconds = hook.timeout.total_seconds()
    url, options = request.url, Options()
    if request.connection:
        endpoint = m.http(request.connection)
        url = endpoint.url(request.url)
        auth = (endpoint.user, endpoint.password) if endpoint.user or endpoint.password else None
        options = Options(headers=dict(endpoint.headers), auth=auth, verify=endpoint.verify)
    if about.rehearsal and not hook.rehearse:
        return _reached(url, seconds)
    options.headers = {**request.headers, **options.headers, **({REHEARSAL_HEADER: "1"} if about.rehearsal else {})}
    body = None if request.method == "GET" else {**request.body, **about.as_json()}
    status = call(request.method, url, body, options, seconds)
    if not _expected(status, request.expect):
        wanted = ", ".join(str(code) for code in request.expect) or "one from 200 to 299"
        raise PreconditionError(f"the answer was status {status}, expected was {wanted}")
    return f"status {status}" + (", as a rehearsal" if about.rehearsal else "")


def _expected(status: int, wanted: Sequence[int]) -> bool:
    return status in wanted if wanted else 200 <= status <= 299


def _reached(url: str, seconds: float) -> str:
    """Look the host up and connect to it. Raises `OSError`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname or "", port), timeout=seconds):
        return f"not called, {parts.hostname}:{port} can be reached"
