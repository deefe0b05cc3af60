"""`griffel serve`: open everything, answer until told to stop, let what is under way finish."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from lrs.config import Mode, Settings
from lrs.control import control_application
from lrs.data_folder import control_socket, locked
from lrs.errors import KeysAway
from lrs.garbage import spare_the_collector
from lrs.http.app import Services
from lrs.http.courses import setup_courses
from lrs.http.gate import gate
from lrs.http.health import check_health, setup_health, waiting_consumers
from lrs.http.lease import cut_off, under_lease
from lrs.http.metrics import Readers, setup_metrics
from lrs.http.pages import PageState, setup_pages
from lrs.http.privacy import setup_privacy
from lrs.http.privacy_policy import setup_privacy_policy
from lrs.http.protocol import Runner
from lrs.http.routes import xapi_routes
from lrs.http.streams import setup_streams
from lrs.http.unready import unready
from lrs.metrics import Metrics
from lrs.places import relay_position
from lrs.scopes import Scope
from lrs.view_process import ViewProcess, ViewsStatus
from lrs.views import build_anew
from lrs.wiring import open_services, view_process

SHUTDOWN_S = 30.0
BACKLOG_CONNECTIONS = 1_024
SWITCH_INTERVAL_S = 0.0005
"""How soon a thread that computes lets another have Python's lock: readers and the vault step often and briefly."""
KEYS_WAIT_S = 0.2
KEYS_WAIT_MAX_S = 5.0
"""Between two tries to open the vault while who holds the root keys is away."""
HEADER_BYTES_MAX = 16 * 1024


def application(
    services: Services,
    settings: Settings,
    metrics: Metrics | None = None,
    view_status: Callable[[], ViewsStatus] = ViewsStatus,
) -> web.Application:
    """Give the whole HTTP application; metrics are its own where none are given. view_status: see ViewProcess."""
    metrics = metrics or Metrics()
    middlewares = [metrics.middleware]
    if services.guard is not None:
        middlewares.append(gate(services.guard, services.cors_origin))
    middlewares.append(under_lease(services))
    app = web.Application(client_max_size=services.limits.body_bytes_max, middlewares=middlewares)
    app.on_response_prepare.append(cut_off(services))
    app.add_routes(xapi_routes(services))
    setup_health(app, lambda: check_health(services), lambda: waiting_consumers(view_status().consumers))
    setup_metrics(app, services, metrics, Readers(settings.metrics), view_status, relay_position(settings))
    setup_streams(app, services)
    setup_privacy(app, services)
    setup_courses(app, services, services.views.courses)
    setup_privacy_policy(app, services.policy, services.purposes)

    def public_url(request: web.Request) -> str:
        return settings.public_url.rstrip("/") or f"{request.scheme}://{request.host}"

    state = PageState(
        version=version("griffel"),
        mode=settings.mode.value,
        public_url=public_url,
        health=lambda: check_health(services),
    )
    setup_pages(app, state)
    return app


async def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. tell says things to the person at the terminal.

    Raises Misconfigured and Busy when something cannot be opened; the folder's lock is held throughout (embedded).
    """
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with AsyncExitStack() as stack:
        if settings.mode is Mode.EMBEDDED:
            stack.enter_context(locked(settings.data))
        services = await _open(stack, settings, stopping, tell)
        if services is None:
            return
        process = view_process(settings, services.log)
        base = await _listen(stack, services, settings, process)
        spare_the_collector()
        await stack.enter_async_context(_keeping(services))
        if process is not None:
            await stack.enter_async_context(process.running())
            await _listen_for_commands(stack, services, settings, process)
        await _greet(services, settings, base, tell)
        await stopping.wait()
        tell("Stopping: what is under way is being finished.")


@asynccontextmanager
async def _keeping(services: Services) -> AsyncIterator[None]:
    """Have done what nobody asks for: erasures that were left go on, keys are rotated when they are due."""

    async def take_up() -> None:
        if services.guard is not None:
            await services.guard.opened.wait()
        await services.desk.keep_taking_up()

    async def expire() -> None:
        if services.guard is not None:
            await services.guard.opened.wait()
        await services.retention.keep_expiring()

    tasks = [asyncio.create_task(work) for work in (take_up(), expire(), services.rotation.keep_rotating())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _open(
    stack: AsyncExitStack, settings: Settings, stopping: asyncio.Event, tell: Callable[[str], None]
) -> Services | None:
    """Open everything. While who holds the root keys is away, say so to whoever asks, and try again.

    None when told to stop meanwhile. What trying again does not mend is raised: a wrong PIN locks a token.
    """
    try:
        return await stack.enter_async_context(open_services(settings))
    except KeysAway as error:
        away = error
    wait_s = KEYS_WAIT_S
    async with unready(settings.host, settings.port, settings.cors_origin):
        tell(f"Not ready: {away.detail}. Griffel goes on by itself once that is mended.")
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait_s)
                break
            wait_s = min(2 * wait_s, KEYS_WAIT_MAX_S)
            with contextlib.suppress(KeysAway):
                return await stack.enter_async_context(open_services(settings))
    return None


async def _listen(stack: AsyncExitStack, services: Services, settings: Settings, process: ViewProcess | None) -> str:
    metrics = Metrics()
    services.log.on_group = metrics.note_group
    view_status = (lambda: process.status) if process is not None else ViewsStatus
    runner = Runner(
        application(services, settings, metrics, view_status),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_S,
        auto_decompress=False,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG_CONNECTIONS)
    site = web.SockSite(runner, listener)
    await site.start()
    port = listener.getsockname()[1]
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::") else settings.host  # noqa: S104
    return settings.public_url.rstrip("/") or f"http://{host}:{port}"


async def _listen_for_commands(
    stack: AsyncExitStack, services: Services, settings: Settings, process: ViewProcess
) -> None:
    path = control_socket(settings.data)
    path.unlink(missing_ok=True)
    passed_on = {name: partial(process.ask, name) for name in services.views.commands()}
    services.retention.rebuild = partial(build_anew, passed_on)
    commands = passed_on | services.desk.commands() | services.retention.commands()
    control = control_application(services.credentials, commands)
    runner = web.AppRunner(control, access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.UnixSite(runner, str(path)).start()
    path.chmod(0o600)
    stack.callback(_remove, path)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


async def _greet(services: Services, settings: Settings, base: str, tell: Callable[[str], None]) -> None:
    """Say where the server is; at the very first start, make a credential and say it this once."""
    tell(f"Griffel {version('griffel')} ({settings.mode.value}) is at {base}")
    tell(f"xAPI endpoint: {base}/xapi")
    if await services.credentials.listed():
        return
    key, secret = await services.credentials.create(frozenset({Scope.ALL}), label="first credential")
    tell("\nThis credential may do everything and is shown only now:")
    tell(f"  key     {key}")
    tell(f"  secret  {secret}")
    statement = (
        '{"actor":{"account":{"homePage":"https://school.example","name":"ada"}},'
        '"verb":{"id":"http://adlnet.gov/expapi/verbs/experienced"},"object":{"id":"https://school.example/welcome"}}'
    )
    tell("\nTry it:")
    tell(
        f"  curl -u {key}:{secret} -H 'X-Experience-API-Version: 2.0.0' -H 'Content-Type: application/json' "
        f"-d '{statement}' {base}/xapi/statements\n"
    )
