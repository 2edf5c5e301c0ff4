"""Fast servers and a small shop for tests, as context managers that pytest fixtures can wrap.

Servers live in a directory under the system's temporary one rather than pytest's `tmp_path`, which the user that
PostgreSQL runs as may not enter.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossfade_lab.pgbouncer import Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.shop.data import (
    DATABASE,
    Engine,
    Logins,
    create_empty_database,
    create_shop,
    grant_dms_roles,
    grant_migration_role,
)

#: Nothing is synced to disk: a crash of the process loses nothing, a crash of the machine would.
FAST: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
}


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that the servers' user can reach; removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="crossfade-test-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def server(major: int = 18, *, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A running, empty server."""
    with (
        scratch_directory() as directory,
        PostgresServer(directory / f"pg{major}", major, settings={**FAST, **(settings or {})}) as running,
    ):
        yield running


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopPair:
    """A source with the shop, a target with an empty database, the migration's role on both."""

    source: PostgresServer
    target: PostgresServer
    logins: Logins

    def dsn(self, side: str, user: str = "crossfade") -> str:
        """A connection string to the shop on one side (`source` or `target`)."""
        chosen = self.source if side == "source" else self.target
        return chosen.dsn(user=user, password=getattr(self.logins, user, None), dbname=DATABASE)


@contextmanager
def shop(
    server: PostgresServer, *, rows: int = 2_000, logins: Logins | None = None, engine: Engine = Engine.LOGICAL
) -> Iterator[Logins]:
    """The shop on a server, with the migration's role; it goes when the server goes."""
    logins = logins or Logins()
    create_shop(server, logins, rows, engine=engine)
    grant_migration_role(server, logins, "source.sql")
    yield logins


@contextmanager
def cluster_pair(source_major: int = 16, target_major: int = 18) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Two running, empty servers."""
    with server(source_major) as source, server(target_major) as target:
        yield source, target


@contextmanager
def shop_pair(
    *, rows: int = 2_000, source_major: int = 16, target_major: int = 18, engine: Engine = Engine.LOGICAL
) -> Iterator[ShopPair]:
    """Everything a migration of the shop with that engine starts from."""
    with (
        cluster_pair(source_major, target_major) as (source, target),
        shop(source, rows=rows, engine=engine) as logins,
    ):
        create_empty_database(target)
        grant_migration_role(target, logins, "target.sql")
        if engine == Engine.DMS:
            grant_dms_roles(source, target, logins)
        yield ShopPair(source=source, target=target, logins=logins)


@contextmanager
def bouncers(server: PostgresServer, logins: Logins, *, count: int = 1) -> Iterator[list[PgBouncer]]:
    """PgBouncer instances that lead to the shop on a server and share one `databases.ini`."""
    with scratch_directory() as directory, ExitStack() as stack:
        databases = directory / "databases.ini"
        lead_to(databases, server)
        yield [
            stack.enter_context(PgBouncer(directory / f"bouncer{n}", databases, logins.applications()))
            for n in range(1, count + 1)
        ]


def lead_to(databases: Path, server: PostgresServer) -> None:
    """Write a `databases.ini` whose database `shop` is on this server."""
    write_databases(databases, {DATABASE: Destination(host=server.host, port=server.port, dbname=DATABASE)})
