"""Health: what must hold for the store to take statements and give them back, and the addresses that tell it.

A *check* is one of those things, by name, with a detail: a key for which pages have words in each language.
`/health/live` is for whoever restarts a process that hangs, `/health/ready` for whoever sends it work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

import orjson
from aiohttp import web

from consumers.consumer import ConsumerStatus
from lrs.http.app import Services
from lrs.http.problem import WrongMethod, problem

LIVE_PATH = "/health/live"
READY_PATH = "/health/ready"
LOG_ANSWER_WAIT_S = 2.0

log = logging.getLogger("griffel.health")


class Check(NamedTuple):
    """One thing that must hold: `name` says which, `ok` whether, `detail` how it is."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the store is. `watermark`: no statement stored at or before it can still appear; None while none is known."""

    ok: bool
    checks: tuple[Check, ...]
    watermark: datetime | None

    @property
    def missing(self) -> list[str]:
        """Give the names of the checks that do not hold."""
        return [check.name for check in self.checks if not check.ok]


async def check_health(services: Services) -> Health:
    """Look at writer, log and key vault. Answers within LOG_ANSWER_WAIT_S and raises nothing: what fails is a finding.

    The log is asked for its watermark, which in a log that has been quiet for a second means a write by the writer: so
    a full disk or a database that is gone is seen here before a statement is refused.
    """
    watermark_us = services.log.known_head_us
    answered = True
    guard = services.guard
    is_guarded = guard is not None and not guard.open
    try:
        # Nothing is written, not even a watermark, before it is known that this is where the log ends.
        if not is_guarded:
            async with asyncio.timeout(LOG_ANSWER_WAIT_S):
                watermark_us = await services.log.watermark()
    except Exception as error:  # noqa: BLE001  each database has failures of its own, and each means the same here
        answered = False
        log.warning("the log does not answer: %s", type(error).__name__)
    # Read after the log was asked, because asking is what may find the writer gone.
    writer = services.log.writable
    vault = services.vault.ready
    checks = [Check("writer", writer, "running" if writer else "stopped")]
    if not is_guarded:
        how = "writable" if answered and writer else "read-only" if answered else "silent"
        checks.append(Check("log", answered and writer, how))
    checks.append(Check("key-vault", vault, "leased" if vault else "lease-lost"))
    if guard is not None:
        checks.append(Check("copy", guard.open, guard.finding.value))
    watermark = datetime.fromtimestamp(watermark_us / 1_000_000, UTC) if watermark_us else None
    return health_of(checks, watermark)


def health_of(checks: Iterable[Check], watermark: datetime | None = None) -> Health:
    """Give the health that checks come to."""
    checks = tuple(checks)
    return Health(all(check.ok for check in checks), checks, watermark)


def waiting_consumers(consumers: Iterable[ConsumerStatus]) -> list[str]:
    """Give the names of consumers that apply nothing: something is away, or they have stopped."""
    return [f"consumer {one.name}" for one in consumers if not one.healthy]


def setup_health(
    app: web.Application, health: Callable[[], Awaitable[Health]], waiting: Callable[[], list[str]] = list
) -> None:
    """Add LIVE_PATH (200 while the process answers) and READY_PATH (200, or 503 with the names of what is missing).

    What `waiting` names is told too, but does not make the store unready: it takes statements all the same, and whoever
    sends it work should go on.
    """

    async def live(request: web.Request) -> web.Response:
        return _answer(request, HTTPStatus.OK, {"live": True})

    async def ready(request: web.Request) -> web.Response:
        found = await health()
        status = HTTPStatus.OK if found.ok else HTTPStatus.SERVICE_UNAVAILABLE
        body: dict[str, object] = {"ready": found.ok, "missing": found.missing}
        if names := waiting():
            body["waiting"] = names
        return _answer(request, status, body)

    app.router.add_route("*", LIVE_PATH, live)
    app.router.add_route("*", READY_PATH, ready)


def _answer(request: web.Request, status: HTTPStatus, body: dict[str, object]) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        response = problem(WrongMethod("health is read, by GET or HEAD", ""))
        response.headers["Allow"] = "GET, HEAD"
    else:
        response = web.Response(body=orjson.dumps(body), status=status.value, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
