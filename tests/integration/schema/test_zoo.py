"""A database with one of everything arrives whole, strange names and all."""

from __future__ import annotations

import time

import pytest

from crossfade.connect import scalar
from crossfade.plan import Tables
from crossfade.schema import archive
from crossfade.schema.compare import Difference, _same_query, compare
from crossfade.schema.inventory import inventory
from crossfade.schema.statements import StatementRefused

LEFT_OUT = Tables(include=("*.*",), exclude=("*.left_*",))
NEEDS_A_SUPERUSER = {("event trigger", "watch"), ("comment", "event trigger watch")}


def test_one_of_everything_arrives_but_what_needs_a_superuser(zoo, moves) -> None:
    move = moves(zoo, tables=LEFT_OUT)
    move.everything()
    differences = compare(move.source, move.target, move.tables)
    assert {(d.kind, d.identity) for d in differences} == NEEDS_A_SUPERUSER, "\n".join(map(str, differences))
    assert any("EVENT TRIGGER watch: permission denied" in text for text in move.said)
    assert not [text for text in move.said if "SESSION AUTHORIZATION" in text]
    keeper_gave = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantor = 'zoo_keeper'::regrole"
    assert scalar(move.target, keeper_gave) == scalar(move.source, keeper_gave) == 1
    assert any("stays to_left: it points at a table that the plan leaves out" in text for text in move.said)


def test_a_partition_can_stay_behind_alone(zoo, moves) -> None:
    tables = Tables(include=("*.*",), exclude=("*.left_*", "public.visits_2025_1"))
    move = moves(zoo, tables=tables)
    move.everything()
    assert {(d.kind, d.identity) for d in compare(move.source, move.target, tables)} == NEEDS_A_SUPERUSER
    assert scalar(move.target, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'visits_2025'::regclass") == 0


def test_what_was_left_out_is_not_on_the_target(zoo, moves) -> None:
    move = moves(zoo, tables=LEFT_OUT)
    move.restore(move.dump())
    names = {key.identity for key in inventory(move.target, Tables())}
    assert "public.stays" in names
    left = ["public.left_behind", "public.left_behind_id_seq", "public.reads_left_behind", "public.reads_that_view"]
    assert not names.intersection(left)
    assert scalar(move.target, "SELECT to_regnamespace('crossfade')") is None
    assert scalar(move.target, "SELECT count(*) FROM pg_publication") == 0


def test_only_included_tables_are_dumped(zoo, moves) -> None:
    move = moves(zoo, tables=Tables(include=("Strange*.*",), exclude=("*.mood*",)))
    dumped = {e.label for e in archive.entries(move.dump()) if e.kind in ("TABLE", "VIEW", "MATERIALIZED VIEW")}
    assert dumped == {'TABLE dots.and;semi"quotes', "VIEW loop_view", "MATERIALIZED VIEW empty_one"}


def test_a_refused_statement_names_the_object_and_leaves_nothing_behind(zoo, moves) -> None:
    move = moves(zoo)
    move.carry_roles()
    dumped = move.dump()
    move.target.execute("CREATE TABLE public.stays ()")
    with pytest.raises(StatementRefused, match=r"TABLE stays: relation \"stays\" already exists.*must be empty"):
        move.restore(dumped)
    assert scalar(move.target, "SELECT count(*) FROM pg_class WHERE relname = 'animals'") == 0


def test_the_inventory_of_a_hundred_tables_takes_less_than_a_second(zoo, moves, servers) -> None:
    move = moves(zoo)
    with servers.target.connect(move.target.info.dbname) as conn:
        conn.execute(
            "DO $$ BEGIN FOR n IN 1..100 LOOP EXECUTE format('CREATE TABLE wide_%s (id bigserial PRIMARY KEY, a text "
            "DEFAULT 1, b int REFERENCES wide_%s, c jsonb, d numeric, e timestamptz, f int)', n, greatest(1, n - 1)); "
            "EXECUTE format('CREATE INDEX ON wide_%s (a)', n); END LOOP; END $$"
        )
    started = time.monotonic()
    found = inventory(move.target, Tables())
    assert len([key for key in found if key.kind == "table"]) == 100
    assert time.monotonic() - started < 1


def test_a_view_that_servers_print_differently_is_the_same(servers, moves) -> None:
    """Since 16 columns are not qualified where a view reads one table; the source's text is what counts."""
    move = moves()
    move.target.execute("CREATE TABLE t (a int, b int)")
    move.target.execute("CREATE VIEW v AS SELECT a, b FROM t WHERE a > 1")
    printed = scalar(move.target, "SELECT pg_get_viewdef('v'::regclass)")
    as_on_15 = " SELECT t.a,\n    t.b\n   FROM public.t\n  WHERE (t.a > 1);"

    def differs(source: str) -> bool:
        return not _same_query(
            move.target, Difference(kind="view", identity="public.v", on_source=source, on_target=_qualified(printed))
        )

    assert not differs(as_on_15)
    assert differs(as_on_15.replace("> 1", "> 2"))
    assert differs("SELECT nothing FROM nowhere")
    assert scalar(move.target, "SELECT count(*) FROM pg_class WHERE relname = 'crossfade_probe'") == 0


def _qualified(text: str) -> str:
    return text.replace("FROM t", "FROM public.t")
