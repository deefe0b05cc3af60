"""`griffel restore`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.serve import run_loop
from lrs.config import KAFKA_SETTINGS, KEY_SETTINGS, Mode, Settings, with_settings
from lrs.errors import GriffelError, Misconfigured


@click.command()
@click.option("--from", "source", metavar="DIR", type=click.Path(path_type=Path), help="Put a backup in place.")
@click.option("--from-kafka", is_flag=True, help="Cluster: read the events back from Kafka.")
@click.option(
    "--without-journal",
    is_flag=True,
    help="Serve on though the journal is lost: whoever was erased after the backup is there again.",
)
@click.option(
    "--accept-loss", is_flag=True, help="Serve on though what was once on Kafka is lost: its positions are given again."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@with_settings("mode", "data", "database_url", "keys_url", *KEY_SETTINGS, *KAFKA_SETTINGS, "log_level")
def restore(
    settings: Settings,
    source: Path | None,
    *,
    from_kafka: bool,
    without_journal: bool,
    accept_loss: bool,
    quiet: bool,
) -> None:
    """Bring an installation back, before anything is served from it.

    From a backup (embedded): log, attachments and vault are put in place, and what was there is put aside. The journal
    stays: at its start the server erases again whoever was erased since. Root keys are not in a backup; put them where
    they were.

    From Kafka (cluster): an empty database gets the whole log back, one from an older backup what is newer than its
    end: events with their positions, times and bytes, and the index that statements are found by. Kafka and the key
    vault are enough. Stop the servers and the relay first. If it is interrupted, type it again: it goes on from where
    the log ends.

    Documents and attachments are no events: they come back with a backup of the database.

    \b
      griffel restore --from /mnt/backups/2026-11-23
      griffel restore --from-kafka
    """
    if (source is not None or without_journal) and not from_kafka:
        _restore_embedded(settings, source, without_journal=without_journal)
        return
    if not from_kafka or source is not None or without_journal:
        raise click.UsageError("Say what to restore from: --from DIR (embedded) or --from-kafka (cluster).")
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


def _restore_embedded(settings: Settings, source: Path | None, *, without_journal: bool) -> None:
    from lrs.backup import forget_journal, restore_embedded  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.data_folder import locked  # noqa: PLC0415
    from lrs.places import journal_path  # noqa: PLC0415

    try:
        if settings.mode is not Mode.EMBEDDED:
            raise Misconfigured("the dumps of a cluster are put in place by pg_restore; see the how-to on backups")
        with locked(settings.data):
            if source is not None:
                manifest = restore_embedded(source, settings.data)
                click.echo(f"Restored: the log as it was at position {manifest['log_position']:,}.")
                if manifest["aside"]:
                    click.echo(f"What was there is in {manifest['aside']}; delete it when all is well.")
            if without_journal:
                forget_journal(settings.data, journal_path(settings))
                click.echo(
                    "The vault serves without its journal. Whoever was erased after the backup: erase them again."
                )
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
