"""Validation on a live pair: no false alarm under load, and every planted difference found and named by its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.validation import run as validation
from crossfade_lab.workload import Spec, WorkloadProcess

#: On the target, one statement each, and what the report must say of it.
PLANTED = {
    "DELETE FROM orders WHERE id = 5": "public.orders: (id=5) is missing on the target",
    "UPDATE orders SET total = total + 0.01 WHERE id = 6": "public.orders: (id=6) differs",
    "INSERT INTO orders (id, customer_id, total) VALUES (-1, 1, 1)": "public.orders: (id=-1) is missing on the source",
    "UPDATE customers SET name = name || ' ' WHERE id = 3": "public.customers: (id=3) differs",
    "UPDATE documents SET content = set_byte(content, 0, get_byte(content, 0) # 1) WHERE id = 1": (
        "public.documents: (id=1) differs"
    ),
}


@pytest.mark.slow
def test_twenty_validations_under_load_raise_no_false_alarm(make_world: Callable[..., Any], ledger: Path) -> None:
    world = make_world(rows=10_000)
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=8, rate=400)
    with WorkloadProcess(spec):
        for n in range(20):
            assert validation.validate(world.m, run_id=f"run {n}").tables == 15


def test_every_planted_difference_is_named_and_nothing_else(world: Any) -> None:
    world.load()
    with world.admin("target") as target:
        target.execute("SET session_replication_role = replica")  # past triggers and foreign keys
        for statement in PLANTED:
            assert target.execute(statement).rowcount == 1, statement

    with pytest.raises(validation.MismatchFound) as found:
        validation.validate(world.m, run_id="one")

    assert sorted(found.value.mismatches) == sorted(PLANTED.values())
    with world.m.journal() as journal:
        newest = journal.last_validation(journal.get("shop").id)
        assert newest is not None
        assert newest.equal is False
        unequal = {check["table_name"] for check in journal.table_checks(newest.id) if not check["equal"]}
    assert unequal == {"public.orders", "public.customers", "public.documents"}


def test_a_doubled_row_of_a_table_without_a_key_is_found(world: Any) -> None:
    with world.admin("source") as source:
        source.execute("CREATE TABLE public.keyless (a int, b text)")
        source.execute("ALTER TABLE public.keyless OWNER TO shop_owner")
        source.execute("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
        source.execute("INSERT INTO public.keyless VALUES (1, 'x'), (1, 'x'), (2, NULL)")
    world.load()
    assert validation.validate(world.m, run_id="one").tables == 16
    with world.admin("target") as target:
        target.execute("INSERT INTO public.keyless VALUES (1, 'x')")
    with pytest.raises(validation.MismatchFound, match="2 times on the source, 3 times on the target"):
        validation.validate(world.m, run_id="two")


def test_an_emptied_table_is_reported_without_naming_a_million_rows(make_world: Callable[..., Any]) -> None:
    world = make_world(rows=10_000)
    world.load()
    with world.admin("target") as target:
        target.execute("SET session_replication_role = replica")
        target.execute("DELETE FROM order_items")
    with pytest.raises(validation.MismatchFound, match=r"public\.order_items: .* is missing on the target") as found:
        validation.validate(world.m, run_id="one")
    assert len(str(found.value)) < 20_000


def test_a_table_that_one_side_lacks_is_one_clear_line(world: Any) -> None:
    world.load()
    with world.admin("target") as target:
        target.execute("DROP TABLE prices CASCADE")
    with pytest.raises(validation.MismatchFound, match=r"public\.prices: not compared: relation .* does not exist"):
        validation.validate(world.m, run_id="one")
