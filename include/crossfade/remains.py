"""What a migration has made of its own in a database: finding it, keeping it as data, and removing it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from crossfade import control
from crossfade.connect import Connection, scalar
from crossfade.engines.logical.stream import Stream
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries

if TYPE_CHECKING:
    from crossfade.connect import Endpoint

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)

#: Of the journal, what is no record of anything: the version, tokens; the archive is the source's schema once more.
_NO_RECORD = frozenset({"version", "watermark"})
_NOT_KEPT = ["archive"]

Rows = dict[str, list[dict[str, Any]]]  #: table of the schema crossfade -> its rows, values as JSON has them


class InTheWay(PreconditionError):
    """Something that is not ours depends on the schema crossfade."""


def names_of(plan: str) -> str:
    """
    What the names of a plan's publications, slots and subscriptions match, of any wave and either direction.

    A plan ``shop`` must not take what belongs to ``shop_dms`` or ``shop_1`` for its own.
    """
    return f"^crossfade_{plan}_[0-9]+(_back)?$"


def objects_of(conn: Connection, plan: str) -> list[tuple[str, str]]:
    """Kind and name of the subscriptions, slots and publications of a plan, in the order in which they must go."""
    rows = conn.execute(_QUERIES["objects"], {"pattern": names_of(plan)}).fetchall()
    return [(row["kind"], row["name"]) for row in rows]


def drop_strays(conn: Connection, plan: str, publisher: Endpoint) -> list[str]:
    """
    Remove what bears the names of a plan and belongs to no wave that its journal knows: of a plan that was edited.

    Returns what was removed, as ``slot crossfade_shop_3``. Raises `DeadlineExceeded` where a slot stays in use.
    """
    found = objects_of(conn, plan)
    for kind, name in found:
        stream = Stream(name=name, watermark="", tables=(), publisher=publisher)
        drop: dict[str, Callable[[Connection], None]] = {
            "subscription": stream.drop_subscription,
            "slot": stream.drop_slot,
            "publication": stream.unpublish,
        }
        drop[kind](conn)
    return [f"{kind} {name}" for kind, name in found]


def others_using(conn: Connection, plan: str) -> list[str]:
    """
    Other plans that need the schema crossfade of this database; none where there is no such schema.

    A plan that was abandoned or completed needs it no more.
    """
    if not control.version(conn):
        return []
    given = {"plan": plan}
    using = {row["plan"] for row in conn.execute(_QUERIES["others_here"], given).fetchall()}
    streams = [row["stream"] for row in conn.execute(_QUERIES["partitions"]).fetchall()]
    using |= {match["plan"] for stream in streams if (match := _OF_STREAM.match(stream)) and match["plan"] != plan}
    if scalar(conn, "SELECT to_regclass('crossfade.migration')") is not None:
        for row in conn.execute(_QUERIES["others_migrations"], given).fetchall():
            using = using | {row["plan"]} if row["live"] else using - {row["plan"]}
    return sorted(using)


_OF_STREAM = re.compile(r"^(?P<plan>.+)_[0-9]+(_back)?$")


def kept_rows(conn: Connection, plan: str, others: Collection[str]) -> Rows:
    """
    The rows of the schema crossfade that go: those of a plan or, where no other plan uses it, every one.

    :param others: `others_using`
    """
    rows: Rows = {}
    journal = scalar(conn, "SELECT to_regclass('crossfade.migration')") is not None  # only on a target
    for table in conn.execute(_QUERIES["tables"]).fetchall():
        if table["name"] in _NO_RECORD or table["name"].startswith("awsdms_"):
            continue
        query = sql.SQL("SELECT to_jsonb(t) - %(not_kept)s::text[] AS row FROM {} AS t").format(
            sql.Identifier("crossfade", table["name"])
        )
        if others:
            query += sql.SQL(" WHERE ") + _of_plan(table["key"] if journal or table["key"] == "plan" else None)
        found = conn.execute(query, {"plan": plan, "not_kept": _NOT_KEPT}).fetchall()
        if found:
            rows[table["name"]] = [row["row"] for row in found]
    return rows


def _of_plan(key: str | None) -> sql.Composable:
    if key == "plan":
        return sql.SQL("t.plan = %(plan)s")
    if key is None:
        return sql.SQL("false")
    migrations = sql.SQL("(SELECT id FROM crossfade.migration WHERE plan = %(plan)s)")
    return sql.SQL("t.{} IN ").format(sql.Identifier(key)) + migrations


def forget(conn: Connection, plan: str) -> None:
    """Delete what a plan has entered for its cutovers, and its watermarks, where other plans use the schema too."""
    conn.execute("DELETE FROM crossfade.attempt WHERE plan = %s", [plan])
    for row in conn.execute(_QUERIES["partitions"]).fetchall():
        match = _OF_STREAM.match(row["stream"])
        if match and match["plan"] == plan:
            control.drop_stream(conn, row["stream"])


def drop_schema(conn: Connection) -> None:
    """
    Remove the schema crossfade, with all its tables; in the caller's transaction. Raises `InTheWay`.

    Not CASCADE: a view of somebody else's on the journal is a reason to ask, not to drop it.
    """
    tables = [sql.Identifier("crossfade", row["name"]) for row in conn.execute(_QUERIES["tables"]).fetchall()]
    try:
        if tables:
            conn.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(tables)))
        conn.execute("DROP SCHEMA crossfade")
    except psycopg.errors.DependentObjectsStillExist as error:
        raise InTheWay(
            f"the schema crossfade in {conn.info.dbname} can not be removed, since something that is not ours depends "
            f"on it: {_in_one_line(error.diag.message_detail)}. Drop that, or move it elsewhere, and run this again"
        ) from error


def _in_one_line(text: str | None) -> str:
    return "; ".join((text or "").splitlines())


def summary(rows: Rows) -> Sequence[str]:
    """How many rows of which table, for people."""
    return [f"{table}: {len(found)}" for table, found in sorted(rows.items())]
