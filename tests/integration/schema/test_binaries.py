"""A wrong client program, or a server that refuses it, is told in words that help and hold no secret."""

from __future__ import annotations

import pytest

from crossfade.errors import PreconditionError
from crossfade.schema import archive
from crossfade.schema.binaries import ProgramFailed
from crossfade_lab.postgres import binaries


def test_a_pg_dump_older_than_the_target_is_refused(shop_move, monkeypatch) -> None:
    monkeypatch.setenv("PG_BIN", str(binaries(16)))
    with pytest.raises(PreconditionError, match=r"pg_dump is of PostgreSQL 16, the target is 18\. Install .* PG_BIN"):
        shop_move.dump()


def test_a_dump_that_waits_too_long_for_a_table_says_so_and_shows_no_password(shop_move, monkeypatch) -> None:
    monkeypatch.setattr(archive, "LOCK_WAIT", "200ms")
    with shop_move.source_end.session("ddl") as ddl:
        ddl.execute("BEGIN; LOCK TABLE public.orders")
        with pytest.raises(ProgramFailed) as caught:
            shop_move.dump()
    told = str(caught.value)
    assert f"on {shop_move.source_end.address} ended with status 1. It printed:" in told
    assert "Somebody holds an exclusive lock" in told
    assert shop_move.source_end.password not in told


def test_an_archive_that_is_none_is_refused(shop_move) -> None:
    with pytest.raises(ProgramFailed, match=r"pg_restore --list ended with status 1\. It printed: .*not appear to be"):
        archive.entries(b"no archive")
