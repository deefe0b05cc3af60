"""`griffel consume`."""

from __future__ import annotations

import asyncio
import signal

import click

from lrs.cli.listen import listen_option
from lrs.cli.serve import run_loop
from lrs.config import KAFKA_SETTINGS, KEY_SETTINGS, Mode, Settings, with_settings
from lrs.errors import GriffelError, Misconfigured
from lrs.logs import set_up_logs


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME [NAME…]")
@listen_option
@with_settings("mode", "database_url", "keys_url", *KEY_SETTINGS, *KAFKA_SETTINGS, "log_level")
def consume(settings: Settings, names: tuple[str, ...], listen: str) -> None:
    """Compute the views NAME from the log on Kafka, and follow it.

    Any number of processes may compute the same view, on any number of machines: Kafka deals the partitions out over
    them. SIGTERM lets the batches under way finish.

    \b
      griffel consume progress completions enrolments

    Enrolments and completions are computed with progress. Whoever computes completions also tells institutions of
    them; a process that only does that is called completion_stream.
    """
    set_up_logs(settings.log_level)
    try:
        run_loop(_consume(settings, names, listen))
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


async def _consume(settings: Settings, names: tuple[str, ...], listen: str) -> None:
    from lrs.cluster import consuming  # noqa: PLC0415
    from lrs.http.operations import listening  # noqa: PLC0415  keeps `griffel --help` quick

    if settings.mode is not Mode.CLUSTER:
        raise Misconfigured("an embedded server computes its views itself; in a cluster give GRIFFEL_MODE=cluster")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with consuming(settings, names) as consumers, listening(listen, consumers.health, consumers.text):
        reports = asyncio.create_task(consumers.report())
        await stopping.wait()
        reports.cancel()
        await asyncio.gather(reports, return_exceptions=True)
