"""What DMS's own roles may do in the two databases, and locking the one on the target out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from crossfade import control
from crossfade.connect import Connection, scalar
from crossfade.engines.dms.endpoints import UnknownEndpoint, endpoint_by_arn
from crossfade.errors import PreconditionError
from crossfade.plan_dms import Back, Dms, NewEndpoint
from crossfade.queries import named_queries
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

_QUERIES = named_queries(__file__)
_EXISTS: LiteralString = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"

Name = tuple[str, str]  #: schema and name of a table


class RoleUnknown(PreconditionError):
    """It cannot be told as whom DMS logs in."""

    def __init__(self, *, key: str, endpoint: str) -> None:
        super().__init__(
            f"AWS does not tell as whom DMS logs in at the endpoint {endpoint}: its login is in a secret. Name the "
            f"role in the plan: dms.{key}"
        )


def dms_role(m: Migration, side: Side) -> str:
    """
    The role that DMS logs in as on that side: the plan's word, else the connection's, else what AWS tells.

    Raises `UnknownEndpoint`, `RoleUnknown`, and as `refusals.asking`.
    """
    dms = dms_of(m)
    if side is Side.SOURCE:
        return _role_of(m, dms.source, dms.source_role, side)
    return _role_of(m, dms.target, dms.target_role, side)


def role_of_way_back(m: Migration, side: Side) -> str:
    """
    The role that DMS logs in as on that side in order to bring rows back: it reads the target and writes the source.

    Raises as `dms_role`.
    """
    dms = dms_of(m)
    back = dms.back or Back()
    if side is Side.TARGET:
        return _role_of(m, back.source or dms.target, back.source_role, "back.source")
    return _role_of(m, back.target or dms.source, back.target_role, "back.target")


def role_of_way_forward(m: Migration) -> str:
    """
    The role that DMS logs in as on the source in order to read it after a rollback: by a login of its own, perhaps.

    ``dms.source_role`` names it where AWS does not tell. Raises as `dms_role`.
    """
    dms = dms_of(m)
    again = dms.back.again if dms.back else None
    told = isinstance(again, NewEndpoint) and again.secret is None  # its connection's, which is no more to be named
    return _role_of(m, again or dms.source, None if told else dms.source_role, "back.again", role_key="source_role")


def _role_of(m: Migration, endpoint: str | NewEndpoint, named: str | None, key: str, role_key: str = "") -> str:
    if named:
        return named
    if not isinstance(endpoint, str):
        return m.resolve(endpoint.connection).user
    told = endpoint_by_arn(m.clients(dms_of(m).aws, "dms"), endpoint)
    if told is None:
        raise UnknownEndpoint(side=key, arn=endpoint)
    user = told.get("Username") or (told.get("PostgreSQLSettings") or {}).get("Username")
    if not user:
        raise RoleUnknown(key=role_key or f"{key}_role", endpoint=endpoint)
    return str(user)


def dms_of(m: Migration) -> Dms:
    """The plan's section ``dms``; a plan with that engine has one."""
    if m.plan.dms is None:
        raise PreconditionError(f"the plan {m.plan.name} has no section dms")
    return m.plan.dms


def require_role(conn: Connection, role: str, side: Side) -> None:
    """Raise `PreconditionError` where the role does not exist or may not log in."""
    if not scalar(conn, "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [role]):
        raise PreconditionError(
            f"DMS is to log in on the {side} as {role!r}, which does not exist there or may not log in. Create it: "
            f"docs/privileges/dms_{side}.sql"
        )


def require_reader(conn: Connection, role: str, tables: Sequence[Name], side: Side) -> None:
    """Raise `PreconditionError` where DMS's role may not capture the changes of tables: replicate, and read them."""
    require_role(conn, role, side)
    seen = conn.execute(_QUERIES["reader"], {**_named(tables), "role": role}).fetchone() or {}
    if not seen["replicates"]:
        raise PreconditionError(
            f"DMS's role {role} may not replicate on the {side}: ALTER ROLE {sql.Identifier(role).as_string()} "
            "REPLICATION, on RDS and Aurora GRANT rds_replication (docs/privileges/dms_source.sql)"
        )
    if seen["unreadable"]:
        raise PreconditionError(
            f"DMS's role {role} may not read {', '.join(seen['unreadable'][:5])} on the {side}: "
            f"GRANT pg_read_all_data TO {sql.Identifier(role).as_string()} (docs/privileges/dms_source.sql)"
        )


def let_read(source: Connection, role: str, watermark: str) -> None:
    """Let DMS's role read the watermark on the source; the application's tables are for its administrator to grant."""
    leaf = sql.Identifier("crossfade", control.watermark_table(watermark))
    source.execute(sql.SQL("GRANT USAGE ON SCHEMA crossfade TO {}").format(sql.Identifier(role)))
    source.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(leaf, sql.Identifier(role)))


def writers_of(plan: str, direction: Direction = Direction.FORWARD) -> str:
    """
    The group on the target that may write what moves. DMS's role is a member while it is to write.

    After the cutover anybody may connect again: what keeps a task that still runs from writing old values over new
    ones is that it is no member any more, one statement for any number of tables.
    """
    name = f"crossfade_{plan}_dms"
    return name if direction is Direction.FORWARD else f"{name}_back"


class WritesByOtherMeans(PreconditionError):
    """DMS's role could go on writing after the cutover."""

    def __init__(self, *, role: str, tables: Sequence[str]) -> None:
        shown = ", ".join(tables[:5]) + (f" and {len(tables) - 5} more" if len(tables) > 5 else "")
        super().__init__(
            f"DMS's role {role} may write {shown} by itself: it is a superuser, a member of their owner "
            "or of pg_write_all_data, or was granted it. Then the cutover could not end its writing. Give DMS a role "
            "of its own without any of that; what it needs Crossfade grants (docs/privileges/dms_target.sql)"
        )


def let_write(target: Connection, writers: str, role: str, tables: Sequence[Name], watermark: str) -> None:
    """
    Let DMS's role write the moved tables and the watermark, and keep its control tables in the schema crossfade.

    All or nothing; granted by each table's owner to a group, of which the role becomes a member.
    Raises `WritesByOtherMeans`.
    """
    group = sql.Identifier(writers)
    with target.transaction():
        if not scalar(target, _EXISTS, [writers]):
            target.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(group))
        target.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA crossfade TO {}").format(group))
        _grant(target, [("crossfade", control.watermark_table(watermark)), *tables], group)
        end_writing(target, writers, role, tables)
        begin_writing(target, writers, role)
        if len(target.execute(_QUERIES["writable"], {**_named(tables), "role": role}).fetchall()) < len(set(tables)):
            raise PreconditionError(
                f"DMS's role {role}, which is to write, does not inherit what the group {writers} may do: "
                f"ALTER ROLE {sql.Identifier(role).as_string()} INHERIT; nothing was granted"
            )


def begin_writing(target: Connection, writers: str, role: str) -> None:
    """Make DMS's role a member of those who may write."""
    target.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(writers), sql.Identifier(role)))


def end_writing(target: Connection, writers: str, role: str, tables: Sequence[Name]) -> None:
    """DMS's role may not write any more, and it is looked whether that is so. Raises `WritesByOtherMeans`."""
    target.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(writers), sql.Identifier(role)))
    rows = target.execute(_QUERIES["writable"], {**_named(tables), "role": role}).fetchall()
    if rows:
        raise WritesByOtherMeans(role=role, tables=[row["name"] for row in rows])


def _named(tables: Iterable[Name]) -> dict[str, list[str]]:
    names = list(tables)
    return {"schemas": [schema for schema, _ in names], "names": [name for _, name in names]}


def _grant(target: Connection, tables: Sequence[Name], group: sql.Identifier) -> None:
    owned = target.execute(_QUERIES["owners"], _named(tables)).fetchall()
    for schema, owner in sorted({(row["schema"], row["schema_owner"]) for row in owned}):
        target.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
        target.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), group))
    for row in owned:
        target.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row["owner"])))
        table = sql.Identifier(row["schema"], row["name"])
        target.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO {}").format(table, group))
    target.execute("SET LOCAL ROLE NONE")


def let_nobody_write(target: Connection, writers: str, tables: Sequence[Name]) -> None:
    """Remove the group and all that it was granted; nothing where it is gone."""
    if not scalar(target, _EXISTS, [writers]):
        return
    group = sql.Identifier(writers)
    owned = target.execute(_QUERIES["owners"], _named(tables)).fetchall()
    with target.transaction():
        for row in owned:
            target.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(row["owner"])))
            table = sql.Identifier(row["schema"], row["name"])
            target.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(table, group))
        for schema, owner in sorted({(row["schema"], row["schema_owner"]) for row in owned}):
            target.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            target.execute(sql.SQL("REVOKE USAGE ON SCHEMA {} FROM {}").format(sql.Identifier(schema), group))
        target.execute("SET LOCAL ROLE NONE")
        leaves = target.execute(_QUERIES["granted_in_crossfade"], {"group": writers}).fetchall()
        for row in leaves:
            target.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier("crossfade", row["name"]), group))
        target.execute(sql.SQL("REVOKE ALL ON SCHEMA crossfade FROM {}").format(group))
        target.execute(sql.SQL("DROP ROLE {}").format(group))


def let_not_read(source: Connection, role: str) -> None:
    """Take back what `let_read` granted on the schema; the watermark goes with its table."""
    if scalar(source, _EXISTS, [role]):
        source.execute(sql.SQL("REVOKE ALL ON SCHEMA crossfade FROM {}").format(sql.Identifier(role)))
