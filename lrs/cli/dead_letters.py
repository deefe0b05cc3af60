"""`griffel dead-letters`: what could not be applied to a view."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out, reading, with_services
from lrs.config import Settings, with_settings
from lrs.errors import NotFound


@click.group("dead-letters")
def dead_letters() -> None:
    """List, show and redrive events that could not be applied to a view.

    A view goes on without such an event, so it is wrong in what the event says until it has been redriven, or the view
    built anew by a program that can apply it.
    """


@dead_letters.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def list_(settings: Settings, *, as_json: bool) -> None:
    """List dead letters: number, view, position, kind of event, kind of error."""
    found = carry_out(_letters(settings))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    if not found:
        click.echo("There are none: every event was applied to every view.")
        return
    from rich.console import Console  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for name in ("number", "view", "partition", "position", "event", "error", "kept"):
        table.add_column(name)
    for one in found:
        table.add_row(
            *[str(one[name]) for name in ("number", "view", "partition", "position", "event", "error", "kept")]
        )
    Console().print(table)


@dead_letters.command()
@click.argument("number", type=int)
@with_settings(*PLACES)
def show(settings: Settings, number: int) -> None:
    """Show dead letter NUMBER as JSON, with what its statement says where that can be opened.

    What is printed is about people.
    """
    click.echo(orjson.dumps(carry_out(_show(settings, number)), option=orjson.OPT_INDENT_2))


@dead_letters.command()
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="Every dead letter there is.")
@with_settings(*PLACES)
def redrive(settings: Settings, numbers: tuple[int, ...], *, everything: bool) -> None:
    """Apply dead letters NUMBERS once more. What fails again stays, and the exit code is 1."""
    if bool(numbers) == everything:
        raise click.UsageError("Name the numbers of dead letters, or give --all.")
    told = carry_out(_redrive(settings, list(numbers)))
    failed = [one for one in told if one["error"]]
    for one in told:
        click.echo(f"{one['number']}: {one['error'] or 'applied'}")
    if failed:
        raise SystemExit(1)


def _told(letter: Any) -> dict[str, Any]:
    kept = datetime.datetime.fromtimestamp(letter.kept_us / 1_000_000, datetime.UTC)
    return {
        "number": letter.number,
        "view": letter.name,
        "generation": letter.generation,
        "partition": letter.partition,
        "position": letter.position,
        "event": letter.topic,
        "error": letter.reason,
        "kept": kept.strftime("%Y-%m-%d %H:%M:%S"),
    }


async def _letters(settings: Settings) -> list[dict[str, Any]]:
    async with reading(settings) as (_, store, _):
        return [_told(one) for one in await asyncio.to_thread(store.dead_letters)]


async def _show(settings: Settings, number: int) -> dict[str, Any]:
    from consumers.dead_letters import event_of  # noqa: PLC0415

    async with reading(settings) as (_, store, opener):
        letters = await asyncio.to_thread(store.dead_letters)
        letter = next((one for one in letters if one.number == number), None)
        if letter is None:
            raise NotFound(f"there is no dead letter {number}")
        told = _told(letter) | {"originator_id": letter.originator_id.hex(), "record_key": letter.record_key.hex()}
        try:
            [opened] = await asyncio.to_thread(opener.events, [event_of(letter)])
        except Exception as error:  # noqa: BLE001  that it cannot be opened may be why it is here
            return told | {"statement": None, "opening": type(error).__name__}
        return told | {"statement": opened.statement}


async def _redrive(settings: Settings, numbers: list[int]) -> list[dict[str, Any]]:
    async def here(services: Any) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await services.views.redrive(numbers)
        return told

    async def there(ask: Callable[..., Any]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = await ask("dead-letters/redrive", {"numbers": numbers})
        return told

    return await with_services(settings, here, there)
