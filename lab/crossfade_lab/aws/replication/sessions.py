"""Sessions of a task on its two servers. All of them call themselves "AWS DMS" and something."""

from __future__ import annotations

from typing import Any

import psycopg
import psycopg2
from psycopg2.extensions import connection as BulkConnection
from psycopg2.extras import LogicalReplicationConnection

from crossfade_lab.aws.replication.spec import Endpoint

Connection = psycopg.Connection[tuple[Any, ...]]
CONNECT_SECONDS = 30
#: Text that both servers read alike, whatever their defaults are.
PLAIN = "-c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c TimeZone=UTC -c bytea_output=hex"


def connect(endpoint: Endpoint, purpose: str) -> Connection:
    """A session in autocommit; the endpoint's AfterConnectScript has been run in it."""
    connection = psycopg.connect(**_parameters(endpoint, purpose), autocommit=True, prepare_threshold=None)
    if script := endpoint.settings.get("AfterConnectScript"):
        connection.execute(script.encode())
    return connection


def connect_bulk(endpoint: Endpoint, purpose: str) -> BulkConnection:
    """A session of psycopg2, whose COPY is the quicker one; the endpoint's AfterConnectScript has been run in it."""
    connection: BulkConnection = psycopg2.connect(**_parameters(endpoint, purpose))
    if script := endpoint.settings.get("AfterConnectScript"):
        with connection.cursor() as cursor:
            cursor.execute(script)
        connection.commit()
    return connection


def connect_replication(endpoint: Endpoint, purpose: str) -> LogicalReplicationConnection:
    """A session that speaks the streaming replication protocol."""
    parameters = _parameters(endpoint, purpose)
    connection: LogicalReplicationConnection = psycopg2.connect(
        **parameters, connection_factory=LogicalReplicationConnection
    )
    return connection


def _parameters(endpoint: Endpoint, purpose: str) -> dict[str, Any]:
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "dbname": endpoint.dbname,
        "user": endpoint.user,
        "password": endpoint.password,
        "sslmode": endpoint.sslmode,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": f"AWS DMS {purpose}",
        "options": PLAIN,
    }
