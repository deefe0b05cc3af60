"""What commands share that open the installation itself: beside a running server, or without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import click

from lrs.config import KEY_SETTINGS, Mode, Settings
from lrs.errors import GriffelError, Misconfigured

KEEPING = ("epoch_days", "epochs_kept", "retention_hours", "policy", "purposes", "kafka")
"""The settings by which privacy is kept."""
PLACES = ("mode", "data", "database_url", "keys_url", *KEY_SETTINGS)
"""The settings that say where an installation is."""
SERVER_WAIT_S = 10.0
"""How long a server that is only just starting is waited for."""
SERVER_POLL_S = 0.1

T = TypeVar("T")


def carry_out(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; tell what went wrong in a sentence."""
    from projections.view_store import StoreBusy  # noqa: PLC0415  keeps `griffel --help` quick
    from schemas.errors import InvalidInput  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except GriffelError as error:
        raise click.ClickException(error.detail) from error
    except InvalidInput as error:
        raise click.ClickException(f"{error.detail} {error.pointer}".strip()) from error
    except StoreBusy as error:
        raise click.ClickException(f"{error}; try again") from error


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Open key vault and views to read them: (vault, view store, opener). A server may run beside it."""
    from lrs.opening import VaultOpener  # noqa: PLC0415
    from lrs.places import open_vault, view_store  # noqa: PLC0415

    if settings.mode is Mode.EMBEDDED and not (settings.data / "views" / "views.db").exists():
        raise Misconfigured(f"there are no views in {settings.data}; name the data folder of a server with --data")
    async with open_vault(settings) as vault:
        opener = VaultOpener(vault)
        store = await asyncio.to_thread(view_store, settings, opener, read_only=True)
        try:
            yield vault, store, opener
        finally:
            store.close()


async def with_services(
    settings: Settings, here: Callable[[Any], Awaitable[T]], there: Callable[[Any], Awaitable[T]]
) -> T:
    """Do something that needs the whole installation.

    `here` gets its services, when no server has the data folder (or in cluster mode, where nobody has it alone);
    `there` gets a function that asks the server that has it: `await ask(command, asked)`.
    """
    from lrs.asking import ask_server  # noqa: PLC0415
    from lrs.data_folder import control_socket  # noqa: PLC0415

    async def ask(command: str, asked: dict[str, Any]) -> Any:
        return await ask_server(control_socket(settings.data), command, asked)

    if settings.mode is Mode.CLUSTER:
        from lrs.wiring import open_services  # noqa: PLC0415

        async with open_services(settings) as services:
            if services.guard is not None:
                # What does not append may go on beside a log that is still being compared; the rest says so itself.
                with suppress(TimeoutError):
                    await asyncio.wait_for(services.guard.opened.wait(), SERVER_WAIT_S)
            return await here(services)

    async def alone() -> T:
        from lrs.wiring import open_services  # noqa: PLC0415  a server that runs is asked without all this

        async with open_services(settings) as services:
            return await here(services)

    return await _alone_or(settings, alone, lambda: there(ask))


async def beside_server(
    settings: Settings, here: Callable[[], Awaitable[T]], command: str, asked: dict[str, Any]
) -> Any:
    """Do something in this process; where a server has the data folder, have it carry out a command instead."""
    from lrs.asking import ask_server  # noqa: PLC0415
    from lrs.data_folder import control_socket  # noqa: PLC0415

    if settings.mode is Mode.CLUSTER:
        return await here()
    return await _alone_or(settings, here, lambda: ask_server(control_socket(settings.data), command, asked))


async def _alone_or(settings: Settings, alone: Callable[[], Awaitable[T]], beside: Callable[[], Awaitable[T]]) -> T:
    """Do something that needs the data folder for itself; where a server has it, do it through that one."""
    from lrs.data_folder import FolderTaken, locked  # noqa: PLC0415

    ends = time.monotonic() + SERVER_WAIT_S
    while True:
        try:
            with locked(settings.data):
                return await alone()
        except FolderTaken:
            try:
                return await beside()
            except OSError:
                # Whoever has the folder is only just starting, or is another command that will soon be done.
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(SERVER_POLL_S)
