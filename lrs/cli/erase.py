"""`griffel erase`: forget a learner, and prove it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Self

import click
import orjson

from lrs.cli.agents import read_agent
from lrs.cli.installation import KEEPING, PLACES, carry_out, with_services
from lrs.config import Settings, with_settings

POLL_S = 0.1
STEPS = (
    "fenced",
    "keys destroyed",
    "views",
    "documents",
    "statements",
    "lists",
    "activities",
    "caches",
    "verified",
    "completed",
)
EXIT_PENDING = 3

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


@click.command()
@click.option("--agent", "agent_text", metavar="JSON", help="Whom: an xAPI agent with one of their identifiers.")
@click.option("--show", metavar="ID", help="Show how the erasure ID stands, with its certificate.")
@click.option("--with-shared", is_flag=True, help="Erase what is about others too, for all of them.")
@click.option("--yes", is_flag=True, help="Carry it out. Without this only what it would do is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@with_settings(*PLACES, *KEEPING)
def erase(
    settings: Settings, agent_text: str | None, show: str | None, *, with_shared: bool, yes: bool, as_json: bool
) -> None:
    """Erase a learner: destroy every key that opens anything about them, and all that leads to them.

    \b
    What it would do:   griffel erase --agent '{"mbox": "mailto:ada@school.example"}'
    Do it:              griffel erase --agent '{"mbox": "mailto:ada@school.example"}' --yes
    Its certificate:    griffel erase --show ID --json > certificate.json

    It cannot be undone. It reaches everything that is kept under any identifier of that person. Statements that are
    about others stay, with a placeholder where the person was named; so do those about the person and others, such as a
    group's, unless --with-shared says that they end for everybody. One that was stopped goes on where it was, by
    itself when a server runs, else by the same command. Works while a server runs and while none does.

    Exit codes: 0 done, or shown; 1 not possible; 3 fenced, and pending until Kafka is back.
    """
    if (agent_text is None) == (show is None):
        raise click.UsageError("Name whom to erase with --agent, or an erasure with --show.")
    if show is not None and with_shared:
        raise click.UsageError("--with-shared is said when an erasure is begun, with --agent.")
    if show is not None:
        told = carry_out(_ask(settings, lambda ask: ask("erasures/show", {"erasure": show})))
    else:
        asked = {"agent": read_agent(agent_text or ""), "with_shared": with_shared}
        if not yes:
            told = carry_out(_ask(settings, lambda ask: ask("erasures/preview", asked)))
        else:
            told = carry_out(_ask(settings, lambda ask: _erase(ask, asked, quiet=as_json)))
    if as_json:
        click.echo(orjson.dumps(told.get("certificate", told), option=orjson.OPT_INDENT_2))
    else:
        _print(told)
    if "state" in told and told["state"] not in ("done", "under way"):
        click.echo(told.get("reason", ""), err=True)
        raise SystemExit(EXIT_PENDING)


async def _ask(settings: Settings, work: Callable[[Ask], Awaitable[Any]]) -> Any:
    async def here(services: Any) -> Any:
        commands = services.desk.commands()

        async def ask(name: str, asked: dict[str, Any]) -> Any:
            return await commands[name](asked)

        return await work(ask)

    return await with_services(settings, here, work)


async def _erase(ask: Ask, asked: dict[str, Any], *, quiet: bool) -> Any:
    """Begin, or go on with what was left, and wait for the end."""
    left = await ask("erasures/pending", {})
    try:
        begun = await ask("erasures/begin", asked)
    except Exception:
        # Nobody is known by it any more: the one whose erasure was left, perhaps.
        if not left:
            raise
        begun = left[-1]
    with _Steps(quiet=quiet) as steps:
        while True:
            told = await ask("erasures/show", {"erasure": begun["erasure"]})
            steps.reached(told["step"])
            if told["state"] != "under way":
                return told
            await asyncio.sleep(POLL_S)


class _Steps:
    """Shows how far an erasure is, on standard error: a bar on a terminal, a line for each step elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._reached = -1
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  keeps `griffel --help` quick
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

            columns = (TextColumn("erase"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=len(STEPS))
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reached(self, step: str) -> None:
        at = STEPS.index(step) if step in STEPS else -1
        if at <= self._reached:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=at + 1, description=step)
        elif not self._quiet:
            for one in STEPS[self._reached + 1 : at + 1]:
                click.echo(f"erase: {one}", err=True)
        self._reached = at


def _print(told: dict[str, Any]) -> None:
    """Print a preview, how an erasure stands, or its certificate."""
    if "certificate" in told:
        certificate = told["certificate"]
        click.echo(f"Erased. Certificate {certificate['erasure']}\n")
        _rows(
            ("requested", certificate["requested_at"]),
            ("keys destroyed", certificate["keys_destroyed_at"]),
            ("verified", certificate["completed_at"]),
            ("keys", _counts(certificate["keys_destroyed"])),
            ("identifiers deleted", certificate["identifiers_deleted"]),
            *_statements(certificate["statements"]),
            ("documents deleted", certificate["documents_deleted"]),
            ("attachments deleted", certificate["attachments_deleted"]),
            ("activities forgotten", certificate["activities_forgotten"]),
            ("stream entries emptied", len(certificate["stream_entries_emptied"])),
            ("backups die at", certificate["backups_die_at"] or "never of themselves"),
        )
        click.echo(f"\n{certificate['backups']}\n{certificate['remains']}")
        click.echo(f"\nThe signed certificate: griffel erase --show {certificate['erasure']} --json")
    elif told.get("state") == "withheld":
        click.echo(f"The erasure {told['erasure']} is withheld: nobody sees this learner, and the rest is destroyed.")
    elif "state" in told:
        click.echo(f"The erasure {told['erasure']} is {told['state']}; the last step was: {told['step']}.")
    else:
        click.echo("Erasing this learner will, for ever:\n")
        _rows(
            ("destroy keys", _counts(told["keys"])),
            ("delete identifiers", told["identifiers"]),
            *_statements(told["statements"]),
            ("delete documents", told["documents"]),
            ("empty stream entries", told["stream_entries"]),
            *[(f"withhold {purpose}", f"a legal hold: {ground}") for purpose, ground in told["held"].items()],
        )
        click.echo("\nNothing has been done. To carry it out, repeat the command with --yes.")


def _statements(counts: dict[str, int]) -> list[tuple[str, Any]]:
    return [
        ("statements erased", counts["erased"]),
        ("of these about others too", counts["of_which_shared"]),
        ("kept for others they are about too", counts["kept_for_others"]),
        ("kept with a placeholder", counts["with_placeholder"]),
    ]


def _rows(*rows: tuple[str, Any]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"  {name:<{width}}  {value:,}" if isinstance(value, int) else f"  {name:<{width}}  {value}")


def _counts(keys: dict[str, int]) -> str:
    return ", ".join(f"{number} for {name}" for name, number in keys.items()) or "none"
