"""A batch of events into one projection, in one transaction.

    apply a batch     rows and position are stored together, or neither
    it fails          halve it, and each half again, until the event that cannot be applied stands alone
    that event        is tried a few times more, then kept as a dead letter with the position moved past it

What a repetition mends (a database that is away, a vault that does not answer) is not an event's fault: it goes to the
caller, who waits. Everything here blocks and belongs to a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from consumers.dead_letters import letter_of
from consumers.feed import FeedEvent
from projections.projection import Opener, Projection
from projections.view_store import Generation, Overtaken, Place, ViewStore

TRIES_MAX = 3
"""How often an event that stands alone is tried before it becomes a dead letter."""
TRY_WAIT_S = 0.1
"""Between two of these tries."""
DEAD_IN_A_ROW_MAX = 100
"""So many dead letters with nothing applied between them are no accident of single events: the consumer stops."""


class TooManyDead(Exception):
    """One event after the other cannot be applied: something larger is wrong, and going on would only hide it."""


class Projector:
    """Applies events to one generation of one view. One thread at a time for each partition."""

    def __init__(
        self,
        projection: Projection,
        generation: Generation,
        store: ViewStore,
        opener: Opener,
        *,
        partition_of: Callable[[FeedEvent], int] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """partition_of is given where one feed carries several partitions (a rebuild from the log of a cluster)."""
        self.projection = projection
        self.generation = generation
        self._store = store
        self._opener = opener
        self._partition_of = partition_of
        self._pause = pause
        self._dead_in_a_row = 0
        self.dead = 0

    def work(
        self, places: Mapping[int, Place], events: Sequence[FeedEvent], through: tuple[int, int] = (0, 0)
    ) -> dict[int, Place]:
        """Apply events that come after these places, in order; give the places then.

        through is the (position, stored µs) up to which the feed has given everything once these are applied. Raises
        Overtaken, TooManyDead, and what a repetition mends; what was applied before that stays applied, so the caller
        looks up where the view is.
        """
        now = dict(places)
        waiting = [list(events)]
        while waiting:
            batch = waiting.pop()
            if not batch:
                continue
            try:
                now = self._apply(now, batch)
                self._dead_in_a_row = 0
            except Exception as error:
                if isinstance(error, Overtaken) or getattr(error, "retry_helps", False):
                    raise
                if len(batch) == 1:
                    now = self._alone(now, batch[0])
                else:
                    half = len(batch) // 2
                    waiting += [batch[half:], batch[:half]]
        return self._note_through(now, through)

    def _apply(self, places: Mapping[int, Place], events: Sequence[FeedEvent]) -> dict[int, Place]:
        topics = self.projection.topics
        # Opened before the transaction begins, so that nobody waits for that.
        opened = self._opener.events([event for event in events if event.topic in topics])
        after, moved = self._moves(places, events)
        with self._store.transaction(self.generation, after) as transaction:
            if opened:
                self.projection.apply(opened, transaction.view, self._opener)
            transaction.advance(moved)
        return {**places, **moved}

    def _alone(self, places: Mapping[int, Place], event: FeedEvent) -> dict[int, Place]:
        """Try one event a few times more; then keep it."""
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                moved = self._apply(places, [event])
                self._dead_in_a_row = 0
                return moved
            except Exception as error:
                if isinstance(error, Overtaken) or getattr(error, "retry_helps", False):
                    raise
                if not left:
                    return self._keep(places, event, error)
            self._pause(TRY_WAIT_S)
        raise AssertionError("the last try ends in one way or the other")

    def _keep(self, places: Mapping[int, Place], event: FeedEvent, error: Exception) -> dict[int, Place]:
        if self._dead_in_a_row >= DEAD_IN_A_ROW_MAX:
            raise TooManyDead from error
        after, moved = self._moves(places, [event])
        with self._store.transaction(self.generation, after) as transaction:
            for partition in moved:
                transaction.keep_dead(letter_of(event, self.generation, partition, error))
            transaction.advance(moved)
        self._dead_in_a_row += 1
        self.dead += 1
        return {**places, **moved}

    def _moves(
        self, places: Mapping[int, Place], events: Sequence[FeedEvent]
    ) -> tuple[dict[int, int], dict[int, Place]]:
        """Give where a batch begins and ends, in each partition that it moves."""
        if self._partition_of is None:
            [partition] = places
            last = {partition: events[-1]}
        else:
            last = {self._partition_of(event): event for event in events}
        after = {partition: places.get(partition, Place()).position for partition in sorted(last)}
        moved = {partition: _moved(places.get(partition, Place()), last[partition]) for partition in sorted(last)}
        return after, moved

    def _note_through(self, places: dict[int, Place], through: tuple[int, int]) -> dict[int, Place]:
        """Store that the feed has nothing more up to `through`, where that says more than is known."""
        position, stored_us = through
        later = {
            partition: Place(place.position, max(position, place.position), max(stored_us, place.through_us))
            for partition, place in places.items()
            if stored_us > place.through_us
        }
        if later:
            after = {partition: place.position for partition, place in later.items()}
            with self._store.transaction(self.generation, after) as transaction:
                transaction.advance(later)
        return places | later


def _moved(place: Place, event: FeedEvent) -> Place:
    return Place(event.position, max(place.through_position, event.position), max(place.through_us, event.stored_us))
