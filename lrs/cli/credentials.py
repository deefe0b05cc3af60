"""`griffel credentials`: create, list, revoke."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from typing import Any

import click

from lrs.config import KEY_SETTINGS, Mode, Settings, with_settings
from lrs.credentials import Scope
from lrs.errors import GriffelError
from schemas.envelope import Purpose

LOCK_WAIT_S = 10.0
LOCK_POLL_S = 0.1
KEY_CHARACTERS = 20
PURPOSES = [one.name.lower() for one in Purpose if one < Purpose.ACTIVITY]
_PLACES = ("mode", "data", "database_url", "keys_url", *KEY_SETTINGS)


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
@with_settings(*_PLACES)
def create(
    settings: Settings, scopes: tuple[str, ...], label: str, purpose: str, authority: str | None, *, as_json: bool
) -> None:
    """Make a credential. Its secret is shown this once and kept only as a hash.

    \b
    For an LMS that posts and reads everything:   griffel credentials create --scope all --label "our Moodle"
    For content that only posts:                  griffel credentials create --scope statements/write,define,state
    """
    asked = {"scopes": ",".join(scopes), "label": label, "purpose": purpose, "authority": _agent(authority)}
    made = _carry_out(settings, "credentials/create", asked)
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(f"key     {made['key']}\nsecret  {made['secret']}\nThe secret is not shown again.")


@credentials.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*_PLACES)
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
@with_settings(*_PLACES)
def revoke(settings: Settings, key: str) -> None:
    """End the credential KEY. It is refused at once by this server, by others within five seconds."""
    _carry_out(settings, "credentials/revoke", {"key": key})
    click.echo("Revoked.")


def _agent(text: str | None) -> Any:
    if text is None:
        return None
    from schemas.errors import InvalidInput  # noqa: PLC0415
    from schemas.json_input import parse_json  # noqa: PLC0415
    from schemas.statement import check_agent  # noqa: PLC0415

    try:
        agent = parse_json(text.encode())
        check_agent(agent, "2.0.0", "")
    except InvalidInput as error:
        raise click.UsageError(f"--authority is not an agent: {error.detail} {error.pointer}") from error
    return agent


def _day(us: int) -> str:
    return datetime.datetime.fromtimestamp(us / 1_000_000, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _carry_out(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    try:
        return asyncio.run(_ask(settings, command, asked))
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


async def _ask(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    """Carry out a command in this process, or in the server that has the data folder."""
    from lrs.control import COMMANDS, ask_server  # noqa: PLC0415
    from lrs.credentials import Credentials  # noqa: PLC0415
    from lrs.data_folder import FolderTaken, control_socket, locked  # noqa: PLC0415
    from lrs.places import open_vault  # noqa: PLC0415

    async def here() -> Any:
        async with open_vault(settings) as vault:
            return await COMMANDS[command](Credentials(vault), asked)

    if settings.mode is Mode.CLUSTER:
        return await here()
    ends = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            with locked(settings.data):
                return await here()
        except FolderTaken:
            try:
                return await ask_server(control_socket(settings.data), command, asked)
            except OSError:
                # Whoever has the folder is only just starting, or is another command that will soon be done.
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(LOCK_POLL_S)
