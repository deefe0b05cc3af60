"""Courses: who is enrolled and where each stands, as pages, as JSON and as CSV, and a stream that tells of changes.

Whoever asks shows a credential with the scope `courses/read` as xAPI has it, or a session (lrs/http/sessions.py). The
same address gives a page to browsers, JSON and CSV to whoever asks for them by `Accept` or by the address's suffix.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from aiohttp import web

from lrs.course_reader import CourseReader
from lrs.errors import Busy, GriffelError, LogBehind, NotAllowed, NotAuthenticated, NotFound
from lrs.http.app import Services
from lrs.http.charts import draw_completions
from lrs.http.course_files import course_csv, courses_csv, through_text
from lrs.http.course_live import CourseWatch, stream_changes
from lrs.http.course_view import ACTIVE_DAYS, Choice, Learner, Sort, Status, list_learners, view_course
from lrs.http.pages import COURSES_PATH, PAGE_HEADERS, PAGE_STATE, only_read, page_language, render_page, wish_for
from lrs.http.problem import problem, server_fault
from lrs.http.readable import readable_name
from lrs.http.sessions import Sessions, Visitor
from lrs.http.sign_in import SIGN_IN_PATH, SIGN_OUT_PATH, SIGN_OUT_PURPOSE, setup_sign_in, site_path
from lrs.scopes import Scope
from projections.course_report import CourseReport
from schemas.activities import one_language, preferred_languages
from schemas.errors import InvalidInput

LATE_S = 10
"""Views that are further behind than this say so on the page."""
PAGE_DIGITS_MAX = 6
ID_DIGITS = 32
JSON_TYPE, CSV_TYPE, HTML_TYPE = "application/json", "text/csv", "text/html"
SUFFIXES = {".json": JSON_TYPE, ".csv": CSV_TYPE}

log = logging.getLogger("griffel.http")

Answer = Callable[[web.Request, Visitor], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Room:
    """What the pages of courses are made of."""

    services: Services
    reader: CourseReader | None
    sessions: Sessions
    watch: CourseWatch

    @property
    def views(self) -> CourseReader:
        """Give the reader. Raises Busy where this server has no views."""
        if self.reader is None:
            raise Busy("this server reads no views of courses")
        return self.reader

    def refuse_while_closed(self) -> None:
        """Raise LogBehind while the log may lack what was in it."""
        guard = self.services.guard
        if guard is not None and not guard.open:
            raise LogBehind


def setup_courses(
    app: web.Application,
    services: Services,
    reader: CourseReader | None,
    sessions: Sessions | None = None,
) -> None:
    """Add the pages of courses and those to sign in and out. Goes before setup_pages, which takes what is left.

    Without a reader what is under /courses answers 503.
    """
    sessions = sessions or Sessions(services)
    watch = CourseWatch(reader)
    room = Room(services, reader, sessions, watch)
    setup_sign_in(app, sessions)
    pages = CoursePages(room)
    for path, answer in (
        (COURSES_PATH, pages.courses),
        (COURSES_PATH + ".csv", pages.courses),
        (COURSES_PATH + ".json", pages.courses),
        (COURSES_PATH + "/{id}.csv", pages.course),
        (COURSES_PATH + "/{id}.json", pages.course),
        (COURSES_PATH + "/{id}", pages.course),
        (COURSES_PATH + "/{id}/live", pages.live),
    ):
        app.router.add_route("*", path, pages.guarded(answer))
    app.on_shutdown.append(watch.stop)


class CoursePages:
    """Handlers of what is under /courses."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def guarded(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Give the handler of a route: it lets in who may see courses, and answers whatever happens."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if refused := only_read(request):
                return refused
            visitor = None
            try:
                self._room.refuse_while_closed()
                visitor = await self._room.sessions.visitor(request)
                visitor.caller.must(Scope.COURSES_READ, reading=True)
                found = await answer(request, visitor)
            except (InvalidInput, GriffelError) as error:
                found = self._refusal(request, visitor, error)
            except (asyncio.CancelledError, web.HTTPException, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001  the last line: an answer, and a log line without what was sent
                log.error("%s on %s", type(error).__name__, request.match_info.route.resource)  # noqa: TRY400
                found = self._refusal(request, visitor, error)
            if visitor is not None and visitor.session is not None and not found.prepared:
                path, secure = site_path(request)
                self._room.sessions.renew_cookie(found, visitor.session, path, secure=secure)
            return found

        return handle

    def _refusal(self, request: web.Request, visitor: Visitor | None, error: Exception) -> web.StreamResponse:
        """Say to a browser in a page, to others as a problem, why there is nothing here for them."""
        if wanted_type(request) != HTML_TYPE or request.path.endswith("/live"):
            response = problem(error) if _is_known(error) else server_fault()
            response.headers.update(PAGE_HEADERS)
            if "Sec-Fetch-Mode" in request.headers:
                # A script of the page asked: the browser itself must not ask for a name and a password.
                response.headers.pop("WWW-Authenticate", None)
            return response
        if isinstance(error, NotAuthenticated):
            state = request.app[PAGE_STATE]
            root = urlsplit(state.public_url(request)).path.rstrip("/")
            asked = {"next": request.path_qs} | ({"lang": request.query["lang"]} if "lang" in request.query else {})
            response = web.Response(
                status=HTTPStatus.SEE_OTHER, headers={"Location": f"{root}{SIGN_IN_PATH}?{urlencode(asked)}"}
            )
            response.headers.update(PAGE_HEADERS)
            return response
        kind, status = "failed", HTTPStatus((problem(error) if _is_known(error) else server_fault()).status)
        for one, name in ((NotAllowed, "not-allowed"), (NotFound, "not-found"), (Busy, "busy")):
            if isinstance(error, one):
                kind = name
        content = self._frame(request, visitor) | {"kind": kind, "status": status.value}
        response = render_page(request, "course_refusal.html.j2", content, status)
        response.headers["Cache-Control"] = "no-store"
        if isinstance(error, Busy):
            response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        return response

    def _frame(self, request: web.Request, visitor: Visitor | None) -> dict[str, Any]:
        """Give what every page here has: where things are, and the token to sign out with."""
        root = urlsplit(request.app[PAGE_STATE].public_url(request)).path.rstrip("/")
        kept = {"lang": request.query["lang"]} if "lang" in request.query else {}

        def link(path: str, **parameters: str | int) -> str:
            query = urlencode(parameters | kept)
            return f"{root}{path}{'?' if query else ''}{query}"

        session = visitor.session if visitor is not None else None
        token = None if session is None else self._room.sessions.form_token(SIGN_OUT_PURPOSE, session.id)
        return {
            "link": link,
            "courses_path": COURSES_PATH,
            "is_list": request.path == COURSES_PATH,
            "sign_out_path": SIGN_OUT_PATH,
            "sign_out_token": token,
        }

    # ── the list of courses ──────────────────────────────────────────────────────────────────────────────────────

    async def courses(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """Give every course, by name."""
        found = await self._room.views.courses(visitor.caller.purpose)
        through_us = await self._room.views.data_through_us()
        wanted = wanted_type(request)
        if wanted == JSON_TYPE:
            body = {"courses": found, "data_through": through_text(through_us)}
            return self._file(request, orjson.dumps(body), JSON_TYPE)
        names = await self._names(request, [one.activity_id for one in found])
        found.sort(key=lambda one: (names[one.activity_id].casefold(), one.id))
        if wanted == CSV_TYPE:
            return self._file(request, courses_csv(found, names), CSV_TYPE, "courses.csv")
        content = self._frame(request, visitor) | self._through(request, through_us)
        content |= {"courses": found, "names": names}
        return self._page(request, "courses.html.j2", content)

    # ── a course ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def course(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """Give where everyone stands in a course."""
        report = await self._report(request, visitor)
        wanted = wanted_type(request)
        now = request.app[PAGE_STATE].clock()
        blind = self._room.services.vault.blinding.id
        choice = read_choice(request)

        # In a thread, all of it: a course may have ten thousand learners, and others are waiting.
        def as_json() -> bytes:
            members = {one.name: getattr(report, one.name) for one in fields(report)}
            return orjson.dumps(members | {"data_through": through_text(report.data_through_us)})

        def everyone() -> list[Learner]:
            return list_learners(report, lambda learner: readable_name(blind, report.id, learner), now)

        if wanted == JSON_TYPE:
            return self._file(request, await asyncio.to_thread(as_json), JSON_TYPE)
        if wanted == CSV_TYPE:
            body = await asyncio.to_thread(lambda: course_csv(everyone()))
            return self._file(request, body, CSV_TYPE, f"course-{report.id[:8]}.csv")
        view = await asyncio.to_thread(lambda: view_course(report, everyone(), choice))
        names = await self._names(request, [report.activity_id, *report.modules])
        content = self._frame(request, visitor) | self._through(request, report.data_through_us)
        content |= {
            "report": report,
            "names": names,
            "view": view,
            "chart": None if view.chart is None else draw_completions(view.chart),
            "active_days": ACTIVE_DAYS,
            "path": f"{COURSES_PATH}/{report.id}",
        }
        return self._page(request, "course.html.j2", content)

    async def live(self, request: web.Request, visitor: Visitor) -> web.StreamResponse:
        """Tell of changes of a course until the reader goes, or may not be here any longer."""
        report = await self._report(request, visitor)

        async def may_stay() -> bool:
            try:
                still = await self._room.sessions.visitor(request)
            except GriffelError:
                return False
            return still.caller.may(Scope.COURSES_READ, reading=True)

        return await stream_changes(request, self._room.watch, report.id, may_stay)

    async def _report(self, request: web.Request, visitor: Visitor) -> CourseReport:
        course_id = request.match_info["id"]
        report = None
        if len(course_id) == ID_DIGITS and set(course_id) <= set("0123456789abcdef"):
            report = await self._room.views.course(course_id, visitor.caller.purpose)
        if report is None:
            raise NotFound("there is no such course")
        return report

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _names(self, request: web.Request, activity_ids: Sequence[str]) -> dict[str, str]:
        """Give a name for each activity in the reader's language, its id where it has none."""
        definitions = await self._room.services.catalogue.definitions(activity_ids)
        languages = [page_language(request).code, *preferred_languages(request.headers.get("Accept-Language", ""))]
        names = {}
        for activity_id in activity_ids:
            entries = (definitions.get(activity_id) or {}).get("name") or {}
            names[activity_id] = next(iter(one_language(entries, languages).values()), activity_id)
        return names

    def _through(self, request: web.Request, through_us: int) -> dict[str, Any]:
        now = request.app[PAGE_STATE].clock()
        through = datetime.fromtimestamp(through_us / 1_000_000, UTC) if through_us else None
        behind_s = (now - through).total_seconds() if through else None
        return {"now": now, "through": through, "late": behind_s is not None and behind_s > LATE_S}

    def _page(self, request: web.Request, template: str, content: dict[str, Any]) -> web.Response:
        response = render_page(request, template, content)
        # Where learners stand is for whoever is signed in: no copy of the page stays behind on a shared computer.
        response.headers["Cache-Control"] = "no-store"
        return with_etag(request, response)

    def _file(self, request: web.Request, body: bytes, media_type: str, name: str | None = None) -> web.Response:
        response = web.Response(body=body, content_type=media_type)
        response.headers.update(PAGE_HEADERS)
        response.headers["Cache-Control"] = "private, no-cache"
        if media_type == CSV_TYPE:
            response.charset = "utf-8"
        if name is not None:
            response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return with_etag(request, response)


def _is_known(error: Exception) -> bool:
    return isinstance(error, (InvalidInput, GriffelError))


def with_etag(request: web.Request, response: web.Response) -> web.Response:
    """Give the answer with its ETag, or 304 to whoever has it already."""
    assert isinstance(response.body, bytes)
    etag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    known = request.headers.get("If-None-Match", "")
    if etag in [one.strip().removeprefix("W/") for one in known.split(",")]:
        kept = {name: response.headers[name] for name in ("Cache-Control", "Vary")}
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=kept | {"ETag": etag})
    response.headers["ETag"] = etag
    return response


def wanted_type(request: web.Request) -> str:
    """Give the media type to answer with: by the address's suffix, else by what is wanted most."""
    for suffix, media_type in SUFFIXES.items():
        if request.path.endswith(suffix):
            return media_type
    accept = ",".join(request.headers.getall("Accept", []))
    wishes = {one: wish_for(accept, one) for one in (HTML_TYPE, CSV_TYPE)}
    wishes[JSON_TYPE] = wish_for(accept, JSON_TYPE, "application/problem+json")
    best = max(wishes.values())
    # To whoever does not care, a page, as elsewhere.
    return next(one for one in (HTML_TYPE, JSON_TYPE, CSV_TYPE) if wishes[one] == best)


def read_choice(request: web.Request) -> Choice:
    """Read from the address which learners are listed and how. What cannot be read is as if it were not there."""
    query = request.query
    status = query.get("status", "")
    sort = query.get("sort", "")
    page = query.get("page", "")
    usual = Choice()
    by = sort.removeprefix("-")
    return Choice(
        status=Status(status) if status in set(Status) else usual.status,
        sort=Sort(by) if by in set(Sort) else usual.sort,
        descending=sort.startswith("-") if by in set(Sort) else usual.descending,
        page=max(1, int(page)) if page.isascii() and page.isdecimal() and len(page) <= PAGE_DIGITS_MAX else 1,
    )
