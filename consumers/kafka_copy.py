"""The log put together again from its partitions on Kafka, in one order and without a gap (decision 28).

Each partition gives its events in order, repetitions left out. Merged by position they are the log. An event is in
one partition and no other. Head markers say how far the log had got, so that it can be told whether anything is missing
at its end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence

from consumers.kafka_partition import KafkaPartition
from schemas.records import EventRecord

HELD_EVENTS_MAX = 500
"""Events of one partition that are held for merging."""
IDLE_S = 5.0
"""A copy from which nothing new has come for so long has been read to its end."""
LOOK_S = 0.1


class CopyGap(Exception):
    """The copy of the log lacks events, or holds two different ones in one place."""


class LogCopy:
    """The copy of one log. feeds are all partitions of it; incarnation is known once something has been read."""

    def __init__(self, feeds: Sequence[KafkaPartition]) -> None:
        self._feeds = list(feeds)
        self._held: list[deque[EventRecord]] = [deque() for _ in feeds]
        self._taken = [0] * len(self._feeds)
        self.prevs = [0] * len(self._feeds)
        """The newest position that was read of each partition."""
        self.through = 0
        """The newest position that a head marker or an event speaks of."""
        self.incarnation = b""

    async def events(self, after: int) -> AsyncIterator[list[EventRecord]]:
        """Give every event after a position, in order; ends where the copy ends.

        Raises CopyGap when something is missing before its end; FeedGap when a partition is damaged.
        """
        self._taken = [after] * len(self._feeds)
        expected = after + 1
        idle_since_s = time.monotonic()
        while True:
            came = await self._read()
            merged = self._merge(expected)
            if merged:
                expected = merged[-1].position + 1
                yield merged
            if came or merged:
                idle_since_s = time.monotonic()
                continue
            if time.monotonic() - idle_since_s > IDLE_S:
                break
            await asyncio.sleep(LOOK_S)
        if any(self._held) or expected <= self.through:
            raise CopyGap(f"the copy on Kafka lacks position {expected} and goes on to {self.through}")

    async def _read(self) -> int:
        """Fill up what is held of each partition; give how many events came."""
        came = 0
        for at, feed in enumerate(self._feeds):
            if len(self._held[at]) >= HELD_EVENTS_MAX:
                continue
            found = await feed.read(self._taken[at], HELD_EVENTS_MAX)
            self.through = max(self.through, feed.through()[0])
            if not found:
                continue
            self._held[at].extend(found)
            self._taken[at] = self.prevs[at] = found[-1].position
            self.through = max(self.through, found[-1].position)
            self.incarnation = found[-1].incarnation
            came += len(found)
        return came

    def _merge(self, expected: int) -> list[EventRecord]:
        merged: list[EventRecord] = []
        while True:
            heads = [held for held in self._held if held and held[0].position <= expected]
            if not heads:
                return merged
            heads.sort(key=lambda held: held[0].position)
            first = heads[0][0]
            if first.position < expected:
                raise CopyGap(f"the copy on Kafka has position {first.position} in two partitions")
            if len(heads) > 1 and heads[1][0].position == expected:
                raise CopyGap(f"the copy on Kafka holds two events in position {expected}")
            merged.append(heads[0].popleft())
            expected += 1
