"""`griffel retention`: what is past its term, and forgetting it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click
import orjson

from lrs.cli.installation import KEEPING, PLACES, carry_out, with_services
from lrs.config import Settings, with_settings

POLL_S = 0.2
COLUMNS = ("purpose", "year", "keys", "learners", "past_since")
DONE_COLUMNS = ("identifiers", "statements", "documents")

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what is past its term; so does leaving out --yes.")
@click.option("--yes", is_flag=True, help="Forget it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@with_settings(*PLACES, *KEEPING)
def retention(settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show what is past its term, by purpose and year; with --yes, forget it.

    \b
    What would go:   griffel retention
    Let it go:       griffel retention --yes

    How long each purpose is kept stands in the register of purposes; a term counts from the end of the year after the
    one in which something was recorded. What is past it is forgotten as by an erasure: everybody's keys for that
    purpose and year are destroyed, in backups too when their epoch ends. A server does it by itself every
    `retention-hours`. Works while a server runs and while none does; what was stopped goes on where it was.
    """
    if dry_run and yes:
        raise click.UsageError("--dry-run shows and --yes forgets: give one of them.")
    told = carry_out(_ask(settings, _expire if yes else lambda ask: ask("retention/due", {})))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    if not told:
        click.echo("Nothing is past its term.")
        return
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*COLUMNS, *(DONE_COLUMNS if yes else ())):
        table.add_column(name.replace("_", " "), justify="left" if name in ("purpose", "past_since") else "right")
    for one in told:
        values = [one[name] for name in (*COLUMNS, *(DONE_COLUMNS if yes else ()))]
        numbers = [f"{value:,}" if type(value) is int else value for value in values[2:]]
        table.add_row(values[0], str(values[1]), *numbers)
    Console().print(table)
    click.echo("Forgotten." if yes else "Nothing was changed. To forget it: griffel retention --yes")


async def _ask(settings: Settings, work: Callable[[Ask], Awaitable[Any]]) -> Any:
    async def here(services: Any) -> Any:
        commands = services.retention.commands()

        async def ask(name: str, asked: dict[str, Any]) -> Any:
            return await commands[name](asked)

        return await work(ask)

    return await with_services(settings, here, work)


async def _expire(ask: Ask) -> Any:
    """Begin, and wait for the end; say on standard error how far it is."""
    told = await ask("retention/begin", {})
    step = ""
    while told["state"] == "under way":
        if told["step"] != step:
            step = told["step"]
            click.echo(f"  {step}", err=True)
        await asyncio.sleep(POLL_S)
        told = await ask("retention/show", {})
    if told["state"] != "done":
        raise click.ClickException(told["reason"])
    return told["expired"]
