"""The roles of DMS: what they lack, what the one on the target must not be; each remedy is enough."""

import pytest

from crossfade.assess import Severity
from crossfade.assess.scene import Database
from crossfade.capabilities import Capabilities
from crossfade.routers.base import Side

from .conftest import DmsStage, only


def test_roles_that_only_a_secret_knows_must_be_named_in_the_plan(dms_stage: DmsStage) -> None:
    ends = dms_stage.ends("target", role=None)
    problem = only(dms_stage.problems("dms_roles.known", ends=ends))
    assert problem.remedy.startswith("dms: {target_role: …}")
    for check in ("dms_roles.target", "dms_roles.locked_out"):
        assert dms_stage.problems(check, ends=ends) == []  # nothing to ask about


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_role_that_does_not_exist(dms_stage: DmsStage, side: str) -> None:
    plan = dms_stage.plan({f"{side}_role": "No One"})
    problem = only(dms_stage.problems(f"dms_roles.{side}", plan))
    assert problem.object == "No One"
    assert "does not exist there" in problem.seen
    assert f"docs/privileges/dms_{side}.sql" in problem.remedy


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_role_that_may_not_log_in(dms_stage: DmsStage, side: str) -> None:
    with dms_stage.on(side, "ALTER ROLE shop_dms NOLOGIN", undo=("ALTER ROLE shop_dms LOGIN",)) as conn:
        conn.execute(only(dms_stage.problems(f"dms_roles.{side}")).remedy.encode())
        assert dms_stage.problems(f"dms_roles.{side}") == []


def test_a_role_of_an_application_cannot_read_for_dms(dms_stage: DmsStage) -> None:
    problem = only(dms_stage.problems("dms_roles.source", dms_stage.plan({"source_role": "shop_app"})))
    assert "DMS must pass the fence" in problem.seen


def test_a_superuser_on_the_source_may_more_than_it_must(dms_stage: DmsStage) -> None:
    with dms_stage.on("source", "ALTER ROLE shop_dms SUPERUSER", undo=("ALTER ROLE shop_dms NOSUPERUSER",)) as conn:
        problem = only(dms_stage.problems("dms_roles.source"))
        assert problem.severity is Severity.WARNING
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.source") == []


def test_a_role_that_may_not_replicate(dms_stage: DmsStage) -> None:
    with dms_stage.on("source", "ALTER ROLE shop_dms NOREPLICATION", undo=("ALTER ROLE shop_dms REPLICATION",)) as conn:
        problem = only(dms_stage.problems("dms_roles.source"))
        assert "may not replicate" in problem.seen
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.source") == []


def test_on_rds_replication_is_a_membership_as_recorded(dms_stage: DmsStage) -> None:
    make = ("ALTER ROLE shop_dms NOREPLICATION", "CREATE ROLE rds_superuser", "CREATE ROLE rds_replication")
    undo = ("ALTER ROLE shop_dms REPLICATION", "DROP ROLE rds_superuser", "DROP ROLE rds_replication")
    with dms_stage.on("source", *make, undo=undo) as conn:
        problem = only(dms_stage.problems("dms_roles.source"))
        assert problem.remedy == 'GRANT rds_replication TO "shop_dms";'
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.source") == []


def test_tables_that_the_role_may_not_read(dms_stage: DmsStage) -> None:
    make = 'CREATE ROLE "Reader" LOGIN REPLICATION'
    undo = ('DROP OWNED BY "Reader"', 'DROP ROLE "Reader"')
    plan = dms_stage.plan({"source_role": "Reader"}, tables={"include": ["billing.*"]})
    with dms_stage.on("source", make, undo=undo) as conn:
        problem = only(dms_stage.problems("dms_roles.source", plan))
        assert problem.seen == "DMS's role may not read billing.invoices"
        conn.execute(problem.remedy.splitlines()[1].removeprefix("-- or: ").encode())
        assert dms_stage.problems("dms_roles.source", plan) == []


def test_rows_that_row_level_security_hides(dms_stage: DmsStage) -> None:
    make = ('CREATE ROLE "Reader" LOGIN REPLICATION IN ROLE pg_read_all_data',
            "ALTER TABLE billing.invoices ENABLE ROW LEVEL SECURITY")  # fmt: skip
    undo = ('DROP ROLE "Reader"', "ALTER TABLE billing.invoices DISABLE ROW LEVEL SECURITY")
    with dms_stage.on("source", *make, undo=undo) as conn:
        plan = dms_stage.plan({"source_role": "Reader"})
        problem = only(dms_stage.problems("dms_roles.source", plan))
        assert "hides rows of billing.invoices" in problem.seen
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.source", plan) == []


def test_a_role_that_may_not_connect_to_the_source(dms_stage: DmsStage) -> None:
    make = ('CREATE ROLE "Reader" LOGIN REPLICATION IN ROLE pg_read_all_data',
            "REVOKE CONNECT ON DATABASE shop FROM PUBLIC")  # fmt: skip
    undo = ('DROP OWNED BY "Reader"', 'DROP ROLE "Reader"', "GRANT CONNECT ON DATABASE shop TO PUBLIC")
    with dms_stage.on("source", *make, undo=undo) as conn:
        plan = dms_stage.plan({"source_role": "Reader"})
        problem = only(dms_stage.problems("dms_roles.source", plan))
        assert problem.remedy == 'GRANT CONNECT ON DATABASE "shop" TO "Reader";'
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.source", plan) == []


def test_a_role_that_may_not_apply_rows_as_a_replica(dms_stage: DmsStage) -> None:
    revoke = "REVOKE SET ON PARAMETER session_replication_role FROM shop_dms"
    with dms_stage.on("target", revoke) as conn:
        problem = only(dms_stage.problems("dms_roles.target"))
        assert "session_replication_role" in problem.seen
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.target") == []


def test_before_15_the_replica_role_needs_a_newer_target(dms_stage: DmsStage) -> None:
    at = dms_stage.connections["shop_target"]
    with at.session("assess") as conn:
        old = Database(Side.TARGET, at, conn)
        old.can = Capabilities(version_num=140012)  # as recorded: no privilege can be had for it there
        assert "PostgreSQL 15 or newer" in only(dms_stage.problems("dms_roles.target", target=old)).remedy


def test_tables_that_are_there_and_not_granted_yet_are_a_note(dms_stage: DmsStage) -> None:
    with dms_stage.on("target", "CREATE TABLE public.early (id int)", undo=("DROP TABLE public.early",)) as conn:
        problem = only(dms_stage.problems("dms_roles.target"))
        assert (problem.severity, "public.early" in problem.seen) == (Severity.NOTE, True)
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_roles.target") == []


@pytest.mark.parametrize(
    ("role", "make", "undo", "seen"),
    [
        ("crossfade", (), (), "the migration's own"),
        ("shop_bi", (), (), "an application's"),
        ("shop_dms", ("ALTER ROLE shop_dms SUPERUSER",), ("ALTER ROLE shop_dms NOSUPERUSER",), "a superuser"),
        (
            "shop_dms",
            ("ALTER DATABASE shop OWNER TO shop_dms",),
            ("ALTER DATABASE shop OWNER TO crossfade",),
            "it owns the target's database",
        ),
        (
            "shop_dms",
            ("CREATE ROLE shop_app", "GRANT shop_app TO shop_dms"),
            ("DROP ROLE shop_app",),
            "a member of shop_app",
        ),
        ("shop_dms", ("GRANT crossfade TO shop_dms",), ("REVOKE crossfade FROM shop_dms",), "a member of crossfade"),
        ("shop_dms", ("ALTER ROLE shop_dms REPLICATION",), ("ALTER ROLE shop_dms NOREPLICATION",), "may replicate"),
    ],
)
def test_a_role_that_the_cutover_could_not_lock_out(
    dms_stage: DmsStage, role: str, make: tuple[str, ...], undo: tuple[str, ...], seen: str
) -> None:
    plan = dms_stage.plan({"target_role": role})
    with dms_stage.on("target", *make, undo=undo) as conn:
        problem = only(dms_stage.problems("dms_roles.locked_out", plan))
        assert (problem.object, seen in problem.seen) == (role, True)
        if problem.remedy.startswith(("ALTER", "REVOKE")):
            conn.execute(problem.remedy.encode())
            assert dms_stage.problems("dms_roles.locked_out", plan) == []


def test_a_role_of_its_own_can_be_locked_out(dms_stage: DmsStage) -> None:
    assert dms_stage.problems("dms_roles.locked_out") == []
