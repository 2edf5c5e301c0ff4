"""The routers of a plan: what sends clients to the database, and how it is switched over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from crossfade.plan_section import ConnId, Section, one_or_many_schema
from crossfade.quantities import Duration, parse_duration

_VIA = r"^(local|sftp:.+)$"
Via = Annotated[str, Field(pattern=_VIA)]


class FileSwitch(Section):
    """Repoint by rewriting the file that holds ``[databases]``, which pgbouncer.ini includes with ``%include``."""

    file: str
    """Path of that file, as the worker (via: local) or the SSH user (via: sftp) sees it."""
    via: Annotated[
        tuple[Via, ...],
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "pattern": _VIA},
                    {"type": "array", "items": {"type": "string", "pattern": _VIA}, "minItems": 1, "uniqueItems": True},
                ]
            }
        ),
    ] = Field(default=("local",), min_length=1)
    """``local``, or ``sftp:`` and the id of an SSH connection; a list where several hosts have such a file."""

    @field_validator("via", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def ssh_connections(self) -> tuple[str, ...]:
        """Ids of the SSH connections that lead to the file."""
        return tuple(via.removeprefix("sftp:") for via in self.via if via != "local")

    @field_validator("via")
    @classmethod
    def _each_host_once(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(hosts)) < len(hosts):
            raise ValueError(f"a host is named twice: {', '.join(hosts)}")
        return hosts


class ConffileSides(Section):
    source: str
    """Path, on the pooler's host, of a complete pgbouncer.ini that points at the source."""
    target: str
    """Path, on the pooler's host, of a complete pgbouncer.ini that points at the target."""


class ConffileSwitch(Section):
    """Repoint through the admin console alone: ``SET conffile``, ``RELOAD``; both files lie on the pooler's host."""

    conffile: ConffileSides


def _way_of_switching(given: Any) -> str:
    """Which class reads this switch: so that an error is about what was meant, not about each possibility."""
    by_console = "conffile" in given if isinstance(given, dict) else isinstance(given, ConffileSwitch)
    return "ConffileSwitch" if by_console else "FileSwitch"


Switch = Annotated[
    Annotated[FileSwitch, Tag("FileSwitch")] | Annotated[ConffileSwitch, Tag("ConffileSwitch")],
    Discriminator(_way_of_switching),
]


#: Whose clients a router leads: those that write, or those that only read. Of AWS's routers the latter wait for no
#: replica: what they lead to cannot be asked.
Traffic = Literal["rw", "ro"]


class PgBouncerRouter(Section):
    """A PgBouncer, or a fleet of them with the same configuration."""

    kind: Literal["pgbouncer"]
    side: Traffic = "rw"
    source: ConnId | None = None
    """With side ro: what readers are led to before the cutover. Default: the plan's source."""
    target: ConnId | None = None
    """With side ro: what readers are led to after the cutover, a replica of the target. Default: the plan's target."""
    admin: Annotated[tuple[ConnId, ...], one_or_many_schema] = Field(min_length=1)
    """Connections to the admin console of every instance (database ``pgbouncer``)."""
    database: Annotated[tuple[str, ...], one_or_many_schema] = Field(min_length=1)
    """Name, or names, under which clients ask PgBouncer for the database."""
    switch: Switch

    @field_validator("admin", "database", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _own_databases_for_readers_only(self) -> PgBouncerRouter:
        if self.side == "rw" and (self.source or self.target):
            raise ValueError("writes go to the plan's own source and target: remove them here, or set 'side: ro'")
        return self


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")]


class ProxiedDatabase(Section):
    """What an RDS Proxy leads to: an instance, or a cluster."""

    instance: str | None = Field(default=None, min_length=1)
    """DB instance identifier."""
    cluster: str | None = Field(default=None, min_length=1)
    """DB cluster identifier."""

    @model_validator(mode="after")
    def _one_of_them(self) -> ProxiedDatabase:
        if (self.instance is None) == (self.cluster is None):
            raise ValueError("give either 'instance' or 'cluster', the identifier that RDS shows")
        return self

    def __str__(self) -> str:
        return f"cluster {self.cluster}" if self.cluster else f"instance {self.instance}"


class RdsProxyRouter(Section):
    """An RDS Proxy. It cannot hold clients: the cutover relies on the fence."""

    kind: Literal["rds_proxy"]
    side: Traffic = "rw"
    aws: ConnId = "aws_default"
    """Airflow connection to AWS: region, credentials or role."""
    proxy: str = Field(min_length=1)
    """Name of the proxy."""
    target_group: str = Field(default="default", min_length=1)
    source: ProxiedDatabase
    """What is registered in the target group today."""
    target: ProxiedDatabase
    """What is registered there at the cutover."""
    timeout: Duration = parse_duration("5min")
    """How long the proxy may take to find the target available."""

    @model_validator(mode="after")
    def _two_databases(self) -> RdsProxyRouter:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        return self


class WeightedPair(Section):
    """Two weighted records of one name: 100 for the side that serves, 0 for the other."""

    source: str = Field(min_length=1)
    """Set identifier of the record that leads to the source."""
    target: str = Field(min_length=1)
    """Set identifier of the record that leads to the target."""
    type: Literal["CNAME", "A", "AAAA"] = "CNAME"

    @model_validator(mode="after")
    def _two_records(self) -> WeightedPair:
        if self.source == self.target:
            raise ValueError(f"source and target are the same record {self.source!r}")
        return self


class Route53Router(Section):
    """A name in Route 53, which clients resolve. It cannot hold clients: the cutover relies on the fence."""

    kind: Literal["route53"]
    side: Traffic = "rw"
    aws: ConnId = "aws_default"
    """Airflow connection to AWS: region, credentials or role."""
    zone: str = Field(pattern=r"^[A-Z0-9]+$")
    """Id of the hosted zone, such as Z0123456789ABC."""
    record: Host
    """The name that clients connect to."""
    source: Host | None = None
    """Value of the CNAME that leads to the source. Default: the host of the plan's source."""
    target: Host | None = None
    """Value of the CNAME that leads to the target. Default: the host of the plan's target."""
    weighted: WeightedPair | None = None
    """Instead of one CNAME that is rewritten: two weighted records."""
    max_ttl: Duration = parse_duration("5s")
    """A longer TTL of the record blocks the cutover."""
    timeout: Duration = parse_duration("3min")
    """How long Route 53 may take to bring a change to all its name servers."""

    @model_validator(mode="after")
    def _one_way(self) -> Route53Router:
        if self.weighted and (self.source or self.target):
            raise ValueError("with 'weighted' the records hold the hosts: remove 'source' and 'target'")
        if self.source and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}")
        return self


class SecretDatabase(Section):
    """What a connection secret says of one side. What is left out is as in the plan's connection."""

    host: Host | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    dbname: str | None = Field(default=None, min_length=1)
    instance: str | None = Field(default=None, min_length=1)
    """Written as dbInstanceIdentifier."""
    cluster: str | None = Field(default=None, min_length=1)
    """Written as dbClusterIdentifier."""


class SecretRouter(Section):
    """A secret that tells clients where their database is. It cannot hold them: the cutover relies on the fence."""

    kind: Literal["secret"]
    side: Traffic = "rw"
    aws: ConnId = "aws_default"
    """Airflow connection to AWS: region, credentials or role."""
    secret: str = Field(min_length=1)
    """Name or ARN of the secret: JSON with host, port, dbname, username, password."""
    source: SecretDatabase = SecretDatabase()
    target: SecretDatabase = SecretDatabase()


_KINDS = {
    "pgbouncer": "PgBouncerRouter",
    "rds_proxy": "RdsProxyRouter",
    "route53": "Route53Router",
    "secret": "SecretRouter",
}


def _which_kind(given: Any) -> str | None:
    """Which class reads this router: so that an error is about that kind's keys alone."""
    kind = given.get("kind") if isinstance(given, dict) else getattr(given, "kind", None)
    return _KINDS.get(str(kind))


#: What sends clients to a database: the contract in `routers.base`, one module a kind.
Router = Annotated[
    Annotated[PgBouncerRouter, Tag("PgBouncerRouter")]
    | Annotated[RdsProxyRouter, Tag("RdsProxyRouter")]
    | Annotated[Route53Router, Tag("Route53Router")]
    | Annotated[SecretRouter, Tag("SecretRouter")],
    Discriminator(
        _which_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"a router needs 'kind', one of {', '.join(_KINDS)}",
    ),
]
