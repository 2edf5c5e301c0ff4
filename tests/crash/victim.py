"""The processes that act on a world, each on its own: a cutover that can be held at a step, a guard, an abort.

Run as a program it reads one JSON line from standard input (`world.as_json` with what to do), says on standard output
where it is held and how it ended, one JSON line each, and goes on when it reads another line.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from world import RUN_ID, World, as_json, migration

from crossfade.cutover import order, recovery, steps
from crossfade.cutover.guard import Guard
from crossfade.errors import CrossfadeError
from crossfade.migration import Migration
from crossfade.routers.base import Direction
from crossfade_lab import processes

MARK = "CROSSFADE_CRASH"  #: the environment variable by which everything that a task has started is found
EVERY = 1.0  #: seconds between two looks of the guard
CONTAINED = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def why_not_contained() -> str:
    """Why nothing can be run in a pid namespace of its own here; empty where it can."""
    try:
        tried = subprocess.run([*CONTAINED, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no program unshare"
    return tried.stderr.strip() or f"unshare ended with {tried.returncode}" if tried.returncode else ""


class Stuck(Exception):
    """A process did not do in time what it should have done."""


class Nursery:
    """A process that has imported everything, and forks an actor whenever one is asked for: that takes milliseconds."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self, stdin: int, stdout: int, log: int, mark: str) -> int:
        """An actor with these files; returns its process id."""
        socket.send_fds(self._line, [mark.encode()], [stdin, stdout, log])
        return int(self._line.recv(16))

    def close(self) -> None:
        """End it; its actors go on."""
        self._line.close()
        self._process.wait()


class Actor:
    """A process that acts, ready to be told what to do.

    :param nursery: who forks it; None: a pid namespace of its own, as in a container, where with its first process
        everything dies
    """

    def __init__(self, world: World, name: str, nursery: Nursery | None) -> None:
        self.world, self.contained = world, nursery is None
        self.log = world.directory / f"{name}-{uuid.uuid4().hex[:8]}.log"
        self._mark = uuid.uuid4().hex
        reads, self._told = os.pipe()
        says, wrote = os.pipe()
        with self.log.open("ab") as log:
            if nursery is not None:
                self._root = nursery.fork(reads, wrote, log.fileno(), self._mark)
            else:
                self._root = subprocess.Popen(
                    [*CONTAINED, sys.executable, str(Path(__file__).resolve())],
                    stdin=reads,
                    stdout=wrote,
                    stderr=log,
                    start_new_session=True,
                    env={**os.environ, MARK: self._mark},
                ).pid
        os.close(reads)
        os.close(wrote)
        self._end = os.pidfd_open(self._root)
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, args=[says], daemon=True).start()

    def tell(self, act: str, **more: object) -> None:
        """Say what to do: `cut_over`, `guard` or `abort`."""
        self._write(as_json(self.world, act=act, **more))

    def cut_over(self, direction: Direction, *, stop: tuple[str, bool] | None = None) -> None:
        """Cut over, or back; held at a step where one is given: its name, and whether after its effect."""
        self.tell("cut_over", direction=direction, stop=stop)

    def go_on(self) -> None:
        """Let it go on from where it is held."""
        self._write("")

    def hear(self, seconds: float) -> dict[str, Any]:
        """What it says next. Raises `Stuck`."""
        try:
            return self._said.get(timeout=seconds)
        except queue.Empty:
            raise Stuck(f"said nothing for {seconds:g} s:\n{processes.tail(self.log)}") from None

    def wait(self, seconds: float) -> None:
        """Wait for its end. Raises `Stuck`."""
        if not self.ended(seconds):
            raise Stuck(f"did not end within {seconds:g} s:\n{processes.tail(self.log)}")

    def ended(self, seconds: float = 0) -> bool:
        """Whether it has ended, or does within that many seconds."""
        readable, _, _ = select.select([self._end], [], [], seconds)
        return bool(readable)

    def alive(self) -> bool:
        """Whether it, or anything it has started, is still there."""
        return not self.ended() or bool(self.companions())

    @property
    def pid(self) -> int:
        """The process that acts, as it is seen from here; 0 where it is gone."""
        if self.ended():
            return 0
        return next(processes.children(self._root), 0) if self.contained else self._root

    def companions(self) -> list[int]:
        """What it has started and is still there."""
        found = processes.descended_from([], variable=MARK, value=self._mark)
        return [pid for pid in found if pid not in (self.pid, self._root)]

    def signal(self, number: signal.Signals, *, companions: bool = False) -> None:
        """Send a signal to it, or to it and all it has started, at the same instant."""
        together = [pid for pid in (self.pid, *(self.companions() if companions else ())) if pid]
        if companions:
            for pid in together:  # so that none sees another die
                processes.send(pid, signal.SIGSTOP)
        for pid in together:
            processes.send(pid, number)

    def end(self) -> None:
        """End it, whatever it does, and all it has started."""
        for pid in (*self.companions(), self.pid, *([] if self.ended() else [self._root])):
            if pid:
                processes.send(pid, signal.SIGKILL)
        self.wait(10)
        if self.contained:
            os.waitpid(self._root, 0)
        os.close(self._told)
        os.close(self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _write(self, line: str) -> None:
        try:
            os.write(self._told, line.encode() + b"\n")
        except BrokenPipeError:
            raise Stuck(f"is gone:\n{processes.tail(self.log)}") from None

    def _listen(self, says: int) -> None:
        with open(says) as lines:
            for line in lines:
                self._said.put(json.loads(line))


# --- the program ------------------------------------------------------------------------------------------------------


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def hold_at(name: str, after: bool) -> None:
    """Make the step of that name wait for a line on standard input, before or after its effect."""
    kind = next(kind for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION) if kind.name == name)
    real, held = kind.run, list[steps.Step]()

    def run(step: steps.Step) -> None:
        if after:
            real(step)
        if not held:  # a step after the decision may be done again
            held.append(step)
            say(at=name)
            sys.stdin.readline()
        if not after:
            real(step)

    kind.run = run  # type: ignore[assignment, method-assign]


def watch(m: Migration) -> NoReturn:
    """Guard the plan, as Airflow's triggerer of another host does, until this process is ended."""
    guard = Guard(m, since=time.time())
    while True:
        try:
            if settled := guard.act():
                logging.info("the guard: %s", settled.sentence)
        except CrossfadeError as error:
            logging.warning("the guard tries again: %s", error)
        time.sleep(EVERY)


def act(told: dict[str, Any]) -> object:
    """Do what was told, in this process."""
    m = migration(told["document"], told["dsns"])
    if told["act"] == "abort":
        return recovery.settle(m).sentence
    if told["act"] == "guard":
        watch(m)
    if told["stop"]:
        hold_at(*told["stop"])
    return order.run(m, run_id=RUN_ID, direction=Direction(told["direction"])).table()


def main() -> None:
    """Be an actor."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # as a task's does
    if not (line := sys.stdin.readline()):
        return
    try:
        outcome = act(json.loads(line))
    except Exception as error:
        logging.exception("ended")
        say(ended=type(error).__name__, text=str(error))
        sys.exit(1)
    say(ended="", text=outcome)


def nurse(line: socket.socket) -> None:
    """Fork actors for as long as somebody may ask for them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    while True:
        mark, files, _, _ = socket.recv_fds(line, 64, 3)
        if not mark:
            return
        if pid := os.fork():
            line.send(str(pid).encode())
            for file in files:
                os.close(file)
            continue
        line.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.environ[MARK] = mark.decode()
        main()
        return


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        nurse(socket.socket(fileno=int(sys.argv[1])))
