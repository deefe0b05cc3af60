"""The log as it is on Kafka, a feed for each partition. Kafka's consumer is used here and in kafka_records.py alone.

The client blocks, so it lives in a thread of its own, which hands records over to the event loop. Partitions come and
go: a consumer group deals them out over the processes that belong to it.

What a feed gives is proved by positions (consumers/kafka_partition.py). Committed offsets are hints where to begin.
They follow what the reader has applied, never run ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as WaitTimeout
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError

from consumers.kafka_partition import FeedGap, KafkaPartition
from schemas.envelope import MalformedRecord
from schemas.records import EventRecord, HeadMarker, read_record
from schemas.topics import EVENTS

BUFFER_EVENTS_MAX = 2_000
"""Records of a partition that are held ready; over it, no more of it are fetched."""
BUFFER_BYTES_MAX = 8 * 1024 * 1024
POLL_S = 0.1
POLL_RECORDS_MAX = 1_000_000
"""More than any fetch can hold, so that each is taken whole: one taken in part when its partition was paused is
never given to its end by kafka-python (3.0.12) once the fetch that it looks at by then has run out."""
FETCH_BYTES_MAX = 1024 * 1024
"""From one partition at once; a single record that is larger still comes."""
COMMIT_S = 5.0
REVOKE_WAIT_S = 15.0
"""How long a rebalance waits for the batch under way of a partition that goes to another process."""
SESSION_S = 30.0
CONNECT_S = 5.0
RETRY_WAIT_S = 0.2
RETRY_WAIT_MAX_S = 5.0
STOP_WAIT_S = 30.0
SINCE_SILENT_S = 10.0
"""How long Kafka may give nothing of what it says that it has."""

log = logging.getLogger("griffel.feed")


class KafkaSource:
    """A consumer in a thread of its own: a feed for each partition that this process has.

    assigned is told of each partition that comes, with its feed; revoked of each that goes, and awaited, at most
    REVOKE_WAIT_S, before another process gets it. Both are called in the event loop. Without a group every partition
    comes, and is read from its beginning, or from the first record whose time (ms) is since_ms or later. security is
    what the client takes for TLS and SASL.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        group: str | None,
        *,
        assigned: Callable[[int, KafkaPartition], None],
        revoked: Callable[[int], Awaitable[None]],
        security: Mapping[str, Any] | None = None,
        since_ms: int = 0,
    ) -> None:
        self._options = {"bootstrap_servers": list(brokers), **(security or {})}
        self._since_ms = since_ms
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
            **self._options,
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
            if self._since_ms:
                _seek_to_time(consumer, partitions, self._since_ms)
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
            place = TopicPartition(EVENTS, feed.partition)
            if self._group is not None and _is_ahead(consumer, place, feed.floor):
                consumer.seek_to_beginning(place)
            consumer.resume(place)

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
            TopicPartition(EVENTS, partition): OffsetAndMetadata(applied[0], str(applied[1]), -1)
            for partition, flow in self._flows.items()
            if (applied := flow.feed.applied) is not None
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


def _is_ahead(consumer: Any, place: TopicPartition, position: int) -> bool:
    """Say whether the group goes on behind events that a view at this position lacks: one that was lost, or restored.

    Without this nothing would tell of them before the partition's next event.
    """
    committed = consumer.committed(place, metadata=True, timeout_ms=int(CONNECT_S * 1000))
    if committed is None or committed.offset == 0:
        return False
    said = committed.metadata or ""
    # Offsets that an operator set say nothing of positions: from the beginning is never wrong.
    return not said.isdecimal() or int(said) > position


def _read(record: Any) -> EventRecord | HeadMarker | None:
    try:
        return read_record(record.key, record.value, record.headers)
    except MalformedRecord:
        return None


# ── what lies there, looked at once ───────────────────────────────────────────────────────────────────────────────────


class KafkaSilent(Exception):
    """Kafka does not answer."""


def read_since(
    brokers: Sequence[str],
    security: Mapping[str, Any],
    since_ms: int,
    seen: Callable[[list[EventRecord | HeadMarker]], bool],
) -> None:
    """Show what is on Kafka with a time (ms) at or after one, up to its end as of now, until seen wants no more.

    Repetitions are shown too, and partitions are mixed. Blocks. Raises KafkaSilent; FeedGap for what is no record of
    ours.
    """
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=list(brokers),
            **security,
            client_id="griffel-look",
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            max_poll_records=POLL_RECORDS_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            bootstrap_timeout_ms=int(CONNECT_S * 1000),
            metrics_enabled=False,
        )
    except Exception as error:
        raise KafkaSilent from error
    try:
        _read_since(consumer, since_ms, seen)
    except (KafkaSilent, FeedGap):
        raise
    except KafkaError as error:
        raise KafkaSilent from error
    finally:
        consumer.close(autocommit=False, timeout_ms=int(CONNECT_S * 1000))


def _read_since(consumer: Any, since_ms: int, seen: Callable[[list[EventRecord | HeadMarker]], bool]) -> None:
    places = [TopicPartition(EVENTS, one) for one in sorted(consumer.partitions_for_topic(EVENTS) or ())]
    if not places:
        return
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    _seek_to_time(consumer, places, since_ms)
    silent_s = time.monotonic()
    while any(consumer.position(one) < ends[one] for one in places):
        came = [record for records in consumer.poll(timeout_ms=int(POLL_S * 1000)).values() for record in records]
        if not came:
            if time.monotonic() - silent_s > SINCE_SILENT_S:
                raise KafkaSilent
            continue
        silent_s = time.monotonic()
        found = [one for one in map(_read, came) if one is not None]
        if len(found) < len(came):
            raise FeedGap("a partition holds something that is no record of ours")
        if not seen(found):
            return


def _seek_to_time(consumer: Any, places: Sequence[Any], since_ms: int) -> None:
    """Go to the first record of each partition whose time is at or after one; to the end where there is none."""
    found = consumer.offsets_for_times(dict.fromkeys(places, since_ms))
    ends = consumer.end_offsets(places)
    for place in places:
        at = found.get(place)
        consumer.seek(place, ends[place] if at is None else at.offset)
