"""What the demo reads from Crossfade's journal in the target database: every query of it is here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import args_row

FIRST_STEP, LAST_STEPS = "pause", ("open", "resume")

STEPS = """
    SELECT name, coalesce(ms, 0) AS ms, extract(epoch FROM started_at)::float8 AS started, outcome
    FROM crossfade.step
    WHERE attempt_id = (SELECT attempt_id FROM crossfade.step WHERE attempt_id IS NOT NULL
                        ORDER BY started_at DESC LIMIT 1)
    ORDER BY started_at, ordinal"""
LOADED = "SELECT coalesce(sum(rows), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM crossfade.part"
# the last comparison of each table
CHECKS = """
    SELECT count(*), count(*) FILTER (WHERE NOT equal)
    FROM (SELECT DISTINCT ON (table_name) table_name, equal FROM crossfade.table_check
          ORDER BY table_name, checked_at DESC) AS latest"""


@dataclass(frozen=True, slots=True)
class CutoverStep:
    """One step of the last cutover."""

    name: str
    ms: float
    started: float  #: epoch seconds
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalFacts:
    """The journal after a migration."""

    rows_loaded: int
    bytes_loaded: int
    tables_validated: int
    mismatches: int
    steps: Sequence[CutoverStep]

    @property
    def pause(self) -> tuple[float, float] | None:
        """Begin and end (epoch seconds) of the time in which clients were held; None without a cutover."""
        begin = [step.started for step in self.steps if step.name == FIRST_STEP]
        end = [step.started + step.ms / 1000 for step in self.steps if step.name in LAST_STEPS]
        return (begin[0], max(end)) if begin and end else None


def read_journal(dsn: str) -> JournalFacts:
    """Everything the demo's report needs; zeros and no steps where a run failed before it made the journal."""
    rows = size = checked = unequal = 0
    steps: Sequence[CutoverStep] = ()
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('crossfade.migration')").fetchone() != (None,):
            rows, size = connection.execute(LOADED).fetchone() or (0, 0)
            checked, unequal = connection.execute(CHECKS).fetchone() or (0, 0)
            steps = connection.cursor(row_factory=args_row(CutoverStep)).execute(STEPS).fetchall()
    return JournalFacts(rows_loaded=rows, bytes_loaded=size, tables_validated=checked, mismatches=unequal, steps=steps)


def loading(dsn: str) -> tuple[float, int]:
    """The moment (epoch seconds) and the rows loaded so far; zero while there is no journal."""
    now = datetime.now().timestamp()
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(LOADED).fetchone()
    except psycopg.Error:
        return now, 0
    return now, int(row[0]) if row else 0
