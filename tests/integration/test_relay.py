"""The relay over a real log and a real Kafka: what it copies, when it refuses, how it ends, who reads it."""

from __future__ import annotations

import asyncio
import json

import pytest
import requests

from consumers.kafka_feed import BUFFER_EVENTS_MAX, KafkaSource
from consumers.kafka_partition import KafkaPartition
from lrs.kafka_topics import create
from lrs.relay_store import RelayStore, read_progress
from schemas.records import EventRecord, HeadMarker, read_record
from schemas.topics import partition_of
from tests.benchmarks.statements import statements
from tests.copied_log import fill, logged, records, refute, relay_process, relayed, source_of, wait_until

PARTITIONS = 4


def test_a_log_of_real_statements_is_on_kafka_exactly(make_lrs, kafka, tmp_path):
    server = make_lrs("cluster").start()
    server.credential("all")
    made = statements(60)
    group = {
        **made[0],
        "id": "c1f1b0f6-7f6e-4a52-9d0b-0d6a9f0f4f01",
        "actor": {"objectType": "Group", "member": [made[1]["actor"], made[2]["actor"]]},
    }
    voiding = {
        "actor": made[0]["actor"],
        "verb": {"id": "http://adlnet.gov/expapi/verbs/voided"},
        "object": {"objectType": "StatementRef", "id": made[3]["id"]},
    }
    for batch in (made, [group], [voiding]):
        answer = requests.post(f"{server.url}/statements", json=batch, headers=server.headers(), timeout=30)
        assert answer.status_code == 200, answer.text
    with relay_process(tmp_path / "relay", server.database_url, kafka.bootstrap) as relay:
        said = relay.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
        assert said.returncode == 0, said.stderr
        relay.start()
        events = logged(server.database_url)
        wait_until(lambda: relayed(server.database_url) == events[-1].position)
        assert relay.stop() == 0
    server.stop()
    assert {"statement_recorded", "voiding", "statement_voided"} <= {one.topic for one in events}

    incarnation = incarnation_of(server.database_url)
    on_kafka = records(kafka.bootstrap)
    copied = []
    for partition, found in on_kafka.items():
        before = 0
        for record in found:
            headers = dict(record.headers)
            assert headers["ce_specversion"] == b"1.0"
            assert headers["ce_source"] == b"urn:griffel:log:" + incarnation.hex().encode()
            one = read_record(record.key, record.value, record.headers)
            assert one.incarnation == incarnation
            if isinstance(one, HeadMarker):
                assert record.key is None
                assert record.value == b""
                continue
            assert one.prev == before
            assert headers["ce_id"] == headers["position"] == str(one.position).encode()
            assert headers["ce_type"] == b"griffel." + one.topic.encode()
            assert partition_of(one.record_key, PARTITIONS) == partition
            assert record.timestamp == one.stored_us // 1000
            before = one.position
            copied.append(one)
    assert sorted(one[:7] for one in copied) == [tuple(one) for one in events]
    last = [[read_record(r.key, r.value, r.headers) for r in found][-1] for found in on_kafka.values()]
    assert [one.through for one in last if isinstance(one, HeadMarker)] == [events[-1].position] * PARTITIONS


def incarnation_of(database: str) -> bytes:
    store = RelayStore(database)
    try:
        return store.place(PARTITIONS).incarnation
    finally:
        store.close()


def test_a_relay_without_its_topic_says_what_to_type(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        said = relay.command("relay")
        assert said.returncode == 1
        assert "griffel topics create" in said.stderr
        assert relay.command("topics", "check").returncode == 1


def test_a_relay_in_embedded_mode_says_that_there_is_none(tmp_path):
    with relay_process(tmp_path, "", "127.0.0.1:1") as relay:
        said = relay.command("relay", "--mode", "embedded")
        assert said.returncode == 1
        assert "embedded mode has no relay" in said.stderr


def test_another_number_of_partitions_is_refused(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 20)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        create(kafka.bootstrap, partitions=2, replication=1, in_sync_min=1)
        relay.start()
        wait_until(lambda: relayed(database) == 20)
        assert relay.stop() == 0
        checked = relay.command("topics", "check", "--json")
        assert checked.returncode == 0, checked.stdout
        kafka.delete_topics()
        create(kafka.bootstrap, partitions=3, replication=1, in_sync_min=1)
        said = relay.command("relay")
        assert said.returncode == 1
        assert "fixed for the life of a log" in said.stderr
        checked = relay.command("topics", "check", "--json")
        assert checked.returncode == 1
        wrong = [one["name"] for one in json.loads(checked.stdout)["findings"] if not one["good"]]
        assert wrong == ["partitions"]


def test_a_relay_that_is_asked_to_stop_finishes_what_is_on_its_way(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 4_000)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) > 0)
        assert relay.stop() == 0
        sent = [read_record(r.key, r.value, r.headers) for found in records(kafka.bootstrap).values() for r in found]
    events = [one for one in sent if isinstance(one, EventRecord)]
    # What is acknowledged and what is stored are the same, and the last marker says so.
    assert sorted(one.position for one in events) == list(range(1, relayed(database) + 1))
    assert max(one.through for one in sent if isinstance(one, HeadMarker)) == relayed(database)
    assert read_progress(database).partitions == PARTITIONS


async def test_processes_of_one_group_share_partitions_and_take_over_those_of_one_that_leaves(
    postgres_url, kafka, tmp_path
):
    database = postgres_url()
    fill(database, 400)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) == 400)
    first, second = Member(kafka.bootstrap, "shared"), Member(kafka.bootstrap, "shared")
    await first.source.start()
    try:
        await first.has(lambda mine: len(mine) == PARTITIONS)
        applied = await first.apply()
        await second.source.start()
        try:
            await second.has(lambda mine: len(mine) == PARTITIONS // 2)
            await first.has(lambda mine: len(mine) == PARTITIONS - len(second.feeds))
            assert not first.feeds.keys() & second.feeds.keys()
            assert sorted(first.given_back) == sorted(second.feeds)
            # Whoever takes a partition over goes on where its view stands.
            for partition, feed in second.feeds.items():
                assert list(await feed.read(applied[partition], 10)) == []
        finally:
            await second.source.stop()
        await first.has(lambda mine: len(mine) == PARTITIONS)
    finally:
        await first.source.stop()
    # A view that was lost begins at the beginning, whatever its group has come to, and though nothing new comes.
    third = Member(kafka.bootstrap, "shared")
    await third.source.start()
    try:
        await third.has(lambda mine: len(mine) == PARTITIONS)
        assert await third.apply() == applied
    finally:
        await third.source.stop()
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []


class Member:
    """A process of a consumer group, as far as it concerns its partitions."""

    def __init__(self, kafka: str, group: str) -> None:
        self.feeds: dict[int, KafkaPartition] = {}
        self.given_back: list[int] = []
        self._changed = asyncio.Event()
        self.source = KafkaSource(
            kafka.split(","), f"griffel.test-{group}", assigned=self._assigned, revoked=self._revoked
        )

    def _assigned(self, partition: int, feed: KafkaPartition) -> None:
        self.feeds[partition] = feed
        self._changed.set()

    async def _revoked(self, partition: int) -> None:
        del self.feeds[partition]
        self.given_back.append(partition)
        self._changed.set()

    async def has(self, fact) -> None:
        async with asyncio.timeout(60):
            while not fact(self.feeds):
                self._changed.clear()
                await self._changed.wait()

    async def apply(self) -> dict[int, int]:
        """Read everything there is; the position reached in each partition."""
        reached = {}
        for partition, feed in self.feeds.items():
            assert await feed.wait(0, 30)
            after = 0
            while came := await feed.read(after, 100):
                after = came[-1].position
            reached[partition] = after
        return reached


async def test_a_reader_knows_how_far_its_partition_is_even_where_nothing_happens(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 30, people=1)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) == 30)
        assert relay.stop() == 0
    last = logged(database)[-1]
    member = Member(kafka.bootstrap, "alone")
    await member.source.start()
    try:
        await member.has(lambda mine: len(mine) == PARTITIONS)
        for feed in member.feeds.values():
            after = 0
            async with asyncio.timeout(30):
                while feed.through() != (last.position, last.stored_us):
                    came = await feed.read(after, 100)
                    after = came[-1].position if came else after
                    await feed.wait(after, 0.1)
    finally:
        await member.source.stop()


async def test_a_large_event_comes_as_it_is_among_small_ones(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 5)
    fill(database, 1, size=24 * 1024 * 1024)
    fill(database, 5, seed=2)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) == 11)
    assert await refute(database, kafka.bootstrap, PARTITIONS) == []


async def test_partitions_that_wait_long_for_their_reader_come_whole(postgres_url, kafka, tmp_path):
    """Of each partition more is fetched than is held ready; then one is read to its end, and then the others."""
    database = postgres_url()
    fill(database, 12_000, size=100)
    create(kafka.bootstrap, partitions=PARTITIONS, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) == 12_000)
        assert relay.stop() == 0
    expected = [partition_of(one.record_key, PARTITIONS) for one in logged(database)]
    async with source_of(kafka.bootstrap) as feeds, asyncio.timeout(60):
        for feed in feeds.values():
            while len(await feed.read(0, 12_000)) < BUFFER_EVENTS_MAX:  # noqa: ASYNC110  waiting would move the feed on
                await asyncio.sleep(0.02)
        for partition, feed in feeds.items():
            after = found = 0
            while found < expected.count(partition):
                came = await feed.read(after, 500)
                after, found = came[-1].position if came else after, found + len(came)
                await feed.wait(after, 0.1)


@pytest.mark.slow
async def test_a_learners_events_are_in_one_partition_in_order(postgres_url, kafka, tmp_path):
    database = postgres_url()
    fill(database, 3_000, people=25)
    create(kafka.bootstrap, partitions=12, replication=1, in_sync_min=1)
    with relay_process(tmp_path, database, kafka.bootstrap) as relay:
        relay.start()
        wait_until(lambda: relayed(database) == 3_000)
    by_learner: dict[bytes, list[tuple[int, int]]] = {}
    for partition, found in records(kafka.bootstrap).items():
        for record in found:
            one = read_record(record.key, record.value, record.headers)
            if isinstance(one, EventRecord):
                by_learner.setdefault(one.record_key, []).append((partition, one.position))
    assert len(by_learner) == 25
    for places in by_learner.values():
        assert len({partition for partition, _ in places}) == 1
        assert places == sorted(places)
