"""`griffel topics`: create, check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import orjson

from lrs.config import KAFKA_SETTINGS, Settings, with_settings
from lrs.errors import GriffelError
from schemas.topics import EVENTS, PARTITIONS_DEFAULT, PARTITIONS_MAX

COPIES_MAX = 10
T = TypeVar("T")


@click.group()
def topics() -> None:
    """Make and check the topics on Kafka."""


@topics.command()
@click.option(
    "--partitions",
    envvar="GRIFFEL_TOPICS_PARTITIONS",
    type=click.IntRange(1, PARTITIONS_MAX),
    default=PARTITIONS_DEFAULT,
    show_default=True,
    help="Partitions of the topic: fixed for the life of the log, and the most consumers that can share a view's work.",
)
@click.option(
    "--replication",
    envvar="GRIFFEL_TOPICS_REPLICATION",
    type=click.IntRange(1, COPIES_MAX),
    default=3,
    show_default=True,
    help="Copies of each partition; 3 lets one broker be lost while everything goes on.",
)
@click.option(
    "--in-sync-min",
    envvar="GRIFFEL_TOPICS_IN_SYNC_MIN",
    type=click.IntRange(1, COPIES_MAX),
    help="Copies that must have an event before it counts as sent. Default: one fewer than there are.",
)
@click.option("--if-missing", is_flag=True, help="That it is there already is no error.")
@with_settings(*KAFKA_SETTINGS)
def create(settings: Settings, *, partitions: int, replication: int, in_sync_min: int | None, if_missing: bool) -> None:
    """Make the topic of the events, as Griffel needs it.

    One that is there is left as it is.
    """
    from lrs import kafka_topics  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.errors import Conflict  # noqa: PLC0415
    from lrs.kafka_access import kafka_access  # noqa: PLC0415

    least = in_sync_min or max(1, replication - 1)
    wanted = {"partitions": partitions, "replication": replication, "in_sync_min": least}
    try:
        kafka_topics.create(kafka_access(settings), **wanted)
    except Conflict as error:
        if not if_missing:
            raise click.ClickException(error.detail) from error
        click.echo(f"The topic {EVENTS} was there already.")
    except GriffelError as error:
        raise click.ClickException(error.detail) from error
    else:
        click.echo(f"The topic {EVENTS} is there, with {partitions} partitions.")


@topics.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings("mode", "database_url", *KAFKA_SETTINGS)
def check(settings: Settings, *, as_json: bool) -> None:
    """Compare the topic with what it must be, and say which rights each part needs on Kafka.

    Where the log's database is given, the number of partitions is compared with the one that the log began with. Ends
    with 1 when anything is not as it must be.
    """
    from lrs import kafka_topics  # noqa: PLC0415
    from lrs.kafka_access import kafka_access  # noqa: PLC0415
    from lrs.relay_store import partitions_known  # noqa: PLC0415

    known = _told(lambda: partitions_known(settings.database_url)) if settings.database_url else None
    findings = _told(lambda: kafka_topics.check(kafka_access(settings), partitions=known))
    good = all(one.good for one in findings)
    if as_json:
        told = {"topic": EVENTS, "good": good, "findings": [one._asdict() for one in findings]}
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        _print_table(findings, kafka_topics.acl_advice())
    if not good:
        raise SystemExit(1)


def _told(work: Callable[[], T]) -> T:
    try:
        return work()
    except GriffelError as error:
        raise click.ClickException(error.detail) from error


def _print_table(findings: list[Any], advice: list[str]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    table = Table(title=EVENTS)
    for name in ("what", "must be", "is", ""):
        table.add_column(name)
    for one in findings:
        table.add_row(one.name, one.wanted, one.found, "good" if one.good else "not good")
    console.print(table)
    for one in findings:
        if not one.good:
            click.echo(f"{one.name}: {one.advice}")
    click.echo("Rights on Kafka:")
    for line in advice:
        click.echo(f"  {line}")
