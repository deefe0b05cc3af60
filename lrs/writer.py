"""The writer: a process of its own that holds the log's one write connection.

SQLite lets go of Python's global lock at every step and waits up to 5 ms to get it back while another thread computes,
so in the server itself it would crawl (docs/architecture.md). Here it has an interpreter to itself.
Requests come as frames over a socket pair; what arrived during the last commit is the next group; end of file on the
pair, because the parent is gone, ends the process.

A frame is its length (4 bytes), then a number that comes back with the answer, then a request as MessagePack.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from lrs.appending import Appended, AppendRequest, Failed, Outcome, Request
from lrs.forgetting import ForgetRequest
from lrs.full_disk import is_full
from lrs.garbage import spare_the_collector
from lrs.indexing import IndexRequest
from lrs.settling import SETTLE_STATEMENTS_MAX, SETTLE_STATEMENTS_MIN

GROUP_EVENTS_MAX = 2_000
READ_BYTES = 1 << 20
_FRAME = struct.Struct(">IQ")
FRAME_HEADER_BYTES = _FRAME.size

log = logging.getLogger("griffel.writer")

decode_request = msgspec.msgpack.Decoder(Request).decode
decode_outcome = msgspec.msgpack.Decoder(Outcome).decode
encode = msgspec.msgpack.Encoder().encode


def frame(number: int, message: Request | Outcome) -> bytes:
    """Give a message as a frame."""
    body = encode(message)
    return _FRAME.pack(len(body), number) + body


def split_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take every whole frame off the front of the buffer: (number, body)."""
    at, size = 0, len(buffer)
    if size < FRAME_HEADER_BYTES or size < FRAME_HEADER_BYTES + _FRAME.unpack_from(buffer)[0]:
        return
    view = bytes(buffer)
    while at + FRAME_HEADER_BYTES <= size:
        length, number = _FRAME.unpack_from(view, at)
        end = at + FRAME_HEADER_BYTES + length
        if end > size:
            break
        yield number, view[at + FRAME_HEADER_BYTES : end]
        at = end
    del buffer[:at]


class LogRecorder(Protocol):
    """What the writer needs of a recorder."""

    def create_table(self) -> None:
        """Make the tables that are missing."""
        ...

    def write(self, requests: Sequence[Request]) -> list[Outcome]:
        """Carry out a group in one transaction."""
        ...

    def settle(self) -> int:
        """Write statements into the posting lists; give how many."""
        ...


def open_recorder(place: str) -> LogRecorder:
    """Open the recorder for a place: a `postgresql://` URL, or the path of a file."""
    if place.startswith(("postgres://", "postgresql://")):
        from lrs import postgres_recorder  # noqa: PLC0415  (only one of the two is ever needed in a process)

        return postgres_recorder.PostgresLogRecorder(postgres_recorder.open_datastore(place))
    from lrs import sqlite_recorder  # noqa: PLC0415

    return sqlite_recorder.SQLiteLogRecorder(sqlite_recorder.open_datastore(Path(place)))


def serve(channel: socket.socket, recorder: LogRecorder) -> None:
    """Carry out what arrives until the other end is closed."""
    buffer = bytearray()
    waiting: list[tuple[int, Request]] = []
    unsettled = SETTLE_STATEMENTS_MIN
    while True:
        if unsettled >= SETTLE_STATEMENTS_MAX or (unsettled >= SETTLE_STATEMENTS_MIN and not _has_more(channel)):
            unsettled = _settle(recorder)
        chunk = channel.recv(READ_BYTES)
        if not chunk:
            return
        buffer += chunk
        while len(waiting) < GROUP_EVENTS_MAX and _has_more(channel):
            chunk = channel.recv(READ_BYTES)
            if not chunk:
                return
            buffer += chunk
            waiting += [(number, decode_request(body)) for number, body in split_frames(buffer)]
        waiting += [(number, decode_request(body)) for number, body in split_frames(buffer)]
        while waiting:
            group = _next_group(waiting)
            outcomes = _write(recorder, [request for _, request in group])
            unsettled += sum(len(outcome.stored_us) for outcome in outcomes if isinstance(outcome, Appended))
            answers = zip(group, outcomes, strict=True)
            channel.sendall(b"".join([frame(number, outcome) for (number, _), outcome in answers]))


def _has_more(channel: socket.socket) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def _settle(recorder: LogRecorder) -> int:
    """Write statements into the lists, while nobody waits or because too many have gathered; give what is left."""
    try:
        while recorder.settle() == SETTLE_STATEMENTS_MAX:
            continue
    except Exception as error:  # noqa: BLE001  queries look at what is not settled; it is tried again after more writes
        log.error("the lists could not be written: %s", type(error).__name__)  # noqa: TRY400
    return 0


def _next_group(waiting: list[tuple[int, Request]]) -> list[tuple[int, Request]]:
    """Take requests off the front until the group is full; at least one. A step of a new index goes alone."""
    events = taken = 0
    for _, request in waiting:
        if taken and isinstance(request, IndexRequest):
            break
        size = len(request.events) if isinstance(request, AppendRequest) else 1
        if taken and events + size > GROUP_EVENTS_MAX:
            break
        events += size
        taken += 1
        if isinstance(request, IndexRequest):
            break
    group = waiting[:taken]
    del waiting[:taken]
    return group


def _write(recorder: LogRecorder, requests: list[Request]) -> list[Outcome]:
    try:
        return recorder.write(requests)
    except Exception as error:  # noqa: BLE001  whatever it was, the transaction was rolled back and the caller is told
        if len(requests) > 1 and any(isinstance(one, ForgetRequest) for one in requests):
            # A step of forgetting shares others' commit, but what it fails with is nobody else's.
            return [outcome for one in requests for outcome in _write(recorder, [one])]
        # The text of a database's error may quote values, so only its kind is kept.
        reason = f"{type(error).__name__} ({type(error.__cause__).__name__})"
        log.error("a group of %d requests was not written: %s", len(requests), reason)  # noqa: TRY400
        return [Failed(reason, is_full(error))] * len(requests)


def main(arguments: Sequence[str] = sys.argv[1:], *, open_place: Callable[[str], LogRecorder] = open_recorder) -> None:
    """Run `python -m lrs.writer FD`, the place on standard input: a password must not be in the argument list."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o077)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    place = sys.stdin.readline().rstrip("\n")
    with socket.socket(fileno=int(arguments[0])) as channel:
        recorder = open_place(place)
        recorder.create_table()
        spare_the_collector()
        # A parent that is killed resets the pair: what it asked last was never answered and is nobody's any more.
        with contextlib.suppress(ConnectionError):
            channel.sendall(b"\x01")
            serve(channel, recorder)


if __name__ == "__main__":
    main()
