"""What a server answers while who holds the root keys is away: that it lives, and that it is not ready."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from lrs.errors import KeysAway
from lrs.http.app import add_common_headers
from lrs.http.call import VERSION_HEADER, answer_version
from lrs.http.health import Check, Health, health_of, setup_health
from lrs.http.problem import problem

KEYS_CHECK = Check("keys", ok=False, detail="away")


@asynccontextmanager
async def unready(host: str, port: int, cors_origin: str) -> AsyncIterator[None]:
    """Answer so for as long as the block lasts: /health/live 200, everything else 503."""
    runner = web.AppRunner(_application(cors_origin), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _application(cors_origin: str) -> web.Application:
    async def health() -> Health:
        return health_of([KEYS_CHECK])

    async def refuse(request: web.Request) -> web.Response:
        response = problem(KeysAway())
        response.headers[VERSION_HEADER] = answer_version(request.headers)
        add_common_headers(response, cors_origin)
        return response

    app = web.Application()
    setup_health(app, health)
    app.router.add_route("*", "/{path:.*}", refuse)
    return app
