"""What a server can do, by version: each ability as a boolean, and as a check that raises."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError


class Unsupported(PreconditionError):
    """A server is too old for what was asked of it."""

    def __init__(self, *, ability: str, version: str) -> None:
        super().__init__(f"PostgreSQL {version} cannot {ability}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """Abilities of one server. Source of the versions: PostgreSQL's release notes."""

    version_num: int  #: server_version_num, e.g. 160014

    @property
    def major(self) -> int:
        """The major version, e.g. 16."""
        return self.version_num // 10000

    @property
    def version(self) -> str:
        """As people write it, e.g. 16.14."""
        return f"{self.major}.{self.version_num % 10000}"

    @property
    def tid_range_scan(self) -> bool:
        """Reads ``ctid BETWEEN`` without a full scan (14): a table can be copied in parts."""
        return self.major >= 14

    @property
    def origin_filter(self) -> bool:
        """Subscriptions take ``origin = none`` (16): what came by replication is not sent back."""
        return self.major >= 16

    @property
    def subscriptions_without_superuser(self) -> bool:
        """pg_create_subscription (16): a role that is no superuser may subscribe."""
        return self.major >= 16

    @property
    def membership_options(self) -> bool:
        """GRANT role … WITH INHERIT, SET (16)."""
        return self.major >= 16

    def require(self, ability: str) -> None:
        """Raise `Unsupported` unless the ability of that name is there."""
        if not getattr(self, ability):
            raise Unsupported(ability=ability.replace("_", " "), version=self.version)


def capabilities(conn: Connection) -> Capabilities:
    """Read a server's abilities."""
    return Capabilities(version_num=int(scalar(conn, "SHOW server_version_num")))
