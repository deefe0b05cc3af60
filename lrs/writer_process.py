"""This process's end of a writer: start it, ask it, notice that it hangs or is gone."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from lrs.appending import Appended, Outcome, Request
from lrs.errors import QueueFull, WriterGone
from lrs.writer import decode_outcome, frame, split_frames

QUEUE_EVENTS_MAX = 10_000
QUEUE_BYTES_MAX = 64 * 1024 * 1024
WRITER_START_S = 30.0
DRAIN_S = 30.0
WRITER_SILENT_S = 30.0
WRITER_LOOK_S = 1.0

log = logging.getLogger("griffel.log")
OnGroup = Callable[[int], None]
"""Told how many events the writer reported together: those of one commit, or of two that were close."""


class Writer(Protocol):
    """Who writes for an EventLog: a process of its own, or somebody else's that is lent (lrs/view_process.py)."""

    gone: asyncio.Event
    answering: bool
    queued_events: int

    def ask(self, request: Request, events: int) -> Awaitable[Outcome]:
        """Have a request carried out. Raises QueueFull, WriterGone."""
        ...

    async def end(self) -> None:
        """Wait until the writer is gone."""
        ...

    async def drain(self) -> None:
        """Wait until everything asked has been answered."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


OpenWriter = Callable[[OnGroup], Awaitable[Writer]]


class WriterProcess(asyncio.Protocol):
    """The writer as a process of this one: our end of the socket pair, and the process at the other."""

    def __init__(self, on_group: OnGroup) -> None:
        self.gone = asyncio.Event()
        self.answering = True
        self._on_group = on_group
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiting: dict[int, tuple[asyncio.Future[Outcome], int, int]] = {}
        self._unsent: list[bytes] = []
        self._number = 0
        self._heard_s = 0.0
        self.queued_events = 0
        self._queued_bytes = 0
        self.started = self._loop.create_future()
        self._transport: asyncio.Transport
        self.process: subprocess.Popen[bytes]

    @classmethod
    async def open(cls, place: str, on_group: OnGroup) -> WriterProcess:
        """Start a writer and wait until it has opened its place. Raises WriterGone."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  fork and exec, no waiting
                [sys.executable, "-m", "lrs.writer", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(place.encode() + b"\n")
        process.stdin.close()
        ours.setblocking(False)
        try:
            _, channel = await asyncio.get_running_loop().create_connection(lambda: cls(on_group), sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise
        channel.process = process
        try:
            await asyncio.wait_for(asyncio.shield(channel.started), WRITER_START_S)
        except BaseException as error:
            # Also when the start is given up half-way: no writer is left behind that nobody speaks to.
            await asyncio.shield(asyncio.ensure_future(channel.close()))
            if isinstance(error, TimeoutError):
                raise WriterGone("the writer did not start in time") from error
            raise
        return channel

    def ask(self, request: Request, events: int) -> asyncio.Future[Outcome]:
        """Send a request; the future is its outcome. Raises QueueFull."""
        self._number += 1
        message = frame(self._number, request)
        if self._waiting and (
            self.queued_events + events > QUEUE_EVENTS_MAX or self._queued_bytes + len(message) > QUEUE_BYTES_MAX
        ):
            raise QueueFull
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if not self._waiting:
            self._heard_s = time.monotonic()
        self._waiting[self._number] = (future, events, len(message))
        self.queued_events += events
        self._queued_bytes += len(message)
        if not self._unsent:
            # What this turn of the event loop asks goes out as one write: a system call costs more than a frame.
            self._loop.call_soon(self._flush)
        self._unsent.append(message)
        return future

    def _flush(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    async def end(self) -> None:
        """Wait until the writer is gone; one that answers nothing for WRITER_SILENT_S is killed."""
        while not self.gone.is_set():
            try:
                await asyncio.wait_for(self.gone.wait(), WRITER_LOOK_S)
            except TimeoutError:
                if self._waiting and time.monotonic() - self._heard_s > WRITER_SILENT_S:
                    log.error("the writer has not answered for %.0f s; it is killed", WRITER_SILENT_S)  # noqa: TRY400
                    self.process.kill()
                    await self.gone.wait()
        log.error("the writer stopped; starting it again")

    async def drain(self) -> None:
        """Wait until everything asked has been answered, or the writer is gone, at most DRAIN_S."""
        if self._waiting:
            await asyncio.wait([future for future, _, _ in self._waiting.values()], timeout=DRAIN_S)

    async def close(self) -> None:
        """Close our end, which ends the writer; what it has not answered is answered with WriterGone."""
        self._transport.close()
        await self._loop.run_in_executor(None, self.process.wait)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.started.done():
            self.started.set_result(None)
            data = data[1:]
        self._buffer += data
        self._heard_s = time.monotonic()
        self.answering = True
        appended = 0
        for number, body in split_frames(self._buffer):
            future, events, size = self._waiting.pop(number)
            self.queued_events -= events
            self._queued_bytes -= size
            outcome = decode_outcome(body)
            if isinstance(outcome, Appended):
                appended += len(outcome.stored_us)
            if not future.done():
                future.set_result(outcome)
        if appended:
            self._on_group(appended)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        if not self.started.done():
            self.started.set_exception(WriterGone("the writer could not open the log"))
            self.started.exception()  # seen: whoever started the writer may have given up by now
        for future, _, _ in self._waiting.values():
            if not future.done():
                future.set_exception(WriterGone())
        self._waiting.clear()
