"""The sequencer: what changed in who has completed what, as numbered events of the log, each once.

It follows the same events as the view `progress`, a step behind it. For each registration in a course that an event
may have changed, it compares what the view says with the newest `completion_changed` event of that registration, and
has the difference appended (decision 2). The version of the event is in the log's primary key, so two sequencers at
once, or one that is killed and begins again, can never append the same change twice.

A view that is being computed anew shows the past. So a difference counts only where the view has passed the event that
it is compared with; that event comes later in the same partition and is met again there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from consumers.consumer import (
    BATCH_EVENTS_MAX,
    IDLE_WAIT_S,
    LINGER_S,
    SMALL_BATCH_EVENTS,
    Consumer,
    PartitionFeed,
    PartitionStatus,
)
from consumers.feed import FeedEvent
from projections.course_rules import Json, fact_of, needs_refold
from projections.progress import NAME as PROGRESS
from projections.progress import STANDING
from projections.projection import Key, OpenedEvent, Opener, Table, View
from projections.view_store import Generation, Place, ViewStore
from schemas.events import COMPLETION_CHANGED, STATEMENT_RECORDED, STATEMENT_VOIDED
from schemas.streams import KINDS

NAME = "completion_stream"
VIEW_POLL_S = 0.05
"""How often the view is looked at while it is behind."""
VIEW_WAIT_S = 10.0
"""How long it may be behind before the sequencer says that it waits."""
LOOKS_MAX = 10
"""How often changes are compared again because others appended meanwhile, before the batch is begun again."""


class Registration(NamedTuple):
    """One learner's registration in a course: registration is '' where the statements name none."""

    learner: bytes
    course: str
    registration: str


class Change(NamedTuple):
    """What is to be appended: version says the place in its own stream; at_us is None where it is taken back."""

    stream: bytes
    version: int
    kind: str
    registration: Registration
    at_us: int | None


class StreamHead(NamedTuple):
    """The newest event of a stream; of one without any, 0 and 0. Odd versions say achieved."""

    version: int = 0
    position: int = 0


class CompletionLog(Protocol):
    """The log as the sequencer uses it. Every call raises the program's Busy; repeating helps."""

    async def statements(self, originator_ids: Sequence[bytes]) -> list[FeedEvent]:
        """Give the statements of these streams, voided ones too."""
        ...

    async def registrations(self, events: Sequence[FeedEvent]) -> list[Registration]:
        """Give what completion_changed events are about; of those that nobody can open any more, nothing."""
        ...

    async def heads(self, streams: Sequence[bytes]) -> dict[bytes, StreamHead]:
        """Give the newest event of each stream that has one."""
        ...

    async def append(self, changes: Sequence[Change]) -> bool:
        """Append changes and number them; say whether they are in the log, or others were there before.

        What may not be kept of somebody (withdrawn, erased) is left out.
        """
        ...


class Behind(Exception):
    """The view of progress is behind; the sequencer waits for it."""

    retry_helps = True


class ContendedStream(Exception):
    """Others keep appending what is to be appended; it is compared anew."""

    retry_helps = True


class CompletionStream:
    """The sequencer's place in the view store: it has a position and no rows."""

    name = NAME
    version = 1
    tables: tuple[Table, ...] = ()
    topics = frozenset({STATEMENT_RECORDED, STATEMENT_VOIDED, COMPLETION_CHANGED})

    def apply(self, events: Sequence[OpenedEvent], view: View, opener: Opener) -> None:
        """Do nothing: events change the log, and no view."""


class Sequencer(Consumer):
    """A consumer whose effect is events of the log."""

    def __init__(self, completions: CompletionLog, store: ViewStore, opener: Opener, threads: Executor) -> None:
        super().__init__(CompletionStream(), store, opener, threads)
        self._completions = completions

    async def _work(self, partition: int, feed: PartitionFeed, status: PartitionStatus) -> None:
        generation = await self._in_thread(partition, self._store.target, self.projection)
        self.generation = generation
        known = await self._in_thread(partition, self._store.places, generation)
        place = known.get(partition, Place())
        while True:
            status.place = place
            events = await feed.read(place.position, BATCH_EVENTS_MAX)
            through = feed.through()
            status.state, status.reason = "running", ""
            if events:
                await self._sequence(partition, events)
            moved = _moved(place, events, through)
            if moved != place:
                await self._in_thread(partition, self._advance, generation, partition, place.position, moved)
                place = status.place = moved
                status.applied += len(events)
            if len(events) >= SMALL_BATCH_EVENTS:
                continue
            if not events:
                await feed.wait(place.position, IDLE_WAIT_S)
            await asyncio.sleep(LINGER_S)

    def _advance(self, generation: Generation, partition: int, after: int, place: Place) -> None:
        with self._store.transaction(generation, {partition: after}) as transaction:
            transaction.advance({partition: place})

    # ── one batch ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sequence(self, partition: int, events: Sequence[FeedEvent]) -> None:
        """Have everything that these events changed in the log."""
        touched = dict.fromkeys(await self._touched(partition, events))
        if not touched:
            return
        await self._wait_for_view(partition, events[-1].position)
        for _ in range(LOOKS_MAX):
            standings, position = await self._in_thread(partition, self._standings, partition, list(touched))
            if await self._settled(standings, position):
                return
        raise ContendedStream

    async def _touched(self, partition: int, events: Sequence[FeedEvent]) -> list[Registration]:
        """Give the registrations whose completion these events may have changed."""
        statements = [one for one in events if one.topic == STATEMENT_RECORDED]
        voided = [one.originator_id for one in events if one.topic == STATEMENT_VOIDED]
        if voided:
            statements += await self._completions.statements(voided)
        touched = await self._in_thread(partition, self._facts, statements, frozenset(voided))
        changed = [one for one in events if one.topic == COMPLETION_CHANGED]
        if changed:
            touched += await self._completions.registrations(changed)
        return touched

    def _facts(self, statements: Sequence[FeedEvent], voided: frozenset[bytes]) -> list[Registration]:
        touched: list[Registration] = []
        for event in self._opened(statements):
            if event.statement is None or event.learner is None:
                continue
            fact = fact_of(event.statement, event.action, event.stored_us)
            if fact is not None and (event.originator_id in voided or _decides(fact.content)):
                touched.append(Registration(event.learner, fact.course, fact.registration))
        return touched

    def _opened(self, statements: Sequence[FeedEvent]) -> list[OpenedEvent]:
        """Open statements. One that cannot be opened is passed over: the view keeps it as a dead letter."""
        try:
            return self._opener.events(statements)
        except Exception as error:
            if getattr(error, "retry_helps", False) or not statements:
                raise
            if len(statements) == 1:
                return []
            half = len(statements) // 2
            return self._opened(statements[:half]) + self._opened(statements[half:])

    async def _wait_for_view(self, partition: int, position: int) -> None:
        """Wait until the view has applied events up to a position of the partition. Raises Behind after VIEW_WAIT_S."""
        ends = time.monotonic() + VIEW_WAIT_S
        while await self._in_thread(partition, self._view_position, partition) < position:
            if time.monotonic() > ends:
                raise Behind
            await asyncio.sleep(VIEW_POLL_S)

    def _view_position(self, partition: int) -> int:
        with self._store.reading(PROGRESS) as read:
            return 0 if read is None else read[1].get(partition, Place()).position

    def _standings(
        self, partition: int, touched: Sequence[Registration]
    ) -> tuple[Mapping[Registration, Json | None], int]:
        """Give the standing of each registration, None where there is none, and how far the view is."""
        keys = {one: self._standing_key(one) for one in touched}
        with self._store.reading(PROGRESS) as read:
            if read is None:
                raise Behind
            view, places = read
            rows = view.get(STANDING, keys.values())
        found = {one: rows[key].content if key in rows else None for one, key in keys.items()}
        return found, places.get(partition, Place()).position

    def _standing_key(self, one: Registration) -> Key:
        blind = self._opener.blind
        return blind("course", one.course), one.learner, blind("registration", one.registration)

    async def _settled(self, standings: Mapping[Registration, Json | None], position: int) -> bool:
        """Append what differs; say whether nothing is left to do."""
        streams = {
            (one, kind): self._opener.blind("completion", kind, one.learner, one.course, one.registration)
            for one in standings
            for kind in KINDS
        }
        heads = await self._completions.heads(list(streams.values()))
        changes: list[Change] = []
        for (one, kind), stream in streams.items():
            head = heads.get(stream, StreamHead())
            at_us = (standings[one] or {}).get(kind)
            achieved = head.version % 2 == 1
            if head.position <= position and achieved != (at_us is not None):
                changes.append(Change(stream, head.version + 1, kind, one, at_us))
        return not changes or await self._completions.append(changes)


def _decides(fact: Json) -> bool:
    """Say whether a fact can change when a course was completed."""
    return needs_refold(fact) or (fact["kind"] in KINDS and "unit" not in fact)


def _moved(place: Place, events: Sequence[FeedEvent], through: tuple[int, int]) -> Place:
    position = events[-1].position if events else place.position
    stored_us = events[-1].stored_us if events else 0
    return Place(
        position,
        max(place.through_position, position, through[0]),
        max(place.through_us, stored_us, through[1]),
    )
