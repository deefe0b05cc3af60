"""Griffel's pages over courses that a test makes up: the real pages, sessions, credentials and key vault, on a thread.

What is made up stands behind the two seams that pages read through: the views (`KnownCourses`) and the definitions of
activities. The clock stands still, so that what a page says can be known to the letter.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from lrs.credentials import Credentials
from lrs.errors import Busy
from lrs.http.courses import setup_courses
from lrs.http.health import Health
from lrs.http.pages import PageState, setup_pages
from lrs.http.protocol import Runner
from lrs.http.sessions import Sessions
from lrs.key_providers import FileKeys
from lrs.key_vault import KeyVault
from lrs.scopes import parse_scopes
from lrs.vault_store import SQLiteVault
from projections.course_report import CourseReport, CourseSummary, LearnerStanding, UnitStanding
from schemas.envelope import Purpose

NOW = datetime(2026, 3, 4, 14, 3, 21, tzinfo=UTC)
START_BOUND_S = 20
COURSE = "https://school.example/courses/spreadsheets"
MODULES = tuple(f"{COURSE}/module/{number}" for number in range(1, 7))
NAMES: dict[str, dict[str, str]] = {
    COURSE: {"en": "Working with spreadsheets", "nl": "Werken met rekenbladen"},
    MODULES[0]: {"en": "Cells and tables", "nl": "Cellen en tabellen"},
    MODULES[1]: {"en": "Formulas", "nl": "Formules"},
    MODULES[2]: {"en": "Sorting and filtering", "nl": "Sorteren en filteren"},
    MODULES[3]: {"en": "Charts", "nl": "Grafieken"},
    MODULES[4]: {"en": "Pivot tables", "nl": "Draaitabellen"},
    MODULES[5]: {"en": "Final project", "nl": "Eindopdracht"},
}


def course_id(number: int) -> str:
    return f"{number:032x}"


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat().replace("+00:00", "Z")


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def learner(number: int, **facts: Any) -> LearnerStanding:
    """A learner who was enrolled 90 days ago and has done nothing, but for what is given."""
    usual: dict[str, Any] = {
        "learner": f"{number:032x}",
        "registration": None,
        "enrolled": True,
        "enrolled_at": ago(90),
        "unenrolled_at": None,
        "progress": 0.0,
        "completed_at": None,
        "outcome": None,
        "score": None,
        "last_seen_at": None,
    }
    return LearnerStanding(**(usual | facts))


def course(number: int, *learners: LearnerStanding, activity_id: str = COURSE, modules=MODULES) -> CourseReport:
    return CourseReport(course_id(number), activity_id, modules, learners, microseconds(NOW - timedelta(seconds=2)))


def invented_learners(number: int, seed: int) -> list[LearnerStanding]:
    """A class as it may be: some done, some under way, some lost on the way, a few who left."""
    rng = random.Random(seed)
    found = []
    for at in range(number):
        done = rng.choice([0, 0, 1, 1, 2, 3, 3, 4, 5, 6, 6, 6, 6])
        facts: dict[str, Any] = {"progress": round(done / 6 * 100, 2)}
        modules = {one: UnitStanding(progress=100, completed_at=ago(60)) for one in MODULES[:done]}
        if 0 < done < 6:
            modules[MODULES[done]] = UnitStanding(progress=rng.choice([0, 25, 60]))
        if done:
            facts["last_seen_at"] = ago(rng.choice([0.01, 0.3, 1, 2, 3, 5, 9, 12, 30]))
        if done == 6:
            facts["completed_at"] = ago(rng.randint(2, 70))
            facts["outcome"] = rng.choice(["passed", "passed", "passed", None])
        elif done == 5:
            facts["outcome"] = rng.choice(["failed", None])
        if facts.get("outcome"):
            facts["score"] = round(rng.uniform(0.55, 1), 2) if done == 6 else 0.4
        if at % 20 == 7:
            facts |= {"enrolled": False, "unenrolled_at": ago(10)}
        found.append(learner(rng.getrandbits(128), modules=modules, **facts))
    return found


class KnownCourses:
    """A reader of courses that a test fills."""

    def __init__(self) -> None:
        self.reports: dict[str, CourseReport] = {}
        self.busy = False
        self.newest_us = microseconds(NOW)
        self._changed: asyncio.Condition | None = None

    def put(self, report: CourseReport) -> str:
        """Have a course, or have it otherwise than before; give its id."""
        self.reports[report.id] = report
        self.newest_us += 1_000
        return report.id

    def add(self, identifier: str, *learners: LearnerStanding) -> None:
        """Add learners to a course."""
        known = self.reports[identifier]
        self.put(replace(known, learners=(*known.learners, *learners), data_through_us=known.data_through_us + 1))

    async def courses(self, purpose: Purpose = Purpose.LEARNING) -> list[CourseSummary]:
        if self.busy:
            raise Busy
        return [
            CourseSummary(
                one.id,
                one.activity_id,
                sum(learner.enrolled for learner in one.learners),
                sum(learner.enrolled and learner.completed_at is not None for learner in one.learners),
            )
            for one in self.reports.values()
        ]

    async def course(self, identifier: str, purpose: Purpose = Purpose.LEARNING) -> CourseReport | None:
        if self.busy:
            raise Busy
        return self.reports.get(identifier)

    async def data_through_us(self) -> int:
        return max((one.data_through_us for one in self.reports.values()), default=0)

    async def wait(self, after_us: int, timeout_s: float) -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.newest_us <= after_us:  # noqa: ASYNC110  set from another thread
                    await asyncio.sleep(0.02)
        return self.newest_us


class CourseSite:
    """The pages, served on 127.0.0.1 by a thread of this process."""

    def __init__(self, folder: Path) -> None:
        self.views = KnownCourses()
        self.names = dict(NAMES)
        self.session_clock_s = 1_000_000.0
        self.lock_clock_s = 1_000.0
        self.base = ""
        self.secure_url: str | None = None
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(START_BOUND_S), "the pages did not start"

    def stop(self) -> None:
        """Stop; once more does nothing."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(START_BOUND_S)
        self._loop.close()

    def credential(self, scopes: str = "courses/read") -> tuple[str, str]:
        """Make a credential; give key and secret."""
        return self._do(self.credentials.create(parse_scopes(scopes)))

    def revoke(self, key: str) -> None:
        self._do(self.credentials.revoke(key))

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_BOUND_S)

    async def _definitions(self, activity_ids):
        return {one: {"name": self.names[one]} if one in self.names else None for one in activity_ids}

    async def _serve(self) -> None:
        vault = KeyVault(SQLiteVault(self._folder / "vault.db"), FileKeys(self._folder / "keys"))
        await vault.start()
        self.credentials = Credentials(vault)
        services: Any = SimpleNamespace(
            vault=vault,
            credentials=self.credentials,
            bearer=None,
            guard=None,
            catalogue=SimpleNamespace(definitions=self._definitions),
        )
        sessions = Sessions(services, clock=lambda: self.session_clock_s, monotonic=lambda: self.lock_clock_s)
        app = web.Application()
        setup_courses(app, services, self.views, sessions)

        async def health() -> Health:
            return Health(True, (), NOW)

        def public_url(request: web.Request) -> str:
            return self.secure_url or f"{request.scheme}://{request.host}"

        setup_pages(app, PageState("1.2.3", "embedded", public_url, health, clock=lambda: NOW))
        runner = Runner(app, access_log=None, handle_signals=False, shutdown_timeout=5.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()
        await vault.stop()
