"""Smoke statements: run on the new side in the pause, as the application's role, and always rolled back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from psycopg import sql

from crossfade.connect import Connection
from crossfade.errors import PreconditionError

_TRANSACTION_CONTROL = re.compile(
    r"(begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction|reset"
    r"|set\s+((session|local)\s+)*(role|authorization))\b",
    re.I,
)
_BEFORE_KEYWORD = re.compile(r"[\s;]+|--[^\r\n]*|/\*")


class SmokeFailed(PreconditionError):
    """A smoke statement failed on the new side."""

    def __init__(self, *, statement: str, reason: str) -> None:
        super().__init__(f"the smoke statement {statement!r} failed on the new side: {reason.strip()}")


def refuse_transaction_control(statement: str) -> None:
    """Raise `SmokeFailed` for a statement that would end the transaction that is to be rolled back."""
    if _TRANSACTION_CONTROL.match(_from_keyword(statement)):
        raise SmokeFailed(
            statement=statement, reason="transaction control is not allowed here, it is rolled back anyway"
        )


def _from_keyword(statement: str) -> str:
    """Without the blanks, empty statements and comments that a server skips before the first keyword."""
    while skipped := _BEFORE_KEYWORD.match(statement):
        statement = _after_comment(statement) if skipped[0] == "/*" else statement[skipped.end() :]
    return statement


def _after_comment(text: str) -> str:
    """What follows a comment that the text begins with; comments nest."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return text[mark.end() :]
    return ""


def run(conn: Connection, statements: Sequence[str], *, role: str, seconds: float) -> None:
    """
    Run them as the role in one transaction that is rolled back; each within the seconds given. Raises `SmokeFailed`.
    """
    if not statements:
        return
    with conn.transaction(force_rollback=True):
        conn.execute("SELECT set_config('statement_timeout', %s, true)", [f"{max(int(seconds * 1000), 1)}ms"])
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        for statement in statements:
            refuse_transaction_control(statement)
            try:
                # the extended protocol takes one statement only: none can be smuggled in behind another
                conn.execute(statement.encode(), binary=True)
            except psycopg.Error as error:
                raise SmokeFailed(statement=statement, reason=str(error)) from error
