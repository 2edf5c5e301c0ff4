"""The task settings that the plan asks for: refused ones, and those with which rows get lost in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossfade.assess.dms_scene import DMS
from crossfade.assess.registry import Problem, Severity, check
from crossfade.engines.dms.settings import SettingRefused, TaskSettings, lossy, task_settings
from crossfade.plan import Plan


@check("dms_settings.usable", severity=Severity.BLOCKER, engines=DMS)
def settings_can_be_used(plan: Plan) -> Iterator[Problem]:
    """Task settings that DMS would refuse, and, as a warning each, those that lose, double or hide something."""
    asked = plan.dms.settings if plan.dms else {}
    try:
        wanted = settings_of(plan, asked)
    except SettingRefused as error:
        yield Problem(f"dms.settings.{error.key}", error.problem, error.fix)
        return
    usual = set(lossy(settings_of(plan, {})))
    for sentence in lossy(wanted):
        if sentence not in usual:
            key = sentence.split(" is ", 1)[0]
            yield Problem(
                f"dms.settings.{key}",
                sentence,
                f"Remove {key} from dms.settings of the plan",
                severity=Severity.WARNING,
            )


def settings_of(plan: Plan, overrides: Mapping[str, Any]) -> TaskSettings:
    """The settings of the plan's task with these overrides. Raises `SettingRefused`."""
    dms = plan.dms
    return task_settings(
        control_schema="crossfade",
        jobs=plan.load.jobs,
        validation=dms.validation if dms else False,
        inline_limit_kb=dms.lobs.inline_limit // 1024 if dms and dms.lobs.outliers == "inline" else 0,
        overrides=overrides,
    )
