"""The guard of a cutover or rollback: in the triggerer, which outlives the worker that the task runs on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from crossfade.cutover.guard import Guard
from crossfade_airflow.migrations import at_hand, found_migration
from crossfade_airflow.triggers.sampling import HAND_OVER

#: Of the guarded task. Any other means that it may still hold clients.
NEVER_RAN = frozenset({"skipped", "upstream_failed", "removed"})
ENDED = NEVER_RAN | {"success", "failed"}

LEFT_SECONDS = 60.0  #: for which it is tried to settle what is left, after the guarded task has ended


class Guarded(TypedDict):
    """What became of it. Everything in it is safe to show."""

    status: Literal["over", "never ran", "incomplete", "timeout"]
    task_state: str  #: of the guarded task, as Airflow has it
    settled: list[str]  #: what the guard has done, in words; empty where there was nothing to do
    problem: str  #: what it could not do


class CutoverGuardTrigger(BaseTrigger):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Look every `poke_interval` seconds for an attempt whose host is lost, and bring its traffic to where it belongs.

    Fires when the guarded task has ended and no attempt is left unfinished. All that it does may be done twice, and by
    two triggers at once. Connections are looked up at the beginning: what follows needs no Airflow, but for the state
    of the guarded task.

    :param plan: name of the plan
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    :param source_conn_id: connection to its source, which holds it where the target is dead
    :param dag_id: DAG of the guarded task
    :param run_id: of this run of it
    :param guarded: id of the guarded task
    :param since: Unix time; attempts that were last heard of before are not this run's
    :param deadline: Unix time at which to give up
    :param poke_interval: seconds between two looks
    """

    def __init__(
        self,
        *,
        plan: str,
        target_conn_id: str,
        source_conn_id: str,
        dag_id: str,
        run_id: str,
        guarded: str,
        since: float,
        deadline: float,
        poke_interval: float = 1.0,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.target_conn_id = target_conn_id
        self.source_conn_id = source_conn_id
        self.dag_id = dag_id
        self.run_id = run_id
        self.guarded = guarded
        self.since = since
        self.deadline = deadline
        self.poke_interval = poke_interval
        self._guard: Guard | None = None
        self._settled: list[str] = []
        self._problem = ""
        self._over = False
        self._task_state = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {
            "plan": self.plan,
            "target_conn_id": self.target_conn_id,
            "source_conn_id": self.source_conn_id,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "guarded": self.guarded,
            "since": self.since,
            "deadline": self.deadline,
            "poke_interval": self.poke_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        begun = time.monotonic()
        asking = asyncio.create_task(self._keep_asking())
        try:
            outcome = await self._until_over()
        finally:
            asking.cancel()
            if self._guard is not None:
                self._guard.close()
        await asyncio.sleep(HAND_OVER - (time.monotonic() - begun))
        yield TriggerEvent(dict(outcome))

    async def _until_over(self) -> Guarded:
        ended_at: float | None = None
        while True:
            state = self._task_state
            if state in NEVER_RAN:
                return self._outcome("never ran", state)
            await asyncio.to_thread(self._look)
            if state not in ENDED:
                ended_at = None
            elif self._over:
                return self._outcome("over", state)
            else:
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > LEFT_SECONDS:
                    return self._outcome("incomplete", state)
            if time.time() > self.deadline:
                return self._outcome("timeout", state)
            await asyncio.sleep(self.poke_interval)

    async def _keep_asking(self) -> None:
        """Ask for the task's state beside the looks: a slow api-server, or none, must not keep them from acting."""
        while True:
            try:
                self._task_state = await asyncio.to_thread(self.ask_task_state)
            except Exception as error:
                self.log.warning("the state of %s can not be asked: %s", self.guarded, error)
            await asyncio.sleep(self.poke_interval)

    def ask_task_state(self) -> str:
        """The state of the guarded task, as Airflow has it; empty where it has none yet."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # as the standard provider's triggers do

        states = RuntimeTaskInstance.get_task_states(dag_id=self.dag_id, task_ids=[self.guarded], run_ids=[self.run_id])
        return str(states.get(self.run_id, {}).get(self.guarded) or "")

    def _look(self) -> None:
        """One look, and what has to be done. Whatever is raised is said, and tried again with the next look."""
        try:
            if self._guard is None:
                migration = at_hand(found_migration(self.plan, self.target_conn_id, self.source_conn_id))
                self._guard = Guard(migration, since=self.since)
                self.log.info("watching %s of %s, every %g s", self.guarded, self.plan, self.poke_interval)
            if (settled := self._guard.act()) is not None:
                self.log.warning("%s", settled.sentence)
                self._settled.append(settled.sentence)
            self._over, self._problem = self._guard.over(), ""
        except Exception as error:
            self._over, self._problem = False, str(error)
            self.log.warning("%s: trying again", error)

    def _outcome(self, status: Literal["over", "never ran", "incomplete", "timeout"], state: str) -> Guarded:
        return Guarded(status=status, task_state=state, settled=self._settled, problem=self._problem)
