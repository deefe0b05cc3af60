"""While a log may lack what was in it, nothing that comes from it is told and nothing is taken: 503 for all of it.

The courses' own pages say so themselves, in a page where a browser asks (lrs/http/courses.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lrs.errors import LogBehind
from lrs.http.app import add_common_headers
from lrs.http.assets import STATIC_PATH
from lrs.http.call import VERSION_HEADER, answer_version
from lrs.http.health import LIVE_PATH, READY_PATH
from lrs.http.metrics import METRICS_PATH
from lrs.http.pages import COURSES_PATH, POLICY_PATH
from lrs.http.privacy_policy import NOTICES_PATH, PURPOSES_PATH, WELL_KNOWN_PATH
from lrs.http.problem import problem

if TYPE_CHECKING:
    from lrs.log_guard import LogGuard

ALWAYS = frozenset(
    {
        *("/", LIVE_PATH, READY_PATH, METRICS_PATH, "/xapi/about"),
        *(POLICY_PATH, NOTICES_PATH, PURPOSES_PATH, WELL_KNOWN_PATH),
    }
)
"""What says how the store is, or what it promises, and nothing of what is in it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def gate(guard: LogGuard, cors_origin: str) -> Any:
    """Give the middleware that lets requests in while the guard does."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (
            guard.open
            or request.method == "OPTIONS"
            or is_always_there(request.path)
            or _refuses_by_itself(request.path)
        ):
            return await handler(request)
        response = problem(LogBehind())
        response.headers[VERSION_HEADER] = answer_version(request.headers)
        add_common_headers(response, cors_origin)
        return response

    return middleware


def is_always_there(path: str) -> bool:
    """Say whether a path is answered however the store is: nothing of what is in it is told there."""
    return path in ALWAYS or path.startswith((STATIC_PATH, POLICY_PATH + "/"))


def _refuses_by_itself(path: str) -> bool:
    return path == COURSES_PATH or path.startswith((COURSES_PATH + "/", COURSES_PATH + "."))
