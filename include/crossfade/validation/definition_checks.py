"""Checks of what is defined: both inventories are compared, and each difference is told by the check it belongs to."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import replace

from crossfade import catalog
from crossfade.connect import scalar
from crossfade.queries import named_queries
from crossfade.schema.compare import Difference
from crossfade.schema.roles import Role, read_roles
from crossfade.validation.result import Mode
from crossfade.validation.sides import BothSides, Line, counted, listed, wrong

_QUERIES = named_queries(__file__)

_OF_ROLES = ("owner", "grants", "default privileges", "role setting")
#: Kinds whose identity is that of the relation itself, or says at its end which relation it is on.
_OF_A_RELATION = {"replica identity", "content", "view options"}
_ON_A_RELATION = {"constraint", "trigger", "rule", "policy"}


def schema(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Objects that one side lacks, or that are not the same; what follows from a missing one is not told again."""
    invalid = _of_target(sides, "invalid_indexes")
    for difference in _belonging(sides, "schema"):
        if not (difference.kind == "index" and difference.identity in invalid):
            yield wrong(str(difference))
    return f"{counted(sum(sides.definitions.objects.values()), 'object')} of the source"


def keys(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Primary keys and replica identities; names tables that have neither."""
    for difference in _belonging(sides, "keys"):
        yield wrong(str(difference))
    tables = catalog.tables(sides.source, sides.tables)
    without = [table.full_name for table in tables if not table.can_replicate_updates]
    note = counted(len(tables), "table")
    if without:
        note += f"; their UPDATE and DELETE cannot be replicated, as they have neither: {listed(without)}"
    return note


def constraints(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Constraints that are missing, others, or not validated on the target; and indexes that are not valid there."""
    invalid, pending = _of_target(sides, "invalid_indexes"), _of_target(sides, "not_validated")
    told = set()
    for difference in _belonging(sides, "constraints"):
        told.add(difference.identity)
        if difference.on_source is not None and difference.on_target == f"{difference.on_source} NOT VALID":
            remedy = pending.get(difference.identity, "")
            yield wrong(f"constraint {difference.identity} is not validated on the target. There: {remedy}")
        else:
            yield wrong(str(difference))
    for difference in _belonging(sides, "schema"):
        if difference.kind == "index" and difference.identity in invalid:
            yield wrong(
                f"index {difference.identity} is not valid on the target. There: {invalid[difference.identity]}"
            )
    note = counted(sides.definitions.objects.get("constraint", 0), "constraint")
    if on_both := pending.keys() - told:
        note += f"; not validated on either side: {listed(on_both)}"
    return note


def roles(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Roles that matter to the source and are missing on the target, or not in their groups; owners and grants."""
    there = [role for role in read_roles(sides.source, sides.application_roles) if role.name not in sides.carriers]
    here = _roles_of_target(sides, there)
    yield from _memberships(sides, there, here)
    for difference in _belonging(sides, "roles"):
        yield wrong(str(difference))
    objects = sides.definitions.objects
    note = (
        f"{counted(len(there), 'role')}, {sum(objects.get(kind, 0) for kind in _OF_ROLES)} owners, grants and settings"
    )
    if others := [role.name for role in there if role.name in here and here[role.name] != _attributes(role)]:
        note += f"; with other attributes than on the source: {listed(others)}"
    return note


def materialised_views(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Those that are populated on the source, but not on the target."""
    fuller = []
    for difference in _belonging(sides, "materialised views"):
        if difference.on_source == "populated":
            yield wrong(
                f"materialised view {difference.identity} is not populated on the target. "
                f"There: REFRESH MATERIALIZED VIEW {difference.identity}"
            )
        else:
            fuller.append(difference.identity)
    note = counted(sides.definitions.objects.get("content", 0), "materialised view")
    if fuller:
        note += f"; populated on the target only: {listed(fuller)}"
    return note


# --- differences, and the checks they belong to -----------------------------------------------------------------------


def _belonging(sides: BothSides, check: str) -> Iterator[Difference]:
    return (each for each in without_consequences(sides.definitions.differences) if check_of(each) == check)


def check_of(difference: Difference) -> str:
    """The name of the one check that tells of this difference."""
    if difference.kind in _OF_ROLES:
        return "roles"
    if difference.kind == "content":
        return "materialised views"
    if difference.kind == "replica identity":
        return "keys"
    if difference.kind != "constraint":
        return "schema"
    sides = (difference.on_source or "", difference.on_target or "")
    return "keys" if any(text.startswith("PRIMARY KEY") for text in sides) else "constraints"


def without_consequences(differences: Iterable[Difference]) -> Iterator[Difference]:
    """All but what is missing only since something else is, on the same side: columns of a table, grants of a view."""
    differences = tuple(differences)
    gone = {side: [d for d in differences if getattr(d, side) is None] for side in ("on_source", "on_target")}
    names = {side: {d.identity for d in missing} for side, missing in gone.items()}
    relations = {
        side: {d.identity for d in missing if d.kind in ("table", "view", "materialised view", "sequence", "type")}
        for side, missing in gone.items()
    }
    backed = {side: _keys_without_index(missing) for side, missing in gone.items()}
    for difference in differences:
        side = "on_source" if difference.on_source is None else "on_target"
        if getattr(difference, side) is not None:
            yield difference
        elif not (_follows(difference, relations[side], names[side]) or _backs(difference, backed[side])):
            yield difference


def _keys_without_index(missing: Collection[Difference]) -> set[tuple[str, str]]:
    """Name and table of constraints that are missing: those that have an index lack it, too."""
    return {parts for each in missing if each.kind == "constraint" for parts in _on(each.identity)}


def _on(identity: str) -> Iterator[tuple[str, str]]:
    """``name on table`` in its parts."""
    return _cut(identity, " on ")


def _cut(text: str, word: str) -> Iterator[tuple[str, str]]:
    """What is before and after a word; several times where a name contains it, too."""
    at = text.find(word)
    while at >= 0:
        yield text[:at], text[at + len(word) :]
        at = text.find(word, at + 1)


def _backs(index: Difference, constraints: Collection[tuple[str, str]]) -> bool:
    """Whether it is the index of one of these constraints: it has its name, and is on the same table."""
    if index.kind != "index":
        return False
    parts = index.identity.split(".")
    names = [".".join(parts[n:]) for n in range(1, len(parts))]
    return any((name, table) in constraints for table in _indexed(index) for name in names)


def _indexed(index: Difference) -> list[str]:
    """The table that an index is on; and more where names contain what separates them."""
    definition = (index.on_source or index.on_target or "").replace(" ON ONLY ", " ON ", 1)
    return [table for _, rest in _cut(definition, " ON ") for table, _ in _cut(rest, " USING ")]


def _follows(difference: Difference, relations: Collection[str], names: Collection[str]) -> bool:
    """Whether what this is a part of is missing itself."""
    kind, identity = difference.kind, difference.identity
    if kind == "column":
        return _parts_of(identity, relations)
    if kind == "sequence":
        text = difference.on_source or difference.on_target or ""
        return _parts_of(text.rpartition("owned by ")[2], relations)
    if kind in _OF_A_RELATION:
        return identity in relations
    if kind in _ON_A_RELATION:
        return any(relation in relations for _, relation in _on(identity))
    if kind == "index":
        return any(relation in relations for relation in _indexed(difference))
    if kind in ("owner", "grants", "comment"):  # "table public.orders", "table column public.orders.total"
        words = identity.split(" ")
        ends = (" ".join(words[n:]) for n in range(1, len(words)))
        return any(end in names or _parts_of(end, relations) for end in ends)
    return False


def _parts_of(identity: str, relations: Collection[str]) -> bool:
    """Whether it is a column of one of them."""
    dots = [at for at, letter in enumerate(identity) if letter == "."]
    return any(identity[:at] in relations for at in dots)


# --- what only the target is asked ------------------------------------------------------------------------------------


def _of_target(sides: BothSides, query: str) -> Mapping[str, str]:
    """Identity of what is not as it should be on the target -> the statement that puts it right."""
    return {row["identity"]: row["remedy"] for row in sides.target.execute(_QUERIES[query], {}).fetchall()}


def _roles_of_target(sides: BothSides, wanted: Collection[Role]) -> dict[str, Role]:
    """The same roles as the target has them, without what only a comparison of verifiers could tell."""
    rows = sides.target.execute(_QUERIES["roles"], {"names": [role.name for role in wanted]}).fetchall()
    return {row["name"]: Role(**row) for row in rows}


def _attributes(role: Role) -> Role:
    """What two servers can be compared in."""
    return replace(role, owns=False, comment=None, verifier=None, memberships=(), settings=())


def _memberships(sides: BothSides, there: Collection[Role], here: Mapping[str, Role]) -> Iterator[Line]:
    rows = sides.target.execute(_QUERIES["memberships"], {"names": list(here)}).fetchall()
    present = {(row["member"], row["group"]) for row in rows}
    ourselves = scalar(sides.source, "SELECT current_user")
    groups = {row["name"] for row in sides.target.execute(_QUERIES["role_names"]).fetchall()}
    for role in there:
        if role.name not in here:
            yield wrong(f"role {role.identifier.as_string()} is missing on the target")
            continue
        if any(group.group == ourselves for group in role.memberships):
            continue  # another tool's role, which works through ours: each side has its own
        for group in role.memberships:
            if group.group in groups and (role.name, group.group) not in present:
                yield wrong(f"role {role.identifier.as_string()} is not in the group {group.group} on the target")
