"""The JSON schema of a plan's file, for editors and for checks: ``python -m crossfade.plan_schema [--check] FILE``."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from crossfade.plan import Plan
from crossfade.quantities import format_duration


class _ForPeople(GenerateJsonSchema):
    """Says only what the key's name does not, and defaults as they are written in a plan."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Never: an editor shows the key."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """Durations as ``5s``; a section has no default of its own, its keys have."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return {} if isinstance(dft, BaseModel) else super().encode_default(dft)

    def generate(self, schema: CoreSchema, mode: Any = "validation") -> dict[str, Any]:
        """The schema of a plan's file. The name is not in it: that is the file's name."""
        found = super().generate(schema, mode)
        del found["properties"]["name"]
        return {"$schema": self.schema_dialect, **found, "title": "Crossfade plan"}


def plan_schema() -> str:
    """The schema as text."""
    schema = Plan.model_json_schema(by_alias=True, schema_generator=_ForPeople)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema, or only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where the file is not what would be written")
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    if not chosen.check:
        chosen.file.write_text(plan_schema(), encoding="utf-8")
    elif not chosen.file.exists() or chosen.file.read_text(encoding="utf-8") != plan_schema():
        parser.exit(1, f"{chosen.file} does not match crossfade/plan.py. Run: make schema\n")


if __name__ == "__main__":
    main()
