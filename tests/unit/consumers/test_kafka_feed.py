"""A partition as a feed: what comes from Kafka is given once, in order, and a hole is never passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from consumers.kafka_partition import GAP_WAIT_S, FeedGap, KafkaPartition
from schemas.records import EventRecord, HeadMarker

LOG = bytes(16)


def event(position: int, prev: int, log: bytes = LOG) -> EventRecord:
    return EventRecord(position, bytes(16), 1, "statement_recorded", bytes(16), position * 10, b"state", prev, log)


def head(through: int) -> HeadMarker:
    return HeadMarker(through, through * 10, LOG)


@dataclass
class Source:
    """Where the feed's records come from, as far as the feed asks it for anything; and its clock."""

    rounds: list[int] = field(default_factory=list)
    now_s: float = 0.0

    def resume(self, feed: KafkaPartition) -> None:
        self.rounds.append(0)

    def begin_again(self, feed: KafkaPartition, round_: int) -> None:
        self.rounds.append(round_)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def feed(source: Source) -> KafkaPartition:
    asked: Any = source
    return KafkaPartition(3, asked, lambda: source.now_s)


def take(feed: KafkaPartition, *came: EventRecord | HeadMarker | None, round_: int = 0) -> None:
    feed.take([(one, offset, 5) for offset, one in enumerate(came)], round_)


async def positions(feed: KafkaPartition, after: int, limit: int = 100) -> list[int]:
    return [one.position for one in await feed.read(after, limit)]


async def test_nothing_is_fetched_before_a_reader_says_from_where(feed, source):
    assert source.rounds == []
    assert await positions(feed, 0) == []
    assert source.rounds == [0]


async def test_repetitions_are_skipped(feed):
    await feed.read(0, 1)
    take(feed, event(2, 0), event(5, 2), event(2, 0), event(5, 2), event(9, 5))
    assert await positions(feed, 0) == [2, 5, 9]
    assert feed.dropped == 2


async def test_a_reader_that_is_further_than_where_fetching_began_gets_what_is_above(feed):
    await feed.read(5, 1)
    take(feed, event(2, 0), event(5, 2), event(9, 5))
    assert await positions(feed, 5) == [9]


async def test_what_was_given_is_given_again_until_it_is_said_to_be_applied(feed, source):
    await feed.read(0, 1)
    take(feed, event(2, 0), event(5, 2), event(9, 5))
    assert await positions(feed, 0, 2) == [2, 5]
    assert await positions(feed, 2, 2) == [5, 9]
    assert (feed.dropped, feed.applied) == (1, (1, 2))
    assert await positions(feed, 0) == []
    assert source.rounds == [0, 1], "what was let go is fetched again"
    take(feed, event(11, 9))
    take(feed, event(2, 0), event(5, 2), round_=1)
    assert await positions(feed, 0) == [2, 5], "what was fetched before that is not wanted"


async def test_a_partition_that_begins_beyond_the_reader_is_read_from_its_beginning(feed, source):
    await feed.read(0, 1)
    take(feed, event(9, 5))
    assert source.rounds == [0, 1]
    take(feed, event(2, 0), event(5, 2), event(9, 5), round_=1)
    assert await positions(feed, 0) == [2, 5, 9]


async def test_a_hole_that_stays_stops_reading(feed, source):
    await feed.read(0, 1)
    take(feed, event(9, 5))
    take(feed, event(2, 0), event(9, 5), head(9), round_=1)
    assert await positions(feed, 0) == [2]
    assert await positions(feed, 2) == []
    assert feed.through() == (2, 20), "a marker beyond the hole says nothing"
    source.now_s += GAP_WAIT_S + 1
    with pytest.raises(FeedGap, match="lacks events after position 2") as raised:
        await feed.read(2, 10)
    assert raised.value.stops


async def test_a_hole_that_a_relay_closes_by_repeating_is_none(feed, source):
    await feed.read(0, 1)
    take(feed, event(9, 5))
    take(feed, event(2, 0), event(9, 5), round_=1)
    source.now_s += GAP_WAIT_S - 1
    take(feed, event(5, 2), event(9, 5), head(9), round_=1)
    source.now_s += GAP_WAIT_S
    assert await positions(feed, 0) == [2, 5, 9]
    assert feed.through() == (9, 90)


async def test_how_far_the_partition_is_follows_what_was_given(feed):
    await feed.read(0, 1)
    assert feed.through() == (0, 0)
    take(feed, head(1), event(2, 0), head(4), event(5, 2), head(8))
    assert await positions(feed, 0, 1) == [2]
    assert feed.through() == (4, 40)
    assert await positions(feed, 2) == [5]
    assert feed.through() == (8, 80)
    assert await positions(feed, 5) == []
    assert feed.through() == (8, 80)


@pytest.mark.parametrize(
    ("came", "said"), [(None, "no record of ours"), (event(5, 2, log=b"another log 1234"), "records of two logs")]
)
async def test_what_does_not_belong_there_stops_reading(feed, came, said):
    await feed.read(0, 1)
    take(feed, event(2, 0), came, event(9, 5))
    assert await positions(feed, 0) == [2]
    with pytest.raises(FeedGap, match=said):
        await feed.read(2, 10)


async def test_waiting_ends_when_something_comes_or_reading_must_stop(feed):
    assert await feed.wait(0, 0) is False
    take(feed, event(2, 0))
    assert await feed.wait(0, 0) is True
    assert await feed.wait(2, 0) is False
    take(feed, None)
    assert await feed.wait(2, 0) is True
