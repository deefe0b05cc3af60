"""The loop: applies what comes, begins where the view is, waits for what is away, and stops cleanly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consumers.consumer import BATCH_EVENTS_MAX, Consumer, rebuild
from consumers.projector import DEAD_IN_A_ROW_MAX
from lrs.event_log import Event
from projections.projection import OpenedEvent, Opener, View
from projections.sqlite_views import SQLiteViews
from projections.view_store import SERVING, Overtaken, Place, StoreBusy
from tests.view_tools import Counting, OpenOpener, counts, did, sixteen

ANN, BEA = sixteen("Ann"), sixteen("Bea")
BOUND_S = 10


class Feed:
    """A feed in memory."""

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.reads: list[tuple[int, int]] = []
        self.known_through = (0, 0)
        self._grown = asyncio.Event()

    def add(self, *events: Event) -> None:
        self.events += events
        self._grown.set()

    async def read(self, after: int, limit: int) -> list[Event]:
        self.reads.append((after, limit))
        return [one for one in self.events if one.position > after][:limit]

    async def wait(self, after: int, timeout_s: float) -> bool:
        self._grown.clear()
        if not any(one.position > after for one in self.events):
            try:
                await asyncio.wait_for(self._grown.wait(), timeout_s)
            except TimeoutError:
                return False
        return True

    def through(self) -> tuple[int, int]:
        return self.known_through


class Views:
    def __init__(self, folder: Path) -> None:
        self.store = SQLiteViews(folder / "views.db", OpenOpener())
        self.threads = ThreadPoolExecutor(2)
        self.projection = Counting()

    def consumer(self) -> Consumer:
        return Consumer(self.projection, self.store, OpenOpener(), self.threads)

    async def counts(self) -> dict[tuple[bytes, str], int]:
        return await asyncio.to_thread(counts, self.store)


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Views]:
    made = Views(tmp_path)
    yield made
    made.threads.shutdown()
    made.store.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not holds():  # noqa: ASYNC110  what is waited for is outside, and tells nobody
            await asyncio.sleep(0.005)


async def test_what_is_there_and_what_comes_later_is_applied(views: Views) -> None:
    consumer, feed = views.consumer(), Feed(did(1, "Ann", "a"), did(2, "Bea", "a"))
    consumer.start(0, feed)
    await until(lambda: consumer.partitions[0].applied == 2)
    feed.add(did(4, "Ann", "a"))
    await until(lambda: consumer.partitions[0].place.position == 4)
    assert await views.counts() == {(ANN, "a"): 2, (BEA, "a"): 1}
    assert consumer.status.healthy
    await consumer.close()


async def test_another_consumer_begins_where_the_first_stopped(views: Views) -> None:
    feed = Feed(*[did(at, "Ann", "a") for at in range(1, BATCH_EVENTS_MAX + 10)])
    first = views.consumer()
    first.start(0, feed)
    await until(lambda: first.partitions[0].place.position > 0)
    await first.stop(0)
    second = views.consumer()
    second.start(0, feed)
    await until(lambda: second.partitions[0].place.position == BATCH_EVENTS_MAX + 9)
    assert await views.counts() == {(ANN, "a"): BATCH_EVENTS_MAX + 9}
    await second.close()


async def test_two_consumers_at_once_apply_each_event_once(views: Views) -> None:
    feed = Feed(*[did(at, "Ann", "a") for at in range(1, 3 * BATCH_EVENTS_MAX)])
    both = [views.consumer(), views.consumer()]
    for one in both:
        one.start(0, feed)
    await until(lambda: any(one.partitions[0].place.position == feed.events[-1].position for one in both))
    assert await views.counts() == {(ANN, "a"): len(feed.events)}
    await asyncio.gather(*[one.close() for one in both])


async def test_a_store_that_is_away_is_waited_for(views: Views) -> None:
    apply, away = views.projection.apply, threading.Event()
    away.set()

    def flaky(events: list[OpenedEvent], view: View, opener: Opener) -> None:
        if away.is_set():
            raise StoreBusy
        apply(events, view, opener)

    views.projection.apply = flaky  # type: ignore[method-assign]
    consumer = views.consumer()
    consumer.start(0, Feed(did(1, "Ann", "a")))
    await until(lambda: consumer.partitions[0].state == "waiting")
    assert consumer.partitions[0].reason == "StoreBusy"
    assert not consumer.status.healthy
    away.clear()
    await until(lambda: consumer.partitions[0].state == "running" and consumer.partitions[0].applied == 1)
    assert await views.counts() == {(ANN, "a"): 1}
    await consumer.close()


async def test_when_nothing_can_be_applied_the_partition_stops_and_says_so(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.projector.TRY_WAIT_S", 0)
    views.projection.fails_on = set(range(1, DEAD_IN_A_ROW_MAX + 5))
    consumer = views.consumer()
    consumer.start(0, Feed(*[did(at, "Ann", "a") for at in views.projection.fails_on]))
    async with asyncio.timeout(120):
        while consumer.partitions[0].state != "stopped":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert consumer.partitions[0].reason == "TooManyDead"
    assert not consumer.status.healthy
    await consumer.close()


async def test_stopping_waits_for_the_batch_under_way(views: Views) -> None:
    apply, inside, go_on = views.projection.apply, threading.Event(), threading.Event()

    def slow(events: list[OpenedEvent], view: View, opener: Opener) -> None:
        inside.set()
        assert go_on.wait(BOUND_S)
        apply(events, view, opener)

    views.projection.apply = slow  # type: ignore[method-assign]
    consumer = views.consumer()
    consumer.start(0, Feed(did(1, "Ann", "a")))
    await until(inside.is_set)
    stopping = asyncio.create_task(consumer.stop(0))
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await stopping
    assert await views.counts() == {(ANN, "a"): 1}


async def test_a_quiet_partition_moves_its_through(views: Views) -> None:
    consumer, feed = views.consumer(), Feed(did(1, "Ann", "a"))
    feed.known_through = (7, 9_000_000)
    consumer.start(0, feed)
    await until(lambda: consumer.partitions[0].place == Place(1, 7, 9_000_000))
    await consumer.close()


async def test_a_new_version_is_built_beside_and_serves_when_it_has_caught_up(views: Views) -> None:
    feed = Feed(*[did(at, "Ann", "a") for at in range(1, 20)])
    old = views.consumer()
    old.start(0, feed)
    await until(lambda: old.partitions[0].place.position == 19)
    await old.close()
    views.projection = Counting(version=2)
    new = views.consumer()
    new.start(0, feed)
    async with asyncio.timeout(BOUND_S):
        while True:
            [*known] = await asyncio.to_thread(views.store.generations)
            if [(one.version, one.state) for one in known] == [(2, SERVING)]:
                break
            await asyncio.sleep(0.01)
    assert await views.counts() == {(ANN, "a"): 19}
    await new.close()


async def test_a_rebuild_beside_a_consumer_that_goes_on_ends_with_every_event_applied_once(views: Views) -> None:
    feed = Feed(*[did(at, "Ann", "a") for at in range(1, 700)])
    consumer = views.consumer()
    consumer.start(0, feed)
    await until(lambda: consumer.partitions[0].place.position == 699)
    reached: list[int] = []

    def tell(position: int) -> None:
        reached.append(position)
        if len(reached) < 4:
            feed.add(did(700 + len(reached), "Bea", "b"))

    made = await rebuild(views.projection, views.store, OpenOpener(), feed, views.threads, tell=tell)
    feed.add(did(800, "Bea", "b"))
    await until(lambda: consumer.generation == made and consumer.partitions[0].place.position == 800)
    found = await views.counts()
    assert found == {(ANN, "a"): 699, (BEA, "b"): 4}
    assert reached == sorted(reached)
    await consumer.close()


async def test_of_two_rebuilds_at_once_the_second_wins(views: Views) -> None:
    feed = Feed(*[did(at, "Ann", "a") for at in range(1, 700)])
    second: list[asyncio.Task[object]] = []

    def tell(_: int) -> None:
        if not second:
            other = rebuild(views.projection, views.store, OpenOpener(), feed, views.threads)
            second.append(asyncio.get_running_loop().create_task(other))

    await asyncio.to_thread(views.store.target, views.projection)
    started = asyncio.create_task(rebuild(views.projection, views.store, OpenOpener(), feed, views.threads, tell=tell))
    outcomes = [*await asyncio.gather(started, return_exceptions=True), await _outcome(second)]
    assert any(not isinstance(one, BaseException) for one in outcomes)
    assert all(isinstance(one, Overtaken) for one in outcomes if isinstance(one, BaseException))
    assert await views.counts() == {(ANN, "a"): 699}


async def _outcome(tasks: list[asyncio.Task[object]]) -> object:
    [outcome] = await asyncio.gather(*tasks, return_exceptions=True)
    return outcome
