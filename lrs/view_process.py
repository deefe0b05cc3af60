"""The process beside an embedded server that computes its views.

Opening events and folding them costs about as much as recording them, and in the server's own process both would wait
for one interpreter. So views have one of their own, at a lower priority: while statements come faster than the machine
can do both, views fall behind and the posts do not; afterwards they catch up (docs/architecture.md).

It reads log and key vault by itself. What it appends (completions) goes through the server, which has the one writer;
what it is asked (a rebuild, dead letters once more) comes from the server, which has the data folder. It ends when the
server does, and is started again when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvloop

from consumers.consumer import ConsumerStatus
from lrs.appending import Appended, Failed, Outcome, Request
from lrs.config import KEY_SETTINGS, Settings
from lrs.errors import Busy, GriffelError, Misconfigured, WriterGone
from lrs.event_log import EventLog
from lrs.garbage import share_arenas
from lrs.logs import set_up_logs
from lrs.peer import Peer, PeerGone, PeerRefused, parse, text
from lrs.writer import decode_outcome, decode_request, encode
from lrs.writer_process import OnGroup

NICENESS = 19
"""How much the server goes before its views when there is work for more than the machine's cores."""
SWITCH_INTERVAL_S = 0.0005
LOOK_S = 1.0
"""Between two looks at how the process is."""
SILENT_S = 3.0
"""Without an answer for so long, its consumers are said to wait."""
SILENT_MAX_S = 120.0
"""Without an answer for so long, it is killed and started again."""
STOP_WAIT_S = 40.0
"""How long the process may take to finish the batch under way; then it is killed."""
RESTART_WAIT_S = 0.2
RESTART_WAIT_MAX_S = 5.0
APPEND = "append"
LOOK = "look"

log = logging.getLogger("griffel.views")


class ProcessPlace(msgspec.Struct, frozen=True):
    """What the process is told: where the installation is. On standard input, because secrets are among it."""

    settings: dict[str, Any]
    log_level: str

    @classmethod
    def of(cls, settings: Settings) -> ProcessPlace:
        """Give what the process needs: the data, and who holds the root keys."""
        return cls({name: getattr(settings, name) for name in ("data", *KEY_SETTINGS)}, settings.log_level)


class ViewsStatus(msgspec.Struct):
    """How the process is, as it said at the last look."""

    consumers: list[ConsumerStatus] = []
    left_out: int = 0


# ── in the server ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ViewProcess:
    """The server's hold on the process."""

    def __init__(self, place: ProcessPlace, events: EventLog) -> None:
        self._place = place
        self._log = events
        self._peer: Peer | None = None
        self.status = ViewsStatus()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ViewProcess]:
        """Have the process, and start it again whenever it dies, for as long as the block lasts."""
        stopping = asyncio.Event()
        keeping = asyncio.create_task(self._keep(stopping))
        try:
            yield self
        finally:
            stopping.set()
            if self._peer is not None:
                self._peer.close()
            await keeping

    async def ask(self, name: str, asked: Mapping[str, Any]) -> Any:
        """Have the process carry out a command. Raises Busy when it is not there, Misconfigured with what it said."""
        away = "the process that computes the views is being started again; try again"
        if self._peer is None:
            raise Busy(away)
        try:
            return parse(await self._peer.ask(name, text(asked)))
        except PeerGone as error:
            raise Busy(away) from error
        except PeerRefused as error:
            raise Misconfigured(str(error)) from error

    async def _keep(self, stopping: asyncio.Event) -> None:
        wait_s = RESTART_WAIT_S
        while not stopping.is_set():
            ours, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen(  # noqa: ASYNC220  fork and exec, no waiting
                    [sys.executable, "-m", "lrs.view_process", str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    # In the server's own session: Linux shares a core out over sessions first, and looks at who goes
                    # before whom only within one (sched(7), autogroup).
                )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(self._place, enc_hook=str))
            process.stdin.close()
            self._peer = await Peer.connect(ours, self._answer)
            if stopping.is_set():
                self._peer.close()
            if await self._follow(self._peer, process):
                wait_s = RESTART_WAIT_S
            self._peer.close()
            self._peer = None
            await _ended(process)
            if not stopping.is_set():
                log.error("the process that computes the views stopped; starting it again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), wait_s)
                wait_s = min(2 * wait_s, RESTART_WAIT_MAX_S)

    async def _follow(self, peer: Peer, process: subprocess.Popen[bytes]) -> bool:
        """Look how the process is until it is gone; say whether it ever answered."""
        answered, heard_s = False, time.monotonic()
        while not peer.gone.is_set():
            try:
                told = await asyncio.wait_for(peer.ask(LOOK), SILENT_S)
                self.status = msgspec.msgpack.decode(told, type=ViewsStatus)
                answered, heard_s = True, time.monotonic()
            except TimeoutError:
                self._note("silent")
                if time.monotonic() - heard_s > SILENT_MAX_S:
                    log.error("the process that computes the views does not answer any more; it is killed")  # noqa: TRY400
                    process.kill()
            except (PeerGone, PeerRefused):
                pass
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(peer.gone.wait(), LOOK_S)
        self._note("gone")
        return answered

    def _note(self, reason: str) -> None:
        """Note that nothing is applied at the moment, as far as is known."""
        for one in self.status.consumers:
            for partition in one.partitions.values():
                partition.state, partition.reason = "waiting", reason

    async def _answer(self, name: str, body: bytes) -> bytes:
        """Append for the process: the server has the one writer."""
        if name != APPEND:
            raise Misconfigured(f"a server does not do this for its views: {name}")
        try:
            return encode(await self._log.carry_out(decode_request(body)))
        except Busy as error:
            return encode(Failed(type(error).__name__))


async def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        await asyncio.to_thread(process.wait, STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


# ── in the process ────────────────────────────────────────────────────────────────────────────────────────────────────


class LentWriter:
    """The server's writer, by way of the server: what EventLog writes with in this process."""

    def __init__(self, peer: Peer, on_group: OnGroup) -> None:
        self._peer = peer
        self._on_group = on_group
        self.gone = peer.gone
        self.answering = True
        self.queued_events = 0

    async def ask(self, request: Request, events: int) -> Outcome:
        """Have a request carried out. Raises WriterGone when the server ends meanwhile."""
        self.queued_events += events
        try:
            outcome: Outcome = decode_outcome(await self._peer.ask(APPEND, encode(request)))
        except (PeerGone, PeerRefused) as error:
            raise WriterGone from error
        finally:
            self.queued_events -= events
        if isinstance(outcome, Appended):
            self._on_group(len(outcome.stored_us))
        return outcome

    async def end(self) -> None:
        """Wait until the server has ended."""
        await self.gone.wait()

    async def drain(self) -> None:
        """Do nothing: whoever asked waits for the answer."""

    async def close(self) -> None:
        """Do nothing: the writer is the server's."""


async def compute(channel: socket.socket, place: ProcessPlace) -> None:
    """Compute the views until the server has ended."""
    from lrs.places import computing_views  # noqa: PLC0415  (the server does not need it from here)

    commands: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {}
    begun = asyncio.Event()

    async def answer(name: str, body: bytes) -> bytes:
        await begun.wait()
        command = commands.get(name)
        if command is None:
            raise Misconfigured(f"the process that computes the views does not know this: {name}")
        return text(await command(parse(body) if body else {}))

    peer = await Peer.connect(channel, answer)

    async def open_writer(on_group: OnGroup) -> LentWriter:
        if peer.gone.is_set():
            raise WriterGone
        return LentWriter(peer, on_group)

    settings = msgspec.convert(place.settings, Settings, dec_hook=lambda kind, value: kind(value))
    async with computing_views(settings, open_writer) as views:

        async def look(_: dict[str, Any]) -> ViewsStatus:
            return ViewsStatus([one.status for one in views.consumers], views.completions.left_out)

        commands.update({**views.commands(), LOOK: look})
        begun.set()
        await peer.gone.wait()


def main(arguments: Sequence[str] = sys.argv[1:]) -> None:
    """Run `python -m lrs.view_process FD`, with a ProcessPlace on standard input."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    os.umask(0o077)
    os.nice(NICENESS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    share_arenas()
    place = msgspec.json.decode(sys.stdin.buffer.read(), type=ProcessPlace)
    set_up_logs(place.log_level)
    try:
        uvloop.run(compute(socket.socket(fileno=int(arguments[0])), place))
    except GriffelError as error:
        log.error("views cannot be computed: %s", error.detail)  # noqa: TRY400
        sys.exit(1)


if __name__ == "__main__":
    main()
