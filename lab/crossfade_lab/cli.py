"""crossfade-lab: PostgreSQL, PgBouncer, Airflow and a write workload on one machine, to try Crossfade."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import httpx
import psycopg
import typer
from rich.console import Console
from rich.table import Table

from crossfade_lab.demo import OUT, Demo
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import DATABASE, DEFAULT_ROWS, Engine
from crossfade_lab.stack import Lab
from crossfade_lab.verdict import Verdict
from crossfade_lab.verdict import verify as count_again
from crossfade_lab.workload import Spec, WorkloadProcess

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()

Rows = Annotated[int, typer.Option(min=200, help="Rows of sample data in all tables together.")]
Clients = Annotated[int, typer.Option(min=1, help="Clients that write.")]
Rate = Annotated[float, typer.Option(min=1, help="Transactions a second of all clients together.")]
Engines = Annotated[Engine, typer.Option(help="What the shop is moved with; for dms it has a form that DMS can carry.")]
Ledger = Annotated[Path, typer.Option(help="Directory of ledger and samples.")]


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    """Show what went wrong without a traceback, and let SIGTERM stop things the way Ctrl-C does."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (LabError, FileNotFoundError, psycopg.OperationalError, httpx.TransportError) as error:
        Console(stderr=True).print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command()
def up(
    rows: Rows = DEFAULT_ROWS,
    engine: Engines = Engine.LOGICAL,
    airflow: Annotated[bool, typer.Option(help="Start Airflow too.")] = True,
) -> None:
    """Create source, target, PgBouncers and Airflow anew, for dms a local AWS too, and leave them running."""
    with _errors_as_messages():
        lab = Lab()
        lab.up(rows, engine=engine, airflow=airflow, tell=console.print)
        _show(lab)


@app.command()
def down(remove: Annotated[bool, typer.Option(help="Delete all data as well.")] = False) -> None:
    """Stop everything."""
    with _errors_as_messages():
        lab = Lab()
        if remove:
            lab.remove()
        else:
            lab.down()


@app.command()
def status() -> None:
    """Show what runs, where, and how to log in."""
    with _errors_as_messages():
        _show(Lab())


def _show(lab: Lab) -> None:
    table = Table("part", "state", "address")
    for part in lab.parts():
        table.add_row(part.name, "up" if part.running else "down", part.where if part.running else "")
    console.print(table)
    if lab.airflow.running:
        for user, password in lab.airflow.passwords.items():
            console.print(f"Airflow login: {user} / {password}", highlight=False)
    console.print(f"State, logs and all logins: {lab.directory}", soft_wrap=True)


@app.command()
def workload(
    clients: Clients = 16,
    rate: Rate = 500.0,
    seconds: Annotated[float | None, typer.Option(help="Duration; without it until Ctrl-C.")] = None,
    ledger: Ledger = OUT / "ledger",
) -> None:
    """Write to the shop through the PgBouncers, keeping a ledger."""
    with _errors_as_messages():
        lab = Lab()
        spec = Spec(
            endpoints=lab.endpoints(),
            directory=str(ledger),
            clients=clients,
            rate=rate,
            duration=seconds,
            customers=lab.customers,
        )
        with WorkloadProcess(spec) as running:
            try:
                running.wait()
            except KeyboardInterrupt:
                console.print("Finishing the transactions under way")
        console.print_json(data=running.status())


@app.command()
def verify(ledger: Ledger = OUT / "ledger") -> None:
    """Count every write of a ledger again, in the database that serves; a stopped one is started for it."""
    with _errors_as_messages():
        verdict = _verify(Lab(), ledger)
        sys.stdout.write(json.dumps(asdict(verdict), indent=2) + "\n")
        if not verdict.ok:
            raise LabError(f"{ledger}: the database does not hold what the ledger says was acknowledged")


def _verify(lab: Lab, ledger: Path) -> Verdict:
    server = lab.serving()
    stopped = not server.running
    server.start()
    try:
        return count_again(ledger, server.dsn(dbname=DATABASE))
    finally:
        if stopped:
            server.stop()


@app.command()
def demo(
    rows: Rows = DEFAULT_ROWS,
    engine: Engines = Engine.LOGICAL,
    clients: Clients = 16,
    rate: Rate = 500.0,
    approve: Annotated[str, typer.Option(help="auto, or manual: answer the gate in the UI.")] = "auto",
    keep: Annotated[bool, typer.Option(help="Leave the lab running afterwards.")] = False,
    baseline: Annotated[float, typer.Option(help="Seconds measured before the migration.")] = 15.0,
) -> None:
    """Migrate the shop under write load, and prove that no write was lost."""
    with _errors_as_messages():
        trial = Demo(
            rows=rows,
            engine=engine,
            clients=clients,
            rate=rate,
            approve=approve,
            keep=keep,
            baseline_seconds=baseline,
            console=console,
        )
        if not trial.run():
            raise typer.Exit(1)
