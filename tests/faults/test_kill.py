"""kill -9 of the server in the middle of a load: what was answered is there once, and nothing is half there."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import aiohttp
import pytest

from tests.faults import workload
from tests.faults.rounds import ASKED
from tests.faults.workload import Post, Posts
from tests.services import Griffel

KILLS = 20 if ASKED else 6
POSTS_MIN, POSTS_MAX = workload.CLIENTS + 4, 120
SEED = 20_260_907


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_after_many_kills_each_answered_statement_is_there_once_and_no_batch_is_half_there(mode, make_lrs):
    server = make_lrs(mode)
    server.start()
    server.credential("all")
    chance = random.Random(f"{SEED} {mode}")
    rounds: list[Posts] = []
    for number in range(KILLS):
        posts = Posts(f"{SEED} {mode} {number}")
        rounds.append(posts)
        # Alone, the writer finishes what it has; together with it, a transaction is cut off where it was.
        await kill_under_load(server, posts, chance.randint(POSTS_MIN, POSTS_MAX), writer_too=number % 2 == 1)
        assert sum(post.answered for post in posts.made) >= POSTS_MIN, f"round {number} was no load"
        server.start()
        async with workload.session(server) as client:
            found = await workload.stored(client, server, posts.registration)
            assert workload.refute(posts.made, found) == [], f"round {number}, seed {SEED}"
            assert await workload.lost_attachments(client, server, posts.made) == [], f"round {number}, seed {SEED}"
            await repeat_unknown(client, server, posts.made)
    unknown = [post for posts in rounds for post in posts.made if post.broken]
    assert len(unknown) > KILLS, "the kills hit requests that were under way"
    async with workload.session(server) as client:
        for number, posts in enumerate(rounds):
            found = await workload.stored(client, server, posts.registration)
            assert workload.refute(posts.made, found) == [], f"round {number} after all rounds, seed {SEED}"
    assert server.stop() == 0
    positions, head = workload.log_positions(server)
    assert positions == list(range(1, len(positions) + 1))
    assert head == len(positions) >= sum(len(post.ids) for posts in rounds for post in posts.made)


async def kill_under_load(server: Griffel, posts: Posts, after: int, *, writer_too: bool) -> None:
    """Post from many clients at once, and kill -9 the server when so many posts are answered."""

    def when_answered(count: int) -> None:
        if count == after and server.process is not None:
            children = workload.writers(server) if writer_too else []
            server.process.kill()
            for child in children:
                os.kill(child, signal.SIGKILL)

    async with asyncio.timeout(60):
        await workload.load_until_gone(server, posts, when_answered)
    server.kill()


async def repeat_unknown(client: aiohttp.ClientSession, server: Griffel, posts: list[Post]) -> None:
    """A client that does not know what became of its post repeats it, with the same ids."""
    for post in posts:
        if post.broken and not post.answered:
            await workload.send(client, server, post)
            assert post.answered, f"a repetition was answered {post.statuses}"
