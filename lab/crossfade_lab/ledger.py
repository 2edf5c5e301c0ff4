"""What the workload's clients attempted and what they were told: the other half of every proof that nothing is lost.

A write is entered before it is sent and again when its outcome is known. One file a client, one line an entry, tabs
between fields; a line goes to the kernel in one write, so a killed workload leaves at worst one attempt without an
outcome, which then counts as unknown.

    A <uid> <key> <value>     attempted; `-` as value: the row is deleted
    K <uid>                   acknowledged by the database
    N <uid> <error>           definitely not applied
    U <uid> <error>           unknown: the connection was lost while the write was under way
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

DELETED = "-"


class Outcome(StrEnum):
    """What a client knows about a write."""

    ACKNOWLEDGED = "K"
    NOT_APPLIED = "N"
    UNKNOWN = "U"


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One transaction of a client."""

    uid: str  #: <run>-<client>-<number>; also stored in the event that every transaction inserts
    key: str  #: the row it puts or deletes: <kind>:<name>; only one client ever writes a key
    value: str  #: what the row holds afterwards, DELETED when it is gone
    outcome: Outcome = Outcome.UNKNOWN
    error: str = ""

    @property
    def run(self) -> str:
        return self.uid.split("-", 1)[0]

    @property
    def number(self) -> int:
        """The place of this write among the client's; also the value of its event."""
        return int(self.uid.rsplit("-", 1)[1])


class LedgerWriter:
    """The ledger of one client; each call is one atomic append."""

    def __init__(self, directory: Path, run: str, client: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{run}-{client:03}.ledger"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def attempt(self, write: Write) -> None:
        """Enter a write that is about to be sent."""
        self._append("A", write.uid, write.key, write.value)

    def settle(self, uid: str, outcome: Outcome, error: str = "") -> None:
        """Enter what became of it."""
        self._append(outcome.value, uid, *([" ".join(error.split())[:300]] if error else []))

    def _append(self, *fields: str) -> None:
        os.write(self._file, ("\t".join(fields) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def parse(text: str) -> Iterator[Write]:
    """The writes of one ledger file, in the client's order. A last line cut short by a crash is ignored."""
    complete = text[: text.rfind("\n") + 1]
    writes: dict[str, Write] = {}
    for line in complete.splitlines():
        mark, uid, *rest = line.split("\t")
        if mark == "A":
            writes[uid] = Write(uid=uid, key=rest[0], value=rest[1])
        elif uid not in writes:
            raise ValueError(f"Outcome of {uid}, which was never attempted: {line!r}. The ledger is damaged.")
        else:
            writes[uid] = replace(writes[uid], outcome=Outcome(mark), error="".join(rest[:1]))
    yield from writes.values()


def read(directory: Path) -> list[Write]:
    """All writes of all clients of all runs in a directory; per client in its order."""
    files = sorted(directory.glob("*.ledger"))
    if not files:
        raise FileNotFoundError(f"{directory} holds no *.ledger. Run a workload into it first.")
    return [write for file in files for write in parse(file.read_text())]
