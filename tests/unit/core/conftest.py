"""Tables as the catalog would describe them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crossfade.catalog import Column, Table

TableFactory = Callable[..., Table]


@pytest.fixture(scope="session")
def make_table() -> TableFactory:
    """Makes a table; what is not said has a default."""

    def make(
        name: str = "orders",
        *,
        columns: Sequence[str] = ("id",),
        generated: Sequence[str] = (),
        text_only: Sequence[str] = (),
        **changes: Any,
    ) -> Table:
        described: dict[str, Any] = {
            "oid": 1,
            "schema": "public",
            "owner": "shop_owner",
            "root": ("public", name),
            "replica_identity": "d",
            "key": ("id",),
            "relfilenode": 1,
            "bytes": 8192,
            "rows_estimate": 10,
            "pages": 1,
            "columns": tuple(
                Column(name=c, type="text", not_null=False, generated=c in generated, binary=c not in text_only)
                for c in columns
            ),
        }
        return Table(name=name, **{**described, **changes})

    return make
