"""Bounds on how long a request may take to come, with the bounds made short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from lrs.http import call as calls
from lrs.http import protocol
from lrs.http.call import Limits, open_call
from lrs.http.problem import problem
from lrs.http.protocol import Runner
from schemas.errors import InvalidInput

BOUND_S = 10.0


async def echo(request: web.Request) -> web.Response:
    try:
        return web.Response(body=await (await open_call(request, Limits())).body())
    except InvalidInput as error:
        return problem(error)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/", echo)
    runner = Runner(app, access_log=None, lingering_time=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def answer_to(port: int, sent: bytes) -> bytes:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(BOUND_S):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_content_that_stops_coming_is_408_and_closes_the_connection(port, monkeypatch):
    monkeypatch.setattr(calls, "CONTENT_WAIT_S", 0.1)
    answer = await answer_to(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["type"] == "urn:griffel:problem:too-slow"


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_a_connection_without_a_first_request_is_closed(port, monkeypatch, sent):
    monkeypatch.setattr(protocol, "FIRST_HEAD_WAIT_S", 0.1)
    assert await answer_to(port, sent) == b""


async def test_a_connection_with_a_request_stays_open(port, monkeypatch):
    monkeypatch.setattr(protocol, "FIRST_HEAD_WAIT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert (await reader.readuntil(b"\r\n\r\nhi")).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(0.2)  # longer than a first head may take
    writer.close()
    await writer.wait_closed()
