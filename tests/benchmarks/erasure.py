"""What it costs to forget: learners with ten thousand statements each, erased while others' statements come in."""

from __future__ import annotations

import asyncio
import datetime
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
from rich.table import Table

from tests.benchmarks.load import Outcome, request
from tests.benchmarks.statements import statements

LEARNERS = 10
QUIET = 3
"""So many are erased while nothing else happens, the others while batches come in as fast as they are taken."""
STATEMENTS_EACH = 10_000
BATCH_STATEMENTS = 100
POLL_S = 0.2
LOAD_BATCHES = 300

Load = Callable[[list[bytes], int], Awaitable[Outcome]]


def agent(number: int) -> dict[str, Any]:
    return {"account": {"homePage": "https://school.example", "name": f"forgotten-{number}"}}


async def erasure_figures(
    name: str, base: str, credential: tuple[str, str], load: Load, settle: Callable[[], None], table: Table
) -> None:
    """Fill, erase one learner after the other, some of them while batches of others are posted; add the figures."""
    auth = aiohttp.BasicAuth(*credential)
    authorization = auth.encode()
    for number in range(LEARNERS):
        made = statements(STATEMENTS_EACH, 7_000 + number)
        for one in made:
            one["actor"] = agent(number)
        await load(_batches(made, authorization), 4)
    await asyncio.to_thread(settle)
    quiet, beside = [], []
    fenced, keys, certificates = [], [], []
    async with aiohttp.ClientSession(base_url=base, auth=auth) as session:
        for number in range(QUIET):
            for found, one in zip((fenced, keys, certificates), await _erase(session, number), strict=True):
                found.append(one)
        for number in range(QUIET, LEARNERS):
            for erasing in (False, True):
                await asyncio.to_thread(settle)
                made = statements(LOAD_BATCHES * BATCH_STATEMENTS, 8_000 + 2 * number + erasing)
                posting = asyncio.create_task(load(_batches(made, authorization), 4))
                if erasing:
                    await _erase(session, number)
                outcome = await posting
                (beside if erasing else quiet).append(outcome.per_second * BATCH_STATEMENTS)
    for what, found, wanted in (
        ("fenced, from the request on", fenced, 50),
        ("keys gone, after the fence", keys, 100),
        ("certificate", certificates, 10_000),
    ):
        table.add_row(name, what, f"{statistics.median(found):,.0f} ms", f"{wanted:,} ms")
    slower = 1 - statistics.median(beside) / statistics.median(quiet)
    rates = f"{statistics.median(beside):,.0f} beside, {statistics.median(quiet):,.0f}/s without"
    table.add_row(name, "others' batches meanwhile, at full load", f"{slower:.1%} slower ({rates})", "5 %")


def _batches(made: list[dict[str, Any]], authorization: str) -> list[bytes]:
    return [
        request("POST", "/xapi/statements", authorization, orjson.dumps(made[at : at + BATCH_STATEMENTS]))
        for at in range(0, len(made), BATCH_STATEMENTS)
    ]


async def _erase(session: aiohttp.ClientSession, number: int) -> tuple[float, float, float]:
    """Give the milliseconds until fenced, from there until the keys are gone, and until the certificate is there."""
    began = time.perf_counter()
    async with session.post("/privacy/erasures", json={"agent": agent(number)}) as response:
        response.raise_for_status()
        place = response.headers["Location"]
    fenced = time.perf_counter() - began
    while True:
        async with session.get(place) as response:
            told = await response.json()
        if told["state"] == "done":
            break
        if told["state"] != "under way":
            raise SystemExit(f"an erasure is {told['state']}")
        await asyncio.sleep(POLL_S)
    done = time.perf_counter() - began
    certificate = told["certificate"]
    if certificate["statements"]["erased"] != STATEMENTS_EACH:
        raise SystemExit(f"an erasure found {certificate['statements']}")
    requested, destroyed = (
        datetime.datetime.fromisoformat(certificate[one]) for one in ("requested_at", "keys_destroyed_at")
    )
    return 1000 * fenced, 1000 * (destroyed - requested).total_seconds(), 1000 * done
