"""A thing of AWS DMS that a migration uses, its name, and whose it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from crossfade.engines.dms.refusals import Client, asking
from crossfade.errors import PreconditionError

PLAN_TAG = "crossfade:plan"  #: on everything that is made, with the plan's name


#: What goes the way back has kinds of its own, and so has what goes to the target again after a rollback.
Kind = Literal[
    "instance",
    "source endpoint",
    "target endpoint",
    "task",
    "slot",
    "back source endpoint",
    "back target endpoint",
    "back task",
    "again source endpoint",
    "again task",
]

#: What tasks run on.
ENDPOINTS_AND_INSTANCE: tuple[Kind, ...] = (
    "source endpoint",
    "target endpoint",
    "back source endpoint",
    "back target endpoint",
    "again source endpoint",
    "instance",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A replication instance or an endpoint."""

    kind: Kind  #: as in the journal
    identifier: str
    arn: str
    made: bool  #: by Crossfade, which then also deletes it
    notes: tuple[str, ...] = ()  #: what a person should know of it


def name_of(plan: str, suffix: str = "") -> str:
    """
    The identifier of what is made for a plan: letters, digits and single hyphens, as DMS wants it.

    :param suffix: such as ``source``
    """
    return re.sub("[^a-z0-9]+", "-", f"crossfade-{plan}-{suffix}".lower()).strip("-")


def tags_of(plan: str) -> dict[str, str]:
    """The tags of everything that is made for a plan."""
    return {PLAN_TAG: plan}


def require_ours(dms: Client, arn: str, identifier: str, tags: Mapping[str, str]) -> None:
    """Raise `PreconditionError` where something of that name was not made for this plan."""
    with asking("dms:ListTagsForResource", identifier):
        told = dms.list_tags_for_resource(ResourceArn=arn).get("TagList") or []
    has = {tag["Key"]: tag["Value"] for tag in told}
    if has.get(PLAN_TAG) != tags[PLAN_TAG]:
        owner = f"for the plan {has[PLAN_TAG]!r}" if PLAN_TAG in has else "by somebody else"
        raise PreconditionError(
            f"{identifier} exists in AWS DMS and was made {owner}, so it is left alone. Delete or rename it, or name "
            "it by its ARN in the plan"
        )
