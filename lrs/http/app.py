"""The application: routes, and what happens around every xAPI request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from lrs.activities import ActivityCatalogue
from lrs.attachments import Attachments
from lrs.credentials import Credentials
from lrs.documents import Documents
from lrs.errors import Busy, GriffelError
from lrs.event_log import EventLog
from lrs.http.call import (
    CONSISTENT_HEADER,
    VERSION_HEADER,
    BearerCaller,
    Call,
    Limits,
    answer_version,
    authenticate,
    open_call,
    read_version,
)
from lrs.http.problem import WrongMethod, problem, server_fault
from lrs.key_vault import KeyVault
from lrs.policy import Policy
from lrs.privacy_desk import PrivacyDesk
from lrs.purposes import Register
from lrs.reading import StatementReader, timestamp
from lrs.recording import StatementRecorder
from lrs.retention import Retention
from lrs.rotation import Rotation
from lrs.views import Views
from schemas.errors import InvalidInput

if TYPE_CHECKING:
    from lrs.log_guard import LogGuard

log = logging.getLogger("griffel.http")

REQUESTS_AT_ONCE_MAX = 1_000
PREFLIGHT_AGE_S = 86_400
EXPOSED = ", ".join(
    ("ETag", "Last-Modified", "Content-Length", "Retry-After", "WWW-Authenticate", VERSION_HEADER, CONSISTENT_HEADER)
)
ALLOWED = ", ".join(
    (
        "Authorization",
        "Content-Type",
        "If-Match",
        "If-None-Match",
        "Accept-Language",
        VERSION_HEADER,
        "X-Experience-API-Hash",
        "Content-Transfer-Encoding",
    )
)

COMMON_HEADERS = {
    "Access-Control-Expose-Headers": EXPOSED,
    "Cache-Control": "no-store",
    "Server": "Griffel",
    "X-Content-Type-Options": "nosniff",
}

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the resources are made of."""

    log: EventLog
    vault: KeyVault
    recorder: StatementRecorder
    reader: StatementReader
    documents: Documents
    attachments: Attachments
    catalogue: ActivityCatalogue
    credentials: Credentials
    views: Views
    desk: PrivacyDesk
    rotation: Rotation
    retention: Retention
    policy: Policy
    purposes: Register
    guard: LogGuard | None = None
    bearer: BearerCaller | None = None
    limits: Limits = Limits()
    cors_origin: str = "*"


class Resource:
    """An xAPI resource: its handler for each method, and what every answer of it carries."""

    def __init__(
        self,
        services: Services,
        handlers: dict[str, Handler],
        *,
        open_to_all: bool = False,
        consistent: bool = False,
    ) -> None:
        if "GET" in handlers:
            handlers = {**handlers, "HEAD": handlers["GET"]}
        self._services = services
        self._handlers = handlers
        self._open_to_all = open_to_all
        self._consistent = consistent
        self._busy = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever happens."""
        if request.method == "OPTIONS":
            return self._preflight()
        headers = request.headers
        self._busy += 1
        call: Call | None = None
        try:
            self._refuse_overload()
            call = await open_call(request, self._services.limits)
            headers = call.headers  # type: ignore[assignment]
            response = await self._answer(call)
        except (InvalidInput, GriffelError) as error:
            if not isinstance(error, InvalidInput) and not error.retry_helps:
                log.log(_level(error), "%s on %s", type(error).__name__, request.match_info.route.resource)
            response = problem(error)
            if isinstance(error, WrongMethod):
                response.headers["Allow"] = ", ".join([*self._handlers, "OPTIONS"])
        except (asyncio.CancelledError, web.HTTPException, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001  the last line: an answer and a log line without what was sent
            log.error("%s in %s", _where(error), request.match_info.route.resource)  # noqa: TRY400
            response = server_fault()
        finally:
            self._busy -= 1
        if not response.prepared:
            response.headers[VERSION_HEADER] = answer_version(headers)
            await self._mark(response)
        return response

    def _refuse_overload(self) -> None:
        if self._busy > REQUESTS_AT_ONCE_MAX:
            raise Busy("too many requests at once; nothing was done, try again")

    async def _answer(self, call: Call) -> web.StreamResponse:
        handler = self._handlers.get(call.method)
        if self._open_to_all:
            if handler is None:
                raise WrongMethod("this resource does not have this method", "")
            return await handler(call)
        call.caller = await authenticate(call.headers, self._services.credentials, self._services.bearer)
        call.version = read_version(call)
        if handler is None:
            raise WrongMethod("this resource does not have this method", "")
        return await handler(call)

    async def _mark(self, response: web.StreamResponse) -> None:
        """Put on an answer what every answer carries."""
        add_common_headers(response, self._services.cors_origin)
        if self._consistent and CONSISTENT_HEADER not in response.headers:
            response.headers[CONSISTENT_HEADER] = timestamp(await self._watermark())

    async def _watermark(self) -> int:
        try:
            return await self._services.log.watermark()
        except GriffelError:
            return self._services.log.known_head_us

    def _preflight(self) -> web.Response:
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = ", ".join([*self._handlers, "OPTIONS"])
        response.headers["Access-Control-Allow-Headers"] = ALLOWED
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        response.headers["Access-Control-Allow-Origin"] = self._services.cors_origin
        return response


def add_common_headers(response: web.StreamResponse, cors_origin: str) -> None:
    """Put on what keeps answers out of caches, sniffers and other sites, and lets content in a browser read them."""
    response.headers.update(COMMON_HEADERS)
    response.headers["Access-Control-Allow-Origin"] = cors_origin


def _level(error: GriffelError) -> int:
    return logging.ERROR if type(error).__name__ == "Damaged" else logging.DEBUG


def _where(error: Exception) -> str:
    """Name an unexpected error by its kind and place; its text may hold what was sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {place}"
