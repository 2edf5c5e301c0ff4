"""Who runs a server, and how a setting is changed there: by SQL, or in a parameter group of RDS."""

from __future__ import annotations

import re
from enum import StrEnum

from psycopg import sql

from crossfade.connect import Connection, Endpoint, scalar

#: ``shop.cxyz.eu-west-1.rds.amazonaws.com``; a cluster has ``cluster-`` and a proxy ``proxy-`` before the second part.
_RDS_HOST = re.compile(
    r"^(?P<name>[a-z0-9-]+)\.(?P<kind>cluster-|cluster-ro-|cluster-custom-|proxy-)?[a-z0-9]+"
    r"\.[a-z0-9-]+\.rds\.amazonaws\.com(\.cn)?\.?$",
    re.IGNORECASE,
)
#: What RDS calls a setting, and the value it wants there, where that is not PostgreSQL's.
_OF_RDS = {"wal_level": ("rds.logical_replication", "1")}


class Platform(StrEnum):
    """Who runs the server."""

    PLAIN = "plain"  #: whoever has its files: settings are changed by SQL
    RDS = "rds"
    AURORA = "aurora"

    @property
    def by_aws(self) -> bool:
        """Whether settings are changed in a parameter group."""
        return self is not Platform.PLAIN


def platform(conn: Connection) -> Platform:
    """
    Who runs that server, told by what only theirs have.

    Amazon's user guides of RDS ("Understanding the rds_superuser role") and Aurora (``aurora_version``).
    """
    if scalar(conn, "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'aurora_version')"):
        return Platform.AURORA
    if scalar(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser')"):
        return Platform.RDS
    return Platform.PLAIN


def is_rds_proxy(host: str) -> bool:
    """Whether that host is an RDS Proxy by its name."""
    found = _RDS_HOST.match(host)
    return found is not None and found["kind"] == "proxy-"


def database_identifier(endpoint: Endpoint) -> str | None:
    """The identifier of the RDS instance or Aurora cluster that a connection leads to; None where its host is none."""
    found = _RDS_HOST.match(endpoint.host)
    return found["name"] if found and found["kind"] != "proxy-" else None


def change_of(at: Platform, endpoint: Endpoint, name: str, value: str | int, *, restart: bool, group: str = "…") -> str:
    """
    What to paste so that a server setting gets a value.

    :param restart: whether it takes effect only after a restart
    :param group: name of the parameter group, on RDS and Aurora
    """
    if not at.by_aws:
        literal = sql.Literal(value).as_string()
        return f"ALTER SYSTEM SET {name} = {literal};" + (
            "  -- then restart" if restart else " SELECT pg_reload_conf();"
        )
    parameter, wanted = _OF_RDS.get(name, (name, str(value)))
    database = database_identifier(endpoint) or "…"
    cluster = "cluster-" if at is Platform.AURORA else ""
    lines = [
        f"aws rds modify-db-{cluster}parameter-group --db-{cluster}parameter-group-name {group} --parameters "
        f"ParameterName={parameter},ParameterValue={wanted},"
        f"ApplyMethod={'pending-reboot' if restart else 'immediate'}"
    ]
    if restart:
        writer = "…  # the writer, then the readers, of " if cluster else ""
        lines.append(f"aws rds reboot-db-instance --db-instance-identifier {writer}{database}")
    return "\n".join(lines)
