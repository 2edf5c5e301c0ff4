"""The individual premigration assessments that are simulated: each looks at the real source and target.

Names are API keys as in the chapters "Assessments for all endpoint types" and "PostgreSQL assessments" of the AWS
DMS user guide; only some of AWS's are here, and a client asks DescribeApplicableIndividualAssessments which.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from crossfade_lab.aws.dms.selection import Table

LOB_TYPES = ("text", "citext", "bytea", "xml", "json", "jsonb", "hstore", "tsvector", "tsquery", "path", "polygon")
UNSUPPORTED_TYPES = ("inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery", "line", "lseg", "box", "circle")

OLDEST_MAJOR = 9
LONG_TRANSACTION_MINUTES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What the checks look at."""

    source: psycopg.Connection
    target: psycopg.Connection
    tables: list[Table]  #: those that the mapping selects
    settings: dict[str, Any]  #: the task's complete settings
    migration_type: str
    after_connect: str  #: AfterConnectScript of the target endpoint

    def on_source(self, query: str) -> Iterator[str]:
        """First column of a query on the source; `wanted(schema, name)` in it are the selected tables."""
        return _ask(self.source, query, self.tables)

    def on_target(self, query: str) -> Iterator[str]:
        """The same on the target."""
        return _ask(self.target, query, self.tables)

    def parameter(self, name: str) -> str:
        """A setting of the source server, in its base unit."""
        row = self.source.execute("SELECT setting FROM pg_settings WHERE name = %s", [name]).fetchone()
        return str(row[0]) if row else ""


def _ask(connection: psycopg.Connection, query: str, tables: list[Table]) -> Iterator[str]:
    wanted = "WITH wanted(schema, name) AS (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[])), "
    columns = """
        lobs AS (
            SELECT a.attrelid, a.attname, a.attnotnull, format('%%I.%%I.%%I', n.nspname, c.relname, a.attname) AS shown
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_type t ON t.oid = a.atttypid JOIN wanted w ON (w.schema, w.name) = (n.nspname, c.relname)
            WHERE a.attnum > 0 AND NOT a.attisdropped
              AND (t.typname = ANY(%(lobs)s) OR t.typtype = 'c' OR t.typcategory = 'A')
        ),
        keys AS (SELECT indrelid, indkey FROM pg_index WHERE indisprimary),
        present AS (
            SELECT c.oid, format('%%I.%%I', w.schema, w.name) AS shown
            FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
        )
    """
    parameters = {
        "schemas": [schema for schema, _ in tables],
        "names": [name for _, name in tables],
        "lobs": list(LOB_TYPES),
        "unsupported": list(UNSUPPORTED_TYPES),
    }
    statement = (wanted + columns + query).encode()
    for row in connection.execute(statement, parameters):
        yield str(row[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One individual assessment: it yields what it objects to, nothing when it passes."""

    name: str
    run: Callable[[Scene], Iterator[str]]
    outcome: Literal["failed", "warning"]  #: when it objects
    cdc_only: bool


CHECKS: list[Check] = []

_Function = Callable[[Scene], Iterator[str]]


def _check(
    name: str, outcome: Literal["failed", "warning"] = "failed", *, cdc_only: bool = False
) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        CHECKS.append(Check(name=name, run=function, outcome=outcome, cdc_only=cdc_only))
        return function

    return register


@_check("unsupported-data-types-in-source")
def _unsupported_types(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        """SELECT format('%%s.%%I has type %%s', p.shown, a.attname, t.typname)
        FROM present p JOIN pg_attribute a ON a.attrelid = p.oid JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND (t.typname = ANY(%(unsupported)s) OR t.typtype IN ('r', 'c'))"""
    )


@_check("full-lob-not-nullable-at-target")
def _lobs_not_nullable(scene: Scene) -> Iterator[str]:
    if scene.settings["TargetMetadata"]["FullLobMode"]:
        yield from scene.on_target("SELECT format('%%s is NOT NULL', shown) FROM lobs WHERE attnotnull")


@_check("table-with-lob-but-without-primary-key-or-unique-constraint")
def _lobs_without_key(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        """SELECT format('%%s has LOBs and no key', p.shown) FROM present p
        WHERE p.oid IN (SELECT attrelid FROM lobs)
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = p.oid AND i.indisunique)"""
    )


@_check("table-with-no-primary-key-or-unique-constraint", "warning", cdc_only=True)
def _source_without_key(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(_WITHOUT_KEY)


@_check("target-table-has-unique-key-or-primary-key-for-cdc", "warning", cdc_only=True)
def _target_without_key(scene: Scene) -> Iterator[str]:
    yield from scene.on_target(_WITHOUT_KEY)


_WITHOUT_KEY = """SELECT format('%%s has no primary key and no unique index', p.shown) FROM present p
    WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = p.oid AND i.indisunique)"""


@_check("postgres-check-dbversion")
def _version(scene: Scene) -> Iterator[str]:
    if (major := scene.source.info.server_version // 10_000) < OLDEST_MAJOR:
        yield f"the source has version {major}"


@_check("postgres-check-table-with-array")
def _arrays_without_key(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        """SELECT format('%%s has an array and no primary key', p.shown) FROM present p
        WHERE p.oid NOT IN (SELECT indrelid FROM keys) AND EXISTS (
            SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = p.oid AND a.attnum > 0 AND t.typcategory = 'A')"""
    )


@_check("postgres-check-pk-lob")
def _key_of_lob(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        """SELECT format('%%s is part of a primary key', l.shown) FROM lobs l JOIN keys k ON k.indrelid = l.attrelid
        JOIN pg_attribute a ON a.attrelid = l.attrelid AND a.attname = l.attname AND a.attnum = ANY(k.indkey)"""
    )


@_check("postgres-check-similar-table-name")
def _similar_names(scene: Scene) -> Iterator[str]:
    yield from scene.on_source("SELECT string_agg(shown, ', ') FROM present GROUP BY lower(shown) HAVING count(*) > 1")


@_check("postgres-check-referential-integrity-constraints", "warning")
def _foreign_keys(scene: Scene) -> Iterator[str]:
    if scene.migration_type != "cdc" and "session_replication_role" not in scene.after_connect:
        yield from scene.on_target(
            """SELECT format('%%s has foreign key %%I', p.shown, k.conname)
            FROM present p JOIN pg_constraint k ON k.conrelid = p.oid AND k.contype = 'f'"""
        )


@_check("postgres-check-all-secondary-indexes", "warning")
def _secondary_indexes(scene: Scene) -> Iterator[str]:
    if scene.migration_type != "cdc":
        yield from scene.on_target(
            """SELECT format('%%s has index %%s', p.shown, i.indexrelid::regclass)
            FROM present p JOIN pg_index i ON i.indrelid = p.oid AND NOT i.indisprimary"""
        )


@_check("postgres-batch-apply-lob-mode", cdc_only=True)
def _batches_with_full_lobs(scene: Scene) -> Iterator[str]:
    if scene.settings["TargetMetadata"]["BatchApplyEnabled"] and scene.settings["TargetMetadata"]["FullLobMode"]:
        yield "BatchApplyEnabled works with limited LOB mode only"


@_check("postgres-check-pk-validity", "warning")
def _validation_without_key(scene: Scene) -> Iterator[str]:
    if scene.settings["ValidationSettings"]["EnableValidation"]:
        yield from scene.on_source(_WITHOUT_KEY)


@_check("postgres-check-select-object-privileges")
def _may_read(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        "SELECT format('no SELECT on %%s', shown) FROM present WHERE NOT has_table_privilege(oid, 'SELECT')"
    )
    if scene.migration_type != "full-load":
        yield from scene.on_source(
            """SELECT format('role %%I lacks REPLICATION', rolname) FROM pg_roles WHERE rolname = current_user
            AND NOT rolreplication AND NOT rolsuper"""
        )


@_check("postgres-check-target-privileges")
def _may_write(scene: Scene) -> Iterator[str]:
    yield from scene.on_target(
        """SELECT format('no INSERT, UPDATE and DELETE on %%s', shown) FROM present
        WHERE NOT (has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE')
                   AND has_table_privilege(oid, 'DELETE'))"""
    )


@_check("postgres-check-wallevel", cdc_only=True)
def _wal_level(scene: Scene) -> Iterator[str]:
    if (level := scene.parameter("wal_level")) != "logical":
        yield f"wal_level is {level}, not logical"


@_check("postgres-check-maxwalsenders", cdc_only=True)
def _senders(scene: Scene) -> Iterator[str]:
    if int(scene.parameter("max_wal_senders")) <= 1:
        yield "max_wal_senders must be greater than 1"


@_check("postgres-check-free-replication-slots", cdc_only=True)
def _free_slots(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        """SELECT format('all %%s replication slots are in use', count(*)) FROM pg_replication_slots
        HAVING count(*) >= current_setting('max_replication_slots')::int"""
    )


@_check("postgres-check-walsender-timeout", cdc_only=True)
def _sender_timeout(scene: Scene) -> Iterator[str]:
    if 0 < (milliseconds := int(scene.parameter("wal_sender_timeout"))) < 10_000:
        yield f"wal_sender_timeout is {milliseconds} ms; it must be 0 or at least 10 s"


@_check("postgres-check-maxslot-wal-keep-size", "warning", cdc_only=True)
def _slot_limit(scene: Scene) -> Iterator[str]:
    if (megabytes := scene.parameter("max_slot_wal_keep_size")) not in ("", "-1"):
        yield f"max_slot_wal_keep_size is {megabytes} MB: a slot that falls behind further is lost"


@_check("postgres-check-preparedtxn", cdc_only=True)
def _prepared(scene: Scene) -> Iterator[str]:
    yield from scene.on_source("SELECT format('prepared transaction %%s', gid) FROM pg_prepared_xacts")


@_check("postgres-check-longrunningtxn", "warning", cdc_only=True)
def _long_transactions(scene: Scene) -> Iterator[str]:
    yield from scene.on_source(
        f"""SELECT format('pid %%s has a transaction open since %%s', pid, xact_start) FROM pg_stat_activity
        WHERE xact_start < now() - interval '{LONG_TRANSACTION_MINUTES} minutes'"""  # noqa: S608 - a constant
    )


@_check("postgres-check-idle-in-transaction-session-timeout", "warning", cdc_only=True)
def _idle_timeout(scene: Scene) -> Iterator[str]:
    if (milliseconds := scene.parameter("idle_in_transaction_session_timeout")) != "0":
        yield f"idle_in_transaction_session_timeout is {milliseconds} ms, not 0"
