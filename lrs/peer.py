"""Two processes that ask each other things over a socket pair, and notice when the other is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

import msgspec

from lrs.writer import FRAME_HEADER_BYTES, split_frames

ANSWERS_MAX = 64
"""So many questions of the other process are worked on at once; more of them wait."""

Answer = Callable[[str, bytes], Awaitable[bytes]]


class PeerGone(Exception):
    """The other process has ended; whether it did what was asked is not known."""


class PeerRefused(Exception):
    """The other process could not do what it was asked; the text says why."""


class _Message(msgspec.Struct, array_like=True):
    kind: Literal["ask", "answer", "refusal"]
    name: str
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode


class Peer(asyncio.Protocol):
    """This process's end. answer is given the name and body of what the other asks; what it raises is a refusal."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = bytearray()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(ANSWERS_MAX)
        self._number = 0
        self._transport: asyncio.Transport
        self.gone = asyncio.Event()

    @classmethod
    async def connect(cls, end: socket.socket, answer: Answer) -> Peer:
        """Take one end of a socket pair, which is the peer's from now on."""
        end.setblocking(False)
        _, peer = await asyncio.get_running_loop().create_connection(lambda: cls(answer), sock=end)
        return peer

    async def ask(self, name: str, body: bytes = b"") -> bytes:
        """Have the other process do something; give its answer. Raises PeerGone, PeerRefused."""
        if self.gone.is_set():
            raise PeerGone
        self._number += 1
        number = self._number
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(number, _Message("ask", name, body))
            answer: bytes = await future
            return answer
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Let go of the other process."""
        self._transport.close()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, number: int, message: _Message) -> None:
        body = _encode(message)
        self._transport.write(len(body).to_bytes(4) + number.to_bytes(FRAME_HEADER_BYTES - 4) + body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for number, body in split_frames(self._buffer):
            message = _decode(body)
            if message.kind == "ask":
                task = asyncio.create_task(self._work(number, message))
                self._working.add(task)
                task.add_done_callback(self._working.discard)
            elif (future := self._waiting.get(number)) is not None and not future.done():
                if message.kind == "answer":
                    future.set_result(message.body)
                else:
                    future.set_exception(PeerRefused(message.body.decode()))

    async def _work(self, number: int, message: _Message) -> None:
        async with self._turns:
            try:
                reply = _Message("answer", "", await self._answer(message.name, message.body))
            except Exception as error:  # noqa: BLE001  whatever it was, whoever asked is told
                text = getattr(error, "detail", "") or type(error).__name__
                reply = _Message("refusal", "", text.encode())
        if not self.gone.is_set():
            self._send(number, reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(PeerGone())
        for task in self._working:
            task.cancel()


def parse(body: bytes) -> Any:
    """Read what `text` wrote."""
    return msgspec.msgpack.decode(body)


def text(content: Any) -> bytes:
    """Write plain values (lists, dictionaries, numbers, texts) for the other process."""
    return _encode(content)
