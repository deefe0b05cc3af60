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
from consumers.dead_letters import letter_of
from consumers.feed import FeedEvent
from consumers.projector import DEAD_IN_A_ROW_MAX, TooManyDead
from projections.course_rules import Json, fact_of, needs_refold
from projections.progress import NAME as VIEW
from projections.progress import STANDING, Progress
from projections.projection import OpenedEvent, Opener, Table, View
from projections.view_store import DeadLetter, Generation, Place, ViewStore, place_of
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


Poison = tuple[FeedEvent, Exception]
"""An event of which nobody can say what it changed, and why."""


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
        self._dead_in_a_row = 0

    async def _work(self, partition: int, feed: PartitionFeed, status: PartitionStatus) -> None:
        generation = await self._in_thread(partition, self._store.target, self.projection)
        self.generation = generation
        known = await self._in_thread(partition, self._store.places, generation)
        place = place_of(known, partition)
        while True:
            status.place = place
            events = await feed.read(place.position, BATCH_EVENTS_MAX)
            through = feed.through()
            status.state, status.reason = "running", ""
            poison = await self._sequence(partition, events) if events else []
            moved = _moved(place, events, through)
            if moved != place:
                letters = [letter_of(event, generation, partition, error) for event, error in poison]
                await self._in_thread(partition, self._advance, generation, partition, place.position, moved, letters)
                place = status.place = moved
                status.dead += len(letters)
                status.applied += len(events)
            if len(events) >= SMALL_BATCH_EVENTS:
                continue
            if not events:
                await feed.wait(place.position, IDLE_WAIT_S)
            await asyncio.sleep(LINGER_S)

    def _advance(
        self, generation: Generation, partition: int, after: int, place: Place, letters: Sequence[DeadLetter] = ()
    ) -> None:
        with self._store.transaction(generation, {partition: after}) as transaction:
            for letter in letters:
                transaction.keep_dead(letter)
            transaction.advance({partition: place})

    async def compare_again(self, partition: int, event: FeedEvent) -> None:
        """Have what an event changed in the log, long after its turn; what it failed with comes through."""
        for _, error in await self._sequence(partition, [event]):
            raise error

    # ── one batch ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _sequence(self, partition: int, events: Sequence[FeedEvent]) -> list[Poison]:
        """Have everything that these events changed in the log; give those of which that cannot be said."""
        found, poison = await self._touched(partition, events)
        if touched := dict.fromkeys(found):
            await self._wait_for_view(partition, events[-1].position)
            for _ in range(LOOKS_MAX):
                standings, position = await self._in_thread(partition, self._standings, partition, list(touched))
                if await self._settled(standings, position):
                    return poison
            raise ContendedStream
        return poison

    async def _touched(self, partition: int, events: Sequence[FeedEvent]) -> tuple[list[Registration], list[Poison]]:
        """Give the registrations whose completion these events may have changed, and the events that do not say."""
        statements = [one for one in events if one.topic == STATEMENT_RECORDED]
        voided = [one.originator_id for one in events if one.topic == STATEMENT_VOIDED]
        if voided:
            statements += await self._completions.statements(voided)
        touched, poison = await self._in_thread(partition, self._facts, statements, frozenset(voided))
        changed = [one for one in events if one.topic == COMPLETION_CHANGED]
        if changed:
            touched += await self._completions.registrations(changed)
        # What is voided was met before: then it was kept, and no view has it.
        return touched, [one for one in poison if one[0].originator_id not in voided]

    def _facts(
        self, statements: Sequence[FeedEvent], voided: frozenset[bytes]
    ) -> tuple[list[Registration], list[Poison]]:
        touched: list[Registration] = []
        poison: list[Poison] = []
        waiting = [list(statements)]
        while waiting:
            batch = waiting.pop()
            try:
                opened = self._opener.events(batch)
                touched += [found for event in opened if (found := _registration_of(event, voided)) is not None]
            except Exception as error:
                if getattr(error, "retry_helps", False):
                    raise
                if len(batch) > 1:
                    half = len(batch) // 2
                    waiting += [batch[half:], batch[:half]]
                else:
                    poison.append((batch[0], error))
        self._dead_in_a_row = self._dead_in_a_row + len(poison) if len(poison) == len(statements) else 0
        if self._dead_in_a_row > DEAD_IN_A_ROW_MAX:
            raise TooManyDead from poison[-1][1]
        return touched, poison

    async def _wait_for_view(self, partition: int, position: int) -> None:
        """Wait until the view has applied events up to a position of the partition. Raises Behind after VIEW_WAIT_S."""
        ends = time.monotonic() + VIEW_WAIT_S
        while await self._in_thread(partition, self._view_position, partition) < position:
            if time.monotonic() > ends:
                raise Behind
            await asyncio.sleep(VIEW_POLL_S)

    def _view_position(self, partition: int) -> int:
        with self._store.reading(VIEW, Progress.version) as read:
            return 0 if read is None else place_of(read[1], partition).position

    def _standings(
        self, partition: int, touched: Sequence[Registration]
    ) -> tuple[Mapping[Registration, Json | None], int]:
        """Give the standing of each registration, None where there is none, and how far the view is."""
        keys = {one: (self._opener.blind("course", one.course), one.learner) for one in touched}
        with self._store.reading(VIEW, Progress.version) as read:
            if read is None:
                raise Behind
            view, places = read
            rows = view.get(STANDING, keys.values())
        found = {
            one: rows[key].content["registrations"].get(one.registration) if key in rows else None
            for one, key in keys.items()
        }
        return found, place_of(places, partition).position

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


def _registration_of(event: OpenedEvent, voided: frozenset[bytes]) -> Registration | None:
    """Give the registration whose completion a statement may have changed, by coming or by being voided."""
    if event.statement is None or event.learner is None:
        return None
    fact = fact_of(event.statement, event.action, event.stored_us)
    if fact is None or not (event.originator_id in voided or _decides(fact.content)):
        return None
    return Registration(event.learner, fact.course, fact.registration)


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
