"""The assessment: everything that would go wrong later, found before anything is changed."""

# each import registers its checks, in the order in which people read them
from crossfade.assess import (  # noqa: F401
    activity,
    connectivity,
    locale,
    pgbouncer,
    roles,
    server_settings,
    tables,
    target,
)
from crossfade.assess.registry import CHECKS, Check, Finding, Problem, Severity, check
from crossfade.assess.report import Report
from crossfade.assess.run import assess

__all__ = ["assess", "Report", "Finding", "Problem", "Severity", "Check", "CHECKS", "check"]
