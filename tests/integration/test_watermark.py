"""X-Experience-API-Consistent-Through is a true watermark: no statement stored at or before one ever appears later.

50 writers, and a *poller* as a consumer would be: it asks for what was stored since the last header, follows `more`,
and takes the next header; another does so with a filter. Beside them a *prober* takes headers from any answer, looks at
once at everything stored up to there, and at the end looks again: the two must be equal. With two servers each question
goes to the other one than the last.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.services import Griffel

WRITERS = 50
POSTS_EACH = 10
BATCH_STATEMENTS_MAX = 5
PAGE_STATEMENTS = (20, 200)
ROUNDS_MIN = 6
SEED = 20_260_412
LONG_AGO = "1970-01-01T00:00:00.000000Z"
VERB = "http://adlnet.gov/expapi/verbs/experienced"
COURSE = "https://school.example/course"
POLLERS: dict[str, dict[str, str]] = {
    "all": {},
    "by verb and activity": {"verb": VERB, "activity": COURSE, "related_activities": "true"},
}
HEADER = "X-Experience-API-Consistent-Through"

pytestmark = pytest.mark.timeout(180)


@dataclass
class Watch:
    """What is known of one run: posted and polled ids, every header that came with any answer, and what was probed."""

    servers: list[Griffel]
    client: aiohttp.ClientSession
    seed: int
    posted: set[str] = field(default_factory=set)
    polled: dict[str, dict[str, str]] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)
    probes: list[tuple[str, str, set[str]]] = field(default_factory=list)
    polls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POLLERS, 0))
    wrong: list[str] = field(default_factory=list)
    writing: bool = True
    polled_again: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.servers)

    async def get(self, target: str, **query: Any) -> tuple[dict[str, Any], str]:
        """Ask the server whose turn it is; give the answer and its header."""
        async with self.client.get(next(self._turns).base + target, params=query) as response:
            assert response.status == 200, await response.text()
            self.hear(response.headers[HEADER])
            return await response.json(), response.headers[HEADER]

    def hear(self, header: str) -> None:
        self.headers.append(header)
        self.heard.set()

    async def ask(self, **query: Any) -> tuple[list[dict[str, Any]], str]:
        """Every statement that a query leads to, over all its pages, and the header, which is the same on each."""
        page, header = await self.get("/xapi/statements", ascending="true", **query)
        found = page["statements"]
        while page["more"]:
            page, repeated = await self.get(page["more"])
            found += page["statements"]
            if repeated != header:
                self.wrong.append("a later page has another header than the first")
        return found, header

    # ── writers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, number: int) -> None:
        """Post until this writer has posted enough, and the readers have been through enough rounds."""
        chance = random.Random(f"{self.seed} {number}")
        for done in itertools.count():
            if done >= POSTS_EACH:
                if min(*self.polls.values(), len(self.probes)) >= ROUNDS_MIN:
                    return
                await self.next_round()  # or the pollers would never catch up
            server = chance.choice(self.servers)
            batch = [_statement(chance, number) for _ in range(chance.randint(1, BATCH_STATEMENTS_MAX))]
            async with self.client.post(f"{server.url}/statements", json=batch) as response:
                assert response.status == 200, await response.text()
                self.hear(response.headers[HEADER])
            self.posted.update(statement["id"] for statement in batch)

    # ── readers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, name: str) -> None:
        """Read what is new, again and again, until a round that began after the last write was answered."""
        since = LONG_AGO
        polled = self.polled[name] = {}
        last = False
        while not last:
            last = not self.writing
            limit = PAGE_STATEMENTS[self.polls[name] % 2]
            found, header = await self.ask(since=since, limit=limit, **POLLERS[name])
            if any(statement["stored"] <= since for statement in found):
                self.wrong.append(f"{name}: what was stored at or before the header asked since was given again")
            if header < since:
                self.wrong.append(f"{name}: a header went back")
            stored = [statement["stored"] for statement in found]
            if stored != sorted(set(stored)):
                self.wrong.append(f"{name}: statements are not in the order of `stored`, or are there twice")
            polled.update((statement["id"], statement["stored"]) for statement in found)
            self.polls[name] += 1
            self.polled_again.set()
            self.polled_again = asyncio.Event()
            since = header

    async def next_round(self) -> None:
        """Wait until every poller has gone through another round."""
        before = dict(self.polls)
        while any(self.polls[name] == count for name, count in before.items()):
            await self.polled_again.wait()

    async def probe(self) -> None:
        """Hold the newest header of any answer against what was stored up to then (after the last such header), now."""
        since = LONG_AGO
        while self.writing:
            await self.heard.wait()
            self.heard.clear()
            if (until := max(self.headers)) > since:
                found, _ = await self.ask(since=since, until=until, limit=500)
                self.probes.append((since, until, {statement["id"] for statement in found}))
                since = until

    async def finish(self) -> None:
        """Compare what was polled and probed with what is there in the end."""
        found, _ = await self.ask(limit=500)
        everything = {statement["id"]: statement["stored"] for statement in found}
        assert len(found) == len(everything)
        assert len(set(everything.values())) == len(everything), "`stored` is distinct"
        assert everything.keys() == self.posted
        for name, polled in self.polled.items():
            assert everything == polled, f"{name}: {len(everything.keys() - polled.keys())} were never polled"
        for since, until, ids in self.probes:
            now = {one for one, stored in everything.items() if since < stored <= until}
            assert now == ids, f"{len(now - ids)} appeared at or before {until} after it had been promised"
        assert self.wrong == []


def _statement(chance: random.Random, writer: int) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "actor": {"account": {"homePage": "https://school.example", "name": f"writer-{writer}"}},
        "verb": {"id": VERB},
        "context": {"contextActivities": {"grouping": [{"id": COURSE}]}},
        "object": {"id": f"https://school.example/units/{chance.randrange(10)}"},
        "timestamp": "2020-01-01T00:00:00Z",  # `since` is about `stored`
    }


async def watch(servers: list[Griffel], during: Callable[[], Any] | None = None, seed: int = SEED) -> None:
    """Let writers, poller and prober at the servers; `during` is awaited beside them."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=servers[0].headers()) as client:
        one = Watch(servers, client, seed)
        async with asyncio.TaskGroup() as group:
            for name in POLLERS:
                group.create_task(one.poll(name))
            group.create_task(one.probe())
            await asyncio.gather(*[one.write(number) for number in range(WRITERS)], *([during()] if during else []))
            one.writing = False
            one.heard.set()
        await one.finish()


def alike(server: Griffel, tmp_path: Path) -> list[Griffel]:
    """The server and, where a mode can have one, a second that stands beside it."""
    return [server] if server.mode == "embedded" else [server, server.sibling(tmp_path / "sibling").start()]


async def test_a_poller_beside_fifty_writers_misses_nothing_and_sees_nothing_twice(fresh_lrs, tmp_path):
    servers = alike(fresh_lrs, tmp_path)
    try:
        await watch(servers)
    finally:
        for server in servers[1:]:
            server.stop()


# ── clocks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    """The clock of a server's processes, which a test can set. Python programs read it through `time`.

    It stands in a file that the processes look into at each reading: seconds to add to the machine's time.
    """

    PATCH = """
import mmap, os, struct, time
with open(os.environ["TEST_CLOCK"], "rb") as file:
    offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
real_time, real_time_ns = time.time, time.time_ns
time.time = lambda: real_time() + struct.unpack_from("=q", offset)[0]
time.time_ns = lambda: real_time_ns() + struct.unpack_from("=q", offset)[0] * 10**9
"""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "offset"
        self._file.write_bytes(struct.pack("=q", 0))
        (folder / "sitecustomize.py").write_text(self.PATCH)
        self.settings = {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}", "TEST_CLOCK": str(self._file)}

    def set(self, offset_s: int) -> None:
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", offset_s))


@pytest.fixture
def clock(tmp_path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def stepped(make_lrs, clock) -> Iterator[Griffel]:
    """An embedded server under a clock that the test sets."""
    server = make_lrs("embedded", settings=clock.settings)
    server.start()
    server.credential("all")
    yield server
    server.stop()


async def test_a_clock_that_steps_back_under_load_breaks_no_promise(stepped, clock):
    steps = iter([-3600, 900, -7200, -7200 + 1, 0, -60])

    async def step() -> None:
        for offset in steps:
            clock.set(offset)
            await asyncio.sleep(0.3)  # under each time some of the load is to happen

    await watch([stepped], during=step)


async def test_a_clock_that_was_set_back_before_a_restart_breaks_no_promise(stepped, clock):
    await watch([stepped], seed=SEED)
    async with aiohttp.ClientSession(headers=stepped.headers()) as client:
        before = Watch([stepped], client, SEED)
        old, promised = await before.ask(limit=500)
        stepped.kill()
        clock.set(-86_400)
        stepped.start()
        again, after = await before.ask(since=promised)
        assert again == []
        assert after >= promised
        statement = _statement(random.Random(SEED + 1), 0)
        async with client.post(f"{stepped.url}/statements", json=statement) as response:
            assert response.status == 200
        found, _ = await before.ask(since=promised)
        assert [one["id"] for one in found] == [statement["id"]]
        assert len((await before.ask(limit=500))[0]) == len(old) + 1


async def test_servers_whose_clocks_differ_by_hours_break_no_promise(make_lrs, tmp_path):
    fast, slow = Clock(tmp_path / "fast"), Clock(tmp_path / "slow")
    fast.set(3 * 3600)
    slow.set(-3 * 3600)
    first = make_lrs("cluster", settings=fast.settings)
    first.start()
    first.credential("all")
    second = first.sibling(tmp_path / "sibling")
    second.settings = {**second.settings, **slow.settings}
    second.start()
    try:
        await watch([first, second])
    finally:
        second.stop()
        first.stop()
