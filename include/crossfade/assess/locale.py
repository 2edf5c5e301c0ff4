"""Locale: encoding, collation and time zone of the two databases."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


@check("locale.encoding", severity=Severity.BLOCKER)
def encodings_are_equal(source: Database, target: Database) -> Iterator[Problem]:
    """Databases in different encodings: binary COPY would store bytes that mean something else."""
    here, there = source.setting("server_encoding"), target.setting("server_encoding")
    if here != there:
        name = sql.Identifier(target.endpoint.dbname).as_string()
        yield Problem(
            "server_encoding",
            f"{here} on the source, {there} on the target",
            f"CREATE DATABASE {name} ENCODING {here} TEMPLATE template0;  -- instead of the target's present one",
        )


@check("locale.collation", severity=Severity.WARNING)
def collations_are_equal(source: Database, target: Database) -> Iterator[Problem]:
    """Databases that sort or compare text differently."""
    here, there = source.rows(_QUERIES["locale"])[0], target.rows(_QUERIES["locale"])[0]
    for what in here:
        if here[what] != there[what]:
            yield Problem(
                what,
                f"{here[what]} on the source, {there[what]} on the target: text may sort and compare differently. "
                "Indexes are built anew on the target, so none is broken by it",
                "CREATE DATABASE … LOCALE_PROVIDER … LOCALE … TEMPLATE template0;  -- the target like the source, "
                "or check ORDER BY, unique indexes and range partitions over text",
            )


@check("locale.time_zone", severity=Severity.NOTE)
def time_zones_are_equal(source: Database, target: Database) -> Iterator[Problem]:
    """Databases whose sessions start in different time zones."""
    here, there = source.setting("TimeZone"), target.setting("TimeZone")
    if here != there:
        name = sql.Identifier(target.endpoint.dbname).as_string()
        yield Problem(
            "TimeZone",
            f"{here} on the source, {there} on the target: now()::date and timestamps without time zone differ",
            f"ALTER DATABASE {name} SET TimeZone = {sql.Literal(here).as_string()};",
        )
