"""Table mappings: which tables a replication task carries, their LOB limits and the ranges they load in.

By the chapter "Using table mapping to specify task settings" of the AWS DMS user guide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossfade.catalog import Table
from crossfade.engines.dms.lobs import SMALLEST_LIMIT_KB, LobLimit
from crossfade.engines.dms.names import addressable, pattern
from crossfade.engines.dms.ranges import TableRanges
from crossfade.errors import PreconditionError

_Name = TypeVar("_Name", str, tuple[str, str])


class MappingsRefused(PreconditionError):
    """Table mappings that DMS would refuse, or with which it would carry the wrong tables."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the table mappings for AWS DMS cannot be used: {problem}")


class MappingModel(BaseModel):
    """A part of the mappings; the JSON names are DMS's."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True
    )


class ObjectLocator(MappingModel):
    """The table of a rule."""

    schema_name: Annotated[str, Field(min_length=1)]
    table_name: Annotated[str, Field(min_length=1)]


class Rule(MappingModel):
    """What every rule has."""

    rule_type: str
    rule_id: Annotated[str, Field(pattern=r"^[0-9]+$")]
    rule_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")]
    object_locator: ObjectLocator

    @property
    def table(self) -> tuple[str, str]:
        """Schema and name as they stand in the rule."""
        return self.object_locator.schema_name, self.object_locator.table_name


class Selection(Rule):
    """A table that is carried: `explicit` takes the name as it is, `include` as a pattern."""

    rule_type: Literal["selection"] = "selection"
    rule_action: Literal["explicit", "include"]
    filters: tuple[()] = ()


class ParallelLoad(MappingModel):
    """Parts that load at the same time; a boundary is the upper end of one."""

    type: Literal["ranges"] = "ranges"
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=10)]
    boundaries: Annotated[tuple[tuple[str, ...], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _a_value_for_each_column(self) -> ParallelLoad:
        for boundary in self.boundaries:
            if len(boundary) != len(self.columns):
                raise ValueError(f"boundary {boundary} does not have one value for each of {', '.join(self.columns)}")
        return self


class LobSettings(MappingModel):
    """LOBs of one table: cut at a limit in kB, or one by one whatever their size."""

    mode: Literal["limited", "unlimited"]
    bulk_max_size: Annotated[str, Field(pattern=r"^[0-9]+$")]

    @model_validator(mode="after")
    def _limited_to_something(self) -> LobSettings:
        if self.mode == "limited" and int(self.bulk_max_size) == 0:
            raise ValueError("limited needs a bulk-max-size of at least 1 (kB)")
        return self


class TableSettings(Rule):
    """What is different for one table. Never with wildcards."""

    rule_type: Literal["table-settings"] = "table-settings"
    parallel_load: ParallelLoad | None = None
    lob_settings: LobSettings | None = None


class Mappings(MappingModel):
    """The rules of a task, in order."""

    rules: tuple[Annotated[Selection | TableSettings, Field(discriminator="rule_type")], ...]

    @model_validator(mode="after")
    def _usable(self) -> Mappings:
        if problems := list(_problems(self.rules)):
            raise ValueError("; ".join(problems))
        return self

    def to_json(self) -> str:
        """For ``TableMappings`` of CreateReplicationTask."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def _problems(rules: Sequence[Selection | TableSettings]) -> Iterator[str]:
    selections = [rule for rule in rules if isinstance(rule, Selection)]
    settings = [rule for rule in rules if isinstance(rule, TableSettings)]
    if not selections:
        yield "no table is selected"
    for key, values in (("rule-id", [r.rule_id for r in rules]), ("rule-name", [r.rule_name for r in rules])):
        yield from (f"{key} {value} is used more than once" for value in _repeated(values))
    yield from (f"{'.'.join(table)} is selected more than once" for table in _repeated([r.table for r in selections]))
    yield from (f"{'.'.join(table)} has settings twice" for table in _repeated([r.table for r in settings]))
    for rule in rules:
        if not addressable(*rule.table) and (isinstance(rule, TableSettings) or rule.rule_action == "explicit"):
            yield f"{'.'.join(rule.table)} holds a percent sign, which only a pattern may"
    chosen = {rule.table for rule in selections}
    yield from (f"{'.'.join(r.table)} has settings and is not selected" for r in settings if r.table not in chosen)


def _repeated(values: Sequence[_Name]) -> list[_Name]:
    return [value for value, times in Counter(values).items() if times > 1]


def table_mappings(
    tables: Sequence[Table],
    *,
    lobs: Sequence[LobLimit],
    ranges: Sequence[TableRanges],
    also: Sequence[tuple[str, str]] = (),
) -> Mappings:
    """
    The mappings of a task that carries these tables, each named alone: tables made later are not picked up.

    Tables whose LOBs go by the task's mode (`inline`) get no `lob-settings`: DMS has no such mode for a table.

    :param also: schema and name of our own tables, such as the watermark; their texts are short, so they are limited
    :raises MappingsRefused: nothing is selected, a table twice, or limits or ranges of a table that is not carried
    """
    own = [
        LobLimit(
            schema=schema,
            name=name,
            mode="limited",
            limit_kb=SMALLEST_LIMIT_KB,
            columns=1,
            largest_column="",
            largest_bytes=0,
        )
        for schema, name in also
    ]
    names = [(table.schema, table.name) for table in tables]
    if not names:
        raise MappingsRefused("the plan selects no table. Correct `tables` in the plan")
    chosen = [*names, *also]
    limit_of = {(limit.schema, limit.name): limit for limit in (*lobs, *own)}
    range_of = {(split.schema, split.name): split for split in ranges}
    if strangers := (limit_of.keys() | range_of.keys()) - set(chosen):
        listed = ", ".join(sorted(".".join(name) for name in strangers))
        raise MappingsRefused(
            f"{listed} was measured, but is not carried by the task: the tables changed meanwhile. Measure again"
        )
    rules: list[Selection | TableSettings] = []
    for name in chosen:
        number = str(len(rules) + 1)
        rules.append(_selection(number, *name))
    for name in chosen:
        settings = _settings(str(len(rules) + 1), name, limit_of.get(name), range_of.get(name))
        if settings:
            rules.append(settings)
    try:
        return Mappings(rules=tuple(rules))
    except ValidationError as error:
        raise MappingsRefused(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None


def ranges_in(mappings: Mapping[str, Any]) -> list[TableRanges]:
    """The ranges that a task's mappings, as AWS tells them, load tables in."""
    return [
        TableRanges(
            schema=rule["object-locator"]["schema-name"],
            name=rule["object-locator"]["table-name"],
            column=load["columns"][0],
            boundaries=tuple(boundary[0] for boundary in load["boundaries"]),
        )
        for rule in mappings.get("rules", ())
        if rule["rule-type"] == "table-settings" and (load := rule.get("parallel-load"))
    ]


def _selection(number: str, schema: str, name: str) -> Selection:
    if addressable(schema, name):
        locator = ObjectLocator(schema_name=schema, table_name=name)
        return Selection(rule_id=number, rule_name=number, rule_action="explicit", object_locator=locator)
    locator = ObjectLocator(schema_name=pattern(schema), table_name=pattern(name))
    return Selection(rule_id=number, rule_name=number, rule_action="include", object_locator=locator)


def _settings(
    number: str, name: tuple[str, str], limit: LobLimit | None, split: TableRanges | None
) -> TableSettings | None:
    modes: dict[str, Literal["limited", "unlimited"]] = {"limited": "limited", "full": "unlimited"}
    lob = (
        LobSettings(mode=modes[limit.mode], bulk_max_size=str(limit.limit_kb))
        if limit and limit.mode in modes
        else None
    )
    load = (
        ParallelLoad(columns=(split.column,), boundaries=tuple((value,) for value in split.boundaries))
        if split
        else None
    )
    if lob is None and load is None:
        return None
    return TableSettings(
        rule_id=number,
        rule_name=number,
        object_locator=ObjectLocator(schema_name=name[0], table_name=name[1]),
        parallel_load=load,
        lob_settings=lob,
    )
