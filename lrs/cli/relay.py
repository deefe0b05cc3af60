"""`griffel relay`."""

from __future__ import annotations

import signal

import click

from lrs.config import Mode, Settings, with_settings
from lrs.errors import GriffelError, Misconfigured
from lrs.logs import set_up_logs


@click.command()
@with_settings("mode", "database_url", "kafka", "log_level")
def relay(settings: Settings) -> None:
    """Copy the log to Kafka, in order, from where it was to where the log ends; then follow it.

    One relay of a cluster works; others that are started stand by. It needs the log's database and Kafka, and no keys:
    it copies sealed records. SIGTERM lets what is on its way arrive.
    """
    set_up_logs(settings.log_level)
    try:
        _run(settings)
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


def _run(settings: Settings) -> None:
    from lrs.wiring import relay as make_relay  # noqa: PLC0415  keeps `griffel --help` quick

    if settings.mode is not Mode.CLUSTER:
        raise Misconfigured("embedded mode has no relay: give GRIFFEL_MODE=cluster")
    working = make_relay(settings)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: working.stop())
    working.run()
