"""The log as it is on Kafka, a feed for each partition. The one module that uses Kafka's consumer.

The client blocks, so it lives in a thread of its own, which hands records over to the event loop. Partitions come and
go: a consumer group deals them out over the processes that belong to it.

What a feed gives is proved by positions, not by offsets. Each record names the position before it in its partition:

    at or below what we have    a repetition; skipped
    the next one                given
    after one that we lack      a hole: the partition is read again from its beginning; where the hole is still there,
                                a relay that repeats may close it, and after a while nobody will: FeedGap

Committed offsets are hints where to begin. They follow what the reader has applied, never run ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import TimeoutError as WaitTimeout
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from schemas.envelope import MalformedRecord
from schemas.records import EventRecord, HeadMarker, read_record
from schemas.topics import EVENTS

BUFFER_EVENTS_MAX = 2_000
"""Records of a partition that are held ready; over it, no more of it are fetched."""
BUFFER_BYTES_MAX = 8 * 1024 * 1024
POLL_S = 0.1
POLL_RECORDS_MAX = 2_000
FETCH_BYTES_MAX = 4 * 1024 * 1024
"""From one partition at once; a single record that is larger still comes."""
GAP_WAIT_S = 60.0
"""How long a hole in a partition may stay before reading stops and says so."""
COMMIT_S = 5.0
REVOKE_WAIT_S = 15.0
"""How long a rebalance waits for the batch under way of a partition that goes to another process."""
SESSION_S = 30.0
CONNECT_S = 5.0
RETRY_WAIT_S = 0.2
RETRY_WAIT_MAX_S = 5.0
STOP_WAIT_S = 30.0

log = logging.getLogger("griffel.feed")


class FeedGap(Exception):
    """A partition lacks events, holds what is no record of ours, or records of two logs. Reading it has stopped."""

    stops = True


class KafkaPartition:
    """The events of one partition, an EventFeed. Used in the event loop; the thread of its source fills it."""

    def __init__(self, partition: int, source: KafkaSource, clock_s: Callable[[], float] = time.monotonic) -> None:
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
        self.applied_offset: int | None = None
        self.dropped = 0
        self.dropped_bytes = 0

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
            self.applied_offset = offset + 1
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


class KafkaSource:
    """A consumer in a thread of its own: a feed for each partition that this process has.

    assigned is told of each partition that comes, with its feed; revoked of each that goes, and awaited, at most
    REVOKE_WAIT_S, before another process gets it. Both are called in the event loop. Without a group every partition
    comes, and is read from its beginning.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        group: str | None,
        *,
        assigned: Callable[[int, KafkaPartition], None],
        revoked: Callable[[int], Awaitable[None]],
    ) -> None:
        self._brokers = list(brokers)
        self._group = group
        self._assigned = assigned
        self._revoked = revoked
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._stopping = threading.Event()
        self._asked: queue.SimpleQueue[Callable[[Any], None]] = queue.SimpleQueue()
        self._flows: dict[int, _Flow] = {}
        self.connected = False

    async def start(self) -> None:
        """Begin. That Kafka is away is no error: it is waited for."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="kafka-feed", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Give every partition back and leave the group."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, STOP_WAIT_S)

    def resume(self, feed: KafkaPartition) -> None:
        """Let records of a partition come: its reader has said from where on."""
        self._asked.put(lambda consumer: self._begin(consumer, feed))

    def begin_again(self, feed: KafkaPartition, round_: int) -> None:
        """Fetch a partition from its beginning, as this round."""
        self._asked.put(lambda consumer: self._seek(consumer, feed, round_))

    # ── in the thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        wait_s = RETRY_WAIT_S
        told = False
        while not self._stopping.is_set():
            try:
                consumer = self._connect()
            except Exception as error:  # noqa: BLE001  whatever keeps Kafka away, it is tried again, and said once
                if not told:
                    log.warning("Kafka does not answer; waiting for it: %s", type(error).__name__)
                told = True
                self._stopping.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_WAIT_MAX_S)
                continue
            self.connected, told, wait_s = True, False, RETRY_WAIT_S
            try:
                self._consume(consumer)
            except Exception as error:  # noqa: BLE001  a new consumer begins where the views stand
                log.warning("reading from Kafka is begun again: %s", type(error).__name__)
                self._stopping.wait(RETRY_WAIT_S)
            finally:
                self.connected = False
                self._close(consumer)

    def _connect(self) -> Any:
        consumer = KafkaConsumer(
            bootstrap_servers=self._brokers,
            client_id="griffel-consumer",
            group_id=self._group,
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            max_poll_records=POLL_RECORDS_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=int(POLL_S * 1000),
            session_timeout_ms=int(SESSION_S * 1000),
            heartbeat_interval_ms=int(SESSION_S * 100),
            bootstrap_timeout_ms=int(CONNECT_S * 1000),
            reconnect_backoff_max_ms=1000,
            metrics_enabled=False,
        )
        if self._group is None:
            found = sorted(consumer.partitions_for_topic(EVENTS) or ())
            if not found:
                consumer.close()
                raise LookupError(EVENTS)
            partitions = [TopicPartition(EVENTS, one) for one in found]
            consumer.assign(partitions)
            self._come(consumer, partitions)
        else:
            consumer.subscribe([EVENTS], listener=_Listener(self, consumer))
        return consumer

    def _consume(self, consumer: Any) -> None:
        committed_s = time.monotonic()
        while not self._stopping.is_set():
            while not self._asked.empty():
                self._asked.get()(consumer)
            for place, records in consumer.poll(timeout_ms=int(POLL_S * 1000)).items():
                self._hand_over(place.partition, records)
            self._hold_back(consumer)
            if time.monotonic() - committed_s >= COMMIT_S:
                self._commit(consumer)
                committed_s = time.monotonic()

    def _hand_over(self, partition: int, records: Sequence[Any]) -> None:
        flow = self._flows.get(partition)
        if flow is None:
            return
        came = []
        for record in records:
            size = len(record.value or b"")
            came.append((_read(record), record.offset, size))
            flow.posted_bytes += size
        flow.posted += len(came)
        self._loop.call_soon_threadsafe(flow.feed.take, came, flow.round)

    def _hold_back(self, consumer: Any) -> None:
        """Fetch no more of a partition whose reader is behind; go on once half of what is held has been read."""
        for partition, flow in self._flows.items():
            if not flow.begun:
                continue
            events = flow.posted - flow.feed.dropped
            size = flow.posted_bytes - flow.feed.dropped_bytes
            if not flow.paused and (events > BUFFER_EVENTS_MAX or size > BUFFER_BYTES_MAX):
                consumer.pause(TopicPartition(EVENTS, partition))
                flow.paused = True
            elif flow.paused and events <= BUFFER_EVENTS_MAX // 2 and size <= BUFFER_BYTES_MAX // 2:
                consumer.resume(TopicPartition(EVENTS, partition))
                flow.paused = False

    def _begin(self, consumer: Any, feed: KafkaPartition) -> None:
        flow = self._flows.get(feed.partition)
        if flow is not None and flow.feed is feed:
            flow.begun = True
            consumer.resume(TopicPartition(EVENTS, feed.partition))

    def _seek(self, consumer: Any, feed: KafkaPartition, round_: int) -> None:
        flow = self._flows.get(feed.partition)
        if flow is not None and flow.feed is feed:
            flow.round = round_
            consumer.seek_to_beginning(TopicPartition(EVENTS, feed.partition))

    def _commit(self, consumer: Any) -> None:
        """Say how far the readers are: where the next one begins to look."""
        if self._group is None:
            return
        offsets = {
            TopicPartition(EVENTS, partition): OffsetAndMetadata(flow.feed.applied_offset, "", -1)
            for partition, flow in self._flows.items()
            if flow.feed.applied_offset is not None
        }
        if offsets:
            consumer.commit_async(offsets)

    def _come(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """Make feeds for partitions that are ours now. Nothing is fetched until their readers say from where."""
        feeds = [KafkaPartition(place.partition, self) for place in partitions]
        for place, feed in zip(partitions, feeds, strict=True):
            consumer.pause(place)
            self._flows[place.partition] = _Flow(feed)

        def tell() -> None:
            for feed in feeds:
                self._assigned(feed.partition, feed)

        self._loop.call_soon_threadsafe(tell)

    def _go(self, partitions: Sequence[int]) -> None:
        """Have the readers of partitions stop, and wait for that, a while."""
        gone = [one for one in partitions if self._flows.pop(one, None) is not None]
        if not gone:
            return

        async def stop_all() -> None:
            await asyncio.gather(*[self._revoked(one) for one in gone])

        try:
            asyncio.run_coroutine_threadsafe(stop_all(), self._loop).result(REVOKE_WAIT_S)
        except WaitTimeout:
            # Whoever gets the partition is safe all the same: views compare their position when they are written.
            log.warning("a partition was given away while its last batch was under way")

    def _close(self, consumer: Any) -> None:
        try:
            self._commit(consumer)
            consumer.close(autocommit=False, timeout_ms=int(CONNECT_S * 1000))
        except Exception as error:  # noqa: BLE001  the session ends by itself then
            log.info("the consumer could not take its leave: %s", type(error).__name__)
        self._go(list(self._flows))
        while not self._asked.empty():
            self._asked.get()


class _Flow:
    """What the thread knows of a partition. The feed counts what was dropped, the thread what was handed over."""

    __slots__ = ("begun", "feed", "paused", "posted", "posted_bytes", "round")

    def __init__(self, feed: KafkaPartition) -> None:
        self.feed = feed
        self.begun = self.paused = False
        self.posted = self.posted_bytes = self.round = 0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Told of partitions that come and go, by the consumer's own thread."""

    def __init__(self, source: KafkaSource, consumer: Any) -> None:
        self._source = source
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._source._come(self._consumer, sorted(assigned))  # noqa: SLF001  one class in two parts

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._source._go([place.partition for place in revoked])  # noqa: SLF001


def _read(record: Any) -> EventRecord | HeadMarker | None:
    try:
        return read_record(record.key, record.value, record.headers)
    except MalformedRecord:
        return None
