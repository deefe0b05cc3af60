"""`griffel backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out
from lrs.cli.progress import Tally, TransferProgress
from lrs.config import Mode, Settings, with_settings


@click.command()
@click.option(
    "--to",
    "target",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder that is not there yet.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@with_settings(*PLACES)
def backup(settings: Settings, target: Path, *, as_json: bool, quiet: bool) -> None:
    """Copy log and vault, apart, in an order in which they fit together. Works while a server runs.

    \b
      griffel backup --to /mnt/backups/2026-11-23

    Not in it, on purpose: the root keys, without which nothing in it can be opened; and the journal of who was erased,
    which has to survive the machine by itself (copy data/journal wherever you like, and keep the newest). A restored
    backup serves only after the journal has been played back into it.
    """
    made = carry_out(_back_up(settings, target, quiet=quiet or as_json))
    if as_json:
        click.echo(orjson.dumps(made, option=orjson.OPT_INDENT_2))
        return
    click.echo(f"The backup is in {target}: {len(made['files']):,} files.")
    click.echo("Keep the root keys elsewhere, and the journal where the next disk failure does not find it.")


async def _back_up(settings: Settings, target: Path, *, quiet: bool) -> Any:
    import asyncio  # noqa: PLC0415  keeps `griffel --help` quick

    from lrs.backup import back_up_cluster, back_up_embedded  # noqa: PLC0415

    tally = Tally(unit="parts")
    with TransferProgress("backup", tally, quiet=quiet) as progress:
        parts = {"log": 0.0, "attachments": 0.0, "vault": 0.0}

        def tell(part: str, done: float) -> None:
            parts[part] = done
            tally.statements = sum(one >= 1 for one in parts.values())
            tally.fraction = sum(parts.values()) / len(parts)
            progress.update()

        if settings.mode is Mode.CLUSTER:
            return await asyncio.to_thread(back_up_cluster, settings.database_url, settings.keys_url, target, tell)
        return await asyncio.to_thread(back_up_embedded, settings.data, target, tell)
