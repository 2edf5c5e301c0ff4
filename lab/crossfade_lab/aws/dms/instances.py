"""Replication instances: their classes, their memory, and their life from creating to deleted."""

import time
from collections.abc import Mapping
from typing import Any

from moto.dms.models import FakeReplicationInstance

from crossfade_lab.aws.dms import names
from crossfade_lab.aws.dms.errors import InvalidParameterValueException, InvalidResourceStateFault

ENGINE_VERSION = "3.6.1"
DEFAULT_STORAGE_GB = 50
STORAGE_GB = (5, 6144)
CREATING_SECONDS = 1.0
DELETING_SECONDS = 0.5

#: Memory in MB of each class that is offered; by the table of replication instance types in the AWS DMS user guide.
MEMORY_MB: Mapping[str, int] = {
    "dms.t3.micro": 1024,
    "dms.t3.small": 2048,
    "dms.t3.medium": 4096,
    "dms.t3.large": 8192,
    "dms.c5.large": 4096,
    "dms.c5.xlarge": 8192,
    "dms.c5.2xlarge": 16384,
    "dms.c5.4xlarge": 32768,
    "dms.c6i.large": 4096,
    "dms.c6i.xlarge": 8192,
    "dms.c6i.2xlarge": 16384,
    "dms.r5.large": 16384,
    "dms.r5.xlarge": 32768,
    "dms.r5.2xlarge": 65536,
    "dms.r5.4xlarge": 131072,
    "dms.r6i.large": 16384,
    "dms.r6i.xlarge": 32768,
    "dms.r6i.2xlarge": 65536,
}


def orderable(region: str) -> list[dict[str, Any]]:
    """What DescribeOrderableReplicationInstances offers."""
    return [
        {
            "EngineVersion": ENGINE_VERSION,
            "ReplicationInstanceClass": name,
            "StorageType": "gp2",
            "MinAllocatedStorage": STORAGE_GB[0],
            "MaxAllocatedStorage": STORAGE_GB[1],
            "DefaultAllocatedStorage": DEFAULT_STORAGE_GB,
            "IncludedAllocatedStorage": DEFAULT_STORAGE_GB,
            "AvailabilityZones": [f"{region}{zone}" for zone in "abc"],
            "ReleaseStatus": "prod",
        }
        for name in MEMORY_MB
    ]


class ReplicationInstance(FakeReplicationInstance):
    """One replication instance. Nothing runs on it: its class and storage size bound what its tasks may use.

    :param options: the parameters of CreateReplicationInstance by moto's names
    """

    def __init__(self, *, region_name: str, account_id: str, **options: Any) -> None:
        options["replication_instance_identifier"] = names.identifier(
            options["replication_instance_identifier"], "ReplicationInstanceIdentifier", longest=63
        )
        _require_class(options["replication_instance_class"])
        options["allocated_storage"] = options.get("allocated_storage") or DEFAULT_STORAGE_GB
        _require_storage(options["allocated_storage"])
        options["engine_version"] = options.get("engine_version") or ENGINE_VERSION
        options["availability_zone"] = options.get("availability_zone") or f"{region_name}a"
        super().__init__(account_id=account_id, region_name=region_name, **options)
        self.arn = names.arn("rep", region=region_name, account=account_id, suffix=options.get("resource_identifier"))
        self._due = time.monotonic() + CREATING_SECONDS
        self._status = "creating"

    @property
    def status(self) -> str:
        """The state by its name in the API."""
        return str(self._status)

    @status.setter
    def status(self, status: str) -> None:
        self._status = status

    @property
    def memory_mb(self) -> int:
        """Memory of the class, in MB."""
        return MEMORY_MB[self.replication_instance_class]

    @property
    def storage_mb(self) -> int:
        """Allocated storage, in MB."""
        return int(self.allocated_storage) * 1024

    def require_available(self) -> None:
        """Refuse to work for a task or a test unless available."""
        if self.status != "available":
            raise InvalidResourceStateFault(f"Replication instance {self.id} is {self.status}, not available")

    def modify(self) -> None:
        """Begin a change that was checked by `changes`."""
        self._status, self._due = "modifying", time.monotonic() + CREATING_SECONDS

    def delete(self) -> "ReplicationInstance":
        """Begin to delete; `advance` says when it is gone."""
        self._status, self._due = "deleting", time.monotonic() + DELETING_SECONDS
        return self

    def advance(self) -> None:
        """Take the next state when its time has come; called by the supervisor and before every answer."""
        if time.monotonic() < self._due:
            return
        if self._status in ("creating", "modifying"):
            self._status = "available"
        elif self._status == "deleting":
            self._status = "deleted"

    def to_dict(self) -> dict[str, Any]:
        """The structure of the API; what has no value is left out, as AWS does."""
        description: dict[str, Any] = super().to_dict()
        return {name: value for name, value in description.items() if value is not None}


def require_valid_change(options: Mapping[str, Any]) -> None:
    """Refuse what ModifyReplicationInstance refuses about class and storage."""
    if options.get("replication_instance_class"):
        _require_class(options["replication_instance_class"])
    if options.get("allocated_storage"):
        _require_storage(options["allocated_storage"])


def _require_class(name: str) -> None:
    if name not in MEMORY_MB:
        raise InvalidParameterValueException(
            f"Replication instance class {name} is not available. Available: {', '.join(MEMORY_MB)}"
        )


def _require_storage(size: int) -> None:
    if not STORAGE_GB[0] <= size <= STORAGE_GB[1]:
        raise InvalidParameterValueException(
            f"AllocatedStorage must be between {STORAGE_GB[0]} and {STORAGE_GB[1]} GB, not {size}"
        )
