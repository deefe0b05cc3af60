"""The contract of EventFeed (consumers/feed.py): the log on each database, and its partitions on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumers.feed import EventFeed, FeedEvent
from lrs.appending import Appended
from lrs.event_log import EventLog
from tests.copied_log import running_relay, source_of

from .log_places import LogPlace, event, name, request

PARTITIONS = 3
ARRIVAL_BOUND_S = 30
PEOPLE = [name(f"person {number}") for number in range(12)]


@dataclass
class Feeds:
    """A log that is appended to, and the feeds that give its events; `of` tells which of the events each gives."""

    log: EventLog
    feeds: dict[int, EventFeed]
    of: Callable[[FeedEvent], int]

    async def append(self, count: int) -> list[FeedEvent]:
        """Append events of several people; everything that is in the log then."""
        for number in range(count):
            new = event(os.urandom(16))
            new = type(new)(new.originator_id, 1, new.topic, PEOPLE[number % len(PEOPLE)], os.urandom(200))
            assert isinstance(await self.log.append(request(new)), Appended)
        return list(await self.log.read(0, 1_000_000))

    def expected(self, events: Sequence[FeedEvent], key: int) -> list[tuple[object, ...]]:
        return [content(one) for one in events if self.of(one) == key]


def content(one: FeedEvent) -> tuple[object, ...]:
    return (one.position, one.originator_id, one.version, one.topic, one.record_key, one.stored_us, one.state)


async def read_on(feed: EventFeed, after: int, count: int, limit: int) -> list[tuple[object, ...]]:
    """Read from a position on, as a consumer does, until so many events have come."""
    found: list[tuple[object, ...]] = []
    ends = time.monotonic() + ARRIVAL_BOUND_S
    while len(found) < count and time.monotonic() < ends:
        got = [content(one) for one in await feed.read(after, limit)]
        assert len(got) <= limit
        if got:
            found += got
            after = int(str(got[-1][0]))
        else:
            await feed.wait(after, 1)
    return found


@pytest.fixture(params=["sqlite", "postgres", "kafka"])
async def feeds(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Feeds]:
    if request.param == "sqlite":
        place = LogPlace("sqlite", str(tmp_path / "log" / "log.db"))
    else:
        place = LogPlace("postgres", request.getfixturevalue("empty_database"))
    log = place.log()
    await log.start()
    try:
        if request.param != "kafka":
            yield Feeds(log, {0: log}, lambda _: 0)
            return
        kafka = request.getfixturevalue("kafka")
        async with contextlib.AsyncExitStack() as stack:
            of = stack.enter_context(running_relay(place.place, kafka.bootstrap, PARTITIONS))
            yield Feeds(log, await stack.enter_async_context(source_of(kafka.bootstrap)), of)
    finally:
        await log.stop()


async def test_an_empty_feed_gives_nothing_and_waits_in_vain(feeds: Feeds) -> None:
    for feed in feeds.feeds.values():
        assert list(await feed.read(0, 10)) == []
        assert await feed.wait(0, 0.05) is False


async def test_every_event_is_given_once_in_order_and_bit_for_bit(feeds: Feeds) -> None:
    events = await feeds.append(40)
    for key, feed in feeds.feeds.items():
        expected = feeds.expected(events, key)
        assert await read_on(feed, 0, len(expected), 7) == expected
        assert await feed.wait(events[-1].position, 0) is False


async def test_a_feed_is_read_again_from_any_position(feeds: Feeds) -> None:
    events = await feeds.append(40)
    for key, feed in feeds.feeds.items():
        expected = feeds.expected(events, key)
        assert await read_on(feed, 0, len(expected), 100) == expected
        await feed.read(events[-1].position, 1)
        for start in (0, len(expected) // 2):
            after = int(str(expected[start][0]))
            assert await read_on(feed, after, len(expected) - start - 1, 5) == expected[start + 1 :]


async def test_reading_alone_moves_nothing(feeds: Feeds) -> None:
    events = await feeds.append(20)
    for key, feed in feeds.feeds.items():
        expected = feeds.expected(events, key)
        async with asyncio.timeout(ARRIVAL_BOUND_S):
            # They may come in two fetches; to read on, or to wait, would move the feed.
            while len(await feed.read(0, 100)) < len(expected):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for _ in range(2):
            assert [content(one) for one in await feed.read(0, 2)] == expected[:2]


async def test_waiting_ends_when_an_event_comes(feeds: Feeds) -> None:
    waiting = [asyncio.create_task(feed.wait(0, ARRIVAL_BOUND_S)) for feed in feeds.feeds.values()]
    await feeds.append(len(PEOPLE))
    assert all(await asyncio.gather(*waiting))


async def test_a_position_beyond_what_was_read_is_gone_on_from(feeds: Feeds) -> None:
    events = await feeds.append(30)
    for key, feed in feeds.feeds.items():
        expected = feeds.expected(events, key)
        middle = int(str(expected[len(expected) // 2][0]))
        later = expected[len(expected) // 2 + 1 :]
        assert await read_on(feed, middle, len(later), 100) == later
