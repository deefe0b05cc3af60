"""The loop of a consumer: read a batch, apply it, store the position with it, repeat; wait, back off, stop.

A consumer is one projection in one process, with one task for each partition that it was given. Partitions come and go
(`start`, `stop`), as a consumer group deals them out; the log itself is partition 0 and stays. Where a partition is
stands in the view's store alone, so a partition may move to another process at any moment: whoever is overtaken looks
again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from consumers.feed import EventFeed, FeedEvent
from consumers.projector import Projector, TooManyDead
from projections.projection import Opener, Projection
from projections.view_store import BUILDING, SERVING, Behind, Generation, Overtaken, Place, ViewStore, place_of

BATCH_EVENTS_MAX = 500
"""Events in one transaction."""
IDLE_WAIT_S = 1.0
"""How long a consumer that has caught up waits for news before it looks by itself."""
LINGER_S = 0.04
"""How long a consumer lets events gather after a small batch: one transaction for many costs less than many."""
SMALL_BATCH_EVENTS = 100
RETRY_WAIT_S = 0.2
RETRY_WAIT_MAX_S = 5.0
STOP_WAIT_S = 30.0
"""How long stopping waits for the batch that is under way."""

log = logging.getLogger("griffel.consumer")
T = TypeVar("T")


class PartitionFeed(EventFeed, Protocol):
    """The events of one partition: in the order of positions, with gaps between them but none left out."""

    def through(self) -> tuple[int, int]:
        """Give (position, stored µs): everything of this partition up to there has been read. (0, 0): not known."""
        ...


class LogFeed:
    """The log itself as the one partition of an embedded installation."""

    def __init__(self, log: EventFeed) -> None:
        self._log = log

    async def read(self, after: int, limit: int) -> Any:
        return await self._log.read(after, limit)

    async def wait(self, after: int, timeout_s: float) -> bool:
        return await self._log.wait(after, timeout_s)

    def through(self) -> tuple[int, int]:
        """Say nothing: how far the log is can be asked of the log."""
        return 0, 0


@dataclass(slots=True)
class PartitionStatus:
    """How a partition is: `running`, `waiting` (something is away; reason says what kind of error) or `stopped`."""

    place: Place = field(default_factory=Place)
    state: str = "running"
    reason: str = ""
    applied: int = 0
    batches: int = 0
    dead: int = 0


@dataclass(slots=True)
class ConsumerStatus:
    """How a consumer is, by partition."""

    name: str
    partitions: dict[int, PartitionStatus]

    @property
    def healthy(self) -> bool:
        """Say whether every partition is running."""
        return all(one.state == "running" for one in self.partitions.values())


class Consumer:
    """One projection in this process. threads is where blocking work is done.

    With a generation it builds that one, until it serves (`served`); else the one that the store names.
    """

    def __init__(
        self,
        projection: Projection,
        store: ViewStore,
        opener: Opener,
        threads: Executor,
        generation: Generation | None = None,
    ) -> None:
        self.projection = projection
        self._store = store
        self._opener = opener
        self._threads = threads
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._in_flight: dict[int, asyncio.Future[Any]] = {}
        self.partitions: dict[int, PartitionStatus] = {}
        self.generation = self._building = generation
        self.served = asyncio.Event()

    def start(self, partition: int, feed: PartitionFeed) -> None:
        """Begin with a partition, where its view stands."""
        self.partitions[partition] = PartitionStatus()
        self._tasks[partition] = asyncio.create_task(self._follow(partition, feed))

    async def stop(self, partition: int) -> None:
        """Stop with a partition: the batch under way is finished, for at most STOP_WAIT_S; then nothing moves."""
        task = self._tasks.pop(partition, None)
        if task is None:
            return
        status = self.partitions.get(partition)
        task.cancel()
        await asyncio.wait([task])
        if (working := self._in_flight.pop(partition, None)) is not None:
            await asyncio.wait([working], timeout=STOP_WAIT_S)
            if working.done() and not working.cancelled():
                working.exception()  # seen: whoever takes the partition over finds the view as it is
        if self.partitions.get(partition) is status:  # else the partition has come back meanwhile
            self.partitions.pop(partition, None)

    async def close(self) -> None:
        """Stop with every partition."""
        await asyncio.gather(*[self.stop(partition) for partition in list(self._tasks)])

    @property
    def status(self) -> ConsumerStatus:
        """Give how it is."""
        return ConsumerStatus(self.projection.name, dict(self.partitions))

    # ── one partition ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, partition: int, feed: PartitionFeed) -> None:
        """Go on until something stops this partition for good; what a repetition may mend is waited for."""
        status = self.partitions[partition]
        wait_s = RETRY_WAIT_S
        while True:
            applied = status.applied
            try:
                await self._work(partition, feed, status)
            except Overtaken:
                log.info("a view was moved on by others; looking again: %s", self.projection.name)
                await asyncio.sleep(LINGER_S)
                continue
            except TooManyDead:
                status.state, status.reason = "stopped", "TooManyDead"
                log.error("a consumer stopped, too many events in a row cannot be applied: %s", self.projection.name)  # noqa: TRY400
                return
            except Exception as error:  # noqa: BLE001  nothing was applied; it is tried again, and said so meanwhile
                if getattr(error, "stops", False):
                    status.state, status.reason = "stopped", type(error).__name__
                    log.error("a consumer stopped: %s: %s", self.projection.name, type(error).__name__)  # noqa: TRY400
                    return
                if status.state == "running":
                    log.warning("a consumer waits: %s: %s", self.projection.name, type(error).__name__)
                status.state, status.reason = "waiting", type(error).__name__
            wait_s = RETRY_WAIT_S if status.applied > applied else min(2 * wait_s, RETRY_WAIT_MAX_S)
            await asyncio.sleep(wait_s)

    async def _work(self, partition: int, feed: PartitionFeed, status: PartitionStatus) -> None:
        """Apply what comes, beginning where the view is; ends only by an error."""
        generation = self._building
        if generation is None:
            generation = await self._in_thread(partition, self._store.target, self.projection)
        projector = Projector(self.projection, generation, self._store, self._opener)
        self.generation = generation
        known = await self._in_thread(partition, self._store.places, generation)
        places = {partition: place_of(known, partition)}
        while True:
            place = status.place = places[partition]
            events = await feed.read(place.position, BATCH_EVENTS_MAX)
            through = feed.through()
            status.state, status.reason = "running", ""
            if events or through[1] > place.through_us:
                places = await self._in_thread(partition, projector.work, places, events, through)
                status.applied += len(events)
                status.batches += 1
                status.dead = projector.dead
            if len(events) >= SMALL_BATCH_EVENTS:
                continue
            if generation.state == BUILDING and not events and await self._switched(partition, generation):
                generation = generation._replace(state=SERVING)
            status.place = places[partition]
            if not events:
                await feed.wait(places[partition].position, IDLE_WAIT_S)
            await asyncio.sleep(LINGER_S)

    async def _switched(self, partition: int, generation: Generation) -> bool:
        """Let a generation that has caught up serve; say whether it has."""
        try:
            await self._in_thread(partition, self._store.switch, generation)
        except Behind:
            return False
        log.info("a view was built anew and serves: %s", generation.name)
        self.served.set()
        return True

    async def _in_thread(self, partition: int, work: Callable[..., T], *arguments: Any) -> T:
        """Do blocking work that a stop waits for."""
        working = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        self._in_flight[partition] = working
        return await asyncio.shield(working)


async def rebuild(
    projection: Projection,
    store: ViewStore,
    opener: Opener,
    feed: EventFeed,
    threads: Executor,
    *,
    partition_of: Callable[[FeedEvent], int] | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Generation:
    """Build a view anew beside the one that serves, from a feed of every event, and let it serve.

    tell is told each position that was reached. Raises Overtaken when another rebuild of the same view began meanwhile;
    then, and after any other error, what served goes on serving.
    """
    loop = asyncio.get_running_loop()
    generation = await loop.run_in_executor(threads, store.begin, projection)
    projector = Projector(projection, generation, store, opener, partition_of=partition_of)
    places = {} if partition_of is not None else {0: Place()}
    position, stored_us = 0, 0
    while True:
        events = await feed.read(position, BATCH_EVENTS_MAX)
        if events:
            places = await loop.run_in_executor(threads, projector.work, places, events)
            position, stored_us = events[-1].position, events[-1].stored_us
            tell(position)
            continue
        # The feed has every partition's events, so each is as far as the last of any.
        places = await loop.run_in_executor(threads, projector.work, places, [], (position, stored_us))
        if generation.state != BUILDING:
            return generation
        try:
            await loop.run_in_executor(threads, store.switch, generation)
        except Behind:
            await feed.wait(position, IDLE_WAIT_S)
        else:
            return generation._replace(state=SERVING)
