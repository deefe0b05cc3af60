"""Each part of a cluster fails under load, at a moment that a seed chooses; afterwards nothing is lost, nothing twice.

By default all of them come in turn, once, to one cluster. GRIFFEL_FAULT_ROUNDS asks for so many rounds of each, every
fault with a cluster of its own and a check after each round; GRIFFEL_FAULT_SEED for those of a seed that a run has
printed, GRIFFEL_FAULT_OUTAGE_S for a longer outage of Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import without
from tests.copied_log import relayed, wait_until
from tests.faults import workload
from tests.faults.deployment import Deployment, Program
from tests.faults.rounds import ASKED, OUTAGE_S, ROUNDS, SEEDS
from tests.faults.workload import CoursePosts, Load
from tests.kafka_services import Kafka
from tests.services import Postgres, ServiceMissing

POSTS_BEFORE = (20, 80) if ASKED else (10, 30)
POSTS_AFTER = 40 if ASKED else 20
PAUSE_S = 0.1 if ASKED else 0.3
THIN_PAUSE_S = 0.6
AWAY_S = (0.0, 2.0)
TAKEN_OVER_BOUND_S = 90
ROUND_BOUND_S = 240

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + ROUNDS * (ROUND_BOUND_S + OUTAGE_S))]

Fault = Callable[[Deployment, Load, random.Random], Awaitable[None]]


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Postgres, Kafka]]:
    """A PostgreSQL and a Kafka with three brokers, which these tests may kill."""
    try:
        postgres, kafka = Postgres(), Kafka(3)
    except ServiceMissing as reason:
        without(reason)
    try:
        postgres.start()
        kafka.start()
        yield postgres, kafka
    finally:
        kafka.stop()
        postgres.stop()


@pytest.fixture
def cluster(services: tuple[Postgres, Kafka], tmp_path: Path) -> Iterator[Deployment]:
    """A new installation."""
    postgres, kafka = services
    kafka.delete_topics()
    made = Deployment(tmp_path, postgres, kafka)
    try:
        yield made
        made.close()
    finally:
        made.kill()


async def a_server_is_killed(cluster: Deployment, load: Load, chance: random.Random) -> None:
    server = chance.choice(cluster.servers)
    writers = workload.writers(server) if chance.random() < 0.5 else []
    await asyncio.to_thread(server.kill)
    for writer in writers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(writer, signal.SIGKILL)
    await load.more(chance.randint(1, POSTS_AFTER))
    await asyncio.to_thread(server.start)


async def kill_and_start(program: Program, load: Load, chance: random.Random) -> None:
    await asyncio.to_thread(program.kill)
    await load.more(chance.randint(1, POSTS_AFTER))
    program.start()
    await asyncio.to_thread(program.await_ready)


async def the_relay_is_killed(cluster: Deployment, load: Load, chance: random.Random) -> None:
    await kill_and_start(cluster.relay, load, chance)


async def a_consumer_is_killed(cluster: Deployment, load: Load, chance: random.Random) -> None:
    await kill_and_start(chance.choice(cluster.consumers), load, chance)


async def postgresql_is_killed(cluster: Deployment, load: Load, chance: random.Random) -> None:
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(chance.uniform(*AWAY_S))  # how long it is away is what varies
    await asyncio.to_thread(cluster.postgres.start)
    for program in cluster.programs:
        await asyncio.to_thread(program.await_ready)


async def a_broker_is_killed(cluster: Deployment, load: Load, chance: random.Random) -> None:
    load.pause_s = THIN_PAUSE_S
    broker = chance.choice(cluster.kafka.brokers)
    await asyncio.to_thread(broker.kill)
    await load.more(POSTS_AFTER)
    head = workload.log_positions(cluster.first)[1]
    await until(lambda: relayed(cluster.first.database_url) >= head)
    broker.launch()
    await asyncio.to_thread(cluster.kafka.wait, 3)


async def kafka_is_away(cluster: Deployment, load: Load, chance: random.Random) -> None:
    """Every broker is stopped, or killed, for OUTAGE_S; no post is refused for that."""
    load.pause_s = THIN_PAUSE_S
    await asyncio.to_thread(cluster.kafka.kill if chance.random() < 0.5 else cluster.kafka.halt)
    refused = load.refused
    begun = relayed(cluster.first.database_url)
    ends = time.monotonic() + OUTAGE_S
    while time.monotonic() < ends:
        await load.more(1)
    assert load.refused == refused, "posts were refused because Kafka was away"
    assert relayed(cluster.first.database_url) == begun
    assert workload.log_positions(cluster.first)[1] > begun
    await asyncio.to_thread(cluster.kafka.start)
    for program in cluster.programs:
        await asyncio.to_thread(program.await_ready)


async def a_consumer_sleeps_past_its_session(cluster: Deployment, load: Load, chance: random.Random) -> None:
    """The others get its partitions; then it wakes and does not know."""
    load.pause_s = THIN_PAUSE_S
    sleeper = chance.choice(cluster.consumers)
    sleeper.pause()
    await load.more(POSTS_AFTER)
    head = workload.log_positions(cluster.first)[1]
    await until(lambda: min(cluster.reached()) >= head, TAKEN_OVER_BOUND_S)
    sleeper.wake()
    await asyncio.to_thread(sleeper.await_ready)


async def until(fact: Callable[[], bool], bound_s: float = TAKEN_OVER_BOUND_S) -> None:
    await asyncio.to_thread(wait_until, fact, bound_s)


FAULTS: tuple[Fault, ...] = (
    a_server_is_killed,
    the_relay_is_killed,
    a_consumer_is_killed,
    postgresql_is_killed,
    a_broker_is_killed,
    kafka_is_away,
    a_consumer_sleeps_past_its_session,
)


STORIES = [(fault,) for fault in FAULTS] if ASKED else [FAULTS]


def name_of(story: Sequence[Fault]) -> str:
    return story[0].__name__ if len(story) == 1 else "one_fault_comes_after_the_other"


@pytest.mark.parametrize("story", STORIES, ids=name_of)
async def test_nothing_is_lost_and_nothing_twice_when(
    story: Sequence[Fault], cluster: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in SEEDS:
        chance = random.Random(f"{seed} {name_of(story)}")
        posts = CoursePosts(f"{seed} {name_of(story)}")
        cluster.rounds.append(posts)
        began = time.monotonic()
        async with Load(cluster.servers, posts) as load:
            for fault in story:
                load.pause_s = PAUSE_S
                await load.more(chance.randint(*POSTS_BEFORE))
                await fault(cluster, load, chance)
            await load.more(POSTS_AFTER)
        loaded = time.monotonic()
        wrong = await cluster.refute()
        assert wrong == [], f"seed {seed}\n{cluster.said()}"
        with capsys.disabled():
            spent = f"load {loaded - began:.0f} s, check {time.monotonic() - loaded:.0f} s"
            print(f"  {name_of(story)}, seed {seed}: {cluster.counts}, {load.refused} refusals; {spent}")
