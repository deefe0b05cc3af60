"""`make bench`: what Griffel costs, printed as ratios to a floor measured in the same run.

    make bench                              everything, with a million statements (about ten minutes)
    make bench ARGS="--stored 100000"       quicker
    make bench ARGS="--only post"           one part: post, query, erasure, rotation, or movement (relay, views)

The floor is the same HTTP server that only parses the body and answers. Client, server, writer and database share the
machine's cores, so every figure is of all of them together. Each POST figure is the median of several alternating runs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.benchmarks.erasure import erasure_figures
from tests.benchmarks.load import Outcome, request, run_load
from tests.benchmarks.movement import movement_figures
from tests.benchmarks.rotation import rotation_figures
from tests.benchmarks.statements import probes, statements
from tests.services import Griffel, Postgres, free_port

BATCH_STATEMENTS = 100
SINGLES_EACH = 3_000
BATCHES_EACH = 80
ROUNDS = 5
CONNECTIONS_BATCH = 4
CONNECTIONS_FILL = 4
QUERIES_EACH = 300
SMALL_STORED = 10_000
TARGETS = "/xapi/statements"

console = Console()


class Store:
    """A running Griffel and how to reach it."""

    def __init__(self, name: str, griffel: Griffel) -> None:
        self.name = name
        self.griffel = griffel
        self.authorization = griffel.authorization
        self.host, self.port, self.base = "127.0.0.1", griffel.port, griffel.base
        self.credential = (griffel.key, griffel.secret)
        self._seeds = itertools.count(1)
        assert griffel.process is not None
        self._pid = griffel.process.pid

    def singles(self, count: int) -> list[bytes]:
        """Give requests with one new statement each."""
        made = statements(count, next(self._seeds))
        return [request("POST", TARGETS, self.authorization, orjson.dumps(one)) for one in made]

    def batches(self, count: int) -> list[bytes]:
        """Give requests with a hundred new statements each."""
        made = statements(count * BATCH_STATEMENTS, next(self._seeds))
        return [
            request("POST", TARGETS, self.authorization, orjson.dumps(made[at : at + BATCH_STATEMENTS]))
            for at in range(0, len(made), BATCH_STATEMENTS)
        ]

    async def load(self, requests: list[bytes], connections: int) -> Outcome:
        """Send requests; every one must be answered with 200."""
        outcome = await run_load(self.host, self.port, requests, connections)
        if set(outcome.statuses) - {200}:
            raise SystemExit(f"{self.name}: answers were {outcome.statuses}")
        return outcome

    def await_views(self) -> None:
        """Return when the views have applied all that is stored: what is measured then is not their work."""
        while True:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}/metrics", timeout=30) as answer:
                told = answer.read().decode().splitlines()
            behind = [line for line in told if line.startswith("griffel_view_lag_events{")]
            if all(float(line.rpartition(" ")[2]) == 0 for line in behind):
                return
            time.sleep(0.5)

    def memory_mb(self) -> dict[str, float]:
        """Give the memory of the server and of each of its processes; what they share is divided among them (PSS)."""
        found: dict[str, float] = {}
        for pid in [self._pid, *_children(self._pid)]:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            used = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            module = command[command.index(b"-m") + 1].decode()
            found[{"lrs.writer": "writer", "lrs.view_process": "views"}.get(module, "server")] = used / 1024
        return found


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in listed.read_text().split()] if listed.exists() else []


@contextmanager
def floor() -> Iterator[int]:
    """Run the floor; give its port."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.floor", str(port)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.kill()


async def post_figures(store: Store, floor_port: int, table: Table) -> None:
    """Measure single posts and batches, each beside the floor."""
    await store.load(store.batches(60), CONNECTIONS_BATCH)
    for connections in (16, 64):
        ratios, rates, floors, p99s = [], [], [], []
        for _ in range(ROUNDS):
            requests = store.singles(SINGLES_EACH)
            base = await run_load("127.0.0.1", floor_port, requests, connections)
            ours = await store.load(requests, connections)
            ratios.append(ours.per_second / base.per_second)
            rates.append(ours.per_second)
            floors.append(base.per_second)
            p99s.append(ours.percentile_ms(0.99))
        table.add_row(
            store.name,
            f"single POST, {connections} at once",
            f"{statistics.median(rates):,.0f}/s",
            f"{statistics.median(floors):,.0f}/s",
            f"{statistics.median(ratios):.0%}",
            f"p99 {statistics.median(p99s):.0f} ms",
        )
    rates, floors = [], []
    for _ in range(ROUNDS):
        requests = store.batches(BATCHES_EACH)
        base = await run_load("127.0.0.1", floor_port, requests, CONNECTIONS_BATCH)
        ours = await store.load(requests, CONNECTIONS_BATCH)
        rates.append(ours.per_second * BATCH_STATEMENTS)
        floors.append(base.per_second * BATCH_STATEMENTS)
    table.add_row(
        store.name,
        f"batches of {BATCH_STATEMENTS}",
        f"{statistics.median(rates):,.0f} statements/s",
        f"{statistics.median(floors):,.0f}/s",
        f"{statistics.median(rates) / statistics.median(floors):.0%}",
        f"best {max(rates):,.0f}",
    )


def queries(authorization: str) -> dict[str, Callable[[int], bytes]]:
    """Give each kind of query as a function of a number."""
    sample = statements(5_000, 1)

    def query(**parameters: Any) -> bytes:
        return request("GET", f"{TARGETS}?{urllib.parse.urlencode(parameters)}", authorization)

    def agent(one: dict[str, Any]) -> str:
        return orjson.dumps({"account": one["actor"]["account"]}).decode()

    def pick(number: int) -> dict[str, Any]:
        return sample[(number * 7919) % len(sample)]

    first = probes()

    def early(number: int) -> dict[str, Any]:
        return first[(number * 7919) % len(first)]

    return {
        "GET by id": lambda n: query(statementId=pick(n)["id"]),
        # Of most learners a small store has less than a page: those who stopped early have one in either.
        "GET agent, limit 50": lambda n: query(agent=agent(early(n)), limit=50),
        "GET activity, limit 50": lambda n: query(activity=pick(n)["object"]["id"], limit=50),
        "GET verb, limit 50": lambda n: query(verb=pick(n)["verb"]["id"], limit=50),
        "GET registration, limit 50": lambda n: query(registration=early(n)["context"]["registration"], limit=50),
        "GET agent × verb, limit 50": lambda n: query(agent=agent(early(n)), verb=early(n)["verb"]["id"], limit=50),
        "GET newest 50": lambda _: query(limit=50),
    }


async def query_figures(store: Store, stored: int, table: Table) -> None:
    """Fill the store and measure every query at 10,000 and at `stored` statements."""
    have = 0
    await store.load([request("POST", TARGETS, store.authorization, orjson.dumps(probes()))], 1)
    medians: dict[str, list[float]] = {}
    for goal in (SMALL_STORED, stored):
        began = time.perf_counter()
        added = goal - have
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(f"filling to {goal:,}", total=goal, completed=have)
            while have < goal:
                await store.load(store.batches(100), CONNECTIONS_FILL)
                have += 100 * BATCH_STATEMENTS
                progress.update(task, completed=have)
        console.print(f"filled to {have:,}: {added / (time.perf_counter() - began):,.0f} statements/s on the way")
        await asyncio.to_thread(store.await_views)
        for name, make in queries(store.authorization).items():
            outcome = await store.load([make(number) for number in range(QUERIES_EACH)], 1)
            medians.setdefault(name, []).append(outcome.percentile_ms(0.5))
            medians[name].append(outcome.percentile_ms(0.99))
    for name, (small, _, large, large_p99) in medians.items():
        table.add_row(
            store.name, name, f"{small:.2f} ms", f"{large:.2f} ms", f"{large / small:.2f}", f"{large_p99:.1f} ms"
        )
    memory = store.memory_mb()
    parts = ", ".join(f"{name} {value:.0f}" for name, value in memory.items())
    table.add_row(store.name, f"memory at {have:,}", "", f"{sum(memory.values()):.0f} MB", "", parts)


@contextmanager
def stores(modes: list[str]) -> Iterator[list[Store]]:
    """Start a fresh Griffel for each mode."""
    folder = Path(tempfile.mkdtemp(prefix="griffel-bench-"))
    running: list[Griffel] = []
    postgres: Postgres | None = None
    try:
        for mode in modes:
            griffel = Griffel(folder / mode)
            if mode == "cluster":
                postgres = Postgres()
                postgres.start()
                log, keys = (postgres.create_database(name) for name in ("bench_log", "bench_keys"))
                griffel = Griffel(folder / mode, "cluster", log, keys)
            running.append(griffel.start())
            griffel.credential()
        yield [Store(mode, griffel) for mode, griffel in zip(modes, running, strict=True)]
    finally:
        for griffel in running:
            griffel.stop()
        if postgres is not None:
            postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    if options.only not in ("movement", "rotation"):
        await store_figures(options)
    if options.only in ("all", "rotation"):
        table = Table("store", "griffel keys rotate", "median", "wanted")
        with stores(options.mode) as running:
            for store in running:
                store.griffel.stop()
                await rotation_figures(store.griffel, table)
        console.print(table)
    if options.only in ("all", "movement"):
        table = Table("what, in a cluster on this machine", "measured", "wanted", "")
        folder = Path(tempfile.mkdtemp(prefix="griffel-bench-"))
        try:
            await movement_figures(folder / "cluster", table, _load)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        console.print(table)


async def _load(port: int, requests: list[bytes], connections: int) -> None:
    outcome = await run_load("127.0.0.1", port, requests, connections)
    if set(outcome.statuses) - {200}:
        raise SystemExit(f"answers were {outcome.statuses}")


async def store_figures(options: argparse.Namespace) -> None:
    """Measure what the store itself costs."""
    with stores(options.mode) as running, floor() as floor_port:
        if options.only in ("all", "post"):
            table = Table("store", "what", "Griffel", "floor", "of the floor", "")
            for store in running:
                await post_figures(store, floor_port, table)
            console.print(table)
        if options.only in ("all", "erasure"):
            table = Table("store", "erasing a learner with 10,000 statements", "median", "wanted")
            for store in running:
                await erasure_figures(store.name, store.base, store.credential, store.load, store.await_views, table)
            console.print(table)
        if options.only in ("all", "query"):
            table = Table("store", "what", f"p50 at {SMALL_STORED:,}", f"p50 at {options.stored:,}", "ratio", "p99")
            for store in running:
                await query_figures(store, options.stored, table)
            console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, default=1_000_000, help="statements at which queries are measured last")
    parser.add_argument("--only", choices=("all", "post", "query", "erasure", "rotation", "movement"), default="all")
    parser.add_argument("--mode", action="append", choices=("embedded", "cluster"), help="default: both")
    given = parser.parse_args()
    given.mode = given.mode or ["embedded", "cluster"]
    uvloop.run(main(given))
