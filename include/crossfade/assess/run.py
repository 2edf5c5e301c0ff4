"""Running every check. Nothing is changed anywhere, and no failure is swallowed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

from crossfade.assess.registry import Check, Finding, Severity, checks_for
from crossfade.assess.report import NotRun, Report
from crossfade.assess.scene import Resolve, Scene, set_scene
from crossfade.aws import Clients, no_clients
from crossfade.plan import Plan
from crossfade.ssh import Ssh, no_ssh

log = logging.getLogger(__name__)


def assess(plan: Plan, resolve: Resolve, clients: Clients = no_clients, ssh: Ssh = no_ssh) -> Report:
    """
    Ask everything that would go wrong later; change nothing. Raises nothing for what it finds or cannot reach.

    :param resolve: connection id -> how it is reached
    :param clients: AWS connection id, service -> boto3 client
    :param ssh: SSH connection id -> how the host is reached
    """
    findings: list[Finding] = []
    not_run: list[NotRun] = []
    with ExitStack() as stack:
        scene = set_scene(plan, resolve, stack, clients, ssh)
        findings += scene.unreachable
        checks = checks_for(plan)
        for check in checks:
            missing = tuple(fact for fact in check.needs if fact not in scene.facts)
            if missing:
                not_run.append(NotRun(check=check.id, missing=missing))
            else:
                findings += _run(check, scene)
    report = Report(plan=plan.name, findings=findings, not_run=not_run, ran=len(checks) - len(not_run))
    log.info("assessment of %s: %s", plan.name, report.summary)
    return report


def _run(check: Check, scene: Scene) -> Iterator[Finding]:
    """The findings of one check; that it failed is one of them."""
    try:
        for problem in check.function(**{fact: scene.facts[fact] for fact in check.needs}):
            yield Finding(
                check=check.id,
                severity=problem.severity or check.severity,
                object=problem.object,
                seen=problem.seen,
                remedy=problem.remedy,
            )
    except Exception as error:
        log.exception("check %s failed", check.id)
        yield Finding(
            check=check.id,
            severity=Severity.BLOCKER,
            object="the check itself",
            seen=" ".join(f"it could not be finished: {type(error).__name__}: {error}".split()),
            remedy="Put right what the error names (often a missing privilege), then assess again",
        )
