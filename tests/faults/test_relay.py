"""The relay under faults: killed, paused, doubled, cut off from its database. Kafka gives the log, exactly.

Exactly means: a reader of each partition is given every event of it once, in order, bit for bit (`refute`).
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import Self

import psycopg
import pytest

from lrs.appending import AppendRequest, NewEvent
from lrs.kafka_log import KafkaLog
from lrs.kafka_topics import create
from lrs.postgres_recorder import PostgresLogRecorder, open_datastore
from lrs.relay import Relay
from lrs.relay_store import RelayStore
from schemas.events import STATEMENT_RECORDED
from tests.copied_log import fill, logged, records, refute, relay_process, relayed, wait_until

PARTITIONS = 4
SEED = 20_260_907
KILLS = 5


class Load:
    """Appends events as long as the block lasts, as a server does; some of the same people again and again."""

    def __init__(self, database: str, seed: int = SEED) -> None:
        self._database = database
        self._chance = random.Random(seed)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._append, name="load")
        self.appended = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(60)

    def _append(self) -> None:
        people = [self._chance.randbytes(16) for _ in range(50)]
        recorder = PostgresLogRecorder(open_datastore(self._database))
        while not self._ends.is_set():
            events = [
                NewEvent(
                    os.urandom(16), 1, STATEMENT_RECORDED, self._chance.choice(people), self._chance.randbytes(600)
                )
                for _ in range(self._chance.randint(1, 40))
            ]
            recorder.write([AppendRequest(tuple(events))])
            self.appended += len(events)
            self._ends.wait(0.01)
        recorder.datastore.close()


@pytest.mark.timeout(300)
async def test_after_kills_under_load_kafka_has_the_log_exactly(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 3_000)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    chance = random.Random(SEED)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay, Load(database) as load:
        for _ in range(KILLS):
            begun = relayed(database)
            relay.start()
            goal = begun + chance.randint(1, 400)
            await asyncio.to_thread(wait_until, lambda goal=goal: relayed(database) >= goal)
            relay.kill()
        assert load.appended
        relay.start()
        load.__exit__()
        last = logged(database)[-1].position
        await asyncio.to_thread(wait_until, lambda: relayed(database) == last)
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []
    sent = sum(len([r for r in found if r.key is not None]) for found in records(kafka.bootstrap).values())
    assert sent >= last


class WithoutLease(RelayStore):
    """A relay that believes it has the lease: the worst that a lease can do."""

    def take_lease(self) -> bool:
        return True


@pytest.mark.timeout(300)
async def test_two_relays_that_both_believe_they_are_the_one_change_nothing_for_a_reader(postgres_url, kafka):
    database = postgres_url()
    fill(database, 4_000)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    relays = [
        Relay(lambda: WithoutLease(database), lambda: KafkaLog(kafka.bootstrap), partitions=PARTITIONS)
        for _ in range(2)
    ]
    threads = [threading.Thread(target=relay.run, name="relay") for relay in relays]
    with Load(database):
        for thread in threads:
            thread.start()
        await asyncio.to_thread(wait_until, lambda: relayed(database) >= 4_500)
    last = logged(database)[-1].position
    await asyncio.to_thread(wait_until, lambda: relayed(database) == last)
    for relay in relays:
        relay.stop()
    for thread in threads:
        await asyncio.to_thread(thread.join, 40)
    assert not any(thread.is_alive() for thread in threads)
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []
    sent = sum(len([r for r in found if r.key is not None]) for found in records(kafka.bootstrap).values())
    assert sent > last, "both of them sent"


@pytest.mark.timeout(300)
async def test_a_relay_that_was_paused_and_wakes_beside_its_successor_only_repeats(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 6_000)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with (
        relay_process(tmp_path / "first", database, kafka.bootstrap) as first,
        relay_process(tmp_path / "second", database, kafka.bootstrap) as second,
    ):
        first.start()
        await asyncio.to_thread(wait_until, lambda: relayed(database) > 0)
        first.pause()
        reached = relayed(database)
        assert reached < 6_000, "it was paused in the middle"
        second.start()
        # Its session at the database ends because it is silent; then the lease is free.
        await asyncio.to_thread(wait_until, lambda: relayed(database) == 6_000)
        assert "standing by" in second.said()
        with Load(database) as load:
            first.wake()
            await asyncio.to_thread(wait_until, lambda: load.appended > 500)
        last = logged(database)[-1].position
        await asyncio.to_thread(wait_until, lambda: relayed(database) == last)
        assert second.stop() == 0
        assert first.stop() == 0
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []


@pytest.mark.timeout(120)
async def test_a_database_that_loses_the_relays_connection_gets_it_again(postgres_url, postgres, kafka, tmp_path):
    database = postgres_url()
    fill(database, 100)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        await asyncio.to_thread(wait_until, lambda: relayed(database) == 100)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'griffel relay' AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        fill(database, 100, seed=2)
        await asyncio.to_thread(wait_until, lambda: relayed(database) == 200)
        assert relay.stop() == 0
        assert "does not answer" in relay.said()
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []
