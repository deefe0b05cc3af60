"""`griffel restore`."""

from __future__ import annotations

from collections.abc import Callable

import click

from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.serve import run_loop
from lrs.config import KAFKA_SETTINGS, KEY_SETTINGS, Mode, Settings, with_settings
from lrs.errors import GriffelError, Misconfigured


@click.command()
@click.option("--from-kafka", is_flag=True, required=True, help="Read the events back from Kafka.")
@click.option(
    "--accept-loss", is_flag=True, help="Serve on though what was once on Kafka is lost: its positions are given again."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@with_settings("mode", "database_url", "keys_url", *KEY_SETTINGS, *KAFKA_SETTINGS, "log_level")
def restore(settings: Settings, *, from_kafka: bool, accept_loss: bool, quiet: bool) -> None:
    """Bring the log up to what Kafka has, before anything is served from it.

    An empty database gets the whole log back, one from an older backup what is newer than its end: events with their
    positions, times and bytes, and the index that statements are found by. Kafka and the key vault are enough. Stop
    the servers and the relay first. If it is interrupted, type it again: it goes on from where the log ends.

    Documents and attachments are no events: they come back with a backup of the database.

    \b
      griffel restore --from-kafka
    """
    del from_kafka  # the one source there is; asked for, so that another can come
    tally = Tally(unit="events")
    try:
        with TransferProgress("restore", tally, quiet=quiet) as progress:

            def told(reached: int, known: int) -> None:
                tally.statements = reached
                tally.fraction = reached / known if known else None
                progress.update()

            run_loop(_restore(settings, told, accept_loss=accept_loss))
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


async def _restore(settings: Settings, told: Callable[[int, int], None], *, accept_loss: bool) -> None:
    from lrs.cluster import restoring  # noqa: PLC0415  keeps `griffel --help` quick

    if settings.mode is not Mode.CLUSTER:
        raise Misconfigured("an embedded log is not on Kafka: bring its folder back from a backup")
    async with restoring(settings) as (restore, witness):
        before, after, relayed = await restore.run(told)
        if accept_loss:
            await witness.give_up(relayed)
    if after == before:
        click.echo(f"The log has all that Kafka has: it ends at position {before:,}.")
    else:
        click.echo(f"The log ends at position {after:,} now; it ended at {before:,}.")
