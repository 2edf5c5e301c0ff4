"""The assessment: everything that would go wrong later, found before anything is changed."""

# Each import registers its checks, in the order in which they are run and read.
# isort: off
from crossfade.assess import connectivity  # noqa: F401
from crossfade.assess import server_settings  # noqa: F401
from crossfade.assess import roles  # noqa: F401
from crossfade.assess import tables  # noqa: F401
from crossfade.assess import activity  # noqa: F401
from crossfade.assess import target  # noqa: F401
from crossfade.assess import locale  # noqa: F401
from crossfade.assess import way_back, way_back_dms  # noqa: F401
from crossfade.assess import pgbouncer  # noqa: F401
from crossfade.assess import routers  # noqa: F401
from crossfade.assess import readers  # noqa: F401
from crossfade.assess import dms_settings  # noqa: F401
from crossfade.assess import dms_aws  # noqa: F401
from crossfade.assess import dms_server  # noqa: F401
from crossfade.assess import dms_roles  # noqa: F401
from crossfade.assess import dms_tables  # noqa: F401
from crossfade.assess import dms_types  # noqa: F401
from crossfade.assess import dms_values  # noqa: F401

# isort: on
from crossfade.assess.registry import CHECKS, Check, Finding, Problem, Severity, check, checks_for
from crossfade.assess.report import Report
from crossfade.assess.run import assess

__all__ = ["assess", "Report", "Finding", "Problem", "Severity", "Check", "CHECKS", "check", "checks_for"]
