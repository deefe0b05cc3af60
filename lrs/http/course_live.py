"""Server-sent events of a course: that something in it changed, and how far its view has come.

However many watch a course, its view is read once for all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import NamedTuple

import msgspec
import orjson
from aiohttp import web

from lrs.course_reader import CourseReader
from lrs.errors import Busy, GriffelError
from lrs.http.course_files import through_text
from lrs.http.pages import PAGE_HEADERS
from projections.course_report import CourseReport

LIVE_READERS_MAX = 1_000
LIVE_READ_S = 0.5
"""How often a course that is watched is read at the most."""
LIVE_WAIT_S = 10.0
"""How long nothing is said at the most; then a line that says nothing, by which both sides notice who is gone."""
LIVE_S = 3_600.0
"""How long one stream lasts; browsers open the next by themselves."""
RETRY_MS = 3_000


class _Read(NamedTuple):
    """A course as it was read: when, with which events in it at least, a mark of what it holds, how far it had come."""

    at_s: float
    newest_us: int
    mark: str
    through_us: int


class CourseWatch:
    """Reads the courses that are watched. One task waits for all watchers, and one reading of a course is for all."""

    def __init__(self, reader: CourseReader | None) -> None:
        self._reader = reader
        self._newest_us = -1
        self._waiting: asyncio.Task[None] | None = None
        self._read: dict[str, _Read] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._watchers: Counter[str] = Counter()
        self._is_stopping = False

    async def stop(self, app: web.Application) -> None:
        """End every stream, so that the server can stop."""
        del app
        self._is_stopping = True
        if self._waiting is not None:
            self._waiting.cancel()

    def must_end(self) -> bool:
        """Say whether every stream has to end."""
        return self._is_stopping

    @contextmanager
    def watching(self, course_id: str) -> Iterator[None]:
        """Keep what watchers of a course share while one of them is here. Raises Busy when too many watch."""
        if self._watchers.total() >= LIVE_READERS_MAX:
            raise Busy("too many watch courses at once; try again later")
        self._watchers[course_id] += 1
        try:
            yield
        finally:
            self._watchers[course_id] -= 1
            if not self._watchers[course_id]:
                del self._watchers[course_id]
                self._read.pop(course_id, None)
                self._reading.pop(course_id, None)

    async def state(self, course_id: str, newest_us: int) -> tuple[str, int]:
        """Give a mark of what the course's view holds, with events up to newest_us in it, and how far it has come.

        The mark differs when the view does. Raises Busy.
        """
        if self._reader is None:
            raise Busy("this server reads no views of courses")
        async with self._reading.setdefault(course_id, asyncio.Lock()):
            known = self._read.get(course_id)
            age_s = math.inf if known is None else time.monotonic() - known.at_s
            if known is None or known.newest_us < newest_us or age_s > LIVE_WAIT_S / 2:
                await asyncio.sleep(max(0.0, LIVE_READ_S - age_s))
                # Asked before the view is read: what came by then is in it.
                newest_us = await self._reader.wait(-1, 0)
                report = await self._reader.course(course_id)
                mark = "" if report is None else await asyncio.to_thread(_mark, report)
                through_us = 0 if report is None else report.data_through_us
                known = self._read[course_id] = _Read(time.monotonic(), newest_us, mark, through_us)
            return known.mark, known.through_us

    async def wait(self, after_us: int) -> int:
        """Wait until an event stored after that is in the views, for LIVE_WAIT_S, or until the server stops.

        Gives when the newest event that is in them was stored; -1 before any is known.
        """
        if self._newest_us <= after_us and not self._is_stopping:
            if self._waiting is None or self._waiting.done():
                self._waiting = asyncio.create_task(self._ask())
            await asyncio.wait((self._waiting,), timeout=LIVE_WAIT_S)
        return self._newest_us

    async def _ask(self) -> None:
        assert self._reader is not None
        try:
            self._newest_us = max(self._newest_us, await self._reader.wait(self._newest_us, LIVE_WAIT_S))
        except GriffelError:
            # What is busy now is asked again in a moment.
            await asyncio.sleep(LIVE_READ_S)


async def stream_changes(
    request: web.Request, watch: CourseWatch, course_id: str, may_stay: Callable[[], Awaitable[bool]]
) -> web.StreamResponse:
    """Send `changed` when what the course's view holds has changed, `through` when only its time has.

    Both have {"id", "data_through"}. Raises Busy when too many watch.
    """
    response = web.StreamResponse(status=HTTPStatus.OK)
    response.headers.update(PAGE_HEADERS)
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    response.charset = "utf-8"
    ends = time.monotonic() + LIVE_S
    newest_us = -1
    with watch.watching(course_id):
        mark, through_us = await watch.state(course_id, newest_us)
        try:
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await response.write(b"retry: %d\n\n" % RETRY_MS + _event("through", course_id, through_us))
            said_s = time.monotonic()
            while time.monotonic() < ends:
                further_us = await watch.wait(newest_us)
                if watch.must_end() or not await may_stay():
                    break
                said = b""
                try:
                    new_mark, new_through_us = await watch.state(course_id, further_us)
                except GriffelError:
                    # The page goes on saying up to when it is true.
                    await asyncio.sleep(LIVE_READ_S)
                    continue
                if new_mark != mark:
                    said = _event("changed", course_id, new_through_us)
                elif new_through_us != through_us:
                    said = _event("through", course_id, new_through_us)
                elif time.monotonic() - said_s > LIVE_WAIT_S / 2:
                    said = b": still here\n\n"
                mark, through_us, newest_us = new_mark, new_through_us, further_us
                if said:
                    await response.write(said)
                    said_s = time.monotonic()
        except ConnectionError:
            pass
    return response


def _mark(report: CourseReport) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(replace(report, data_through_us=0))).hexdigest()


def _event(kind: str, course_id: str, through_us: int) -> bytes:
    told = orjson.dumps({"id": course_id, "data_through": through_text(through_us)})
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), through_us, told)
