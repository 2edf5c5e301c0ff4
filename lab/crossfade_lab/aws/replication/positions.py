"""CdcStartPosition and CdcStopPosition: where a stream begins, and when it has gone far enough."""

from __future__ import annotations

import time

from crossfade_lab.aws.replication.failures import TaskFailed


def start_position(given: str | None) -> int:
    """The LSN that CdcStartPosition names, itself or in one of our checkpoints; 0 where there is none.

    :raises TaskFailed: it is neither
    """
    if not given:
        return 0
    lsn = given.split("#")[2] if given.startswith("checkpoint:") else given
    try:
        high, _, low = lsn.partition("/")
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        raise TaskFailed(f"CdcStartPosition {given!r} is neither an LSN nor a checkpoint of a task") from None


def past_the_end(given: str | None, last_commit: float) -> bool:
    """Whether CdcStopPosition, a time in UTC of the server or of a commit, lies behind.

    :param last_commit: when the last applied transaction was committed, seconds since 1970
    """
    if not given:
        return False
    kind, _, moment = given.partition(":")
    stop = time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")) - time.timezone
    return (time.time() if kind == "server_time" else last_commit) > stop
