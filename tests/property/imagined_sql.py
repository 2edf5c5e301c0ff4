"""What the imagined servers answer: the statements of decision, fence, journal and replication, each by a fragment."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
from imagined_database import Database, Session, State

from crossfade.plan import Plan

Rows = list[dict[str, Any]]
Answer = Callable[["Server", Session, State, Any], Rows | int | None]
_ANSWERS: list[tuple[str, Answer]] = []


def says(fragment: str) -> Callable[[Answer], Answer]:
    """This answers statements that contain the fragment; the first that fits is taken."""

    def known(answer: Answer) -> Answer:
        _ANSWERS.append((fragment, answer))
        return answer

    return known


class UnknownStatement(BaseException):
    """The code under test says something that is not imagined here: teach it. No `except Exception` swallows it."""


class Result:
    """A cursor."""

    def __init__(self, found: Rows | int | None) -> None:
        self.rows = found if isinstance(found, list) else []
        self.rowcount = found if isinstance(found, int) else len(self.rows)

    def fetchone(self) -> dict[str, Any] | None:
        """The first row."""
        return self.rows[0] if self.rows else None

    def fetchall(self) -> Rows:
        """Every row."""
        return self.rows


class Server:
    """Answers for one database."""

    def __init__(self, database: Database, plan: Plan, beats: Callable[[Any], bool]) -> None:
        self.database, self.plan, self.beats = database, plan, beats

    def session(self, purpose: str) -> Session:
        """Raises `Unreachable`."""
        return Session(self.database, self.answer, purpose)

    def answer(self, session: Session, text: str, params: Any) -> Result:
        """What the server says to a statement."""
        for fragment, answer in _ANSWERS:
            if fragment in text:
                return Result(answer(self, session, self.database.state, params))
        if role := re.fullmatch(r'(GRANT|REVOKE) CONNECT ON DATABASE "shop" (?:TO|FROM) ("?\w+"?)(.*)', text):
            return Result(grant(self.database, *role.groups()))
        raise UnknownStatement(text)

    def silent(self, attempt: dict[str, Any]) -> float:
        """Seconds since its heartbeat."""
        return 0.0 if self.beats(attempt["id"]) else float(self.database.scheduler.now - attempt["beat"])


def grant(database: Database, verb: str, grantee: str, option: str) -> None:
    """Of CONNECT."""
    role = "" if grantee == "PUBLIC" else grantee.strip('"')
    if role and role not in database.roles:
        raise psycopg.errors.UndefinedObject(f"role {grantee} does not exist")
    if verb == "GRANT":
        database.state.acl[role] = "GRANT OPTION" in option
    else:
        database.state.acl.pop(role, None)


def one(value: object) -> Rows:
    """A row with one column."""
    return [{"value": value}]


def of(state: State, attempt: object) -> Rows:
    """The attempt of that id, if it is here."""
    return [row for row in state.attempts if row["id"] == attempt]
