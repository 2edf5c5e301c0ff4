"""Making a target empty again, so that a changed schema can be restored anew. Only while it is fenced and ours."""

from __future__ import annotations

import psycopg

from crossfade.connect import Connection
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


def empty(target: Connection) -> int:
    """
    Drop what a restore made: tables, views, sequences, routines, types, schemas. Extensions stay. All or nothing, in
    the caller's transaction where one is open.

    Returns how many objects. Raises `PreconditionError` where one belongs to somebody else.
    """
    dropped = 0
    with target.transaction():
        for row in target.execute(_QUERIES["restored_objects"]).fetchall():
            statement = f"DROP {row['kind']} IF EXISTS {row['identity']} CASCADE"
            try:
                target.execute(statement.encode())  # both words are the catalog's own: identity is quoted by the server
            except psycopg.errors.InsufficientPrivilege as error:
                raise PreconditionError(
                    f"the target could not be emptied: {str(error).strip()}. It holds something that the migration did "
                    "not make: move it elsewhere, or make the target an empty database again"
                ) from error
            dropped += 1
    return dropped
