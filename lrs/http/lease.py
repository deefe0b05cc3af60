"""No answer leaves a process that has lost its lease on keys since it began to answer (lrs/key_vault.py).

A process may stand still at any moment, longer than a lease lasts: its machine was suspended, or cut off. Meanwhile
somebody may have been erased. What it had opened for an answer must then not be sent, so such an answer becomes a 503;
one that is sent piece by piece is cut off instead of begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from lrs.errors import Busy
from lrs.http.app import Services, add_common_headers
from lrs.http.call import VERSION_HEADER, answer_version
from lrs.http.gate import is_always_there
from lrs.http.problem import problem
from lrs.key_lease import Answering

_ANSWERING = web.RequestKey("answering", Answering)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def under_lease(services: Services) -> Any:
    """Give the middleware that lets answers out while the lease under which they were begun holds."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _reads(request):
            return await handler(request)
        request[_ANSWERING] = answering = services.vault.begin_answer()
        try:
            response = await handler(request)
        finally:
            # Not now: what was handed back is sent before anything else has its turn.
            asyncio.get_running_loop().call_soon(services.vault.end_answer, answering)
        if response.prepared or _may_leave(services, answering, response):
            return response
        response = problem(Busy("the keys could not be asked for while this was answered; try again"))
        response.headers[VERSION_HEADER] = answer_version(request.headers)
        add_common_headers(response, services.cors_origin)
        return response

    return middleware


def cut_off(services: Services) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Give what is called before the head of any answer is sent: it closes the connection where the lease was lost."""

    async def before_head(request: web.Request, response: web.StreamResponse) -> None:
        answering = request.get(_ANSWERING)
        if answering is not None and request.transport is not None and not _may_leave(services, answering, response):
            request.transport.abort()
        if answering is not None and response.content_type == "text/event-stream":
            # Its events are answers of their own, for as long as somebody listens.
            services.vault.end_answer(answering)

    return before_head


def _may_leave(services: Services, answering: Answering, response: web.StreamResponse) -> bool:
    """Say whether an answer may be sent: a refusal repeats nothing of what is stored."""
    return response.status >= web.HTTPBadRequest.status_code or services.vault.covers(answering)


def _reads(request: web.Request) -> bool:
    """Say whether the answer may hold what somebody else wrote; 1.0.3 lets a POST with a query stand for a GET."""
    if request.method == "POST" and not request.query_string:
        return False
    return request.method in ("GET", "HEAD", "POST") and not is_always_there(request.path)
