"""A log that a relay copies to Kafka, and what reads it there: what several tests stand on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

from consumers.feed import EventFeed, FeedEvent
from consumers.kafka_feed import KafkaSource
from consumers.kafka_partition import KafkaPartition
from lrs import kafka_topics, postgres_recorder
from lrs.appending import AppendRequest, NewEvent
from lrs.event_log import Event
from lrs.kafka_log import KafkaLog
from lrs.postgres_reader import PostgresReader
from lrs.relay import Relay
from lrs.relay_store import RelayStore, read_progress
from schemas.events import STATEMENT_RECORDED
from schemas.topics import EVENTS, partition_of
from tests.services import COMMAND_BOUND_S, ROOT

ASSIGNED_BOUND_S = 30
ARRIVAL_BOUND_S = 60
STOP_BOUND_S = 40
LOOK_S = 0.02
FILL_EVENTS = 500


@contextlib.contextmanager
def running_relay(database: str, kafka: str, partitions: int) -> Iterator[Callable[[FeedEvent], int]]:
    """Make the topic and run a relay in a thread; gives the function from an event to its partition."""
    kafka_topics.create(kafka, partitions=partitions, replication=1, in_sync_min=1)
    relay = Relay(lambda: RelayStore(database), lambda: KafkaLog(kafka), partitions=partitions)
    thread = threading.Thread(target=relay.run, name="relay")
    thread.start()
    try:
        yield lambda one: partition_of(one.record_key, partitions)
    finally:
        relay.stop()
        thread.join(STOP_BOUND_S)
        assert not thread.is_alive(), "the relay did not stop"


@contextlib.asynccontextmanager
async def source_of(kafka: str, group: str | None = None) -> AsyncIterator[dict[int, KafkaPartition]]:
    """Read partitions: all of them without a group, else those that are dealt out; waits for the first."""
    feeds: dict[int, KafkaPartition] = {}
    came = asyncio.Event()

    def assigned(partition: int, feed: KafkaPartition) -> None:
        feeds[partition] = feed
        came.set()

    async def revoked(partition: int) -> None:
        feeds.pop(partition, None)

    source = KafkaSource(kafka.split(","), group, assigned=assigned, revoked=revoked)
    await source.start()
    try:
        await asyncio.wait_for(came.wait(), ASSIGNED_BOUND_S)
        yield feeds
    finally:
        await source.stop()


# ------------------------------------------------------------------------------------------------ a relay as a process


class RelayProcess:
    """`griffel relay` as an operator starts it."""

    def __init__(self, folder: Path, database: str, kafka: str) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GRIFFEL_")},
            "PYTHONPATH": str(ROOT),
            "GRIFFEL_MODE": "cluster",
            "GRIFFEL_DATABASE_URL": database,
            "GRIFFEL_KAFKA": kafka,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.log_path = folder / "relay.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `griffel ARGUMENTS` in the same environment."""
        return subprocess.run(
            [sys.executable, "-m", "lrs", *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_BOUND_S,
        )

    def start(self) -> Self:
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lrs", "relay"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def stop(self) -> int:
        """SIGTERM, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_BOUND_S)
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_BOUND_S)
            self.process = None

    def pause(self) -> None:
        """Stop it as a machine does that is suspended: it does not know."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        return self.log_path.read_text()


@contextlib.contextmanager
def relay_process(folder: Path, database: str, kafka: str) -> Iterator[RelayProcess]:
    relay = RelayProcess(folder, database, kafka)
    try:
        yield relay
    finally:
        relay.kill()


def relayed(database: str) -> int:
    """The position up to which the log is copied."""
    return read_progress(database).position


def wait_until(fact: Callable[[], bool], bound_s: float = ARRIVAL_BOUND_S) -> None:
    """Wait for something that another process brings about."""
    ends = time.monotonic() + bound_s
    while not fact():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(LOOK_S)


# ------------------------------------------------------------------------------------------------- what is in the log


def fill(database: str, count: int, *, seed: int = 1, people: int = 40, size: int = 700) -> None:
    """Append events of several people to a log, straight into its tables."""
    chance = random.Random(seed)
    names = [chance.randbytes(16) for _ in range(people)]
    recorder = postgres_recorder.PostgresLogRecorder(postgres_recorder.open_datastore(database))
    try:
        recorder.create_table()
        for start in range(0, count, FILL_EVENTS):
            events = [
                NewEvent(os.urandom(16), 1, STATEMENT_RECORDED, chance.choice(names), chance.randbytes(size))
                for _ in range(min(FILL_EVENTS, count - start))
            ]
            recorder.write([AppendRequest(tuple(events))])
    finally:
        recorder.datastore.close()


def logged(database: str) -> list[Event]:
    """Every event of a log."""
    reader = PostgresReader(database)
    try:
        return [Event(*row) for row in reader.rows("events_after", 0, 2**62)]
    finally:
        reader.close()


def records(kafka: str) -> dict[int, list[Any]]:
    """Every record on Kafka as it lies there, by partition, in order of offsets."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        places = [TopicPartition(EVENTS, one) for one in sorted(consumer.partitions_for_topic(EVENTS))]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: dict[int, list[Any]] = {one.partition: [] for one in places}
        while any(consumer.position(one) < ends[one] for one in places):
            for place, came in consumer.poll(timeout_ms=200).items():
                found[place.partition] += came
        return found
    finally:
        consumer.close()


async def read_all(feed: EventFeed, upto: int, limit: int = 500) -> list[Any]:
    """Read a feed from its beginning, as a consumer does, until it has an event at or after a position."""
    found: list[Any] = []
    after = 0
    ends = time.monotonic() + ARRIVAL_BOUND_S
    while after < upto:
        assert time.monotonic() < ends, f"nothing came after position {after}"
        came = await feed.read(after, limit)
        if came:
            found += came
            after = came[-1].position
        else:
            await feed.wait(after, 1)
    return found


async def refute(database: str, kafka: str, partitions: int) -> list[str]:
    """What a reader of Kafka would be given that is not exactly the log; nothing when all is well."""
    wrong = []
    events = logged(database)
    async with source_of(kafka) as feeds:
        for partition in range(partitions):
            expected = [one for one in events if partition_of(one.record_key, partitions) == partition]
            found = await read_all(feeds[partition], expected[-1].position) if expected else []
            if [Event(*one[:7]) for one in found] != expected:
                wrong.append(f"partition {partition}: {len(found)} events instead of {len(expected)}")
    return wrong
