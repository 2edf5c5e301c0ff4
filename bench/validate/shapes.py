"""Tables of several shapes, the same on both sides: made by the same statements, nothing in them depends on when."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from crossfade.connect import Endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One table."""

    name: str
    part: float  #: of all rows
    columns: str  #: as SELECT list over a number ``g``
    key: tuple[str, ...]
    changed: str  #: what makes a row differ, for UPDATE … SET


SHAPES = (
    Shape(
        name="narrow",
        part=0.4,
        columns="g::bigint AS id, (g::bigint * 7919) % 100003 AS customer,"
        " ((g % 90000) / 100.0)::numeric(12, 2) AS total,"
        " timestamptz '2026-01-01Z' + g * interval '1 s' AS at",
        key=("id",),
        changed="total = total + 0.01",
    ),
    Shape(
        name="orders",
        part=0.3,
        columns="g::int AS id, md5(g::text) AS reference, 'Customer ' || g % 5000 AS name, g % 3 = 0 AS paid,"
        " (g / 7.0)::numeric(14, 4) AS amount, timestamp '2026-01-01' + g * interval '3 s' AS placed,"
        " CASE WHEN g % 5 > 0 THEN repeat('note ', 10 + g % 7) END AS note",
        key=("id",),
        changed="name = name || ' '",
    ),
    Shape(
        name="documents",
        part=0.1,
        columns="g::bigint AS id,"
        " jsonb_build_object('n', g, 'tags', jsonb_build_array(g % 7, 'x', md5(g::text))) AS body,"
        " g / 3.0::float8 AS score, ARRAY[g % 10, g % 100] AS parts",
        key=("id",),
        changed="body = body || '{\"n\": 0}'",
    ),
    Shape(
        name="by_uuid",
        part=0.1,
        columns="md5(g::text)::uuid AS id, g AS n, md5((g + 1)::text) AS token",
        key=("id",),
        changed="token = 'x'",
    ),
    Shape(
        name="lines",
        part=0.1,
        columns="(g / 4)::int AS order_id, (g % 4)::int AS line, 'sku-' || g % 9973 AS sku,"
        " (1 + g % 9)::int AS quantity",
        key=("order_id", "line"),
        changed="quantity = quantity + 1",
    ),
)


def fill(ends: Sequence[Endpoint], rows: int) -> None:
    """Make the tables on every server, at the same time."""
    with ThreadPoolExecutor(len(ends)) as pool:
        list(pool.map(partial(_fill, rows=rows), ends))


def _fill(end: Endpoint, rows: int) -> None:
    with end.session("bench") as conn:
        for shape in SHAPES:
            count = int(rows * shape.part)
            key = ", ".join(shape.key)
            rows_of_it = f"SELECT {shape.columns} FROM generate_series(1, {count}) AS g"  # noqa: S608  # our own
            for statement in (
                f"CREATE TABLE {shape.name} AS {rows_of_it}",
                f"ALTER TABLE {shape.name} ADD PRIMARY KEY ({key})",
                f"VACUUM (ANALYZE, FREEZE) {shape.name}",
            ):
                conn.execute(statement.encode())


def plant(end: Endpoint, rows: int, differences: int) -> int:
    """Make about so many rows differ on one side, spread over all tables; how many it were."""
    planted = 0
    with end.session("bench") as conn:
        for shape in SHAPES:
            number, count = int(differences * shape.part), int(rows * shape.part)
            first = shape.key[0]
            sample = f"{shape.name} TABLESAMPLE BERNOULLI ({200.0 * number / count})"
            chosen = f"SELECT {first} FROM {sample} ORDER BY random() LIMIT {number}"  # noqa: S608  # names of our own
            statement = f"UPDATE {shape.name} SET {shape.changed} WHERE {first} IN ({chosen})"  # noqa: S608  # as above
            planted += conn.execute(statement.encode()).rowcount
    return planted
