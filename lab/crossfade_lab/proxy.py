"""A TCP proxy whose connections can be cut, left hanging or delayed: the network between two parts of the lab.

It runs in a process of its own (`Proxy`, or `python -m crossfade_lab.proxy`, which reads commands as JSON lines from
standard input, answers each with a line, and ends when its input does: with whoever started it, however that one died).
"""

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from crossfade_lab.processes import LabError

HOST = "127.0.0.1"
CHUNK = 65536  #: bytes read at once
AHEAD = 256  #: chunks read and not yet forwarded, of one direction of a connection: beyond, the sender has to wait
RESET = struct.pack("ii", 1, 0)  #: SO_LINGER of no seconds: close() sends a reset


class Existing(StrEnum):
    """What becomes of the connections that are open when the proxy is cut."""

    RESET = "reset"  #: both ends see them broken at once
    BLACKHOLE = "blackhole"  #: nothing arrives any more, nobody is told; what was sent arrives when it is restored


class New(StrEnum):
    """What becomes of attempts to connect while the proxy is cut."""

    REFUSE = "refuse"  #: refused at once, as where nobody listens
    BLACKHOLE = "blackhole"  #: accepted by the kernel, and never answered until it is restored


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What went through a proxy."""

    connections: int  #: open now, those that hang included
    accepted: int  #: since the proxy started


class Proxy:
    """A proxy in a process of its own, as a context manager: listens on entry, gone on exit.

    :param host: where it forwards to
    :param port: its port there; nobody needs to listen there yet
    """

    host = HOST

    def __init__(self, host: str, port: int) -> None:
        self.towards = (host, port)
        self.port = 0  #: where it listens; stays the same however often it is cut
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crossfade_lab.proxy", self.towards[0], str(self.towards[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.port = self._answer()["port"]

    def stop(self) -> None:
        """End it; every connection through it is closed."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def cut(self, *, existing: Existing = Existing.RESET, new: New = New.REFUSE) -> None:
        """Cut the line; returns when it is cut."""
        self._tell({"do": "cut", "existing": existing, "new": new})

    def restore(self) -> None:
        """Put right what `cut` did: new connections are taken, those that hang go on with what they sent meanwhile."""
        self._tell({"do": "restore"})

    def delay(self, seconds: float) -> None:
        """Everything sent from now on arrives that much later, in either direction."""
        self._tell({"do": "delay", "seconds": seconds})

    def traffic(self) -> Traffic:
        """What goes through it."""
        return Traffic(**self._tell({"do": "traffic"}))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tell(self, command: Mapping[str, object]) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None:
            raise LabError(f"The proxy to {self.towards[0]}:{self.towards[1]} does not run: start it first")
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either, which says more
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError(
                f"The proxy to {self.towards[0]}:{self.towards[1]} ended with {self._process.wait()}. "
                "What it said is in this process's standard error"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


# --- the process ------------------------------------------------------------------------------------------------------


class _Line:
    """What all connections share: whether anything passes, and how late."""

    def __init__(self) -> None:
        self.passes = asyncio.Event()
        self.passes.set()
        self.delay = 0.0


class _Connection:
    """One client's connection and the one made for it."""

    def __init__(self, line: _Line, towards: tuple[str, int], reader: asyncio.StreamReader) -> None:
        self.line, self.towards, self.reader = line, towards, reader
        self.ends: list[asyncio.StreamWriter] = []

    async def run(self, writer: asyncio.StreamWriter) -> None:
        """Forward until both directions have ended; a reset of either end is passed on."""
        self.ends.append(writer)
        try:
            await self.line.passes.wait()
            there, back = await asyncio.open_connection(*self.towards)
            self.ends.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(self.reader, back))
                both.create_task(self._forward(there, writer))
        except (OSError, ExceptionGroup):
            self.reset()
        finally:
            for end in self.ends:
                end.close()

    def reset(self) -> None:
        """Break it: both ends see a reset."""
        for end in self.ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(reader, waiting))
            both.create_task(self._write(waiting, writer))

    async def _read(self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Take what arrives, with the time it is due; an end of the stream is empty."""
        data = b"?"
        while data:
            await self.line.passes.wait()
            data = await reader.read(CHUNK)
            await waiting.put((asyncio.get_running_loop().time() + self.line.delay, data))

    async def _write(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Forward what is due, while anything passes; an end of the stream ends one direction."""
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await self.line.passes.wait()
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


class _Server:
    """The listening side, and what the commands do."""

    def __init__(self, towards: tuple[str, int]) -> None:
        self.towards = towards
        self.line = _Line()
        self.connections: dict[_Connection, asyncio.Task[None]] = {}
        self.accepted = 0
        self.listener: asyncio.Server | None = None
        # Never listens: keeps the port ours while the proxy refuses
        self.place = socket.socket()
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind((HOST, 0))
        self.port = int(self.place.getsockname()[1])

    async def listen(self) -> None:
        if self.listener is None:
            self.listener = await asyncio.start_server(self._accept, HOST, self.port, reuse_address=True)

    async def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command; returns the answer."""
        match command["do"]:
            case "cut":
                await self._cut(Existing(command["existing"]), New(command["new"]))
            case "restore":
                self.line.passes.set()
                await self.listen()
            case "delay":
                self.line.delay = float(command["seconds"])
            case "traffic":
                return asdict(Traffic(connections=len(self.connections), accepted=self.accepted))
            case unknown:
                raise ValueError(f"{unknown!r} is no command of the proxy")
        return {}

    async def _cut(self, existing: Existing, new: New) -> None:
        self.line.passes.clear()
        if new is New.REFUSE and self.listener is not None:
            self.listener.close()
            self.listener = None
        if new is New.BLACKHOLE:
            await self.listen()
        if existing is Existing.RESET:
            for connection, task in list(self.connections.items()):
                connection.reset()
                task.cancel()
            await asyncio.gather(*self.connections.values(), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(self.line, self.towards, reader)
        task = asyncio.get_running_loop().create_task(connection.run(writer))
        self.connections[connection] = task
        task.add_done_callback(lambda _: self.connections.pop(connection, None))


async def _serve(towards: tuple[str, int]) -> None:
    server = _Server(towards)
    await server.listen()
    print(json.dumps({"port": server.port}), flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        print(json.dumps(await server.do(json.loads(line))), flush=True)


def main() -> None:
    """Forward to the host and port of the command line, until standard input ends."""
    host, port = sys.argv[1:]
    asyncio.run(_serve((host, int(port))))


if __name__ == "__main__":
    main()
