"""`griffel keys`: rotate the epochs, and say which keys there are."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out
from lrs.config import Mode, Settings, with_settings
from lrs.errors import Misconfigured


@click.group()
def keys() -> None:
    """Look after the keys: wrap them anew, and list what there is.

    Each learner has random keys of their own, by purpose and year. They lie in the vault, wrapped under the key of an
    epoch, whose root is with a provider. No command shows a key.
    """


@keys.command()
@click.option("--keep", type=click.IntRange(0, 1_000), help="How many epochs before this one stay.  [epochs-kept]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES, "epoch_days", "epochs_kept")
def rotate(settings: Settings, keep: int | None, *, as_json: bool) -> None:
    """Begin an epoch: wrap every living key anew, and destroy the oldest epoch that was kept.

    A backup of the vault from an epoch that is destroyed can be opened by nobody: so the erased go from backups too.
    A server does this by itself every `epoch-days`; `epochs-kept` says how many stay. Safe at any time: a crash leaves
    the old epoch or the new one, whole, and the same command goes on.

    \b
    After an erasure that must reach every backup at once:   griffel keys rotate --keep 0
    From then on no backup of the vault from before can be opened, by anybody: make a new one.
    """
    told = carry_out(_rotate(settings, keep))
    if as_json:
        click.echo(orjson.dumps(told))
        return
    kept = ", ".join(str(one) for one in told["kept"])
    click.echo(f"Epoch {told['epoch']}: {told['keys']:,} keys and {told['identifiers']:,} identifiers wrapped anew.")
    click.echo(f"Epochs whose backups can still be opened: {kept}.")


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def inventory(settings: Settings, *, as_json: bool) -> None:
    """Count the keys by purpose, year, state and epoch. Nothing in it is about anybody."""
    told = carry_out(_inventory(settings))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("purpose", "year", "state", "epoch", "keys"):
        table.add_column(name, justify="left" if name in ("purpose", "state") else "right")
    for one in told["keys"]:
        table.add_row(one["purpose"], str(one["year"] or ""), one["state"], str(one["epoch"]), f"{one['keys']:,}")
    Console().print(table)
    epochs = ", ".join(f"{one['epoch']} (since {one['began'][:10]})" for one in told["epochs"])
    click.echo(f"Epochs: {epochs}. Roots are held by: {told['provider']}.")


@keys.command("confirm-lost")
@click.option("--yes", is_flag=True, help="Confirm it. Without this only what is missing is counted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def confirm_lost(settings: Settings, *, yes: bool, as_json: bool) -> None:
    """Say that keys which are missing from the vault are lost for ever, so that the store serves the rest.

    A store whose vault lacks keys that its log names does not start: the vault may be another one, or an older copy.
    Put the right one back if there is any. If there is none, what was sealed under those keys can be opened by nobody;
    this says so, and nothing else makes it so. It is no erasure. With no server running in embedded mode.
    """
    told = carry_out(_confirm_lost(settings, yes=yes))
    if as_json:
        click.echo(orjson.dumps(told))
        return
    click.echo(f"{told['keys']:,} keys of {told['owners']:,} learners or activities are missing from the vault.")
    if told["keys"]:
        click.echo(
            "They are lost now." if yes else "Nothing was changed. To give them up: griffel keys confirm-lost --yes"
        )


async def _confirm_lost(settings: Settings, *, yes: bool) -> Any:
    from lrs.data_folder import locked  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.lost_keys import confirm_lost as give_up  # noqa: PLC0415
    from lrs.lost_keys import missing_keys  # noqa: PLC0415
    from lrs.places import log_reader, open_vault  # noqa: PLC0415

    async def work() -> Any:
        async with open_vault(settings) as vault:
            reader = log_reader(settings)
            try:
                missing = await vault.with_store(lambda store: missing_keys(reader, store))
                if yes and missing:
                    await vault.with_store(lambda store: give_up(vault, store, missing))
            finally:
                reader.close()
        return {"keys": len(missing), "owners": len({key.owner for key in missing}), "confirmed": yes and bool(missing)}

    if settings.mode is Mode.CLUSTER:
        return await work()
    if not (settings.data / "vault" / "vault.db").exists():
        raise Misconfigured(f"there is no key vault in {settings.data}; name the data folder of a server with --data")
    with locked(settings.data):
        return await work()


async def _rotate(settings: Settings, keep: int | None) -> Any:
    from lrs.cli.installation import beside_server  # noqa: PLC0415
    from lrs.places import key_rotation, open_vault  # noqa: PLC0415

    async def here() -> Any:
        async with open_vault(settings) as vault:
            done = await key_rotation(settings, vault).rotate(kept=keep)
            assert done is not None
            return done._asdict()

    return await beside_server(settings, here, "keys/rotate", {"kept": keep})


async def _inventory(settings: Settings) -> Any:
    from lrs.inventory import read_inventory  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.places import key_provider, vault_store  # noqa: PLC0415

    if settings.mode is Mode.EMBEDDED and not (settings.data / "vault" / "vault.db").exists():
        raise Misconfigured(f"there is no key vault in {settings.data}; name the data folder of a server with --data")

    def work() -> Any:
        store = vault_store(settings)
        try:
            return read_inventory(store, key_provider(settings).name)
        finally:
            store.close()

    return await asyncio.to_thread(work)
