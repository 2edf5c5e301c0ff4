"""The one thread that lets states change: it looks at clocks and workers, publishes metrics, ships logs."""

import threading
import time
import traceback
from collections.abc import Iterator

from crossfade_lab.aws.dms import metrics
from crossfade_lab.aws.dms.models import LocalDms, dms_backends

LOOK_SECONDS = 0.05
PUBLISH_SECONDS = 2.0


class Supervisor:
    """Runs until `stop`, which also ends every worker."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and kill the workers."""
        self._stop.set()
        self._thread.join()
        with LocalDms.lock:
            for dms in _all():
                for task in dms.tasks.values():
                    task.kill_worker()

    def _run(self) -> None:
        published = 0.0
        while not self._stop.wait(LOOK_SECONDS):
            due = time.monotonic() - published >= PUBLISH_SECONDS
            published = time.monotonic() if due else published
            try:
                with LocalDms.lock:
                    for dms in _all():
                        _look(dms, publish=due)
            except Exception:  # one bad answer of a worker must not end the supervision of the others
                traceback.print_exc()


def _look(dms: LocalDms, *, publish: bool) -> None:
    dms.advance()
    metrics.ship_logs(dms)
    if publish:
        metrics.publish(dms)


def _all() -> Iterator[LocalDms]:
    for regions in list(dms_backends.values()):
        yield from list(regions.values())
