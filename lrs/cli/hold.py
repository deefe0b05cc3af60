"""`griffel hold`: what may not be destroyed, because the law says so."""

from __future__ import annotations

from typing import Any

import click
import orjson

from lrs.cli.agents import read_agent
from lrs.cli.installation import KEEPING, PLACES, carry_out, with_services
from lrs.config import Settings, with_settings
from schemas.person_states import GROUNDS

_AGENT = click.option(
    "--agent", "agent_text", metavar="JSON", required=True, help="Whose: an xAPI agent with one of their identifiers."
)
_PURPOSE = click.option("--purpose", metavar="ID", required=True, help="Which purpose, as the register names it.")


@click.group()
def hold() -> None:
    """Keep what is recorded of a learner for a purpose from being destroyed, on a legal ground, and release it.

    \b
    griffel hold place --agent '{"mbox": "mailto:ada@school.example"}' --purpose learning --ground legal_claims
    griffel hold list
    griffel hold release --agent '{"mbox": "mailto:ada@school.example"}' --purpose learning

    An erasure destroys the rest, hides what is held from everybody, and goes on by itself when the hold is released.
    Terms that end do not touch it either. Works while a server runs and while none does.
    """


@hold.command()
@_AGENT
@_PURPOSE
@click.option("--ground", type=click.Choice(list(GROUNDS)), required=True, help="Why (GDPR, Article 17(3)).")
@with_settings(*PLACES, *KEEPING)
def place(settings: Settings, agent_text: str, purpose: str, ground: str) -> None:
    """Hold what is kept of a learner for a purpose."""
    asked = {"agent": read_agent(agent_text), "purpose": purpose, "held": True, "ground": ground}
    told = carry_out(_ask(settings, "holds/change", asked))
    click.echo(f"Held: {told['purpose']}." if told["changed"] else "It was held on this ground already.")


@hold.command()
@_AGENT
@_PURPOSE
@with_settings(*PLACES, *KEEPING)
def release(settings: Settings, agent_text: str, purpose: str) -> None:
    """Release what is held; an erasure that it kept goes on."""
    asked = {"agent": read_agent(agent_text), "purpose": purpose, "held": False}
    told = carry_out(_ask(settings, "holds/change", asked))
    click.echo(f"Released: {told['purpose']}." if told["changed"] else "It was not held.")


@hold.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES, *KEEPING)
def list_holds(settings: Settings, *, as_json: bool) -> None:
    """List what is held: by the id that an erasure of the learner has, which says nothing about anybody."""
    told = carry_out(_ask(settings, "holds/list", {}))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    if not told:
        click.echo("Nothing is held.")
        return
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("erasure", "purpose", "ground", box=box.SIMPLE_HEAD, pad_edge=False)
    for one in told:
        table.add_row(one["erasure"], one["purpose"], one["ground"])
    Console().print(table)


async def _ask(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    async def here(services: Any) -> Any:
        told = await services.desk.commands()[command](asked)
        # What a release began in this process ends in it.
        await services.retention.finish()
        return told

    return await with_services(settings, here, lambda ask: ask(command, asked))
