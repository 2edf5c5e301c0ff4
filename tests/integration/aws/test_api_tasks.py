"""The life of a replication task as the API shows it: real HTTP, a fake worker."""

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_a_task_goes_from_creating_to_ready_with_a_resource_id_of_26_characters(dms: Any) -> None:
    arn = dms.task()
    assert re.fullmatch(r"arn:aws:dms:eu-west-1:123456789012:task:[A-Z][A-Z0-9]{25}", arn)
    assert "ReplicationTaskStats" not in dms.described(arn)


def test_a_full_load_ends_with_its_stop_reason_and_statistics(dms: Any) -> None:
    arn = dms.task(MigrationType="full-load", TableMappings=dms.mapping("orders", 'naïve"quote'))
    dms.start(arn)
    ended = dms.until(arn, "stopped")
    assert ended["StopReason"] == "Stop Reason FULL_LOAD_ONLY_FINISHED"
    stats = ended["ReplicationTaskStats"]
    assert (stats["FullLoadProgressPercent"], stats["TablesLoaded"], stats["TablesErrored"]) == (100, 2, 0)
    assert stats["FullLoadFinishDate"] > stats["FullLoadStartDate"]


def test_a_running_task_is_stopping_for_a_while_and_then_resumes_only(dms: Any) -> None:
    arn = dms.running()
    assert dms.described(arn)["RecoveryCheckpoint"].startswith("checkpoint:")
    dms.client.stop_replication_task(ReplicationTaskArn=arn)
    assert dms.described(arn)["Status"] == "stopping"
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.start(arn, "resume-processing")
    assert dms.until(arn, "stopped")["StopReason"] == "Stop Reason NORMAL"
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault, match="for the first time"):
        dms.start(arn)
    dms.start(arn, "resume-processing")
    dms.until(arn, "running")
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.delete_replication_task(ReplicationTaskArn=arn)


def test_what_has_not_run_cannot_resume_and_what_does_not_run_cannot_stop(dms: Any) -> None:
    arn = dms.task()
    for kind in ("resume-processing", "reload-target"):
        with pytest.raises(dms.client.exceptions.InvalidResourceStateFault, match="have run before"):
            dms.start(arn, kind)
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.stop_replication_task(ReplicationTaskArn=arn)


def test_a_start_position_is_for_captures_with_a_slot_of_their_own(dms: Any) -> None:
    arn = dms.task(MigrationType="cdc")
    with pytest.raises(ClientError, match="InvalidParameterCombination"):
        dms.start(arn, CdcStartPosition="0/16B3748")
    source = dms.endpoint("source", PostgreSQLSettings={"SlotName": "mine"})
    assert dms.tested(source)["Status"] == "successful"
    with_slot = dms.task(MigrationType="cdc", SourceEndpointArn=source)
    dms.start(with_slot, CdcStartPosition="0/16B3748")
    dms.until(with_slot, "running")
    spec = json.loads((dms.aws.task_directory(with_slot) / "spec.json").read_text())
    assert (spec["cdc_start_position"], spec["slot_name"]) == ("0/16B3748", "mine")


def test_a_killed_worker_is_a_recoverable_failure_and_the_task_resumes(dms: Any) -> None:
    arn = dms.running()
    assert dms.aws.kill_worker(arn)
    failed = dms.until(arn, "failed")
    assert failed["StopReason"] == "Stop Reason RECOVERABLE_ERROR"
    assert "unexpectedly" in failed["LastFailureMessage"]
    dms.start(arn, "resume-processing")
    assert "LastFailureMessage" not in dms.until(arn, "running")


def test_a_fault_reaches_the_worker_and_its_message_the_client(dms: Any) -> None:
    arn = dms.running()
    dms.aws.fault(arn, fail="Last Error table public.orders is broken")
    failed = dms.until(arn, "failed")
    assert failed["LastFailureMessage"] == "Last Error table public.orders is broken"
    dms.aws.fault(arn)
    dms.start(arn, "resume-processing")
    dms.until(arn, "running")


def test_deleting_a_task_drops_its_slot_but_not_one_that_was_named(dms: Any) -> None:
    with dms.database.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
    named = dms.endpoint("source", PostgreSQLSettings={"SlotName": "kept"})
    assert dms.tested(named)["Status"] == "successful"
    arns = [dms.running(), dms.running(SourceEndpointArn=named)]

    def slots() -> set[str]:
        with dms.database.connect() as connection:
            return {name for (name,) in connection.execute("SELECT slot_name FROM pg_replication_slots")}

    own = f"fake_{arns[0].rpartition(':')[2].lower()}"
    assert {own, "kept"} <= slots()
    for arn in arns:
        dms.client.stop_replication_task(ReplicationTaskArn=arn)
    for arn in arns:
        dms.until(arn, "stopped")
        gone = dms.client.delete_replication_task(ReplicationTaskArn=arn)["ReplicationTask"]
        assert gone["Status"] == "deleting"

    dms.wait_for(lambda: all(is_gone(dms, arn) for arn in arns))
    assert own not in slots()
    assert "kept" in slots()


def test_a_worker_that_dies_before_its_first_word_leaves_no_slot_that_nobody_knows(dms: Any) -> None:
    arn = dms.running()
    own = f"fake_{arn.rpartition(':')[2].lower()}"
    dms.aws.kill_worker(arn)
    dms.until(arn, "failed")
    dms.aws.fault(arn, die_at_once=True)
    dms.start(arn, "resume-processing")
    dms.until(arn, "failed")
    assert [table["TableName"] for table in statistics(dms, arn)] == ["orders"]
    dms.client.delete_replication_task(ReplicationTaskArn=arn)
    dms.wait_for(lambda: is_gone(dms, arn))
    with dms.database.connect() as connection:
        found = connection.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [own]).fetchone()
    assert found is None


def is_gone(dms: Any, arn: str) -> bool:
    try:
        dms.described(arn)
    except dms.client.exceptions.ResourceNotFoundFault:
        return True
    return False


def statistics(dms: Any, arn: str) -> list[dict[str, Any]]:
    return list(dms.client.describe_table_statistics(ReplicationTaskArn=arn)["TableStatistics"])


def test_table_statistics_are_filtered_and_paged(dms: Any) -> None:
    arn = dms.running(TableMappings=dms.mapping(*(f"t{number:02}" for number in range(25))))
    first = dms.client.describe_table_statistics(ReplicationTaskArn=arn, MaxRecords=20)
    rest = dms.client.describe_table_statistics(ReplicationTaskArn=arn, MaxRecords=20, Marker=first["Marker"])
    names = [table["TableName"] for part in (first, rest) for table in part["TableStatistics"]]
    assert names == [f"t{number:02}" for number in range(25)]
    assert "Marker" not in rest
    only = [{"Name": "table-name", "Values": ["t07"]}, {"Name": "table-state", "Values": ["Table completed"]}]
    (found,) = dms.client.describe_table_statistics(ReplicationTaskArn=arn, Filters=only)["TableStatistics"]
    assert (found["FullLoadRows"], found["ValidationState"]) == (7, "Not enabled")
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        dms.client.describe_table_statistics(ReplicationTaskArn=arn, MaxRecords=5)


def test_tables_are_reloaded_while_the_task_runs(dms: Any) -> None:
    arn = dms.task()
    table = {"SchemaName": "public", "TableName": "orders"}
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.reload_tables(ReplicationTaskArn=arn, TablesToReload=[table])
    dms.start(arn)
    dms.until(arn, "running")
    dms.client.reload_tables(ReplicationTaskArn=arn, TablesToReload=[table])

    def reloaded() -> bool:
        (found,) = dms.client.describe_table_statistics(ReplicationTaskArn=arn)["TableStatistics"]
        return bool(found["FullLoadReloaded"])

    dms.wait_for(reloaded)
    for wrong in ({"TablesToReload": [table] * 11}, {"TablesToReload": [{**table, "TableName": "other"}]}):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            dms.client.reload_tables(ReplicationTaskArn=arn, **wrong)
    with pytest.raises(ClientError, match="validation enabled"):
        dms.client.reload_tables(ReplicationTaskArn=arn, TablesToReload=[table], ReloadOption="validate-only")


def test_a_task_is_modified_at_rest_only_and_keeps_what_is_not_named(dms: Any) -> None:
    arn = dms.task(ReplicationTaskSettings=json.dumps({"FullLoadSettings": {"CommitRate": 500}}))
    changed = dms.client.modify_replication_task(
        ReplicationTaskArn=arn, ReplicationTaskSettings=json.dumps({"ErrorBehavior": {"DataErrorPolicy": "STOP_TASK"}})
    )["ReplicationTask"]
    assert changed["Status"] == "modifying"
    settings = json.loads(dms.until(arn, "ready")["ReplicationTaskSettings"])
    assert settings["FullLoadSettings"]["CommitRate"] == 500
    assert settings["ErrorBehavior"]["DataErrorPolicy"] == "STOP_TASK"
    dms.start(arn)
    dms.until(arn, "running")
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.modify_replication_task(ReplicationTaskArn=arn, TableMappings=dms.mapping("other"))


def test_tasks_are_found_by_filters_and_nothing_found_is_a_fault(dms: Any) -> None:
    arn = dms.task(ReplicationTaskIdentifier="Looked-For")
    by_id = [{"Name": "replication-task-id", "Values": ["looked-for"]}]
    found = dms.client.describe_replication_tasks(Filters=by_id, WithoutSettings=True)["ReplicationTasks"]
    assert [task["ReplicationTaskArn"] for task in found] == [arn]
    assert "ReplicationTaskSettings" not in found[0]
    with pytest.raises(dms.client.exceptions.ResourceNotFoundFault):
        dms.client.describe_replication_tasks(Filters=[{"Name": "replication-task-id", "Values": ["nobody"]}])
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        dms.client.describe_replication_tasks(Filters=[{"Name": "colour", "Values": ["blue"]}])
