"""The shop's schema moves from 16 to 18 (and other pairs) as a role that is no superuser, however often killed."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from psycopg.rows import dict_row

from crossfade import catalog
from crossfade.connect import scalar
from crossfade.errors import DeadlineExceeded
from crossfade.plan import Tables
from crossfade.schema import archive, harden, patience
from crossfade.schema.compare import compare, compare_sequences
from crossfade.schema.inventory import inventory
from crossfade.schema.restore import IndexBuilder, restore_pre_data
from crossfade_lab.postgres import LabError, binaries
from crossfade_lab.testing import server, shop

NO_TABLES = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


def test_the_shop_arrives_equal(shop_move) -> None:
    shop_move.everything()
    assert compare(shop_move.source, shop_move.target, shop_move.tables) == []
    assert not [text for text in shop_move.said if text.startswith("not carried")]
    assert scalar(shop_move.target, "SELECT count(*) > 0 FROM public.daily_revenue")
    assert scalar(shop_move.target, "SELECT count(*) > 10 FROM pg_stats WHERE schemaname = 'public'")
    assert not scalar(shop_move.target, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


def test_pre_data_rolls_back_with_the_callers_transaction_and_runs_again(shop_move) -> None:
    dumped = shop_move.dump()
    shop_move.carry_roles()
    with pytest.raises(ZeroDivisionError), shop_move.target.transaction():
        shop_move.restore(dumped)
        raise ZeroDivisionError  # the caller dies before its journal mark
    assert scalar(shop_move.target, NO_TABLES) == 0
    shop_move.restore(dumped)
    assert scalar(shop_move.target, NO_TABLES) > 10


def test_pre_data_leaves_the_session_as_it_was(shop_move) -> None:
    settings = "SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings WHERE source = 'session'"
    before = scalar(shop_move.target, settings)
    shop_move.restore(shop_move.dump())
    assert scalar(shop_move.target, settings) == before


def test_keys_are_built_in_parallel_and_only_once(shop_move) -> None:
    dumped = shop_move.dump()
    shop_move.restore(dumped)
    archived = archive.entries(dumped)
    builder = IndexBuilder(archived, archive.classify(shop_move.source, archived))
    orders = next(t.oid for t in catalog.tables(shop_move.source, Tables()) if t.name == "orders")
    names = {e.label for e in builder.for_table(orders)}
    assert names == {
        "CONSTRAINT orders orders_pkey",
        "INDEX orders_customer",
        "INDEX orders_final_payment",
        "INDEX orders_open",
        "INDEX orders_request",
    }

    def build(table: int) -> None:
        with shop_move.target_end.session("test") as conn:
            builder.build_all(conn, table, shop_move.report)

    threads = [threading.Thread(target=build, args=[t.oid]) for t in catalog.tables(shop_move.source, Tables())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builder.build_all(shop_move.target, orders) == {}
    identity = scalar(
        shop_move.target,
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indisreplident AND indrelid = 'prices'::regclass",
    )
    assert identity == "prices_identity"
    missing = {d.identity for d in compare(shop_move.source, shop_move.target, Tables()) if d.kind == "index"}
    assert missing >= {"public.events_pkey", "public.daily_revenue_key"}  # left to harden
    assert "public.orders_open" not in missing


def test_harden_killed_after_every_object_arrives_all_the_same(shop_move, servers) -> None:
    dumped = shop_move.dump()
    shop_move.restore(dumped)
    shop_move.copy_rows()
    archived = archive.entries(dumped)
    objects = archive.classify(shop_move.source, archived)
    deaths = 0
    with servers.target.connect() as admin:
        while True:
            done = 0

            def die(_text: str) -> None:
                nonlocal done
                done += 1
                if done == 3:  # the objects made before are there, so each life gets further
                    admin.execute("SELECT pg_terminate_backend(%s)", [shop_move.target.info.backend_pid])

            try:
                harden.harden(shop_move.target, archived, objects, die if deaths < 25 else shop_move.report)
                break
            except psycopg.OperationalError:
                deaths += 1
                shop_move.reconnect()
    assert deaths == 25
    assert compare(shop_move.source, shop_move.target, Tables()) == []


def test_unharden_frees_tables_for_truncate_and_harden_restores_them(shop_move) -> None:
    dumped = shop_move.everything()
    wave = [("public", "orders"), ("public", "events_default")]
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        shop_move.target.execute("TRUNCATE public.orders, public.events_default")
    harden.unharden(shop_move.target, wave, shop_move.report)
    harden.unharden(shop_move.target, wave, shop_move.report)
    shop_move.target.execute("TRUNCATE public.orders, public.events_default")
    gone = {d.identity for d in compare(shop_move.source, shop_move.target, Tables())}
    assert "payments_order_fkey on public.payments" in gone  # points at orders
    assert "orders_customer_fkey on public.orders" in gone
    assert "orders_touch on public.orders" in gone
    assert "customers_touch on public.customers" not in gone
    assert "invoices_customer_id_fkey on billing.invoices" not in gone
    shop_move.target.execute("TRUNCATE public.payments, public.order_items")
    shop_move.harden(dumped)
    assert compare(shop_move.source, shop_move.target, Tables()) == []


def test_harden_waits_for_a_lock_in_small_portions(shop_move, monkeypatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "100ms")
    dumped = shop_move.dump()
    shop_move.restore(dumped)
    shop_move.build_keys(dumped)
    with shop_move.target_end.session("writer") as writer:
        writer.execute("BEGIN; LOCK TABLE public.customers IN ROW EXCLUSIVE MODE")
        release = threading.Timer(1, writer.execute, ["COMMIT"])
        release.start()
        shop_move.harden(dumped)
        release.join()
    assert any("lock timeout; trying again" in text for text in shop_move.said)
    assert compare(shop_move.source, shop_move.target, Tables()) == []


def test_harden_gives_up_on_a_lock_in_the_end(shop_move, monkeypatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "50ms")
    with (
        shop_move.target_end.session("writer") as writer,
        pytest.raises(DeadlineExceeded, match=r"making it was not done within 0.3 s. Seen last: .*lock timeout"),
    ):
        writer.execute("CREATE TABLE t ()")
        writer.execute("BEGIN; LOCK TABLE t")
        patience.patiently(
            shop_move.target,
            "making it",
            lambda: shop_move.target.execute("LOCK TABLE t"),
            shop_move.report,
            seconds=0.3,
        )


def test_a_foreign_key_waits_for_rows_that_another_stream_applies_later(shop_move) -> None:
    dumped = shop_move.dump()
    shop_move.restore(dumped)
    shop_move.copy_rows()
    shop_move.build_keys(dumped)
    shop_move.target.execute("CREATE TABLE public.held AS SELECT * FROM public.customers WHERE id = 2")
    shop_move.target.execute("DELETE FROM public.customers WHERE id = 2")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"Key .* is not present in table"):
        shop_move.harden(dumped, catch_up=0.5)
    assert time.monotonic() - started < 10

    def apply() -> None:
        with shop_move.target_end.session("stream") as stream:
            stream.execute("INSERT INTO public.customers OVERRIDING SYSTEM VALUE SELECT * FROM public.held")
            stream.execute("DROP TABLE public.held")

    late = threading.Timer(1, apply)
    late.start()
    shop_move.harden(dumped, catch_up=20)
    late.join()
    assert compare(shop_move.source, shop_move.target, Tables()) == []


@pytest.mark.parametrize(("source_major", "target_major"), [(15, 18), (16, 16)])
def test_other_versions(source_major, target_major, servers, moves) -> None:
    try:
        binaries(source_major)
    except LabError as error:
        pytest.skip(str(error))
    if source_major == 16:  # to another database of the same server
        with servers.source.connect() as conn:
            conn.execute("ALTER ROLE crossfade CREATEDB")
        move = moves(target=servers.source)
        move.everything()
        assert compare(move.source, move.target, Tables()) == []
        return
    with server(source_major) as older, shop(older, rows=300) as logins:
        move = moves(source=older, source_password=logins.crossfade)
        move.everything()
        assert compare(move.source, move.target, Tables()) == []


def test_sequences_behind_the_source_are_named(shop_move) -> None:
    shop_move.restore(shop_move.dump())
    behind = {d.identity: str(d) for d in compare_sequences(shop_move.source, shop_move.target, Tables())}
    assert len(behind) == 7
    for name in behind:
        last = shop_move.source.execute(b"SELECT last_value, is_called FROM " + name.encode()).fetchone()
        shop_move.target.execute("SELECT setval(%s, %s, %s)", [name, last["last_value"], last["is_called"]])
    assert compare_sequences(shop_move.source, shop_move.target, Tables()) == []
    shop_move.target.execute("SELECT nextval('public.ticket_seq')")  # ahead is fine
    assert compare_sequences(shop_move.source, shop_move.target, Tables()) == []
    shop_move.target.execute("SELECT setval('public.orders_id_seq', 5)")
    (difference,) = compare_sequences(shop_move.source, shop_move.target, Tables())
    assert difference.identity == "public.orders_id_seq"
    assert difference.on_target == "next 6"


def test_inventories_of_16_and_18_are_equal_though_18_stores_not_null(shop_move) -> None:
    shop_move.everything()
    assert scalar(shop_move.target, "SELECT count(*) > 0 FROM pg_constraint WHERE contype = 'n'")
    here, there = inventory(shop_move.source, Tables()), inventory(shop_move.target, Tables())
    assert here.keys() == there.keys()
    assert len(here) > 300


def test_grants_on_the_systems_own_tables_stay_behind_even_for_a_superuser(shop_move, servers) -> None:
    """The source lets the migration role read pg_authid; that is none of the application's schema."""
    dumped = shop_move.dump()
    shop_move.carry_roles()
    granted = "SELECT count(*) FROM pg_class WHERE oid = 'pg_authid'::regclass AND relacl::text LIKE '%crossfade%'"
    assert scalar(shop_move.source, granted) == 1
    with servers.target.connect(shop_move.target.info.dbname, row_factory=dict_row) as superuser:
        restore_pre_data(superuser, dumped)
        assert scalar(superuser, granted) == 0
        assert scalar(superuser, NO_TABLES) > 10
