"""The actions of the DMS API: parameters in, structures out; the work is the backend's.

moto calls the method whose name is the action's in snake case. Errors are raised and answered as AWS does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.dms.responses import DatabaseMigrationServiceResponse

from crossfade_lab.aws.dms import assessments, instances
from crossfade_lab.aws.dms.errors import InvalidParameterCombinationException, ResourceNotFoundFault
from crossfade_lab.aws.dms.models import LocalDms, dms_backends
from crossfade_lab.aws.dms.paging import Item, page, select
from crossfade_lab.aws.dms.reporting import describe_table

_MOST_TABLES = 500

#: Parameters of ModifyEndpoint that are simulated, and the attribute of an endpoint that each sets.
_ENDPOINT_CHANGES: Mapping[str, str] = {
    "EndpointIdentifier": "endpoint_identifier",
    "EngineName": "engine_name",
    "Username": "username",
    "Password": "password",
    "ServerName": "server_name",
    "Port": "port",
    "DatabaseName": "database_name",
    "ExtraConnectionAttributes": "extra_connection_attributes",
    "SslMode": "ssl_mode",
    "PostgreSQLSettings": "postgre_sql_settings",
}
_TASK_CHANGES: Mapping[str, str] = {
    "ReplicationTaskIdentifier": "identifier",
    "MigrationType": "migration_type",
    "TableMappings": "table_mappings",
    "ReplicationTaskSettings": "task_settings",
    "CdcStartPosition": "cdc_start_position",
    "CdcStopPosition": "cdc_stop_position",
    "TaskData": "task_data",
}


class DmsResponse(DatabaseMigrationServiceResponse):
    """Answers one request; what is not defined here is moto's own."""

    @property
    def dms_backend(self) -> LocalDms:
        """The DMS of the request's account and region."""
        return dms_backends[self.current_account][self.region]

    @property
    def asked(self) -> dict[str, Any]:
        """The request's parameters."""
        return dict(json.loads(self.body))

    def call_action(self) -> TYPE_RESPONSE:
        """One request at a time, and none while the supervisor changes states."""
        with LocalDms.lock:
            return super().call_action()

    def _found(
        self,
        member: str,
        items: Sequence[Item],
        offers: Mapping[str, Callable[[Item], Sequence[str]]],
        describe: Callable[[Item], Mapping[str, Any]],
        *,
        missing: str | None = None,
    ) -> str:
        """The answer of a Describe call; `missing` names what was not found when filters find nothing."""
        asked = self.asked
        filters = asked.get("Filters") or []
        chosen = select(items, filters, offers)
        if missing and filters and not chosen:
            raise ResourceNotFoundFault(f"No {missing} found matching the filter")
        shown, marker = page(chosen, records=asked.get("MaxRecords"), marker=asked.get("Marker"))
        return _answer({member: [describe(item) for item in shown], "Marker": marker})

    # Replication instances

    def describe_replication_instances(self) -> str:
        """DescribeReplicationInstances."""
        return self._found(
            "ReplicationInstances",
            list(self.dms_backend.instances()),
            {
                "replication-instance-arn": lambda instance: [instance.arn],
                "replication-instance-id": lambda instance: [instance.id],
                "replication-instance-class": lambda instance: [instance.replication_instance_class],
                "engine-version": lambda instance: [instance.engine_version or ""],
            },
            lambda instance: instance.to_dict(),
            missing="replication instances",
        )

    def describe_orderable_replication_instances(self) -> str:
        """DescribeOrderableReplicationInstances."""
        return self._found("OrderableReplicationInstances", instances.orderable(self.region), {}, dict)

    # Endpoints and connections

    def modify_endpoint(self) -> str:
        """ModifyEndpoint."""
        asked = self.asked
        if "EndpointType" in asked:
            raise InvalidParameterCombinationException("The type of an endpoint cannot be modified here")
        changes = {attribute: asked[name] for name, attribute in _ENDPOINT_CHANGES.items() if name in asked}
        exact = bool(asked.get("ExactSettings", False))
        changed = self.dms_backend.modify_endpoint(asked["EndpointArn"], changes, exact_settings=exact)
        return _answer({"Endpoint": changed.to_dict()})

    def describe_endpoints(self) -> str:
        """DescribeEndpoints."""
        return self._found(
            "Endpoints",
            self.dms_backend.all_endpoints(),
            {
                "endpoint-arn": lambda endpoint: [endpoint.endpoint_arn],
                "endpoint-type": lambda endpoint: [endpoint.endpoint_type],
                "endpoint-id": lambda endpoint: [endpoint.endpoint_identifier],
                "engine-name": lambda endpoint: [endpoint.engine_name],
            },
            lambda endpoint: endpoint.to_dict(),
            missing="endpoints",
        )

    def describe_connections(self) -> str:
        """DescribeConnections."""
        return self._found(
            "Connections",
            list(self.dms_backend.tests.values()),
            {
                "endpoint-arn": lambda connection: [connection.endpoint_arn],
                "replication-instance-arn": lambda connection: [connection.replication_instance_arn],
            },
            lambda connection: connection.to_dict(),
        )

    def delete_connection(self) -> str:
        """DeleteConnection."""
        asked = self.asked
        deleted = self.dms_backend.delete_connection(asked["ReplicationInstanceArn"], asked["EndpointArn"])
        return _answer({"Connection": deleted.to_dict()})

    # Tasks

    def create_replication_task(self) -> str:
        """CreateReplicationTask."""
        asked = self.asked
        _refuse_start_time(asked)
        task = self.dms_backend.add_task(
            instance_arn=asked["ReplicationInstanceArn"],
            source_arn=asked["SourceEndpointArn"],
            target_arn=asked["TargetEndpointArn"],
            identifier=asked["ReplicationTaskIdentifier"],
            suffix=asked.get("ResourceIdentifier"),
            migration_type=asked["MigrationType"],
            table_mappings=asked["TableMappings"],
            task_settings=asked.get("ReplicationTaskSettings"),
        )
        task.cdc_start_position = asked.get("CdcStartPosition")
        task.cdc_stop_position = asked.get("CdcStopPosition")
        task.task_data = asked.get("TaskData")
        if asked.get("Tags"):
            self.dms_backend.tagger.tag_resource(task.arn, asked["Tags"])
        return _answer({"ReplicationTask": task.to_dict()})

    def modify_replication_task(self) -> str:
        """ModifyReplicationTask."""
        asked = self.asked
        _refuse_start_time(asked)
        task = self.dms_backend.task(asked["ReplicationTaskArn"])
        task.modify({attribute: asked[name] for name, attribute in _TASK_CHANGES.items() if name in asked})
        return _answer({"ReplicationTask": task.to_dict()})

    def start_replication_task(self) -> str:
        """StartReplicationTask."""
        asked = self.asked
        _refuse_start_time(asked)
        task = self.dms_backend.task(asked["ReplicationTaskArn"])
        task.require_resting("started")
        task.instance.require_available()
        self.dms_backend.require_tested(task)
        task.begin(
            asked["StartReplicationTaskType"],
            start_position=asked.get("CdcStartPosition"),
            stop_position=asked.get("CdcStopPosition"),
        )
        return _answer({"ReplicationTask": task.to_dict()})

    def stop_replication_task(self) -> str:
        """StopReplicationTask."""
        task = self.dms_backend.task(self.asked["ReplicationTaskArn"])
        task.ask_to_stop()
        return _answer({"ReplicationTask": task.to_dict()})

    def describe_replication_tasks(self) -> str:
        """DescribeReplicationTasks."""
        left_out = {"ReplicationTaskSettings", "TableMappings"} if self.asked.get("WithoutSettings") else set()
        return self._found(
            "ReplicationTasks",
            list(self.dms_backend.tasks.values()),
            {
                "replication-task-arn": lambda task: [task.arn],
                "replication-task-id": lambda task: [task.id],
                "migration-type": lambda task: [task.migration_type],
                "endpoint-arn": lambda task: [task.source_endpoint_arn, task.target_endpoint_arn],
                "replication-instance-arn": lambda task: [task.replication_instance_arn],
            },
            lambda task: {name: value for name, value in task.to_dict().items() if name not in left_out},
            missing="tasks",
        )

    def describe_table_statistics(self) -> str:
        """DescribeTableStatistics."""
        asked = self.asked
        task = self.dms_backend.task(asked["ReplicationTaskArn"])
        chosen = select(
            [describe_table(table) for table in task.report.get("tables", [])],
            asked.get("Filters") or [],
            {
                "schema-name": lambda table: [table["SchemaName"]],
                "table-name": lambda table: [table["TableName"]],
                "table-state": lambda table: [table["TableState"]],
            },
        )
        shown, marker = page(chosen, records=asked.get("MaxRecords"), marker=asked.get("Marker"), largest=_MOST_TABLES)
        return _answer({"ReplicationTaskArn": task.arn, "TableStatistics": shown, "Marker": marker})

    def reload_tables(self) -> str:
        """ReloadTables."""
        asked = self.asked
        task = self.dms_backend.task(asked["ReplicationTaskArn"])
        task.reload(asked["TablesToReload"], asked.get("ReloadOption") or "data-reload")
        return _answer({"ReplicationTaskArn": task.arn})

    # Assessment runs

    def start_replication_task_assessment_run(self) -> str:
        """StartReplicationTaskAssessmentRun."""
        asked, backend = self.asked, self.dms_backend
        task = backend.task(asked["ReplicationTaskArn"])
        backend.require_tested(task)
        run = backend.assessments.start(task, asked, account=self.current_account, lock=LocalDms.lock)
        return _answer({"ReplicationTaskAssessmentRun": run.to_dict(latest=True)})

    def describe_replication_task_assessment_runs(self) -> str:
        """DescribeReplicationTaskAssessmentRuns."""
        runs = self.dms_backend.assessments
        return self._found(
            "ReplicationTaskAssessmentRuns",
            runs.all(),
            {
                "replication-task-assessment-run-arn": lambda run: [run.arn],
                "replication-task-arn": lambda run: [run.task.arn],
                "replication-instance-arn": lambda run: [run.task.replication_instance_arn],
                "status": lambda run: [run.status],
            },
            lambda run: run.to_dict(latest=runs.is_latest(run)),
        )

    def describe_replication_task_individual_assessments(self) -> str:
        """DescribeReplicationTaskIndividualAssessments."""
        return self._found(
            "ReplicationTaskIndividualAssessments",
            [single for run in self.dms_backend.assessments.all() for single in run.singles],
            {
                "replication-task-assessment-run-arn": lambda single: [single.run_arn],
                "replication-task-arn": lambda single: [single.task_arn],
                "status": lambda single: [single.status],
            },
            lambda single: single.to_dict(),
        )

    def describe_applicable_individual_assessments(self) -> str:
        """DescribeApplicableIndividualAssessments."""
        asked = self.asked
        kind = asked.get("MigrationType")
        if "ReplicationTaskArn" in asked:
            kind = self.dms_backend.task(asked["ReplicationTaskArn"]).migration_type
        shown, marker = page(assessments.applicable(kind), records=asked.get("MaxRecords"), marker=asked.get("Marker"))
        return _answer({"IndividualAssessmentNames": shown, "Marker": marker})

    def cancel_replication_task_assessment_run(self) -> str:
        """CancelReplicationTaskAssessmentRun."""
        run = self.dms_backend.assessments.cancel(self.asked["ReplicationTaskAssessmentRunArn"])
        return _answer({"ReplicationTaskAssessmentRun": run.to_dict(latest=True)})

    def delete_replication_task_assessment_run(self) -> str:
        """DeleteReplicationTaskAssessmentRun."""
        run = self.dms_backend.assessments.delete(self.asked["ReplicationTaskAssessmentRunArn"])
        return _answer({"ReplicationTaskAssessmentRun": run.to_dict(latest=False)})


def _refuse_start_time(asked: Mapping[str, Any]) -> None:
    """PostgreSQL sources allow no custom start time: no timestamp maps to an LSN (AWS DMS user guide, on CDC)."""
    if "CdcStartTime" in asked:
        if "CdcStartPosition" in asked:
            raise InvalidParameterCombinationException("Use either CdcStartPosition or CdcStartTime, not both")
        raise InvalidParameterCombinationException("PostgreSQL sources do not support CdcStartTime")


def _answer(content: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in content.items() if value is not None})
