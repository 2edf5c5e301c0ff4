"""The files in which the API plane of the local DMS and a task's worker meet."""

import json
import os
from pathlib import Path

from crossfade_lab.aws.dms.files import TaskDirectory


def tell(place: Path, state: str) -> None:
    """Replace the status as a worker does, at a moment that never changes: clocks of file systems tick slowly."""
    fresh = place / ".status.json"
    fresh.write_text(json.dumps({"state": state}))
    os.utime(fresh, ns=(1, 1))
    fresh.replace(place / "status.json")


def test_a_last_word_right_after_another_is_not_overlooked(tmp_path: Path) -> None:
    directory = TaskDirectory(tmp_path)
    assert directory.status() is None
    for state in ("running", "stopped"):
        tell(tmp_path, state)
        assert directory.status() == {"state": state}


def test_a_status_of_the_worker_before_is_forgotten(tmp_path: Path) -> None:
    directory = TaskDirectory(tmp_path)
    tell(tmp_path, "stopped")
    assert directory.status() == {"state": "stopped"}
    directory.write_spec({"task": "t"})
    assert directory.status() is None
