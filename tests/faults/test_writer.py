"""The writer dies, or stops for a while, alone: the server says so, goes on reading, and recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from lrs.writer_process import WRITER_SILENT_S
from tests.faults import workload
from tests.faults.workload import Post, Posts
from tests.services import Griffel

SEED = 20_261_103
KILLS = 12
POSTS_BETWEEN_KILLS = 40
RECOVERY_BOUND_S = 20
AT_ONCE_S = 5
POLL_S = 0.02

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(fresh_lrs: Griffel) -> Griffel:
    """A server of this test's own, whose writer can be found."""
    if not workload.writers(fresh_lrs):
        pytest.skip("which process is the writer is asked of /proc")
    return fresh_lrs


def kill_writers(server: Griffel) -> int:
    killed = workload.writers(server)
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(killed)


async def until_answered(client: aiohttp.ClientSession, server: Griffel, post: Post) -> None:
    """What a client does: on 503 wait as told (at most a little, here), then repeat with the same ids."""
    ends = time.monotonic() + RECOVERY_BOUND_S
    while not post.answered:
        headers = await workload.send(client, server, post)
        if post.answered:
            return
        assert post.statuses[-1] == 503, post.statuses
        assert 1 <= int(headers["Retry-After"]) <= 30
        assert time.monotonic() < ends, f"no recovery within {RECOVERY_BOUND_S} s: {post.statuses}"
        await asyncio.sleep(POLL_S)


@pytest.mark.slow
async def test_after_kills_of_the_writer_each_answered_statement_is_there_once(server):
    posts = Posts(f"{SEED} {server.mode}")
    chance = random.Random(SEED)
    answered = kills = 0
    next_kill = POSTS_BETWEEN_KILLS
    assert server.process is not None
    process = server.process.pid

    async def post_on(client: aiohttp.ClientSession) -> None:
        nonlocal answered, kills, next_kill
        while kills < KILLS or answered < next_kill:
            await until_answered(client, server, posts.make())
            answered += 1
            if answered >= next_kill and kills < KILLS:
                next_kill = answered + chance.randint(1, 2 * POSTS_BETWEEN_KILLS)
                kills += kill_writers(server)

    async with workload.session(server) as client:
        await asyncio.gather(*[post_on(client) for _ in range(workload.CLIENTS)])
        found = await workload.stored(client, server, posts.registration)
        assert workload.refute(posts.made, found) == [], f"seed {SEED}"
        assert await workload.lost_attachments(client, server, posts.made) == []
    assert [post.statuses for post in posts.made if not post.answered or post.broken] == []
    assert any(503 in post.statuses for post in posts.made), "the kills hit requests that were under way"
    assert server.process.pid == process
    assert server.process.poll() is None
    positions, head = workload.log_positions(server)
    assert positions == list(range(1, head + 1))


@contextlib.asynccontextmanager
async def no_writer(server: Griffel) -> AsyncIterator[None]:
    """Kill the writer, and each that takes its place, until the block ends."""

    async def keep_killing() -> None:
        while True:
            kill_writers(server)
            await asyncio.sleep(POLL_S)

    killing = asyncio.create_task(keep_killing())
    try:
        yield
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing


async def test_without_a_writer_posts_are_503_at_once_and_reading_goes_on(server):
    posts = Posts(f"{SEED} without a writer, {server.mode}")
    before, while_gone = posts.make(), [posts.make() for _ in range(10)]
    place = {"activityId": "https://school.example/a", "agent": '{"mbox":"mailto:ann@school.example"}', "stateId": "a"}
    async with workload.session(server) as client:
        await until_answered(client, server, before)
        async with no_writer(server):
            await until_status(client, f"{server.base}/health/ready", 503)
            async with asyncio.timeout(AT_ONCE_S):
                for post in while_gone:
                    headers = await workload.send(client, server, post)
                    assert post.statuses == [503]
                    assert int(headers["Retry-After"]) >= 1
                async with client.put(f"{server.url}/activities/state", params=place, json={"a": 1}) as response:
                    assert response.status == 503
                    assert int(response.headers["Retry-After"]) >= 1
                async with client.get(f"{server.base}/health/live") as response:
                    assert response.status == 200
                async with client.get(f"{server.url}/statements", params={"statementId": before.ids[0]}) as response:
                    assert response.status == 200
                    assert response.headers["X-Experience-API-Consistent-Through"]
                assert workload.refute([before], await workload.stored(client, server, posts.registration)) == []
        await until_status(client, f"{server.base}/health/ready", 200)
        for post in while_gone:
            await until_answered(client, server, post)
        assert workload.refute(posts.made, await workload.stored(client, server, posts.registration)) == []


def kill_at_birth(server: Griffel, births: int) -> int:
    """Kill writers the moment they exist, before they can read or say anything; give how many it came to."""
    killed: set[int] = set()
    ends = time.monotonic() + RECOVERY_BOUND_S
    while len(killed) < births and time.monotonic() < ends:
        for pid in workload.writers(server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    return len(killed)


async def test_writers_that_die_at_birth_are_started_again(server):
    posts = Posts(f"{SEED} at birth, {server.mode}")
    async with workload.session(server) as client:
        killed = await asyncio.to_thread(kill_at_birth, server, 5)
        assert killed == 5, "nobody starts a writer any more"
        await until_answered(client, server, posts.make())
        await until_status(client, f"{server.base}/health/ready", 200)


async def until_status(client: aiohttp.ClientSession, url: str, status: int) -> None:
    async with asyncio.timeout(RECOVERY_BOUND_S):
        while True:
            async with client.get(url) as response:
                if response.status == status:
                    return
            await asyncio.sleep(POLL_S)


@contextlib.contextmanager
def hanging_writer(server: Griffel) -> Iterator[None]:
    """The writer is there and does nothing, as when a disk or a database hangs."""
    (writer,) = workload.writers(server)
    os.kill(writer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer, signal.SIGCONT)


async def test_while_the_writer_hangs_reading_goes_on(server):
    posts = Posts(f"{SEED} hanging writer, {server.mode}")
    async with workload.session(server) as client:
        await until_answered(client, server, before := posts.make())
        with hanging_writer(server):
            waiting = asyncio.create_task(workload.send(client, server, posts.make()))
            await until_status(client, f"{server.base}/health/ready", 503)
            async with asyncio.timeout(AT_ONCE_S):
                async with client.get(f"{server.url}/statements", params={"statementId": before.ids[0]}) as response:
                    assert response.status == 200
                assert workload.refute([before], await workload.stored(client, server, posts.registration)) == []
                async with client.post(f"{server.url}/statements", json={}) as response:
                    assert response.status == 400
        await waiting
        assert [post.statuses for post in posts.made] == [[200], [200]]
        await until_status(client, f"{server.base}/health/ready", 200)
        assert workload.refute(posts.made, await workload.stored(client, server, posts.registration)) == []


@pytest.mark.slow
@pytest.mark.before_storage
async def test_a_writer_that_goes_on_hanging_is_replaced_and_what_waited_is_503(server):
    posts = Posts(f"{SEED} hung for good, {server.mode}")
    async with workload.session(server) as client:
        await until_answered(client, server, posts.make())
        (writer,) = workload.writers(server)
        os.kill(writer, signal.SIGSTOP)
        hung = posts.make()
        body, kind = hung.body()
        timeout = aiohttp.ClientTimeout(total=2 * WRITER_SILENT_S)
        url, headers = f"{server.url}/statements", {"Content-Type": kind}
        async with client.post(url, data=body, headers=headers, timeout=timeout) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
        await until_answered(client, server, hung)
        assert workload.writers(server) != [writer]
        assert workload.refute(posts.made, await workload.stored(client, server, posts.registration)) == []


async def test_a_full_queue_is_refused_at_once_and_what_waits_in_it_is_written(server):
    posts = Posts(f"{SEED} full queue, {server.mode}", defining=False)
    async with workload.session(server) as client:
        # With every learner's key there, nothing but the writer is waited for.
        for _ in range(10):
            await until_answered(client, server, posts.batch(250))
        many = [posts.batch(250) for _ in range(60)]
        sending: list[asyncio.Task[object]] = []
        with hanging_writer(server):
            sending += [asyncio.create_task(workload.send(client, server, post)) for post in many]
            await first_refused(many)
        await asyncio.gather(*sending)
        assert {status for post in many for status in post.statuses} == {200, 503}
        accepted = [post for post in posts.made if post.answered]
        found = await workload.stored(client, server, posts.registration)
        assert workload.refute(posts.made, found) == []
        assert len(found) == sum(len(post.ids) for post in accepted), "what was refused was stored"
        for post in many:
            await until_answered(client, server, post)
        assert workload.refute(posts.made, await workload.stored(client, server, posts.registration)) == []


async def first_refused(posts: list[Post]) -> None:
    """Wait until one of the posts is answered: 503, because nothing is being written."""
    async with asyncio.timeout(RECOVERY_BOUND_S):
        while True:
            statuses = {status for post in posts for status in post.statuses}
            if statuses:
                break
            await asyncio.sleep(POLL_S)
    assert statuses == {503}
