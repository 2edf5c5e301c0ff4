"""Each check of keys, inheritance and names: real tables that violate it, and tables that do not."""

import pytest

from crossfade.assess import Severity

from .conftest import DmsStage, only

KEYS = "dms_tables.primary_key"


@pytest.mark.parametrize(
    ("statements", "seen", "remedy"),
    [
        (
            ['CREATE TABLE "Odd ""one" (id int, note text)'],
            "it has no primary key: AWS DMS ignores UPDATE and DELETE",
            'ALTER TABLE "odd"."Odd ""one" ADD PRIMARY KEY (…);',
        ),
        (
            ['CREATE TABLE "Odd ""one" (code email_address, id int, PRIMARY KEY (id, code))'],
            "code of its primary key is a large object",
            'ALTER TABLE "odd"."Odd ""one" ALTER COLUMN "code" TYPE varchar(255);',
        ),
        (
            ['CREATE TABLE "Odd ""one" ("select" text[] PRIMARY KEY)'],
            "select of its primary key is a large object",
            '-- "select" is text[]: make a primary key of other columns',
        ),
        (
            ['CREATE TABLE "Odd ""one" (id int PRIMARY KEY)', 'ALTER TABLE "Odd ""one" REPLICA IDENTITY NOTHING'],
            "its replica identity is NOTHING",
            'ALTER TABLE "odd"."Odd ""one" REPLICA IDENTITY DEFAULT;',
        ),
        (
            ['CREATE TABLE "Odd ""one" (a int, b int, CONSTRAINT k PRIMARY KEY (a, b) DEFERRABLE)'],
            "its primary key is deferrable",
            'ALTER TABLE "odd"."Odd ""one" DROP CONSTRAINT "k", ADD PRIMARY KEY ("a", "b");',
        ),
        (
            [
                'CREATE TABLE "Odd ""one" (code text NOT NULL)',
                'CREATE UNIQUE INDEX i ON "Odd ""one" (code)',
                'ALTER TABLE "Odd ""one" REPLICA IDENTITY USING INDEX i',
            ],
            "code of its replica identity is a large object",
            'ALTER COLUMN "code" TYPE varchar(255);',
        ),
        (
            [
                'CREATE TABLE "Odd ""one" (id int PRIMARY KEY, code text NOT NULL)',
                'CREATE UNIQUE INDEX i ON "Odd ""one" (code)',
                'ALTER TABLE "Odd ""one" REPLICA IDENTITY USING INDEX i',
            ],
            "code of its replica identity is a large object",
            'ALTER TABLE "odd"."Odd ""one" REPLICA IDENTITY DEFAULT;',
        ),
    ],
)
def test_a_table_without_a_key_that_dms_can_use(
    dms_stage: DmsStage, statements: list[str], seen: str, remedy: str
) -> None:
    with dms_stage.odd(*statements) as plan:
        problem = only(dms_stage.problems(KEYS, plan))
        assert problem.object == 'odd.Odd "one'
        assert problem.severity is None  # a blocker
        assert seen in problem.seen
        assert remedy in problem.remedy


def test_the_remedy_for_a_key_of_text_helps(dms_stage: DmsStage) -> None:
    with dms_stage.odd('CREATE TABLE t ("select" text PRIMARY KEY)') as plan:
        remedy = only(dms_stage.problems(KEYS, plan)).remedy
        with dms_stage.on("source", remedy):
            assert dms_stage.problems(KEYS, plan) == []


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX i"])
def test_a_replica_identity_without_a_primary_key_is_a_warning(dms_stage: DmsStage, identity: str) -> None:
    with dms_stage.odd(
        "CREATE TABLE t (id int NOT NULL, note text)",
        "CREATE UNIQUE INDEX i ON t (id)",
        f"ALTER TABLE t REPLICA IDENTITY {identity}",
    ) as plan:
        problem = only(dms_stage.problems(KEYS, plan))
        assert (problem.object, problem.severity) == ("odd.t", Severity.WARNING)


def test_partitions_are_told_once_under_the_name_of_their_table(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE p (id int, v text) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
    ) as plan:
        problem = only(dms_stage.problems(KEYS, plan))
        assert problem.object == "odd.p"
        assert 'ALTER TABLE "odd"."p" ADD PRIMARY KEY' in problem.remedy


def test_a_parent_of_inherited_tables_and_partitions_are_no_such(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child () INHERITS (parent)",
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
    ) as plan:
        problem = only(dms_stage.problems("dms_tables.inherited", plan))
        assert problem.object == "odd.parent"
        assert problem.seen.startswith("odd.child inherit")


def test_a_unique_index_on_an_expression(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int)",
        'CREATE UNIQUE INDEX "my index" ON t (coalesce(a, b))',
        "CREATE INDEX plain ON t (coalesce(b, a))",
        "CREATE UNIQUE INDEX columns ON t (a)",
    ) as plan:
        problem = only(dms_stage.problems("dms_tables.unique_expressions", plan))
        assert "COALESCE(a, b)" in problem.seen
        assert problem.remedy.startswith('DROP INDEX odd."my index";')


def test_constraints_that_are_checked_late(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE DEFERRABLE, b int UNIQUE)",
        "CREATE TABLE u (id int PRIMARY KEY, a int UNIQUE REFERENCES t DEFERRABLE)",
    ) as plan:
        problem = only(dms_stage.problems("dms_tables.deferred", plan))
        assert (problem.object, problem.seen.split(" may")[0]) == ("odd.t", "t_a_key")


def test_keys_that_are_meant_to_change(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE u (id int PRIMARY KEY REFERENCES t ON UPDATE CASCADE)",
        "CREATE TABLE v (id int PRIMARY KEY REFERENCES u)",
    ) as plan:
        problem = only(dms_stage.problems("dms_tables.key_updates", plan))
        assert (problem.object, problem.seen.split(" follow")[0]) == ("odd.t", "u_id_fkey (odd.u)")


def test_names_that_dms_cannot_tell_apart(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        'CREATE TABLE "Orders" (id int PRIMARY KEY)',
        "CREATE TABLE orders (id int PRIMARY KEY)",
        "CREATE TABLE awsdms_ddl_audit (id int PRIMARY KEY)",
        'CREATE TABLE "100%%" (id int PRIMARY KEY)',
        "CREATE TABLE orders_1 (id int PRIMARY KEY)",
    ) as plan:
        found = {problem.object: problem for problem in dms_stage.problems("dms_tables.names", plan)}
        assert set(found) == {"odd.Orders, odd.orders", "odd.awsdms_ddl_audit", "odd.100%%"}
        assert found["odd.100%%"].severity is Severity.WARNING
        assert found["odd.Orders, odd.orders"].severity is None
