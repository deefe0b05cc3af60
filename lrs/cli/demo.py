"""`griffel demo`: play a school term against a running server and say what was played."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from lrs.cli.endpoint_options import endpoint_of, endpoint_options, run
from lrs.cli.in_flight import in_order, read_ahead
from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.xapi_client import Endpoint, xapi_client
from lrs.demo.school_time import DAY
from lrs.demo.term import Term, TermSettings

NO_PACE: Final = "none"

Json = dict[str, Any]


@dataclass(slots=True)
class Parcel:
    """Statements that are sent in one request, no two with the same id, and the last one's instant in the term."""

    bodies: list[bytes] = field(default_factory=list)
    sent_at: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played where, and how fast."""

    target: Endpoint
    version: str | None
    settings: TermSettings
    days_per_s: float | None
    batch_max: int
    in_flight_max: int
    patience_s: float
    quiet: bool


def pace(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    """Take `none`, or days of the term in a second."""
    if value == NO_PACE:
        return None
    try:
        days_per_s = float(value)
    except ValueError:
        days_per_s = 0.0
    if not 0 < days_per_s < float("inf"):
        raise click.BadParameter("give `none`, or how many days of the term pass in a second, such as 1 or 0.5.")
    return days_per_s


@click.command(context_settings={"show_default": True})
@endpoint_options("--to", "Endpoint to play against")
@click.option(
    "--seed", type=int, default=1, envvar="GRIFFEL_DEMO_SEED", show_envvar=True, help="Another number, another term."
)
@click.option(
    "--learners",
    type=click.IntRange(1, 1_000_000),
    default=300,
    envvar="GRIFFEL_DEMO_LEARNERS",
    show_envvar=True,
    help="How many learners the school has.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=1,
    envvar="GRIFFEL_DEMO_SCALE",
    show_envvar=True,
    help="Multiplies the number of learners.",
)
@click.option(
    "--courses",
    type=click.IntRange(1, 1000),
    default=4,
    envvar="GRIFFEL_DEMO_COURSES",
    show_envvar=True,
    help="How many courses are given; two in every five are cmi5 courses.",
)
@click.option(
    "--weeks",
    type=click.IntRange(1, 104),
    default=12,
    envvar="GRIFFEL_DEMO_WEEKS",
    show_envvar=True,
    help="How long the term is.",
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-09-07",
    envvar="GRIFFEL_DEMO_START",
    show_envvar=True,
    help="The first day of the term.",
)
@click.option(
    "--speed",
    "days_per_s",
    metavar="none|DAYS",
    callback=pace,
    default=NO_PACE,
    envvar="GRIFFEL_DEMO_SPEED",
    show_envvar=True,
    help="Days of the term in a second, to watch it happen; none: as fast as the server takes it.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    envvar="GRIFFEL_DEMO_TRUTH",
    show_envvar=True,
    help="File to write the ground truth into, as JSON.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="GRIFFEL_DEMO_JSON",
    show_envvar=True,
    help="Print the ground truth as JSON.",
)
@click.option(
    "--batch",
    "batch_max",
    type=click.IntRange(1, 1000),
    default=100,
    envvar="GRIFFEL_DEMO_BATCH",
    show_envvar=True,
    help="Statements in one request.",
)
@click.option(
    "--in-flight",
    "in_flight_max",
    type=click.IntRange(1, 64),
    default=4,
    envvar="GRIFFEL_DEMO_IN_FLIGHT",
    show_envvar=True,
    help="Requests at once.",
)
@click.option("--quiet", is_flag=True, envvar="GRIFFEL_DEMO_QUIET", show_envvar=True, help="Show no progress.")
def demo(
    *,
    endpoint: str,
    key: str | None,
    secret: str | None,
    xapi_version: str | None,
    truth: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Play a school term, so that there is something to look at, and say what was played.

    Invented learners enrol in invented courses, read, watch, answer, fail and try again, stop or finish, at the hours
    at which people do. Some of it is sent late, some twice, and some is taken back, as in life.

    \b
      griffel demo
      griffel demo --learners 30 --weeks 4 --speed 1
      griffel demo --scale 10 --truth truth.json
      griffel demo --seed 7 --json | jq '.courses[] | {name, enrolled, completed}'

    The same options give the same statements, byte for byte: played again on the same server, nothing is added. What
    is printed at the end is the ground truth, kept by the player while it played and not read back from the server: who
    is enrolled, how far everyone is in each course and module, who completed, passed or failed when, how each question
    was answered, and how many statements there are.

    Exit codes: 0 played; 2 a wrong command line; 3 stopped before the end.
    """
    start: datetime = how["start"]
    settings = TermSettings(
        seed=how["seed"],
        learners=max(1, round(how["learners"] * how["scale"])),
        courses=how["courses"],
        weeks=how["weeks"],
        start=date(start.year, start.month, start.day),
    )
    order = Order(
        target=endpoint_of(endpoint, key, secret),
        version=xapi_version,
        settings=settings,
        **{name: how[name] for name in ("days_per_s", "batch_max", "in_flight_max", "patience_s", "quiet")},
    )
    told = run(_play(order))
    if truth is not None:
        truth.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        _print_summary(told, truth)


async def _play(order: Order) -> Json:
    """Play the term, and give the truth about it."""
    term, tally = Term(order.settings), Tally()
    first_ms, last_ms = term.begins_ms, term.ends_ms
    async with xapi_client(order.target, version=order.version, patience_s=order.patience_s) as client:
        parcels: AsyncIterator[Parcel] = read_ahead(_parcels(term, order.batch_max))
        if order.days_per_s is not None:
            parcels = _paced(parcels, order.days_per_s)

        async def post(parcel: Parcel) -> None:
            await client.post_statements(parcel.bodies)

        with TransferProgress("demo", tally, quiet=order.quiet) as progress:
            async for parcel, _ in in_order(parcels, post, order.in_flight_max):
                tally.statements += len(parcel.bodies)
                tally.fraction = min(1.0, max(0.0, (parcel.sent_at - first_ms) / (last_ms - first_ms)))
                progress.update()
    return term.truth()


def _parcels(term: Term, batch_max: int) -> Iterator[Parcel]:
    """Part the term's statements into requests; a statement that is sent twice is so in two of them."""
    parcel, inside = Parcel(), set[bytes]()
    for sent_at, body in term.play():
        if len(parcel.bodies) >= batch_max or body in inside:
            yield parcel
            parcel, inside = Parcel(), set()
        parcel.bodies.append(body)
        parcel.sent_at = sent_at
        inside.add(body)
    if parcel.bodies:
        yield parcel


async def _paced(parcels: AsyncIterator[Parcel], days_per_s: float) -> AsyncIterator[Parcel]:
    """Hold each request back until its time has come."""
    started_s, first_ms = time.monotonic(), None
    async for parcel in parcels:
        first_ms = parcel.sent_at if first_ms is None else first_ms
        due_s = started_s + (parcel.sent_at - first_ms) / DAY / days_per_s
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        yield parcel


def _print_summary(told: Json, truth: Path | None) -> None:
    table = Table(title="What was played", box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("course", min_width=16)
    for heading in ("in it", "left", "completed", "passed", "failed", "progress", "survey"):
        table.add_column(heading, justify="right", no_wrap=True)
    for course in told["courses"].values():
        figures = [course[name] for name in ("enrolled", "unenrolled", "completed", "passed", "failed")]
        progress, respondents = f"{course['mean_progress']:.0f} %", course["survey"]["respondents"]
        table.add_row(course["name"]["en"], *(f"{figure:,}" for figure in figures), progress, f"{respondents:,}")
    console, counts = Console(), told["statements"]
    console.print(table)
    console.print(
        f"{counts['posted']:,} statements sent: {counts['distinct']:,} different ones, {counts['resent']:,} sent "
        f"twice, {counts['late']:,} late; {counts['voided']:,} voided, {counts['visible']:,} stand.",
        highlight=False,
    )
    if truth is None:
        console.print("With --truth FILE or --json: learner by learner, module by module, question by question.")
