"""The events of one partition on Kafka, as a feed. What it gives is proved by positions, not by offsets.

Each record names the position before it in its partition:

    at or below what we have    a repetition; skipped
    the next one                given
    after one that we lack      a hole: the partition is read again from its beginning; where the hole is still there,
                                a relay that repeats may close it, and after a while nobody will: FeedGap
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from schemas.records import EventRecord, HeadMarker

GAP_WAIT_S = 60.0
"""How long a hole in a partition may stay before reading stops and says so."""

log = logging.getLogger("griffel.feed")


class FeedGap(Exception):
    """A partition lacks events, holds what is no record of ours, or records of two logs. Reading it has stopped."""

    stops = True


class PartitionSource(Protocol):
    """Whoever fetches what a partition gives."""

    def resume(self, feed: KafkaPartition) -> None:
        """Let records of a partition come: its reader has said from where on."""
        ...

    def begin_again(self, feed: KafkaPartition, round_: int) -> None:
        """Fetch a partition from its beginning, as this round."""
        ...


class KafkaPartition:
    """The events of one partition, an EventFeed. Used in the event loop; the thread of its source fills it."""

    def __init__(self, partition: int, source: PartitionSource, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.partition = partition
        self._source = source
        self._clock_s = clock_s
        self._held: deque[tuple[EventRecord | HeadMarker, int, int]] = deque()
        self._floor = -1
        """Everything after this position that has come is held."""
        self._tail = 0
        """The newest position that has come, or was said to be applied."""
        self._round = 0
        """Counts beginnings: what was fetched before the last one is not wanted any more."""
        self._from_start = False
        self._gap_s: float | None = None
        self._gap_upto = 0
        self._broken: str | None = None
        self._incarnation = b""
        self._given = self._through = (0, 0)
        self._grown = asyncio.Event()
        self.applied: tuple[int, int] | None = None
        """(offset, position): everything before that offset is at or below that position, which is applied."""
        self.dropped = 0
        self.dropped_bytes = 0

    @property
    def floor(self) -> int:
        """The position that the reader has applied, as it last said; -1 before it has."""
        return self._floor

    async def read(self, after: int, limit: int) -> Sequence[EventRecord]:
        """Give up to `limit` events after a position, in order and none left out; [] when no more have come yet.

        Raises FeedGap.
        """
        self._move_to(after)
        found: list[EventRecord] = []
        through = (0, 0)
        for one, _, _ in self._held:
            if isinstance(one, EventRecord):
                if len(found) == limit:
                    break
                found.append(one)
                through = (one.position, one.stored_us)
            else:
                through = max(through, (one.through, one.stored_us))
        self._given = max(self._through, through)
        if not found:
            self._raise_broken()
        return found

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until an event after a position has come; say whether one has."""
        self._move_to(after)
        ends = self._clock_s() + timeout_s
        while self._tail <= after and not self._broken:
            left_s = ends - self._clock_s()
            if left_s <= 0:
                return False
            self._grown.clear()
            try:
                await asyncio.wait_for(self._grown.wait(), left_s)
            except TimeoutError:
                return False
        return True

    def through(self) -> tuple[int, int]:
        """Give (position, stored µs): all of this partition up to there has been given by `read`. (0, 0): not known."""
        return self._given

    def take(self, came: Sequence[tuple[EventRecord | HeadMarker | None, int, int]], round_: int) -> None:
        """Take what was fetched: (what it is, offset, bytes). The source calls this, in the event loop."""
        for one, offset, size in came:
            if round_ != self._round or self._broken or not self._wanted(one):
                self.dropped += 1
                self.dropped_bytes += size
                continue
            assert one is not None
            self._held.append((one, offset, size))
        self._grown.set()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wanted(self, one: EventRecord | HeadMarker | None) -> bool:
        """Say whether what came is to be given; note what is wrong with it."""
        if one is None:
            self._broken = "something that is no record of ours"
            return False
        if self._incarnation not in (b"", one.incarnation):
            self._broken = "records of two logs"
            return False
        self._incarnation = one.incarnation
        if isinstance(one, HeadMarker):
            # Beyond a hole it says nothing: what it speaks of has not come.
            return self._gap_s is None
        if one.position <= self._tail:
            return False
        if one.prev > self._tail:
            self._note_gap(one.position)
            return False
        self._tail = one.position
        if self._gap_s is not None and self._tail >= self._gap_upto:
            self._gap_s = None
        return True

    def _note_gap(self, position: int) -> None:
        if not self._from_start:
            log.info("a partition is read again from its beginning: %d", self.partition)
            self._begin_again(from_start=True)
            return
        if self._gap_s is None:
            log.warning("a partition lacks events; waiting for them: %d", self.partition)
            self._gap_s = self._clock_s()
        self._gap_upto = max(self._gap_upto, position)

    def _raise_broken(self) -> None:
        if self._broken:
            raise FeedGap(f"partition {self.partition} holds {self._broken}")
        if self._gap_s is not None and self._clock_s() - self._gap_s > GAP_WAIT_S:
            raise FeedGap(f"partition {self.partition} lacks events after position {self._tail}")

    def _move_to(self, after: int) -> None:
        """Let go of what is applied; begin again where somebody wants what was let go."""
        if self._floor < 0:
            self._floor = self._tail = after
            self._source.resume(self)
            return
        if after < self._floor:
            self._floor = self._tail = after
            self._through = self._given = (0, 0)
            self._begin_again(from_start=True)
            return
        self._floor = after
        self._tail = max(self._tail, after)
        while self._held:
            one, offset, _ = self._held[0]
            if isinstance(one, EventRecord):
                if one.position > after:
                    return
                reached = (one.position, one.stored_us)
            else:
                reached = (one.through, one.stored_us)
            self._through = max(self._through, reached)
            self.applied = (offset + 1, after)
            self._drop_first()

    def _drop_first(self) -> None:
        self.dropped_bytes += self._held.popleft()[2]
        self.dropped += 1

    def _begin_again(self, *, from_start: bool) -> None:
        while self._held:
            self._drop_first()
        self._tail = self._floor
        self._gap_s, self._gap_upto = None, 0
        self._from_start = from_start
        self._round += 1
        self._source.begin_again(self, self._round)
