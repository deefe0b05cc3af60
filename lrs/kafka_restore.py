"""Bringing a log up to what Kafka has: an empty one from the beginning, one from an older backup from where it ends.

Kafka and the key vault are enough. Events come back with their positions, times and bytes; the log takes on the
incarnation that the records carry, and the relay's place is set to the end, so that it goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import psycopg

from consumers.feed import FeedEvent
from consumers.kafka_copy import CopyGap, LogCopy
from consumers.kafka_feed import KafkaSource
from consumers.kafka_partition import FeedGap, KafkaPartition
from lrs.errors import Busy, Damaged
from lrs.kafka_access import KafkaAccess
from lrs.kafka_topics import partitions_of
from lrs.log_place import LogEnd, LogPlace
from lrs.restoring import LogRestorer
from lrs.sql import queries
from lrs.witness import Testimony
from schemas.topics import partition_of

ASSIGN_WAIT_S = 60.0
"""How long Kafka may take to give all partitions."""


class Restored(NamedTuple):
    """What a restore came to: the log's last position before and after, and up to where it is on Kafka."""

    before: int
    after: int
    relayed: Testimony


class KafkaRestore:
    """Restores the log of one database from one Kafka."""

    def __init__(self, url: str, kafka: KafkaAccess, restorer: LogRestorer) -> None:
        self._url = url
        self._kafka = kafka
        self._restorer = restorer
        self._place = LogPlace(url)

    async def run(self, told: Callable[[int, int], None] = lambda _reached, _known: None) -> Restored:
        """Restore; tell (position reached, position known to exist) on the way.

        Raises Damaged when Kafka's copy is another log's, or lacks something: what was restored before that stays, and
        the same command goes on from there. Raises Misconfigured without a topic, Busy when Kafka does not answer.
        """
        partitions = await asyncio.to_thread(partitions_of, self._kafka)
        end = await asyncio.to_thread(self._place.look)
        feeds: dict[int, KafkaPartition] = {}
        complete = asyncio.Event()

        def assigned(partition: int, feed: KafkaPartition) -> None:
            feeds[partition] = feed
            if len(feeds) == partitions:
                complete.set()

        source = KafkaSource(
            self._kafka.brokers,
            None,
            assigned=assigned,
            revoked=_leave,
            security=self._kafka.security,
            # Nothing that the log lacks is older than its last event.
            since_ms=end.stored_us // 1000,
        )
        await source.start()
        try:
            await asyncio.wait_for(complete.wait(), ASSIGN_WAIT_S)
            prevs = await asyncio.to_thread(self._prevs_at, end, partitions)
            copy = LogCopy([feeds[partition] for partition in sorted(feeds)])
            return await self._copy(copy, end, prevs, told)
        except TimeoutError:
            raise Busy("Kafka does not answer") from None
        except (CopyGap, FeedGap) as error:
            raise Damaged(str(error)) from error
        finally:
            await source.stop()
            await asyncio.to_thread(self._place.close)

    async def _copy(self, copy: LogCopy, end: LogEnd, prevs: list[int], told: Callable[[int, int], None]) -> Restored:
        before = reached = end.position
        stored_us = 0
        async for events in copy.events(before):
            if reached == before:
                await self._adopt(before, end.incarnation, copy.incarnation)
            batch: list[FeedEvent] = list(events)
            await self._restorer.restore(batch)
            reached, stored_us = events[-1].position, events[-1].stored_us
            told(reached, copy.through)
        if reached > before:
            prevs = [max(pair) for pair in zip(prevs, copy.prevs, strict=True)]
            await asyncio.to_thread(self._set_relay, copy.incarnation, reached, stored_us, prevs)
        now = await asyncio.to_thread(self._place.look)
        copied = min(now.relayed.position, now.position) if now.relayed is not None else 0
        return Restored(before, reached, Testimony(now.incarnation, copied))

    async def _adopt(self, before: int, known: bytes, incarnation: bytes) -> None:
        """Give an empty log the incarnation of its copy; one that has events must be of it already."""
        if before and incarnation != known:
            raise Damaged("what Kafka has is the copy of another log than this one")
        if not before:
            await asyncio.to_thread(self._run, "adopt", incarnation)

    def _prevs_at(self, end: LogEnd, partitions: int) -> list[int]:
        """Give the log's last position of each partition: from the relay's place on, which knew them there."""
        with psycopg.connect(self._url) as connection:
            row = connection.execute(queries("relay")["place"]).fetchone()
            after, prevs = 0, [0] * partitions
            if row is not None and bytes(row[0]) == end.incarnation and len(row[3]) == partitions:
                after, prevs = row[1], list(row[3])
            between = connection.cursor(name="keys").execute(queries("relay")["keys_between"], (after, end.position))
            for position, record_key in between:
                prevs[partition_of(bytes(record_key), partitions)] = position
        return prevs

    def _set_relay(self, incarnation: bytes, position: int, stored_us: int, prevs: list[int]) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(queries("relay")["table"])
            connection.execute(queries("relay")["set"], (incarnation, position, stored_us, prevs))

    def _run(self, name: str, *parameters: object) -> tuple[int, bytes]:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                row = connection.execute(queries("relay")[name], parameters or None).fetchone()
        except psycopg.OperationalError as error:
            raise Busy("the database does not answer") from error
        assert row is not None
        return row[0], row[1]


async def _leave(partition: int) -> None:
    """Nothing is given away: without a group every partition stays ours."""
