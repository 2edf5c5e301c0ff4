"""Client programs are found where PG_BIN says, and refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.connect import Endpoint
from crossfade.errors import PreconditionError
from crossfade.schema import binaries

ENDPOINT = Endpoint(name="source", host="db.example", dbname="shop", user="me", password="s3cret")


@pytest.fixture
def pg_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called pg_dump in a PG_BIN of its own; tests write its text."""
    program = tmp_path / "pg_dump"
    program.touch(mode=0o755)
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    return program


def test_a_missing_program_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(PreconditionError, match=rf"there is no pg_dump in PG_BIN={tmp_path}\. Install"):
        binaries.require("pg_dump", 16)


def test_an_empty_pg_bin_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PreconditionError, match="on the PATH"):
        binaries.find("pg_dump")


@pytest.mark.parametrize("major", [16, 17])
def test_the_targets_version_or_newer_will_do(pg_dump: Path, major: int) -> None:
    pg_dump.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 17.2 (Debian 17.2-1)'\n")
    assert binaries.require("pg_dump", major) == pg_dump


def test_an_older_version_is_refused(pg_dump: Path) -> None:
    pg_dump.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 17.2'\n")
    with pytest.raises(PreconditionError, match="is of PostgreSQL 17, the target is 18"):
        binaries.require("pg_dump", 18)


def test_a_program_that_is_something_else_is_refused(pg_dump: Path) -> None:
    pg_dump.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(PreconditionError, match="printed 'hello'"):
        binaries.require("pg_dump", 18)


def test_a_failure_tells_what_ran_and_what_it_said_but_no_secret(pg_dump: Path) -> None:
    pg_dump.write_text('#!/bin/sh\necho "no luck with $PGHOST" >&2\ntest -n "$PGPASSWORD" && exit 3\n')
    with pytest.raises(binaries.ProgramFailed) as caught:
        binaries.run(pg_dump, ["--schema-only"], endpoint=ENDPOINT)
    told = str(caught.value)
    assert f"{pg_dump} --schema-only on db.example:5432/shop ended with status 3" in told
    assert "no luck with db.example" in told
    assert "s3cret" not in told
    assert caught.value.status == 3


def test_libpq_variables_of_the_worker_do_not_leak_in(pg_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    pg_dump.write_text('#!/bin/sh\necho "$PGSERVICE|$PGUSER"\n')
    assert binaries.run(pg_dump, [], endpoint=ENDPOINT) == b"|me\n"
