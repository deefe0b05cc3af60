"""A load of its own: as little client as possible, so that what is measured is the server.

Each connection sends a request as soon as the last one is answered; requests are made beforehand, as bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What a load came to. latencies_s is one figure for each request, in order of completion."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies_s) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """A latency that this share of the requests did not exceed, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    def __init__(self, requests: deque[bytes], outcome: Outcome, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._outcome = outcome
        self._done = done
        self._buffer = b""
        self._began = 0.0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        if not self._requests:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(self._requests.popleft())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else None]) if at > 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        self._buffer = self._buffer[head_end + 4 + length :]
        status = int(head[9:12])
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        self._outcome.latencies_s.append(time.perf_counter() - self._began)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


async def run_load(host: str, port: int, requests: Iterable[bytes], connections: int) -> Outcome:
    """Send all requests over a number of connections; give what came of it."""
    waiting = deque(requests)
    outcome = Outcome()
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for future in done:
        await loop.create_connection(lambda future=future: _Connection(waiting, outcome, future), host, port)
    await asyncio.gather(*done)
    outcome.seconds = time.perf_counter() - began
    return outcome


async def run_paced(host: str, port: int, requests: list[bytes], connections: int, per_second: float) -> Outcome:
    """Send requests at a steady rate, whatever the answers take; a latency counts from when it should have been sent.

    Raises SystemExit when a request is not answered with 200.
    """
    outcome = Outcome()
    places: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    began = time.perf_counter()

    async def send() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            while True:
                due, one = await places.get()
                writer.write(one)
                head = await reader.readuntil(b"\r\n\r\n")
                at = head.lower().find(b"content-length: ")
                await reader.readexactly(int(head[at + 16 :].split(b"\r\n", 1)[0]) if at > 0 else 0)
                outcome.latencies_s.append(time.perf_counter() - due)
                status = int(head[9:12])
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
                places.task_done()
        finally:
            writer.close()

    senders = [asyncio.create_task(send()) for _ in range(connections)]
    for number, one in enumerate(requests):
        due = began + number / per_second
        if (left_s := due - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
        places.put_nowait((due, one))
    await places.join()
    outcome.seconds = time.perf_counter() - began
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    if set(outcome.statuses) - {200}:
        raise SystemExit(f"answers were {outcome.statuses}")
    return outcome


def request(method: str, target: str, authorization: str, body: bytes = b"") -> bytes:
    """Give an xAPI request as bytes."""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n"
        "X-Experience-API-Version: 2.0.0\r\n"
    )
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
