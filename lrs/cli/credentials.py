"""`griffel credentials`: create, list, revoke."""

from __future__ import annotations

import datetime
import json
from typing import Any

import click

from lrs.cli.agents import read_agent
from lrs.cli.installation import PLACES, beside_server, carry_out
from lrs.config import Settings, with_settings
from lrs.scopes import Scope
from schemas.envelope import Purpose

KEY_CHARACTERS = 20
PURPOSES = [one.name.lower() for one in Purpose if one < Purpose.ACTIVITY]


@click.group()
def credentials() -> None:
    """Make, list and revoke the keys by which content and people reach the store.

    Works while a server runs and while none does.
    """


@credentials.command()
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    metavar="SCOPE",
    help=f"What it may do; give it several times or separate with commas. One of: {', '.join(Scope)}.",
)
@click.option("--label", default="", help="What it is for, in your words.")
@click.option(
    "--purpose",
    default="learning",
    show_default=True,
    type=click.Choice(PURPOSES),
    help="The purpose of whoever reads with it.",
)
@click.option("--authority", help="The agent (JSON) that its statements name as authority. Default: one of its own.")
@click.option("--json", "as_json", is_flag=True, help='Print {"key": …, "secret": …} and nothing else.')
@with_settings(*PLACES)
def create(
    settings: Settings, scopes: tuple[str, ...], label: str, purpose: str, authority: str | None, *, as_json: bool
) -> None:
    """Make a credential. Its secret is shown this once and kept only as a hash.

    \b
    For an LMS that posts and reads everything:   griffel credentials create --scope all --label "our Moodle"
    For content that only posts:                  griffel credentials create --scope statements/write,define,state
    """
    named = None if authority is None else read_agent(authority, "--authority")
    asked = {
        "scopes": ",".join(scopes),
        "label": label,
        "purpose": purpose,
        "authority": named,
    }
    made = _carry_out(settings, "credentials/create", asked)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(f"key     {made['key']}\nsecret  {made['secret']}\nThe secret is not shown again.")


@credentials.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def list_(settings: Settings, *, as_json: bool) -> None:
    """List credentials, revoked ones too; secrets are not kept and cannot be shown."""
    found: list[dict[str, Any]] = _carry_out(settings, "credentials/list", {})
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("There is none yet. Make one: griffel credentials create --scope all")
        return
    from rich.console import Console  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    table.add_column("key", no_wrap=True, min_width=KEY_CHARACTERS)
    for name in ("label", "scopes", "purpose", "made", "revoked"):
        table.add_column(name)
    for one in found:
        revoked = _day(one["revoked_us"]) if one["revoked_us"] else ""
        table.add_row(
            one["key"], one["label"], " ".join(one["scopes"]), one["purpose"], _day(one["created_us"]), revoked
        )
    Console().print(table)


@credentials.command()
@click.argument("key")
@with_settings(*PLACES)
def revoke(settings: Settings, key: str) -> None:
    """End the credential KEY. It is refused at once by this server, by others within five seconds."""
    _carry_out(settings, "credentials/revoke", {"key": key})
    click.echo("Revoked.")


def _day(us: int) -> str:
    return datetime.datetime.fromtimestamp(us / 1_000_000, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _carry_out(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    return carry_out(_ask(settings, command, asked))


async def _ask(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    """Carry out a command in this process, or in the server that has the data folder."""

    async def here() -> Any:
        from lrs.control import COMMANDS  # noqa: PLC0415  a server that runs is asked without all this
        from lrs.credentials import Credentials  # noqa: PLC0415
        from lrs.places import open_vault  # noqa: PLC0415

        async with open_vault(settings) as vault:
            return await COMMANDS[command](Credentials(vault), asked)

    return await beside_server(settings, here, command, asked)
