"""`griffel courses`: what an instructor sees, on the command line."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out, reading
from lrs.config import Settings, with_settings
from lrs.errors import NotFound

_BEST_FIRST = ("account", "mbox", "openid", "mbox_sha1sum")


@click.group()
def courses() -> None:
    """List courses and show where everyone stands in one, from the views.

    Works while a server runs and while none does; it shows what the views hold, which may be a moment behind the log.
    """


@courses.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def list_(settings: Settings, *, as_json: bool) -> None:
    """List the courses: id, how many are enrolled, how many of them have completed it."""
    found = carry_out(_courses(settings))
    if as_json:
        click.echo(orjson.dumps([dataclasses.asdict(one) for one in found], option=orjson.OPT_INDENT_2))
        return
    if not found:
        click.echo("There is no course yet. Courses come from statements; griffel demo posts some.")
        return
    from rich.console import Console  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    table.add_column("id", no_wrap=True)
    table.add_column("activity", overflow="fold")
    for name in ("enrolled", "completed"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(one.id, one.activity_id, f"{one.enrolled:,}", f"{one.completed:,}")
    Console().print(table)


@courses.command()
@click.argument("course_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every learner, every module.")
@click.option(
    "--agents", is_flag=True, help="With --json, say who each learner is. What is printed is then about people."
)
@with_settings(*PLACES)
def show(settings: Settings, course_id: str, *, as_json: bool, agents: bool) -> None:
    """Show the course ID: an id of `griffel courses list`, or the course's own IRI."""
    if agents and not as_json:
        raise click.UsageError("--agents goes with --json.")
    told = carry_out(_course(settings, course_id, agents=agents))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=told["activity_id"])
    for name in ("learner", "enrolled", "progress", "completed", "outcome", "last seen"):
        table.add_column(name, justify="right" if name == "progress" else "left")
    for one in told["learners"]:
        enrolled = "yes" if one["enrolled"] else "left" if one["unenrolled_at"] else "no"
        outcome = " ".join(str(part) for part in (one["outcome"], one["score"]) if part is not None)
        days = [(one[name] or "")[:10] for name in ("completed_at", "last_seen_at")]
        table.add_row(one["learner"][:8], enrolled, f"{one['progress']:g} %", days[0], outcome, days[1])
    Console().print(table)


async def _courses(settings: Settings) -> list[Any]:
    from projections.courses import CourseReader  # noqa: PLC0415

    async with reading(settings) as (_, store, opener):
        return await CourseReader(store, opener).courses(await asyncio.to_thread(_hidden, settings))


def _hidden(settings: Settings) -> frozenset[bytes]:
    """Give the learners who are hidden from others; commands show what an instructor sees."""
    from lrs.hiding import hidden_in  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.places import log_reader  # noqa: PLC0415
    from schemas.envelope import Purpose  # noqa: PLC0415

    reader = log_reader(settings)
    try:
        return hidden_in(reader, Purpose.LEARNING)
    finally:
        reader.close()


async def _course(settings: Settings, course_id: str, *, agents: bool) -> dict[str, Any]:
    from projections.courses import CourseReader  # noqa: PLC0415

    async with reading(settings) as (vault, store, opener):
        reader = CourseReader(store, opener)
        hidden = await asyncio.to_thread(_hidden, settings)
        by_name = opener.blind("course", course_id).hex()
        report = await reader.course(course_id, hidden) or await reader.course(by_name, hidden)
        if report is None:
            raise NotFound("there is no such course; griffel courses list gives those that there are")
        told = dataclasses.asdict(report)
        if agents:
            for learner in told["learners"]:
                learner["agent"] = _agent(await vault.identifiers_of(bytes.fromhex(learner["learner"])))
        return told


def _agent(identifiers: list[str]) -> dict[str, Any] | None:
    """Give a learner as an agent, by the identifier that says most; None where no identifier leads to them any more."""
    from schemas.people import identity_from  # noqa: PLC0415

    found = [identity_from(one) for one in sorted(identifiers)]
    for kind in _BEST_FIRST:
        for one in found:
            if kind in one:
                return one
    return None
