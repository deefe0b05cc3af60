"""Streams for institutions: entries after a cursor, by long poll or as server-sent events.

A reader keeps the cursor of the last entry it has worked in, and asks for what comes after it. So whatever happens to
reader or server, each entry is read at least once, and by its id known if it is read again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import orjson
from aiohttp import web

from lrs.completions import Completions
from lrs.credentials import Caller
from lrs.errors import Busy, GriffelError
from lrs.http.app import Services, add_common_headers
from lrs.http.call import authenticate
from lrs.http.problem import WrongMethod, problem, server_fault
from lrs.scopes import Scope
from schemas.errors import InvalidInput
from schemas.streams import Json, cursor_text, read_cursor

EVENTS_PATH = "/streams/completions/events"
LIVE_PATH = "/streams/completions/live"
PAGE_ENTRIES_MAX = 500
PAGE_ENTRIES_DEFAULT = 100
POLL_WAIT_S_MAX = 30.0
"""The longest that a long poll waits for an entry."""
POLLS_AT_ONCE_MAX = 1_000
LIVE_READERS_MAX = 500
HEARTBEAT_S = 10.0
"""How long a live stream says nothing at the most; then a line that says nothing, by which both see who is gone."""
LIVE_S = 3_600.0
"""How long one live stream lasts; readers open the next by themselves."""
RETRY_MS = 3_000
CONTENT_TYPE = "application/json"
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)

log = logging.getLogger("griffel.http")

Answer = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


def setup_streams(app: web.Application, services: Services) -> None:
    """Add EVENTS_PATH and LIVE_PATH. When the server stops, those who wait are answered at once."""
    streams = CompletionStreams(services)
    app.router.add_route("*", EVENTS_PATH, streams.guarded(streams.events))
    app.router.add_route("*", LIVE_PATH, streams.guarded(streams.live))
    app.on_shutdown.append(streams.stop)


class CompletionStreams:
    """Handlers of the completion stream."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping: asyncio.Event | None = None
        self._polls = 0
        self.readers = 0

    @property
    def _completions(self) -> Completions:
        return self._services.views.completions

    async def stop(self, app: web.Application) -> None:
        """End every wait, so that the server can stop."""
        self._stop_signal().set()

    def _stop_signal(self) -> asyncio.Event:
        self._stopping = self._stopping or asyncio.Event()
        return self._stopping

    def guarded(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Give the handler of a route: it lets in who may read streams, and answers whatever happens."""

        async def handle(request: web.Request) -> web.StreamResponse:
            response: web.StreamResponse
            try:
                response = await answer(request, await self._caller(request))
            except (InvalidInput, GriffelError) as error:
                response = problem(error)
                if isinstance(error, WrongMethod):
                    response.headers["Allow"] = "GET, HEAD"
            except (asyncio.CancelledError, web.HTTPException, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001  the last line: an answer and a log line without what was sent
                log.error("%s in %s", type(error).__name__, request.match_info.route.resource)  # noqa: TRY400
                response = server_fault()
            if not response.prepared:
                add_common_headers(response, self._services.cors_origin)
            return response

        return handle

    async def _caller(self, request: web.Request) -> Caller:
        if request.method not in ("GET", "HEAD"):
            raise WrongMethod("streams are read, by GET or HEAD", "")
        caller = await authenticate(request.headers, self._services.credentials, self._services.bearer)
        caller.must(Scope.STREAMS_READ, reading=True)
        return caller

    # ── long poll ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def events(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """Give the entries after a cursor, waiting for one if there is none yet."""
        asked = _parameters(request, "after", "limit", "wait_s")
        after = read_cursor(asked.get("after", ""))
        limit = _whole(asked, "limit", PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX)
        wait_s = _seconds(asked)
        if self._polls >= POLLS_AT_ONCE_MAX:
            raise Busy("too many read this stream at once; try again")
        self._polls += 1
        try:
            entries = await self._completions.read(after, limit, caller.purpose)
            if not entries and wait_s and await self._wait(after, wait_s):
                entries = await self._completions.read(after, limit, caller.purpose)
        finally:
            self._polls -= 1
        body = {"events": entries, "next": entries[-1]["id"] if entries else cursor_text(after)}
        return web.Response(body=orjson.dumps(body), content_type=CONTENT_TYPE)

    async def _wait(self, after: int, timeout_s: float) -> bool:
        """Wait for an entry, for the time that is given, or until the server stops."""
        waiting = asyncio.ensure_future(self._completions.wait(after, timeout_s))
        stopping = asyncio.ensure_future(self._stop_signal().wait())
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            return waiting.done() and waiting.result()
        finally:
            waiting.cancel()
            stopping.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)

    # ── server-sent events ────────────────────────────────────────────────────────────────────────────────────────

    async def live(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """Send every entry after a cursor, and those that come, until the reader goes or may not read any longer.

        The cursor is that of Last-Event-ID, which a reader sends when it comes back, else the parameter `after`.
        """
        asked = _parameters(request, "after")
        after = read_cursor(asked.get("after", ""))
        if last := request.headers.get("Last-Event-ID"):
            after = read_cursor(last)
        if self.readers >= LIVE_READERS_MAX:
            raise Busy("too many read this stream at once; try again")
        self.readers += 1
        try:
            # What is the matter with the question is said before the answer begins.
            await self._completions.read(after, 1, caller.purpose)
            response = _event_stream(self._services.cors_origin)
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send(request, response, after)
        finally:
            self.readers -= 1
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, after: int) -> None:
        ends = time.monotonic() + LIVE_S
        vault = self._services.vault
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        while not self._stop_signal().is_set() and time.monotonic() < ends:
            answering = vault.begin_answer()
            try:
                caller = await self._caller(request)
                entries = await self._completions.read(after, PAGE_ENTRIES_MAX, caller.purpose)
                if not vault.covers(answering):
                    return
                if entries:
                    await response.write(b"".join([_sent(entry) for entry in entries]))
                    after = read_cursor(entries[-1]["id"])
            except (GriffelError, ConnectionError):
                # The reader comes back with its cursor, and is then told in an answer of its own what is the matter.
                return
            finally:
                vault.end_answer(answering)
            try:
                if not entries and not await self._wait(after, HEARTBEAT_S):
                    await response.write(b": still here\n\n")
            except (GriffelError, ConnectionError):
                return


def _event_stream(cors_origin: str) -> web.StreamResponse:
    response = web.StreamResponse(status=HTTPStatus.OK)
    add_common_headers(response, cors_origin)
    response.headers["X-Accel-Buffering"] = "no"
    response.content_type = "text/event-stream"
    response.charset = "utf-8"
    return response


def _sent(entry: Json) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (entry["id"].encode(), entry["type"].encode(), orjson.dumps(entry))


def _parameters(request: web.Request, *names: str) -> dict[str, str]:
    """Give the query's parameters. Raises InvalidInput where one is unknown or stands twice."""
    asked = dict(request.query)
    if len(asked) != len(request.query):
        raise InvalidInput("a parameter stands twice in the query", "")
    if any(name not in names for name in asked):
        raise InvalidInput(f"this resource has no such parameter; it has: {', '.join(names)}", "")
    return asked


def _whole(asked: dict[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 0 < int(text) <= most):
        raise InvalidInput(f"`{name}` is a whole number from 1 to {most}", "")
    return int(text)


def _seconds(asked: dict[str, str]) -> float:
    text = asked.get("wait_s", "0")
    seconds = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not 0 <= seconds <= POLL_WAIT_S_MAX:
        raise InvalidInput(f"`wait_s` is a number of seconds from 0 to {POLL_WAIT_S_MAX:.0f}", "")
    return seconds
