"""What we send, the local DMS takes: it refuses what the user guide says DMS refuses."""

import json

import pytest

from crossfade.catalog import Table
from crossfade.engines.dms.lobs import LobLimit
from crossfade.engines.dms.mappings import table_mappings
from crossfade.engines.dms.ranges import TableRanges
from crossfade.engines.dms.settings import task_settings
from crossfade_lab.aws.dms.mappings import checked
from crossfade_lab.aws.dms.settings import merged


@pytest.mark.parametrize("inline_limit_kb", [0, 64])
def test_settings(inline_limit_kb: int) -> None:
    ours = task_settings(
        control_schema="crossfade_dms", jobs=8, validation=True, inline_limit_kb=inline_limit_kb, overrides={}
    )
    document = merged(ours.to_json())
    assert document["TargetMetadata"]["InlineLobMaxSize"] == inline_limit_kb
    assert document["ErrorBehavior"]["ApplyErrorDeletePolicy"] == "SUSPEND_TABLE"


def test_mappings() -> None:
    names = ["Order Items", "select", 'naïve"quote', "a_b%c"]
    tables = [
        Table(
            oid=1, schema="public", name=name, owner="o", root=("public", name), replica_identity="d", key=("id",),
            relfilenode=1, bytes=1, rows_estimate=1, pages=1, columns=(),
        )
        for name in names
    ]  # fmt: skip
    limit = LobLimit(
        schema="public", name="select", mode="limited", limit_kb=16, columns=1, largest_column="c", largest_bytes=1
    )
    split = TableRanges(schema="public", name="Order Items", column="id", boundaries=("1", "2"))
    mappings = table_mappings(tables, lobs=[limit], ranges=[split], also=[("crossfade", "watermark_shop")])
    assert checked(mappings.to_json()) == json.loads(mappings.to_json())
