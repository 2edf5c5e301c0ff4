"""A hundred differences, each of another kind, and the tables they are planted in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql

from crossfade.connect import Connection, scalar

_BITS = "\\x" + "5a" * 5_000_000
_DEEP = "3.141592653589793238462643383279502884197"

#: A column's type, what the source has, and what the target has instead: as easily taken for equal as can be.
VALUES: list[tuple[str, str | None, str | None]] = [
    ("bool", "true", "false"),
    ("bool", "false", None),
    ("int2", "1", "-1"),
    ("int4", "65536", "65537"),
    ("int8", "1", "4294967297"),
    ("int8", "9007199254740992", "9007199254740993"),
    ("oid", "4294967295", "4294967294"),
    ("float4", "0", "-0"),
    ("float4", "0.1", "0.10000001"),
    ("float4", "NaN", "Infinity"),
    ("float8", "0", "-0"),
    ("float8", "0", "NaN"),
    ("float8", "Infinity", "-Infinity"),
    ("float8", "0.1", "0.10000000000000002"),
    ("float8", "0", "5e-324"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "NaN", "0"),
    ("numeric", "Infinity", "NaN"),
    ("numeric", _DEEP, _DEEP[:-1] + "8"),
    ("numeric(30,10)", "0.0000000001", "0"),
    ("money", "42949672.96", "0.00"),
    ("text", "a", "a "),
    ("text", "a", " a"),
    ("text", "a", "A"),
    ("text", "", None),
    ("text", "NULL", None),
    ("text", "\u00e4", "a\u0308"),  # the same letter, composed and decomposed
    ("text", "\ufb01", "fi"),
    ("text", "a\tb", "a b"),
    ("text", "a\nb", "a\r\nb"),
    ("text", "ab", "a\u200db"),  # a joiner of no width
    ("text", "\u0430", "a"),  # Cyrillic
    ("text", "x" * 1_000_000 + "a", "x" * 1_000_000 + "b"),
    ("varchar(10)", "0", "00"),
    ("bpchar", "a", "a "),
    ("char(5)", "a", "b"),
    ("name", "a", "a "),
    ('"char"', "a", "b"),
    ("bytea", "", None),
    ("bytea", "\\x00", "\\x0000"),
    ("bytea", _BITS, _BITS[:-1] + "b"),  # one bit of 5 MB
    ("date", "infinity", "5874897-12-31"),
    ("date", "0001-01-01 BC", "0001-01-01"),
    ("time", "24:00", "00:00"),
    ("timetz", "12:00+00", "13:00+01"),
    ("timestamp", "2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.000002"),
    ("timestamp", "infinity", "-infinity"),
    ("timestamptz", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00.000001Z"),
    ("timestamptz", "infinity", "294276-12-31 23:59:59.999999Z"),
    ("interval", "1 day", "24 hours"),
    ("interval", "1 month", "30 days"),
    ("uuid", str(UUID(int=0)), str(UUID(int=1))),
    ("json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    ("json", '{"a": 1}', '{"a":1}'),
    ("json", '{"a": 1, "a": 1}', '{"a": 1}'),
    ("jsonb", '{"a": 1}', '{"a": 1.0}'),
    ("jsonb", "null", None),
    ("jsonb", "{}", "[]"),
    ("jsonpath", "$.a", '$."a "'),
    ("int4[]", "{}", None),
    ("int4[]", "{1}", "[0:0]={1}"),
    ("int4[]", "{1,2}", "{{1,2}}"),
    ("text[]", "{NULL}", '{"NULL"}'),
    ("text[]", "{a}", '{"a "}'),
    ("float8[]", "{0}", "{-0}"),
    ("public.planted_mood", "sad", "happy"),
    ("public.planted_mood[]", "{sad,happy}", "{happy,sad}"),
    ("public.planted_pair", "(1,)", '(1,"")'),
    ("public.planted_pair", "(,)", None),
    ("public.planted_code", "a", "a "),
    ("int4range", "empty", None),
    ("numrange", "[1,2)", "[1,2]"),
    ("int8multirange", "{[1,2),[3,4)}", "{[1,4)}"),
    ("inet", "10.0.0.1", "10.0.0.1/24"),
    ("cidr", "10.0.0.0/24", "10.0.0.0/25"),
    ("macaddr", "00:00:00:00:00:01", "00:00:00:00:00:02"),
    ("bit varying", "1", "10"),
    ("tsvector", "'a'", "'a':1"),
    ("pg_lsn", "0/1", "1/1"),
    ("point", "(0,0)", "(0,-0)"),
    ("path", "[(0,0),(1,1)]", "((0,0),(1,1))"),
]

_LETTERS = ("a", "A", "\u00e4", "a\u0308", "z ", "'\\")

#: Tables with a key: how its columns are declared, and the key of row n.
KEYED: dict[str, tuple[dict[str, str], Callable[[int], tuple[str, ...]]]] = {
    "Order Items": ({"code": "text", "from": "uuid"}, lambda n: (f"c{n}", str(UUID(int=n)))),
    "select": ({"id": "uuid"}, lambda n: (str(UUID(int=n * 2**100 + n)),)),
    'naïve"quote': (
        {'key "é" %s': 'text COLLATE "C.utf8"'},
        lambda n: (f"{_LETTERS[n % len(_LETTERS)]}{n}",),
    ),
    "moments": (
        {"at": "timestamptz"},
        lambda n: (("infinity", "-infinity")[n] if n < 2 else f"2026-01-01 00:00:00.{n:06}Z",),
    ),
    "days": ({"day": "date", "slot": "int2"}, lambda n: ("infinity" if n % 2 else f"20{n:02}-01-01", str(n))),
    "moods": ({"mood": "planted_mood", "id": "int"}, lambda n: (("sad", "happy")[n % 2], str(n))),
    "weights": ({"weight": "numeric"}, lambda n: (f"{n}.{'0' * n}1",)),
    "numbers": ({"id": "bigint"}, lambda n: (str((n - 50) * 2**32),)),
    "padded": ({"code": "char(8)"}, lambda n: (f"c{n}",)),
    "hosts": ({"host": "inet"}, lambda n: (f"10.0.0.{n}/{16 + n % 16}",)),
    "parted_eu": ({"region": "text", "id": "int"}, lambda n: ("eu", str(n))),
}
PARTITIONED = {"parted_eu": "parted"}  #: a partition, and of what
ROWS = 40  #: of each of them
FILLED = "numbers"  #: which has so many more that it is compared in several parts
_LAST, _EXTRA = ROWS - 1, 90  #: row numbers

#: Without a key: what is done to it on the target, and what is found: how often a row is there on source and target.
KEYLESS: dict[str, tuple[str, list[tuple[str, tuple[int, int]]]]] = {
    "keyless_doubled": ("INSERT INTO {} VALUES (1, 'x')", [("copies", (2, 3))]),
    "keyless_halved": (
        "DELETE FROM {0} WHERE ctid = (SELECT min(ctid) FROM {0} WHERE a = 1)",
        [("copies", (2, 1))],
    ),
    "keyless_lacking": ("DELETE FROM {} WHERE a = 2", [("missing on the target", (0, 0))]),
    "keyless_extra": ("INSERT INTO {} VALUES (9, NULL)", [("missing on the source", (0, 0))]),
    "keyless_changed": (
        "UPDATE {} SET b = '' WHERE a = 2",  # it was NULL
        [("missing on the target", (0, 0)), ("missing on the source", (0, 0))],
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What a report must say of one of them, and nothing else."""

    table: str
    kind: str
    key: tuple[tuple[str, str | None], ...] = ()
    columns: frozenset[str] = frozenset()
    copies: tuple[int, int] = (0, 0)


#: Rows of the shop that the workload leaves alone.
SHOP: dict[str, Difference] = {
    "DELETE FROM orders WHERE id = 5": Difference(
        table="public.orders", kind="missing on the target", key=(("id", "5"),)
    ),
    "UPDATE order_items SET quantity = quantity + 1 WHERE order_id = 7 AND line = 2": Difference(
        table="public.order_items",
        kind="differs",
        key=(("order_id", "7"), ("line", "2")),
        columns=frozenset({"quantity", "amount"}),
    ),
    "UPDATE prices SET note = NULL WHERE sku = 'SKU-2' AND note = ''": Difference(
        table="public.prices",
        kind="differs",
        key=(("sku", "SKU-2"), ("valid_from", "2020-01-03")),
        columns=frozenset({"note"}),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """One value of `VALUES` in the row of that number of a table."""

    table: str
    row: int
    column: str
    type: str
    before: str | None
    after: str | None


def _cases() -> Iterator[_Case]:
    names = list(KEYED)
    for number, (kind, before, after) in enumerate(VALUES):
        yield _Case(
            table=names[number % len(names)],
            row=number // len(names),
            column=f'value {number} "é" %s',
            type=kind,
            before=before,
            after=after,
        )


def create(source: psycopg.Connection) -> None:
    """The tables and their rows, on the source, before anything is migrated. :param source: a superuser's session"""
    source.execute("""
        CREATE TYPE public.planted_mood AS ENUM ('sad', 'happy');
        CREATE TYPE public.planted_pair AS (n int, what text);
        CREATE DOMAIN public.planted_code AS text CHECK (VALUE <> '');
        ALTER TYPE public.planted_mood OWNER TO shop_owner;
        ALTER TYPE public.planted_pair OWNER TO shop_owner;
        ALTER DOMAIN public.planted_code OWNER TO shop_owner""")
    for name in KEYED:
        _create_keyed(source, name)
    source.execute(
        sql.SQL("INSERT INTO {} (id, a) SELECT n, n FROM generate_series(1, 3000) AS n").format(sql.Identifier(FILLED))
    )
    for name in KEYLESS:
        table = sql.Identifier("public", name)
        source.execute(sql.SQL("CREATE TABLE {} (a int, b text)").format(table))
        source.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table))
        source.execute(sql.SQL("ALTER TABLE {} OWNER TO shop_owner").format(table))
        _fill_keyless(source, name)


def _create_keyed(source: psycopg.Connection, name: str) -> None:
    declared, key = KEYED[name]
    cases = [case for case in _cases() if case.table == name]
    columns = [
        *(sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in declared.items()),
        sql.SQL("row int, a int, twice int GENERATED ALWAYS AS (a * 2) STORED"),
        *(sql.SQL("{} {}").format(sql.Identifier(case.column), sql.SQL(case.type)) for case in cases),
        sql.SQL("PRIMARY KEY ({})").format(_names(declared)),
    ]
    root = sql.Identifier("public", PARTITIONED.get(name, name))
    partitioned = sql.SQL(" PARTITION BY LIST (region)" if name in PARTITIONED else "")
    source.execute(sql.SQL("CREATE TABLE {} ({}){}").format(root, sql.SQL(", ").join(columns), partitioned))
    source.execute(sql.SQL("ALTER TABLE {} OWNER TO shop_owner").format(root))
    if name in PARTITIONED:
        source.execute(
            sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES IN ('eu')").format(sql.Identifier("public", name), root)
        )
        source.execute(sql.SQL("ALTER TABLE {} OWNER TO shop_owner").format(sql.Identifier("public", name)))
    for number in range(ROWS):
        mine = {case.column: case.before for case in cases if case.row == number}
        _insert(source, name, {**dict(zip(declared, key(number), strict=True)), **mine}, number)


def plant(admin: psycopg.Connection, source: Connection, target: Connection) -> set[Difference]:
    """
    All of them; what has to be found.

    :param admin: a superuser's session on the target
    :param source: a session as the product opens it, by which keys are read as it prints them
    :param target: the same
    """
    admin.execute("SET session_replication_role = replica")  # past triggers and foreign keys
    planted = [_value(admin, source, case) for case in _cases()]
    for name in ("Order Items", "moments", "hosts", "parted_eu"):
        planted.append(_lacking(admin, source, name, _LAST))
        planted.append(_extra(admin, target, name, KEYED[name][1](_EXTRA), _EXTRA))
    planted.append(_lacking(admin, source, 'naïve"quote', _LAST))  # and the same key with another first letter
    planted.append(_extra(admin, target, 'naïve"quote', (KEYED['naïve"quote'][1](_LAST)[0].upper(),), _LAST))
    for statement, difference in SHOP.items():
        assert admin.execute(statement.encode()).rowcount == 1, statement
        planted.append(difference)
    for name, (statement, findings) in KEYLESS.items():
        assert admin.execute(sql.SQL(statement).format(sql.Identifier("public", name))).rowcount == 1, name
        planted += [Difference(table=f"public.{name}", kind=kind, copies=copies) for kind, copies in findings]
    assert len(set(planted)) == len(planted)
    return set(planted)


def copy_keyless(admin: psycopg.Connection) -> None:
    """The rows of tables without a key, as they are on the source: what a new copy of them would bring."""
    for name in KEYLESS:
        admin.execute(sql.SQL("TRUNCATE {}").format(_table(name)))
        _fill_keyless(admin, name)


def _fill_keyless(conn: psycopg.Connection, name: str) -> None:
    conn.execute(sql.SQL("INSERT INTO {} VALUES (1, 'x'), (1, 'x'), (2, NULL)").format(_table(name)))


def _value(admin: psycopg.Connection, source: Connection, case: _Case) -> Difference:
    statement = sql.SQL("UPDATE {} SET {} = {} WHERE row = {}").format(
        _table(case.table), sql.Identifier(case.column), sql.Literal(case.after), case.row
    )
    assert admin.execute(statement).rowcount == 1, case
    return Difference(
        table=f"public.{case.table}",
        kind="differs",
        key=_key(source, case.table, case.row),
        columns=frozenset({case.column}),
    )


def _lacking(admin: psycopg.Connection, source: Connection, name: str, row: int) -> Difference:
    key = _key(source, name, row)
    assert admin.execute(sql.SQL("DELETE FROM {} WHERE row = {}").format(_table(name), row)).rowcount == 1
    return Difference(table=f"public.{name}", kind="missing on the target", key=key)


def _extra(admin: psycopg.Connection, target: Connection, name: str, key: tuple[str, ...], row: int) -> Difference:
    _insert(admin, name, dict(zip(KEYED[name][0], key, strict=True)), row)
    return Difference(table=f"public.{name}", kind="missing on the source", key=_key(target, name, row))


def _insert(conn: psycopg.Connection, name: str, values: dict[str, str | None], row: int) -> None:
    conn.execute(
        sql.SQL("INSERT INTO {} ({}, row, a) VALUES ({}, {}, 1)").format(
            _table(name), _names(values), sql.SQL(", ").join(map(sql.Literal, values.values())), row
        )
    )


def _key(conn: Connection, name: str, row: int) -> tuple[tuple[str, str | None], ...]:
    names = list(KEYED[name][0])
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in names)
    query = sql.SQL("SELECT ARRAY[{}] FROM {} WHERE row = {}").format(texts, _table(name), row)
    return tuple(zip(names, scalar(conn, query), strict=True))


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)


def _names(columns: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
