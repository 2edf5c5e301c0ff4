"""Sequences of one database set ahead of another's: row replication does not carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, RetryPolicy

from crossfade import catalog, sequences
from crossfade_airflow.connections import endpoint
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT

if TYPE_CHECKING:
    from airflow.sdk import Context


class ResetSequencesOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Set every sequence of the target that is behind the source's to the source's value plus a margin; needs no plan.

    Never backwards, within the sequence's bounds; sequences that only one side has are left alone. Returns how many
    were set.

    :param source_conn_id: connection to the database whose sequences count
    :param target_conn_id: connection to the database whose sequences are set
    :param margin: increments to go beyond the source's value, for what is handed out meanwhile
    """

    template_fields: Sequence[str] = ("source_conn_id", "target_conn_id")

    def __init__(
        self,
        *,
        source_conn_id: str,
        target_conn_id: str,
        margin: int = 1000,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.margin = margin

    def execute(self, context: Context) -> int:
        needed_by = f"the task {self.task_id!r}"
        with (
            endpoint(self.source_conn_id, needed_by=needed_by).session("sequences") as source,
            endpoint(self.target_conn_id, needed_by=needed_by).session("sequences") as target,
        ):
            common = set(catalog.sequences(source)) & set(catalog.sequences(target))
            behind = sequences.carry(sequences.read(source, common), sequences.read(target, common), self.margin)
            sequences.write(target, behind)
        for sequence, state in behind.items():
            self.log.info("%s set to %d", sequence.full_name, state.last_value)
        self.log.info("%d of %d sequences were behind and are set", len(behind), len(common))
        return len(behind)
