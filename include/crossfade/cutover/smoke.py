"""Smoke statements: run on the new side in the pause, as the application's role, and always rolled back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from psycopg import sql

from crossfade.connect import Connection
from crossfade.errors import PreconditionError

_TRANSACTION_CONTROL = re.compile(
    r"^\s*(begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction|set\s+role|reset)\b", re.I
)


class SmokeFailed(PreconditionError):
    """A smoke statement failed on the new side."""

    def __init__(self, *, statement: str, reason: str) -> None:
        super().__init__(f"the smoke statement {statement!r} failed on the new side: {reason.strip()}")


def refuse_transaction_control(statement: str) -> None:
    """Raise `SmokeFailed` for a statement that would end the transaction that is to be rolled back."""
    if _TRANSACTION_CONTROL.match(statement):
        raise SmokeFailed(
            statement=statement, reason="transaction control is not allowed here, it is rolled back anyway"
        )


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
