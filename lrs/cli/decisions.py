"""`griffel consent`, `griffel restrict` and `griffel unrestrict`: what a learner decides, recorded for them."""

from __future__ import annotations

from typing import Any

import click
import orjson

from lrs.cli.agents import read_agent
from lrs.cli.installation import KEEPING, PLACES, carry_out, with_services
from lrs.config import Settings, with_settings

_AGENT = click.option(
    "--agent", "agent_text", metavar="JSON", required=True, help="Whose: an xAPI agent with one of their identifiers."
)
_PURPOSE = click.option("--purpose", metavar="ID", required=True, help="Which purpose, as the register names it.")
_LANGUAGE = click.option("--language", metavar="TAG", help="Of the policy's text that was shown.  [its first]")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the record and its signed receipt as JSON.")


@click.group()
def consent() -> None:
    """Record that a learner gave or withdrew consent for a purpose.

    \b
    griffel consent withdraw --agent '{"mbox": "mailto:ada@school.example"}' --purpose survey

    Withdrawing is as easy as giving, works for each purpose by itself, and takes effect at once: nothing more is
    recorded for that purpose, readers who have it see nothing of the learner, and what was kept for it alone can be
    opened by nobody. Works while a server runs and while none does.
    """


@consent.command()
@_AGENT
@_PURPOSE
@_LANGUAGE
@_JSON
@with_settings(*PLACES, *KEEPING)
def give(settings: Settings, agent_text: str, purpose: str, language: str | None, *, as_json: bool) -> None:
    """Record that a learner gave consent for a purpose."""
    _consent(settings, agent_text, purpose, language, given=True, as_json=as_json)


@consent.command()
@_AGENT
@_PURPOSE
@_LANGUAGE
@_JSON
@with_settings(*PLACES, *KEEPING)
def withdraw(settings: Settings, agent_text: str, purpose: str, language: str | None, *, as_json: bool) -> None:
    """Record that a learner withdrew consent for a purpose."""
    _consent(settings, agent_text, purpose, language, given=False, as_json=as_json)


@click.command()
@_AGENT
@with_settings(*PLACES, *KEEPING)
def restrict(settings: Settings, agent_text: str) -> None:
    """Hide a learner from everybody else, while they are still recorded (GDPR, Article 18).

    They disappear from other people's reads, from courses and from streams, and come back whole with
    `griffel unrestrict`.
    """
    told = _restrict(settings, agent_text, restricted=True)
    click.echo("The learner is restricted." if told["changed"] else "The learner was restricted already.")


@click.command()
@_AGENT
@with_settings(*PLACES, *KEEPING)
def unrestrict(settings: Settings, agent_text: str) -> None:
    """Show a restricted learner again."""
    told = _restrict(settings, agent_text, restricted=False)
    click.echo("The restriction is lifted." if told["changed"] else "The learner was not restricted.")


def _consent(
    settings: Settings, agent_text: str, purpose: str, language: str | None, *, given: bool, as_json: bool
) -> None:
    asked = {"agent": read_agent(agent_text), "purpose": purpose, "given": given}
    told = carry_out(_ask(settings, "consents/change", asked | ({"language": language} if language else {})))
    if as_json:
        click.echo(orjson.dumps({"record": told["record"], "receipt": told["receipt"]}, option=orjson.OPT_INDENT_2))
        return
    click.echo(f"Recorded: consent for {told['purpose']} is {'given' if given else 'withdrawn'}.")


def _restrict(settings: Settings, agent_text: str, *, restricted: bool) -> Any:
    asked = {"agent": read_agent(agent_text), "restricted": restricted}
    return carry_out(_ask(settings, "restrictions/change", asked))


async def _ask(settings: Settings, command: str, asked: dict[str, Any]) -> Any:
    async def here(services: Any) -> Any:
        return await services.desk.commands()[command](asked)

    return await with_services(settings, here, lambda ask: ask(command, asked))
