"""The section ``dms`` of a plan: what the engine AWS DMS runs on, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from crossfade.plan_section import ConnId, Section
from crossfade.quantities import Duration, Size, parse_duration, parse_size

Arn = Annotated[str, Field(pattern=r"^arn:[a-z-]+:")]

#: KB; the most that DMS loads in bulk: of LobMaxSize it is recommended, of InlineLobMaxSize the limit
#: (docs.aws.amazon.com/dms: Setting LOB support for source databases).
LARGEST_LIMITED_KB = 102_400


class NewInstance(Section):
    """A replication instance that `prepare` creates, named ``crossfade-<plan>``."""

    class_: str = Field(alias="class", pattern=r"^dms\.")
    """Instance class, such as dms.r6i.large."""
    storage: Size = parse_size("100GB")
    """Allocated storage: it takes cached changes and logs."""
    subnet_group: str | None = None
    """Replication subnet group. Default: that of the account's default VPC."""
    security_groups: tuple[str, ...] = ()
    multi_az: bool = False
    public: bool = False
    """Whether it gets a public address."""


class Secret(Section):
    """Where DMS reads an endpoint's user and password, instead of being told them."""

    id: str
    """Name or ARN of the secret in Secrets Manager."""
    role: Arn
    """Role that DMS assumes to read it."""


class NewEndpoint(Section):
    """An endpoint that `prepare` creates, named ``crossfade-<plan>-source`` or ``-target``."""

    connection: ConnId
    """Airflow connection with the host as DMS reaches it, and the role that DMS logs in as."""
    tls: Literal["none", "require", "verify-ca", "verify-full"] = "require"
    certificate: Arn | None = None
    """Certificate imported into DMS; needed by verify-ca and verify-full."""
    secret: Secret | None = None
    """Default: user and password of the connection."""
    aurora: bool = False
    """Whether the engine name is aurora-postgresql rather than postgres."""

    @model_validator(mode="after")
    def _certificate_where_it_is_verified(self) -> NewEndpoint:
        if self.tls.startswith("verify") and self.certificate is None:
            raise ValueError(f"tls {self.tls} needs a certificate: the ARN that ImportCertificate gave")
        return self


def _arn_or_new(new: str) -> Any:
    def tag(given: Any) -> str:
        return "Arn" if isinstance(given, str) else new

    return Discriminator(tag)


Instance = Annotated[
    Annotated[Arn, Tag("Arn")] | Annotated[NewInstance, Tag("NewInstance")], _arn_or_new("NewInstance")
]
DmsEndpoint = Annotated[
    Annotated[Arn, Tag("Arn")] | Annotated[NewEndpoint, Tag("NewEndpoint")], _arn_or_new("NewEndpoint")
]


class Lobs(Section):
    """How large objects are carried: text, json, bytea, arrays …"""

    headroom: float = Field(default=2.0, ge=1.0, allow_inf_nan=False)
    """LobMaxSize is the largest value seen, times this: they may grow while the migration runs."""
    largest_limited: Size = LARGEST_LIMITED_KB * 1024
    """A table whose largest value, with head-room, is larger than this is loaded in the mode for outliers."""
    outliers: Literal["inline", "full"] = "inline"
    """inline: values up to inline_limit in bulk, larger ones one by one. full: all one by one (slow)."""
    inline_limit: Size = parse_size("64kB")

    @field_validator("largest_limited", "inline_limit")
    @classmethod
    def _within_what_dms_takes(cls, value: int) -> int:
        if not 1024 <= value <= LARGEST_LIMITED_KB * 1024:
            raise ValueError("DMS takes 1kB to 100MB")
        return value


class Latency(Section):
    """When CDC counts as current: both of CloudWatch's latencies, which have a resolution of one minute."""

    max_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    periods: int = Field(default=3, ge=1)
    """Samples in a row that must be below."""


class Assessment(Section):
    """A premigration assessment run of DMS's own, before the load."""

    role: Arn
    """Service role that may write to the bucket."""
    bucket: str
    folder: str = ""
    exclude: tuple[str, ...] = ()
    """Names of individual assessments to leave out."""


class Back(Section):
    """
    What ``rollback.way_back: dms`` runs on beyond the rest: endpoints of the other direction, and slots by name.

    By default endpoints are made, with the connections of ``dms.source`` and ``dms.target``.
    """

    source: DmsEndpoint | None = None
    """
    The source endpoint that reads the target. By ARN: its slotName is ``crossfade_<plan>_1_back``, and
    failTasksOnLobTruncation is set.
    """
    target: DmsEndpoint | None = None
    """The target endpoint that writes to the source. Its role must be DMS's own: a rollback locks it out."""
    again: DmsEndpoint | None = None
    """The same that reads the source after a rollback; its slotName is ``crossfade_<plan>_1``."""
    source_role: str | None = None
    """Role that DMS logs in as at ``source``. Default: the connection's, or the user of the endpoint in AWS."""
    target_role: str | None = None
    """The same at ``target``."""
    plugin: str = Field(default="test_decoding", pattern=r"^[a-z][a-z0-9_]*$")
    """Output plugin of the slots that are made for DMS to read."""


class Dms(Section):
    """AWS DMS as the engine."""

    aws: ConnId = "aws_default"
    """Airflow connection to AWS: region, credentials or role."""
    instance: Instance
    """ARN of a replication instance, or how to create one."""
    source: DmsEndpoint
    """ARN of the source endpoint, or how to create one."""
    target: DmsEndpoint
    """ARN of the target endpoint, or how to create one. Its role must be DMS's own: the cutover locks it out."""
    source_role: str | None = None
    """Role that DMS logs in as on the source. Default: the connection's, or the user of the endpoint in AWS."""
    target_role: str | None = None
    """The same on the target. Needed where an endpoint given by its ARN takes its login from a secret."""
    back: Back | None = None
    """Only for ``rollback.way_back: dms``."""
    lobs: Lobs = Lobs()
    latency: Latency = Latency()
    settings: dict[str, Any] = Field(default_factory=dict)
    """Task settings of DMS that differ from Crossfade's: merged into them section by section."""
    validation: bool = False
    """Whether DMS validates, too. Crossfade compares every row by itself; this costs both databases more load."""
    assessment: Assessment | None = None
    start_timeout: Duration = parse_duration("30min")
    """How long instance, connections and task may take to come up."""
    load_timeout: Duration = parse_duration("7d")
    """How long the full load may take."""

    @property
    def connections(self) -> set[str]:
        """Of the endpoints that are made: DMS's roles are theirs, where the plan does not name these."""
        back = self.back or Back()
        ends = (self.source, self.target, back.source, back.target, back.again)
        return {end.connection for end in ends if isinstance(end, NewEndpoint)}

    def missing_for_way_back(self) -> Iterator[str]:
        """Keys of endpoints that a way back by DMS needs, and that cannot be made of what is known."""
        back = self.back or Back()
        if back.source is None and isinstance(self.target, str):
            yield "dms.back.source"
        if isinstance(self.source, str):
            yield from (f"dms.back.{key}" for key in ("target", "again") if getattr(back, key) is None)
