"""A wrong client program, or a server that refuses it, is told in words that help and hold no secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossfade.errors import PreconditionError
from crossfade.plan import Tables
from crossfade.schema import archive
from crossfade.schema.binaries import ProgramFailed
from crossfade_lab.postgres import binaries


def test_a_pg_dump_older_than_the_target_is_refused(shop_move, monkeypatch) -> None:
    monkeypatch.setenv("PG_BIN", str(binaries(16)))
    with pytest.raises(PreconditionError, match=r"pg_dump is of PostgreSQL 16, the target is 18\. Install .* PG_BIN"):
        shop_move.dump()


def test_a_failed_dump_shows_what_pg_dump_said_and_no_password(shop_move) -> None:
    wrong = replace(shop_move.source_end, dbname="shop")
    wrong_tables = Tables()
    with shop_move.source_end.session("hold") as conn:
        conn.execute("SELECT 1")
        unreachable = replace(wrong, options={**wrong.options, "sslmode": "require"})
        with pytest.raises(Exception, match="SSL") as caught:
            archive.dump_archive(unreachable, wrong_tables, target_major=18)
    assert wrong.password not in str(caught.value)


def test_an_archive_that_is_none_is_refused(shop_move) -> None:
    with pytest.raises(ProgramFailed, match=r"pg_restore --list ended with status 1\. It printed: .*not appear to be"):
        archive.entries(b"no archive")
