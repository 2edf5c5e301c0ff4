"""Creating the shop on a server: its roles, its schema and as many rows as asked for."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from crossfade_lab.postgres import PostgresServer

SQL = Path(__file__).parent
PRIVILEGES = SQL.parents[2] / "docs" / "privileges"
DATABASE = "shop"
DEFAULT_ROWS = 1_000_000


#: Every table that holds rows (partitions are under their parent), as schema and name.
TABLES: tuple[tuple[str, str], ...] = (
    ("public", "customers"),
    ("public", "orders"),
    ("public", "order_items"),
    ("public", "payments"),
    ("public", "documents"),
    ("public", "events"),
    ("public", "Order Items Archive"),
    ("public", "prices"),
    ("billing", "invoices"),
)


class Engine(StrEnum):
    """What is to carry the shop's rows. AWS DMS does not carry every type: it has a form of the shop, `dms.sql`."""

    LOGICAL = "logical"
    DMS = "dms"


def _password() -> str:
    return secrets.token_urlsafe(18)


@dataclass(frozen=True, kw_only=True, slots=True)
class Logins:
    """The passwords of the shop's roles, the migration's and AWS DMS's; without the characters that DMS refuses."""

    shop_owner: str = field(default_factory=_password)  #: owns the database and everything in it
    shop_app: str = field(default_factory=_password)  #: the application; comes through PgBouncer
    shop_bi: str = field(default_factory=_password)  #: reads only
    crossfade: str = field(default_factory=_password)  #: the migration's role
    shop_dms: str = field(default_factory=_password)  #: AWS DMS's role on either side
    shop_dms_back: str = field(default_factory=_password)  #: the same of the way back

    def applications(self) -> dict[str, str]:
        """The logins that PgBouncer lets through."""
        return {"shop_app": self.shop_app, "shop_bi": self.shop_bi, "shop_owner": self.shop_owner}


def sizes(rows: int) -> Mapping[str, int]:
    """How many rows each table gets so that together they are about `rows`."""
    orders = max(rows // 5, 10)
    return {
        "customers": max(rows // 20, 10),
        "orders": orders,
        "payments": orders * 3 // 4,
        "documents": max(rows * 3 // 100, 10),
        "large_documents": max(rows // 50_000, 1),
        "events": max(rows * 12 // 100, 10),
        "archived": max(rows // 25, 10),
        "prices": max(rows // 200, 10),
        "invoices": max(rows // 200, 10),
    }


def create_shop(
    server: PostgresServer, logins: Logins, rows: int = DEFAULT_ROWS, *, engine: Engine = Engine.LOGICAL
) -> None:
    """Create roles, database, schema and data on the source, in the form that the engine can carry."""
    passwords = {
        "owner_password": logins.shop_owner,
        "app_password": logins.shop_app,
        "bi_password": logins.shop_bi,
    }
    server.psql(SQL / "roles.sql", dbname="postgres", variables=passwords)
    scripts = ("schema", "data", *(["dms"] if engine == Engine.DMS else []), "constraints")
    for name in scripts:
        server.psql(
            SQL / f"{name}.sql",
            dbname=DATABASE,
            user="shop_owner",
            password=logins.shop_owner,
            variables=sizes(rows) if name == "data" else None,
        )
    with server.connect(DATABASE) as connection:
        connection.execute("VACUUM (ANALYZE)")


def create_empty_database(server: PostgresServer) -> None:
    """Create the target's database: empty, with the source's encoding and collation."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE shop ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")


def grant_migration_role(server: PostgresServer, logins: Logins, script: str) -> None:
    """Create the role `crossfade` as the documentation tells: `script` is `source.sql` or `target.sql`."""
    variables = {
        "role": "crossfade",
        "password": logins.crossfade,
        "owner": "shop_owner",
        "application": "shop_app",
        "database": DATABASE,
    }
    server.psql(PRIVILEGES / script, dbname=DATABASE, variables=variables)


def grant_dms_roles(source: PostgresServer, target: PostgresServer, logins: Logins) -> None:
    """Create the role `shop_dms` on both sides as the documentation tells; needs the source's migration role."""
    variables = {
        "role": "shop_dms",
        "password": logins.shop_dms,
        "owner": "shop_owner",
        "migration": "crossfade",
        "database": DATABASE,
    }
    source.psql(PRIVILEGES / "dms_source.sql", dbname=DATABASE, variables=variables)
    source.psql(SQL / "local_dms.sql", dbname=DATABASE, variables=variables)
    target.psql(PRIVILEGES / "dms_target.sql", dbname=DATABASE, variables=variables)


def grant_dms_back_roles(source: PostgresServer, target: PostgresServer, logins: Logins) -> None:
    """Create the role `shop_dms_back`, which reads the target and writes to the source, as the documentation tells."""
    variables = {
        "role": "shop_dms_back",
        "password": logins.shop_dms_back,
        "migration": "crossfade",
        "database": DATABASE,
    }
    source.psql(PRIVILEGES / "dms_back_source.sql", dbname=DATABASE, variables=variables)
    target.psql(PRIVILEGES / "dms_source.sql", dbname=DATABASE, variables=variables)


def let_local_dms_read_back(target: PostgresServer, dbname: str = DATABASE) -> None:
    """What the local DMS needs on the target in order to read it; once `prepare` has made the owner of its tables."""
    variables = {"role": "shop_dms_back", "owner": "shop_owner", "migration": "crossfade", "database": dbname}
    target.psql(SQL / "local_dms.sql", dbname=dbname, variables=variables)
