"""`griffel relay`."""

from __future__ import annotations

import asyncio
import signal

import click

from lrs.cli.listen import listen_option
from lrs.cli.serve import run_loop
from lrs.config import KAFKA_SETTINGS, Mode, Settings, with_settings
from lrs.errors import GriffelError, Misconfigured
from lrs.logs import set_up_logs


@click.command()
@listen_option
@with_settings("mode", "database_url", *KAFKA_SETTINGS, "log_level")
def relay(settings: Settings, listen: str) -> None:
    """Copy the log to Kafka, in order, from where it was to where the log ends; then follow it.

    One relay of a cluster works; others that are started stand by. It needs the log's database and Kafka, and no keys:
    it copies sealed records. SIGTERM lets what is on its way arrive.
    """
    set_up_logs(settings.log_level)
    try:
        run_loop(_run(settings, listen))
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


async def _run(settings: Settings, listen: str) -> None:
    from lrs.cluster import relay as make_relay  # noqa: PLC0415
    from lrs.http.operations import listening, relay_health, relay_numbers  # noqa: PLC0415  keeps --help quick
    from lrs.metrics import moment_text  # noqa: PLC0415

    if settings.mode is not Mode.CLUSTER:
        raise Misconfigured("embedded mode has no relay: give GRIFFEL_MODE=cluster")
    working = await asyncio.to_thread(make_relay, settings)
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, working.stop)

    async def text() -> bytes:
        return await moment_text(None, [], relay_numbers(working.status))

    async with listening(listen, lambda: relay_health(working.status), text):
        await asyncio.to_thread(working.run)
