"""How quickly events move: log → Kafka → views, catching up, and behind a steady load; everything on this machine.

What moves are terms as `griffel demo` plays them: learners who come for an hour and go on where they were.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import psycopg
from rich.table import Table

from lrs.demo.term import Term, TermSettings
from schemas.topics import partition_of
from tests.benchmarks.load import Outcome, request, run_paced
from tests.kafka_services import Kafka
from tests.services import Griffel, Postgres

TARGET = "/xapi/statements"
BACKLOG_STATEMENTS = 60_000
BATCH_STATEMENTS = 100
PARTITIONS = 4
PACE_PER_S = 1_000
PACED_BATCH = 10
PACED_S = 20
CONNECTIONS = 16
CATCH_UP_BOUND_S = 300
LOOK_S = 0.005


@contextmanager
def cluster(folder: Path) -> Iterator[Griffel]:
    """Run PostgreSQL, one broker of Kafka and a server; the topic is there, nothing moves yet."""
    postgres, kafka = Postgres(), Kafka(1)
    try:
        postgres.start()
        kafka.start()
        log, keys = (postgres.create_database(name) for name in ("moved_log", "moved_keys"))
        server = Griffel(folder, "cluster", log, keys, settings={"GRIFFEL_KAFKA": kafka.bootstrap}).start()
        try:
            server.credential()
            server.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
            yield server
        finally:
            server.stop()
    finally:
        kafka.stop()
        postgres.stop()


@contextmanager
def beside(server: Griffel, *arguments: str) -> Iterator[None]:
    """Run a command beside a server, as an operator does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lrs", *arguments],
        cwd=server.folder,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


class Looks:
    """Looks at how far something is, with the time of each look."""

    def __init__(self, query: str, database: str) -> None:
        self._connection = psycopg.connect(database, autocommit=True)
        self._query = query
        self.times: dict[int, list[float]] = {}
        self.positions: dict[int, list[int]] = {}

    def look(self) -> int:
        """Look once; give the sum of what moved."""
        try:
            rows = self._connection.execute(self._query).fetchall()
        except psycopg.errors.UndefinedTable:
            return 0
        now = time.time()
        for part, position in rows:
            self.times.setdefault(part, []).append(now)
            self.positions.setdefault(part, []).append(position)
        return sum(position for _, position in rows)

    def when(self, part: int, position: int) -> float | None:
        """Give the time (s) of the first look that found this position reached."""
        at = bisect_left(self.positions.get(part, []), position)
        return self.times[part][at] if at < len(self.positions.get(part, [])) else None

    def close(self) -> None:
        self._connection.close()


RELAYED = "SELECT 0, position FROM relay"
VIEWED = "SELECT part, position FROM views.view_position WHERE name = 'progress'"


def events(database: str, after: int = 0) -> list[tuple[int, int, float]]:
    """Give (position, partition, stored in s) of every event after a position."""
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT position, record_key, stored_us FROM events WHERE position > %s ORDER BY position",
            (after,),
        ).fetchall()
    return [(position, partition_of(bytes(key), PARTITIONS), stored / 1e6) for position, key, stored in rows]


def catch_up(looks: Looks, ends: dict[int, int], moved: Callable[[], int]) -> tuple[int, float]:
    """Follow something until it has reached these ends; give (events, seconds) from its first move on."""
    bound = time.monotonic() + CATCH_UP_BOUND_S
    start: tuple[float, int] | None = None
    while any(looks.when(part, end) is None for part, end in ends.items()):
        if time.monotonic() > bound:
            raise SystemExit("what should catch up does not")
        if looks.look() and start is None:
            start = (time.monotonic(), moved())
        time.sleep(LOOK_S)
    assert start is not None
    return moved() - start[1], time.monotonic() - start[0]


def term(count: int, seed: int) -> list[bytes]:
    """Give statements of terms, each once, in the order in which they are played."""
    made: dict[str, bytes] = {}
    while len(made) < count:
        for _, body in Term(TermSettings(seed=seed, learners=400, courses=6)).play():
            made.setdefault(orjson.loads(body)["id"], body)
        seed += 1
    return list(made.values())[:count]


def batches(server: Griffel, count: int, seed: int, size: int = BATCH_STATEMENTS) -> list[bytes]:
    """Give requests of a term's statements, so many in each."""
    made = term(count, seed)
    return [
        request("POST", TARGET, server.authorization, b"[" + b",".join(made[at : at + size]) + b"]")
        for at in range(0, count, size)
    ]


async def movement_figures(folder: Path, table: Table, load: Callable[[int, list[bytes], int], object]) -> None:
    """Measure relay and projection catching up with a backlog, then the time from 2xx to view at PACE_PER_S."""
    with cluster(folder) as server:
        await load(server.port, batches(server, BACKLOG_STATEMENTS, 7), 4)  # type: ignore[misc]
        log = events(server.database_url)
        head = log[-1][0]
        relayed, viewed = Looks(RELAYED, server.database_url), Looks(VIEWED, server.database_url)
        try:
            with beside(server, "relay"):
                count, seconds = catch_up(relayed, {0: head}, lambda: relayed.positions.get(0, [0])[-1])
                table.add_row("relay, catching up", f"{count / seconds:,.0f} events/s", "10,000", f"{count:,} events")
                ends = {part: max(one[0] for one in log if one[1] == part) for part in range(PARTITIONS)}
                by_part = {part: [one[0] for one in log if one[1] == part] for part in range(PARTITIONS)}

                def applied() -> int:
                    return sum(
                        bisect_left(by_part[part], places[-1] + 1)
                        for part, places in viewed.positions.items()
                        if part in by_part
                    )

                for processes in (1, 2):
                    with ExitStack() as stack:
                        for _ in range(processes):
                            stack.enter_context(beside(server, "consume", "progress"))
                        count, seconds = catch_up(viewed, ends, applied)
                    table.add_row(
                        f"projection progress, catching up, processes: {processes}",
                        f"{count / seconds:,.0f} events/s",
                        "8,000",
                        f"{count:,} events",
                    )
                    if processes == 1:
                        viewed.close()
                        with psycopg.connect(server.database_url) as connection:
                            connection.execute("DROP SCHEMA views CASCADE")
                        viewed = Looks(VIEWED, server.database_url)
                with beside(server, "consume", "progress", "completions"), beside(server, "consume", "progress"):
                    await _lag(server, head, viewed, table)
        finally:
            relayed.close()
            viewed.close()


async def _lag(server: Griffel, head: int, viewed: Looks, table: Table) -> None:
    stopping = asyncio.Event()

    def follow() -> None:
        while not stopping.is_set():
            viewed.look()
            time.sleep(LOOK_S)

    following = asyncio.create_task(asyncio.to_thread(follow))
    # The second consumer joins its group first: what is measured is the steady state.
    await run_paced("127.0.0.1", server.port, batches(server, 20 * BATCH_STATEMENTS, 60), 4, 4.0)
    await asyncio.sleep(8)
    head = events(server.database_url, head)[-1][0]
    outcome: Outcome = await run_paced(
        "127.0.0.1",
        server.port,
        batches(server, PACE_PER_S * PACED_S, 90, PACED_BATCH),
        CONNECTIONS,
        PACE_PER_S / PACED_BATCH,
    )
    await asyncio.sleep(5)
    stopping.set()
    await following
    new = events(server.database_url, head)
    seen = [(viewed.when(part, position), stored) for position, part, stored in new]
    if any(one is None for one, _ in seen):
        raise SystemExit("not everything reached the view within five seconds")
    lags = sorted(1000 * (when - stored) for when, stored in seen if when is not None)
    p99 = lags[int(0.99 * len(lags))]
    table.add_row(
        f"stored to view, two consumers, {outcome.per_second * PACED_BATCH:,.0f} statements/s (posts of {PACED_BATCH})",
        f"p99 {p99:,.0f} ms",
        "1,000 ms",
        f"p50 {statistics.median(lags):,.0f}, worst {lags[-1]:,.0f} ms; 2xx p99 {outcome.percentile_ms(0.99):.0f} ms",
    )
