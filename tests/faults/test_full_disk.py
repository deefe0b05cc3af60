"""A disk that is full: posts get a 503 that says which, reading goes on, and with room again so does writing.

Small disks are mounted for it, which takes root on Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import without
from tests.faults import workload
from tests.faults.rounds import ROUNDS, SEEDS
from tests.faults.workload import Load, Posts
from tests.services import Griffel, Postgres, ServiceMissing, running

PLACES = {"log": "the log", "vault": "the key vault", "attachments": "the attachments"}
DISK_BYTES = 96 * 1024 * 1024
POSTGRES_DISK_BYTES = 160 * 1024 * 1024
PIECE_BYTES = 4096
POSTS_BEFORE = (20, 60)
POSTS_AFTER = 60
REFUSALS = 10
LEARNERS = 1_000_000
BOUND_S = 60
POLL_S = 0.02

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120 + 60 * ROUNDS),
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux"
    ),
]


class SmallDisk:
    """A file system with little room, which can be filled to its last byte and emptied again."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)

    def fill(self) -> None:
        """Take all room that is left; what is freed meanwhile, too."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(PIECE_BYTES))

    def make_room(self) -> None:
        self._filler.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=False)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    try:
        disk = SmallDisk(folder, size)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    try:
        yield disk
    finally:
        disk.unmount()


async def put_to_the_test(server: Griffel, disk: SmallDisk, names: tuple[str, ...], seed: str) -> tuple[Posts, int]:
    """Post; fill the disk; see what is said; make room; post on. Fails where it is not as it should be."""
    assert server.process is not None
    process = server.process.pid
    chance = random.Random(seed)
    # Most statements are about somebody new: whoever is known needs no room in the vault.
    posts = Posts(seed, learners=LEARNERS)
    async with Load([server], posts) as load, workload.session(server) as client:
        await load.more(chance.randint(*POSTS_BEFORE))
        async with asyncio.timeout(BOUND_S):
            refused = load.refused
            while load.refused < refused + REFUSALS:
                await asyncio.to_thread(disk.fill)
                async with client.get(f"{server.url}/statements", params={"limit": "10"}) as response:
                    assert response.status == 200
                    assert (await response.json())["statements"]
                await asyncio.sleep(POLL_S)
        disk.make_room()
        await load.more(POSTS_AFTER)
    said = {problem for post in posts.made for problem in post.problems}
    expected = {
        f"urn:griffel:problem:disk-full: the disk of {name} is full; nothing was stored. "
        "Once there is room, writing goes on by itself"
        for name in names
    }
    assert said, "nothing was refused"
    assert said <= expected
    async with workload.session(server) as client:
        found = await workload.stored(client, server, posts.registration)
        assert workload.refute(posts.made, found) == [], seed
        assert await workload.lost_attachments(client, server, posts.made) == [], seed
        async with client.get(f"{server.base}/health/ready") as response:
            assert response.status == 200
    assert server.process.pid == process
    assert server.process.poll() is None
    positions, head = workload.log_positions(server)
    assert positions == list(range(1, head + 1))
    return posts, load.refused


def tell(capsys: pytest.CaptureFixture[str], name: str, seed: int, posts: Posts, refused: int) -> None:
    sent = sum(len(post.ids) for post in posts.made)
    answered = sum(len(post.ids) for post in posts.made if post.answered)
    with capsys.disabled():
        print(f"  disk of {name} full, seed {seed}: {sent} statements sent, {answered} answered, {refused} refusals")


@pytest.mark.parametrize("place", PLACES)
async def test_when_a_disk_is_full_posts_are_503_until_there_is_room_and_nothing_is_lost(
    place: str, make_lrs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server: Griffel = make_lrs("embedded")
    with small_disk(server.data_dir / place, DISK_BYTES) as disk, running(server):
        for seed in SEEDS:
            posts, refused = await put_to_the_test(server, disk, (PLACES[place],), f"{seed} {place}")
            tell(capsys, place, seed, posts, refused)


@contextlib.contextmanager
def postgres_on_a_small_disk() -> Iterator[tuple[Postgres, SmallDisk]]:
    """A PostgreSQL whose tables have little room; its write-ahead log is elsewhere, as without it the server ends."""
    try:
        server = Postgres()
    except ServiceMissing as reason:
        without(reason)
    with small_disk(server.folder / "disk", POSTGRES_DISK_BYTES) as disk:
        if server._account:
            os.chown(disk.folder, server._account.pw_uid, server._account.pw_gid)
        server._data = disk.folder / "data"
        server._initialise()
        moved = server.folder / "wal"
        shutil.move(server._data / "pg_wal", moved)
        (server._data / "pg_wal").symlink_to(moved)
        if server._account:
            for path in (moved, *moved.rglob("*")):
                os.chown(path, server._account.pw_uid, server._account.pw_gid)
        server.start()
        try:
            yield server, disk
        finally:
            server.stop()
    # What was mounted inside it kept its folder from being removed.
    shutil.rmtree(server.folder, ignore_errors=True)


async def test_when_postgresqls_disk_is_full_posts_are_503_until_there_is_room_and_nothing_is_lost(
    make_lrs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgres_on_a_small_disk() as (postgres, disk):
        addresses = [postgres.create_database(name) for name in ("griffel_events", "griffel_keys")]
        with running(make_lrs("cluster", database_url=addresses[0], keys_url=addresses[1])) as server:
            for seed in SEEDS:
                posts, refused = await put_to_the_test(server, disk, tuple(PLACES.values()), f"{seed} postgresql")
                tell(capsys, "PostgreSQL", seed, posts, refused)
