"""The shop as AWS DMS can carry it on 16, an empty 18, a PgBouncer, and a local AWS with an instance and endpoints."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import psycopg
import pytest

from crossfade.assess import CHECKS, Problem, Report, assess
from crossfade.assess.dms_scene import End
from crossfade.assess.scene import set_scene
from crossfade.connect import Endpoint
from crossfade.engines.dms.endpoints import EndpointSide
from crossfade.plan import Plan, parse_plan
from crossfade_lab.aws.local import LocalAws
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.shop.data import Engine
from crossfade_lab.testing import ShopPair, bouncers, scratch_directory, shop_pair

REPLICA = "SET session_replication_role='replica'"
_numbers = count(1)


@dataclass
class DmsStage:
    """A migration of the shop by AWS DMS that has nothing wrong with it, to be broken."""

    pair: ShopPair
    bouncer: PgBouncer
    aws: LocalAws
    connections: dict[str, Endpoint]
    clients: dict[str, Any] = field(default_factory=dict)  #: by service: making one takes long
    instance: str = ""
    source: str = ""
    target: str = ""

    def plan(self, dms: dict[str, Any] | None = None, **changes: Any) -> Plan:
        raw: dict[str, Any] = {
            "source": "shop_source",
            "target": "shop_target",
            "engine": "dms",
            "dms": {"instance": self.instance, "source": self.source, "target": self.target, **(dms or {})},
            "tables": {"include": ["public.*", "billing.*"]},
            "routers": [
                {
                    "kind": "pgbouncer",
                    "admin": "shop_pgbouncer",
                    "database": "shop",
                    "switch": {"file": str(self.bouncer.databases)},
                }
            ],
            "cutover": {"approvers": ["operator"], "application_roles": ["shop_app", "shop_bi"]},
        }
        return parse_plan({**raw, **changes}, name="shop")

    def resolve(self, connection_id: str) -> Endpoint:
        return self.connections[connection_id]

    def client(self, conn_id: str, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.aws.client(service)
        return self.clients[service]

    def report(self, plan: Plan | None = None) -> Report:
        return assess(plan or self.plan(), self.resolve, self.client)

    def problems(self, check: str, plan: Plan | None = None, **facts: Any) -> list[Problem]:
        """What one check says of the shop, or of the facts given instead."""
        plan = plan or self.plan()
        with ExitStack() as stack:
            scene = set_scene(plan, self.resolve, stack, self.client)
            known = {**scene.facts, **facts}
            found = CHECKS[check]
            return list(found.function(**{fact: known[fact] for fact in found.needs}))

    @contextmanager
    def on(self, side: str, *statements: str, undo: tuple[str, ...] = ()) -> Iterator[psycopg.Connection]:
        """Statements of the superuser in the shop of one side, undone afterwards."""
        chosen = self.pair.source if side == "source" else self.pair.target
        with chosen.connect("shop") as conn:
            try:
                for statement in statements:
                    conn.execute(statement.encode())
                yield conn
            finally:
                for statement in undo:
                    conn.execute(statement.encode())

    @contextmanager
    def odd(self, *statements: str) -> Iterator[Plan]:
        """A plan of the schema `odd` of the source, in which the statements are run; it goes afterwards."""
        create = "CREATE SCHEMA odd; SET search_path = odd, public; SET ROLE shop_owner"
        grant = "GRANT CREATE, USAGE ON SCHEMA odd TO shop_owner"
        with self.on("source", create.split("; SET")[0], grant, undo=("RESET ROLE", "DROP SCHEMA odd CASCADE")) as conn:
            conn.execute("SET search_path = odd, public")
            conn.execute("SET ROLE shop_owner")
            for statement in statements:
                conn.execute(statement.encode())
            yield self.plan(tables={"include": ["odd.*"]})

    def endpoint(self, side: EndpointSide, **changes: Any) -> str:
        """The ARN of a new endpoint as it should be, unless changed."""
        at = self.connections[f"dms_{side}"]
        settings = {"MapBooleanAsBoolean": True}
        if side == "source":
            settings |= {"FailTasksOnLobTruncation": True}
        wanted: dict[str, Any] = {
            "EndpointIdentifier": f"{side}-{next(_numbers)}",
            "EndpointType": side,
            "EngineName": "postgres",
            "ServerName": at.host,
            "Port": at.port,
            "DatabaseName": at.dbname,
            "Username": at.user,
            "Password": at.password,
            "ExtraConnectionAttributes": "mapUnboundedNumericAsString=true" if side == "source" else None,
            "PostgreSQLSettings": {**settings, **({"AfterConnectScript": REPLICA} if side == "target" else {})},
        }
        given = {key: value for key, value in {**wanted, **changes}.items() if value is not None}
        return str(self.client("", "dms").create_endpoint(**given)["Endpoint"]["EndpointArn"])

    def replication_instance(self, instance_class: str) -> str:
        """The ARN of a new replication instance, not awaited."""
        answer = self.client("", "dms").create_replication_instance(
            ReplicationInstanceIdentifier=f"instance-{next(_numbers)}", ReplicationInstanceClass=instance_class
        )
        return str(answer["ReplicationInstance"]["ReplicationInstanceArn"])

    def wait_available(self, arn: str) -> None:
        """Return when a replication instance is available."""
        only = [{"Name": "replication-instance-arn", "Values": [arn]}]
        deadline = time.monotonic() + 20
        dms = self.client("", "dms")
        while (
            dms.describe_replication_instances(Filters=only)["ReplicationInstances"][0]["ReplicationInstanceStatus"]
            != "available"
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def ends(self, side: EndpointSide, **changes: Any) -> dict[EndpointSide, End]:
        """How DMS reaches the sides, with changes on one."""
        both: dict[EndpointSide, End] = {}
        for name in ("source", "target"):
            at = self.connections[f"dms_{name}"]
            end = End(
                side=name,  # type: ignore[arg-type]
                name=f"theirs-{name}",
                key=f"dms.{name}",
                role=at.user,
                host=at.host,
                port=at.port,
                dbname=at.dbname,
            )
            both[end.side] = replace(end, **changes) if name == side else end
        return both


@pytest.fixture(scope="session")
def dms_stage() -> Iterator[DmsStage]:
    """The shop's migration by AWS DMS."""
    with (
        shop_pair(rows=200, engine=Engine.DMS) as pair,
        bouncers(pair.source, pair.logins) as (bouncer,),
        scratch_directory() as directory,
        LocalAws(directory / "aws") as aws,
    ):
        connections = {
            "shop_source": Endpoint.from_dsn("shop_source", pair.dsn("source")),
            "shop_target": Endpoint.from_dsn("shop_target", pair.dsn("target")),
            "shop_pgbouncer": Endpoint.from_dsn("shop_pgbouncer", bouncer.admin_dsn()),
            "dms_source": Endpoint.from_dsn("dms_source", pair.dsn("source", "shop_dms")),
            "dms_target": Endpoint.from_dsn("dms_target", pair.dsn("target", "shop_dms")),
        }
        stage = DmsStage(pair, bouncer, aws, connections)
        stage.instance = stage.replication_instance("dms.r6i.large")
        stage.source, stage.target = stage.endpoint("source"), stage.endpoint("target")
        stage.wait_available(stage.instance)
        yield stage


def only(problems: list[Problem]) -> Problem:
    """The one problem that there is."""
    assert len(problems) == 1, problems
    return problems[0]
