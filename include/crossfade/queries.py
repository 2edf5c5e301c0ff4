"""SQL that is longer than a few lines lives in a ``.sql`` file beside its module, one named query after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import LiteralString, cast

_HEADING = re.compile(r"^-- (\w+): .*$", re.MULTILINE)


def named_queries(module_file: str) -> dict[str, LiteralString]:
    """
    Read ``<module>.sql``: each query opens with ``-- name: what it returns``.

    The text comes from our own files, never from input: hence the cast to LiteralString.
    """
    parts = _HEADING.split(Path(module_file).with_suffix(".sql").read_text(encoding="utf-8"))
    return {name: cast(LiteralString, body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
