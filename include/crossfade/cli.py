"""The command `crossfade`: what can be done without Airflow. Connections come from the environment."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from crossfade import phases
from crossfade.assess import assess as assess_plan
from crossfade.aws import CLIENT_CONFIG
from crossfade.connect import Endpoint
from crossfade.cutover import recovery
from crossfade.engines.dms import parameters
from crossfade.errors import CrossfadeError, PreconditionError
from crossfade.migration import Migration
from crossfade.plan import load_plan
from crossfade.quantities import format_size
from crossfade.routers.base import Side
from crossfade.schema.compare import compare as compare_schema
from crossfade.validation.run import validate as validate_migration

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Move a live PostgreSQL database. Works without Airflow."
)
console = Console()

Plan = Annotated[str, typer.Argument(help="a plan: path of its YAML, or a file name in CROSSFADE_PLANS")]


def from_environment(connection: str) -> Endpoint:
    """
    The endpoint of a connection id: a DSN in ``CROSSFADE_DSN_<ID>``. Raises `PreconditionError`.
    """
    variable = f"CROSSFADE_DSN_{connection.upper()}"
    if not (dsn := os.environ.get(variable)):
        raise PreconditionError(f"the plan names the connection {connection!r}: set {variable} to its DSN")
    return Endpoint.from_dsn(connection, dsn)


def aws_from_environment(connection: str, service: str) -> Any:
    """
    A boto3 client as boto3 configures itself: ``AWS_PROFILE``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` …

    Every AWS connection of a plan is the same here. Raises `PreconditionError` where no region is set.
    """
    try:
        return boto3.client(service, config=CLIENT_CONFIG)
    except BotoCoreError as error:
        raise PreconditionError(
            f"the plan names the AWS connection {connection!r}, which is what the environment says: {error}"
        ) from None


@contextmanager
def _errors_as_one_line() -> Iterator[None]:
    """And exit status 1."""
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    try:
        yield
    except CrossfadeError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)


@contextmanager
def _migration(plan: str) -> Iterator[Migration]:
    """The plan's migration; errors as one clear line and exit status 1."""
    file = Path(plan) if plan.endswith((".yaml", ".yml")) else Path(f"{plan}.yaml")
    with _errors_as_one_line():
        yield Migration(load_plan(file.resolve() if file.exists() else file), from_environment, aws_from_environment)


@app.command()
def assess(plan: Plan) -> None:
    """List what stands in the way of a migration, with remedies. Changes nothing. Exit status 1 with a blocker."""
    with _migration(plan) as m:
        report = assess_plan(m.plan, m.resolve, m.clients)
        report.render(console)
        if report.blockers:
            sys.exit(1)


@app.command()
def status(plan: Plan) -> None:
    """Show how far a migration is."""
    with _migration(plan) as m:
        with m.journal() as journal:
            state = journal.get(m.plan.name).state
        table = Table("table", "wave", "state", "rows", "size", title=f"{m.plan.name}: {state}")
        for part in phases.progress(m).tables:
            table.add_row(part.table, str(part.wave), part.state, f"{part.rows:,}", format_size(part.bytes))
        console.print(table)


@app.command()
def validate(plan: Plan) -> None:
    """Compare every row of both sides while replication runs. Exit status 1 where they differ."""
    with _migration(plan) as m:
        validate_migration(m, run_id="crossfade validate")


@app.command()
def compare(plan: Plan) -> None:
    """Compare the definitions of both sides. Exit status 1 where they differ."""
    with _migration(plan) as m:
        with m.session(Side.SOURCE, "compare") as source, m.session(Side.TARGET, "compare") as target:
            differences = compare_schema(source, target, m.plan.tables)
        for difference in differences:
            console.print(str(difference), highlight=False)
        if differences:
            sys.exit(1)
        console.print("no difference")


@app.command()
def abort(
    plan: Plan,
    abandon: Annotated[bool, typer.Option(help="also drop streams and slots: give the migration up")] = False,
) -> None:
    """Bring traffic to the side that has authority, whatever is under way. Safe to run at any time, and twice."""
    with _migration(plan) as m:
        console.print(recovery.abandon(m) if abandon else recovery.settle(m).sentence)


@app.command()
def cleanup(plan: Plan) -> None:
    """After the cutover: remove slots, streams and watermarks, and the task, endpoints and instance made in AWS."""
    with _migration(plan) as m:
        phases.cleanup(m)
        console.print(f"nothing carries rows of {m.plan.name} any more; the journal on the target stays")


@app.command("parameters")
def show_parameters(
    database: Annotated[str, typer.Argument(help="identifier of an RDS instance or an Aurora cluster")],
    side: Annotated[Side, typer.Option(help="what it is in the migration")] = Side.SOURCE,
    slots: Annotated[int, typer.Option(min=1, help="replication slots and WAL senders that it must have")] = 10,
    apply: Annotated[bool, typer.Option(help="make the changes in its parameter group; nothing is rebooted")] = False,
) -> None:
    """Show what AWS DMS needs of a database's parameter group, and the reboot that takes; change it on request."""
    with _errors_as_one_line():
        rds = aws_from_environment("aws_default", "rds")
        plan = parameters.needed(rds, database, role="source" if side is Side.SOURCE else "target", slots=slots)
        console.print(plan.text, highlight=False)
        if apply:
            parameters.apply(rds, plan)
