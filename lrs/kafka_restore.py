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
from consumers.kafka_feed import FeedGap, KafkaPartition, KafkaSource
from lrs.errors import Busy, Damaged
from lrs.restoring import LogRestorer
from lrs.sql import queries

ASSIGN_WAIT_S = 60.0
"""How long Kafka may take to give all partitions."""


class Restored(NamedTuple):
    """What a restore came to: the log's last position before and after."""

    before: int
    after: int


class KafkaRestore:
    """Restores the log of one database. partitions is how many the topic has."""

    def __init__(self, url: str, brokers: list[str], partitions: int, restorer: LogRestorer) -> None:
        self._url = url
        self._brokers = brokers
        self._partitions = partitions
        self._restorer = restorer

    async def run(self, told: Callable[[int, int], None]) -> Restored:
        """Restore; tell (position reached, position known to exist) on the way.

        Raises Damaged when Kafka's copy is another log's, or lacks something: what was restored before that stays, and
        the same command goes on from there. Raises Busy when Kafka does not answer.
        """
        before, known = await asyncio.to_thread(self._head)
        feeds: dict[int, KafkaPartition] = {}
        complete = asyncio.Event()

        def assigned(partition: int, feed: KafkaPartition) -> None:
            feeds[partition] = feed
            if len(feeds) == self._partitions:
                complete.set()

        source = KafkaSource(self._brokers, None, assigned=assigned, revoked=_leave)
        await source.start()
        try:
            await asyncio.wait_for(complete.wait(), ASSIGN_WAIT_S)
            copy = LogCopy([feeds[partition] for partition in sorted(feeds)])
            return await self._copy(copy, before, known, told)
        except TimeoutError:
            raise Busy("Kafka does not answer") from None
        except (CopyGap, FeedGap) as error:
            raise Damaged(str(error)) from error
        finally:
            await source.stop()

    async def _copy(self, copy: LogCopy, before: int, known: bytes, told: Callable[[int, int], None]) -> Restored:
        reached, stored_us = before, 0
        async for events in copy.events(before):
            if reached == before:
                await self._adopt(before, known, copy.incarnation)
            batch: list[FeedEvent] = list(events)
            await self._restorer.restore(batch)
            reached, stored_us = events[-1].position, events[-1].stored_us
            told(reached, copy.through)
        if reached > before:
            await asyncio.to_thread(self._set_relay, copy.incarnation, reached, stored_us, copy.prevs)
        return Restored(before, reached)

    async def _adopt(self, before: int, known: bytes, incarnation: bytes) -> None:
        """Give an empty log the incarnation of its copy; one that has events must be of it already."""
        if before and incarnation != known:
            raise Damaged("what Kafka has is the copy of another log than this one")
        if not before:
            await asyncio.to_thread(self._run, "adopt", incarnation)

    def _head(self) -> tuple[int, bytes]:
        row = self._run("log")
        return row[0], bytes(row[1])

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
