"""A load of concurrent posts, and what of it is in the log afterwards.

A *post* is one request: a single statement, a batch, or a statement with an attachment. It is *answered* when a 2xx
came back; when the connection broke first, nobody knows what became of it (*unknown*) until it is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import hashlib
import json
import random
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import psycopg

from tests.services import Griffel

Json = dict[str, Any]

CLIENTS = 16
BATCH_STATEMENTS_MAX = 25
ATTACHMENT_BYTES = 100_000
REQUEST_BOUND_S = 30
COURSES = 5
COURSE_TYPE = "http://adlnet.gov/expapi/activities/course"
COMPLETED_SHARE = 0.1
GIVEN_UP_SHARE = 0.5
PATIENCE_S = 60
AGAIN_S = 0.2
POLL_S = 0.02


@dataclass
class Post:
    """One request and what is known of it: statuses that came back, 2xx last; broken when a connection was lost."""

    statements: list[Json]
    attachment: bytes = b""
    statuses: list[int] = field(default_factory=list)
    broken: int = 0
    problems: list[str] = field(default_factory=list)
    """What was said with each 503: type and detail."""

    @property
    def answered(self) -> bool:
        return bool(self.statuses) and 200 <= self.statuses[-1] < 300

    @property
    def ids(self) -> list[str]:
        return [statement["id"] for statement in self.statements]

    def body(self) -> tuple[bytes, str]:
        """The request's body and its Content-Type."""
        content = json.dumps(self.statements if len(self.statements) > 1 else self.statements[0]).encode()
        if not self.attachment:
            return content, "application/json"
        digest = hashlib.sha256(self.attachment).hexdigest()
        head = (
            f"Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\nX-Experience-API-Hash: {digest}\r\n\r\n"
        )
        body = b"--of-a-post\r\nContent-Type: application/json\r\n\r\n" + content + b"\r\n--of-a-post\r\n"
        return body + head.encode() + self.attachment + b"\r\n--of-a-post--\r\n", "multipart/mixed; boundary=of-a-post"


class Posts:
    """Makes posts, the same for the same seed; all their statements have one registration.

    defining: activities come with a definition that changes now and then, which makes events beside the statements.
    """

    def __init__(self, seed: str, *, defining: bool = True, learners: int = 500) -> None:
        self.defining = defining
        self.learners = learners
        self.chance = random.Random(seed)
        self.registration = self._uuid()
        self.made: list[Post] = []

    def make(self) -> Post:
        """A single statement, a batch, or a statement with an attachment."""
        kind = self.chance.random()
        post = self.batch(self.chance.randint(2, BATCH_STATEMENTS_MAX) if kind < 0.4 else 1)
        if kind > 0.9:
            post.attachment = self.chance.randbytes(ATTACHMENT_BYTES)
            post.statements[0]["attachments"] = [
                {
                    "usageType": "https://school.example/usage/essay",
                    "display": {"en": "An essay"},
                    "contentType": "text/plain",
                    "length": ATTACHMENT_BYTES,
                    "sha2": hashlib.sha256(post.attachment).hexdigest(),
                }
            ]
        return post

    def batch(self, count: int) -> Post:
        """A batch of so many statements."""
        self.made.append(Post([self._statement() for _ in range(count)]))
        return self.made[-1]

    def _statement(self) -> Json:
        chance = self.chance
        activity: Json = {"id": f"https://school.example/courses/{chance.randrange(5)}/units/{chance.randrange(50)}"}
        if self.defining:
            activity["definition"] = {"name": {"en": f"Unit {chance.randrange(3)}"}}
        return {
            "id": self._uuid(),
            "actor": {
                "account": {"homePage": "https://school.example", "name": f"learner-{chance.randrange(self.learners)}"}
            },
            "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
            "object": activity,
            "result": {"response": f"{chance.getrandbits(128):032x}"},
            "context": {"registration": self.registration, "instructor": {"mbox": "mailto:teacher@school.example"}},
        }

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))


class CoursePosts(Posts):
    """Posts whose statements are all about courses, so that each is a fact of the views; some complete a course."""

    def _statement(self) -> Json:
        statement = super()._statement()
        number = self.chance.randrange(COURSES)
        course = {"id": f"https://school.example/courses/{number}", "definition": {"type": COURSE_TYPE}}
        if self.chance.random() < COMPLETED_SHARE:
            return statement | {"verb": {"id": "http://adlnet.gov/expapi/verbs/completed"}, "object": course}
        statement["context"]["contextActivities"] = {"parent": [course]}
        return statement


@contextlib.asynccontextmanager
async def session(server: Griffel) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server, for as many requests at once as wished."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=REQUEST_BOUND_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=server.headers()) as made:
        yield made


async def send(client: aiohttp.ClientSession, server: Griffel, post: Post) -> aiohttp.typedefs.CIMultiDictProxy[str]:
    """Send a post once and note what came back. Raises aiohttp.ClientError, TimeoutError when the connection broke."""
    body, kind = post.body()
    try:
        async with client.post(f"{server.url}/statements", data=body, headers={"Content-Type": kind}) as response:
            content = await response.read()
    except (aiohttp.ClientError, TimeoutError):
        post.broken += 1
        raise
    post.statuses.append(response.status)
    if response.status == 503:
        told = json.loads(content)
        post.problems.append(f"{told['type']}: {told['detail']}")
    if response.status == 200:
        assert json.loads(content) == post.ids
    return response.headers


async def load_until_gone(server: Griffel, posts: Posts, when_answered: Callable[[int], None]) -> None:
    """Post from CLIENTS clients until the server is gone. when_answered hears how many posts are answered so far."""
    answered = 0

    async def post_on(client: aiohttp.ClientSession) -> None:
        nonlocal answered
        with contextlib.suppress(aiohttp.ClientError):
            while True:
                await send(client, server, posts.make())
                answered += 1
                when_answered(answered)

    async with session(server) as client:
        await asyncio.gather(*[post_on(client) for _ in range(CLIENTS)])


class Load:
    """Posts from several clients to several servers for as long as the block lasts.

    A client waits and repeats on 503, as it is told to. Of a post whose connection broke it does not know what became:
    half of those it repeats, with the same ids and perhaps at another server, and half it gives up.
    """

    def __init__(self, servers: Sequence[Griffel], posts: Posts, *, clients: int = 8, pause_s: float = 0.1) -> None:
        self.posts = posts
        self.answered = 0
        self.refused = 0
        self._servers = servers
        self._clients = clients
        self.pause_s = pause_s
        """About how long a client waits between two posts; a long fault is given a thinner load."""
        self._ends = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._post_on()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._ends = True
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        failed = [one for one in outcomes if one is not None]
        if failed and kind is None:
            raise failed[0]

    async def more(self, count: int, bound_s: float = PATIENCE_S) -> None:
        """Return when so many more posts have been answered 2xx."""
        goal = self.answered + count
        async with asyncio.timeout(bound_s):
            while self.answered < goal and not any(one.done() for one in self._tasks):  # noqa: ASYNC110  two causes
                await asyncio.sleep(POLL_S)

    async def _post_on(self) -> None:
        async with session(self._servers[0]) as client:
            while not self._ends:
                post = self.posts.make()
                gives_up = self.posts.chance.random() < GIVEN_UP_SHARE
                await self._see_to(client, post, gives_up=gives_up)
                await asyncio.sleep(self.posts.chance.uniform(0, 2 * self.pause_s))

    async def _see_to(self, client: aiohttp.ClientSession, post: Post, *, gives_up: bool) -> None:
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                headers = await send(client, self.posts.chance.choice(self._servers), post)
            except (aiohttp.ClientError, TimeoutError):
                # Where nobody listens nothing was sent: that is like a 503.
                if gives_up:
                    return
            else:
                if post.answered:
                    self.answered += 1
                    return
                self.refused += 1
                assert post.statuses[-1] == 503, f"a post was answered {post.statuses}"
                assert 1 <= int(headers["Retry-After"]) <= 30
            assert time.monotonic() < ends, f"no answer within {PATIENCE_S} s: {post.statuses}"
            await asyncio.sleep(AGAIN_S)


def writers(server: Griffel) -> list[int]:
    """A server's writer (Linux)."""
    return children(server, b"lrs.writer")


def view_processes(server: Griffel) -> list[int]:
    """The process that computes an embedded server's views (Linux)."""
    return children(server, b"lrs.view_process")


def children(server: Griffel, module: bytes) -> list[int]:
    """The processes that a server has started from a module."""
    assert server.process is not None
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    found = []
    with contextlib.suppress(OSError):
        for child in listed.read_text().split():
            with contextlib.suppress(OSError):
                if module in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(child))
    return found


# ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def stored(client: aiohttp.ClientSession, server: Griffel, registration: str) -> list[Json]:
    """Every statement of a registration, page by page, repetitions included."""
    found: list[Json] = []
    target = f"{server.url}/statements?registration={registration}&limit=500&ascending=true"
    while target:
        async with client.get(target) as response:
            assert response.status == 200, await response.text()
            page = await response.json()
        found += page["statements"]
        target = page["more"] and server.base + page["more"]
    return found


def refute(posts: Iterable[Post], found: list[Json]) -> list[str]:
    """What is wrong with what was found after these posts, in words: empty when nothing is."""
    times = Counter(statement["id"] for statement in found)
    by_id = {statement["id"]: statement for statement in found}
    wrong: list[str] = []
    for post in posts:
        there = [times[one] for one in post.ids]
        if max(there) > 1:
            wrong.append(f"a statement is there {max(there)} times")
        if post.answered and min(there) == 0:
            wrong.append(f"of {len(there)} statements answered {post.statuses[-1]}, {there.count(0)} are lost")
        elif 0 < sum(1 for one in there if one) < len(there):
            wrong.append(f"of a batch of {len(there)}, {sum(there)} are there")
        for sent in post.statements:
            if (kept := by_id.get(sent["id"])) is not None:
                wrong += [f"{part} is another" for part in ("actor", "result") if not _holds(kept[part], sent[part])]
    foreign = set(by_id) - {one for post in posts for one in post.ids}
    return wrong + ([f"{len(foreign)} statements were never sent"] if foreign else [])


def truth_of(found: Iterable[Json]) -> Json:
    """Who has completed which course by these statements, in the shape of a term's ground truth."""
    courses: Json = {}
    for one in found:
        if one["verb"]["id"].endswith("/completed"):
            learner = {
                "agent": one["actor"],
                "registration": one["context"]["registration"],
                "completed_at": one["timestamp"],
            }
            courses.setdefault(one["object"]["id"], {"learners": []})["learners"].append(learner)
    return {"courses": courses}


def _holds(kept: Json, sent: Json) -> bool:
    return {name: kept.get(name) for name in sent} == sent


async def lost_attachments(client: aiohttp.ClientSession, server: Griffel, posts: Iterable[Post]) -> list[str]:
    """The ids of answered posts whose attachment does not come back byte by byte."""
    lost = []
    for post in posts:
        if not (post.answered and post.attachment):
            continue
        query = {"statementId": post.ids[0], "attachments": "true"}
        async with client.get(f"{server.url}/statements", params=query) as response:
            head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
            parts = email.message_from_bytes(head + await response.read()).get_payload()
        if len(parts) != 2 or parts[1].get_payload(decode=True) != post.attachment:
            lost.append(post.ids[0])
    return lost


def log_positions(server: Griffel) -> tuple[list[int], int]:
    """Every position of the log in order, and its head's, read from its database."""
    positions, head = "SELECT position FROM events ORDER BY position", "SELECT position FROM log_head"
    if server.mode == "cluster":
        with psycopg.connect(server.database_url) as connection:
            rows = connection.execute(positions).fetchall(), connection.execute(head).fetchall()
    else:
        path = server.data_dir / "log" / "log.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute(positions).fetchall(), connection.execute(head).fetchall()
    return [row[0] for row in rows[0]], rows[1][0][0]
