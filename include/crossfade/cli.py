"""The command `crossfade`: what can be done without Airflow. Connections come from the environment."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress
from rich.table import Table

from crossfade import phases
from crossfade.assess import assess as assess_plan
from crossfade.aws import CLIENT_CONFIG
from crossfade.cleanup import cleanup as clean_up
from crossfade.connect import Endpoint
from crossfade.cutover import recovery
from crossfade.cutover.abandon import abandon as giving_up
from crossfade.engines.dms import parameters
from crossfade.errors import CrossfadeError, PreconditionError
from crossfade.http_endpoint import HttpEndpoint
from crossfade.migration import Migration
from crossfade.plan import Tables, load_plan
from crossfade.plan_validate import Validate
from crossfade.quantities import format_size
from crossfade.routers.base import Side
from crossfade.schema.compare import compare as compare_schema
from crossfade.ssh import SshEndpoint
from crossfade.validation.between import examine_between
from crossfade.validation.report import save
from crossfade.validation.result import Mode, Report, Verdict
from crossfade.validation.run import examine

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


def ssh_from_environment(connection: str) -> SshEndpoint:
    """
    The host of an SSH connection id: ``sftp://user@host:22?key_file=…`` in ``CROSSFADE_SSH_<ID>``.

    Options: `ssh.OPTIONS`, percent-encoded. Raises `PreconditionError`.
    """
    variable = f"CROSSFADE_SSH_{connection.upper()}"
    if not (uri := os.environ.get(variable)):
        raise PreconditionError(
            f"the plan names the SSH connection {connection!r}: set {variable} to sftp://user@host:22?key_file=…"
        )
    return SshEndpoint.from_uri(connection, uri)


def http_from_environment(connection: str) -> HttpEndpoint:
    """
    Where an HTTP connection id leads: ``https://user:password@host`` in ``CROSSFADE_HTTP_<ID>``.

    Or JSON with the keys url and headers. Raises `PreconditionError`.
    """
    variable = f"CROSSFADE_HTTP_{connection.upper()}"
    if not (text := os.environ.get(variable)):
        raise PreconditionError(
            f"the plan names the HTTP connection {connection!r}: set {variable} to https://user:password@host"
        )
    return HttpEndpoint.from_text(connection, text)


@contextmanager
def _errors_as_one_line(status: int = 1) -> Iterator[None]:
    """And that exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    try:
        yield
    except CrossfadeError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(status)


@contextmanager
def _migration(plan: str, *, status: int = 1) -> Iterator[Migration]:
    """The plan's migration; errors as one clear line and that exit status."""
    file = Path(plan) if plan.endswith((".yaml", ".yml")) else Path(f"{plan}.yaml")
    with _errors_as_one_line(status):
        declared = load_plan(file.resolve() if file.exists() else file)
        yield Migration(declared, from_environment, aws_from_environment, ssh_from_environment, http_from_environment)


@app.command()
def assess(plan: Plan) -> None:
    """List what stands in the way of a migration, with remedies. Changes nothing. Exit status 1 with a blocker."""
    with _migration(plan) as m:
        report = assess_plan(m.plan, m.resolve, m.clients, m.ssh)
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
def validate(
    plan: Annotated[
        str | None, typer.Argument(help="a plan: path of its YAML, or a file name in CROSSFADE_PLANS")
    ] = None,
    source: Annotated[str | None, typer.Option(help="without a plan: DSN of one database …")] = None,
    target: Annotated[str | None, typer.Option(help="… and of the other, which is to be the same")] = None,
    tables: Annotated[list[str], typer.Option(help="without a plan: patterns such as public.*")] = ["*.*"],  # noqa: B006
    mode: Annotated[Mode, typer.Option(help="full: every row; quick: statistics")] = Mode.FULL,
    repair: Annotated[
        bool, typer.Option(help="replace rows that differ, on the side that does not serve, by those of the other")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(file_okay=False, help="directory for the report, HTML and JSON")
    ] = None,
) -> None:
    """
    Compare both sides while clients write: definitions, every row, sequences, roles …

    Of a plan, or of any two databases by their DSNs. Exit status 1 where they differ, 2 where something, or all, could
    not be compared.
    """
    if plan is not None and source is None and target is None:
        with _migration(plan, status=2) as m:
            found = examine(m, run_id=f"crossfade validate {datetime.now(UTC):%Y-%m-%d}", mode=mode, repairing=repair)
    elif plan is None and source is not None and target is not None and not repair:
        with _errors_as_one_line(2), Progress(console=console, transient=True) as bar:
            task = bar.add_task("comparing", total=None)
            found = examine_between(
                Endpoint.from_dsn("source", source),
                Endpoint.from_dsn("target", target),
                tables=Tables(include=tuple(tables)),
                settings=Validate(),
                mode=mode,
                told=lambda done, of: bar.update(task, completed=done, total=of),
            )
    else:
        raise typer.BadParameter("name a plan, or both --source and --target; only a plan's rows can be repaired")
    _show(found)
    if report is not None:
        console.print(f"the report is in {save(found, report).html}", highlight=False, soft_wrap=True)
    sys.exit({Verdict.OK: 0, Verdict.MISMATCH: 1, Verdict.INCOMPLETE: 2}[found.verdict])


def _show(report: Report) -> None:
    """The checks, the tables, and all that is wrong."""
    shown = Table("check", "verdict", "", title=f"{report.source} and {report.target}: {report.verdict}")
    for check in report.checks:
        shown.add_row(check.name, check.verdict, check.note)
    for table in report.tables:
        shown.add_row(table.table, table.verdict, f"{table.rows[0]:,} and {table.rows[1]:,} rows")
    console.print(shown)
    for problem in report.problems:
        console.print(problem, highlight=False, markup=False)


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
        console.print(giving_up(m) if abandon else recovery.settle(m).sentence)


@app.command()
def cleanup(
    plan: Plan,
    early: Annotated[bool, typer.Option(help="give up a way back that is still promised; asks again")] = False,
    reopen_source: Annotated[
        bool, typer.Option(help="who could connect to the source before the cutover may again; else it stays closed")
    ] = False,
    poolers_are_permanent: Annotated[
        bool, typer.Option(help="you have seen to it that poolers lead to the target when they are started again")
    ] = False,
    journal: Annotated[
        Path | None, typer.Option(dir_okay=False, help="keep the journal's rows, which go, in this file, as JSON")
    ] = None,
) -> None:
    """After the rollback window: remove everything of Crossfade's from both sides, and what was made in AWS."""
    with _migration(plan) as m:
        if early and typer.prompt(f"There will be no way back from the target. Type {m.plan.name} to go on") != (
            m.plan.name
        ):
            raise PreconditionError("that is not the plan's name: nothing was changed")
        report = clean_up(
            m,
            run_id="crossfade cleanup",
            early=early,
            reopen_source=reopen_source,
            poolers_are_permanent=poolers_are_permanent,
        )
        if journal is not None:
            journal.write_text(json.dumps(report.journal, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for line in report.notes:
            console.print(line, highlight=False)
        if report.reopening:
            console.print("the source stays closed to applications; this opens it again as it was:", highlight=False)
        for statement in report.reopening:
            console.print(statement, highlight=False, soft_wrap=True)
        console.print(f"nothing of {m.plan.name} is left on either side; there is no way back", highlight=False)


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
