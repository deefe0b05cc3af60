"""HTTP below the application: broken requests are answered in our words.

The library's own answers to what it cannot parse quote the line that is wrong, and that line can hold a name or a
secret.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from lrs.http.problem import PROBLEM_TYPE, TYPE_PREFIX

FIRST_HEAD_WAIT_S = 30.0
"""How long a new connection may take to send the head of its first request."""

_RULES = {
    HTTPStatus.BAD_REQUEST: "this is not a well-formed HTTP request",
    HTTPStatus.EXPECTATION_FAILED: "the only expectation that can be met is 100-continue",
}


def _answer(status: HTTPStatus) -> dict[str, object]:
    detail = _RULES.get(status, status.description)
    return {"type": TYPE_PREFIX + "invalid-input", "title": status.phrase, "status": status.value, "detail": detail}


class _Protocol(RequestHandler):
    """A connection whose broken requests are answered without quoting them."""

    __slots__ = ("_first_head",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and give the first request's head a bounded time; the library bounds those that follow."""
        super().connection_made(transport)
        self._first_head = self._loop.call_later(FIRST_HEAD_WAIT_S, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._first_head.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed, and close the connection."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("a request failed outside the application", exc_info=exc)
        body = orjson.dumps(_answer(HTTPStatus(status)))
        response = web.Response(status=status, body=body, content_type=PROBLEM_TYPE)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        # The library makes its server inside; ours differs only in the connections that it makes.
        server.__class__ = _Server
        return server


async def expect(request: web.Request) -> None:
    """Answer an Expect header (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        body = orjson.dumps(_answer(HTTPStatus.EXPECTATION_FAILED))
        raise web.HTTPExpectationFailed(body=body, content_type=PROBLEM_TYPE)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # What was written so far is not the answer.
    request.writer.output_size = 0
