"""The event log: append with group commit, find, read, wait. Hides the writer process, the recorders and the readers.

`append` gives back what became of one request (lrs/appending.py): in the log, or handed back with what changed. The
queue to the writer is bounded: over it, QueueFull. When the writer dies, everything under way is WriterGone, and the
writer is started again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from lrs.appending import Advanced, AdvanceRequest, Appended, AppendRequest, Failed, Outcome, Request
from lrs.changed import Changed
from lrs.document_writing import DocumentRequest, DocumentsChanged
from lrs.errors import Busy, WriterGone
from lrs.forgetting import ForgetRequest, Forgotten
from lrs.full_disk import disk_full
from lrs.indexing import Indexed, IndexRequest
from lrs.log_reader import Head, LogReader, StatementQuery
from lrs.writer_process import OnGroup, OpenWriter, Writer, WriterProcess
from schemas.person_states import PersonState, PersonStateRow

READER_THREADS = 4
ADVANCE_S = 1.0
ADVANCE_AGAIN_S = 1.0
RESTART_WAIT_S = 0.2
RESTART_WAIT_MAX_S = 5.0
WATERMARK_AGE_MAX_US = 1_000_000
SMALLEST_COST = 1

T = TypeVar("T")


class Event(NamedTuple):
    """One entry of the log, as it is on every copy."""

    position: int
    originator_id: bytes
    version: int
    topic: str
    record_key: bytes
    stored_us: int
    state: bytes


class EventLog:
    """The log of this installation. `place` is the writer's: a file's path or a `postgresql://` URL."""

    def __init__(
        self,
        place: str,
        reader: Callable[[], LogReader],
        *,
        open_writer: OpenWriter | None = None,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """open_writer gives a writer that is there already; without it, one is started."""
        self._open_writer = open_writer or (lambda on_group: WriterProcess.open(place, on_group))
        self._make_reader = reader
        self._clock_us = clock_us
        self._writer: Writer | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="log-reader")
        self._grown = asyncio.Event()
        self._head_us = 0
        self._advanced_s = -ADVANCE_AGAIN_S
        self._reader: LogReader
        self.on_group: OnGroup = lambda _: None

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Start the writer and open the readers. Raises WriterGone when the log cannot be opened."""
        self._writer = await self._open_writer(self._note_group)
        self._reader = self._make_reader()
        self._head_us = (await self._read("head"))[0][1]
        self._keeping = asyncio.create_task(self._keep_writer())

    async def stop(self) -> None:
        """Let what is queued be written, then stop the writer and close the readers."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._writer is not None:
            await self._writer.drain()
            await self._writer.close()
            self._writer = None
        await asyncio.to_thread(self._threads.shutdown)
        self._reader.close()

    def _note_group(self, events: int) -> None:
        self.on_group(events)

    @property
    def writable(self) -> bool:
        """Say whether the writer is up."""
        return self._writer is not None and not self._writer.gone.is_set() and self._writer.answering

    @property
    def known_head_us(self) -> int:
        """Give the newest committed `stored` (µs) that this process knows of: an honest, perhaps old, watermark."""
        return self._head_us

    @property
    def queued_events(self) -> int:
        """Give how many events wait for the writer."""
        return self._writer.queued_events if self._writer else 0

    async def _keep_writer(self) -> None:
        """Start the writer again whenever it has died, waiting longer each time that fails."""
        wait_s = RESTART_WAIT_S
        while True:
            if self._writer is not None:
                await self._writer.end()
                await self._writer.close()
                self._writer = None
            try:
                self._writer = await self._open_writer(self._note_group)
                wait_s = RESTART_WAIT_S
            except (WriterGone, OSError):
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RESTART_WAIT_MAX_S)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def append(self, request: AppendRequest) -> Appended | Changed:
        """Append events that go in together or not at all; give what became of them.

        Raises QueueFull (nothing was done), WriterGone (it may have been: repeat with the same ids), Busy when the
        transaction failed (nothing was written).
        """
        outcome = await self._send(request, len(request.events))
        assert isinstance(outcome, (Appended, Changed))
        if isinstance(outcome, Appended):
            self._head_us = max(self._head_us, outcome.head_us)
            self._grown.set()
        return outcome

    async def carry_out(self, request: Request) -> Outcome:
        """Carry out a request of a process to which this log's writer is lent. Raises as `append`."""
        return await (self.append(request) if isinstance(request, AppendRequest) else self._send(request, 1))

    async def write_documents(self, request: DocumentRequest) -> DocumentsChanged | Changed:
        """Change documents together, if they are still as the request says. Raises as `append`."""
        outcome = await self._send(request, 1)
        assert isinstance(outcome, (DocumentsChanged, Changed))
        return outcome

    async def index(self, request: IndexRequest) -> Indexed:
        """Have a step of a new index done. Raises as `append`."""
        outcome = await self._send(request, 1)
        assert isinstance(outcome, Indexed)
        return outcome

    async def forget(self, request: ForgetRequest) -> Forgotten:
        """Have a step of forgetting done. Raises as `append`."""
        outcome = await self._send(request, 1)
        assert isinstance(outcome, Forgotten)
        return outcome

    async def _send(self, request: Request, events: int) -> Outcome:
        if self._writer is None or self._writer.gone.is_set():
            raise WriterGone
        outcome = await self._writer.ask(request, events)
        if isinstance(outcome, Failed):
            if outcome.full:
                raise disk_full("the log")
            raise Busy(f"the log could not be written ({outcome.reason}); nothing was stored, try again")
        return outcome

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def watermark(self) -> int:
        """Give the newest stored (µs) such that no statement at or before it can still appear.

        One older than a second is advanced by the writer first, so that a quiet log does not look late.
        """
        if self._clock_us() - self._head_us <= WATERMARK_AGE_MAX_US:
            return self._head_us
        return await self._fresh((await self._read("head"))[0][1])

    async def _fresh(self, head_us: int) -> int:
        if self._must_advance(head_us):
            self._advanced_s = time.monotonic()
            try:
                outcome = await asyncio.wait_for(self._send(AdvanceRequest(), 1), ADVANCE_S)
            except TimeoutError:
                if self._writer is not None:
                    self._writer.answering = False
                return head_us
            except Busy:
                # Reading goes on while the writer does not answer; the watermark then grows old, and says so.
                return head_us
            assert isinstance(outcome, Advanced)
            head_us = outcome.head_us
        self._head_us = max(self._head_us, head_us)
        return head_us

    def _must_advance(self, head_us: int) -> bool:
        """Say whether a head is old, and was not advanced a moment ago (the database's clock may be behind ours)."""
        old = self._clock_us() - head_us > WATERMARK_AGE_MAX_US
        return old and time.monotonic() - self._advanced_s > ADVANCE_AGAIN_S and self.writable

    async def head(self) -> Head:
        """Give where the log ends, its watermark no older than `watermark` promises."""
        await self.watermark()
        return Head(*(await self._read("head"))[0])

    async def positions(self, query: StatementQuery) -> tuple[list[tuple[int, bool]], Head]:
        """Give the positions that a query asks for, and the log's head, to which the answer holds."""
        found, head = await self._in_thread(self._reader.positions, query)
        if self._must_advance(head.stored_us):
            # The watermark must not be newer than the snapshot, so it is moved first and the lists are read again.
            await self._fresh(head.stored_us)
            found, head = await self._in_thread(self._reader.positions, query)
        return found, head

    async def find_statements(self, originator_ids: Sequence[bytes]) -> list[tuple[int, bytes, int, bytes, bool]]:
        """Give (position, originator id, stored µs, state, voided) of the statements among these streams."""
        rows = await self._read("statements_by_id", among=originator_ids)
        return [(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]

    async def statements_at(self, positions: Sequence[int]) -> dict[int, tuple[int, bytes, int, bytes]]:
        """Give (position, originator id, stored µs, state) of events, by position."""
        rows = await self._read("statements_at", among=positions)
        return {row[0]: (row[0], row[1], row[2], row[3]) for row in rows}

    async def blobs_at(self, positions: Sequence[int]) -> list[bytes]:
        """Give the attachments that statements hold."""
        return [bytes(row[0]) for row in await self._read("blobs_at", among=positions)] if positions else []

    async def is_listed(self, term: int) -> bool:
        """Say whether an index term's list holds a statement; one that is not settled yet is in none."""
        return bool(await self._read("is_listed", term))

    async def position_stored_by(self, stored_us: int) -> int:
        """Give the newest position whose stored is at or before a time, 0 where there is none."""
        rows = await self._read("position_stored_by", stored_us)
        return int(rows[0][0]) if rows else 0

    async def newest_of_streams(self, originator_ids: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Give (version, state) of each stream's newest event."""
        rows = await self._read("newest_of_streams", among=originator_ids)
        return {row[0]: (row[1], row[2]) for row in rows}

    async def heads_of_streams(self, originator_ids: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Give (version, position) of each stream's newest event."""
        rows = await self._read("heads_of_streams", among=originator_ids)
        return {row[0]: (row[1], row[2]) for row in rows}

    async def streams(self, originator_ids: Sequence[bytes]) -> list[Event]:
        """Give every event of these streams."""
        # Lists of ids are asked in pieces that may repeat one.
        rows = await self._read("streams", among=originator_ids)
        return list({row[0]: Event(*row) for row in rows}.values())

    async def stream_newest(self, originator_id: bytes, known: int = 0) -> int:
        """Give the version of a stream's newest event; known is one that is there, so that fewer are looked at."""
        rows = await self._read("stream_newest", known, among=[originator_id])
        return rows[0][0] or known

    async def stream_between(self, originator_id: bytes, after: int, upto: int) -> list[Event]:
        """Give a stream's events after a version, up to another, in order."""
        return [Event(*row) for row in await self._read("stream_between", after, upto, among=[originator_id])]

    async def person_states(self, people: Sequence[bytes]) -> tuple[PersonStateRow, ...]:
        """Give what is true of people, sorted, of those of whom anything is."""
        rows = await self._read("person_states", among=people)
        return tuple(sorted((row[0], row[1], row[2]) for row in rows))

    async def people_who_are(self, *states: PersonState) -> list[PersonStateRow]:
        """Give everyone of whom one of these is true, with the purpose that it is true of."""
        rows = [row for state in states for row in await self._read("people_with_state", int(state))]
        return [(row[0], row[1], row[2]) for row in rows]

    async def events_about(self, person: bytes, after: int, limit: int) -> list[Event]:
        """Give events that name a person, after a position, in order; of statements those that the lists hold."""
        return [Event(*row) for row in await self._read("events_about", person, after, limit)]

    async def documents_of(self, owner: bytes) -> int:
        """Give how many documents are sealed under an owner's keys."""
        return int((await self._read("documents_of", owner))[0][0])

    async def documents_after(self, document_key: bytes, limit: int) -> list[tuple[bytes, int, bytes]]:
        """Give (key, revision, the beginning of what is sealed) of documents, in the order of keys."""
        rows = await self._read("documents_after", document_key, limit)
        return [(bytes(row[0]), row[1], bytes(row[2])) for row in rows]

    async def document_rows(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Give the rows of one of the document queries."""
        return await self._read(name, *parameters)

    async def known_blobs(self, blob_ids: Sequence[bytes]) -> set[bytes]:
        """Give those of the blobs that a statement in the log holds."""
        return {row[0] for row in await self._read("blobs_known", among=blob_ids)}

    async def read(self, after: int, limit: int) -> list[Event]:
        """Give up to `limit` events after a position, in order and without gaps."""
        return [Event(*row) for row in await self._read("events_after", after, limit)]

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is an event after a position; say whether there is."""
        ends = time.monotonic() + timeout_s
        while True:
            self._grown.clear()
            if (await self._read("head"))[0][0] > after:
                return True
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return False
            try:
                # Other processes append too, so the head is looked at now and then without being told.
                await asyncio.wait_for(self._grown.wait(), min(left_s, 0.25))
            except TimeoutError:
                continue

    async def _read(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        if among is not None and not among:
            return []
        return await self._in_thread(lambda: self._reader.rows(name, *parameters, among=among))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
