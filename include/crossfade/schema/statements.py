"""Running an archive's statements on the target: settings, what may be refused, and errors that name the object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import psycopg
from psycopg.sql import Identifier

from crossfade.connect import Connection
from crossfade.errors import PreconditionError
from crossfade.schema.archive import Entry

Report = Callable[[str], None]

#: What pg_restore sets, less what only some versions know. Local to a transaction.
SETTINGS: Mapping[str, str] = {
    "search_path": "",
    "check_function_bodies": "false",
    "standard_conforming_strings": "on",
    "xmloption": "content",
    "row_security": "off",
    "client_min_messages": "warning",
    "default_tablespace": "",
}

#: Of grants made by somebody else than the owner: SET ROLE does, and needs no superuser.
_AS_SOMEBODY = re.compile(r"^(RE)?SET SESSION AUTHORIZATION\b", re.MULTILINE)
_REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject)

#: What a caller may wait for: locks, and rows that another stream has not applied yet.
_PASSING = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ForeignKeyViolation,
)

_REMEDIES = {
    "42501": "Grant the migration role what docs/privileges/target.sql lists. It must be able to SET ROLE to owners",
    "42704": "Create the missing role, type or extension on the target first",
    "42710": "The target must be empty: drop what is there already",
    "42P07": "The target must be empty: drop what is there already",
    "58P01": "Install the extension's package on the target's server",
    "0A000": "Install the extension's package on the target's server, or move without this object",
}


class StatementRefused(PreconditionError):
    """The target refused to make an object of the source's."""

    def __init__(self, *, entry: Entry, sqlstate: str, message: str) -> None:
        self.entry, self.sqlstate = entry, sqlstate
        remedy = _REMEDIES.get(sqlstate, "Put right what it names on the target, then run this again")
        super().__init__(f"the target refused {entry}: {message.strip()} (SQLSTATE {sqlstate}). {remedy}")


def set_locally(conn: Connection, settings: Mapping[str, str]) -> None:
    """Settings that end with the transaction."""
    query = "SELECT " + ", ".join(["set_config(%s, %s, true)"] * len(settings))
    conn.execute(query, [part for item in settings.items() for part in item])


def execute(conn: Connection, entry: Entry, sql: str | None = None) -> None:
    """Run an entry's statements in the open transaction. Raises `StatementRefused`, or as it is what may pass."""
    try:
        conn.execute((sql or entry.sql).encode())
    except _PASSING:
        raise
    except psycopg.Error as error:
        if conn.closed:
            raise
        primary = error.diag.message_primary or str(error)
        raise StatementRefused(entry=entry, sqlstate=error.sqlstate or "", message=primary) from error


def execute_if_allowed(conn: Connection, entry: Entry, report: Report) -> bool:
    """Run what may need more rights than ours, in a savepoint. A refusal is reported; whether it was run."""
    try:
        with conn.transaction():
            conn.execute(entry.sql.encode())
    except _REFUSALS as error:
        report(f"not carried: {entry}: {error.diag.message_primary}")
        return False
    return True


def execute_grants(conn: Connection, entry: Entry, report: Report) -> None:
    """
    Run the grants of one object as its owner: whoever belongs to several roles grants as any of them that may, and a
    REVOKE in another's name does nothing. Each that names a role the target lacks, or is not ours to give, is reported.
    """
    owner = f"SET LOCAL ROLE {Identifier(entry.owner).as_string()}"
    sql = _AS_SOMEBODY.sub(lambda match: owner if match[1] else "SET LOCAL ROLE", entry.sql)
    try:
        with conn.transaction():
            conn.execute(f"{owner};\n{sql}".encode())
    except (*_REFUSALS, psycopg.errors.InvalidParameterValue):  # the last: there is no such owner
        _execute_each_grant(conn, entry, report)
    conn.execute("RESET ROLE")


def _execute_each_grant(conn: Connection, entry: Entry, report: Report) -> None:
    """In our own name, one by one: an owner may have lost the right to use the schema."""
    sql = _AS_SOMEBODY.sub(lambda match: "RESET ROLE" if match[1] else "SET LOCAL ROLE", entry.sql)
    for statement in sql.split(";\n"):
        if not statement.strip():
            continue
        try:
            with conn.transaction():
                conn.execute(statement.encode())
        except _REFUSALS as error:
            report(f"not carried: {' '.join(statement.split())}: {error.diag.message_primary}")
