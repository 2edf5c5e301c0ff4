"""The mapped task `load`: one wave of tables copied from one snapshot, then streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class LoadWaveOperator(MigrationOperator):
    """
    Copy a wave's tables with their keys and indexes, and start the wave's stream.

    A wave that is complete is left alone; one that died half-way is copied again from the start.

    :param wave: number of the wave, counted from 1
    :param tables: what a mapped task is called in the UI, with ``map_index_template="{{ task.tables }}"``
    """

    def __init__(self, *, wave: int, tables: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wave = wave
        self.tables = tables

    def execute(self, context: Context) -> dict[str, Any]:
        loaded = phases.load_wave(self.migration(), self.wave)
        return {
            "wave": self.wave,
            "rows": loaded.rows,
            "bytes": loaded.bytes,
            "seconds": round(loaded.seconds, 3),
        }
