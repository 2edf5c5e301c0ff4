"""The task `rollback`: the application moves back to the source, with all that it wrote to the target."""

from __future__ import annotations

from typing import ClassVar

from crossfade.routers.base import Direction
from crossfade_airflow.operators.critical_section import CriticalSectionOperator


class RollbackOperator(CriticalSectionOperator):
    """Move the application back to the source. The target is then kept current, as it was before the cutover."""

    direction: ClassVar[Direction] = Direction.BACK
