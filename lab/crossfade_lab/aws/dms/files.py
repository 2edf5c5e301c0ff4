"""The files of a task directory, in which the API plane and the worker of a task meet.

Each file is one JSON document, written under a temporary name and moved into place, so that a reader never sees
half of one. spec.json, command.json and faults.json are written here; status.json, checkpoint.json and log.txt by
the worker.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Document = dict[str, Any]

#: States after which a worker exits.
FINAL = frozenset({"stopped", "failed"})


class TaskDirectory:
    """The directory of one task, named by its resource id.

    :param path: created when missing, for its owner only: the specification holds passwords
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._seen: tuple[tuple[int, int, int] | None, Document | None] = (None, None)

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """What the next worker is to do; forgets the status and the commands of the one before."""
        self.write("spec.json", spec)
        self.write("command.json", {"stop": False, "reload": []})
        (self.path / "status.json").unlink(missing_ok=True)
        self._seen = (None, None)

    def status(self) -> Document | None:
        """What the worker said last; None before it said anything. Read again only when it changed.

        Two documents within one tick of the file system's clock have the same time, but not the same inode.
        """
        try:
            with (self.path / "status.json").open() as file:
                seen = os.fstat(file.fileno())
                version = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
                if version != self._seen[0]:
                    self._seen = (version, json.load(file))
        except FileNotFoundError:
            self._seen = (None, None)
        return self._seen[1]

    def command(self, *, stop: bool, reload: list[Document]) -> None:
        """Tell the worker to stop, and which tables to reload; each reload's id is done once."""
        self.write("command.json", {"stop": stop, "reload": reload})

    def faults(self, faults: Mapping[str, Any]) -> None:
        """Inject faults, which replace those before; none end them."""
        if faults:
            self.write("faults.json", faults)
        else:
            (self.path / "faults.json").unlink(missing_ok=True)

    def log_since(self, offset: int) -> tuple[list[str], int]:
        """Complete lines of the task's log from a position in bytes on, and the position after them."""
        try:
            with (self.path / "log.txt").open("rb") as log:
                log.seek(offset)
                text = log.read()
        except FileNotFoundError:
            return [], offset
        complete = text[: text.rfind(b"\n") + 1]
        return complete.decode(errors="replace").splitlines(), offset + len(complete)

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Put one document in place at once."""
        temporary = self.path / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
        temporary.replace(self.path / name)
