"""A plan: one migration, declared in one YAML file. Bad input is refused with the file, the key and the fix."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from crossfade.errors import PlanError
from crossfade.plan_cutover import Cutover
from crossfade.plan_dms import Dms
from crossfade.plan_routers import Router
from crossfade.plan_section import ConnId, Section
from crossfade.plan_validate import Validate
from crossfade.plan_watch import SourceProtection, Watch
from crossfade.quantities import Duration, Size, parse_duration, parse_size

NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")

TablePattern = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"\."})]


class Tables(Section):
    """Which tables move. Patterns are ``schema.table`` with ``*`` and ``?``; a partition follows its root table."""

    include: tuple[TablePattern, ...] = Field(default=("*.*",), min_length=1)
    """Patterns of tables to move."""
    exclude: tuple[TablePattern, ...] = ()
    """Patterns of tables to leave out, definition and rows."""

    @field_validator("include", "exclude")
    @classmethod
    def _have_a_schema(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if "." not in pattern:
                raise ValueError(f"{pattern!r} names no schema: write schema.table, for example public.{pattern}")
        return patterns

    def selects(self, schema: str, table: str) -> bool:
        """Whether the plan moves this table. Names are compared as they are stored, case and all."""
        return _matches(self.include, schema, table) and not self.excludes(schema, table)

    def excludes(self, schema: str, table: str) -> bool:
        """Whether the plan leaves this table out by name, definition and rows."""
        return _matches(self.exclude, schema, table)


def _matches(patterns: tuple[str, ...], schema: str, table: str) -> bool:
    for pattern in patterns:
        schema_pattern, _, table_pattern = pattern.partition(".")
        if fnmatchcase(schema, schema_pattern) and fnmatchcase(table, table_pattern):
            return True
    return False


class Load(Section):
    """How rows are copied."""

    waves: int = Field(default=1, ge=1, le=32)
    """Groups of tables, each copied from one snapshot by a task of its own and streamed by a slot of its own."""
    jobs: int = Field(default=2, ge=1, le=64)
    """Parallel connections of one wave."""
    split_larger_than: Size = Field(default=parse_size("10GB"), ge=1)
    """Tables larger than this are copied in parts of this size."""
    slot_timeout: Duration = parse_duration("10min")
    """How long a new slot may wait for transactions that are open on the source."""


class LagThreshold(Section):
    """When the target counts as caught up."""

    max_bytes: Size = parse_size("1MB")
    max_seconds: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    samples: int = Field(default=5, ge=1)
    """Samples in a row that must be below both limits."""
    timeout: Duration = parse_duration("24h")
    """How long to wait for it."""


class Rollback(Section):
    """The way back after a cutover."""

    window: Duration = parse_duration("48h")
    """How long it is promised: cleanup refuses before."""
    way_back: Literal["native", "dms", "none"] = "native"
    """What carries the target's writes back to the source: native logical replication, proved before traffic opens; or
    a task of AWS DMS (engine dms only), armed by its slot before traffic opens and proved afterwards."""


#: Defaults of plans with AWS DMS where they differ.
_FOR_DMS: dict[str, dict[str, Any]] = {
    "cutover": {"max_pause": "15s"},
    "lag": {"max_bytes": "64MB", "max_seconds": 5.0},
}


class Plan(Section):
    """One migration of a live PostgreSQL database."""

    name: str = Field(default="", exclude=True, json_schema_extra={"readOnly": True})
    source: ConnId
    """The database being left for good, as Airflow reaches it."""
    target: ConnId
    """The database being moved to, as Airflow reaches it."""
    source_from_target: ConnId | None = None
    """The source as the target's server reaches it, with the replication role. Default: as Airflow does."""
    target_from_source: ConnId | None = None
    """The target as the source's server reaches it (for a way back). Default: as Airflow does."""
    engine: Literal["logical", "dms"] = "logical"
    """What carries the rows: native logical replication, or AWS DMS."""
    dms: Dms | None = None
    """Needed by the engine ``dms``, and only by it."""
    tables: Tables = Tables()
    load: Load = Load()
    routers: tuple[Router, ...] = Field(min_length=1)
    """What sends clients to the database."""
    lag: LagThreshold = LagThreshold()
    # "validate" is a method of pydantic's own, hence the alias
    validation: Validate = Field(default=Validate(), alias="validate")
    cutover: Cutover
    rollback: Rollback = Rollback()
    guard: Watch = Watch()
    source_protection: SourceProtection = SourceProtection()

    @model_validator(mode="before")
    @classmethod
    def _dms_takes_longer(cls, given: Any) -> Any:
        """
        DMS commits about once a second, and moves its slot's position every few: other defaults for pause and lag.
        """
        if not isinstance(given, dict) or given.get("engine") != "dms":
            return given
        sections = {key: given.get(key, {}) for key in _FOR_DMS if key in given or key == "lag"}
        ours = {key: {**_FOR_DMS[key], **has} for key, has in sections.items() if isinstance(has, dict)}
        return {**given, **ours}

    @model_validator(mode="after")
    def _dms_where_it_is_the_engine(self) -> Plan:
        if self.engine == "dms" and self.dms is None:
            raise ValueError("engine: dms needs the section dms: which replication instance and endpoints to use")
        if self.engine != "dms" and self.dms is not None:
            raise ValueError("the section dms is only for engine: dms; remove it, or set the engine")
        if self.engine == "dms" and self.load.waves > 1:
            raise ValueError("load.waves is for the engine logical: DMS loads all in one task, load.jobs at a time")
        return self

    @model_validator(mode="after")
    def _way_back_has_its_engine(self) -> Plan:
        if self.dms is not None and self.dms.back is not None and self.rollback.way_back != "dms":
            raise ValueError("the section dms.back is only for rollback.way_back: dms; remove it, or set the way back")
        if self.rollback.way_back != "dms":
            return self
        if self.dms is None:
            raise ValueError(
                f"rollback.way_back: dms is only for engine: dms, this plan's is {self.engine}; use native or none"
            )
        if missing := list(self.dms.missing_for_way_back()):
            raise ValueError(
                f"rollback.way_back: dms needs {', '.join(missing)}: an endpoint that is given by its ARN serves one "
                "direction, and reads no slot that is made later. Give their ARNs, or connections to make them with"
            )
        return self

    @model_validator(mode="after")
    def _writers_are_led(self) -> Plan:
        if all(router.side == "ro" for router in self.routers):
            raise ValueError("every router has 'side: ro': one of them must lead the clients that write")
        return self

    @property
    def goes_natively(self) -> bool:
        """Whether rows are ever carried by native replication: by the engine, or since a rollback."""
        return self.engine == "logical" or self.rollback.way_back == "native"

    @property
    def hash(self) -> str:
        """Twelve hex digits that change whenever the plan's meaning changes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """The whole plan, defaults included, in a stable order."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)

    def difference(self, other: Plan) -> list[str]:
        """``key: here -> there`` for every key in which two plans differ."""
        mine, theirs = _flat(json.loads(self.to_json())), _flat(json.loads(other.to_json()))
        keys = sorted(mine.keys() | theirs.keys())
        return [f"{k}: {mine.get(k)} -> {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): json.dumps(value)}


def plans_directory() -> Path:
    """``CROSSFADE_PLANS``, else ``include/migrations`` beside the ``dags`` folder."""
    configured = os.environ.get("CROSSFADE_PLANS")
    return Path(configured) if configured else Path(__file__).resolve().parents[1] / "migrations"


def load_plan(file: str | Path) -> Plan:
    """
    Read and check one plan; a relative path is looked up in `plans_directory`.

    Raises `PlanError` that names the file, the key, what is wrong and how to put it right.
    """
    path = plans_directory() / file
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(
            file=path.name,
            key="",
            problem=f"there is no such file in {path.parent}",
            fix="Create it, or set CROSSFADE_PLANS",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(file=path.name, key="", problem=f"the file cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise PlanError(file=path.name, key="", problem=f"not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise PlanError(file=path.name, key="", problem="the file must hold keys and values, starting with 'source:'")
    return parse_plan(raw, name=path.stem, file=path.name)


def parse_plan(raw: dict[str, Any], *, name: str, file: str = "plan") -> Plan:
    """A plan from data. Raises `PlanError`."""
    if not NAME.match(name):
        raise PlanError(
            file=file,
            key="",
            problem=f"{name!r} is no plan name",
            fix="Use a-z, 0-9 and _, at most 31, starting with a letter",
        )
    if "name" in raw:
        raise PlanError(file=file, key="name", problem="the plan's name is its file's name", fix="Remove the key")
    try:
        return Plan.model_validate({**raw, "name": name})
    except ValidationError as error:
        raise _plan_error(error, file) from None


def _plan_error(error: ValidationError, file: str) -> PlanError:
    problems = error.errors(include_url=False)
    # a misspelled key is also a missing one: the typo is what helps
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    # a union's branches carry their tag in the location; people know only the keys of their file
    location = [str(part) for part in first["loc"] if str(part) not in _tags()]
    key, fix = ".".join(location), ""
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _known_keys([str(part) for part in first["loc"][:-1]])
        close = difflib.get_close_matches(location[-1], known, 1)
        problem = "unknown key"
        fix = f"Did you mean {close[0]!r}?" if close else f"Known keys here: {', '.join(known)}"
    elif first["type"] == "missing":
        problem = "this key is required"
    elif not isinstance(first["input"], dict) and repr(first["input"]) not in problem:
        problem += f", got {first['input']!r}"
    if len(problems) > 1:
        fix = (fix + f" ({len(problems) - 1} more problem(s) after this one)").strip()
    return PlanError(file=file, key=key, problem=problem, fix=fix)


@functools.cache
def _tags() -> set[str]:
    """Names of the unions' branches: of models, and of what is no model."""
    return {*Plan.model_json_schema()["$defs"], "Arn"}


def _known_keys(location: list[str]) -> list[str]:
    """The keys at a place of the plan, tags of unions included."""
    schema = Plan.model_json_schema()
    node: dict[str, Any] = schema
    for part in location:
        if part in schema["$defs"]:
            node = schema["$defs"][part]
            continue
        node = node.get("items", {}) if part.isdigit() else node.get("properties", {}).get(part, {})
        if ref := node.get("$ref"):
            node = schema["$defs"][ref.rsplit("/", 1)[1]]
        if "$ref" in node.get("items", {}):
            node = {**node, "items": schema["$defs"][node["items"]["$ref"].rsplit("/", 1)[1]]}
        if branches := [b for b in node.get("oneOf", node.get("anyOf", ())) if "$ref" in b]:
            models = [schema["$defs"][b["$ref"].rsplit("/", 1)[1]] for b in branches]
            node = {"properties": {k: v for model in models for k, v in model["properties"].items()}}
    return sorted(key for key in node.get("properties", {}) if key != "name")
