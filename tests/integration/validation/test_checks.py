"""Each check beside the rows finds its own violation, tells it once, and is not silenced by the failure of another."""

from __future__ import annotations

import pytest

from crossfade.connect import Connection
from crossfade.engines.base import Lag
from crossfade.errors import TransientError
from crossfade.plan import Tables
from crossfade.routers.base import Side
from crossfade.validation.checks import CHECKS, run_checks
from crossfade.validation.result import CheckResult, Mode, Verdict

from .conftest import make_twins

NAMES = [check.name for check in CHECKS]

#: what is done on the target -> the one check that must tell of it, and the whole of what it says, or its beginning
VIOLATIONS = {
    'DROP INDEX "by select"': ("schema", ['index "My Shop"."by select": missing on the target']),
    'ALTER TABLE "select" ADD z int': ("schema", ['column "My Shop"."select".z: only on the target']),
    "ALTER TABLE \"select\" ALTER y SET DEFAULT 'n'": ("schema", ['column "My Shop"."select".y: the source has']),
    'DROP FUNCTION twice': ("schema", ['function "My Shop".twice(integer): missing on the target']),
    'DROP TABLE "select"': ("schema", ['table "My Shop"."select": missing on the target']),
    'DROP VIEW "a view"': ("schema", ['view "My Shop"."a view": missing on the target']),
    "DROP TYPE pair": ("schema", ['type "My Shop".pair: missing on the target']),
    "DROP TABLE parts": ("schema", [
        'table "My Shop"."parts on 2025 ON x USING y": missing', 'table "My Shop".parts: missing']),
    "CREATE TABLE extra (id serial PRIMARY KEY, x int UNIQUE)": (
        "schema", ['table "My Shop".extra: only on the target']),
    'CREATE MATERIALIZED VIEW extra AS SELECT 1 AS x': (
        "schema", ['materialised view "My Shop".extra: only on the target']),
    'ALTER TABLE "select" REPLICA IDENTITY FULL': (
        "keys", ['replica identity "My Shop"."select": the source has \'default\', the target \'full\'']),
    'ALTER TABLE "naïve""quote" REPLICA IDENTITY USING INDEX "naïve""quote_b_key"': (
        "keys", ['replica identity "My Shop"."naïve""quote": the source has']),
    'ALTER TABLE "Order Items" DROP CONSTRAINT "never on zero"': (
        "constraints", ['constraint "never on zero" on "My Shop"."Order Items": missing on the target']),
    'ALTER TABLE "naïve""quote" DROP CONSTRAINT "naïve""quote_b_key"': (
        "constraints", ['constraint "naïve""quote_b_key" on "My Shop"."naïve""quote": missing on the target']),
    'ALTER TABLE "naïve""quote" DROP CONSTRAINT "points on items", ADD CONSTRAINT "points on items" '
    'FOREIGN KEY (item) REFERENCES "Order Items" NOT VALID': (
        "constraints", ['constraint "points on items" on "My Shop"."naïve""quote" is not validated on the target. '
                        'There: ALTER TABLE "My Shop"."naïve""quote" VALIDATE CONSTRAINT "points on items"']),
    'ALTER DOMAIN "E-Mail" DROP CONSTRAINT "has at"; '
    'ALTER DOMAIN "E-Mail" ADD CONSTRAINT "has at" CHECK (VALUE LIKE \'%@%\') NOT VALID': (
        "constraints", ['constraint "has at" on "My Shop"."E-Mail" is not validated on the target. There: '
                        'ALTER DOMAIN "My Shop"."E-Mail" VALIDATE CONSTRAINT "has at"']),
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"by select\"'::regclass": (
        "constraints", ['index "My Shop"."by select" is not valid on the target. There: '
                        'REINDEX INDEX CONCURRENTLY "My Shop"."by select"']),
    'REVOKE SELECT ON "select" FROM "Read Only"': ("roles", ['grants table "My Shop"."select"']),
    'GRANT UPDATE (y) ON "select" TO app': ("roles", ['grants table column "My Shop"."select".y']),
    'ALTER TABLE "select" OWNER TO app': ("roles", ['owner table "My Shop"."select"']),
    'ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA "My Shop" REVOKE SELECT ON TABLES FROM "Read Only"': (
        "roles", ['default privileges of keeper in "My Shop" on tables']),
    'REVOKE "Read Only" FROM app': ("roles", ['role "app" is not in the group Read Only on the target']),
    'REFRESH MATERIALIZED VIEW "Totals" WITH NO DATA': (
        "materialised views", ['materialised view "My Shop"."Totals" is not populated on the target. '
                               'There: REFRESH MATERIALIZED VIEW "My Shop"."Totals"']),
}  # fmt: skip


def checked(sides, mode: Mode = Mode.FULL) -> dict[str, CheckResult]:
    """The results, by name."""
    found = {result.name: result for result in run_checks(sides, mode)}
    assert list(found) == NAMES
    return found


def not_ok(found: dict[str, CheckResult]) -> dict[str, tuple[str, ...]]:
    """What every check that is not ok says."""
    return {name: result.lines for name, result in found.items() if result.verdict is not Verdict.OK}


@pytest.mark.parametrize("mode", Mode)
def test_nothing_is_said_of_databases_that_are_the_same(shared, both, mode) -> None:
    found = checked(both(shared), mode)
    assert not_ok(found) == {}
    assert all(not result.lines for result in found.values())
    assert all(result.note and result.title for result in found.values())
    assert found["keys"].note == (
        "4 tables; their UPDATE and DELETE cannot be replicated, as they have neither: My Shop.select"
    )
    assert found["replication"].note == "nothing carries rows from one side to the other"
    assert found["large objects"].note == "none"
    assert found["sequences"].note == "1 sequence"


def test_nothing_is_said_of_15_and_18(server_15, server_18, both) -> None:
    assert not_ok(checked(both(make_twins(server_15, server_18)))) == {}


@pytest.mark.parametrize("statement", VIOLATIONS)
def test_a_violation_is_told_by_one_check_and_once(shared, both, statement) -> None:
    sides = both(shared, "postgres", application_roles=["app"])
    with sides.target.transaction(force_rollback=True):
        sides.target.execute('SET LOCAL search_path = "My Shop"; SET LOCAL ROLE NONE')
        sides.target.execute(statement.encode())
        found = checked(sides, Mode.QUICK)
    said = not_ok(found)
    check, beginnings = VIOLATIONS[statement]
    assert list(said) == [check], said
    assert len(said[check]) == len(beginnings), said
    assert all(line.startswith(text) for line, text in zip(said[check], beginnings, strict=True)), said
    assert found[check].verdict is Verdict.MISMATCH


def test_a_primary_key_that_is_missing_is_told_without_its_index(shared, both) -> None:
    sides = both(shared, "postgres")
    with sides.target.transaction(force_rollback=True):
        sides.target.execute('ALTER TABLE "My Shop"."naïve""quote" DROP CONSTRAINT "naïve""quote_pkey"')
        found = not_ok(checked(sides))
    assert [line.split(":")[0] for line in found["keys"]] == [
        'constraint "naïve""quote_pkey" on "My Shop"."naïve""quote"'
    ]
    assert not [line for line in found.get("schema", ()) if line.startswith("index")]


def test_what_is_not_validated_on_either_side_is_no_violation(twins, both) -> None:
    twins.on_both('ALTER TABLE "My Shop"."select" ADD CONSTRAINT "from now on" CHECK (x > 0) NOT VALID')
    found = checked(both(twins))
    assert not_ok(found) == {}
    assert found["constraints"].note.endswith('not validated on either side: "from now on" on "My Shop"."select"')


def test_a_broken_index_of_the_source_is_not_missed_on_the_target(twins, both) -> None:
    with twins.end("source").session("test") as conn:
        conn.execute("""UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"My Shop"."by select"'::regclass""")
    with twins.end("target").session("test") as conn:
        conn.execute('DROP INDEX "My Shop"."by select"')
    assert not_ok(checked(both(twins))) == {}


def test_a_view_that_only_the_target_has_populated_is_a_note(twins, both) -> None:
    with twins.end("source").session("test") as conn:
        conn.execute('REFRESH MATERIALIZED VIEW "My Shop"."Totals" WITH NO DATA')
    found = checked(both(twins))
    assert not_ok(found) == {}
    assert found["materialised views"].note == '1 materialised view; populated on the target only: "My Shop"."Totals"'


def test_what_the_plan_leaves_out_is_not_looked_at(twins, both) -> None:
    with twins.end("target").session("test") as conn:
        conn.execute('DROP TABLE "My Shop"."select"')
    sides = both(twins)
    sides.tables = Tables(exclude=("My Shop.select",))
    assert not_ok(checked(sides)) == {}


# --- roles ------------------------------------------------------------------------------------------------------------


def test_a_role_that_is_missing_is_named(twins, both) -> None:
    with twins.end("source").session("test") as conn:
        conn.execute('CREATE ROLE "new one" LOGIN; GRANT SELECT ON "My Shop"."select" TO "new one"')
    try:
        found = checked(both(twins))
        assert found["roles"].lines[0] == 'role "new one" is missing on the target'
        assert list(not_ok(found)) == ["roles"]
        found = checked(both(twins, carriers=["new one"]))
        assert not_ok(found) == {}
    finally:
        with twins.end("source").session("test") as conn:
            conn.execute('DROP OWNED BY "new one"; DROP ROLE "new one"')


def test_a_role_with_other_attributes_is_a_note(shared, both) -> None:
    sides = both(shared, "postgres", application_roles=["app"])
    with sides.target.transaction(force_rollback=True):
        sides.target.execute("ALTER ROLE app CONNECTION LIMIT 3")
        found = checked(sides)
    assert not_ok(found) == {}
    assert found["roles"].note.endswith("with other attributes than on the source: app")


# --- sequences --------------------------------------------------------------------------------------------------------


class Carrying:
    """A carrier that says what it is told to."""

    def __init__(self, lag: Lag | None = None, error: Exception | None = None) -> None:
        self.now, self.error = lag or Lag(bytes=2048, seconds=0.25, method="slot"), error

    def check(self) -> None:
        """Fail as told."""
        if self.error:
            raise self.error

    def lag(self) -> Lag:
        """As told."""
        return self.now


@pytest.fixture
def behind(twins) -> Connection:
    """A target one of whose sequences is behind."""
    with twins.end("source").session("test") as conn:
        conn.execute("""SELECT nextval('"My Shop"."Order Items_id_seq"')""")
    return twins


def test_sequences_may_be_behind_while_the_cutover_is_to_come(behind, both) -> None:
    found = checked(both(behind, carrier=Carrying()))
    assert not_ok(found) == {}
    assert found["sequences"].note == "1 sequence; 1 behind on the target: the cutover sets them"


def test_sequences_may_not_be_behind_after_a_cutover_nor_where_there_is_none(behind, both) -> None:
    for known in ({"carrier": Carrying(), "authority": Side.TARGET}, {"authority": Side.TARGET}, {}):
        assert not_ok(checked(both(behind, **known))) == {
            "sequences": (
                'sequence "My Shop"."Order Items_id_seq" would hand out numbers again: next 52 on the source, next 51 '
                "on the target. There: SELECT setval(…), to what the source has or past it",
            )
        }


def test_sequences_may_be_ahead(twins, both) -> None:
    with twins.end("target").session("test") as conn:
        conn.execute("""SELECT setval('"My Shop"."Order Items_id_seq"', 1000)""")
    assert not_ok(checked(both(twins))) == {}
    assert not_ok(checked(both(twins, authority=Side.TARGET))) == {}


# --- what cannot be looked at -----------------------------------------------------------------------------------------


def test_missing_privileges_make_their_check_incomplete_alone(twins, both) -> None:
    twins.on_both("SELECT lo_from_bytea(4711, 'abc'); GRANT SELECT ON pg_user_mapping TO stranger")
    twins.on_both('GRANT USAGE ON SCHEMA "My Shop" TO stranger')
    found = checked(both(twins, "stranger"))
    said = not_ok(found)
    assert {name: found[name].verdict for name in said} == {
        "sequences": Verdict.INCOMPLETE,
        "large objects": Verdict.INCOMPLETE,
    }
    assert said["sequences"] == (
        "could not be looked at: permission denied for sequence Order Items_id_seq. docs/privileges lists what the "
        "role of a side needs",
    )
    assert [line.split(".")[0] for line in said["large objects"]] == [
        "the content of large objects may not be read on the source",
        "the content of large objects may not be read on the target",
    ]


def test_a_session_that_is_lost_is_opened_again_for_the_next_check(shared, both) -> None:
    opened = []

    def reopen(side: Side) -> Connection:
        opened.append(shared.connect(side.value, "checker"))
        return opened[-1]

    sides = both(shared, reopen=reopen)
    end(shared, sides.target)
    found = checked(sides)
    assert [name for name, result in found.items() if result.verdict is Verdict.INCOMPLETE] == NAMES[:1]
    assert len(opened) == 1


def test_without_one_every_check_says_that_it_was_not_made(shared, both) -> None:
    sides = both(shared)
    end(shared, sides.target)
    found = checked(sides)
    assert {result.verdict for result in found.values()} == {Verdict.INCOMPLETE}
    assert {line for result in list(found.values())[1:] for line in result.lines} == {
        "the connection to the target was lost: this was not looked at. Validate again"
    }


def end(twins, conn: Connection) -> None:
    """Terminate a session of the target's."""
    with twins.target.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


# --- replication, as any carrier tells of it; native streams: test_check_replication.py -------------------------------


def test_the_lag_is_noted(shared, both) -> None:
    found = checked(both(shared, carrier=Carrying()))
    assert not_ok(found) == {}
    assert found["replication"].note == "2.0 kB and 0.25 s behind, by slot"


def test_a_lag_that_is_not_known_is_incomplete(shared, both) -> None:
    found = checked(both(shared, carrier=Carrying(Lag(bytes=0, seconds=None, method="watermark"))))
    assert found["replication"].verdict is Verdict.INCOMPLETE
    assert found["replication"].note == "0 B behind, by watermark"


def test_a_carrier_that_cannot_be_asked_is_incomplete(shared, both) -> None:
    found = checked(both(shared, carrier=Carrying(error=TransientError("the API did not\nanswer"))))
    assert found["replication"].verdict is Verdict.INCOMPLETE
    assert not_ok(found) == {"replication": ("the API did not answer",)}
