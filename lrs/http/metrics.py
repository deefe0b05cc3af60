"""`/metrics`: what is measured, for Prometheus, and who may read it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from enum import StrEnum

from aiohttp import web

from lrs.errors import GriffelError, NotFound
from lrs.http.app import COMMON_HEADERS, Services
from lrs.http.call import authenticate
from lrs.http.problem import WrongMethod, problem
from lrs.metrics import Metrics
from lrs.scopes import Scope
from lrs.status import RelayPosition, Status, read_status
from lrs.view_process import ViewsStatus
from schemas.errors import InvalidInput

METRICS_PATH = "/metrics"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class Readers(StrEnum):
    """Who may read /metrics."""

    LOCAL = "local"
    OPEN = "open"
    OFF = "off"


def setup_metrics(
    app: web.Application,
    services: Services,
    metrics: Metrics,
    readers: Readers,
    view_status: Callable[[], ViewsStatus] = ViewsStatus,
    relay: RelayPosition | None = None,
) -> None:
    """Add METRICS_PATH. relay says how far the relay is, where there is one; view_status: see ViewProcess."""

    async def status() -> Status:
        return await read_status(services.log, services.views.store, relay)

    async def read(request: web.Request) -> web.Response:
        try:
            await _admit(request, services, readers)
        except (InvalidInput, GriffelError) as error:
            response = problem(error)
            if isinstance(error, WrongMethod):
                response.headers["Allow"] = "GET, HEAD"
        else:
            views, found = services.views, view_status()
            sources = {
                "griffel_log_writable": lambda: float(services.log.writable),
                "griffel_key_vault_ready": lambda: float(services.vault.ready),
                "griffel_queued_events": lambda: float(services.log.queued_events),
                "griffel_stream_entries": lambda: float(views.completions.known_newest),
                "griffel_completions_left_out": lambda: float(found.left_out),
            }
            text = await metrics.text(status, found.consumers, sources)
            response = web.Response(body=text, headers={"Content-Type": TEXT_TYPE})
        response.headers.update(COMMON_HEADERS)
        return response

    app.router.add_route("*", METRICS_PATH, read)


async def _admit(request: web.Request, services: Services, readers: Readers) -> None:
    """Let in who may read. Raises NotFound, WrongMethod, NotAuthenticated, NotAllowed."""
    if readers is Readers.OFF:
        raise NotFound
    if request.method not in ("GET", "HEAD"):
        raise WrongMethod("metrics are read, by GET or HEAD", "")
    if readers is Readers.OPEN or _is_local(request):
        return
    caller = await authenticate(request.headers, services.credentials, services.bearer)
    caller.must(Scope.ALL_READ)


def _is_local(request: web.Request) -> bool:
    """Say whether the request comes from this machine, and not from elsewhere by a proxy on it."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
