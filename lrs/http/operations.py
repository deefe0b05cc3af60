"""Health and metrics of a process that serves nobody else: the relay, the consumers.

On an address of its own, for operators alone: whoever reaches it may read it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from lrs.errors import Misconfigured
from lrs.http.app import COMMON_HEADERS
from lrs.http.health import Check, Health, health_of, setup_health
from lrs.http.metrics import METRICS_PATH, TEXT_TYPE
from lrs.http.problem import WrongMethod, problem
from lrs.relay import RelayStatus

PORT_MAX = 65_535
STOP_S = 5.0
"""How long an answer that is under way may take when the process ends."""


@asynccontextmanager
async def listening(
    address: str, health: Callable[[], Awaitable[Health]], text: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[None]:
    """Answer health and metrics at an address (host:port), meanwhile; with an empty one, nobody is listened to.

    Raises Misconfigured when the address is none, or cannot be listened on.
    """
    if not address:
        yield
        return
    host, port = _parts(address)

    async def metrics(request: web.Request) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            response = problem(WrongMethod("metrics are read, by GET or HEAD", ""))
            response.headers["Allow"] = "GET, HEAD"
        else:
            response = web.Response(body=await text(), headers={"Content-Type": TEXT_TYPE})
        response.headers.update(COMMON_HEADERS)
        return response

    app = web.Application()
    setup_health(app, health)
    app.router.add_route("*", METRICS_PATH, metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Misconfigured(f"cannot listen on {address}: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()


async def relay_health(status: RelayStatus) -> Health:
    """Say how a relay is: one that works and one that stands by are well."""
    well = status.state in ("running", "standby")
    return health_of([Check("relay", well, status.state), *_needs(status)])


def relay_numbers(status: RelayStatus) -> dict[str, Callable[[], float]]:
    """Give what is measured of a relay, by the names of lrs/metrics.py."""
    return {
        "griffel_relay_running": lambda: float(status.state == "running"),
        "griffel_relay_standby": lambda: float(status.state == "standby"),
        "griffel_relay_position": lambda: float(status.position),
        "griffel_relay_lag_events": lambda: float(status.lag_events),
        "griffel_relay_lag_seconds": lambda: status.lag_s,
        "griffel_relay_events": lambda: float(status.sent),
        "griffel_relay_failures": lambda: float(status.failures),
    }


def _needs(status: RelayStatus) -> list[Check]:
    """Name what a relay waits for."""
    return [Check(status.waits_for, ok=False, detail="silent")] if status.state == "waiting" else []


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > PORT_MAX:
        raise Misconfigured("GRIFFEL_LISTEN must be an address to listen on, as host:port")
    return host.strip("[]"), int(port)
