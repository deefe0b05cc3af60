"""`griffel views`: list, rebuild, dump."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click
import orjson

from lrs.cli.installation import PLACES, carry_out, reading, with_services
from lrs.config import KAFKA_SETTINGS, Mode, Settings, with_settings
from lrs.errors import Busy, NotFound

INDEX = "statement_index"
INDEX_ROWS = 5_000
"""Rows of the index that are read at once."""
STATUS_POLL_S = 0.2
"""How often a server is asked how far a rebuild is."""


@click.group()
def views() -> None:
    """List the views, build one anew, print what one holds.

    Works while a server runs and while none does.
    """


@views.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def list_(settings: Settings, *, as_json: bool) -> None:
    """List every view with its generations, how far each is, and how many events it could not apply.

    In brackets stand views that are computed from another when they are read.
    """
    found = carry_out(_list(settings))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    from rich.console import Console  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for name in ("view", "generation", "version", "state", "partitions", "position", "dead letters"):
        table.add_column(name, justify="left" if name in ("view", "state") else "right")
    for one in found:
        counts = [one["generation"], one["version"], one["state"], len(one["partitions"]), f"{one['position']:,}"]
        name = " ".join([one["view"], *(f"({reading})" for reading in one["readings"])])
        table.add_row(name, *map(str, counts), str(one["dead_letters"]))
    Console().print(table)


@views.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    type=click.Choice(["log", "kafka"]),
    default="log",
    show_default=True,
    help="What is read: the log's database, or in a cluster its copy on Kafka.",
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@with_settings(*PLACES, *KAFKA_SETTINGS)
def rebuild(settings: Settings, name: str, *, source: str, quiet: bool) -> None:
    """Build the view NAME anew, from the first event on.

    It is built beside the one that serves and takes its place when it has caught up; until then, and if it is
    interrupted, the old one serves. Beside a running embedded server, the server does it.
    """
    if source == "kafka" and settings.mode is not Mode.CLUSTER:
        raise click.UsageError("An embedded installation has no Kafka; its views are built from the log.")
    if name == INDEX:
        raise click.UsageError(
            f"The {INDEX} is written with each statement, in the log's own database; it comes back with the log, by "
            "griffel restore."
        )
    carry_out(_rebuild(settings, name, source, quiet=quiet))
    if not quiet:
        click.echo(f"The view {name} was built anew and serves.", err=True)


@views.command()
@click.argument("name")
@click.option("--table", "only", help="Only this table of the view.")
@with_settings(*PLACES)
def dump(settings: Settings, name: str, only: str | None) -> None:
    """Print every row of the view NAME, opened, one JSON object on each line, table by table, in the order of keys.

    What is printed is about people, by pseudonym. A row whose learner's keys are destroyed is not there. Of the
    statement_index there are keyed hashes and positions only: for each statement its own terms, then what statements
    that refer to others are found by besides.
    """
    carry_out(_dump(settings, name, only))


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from lrs.wiring import log_reader  # noqa: PLC0415
    from projections.readings import READINGS, source_of  # noqa: PLC0415

    async with reading(settings) as (_, store, _):

        def read() -> list[dict[str, Any]]:
            index: dict[str, Any] = {"view": INDEX, "generation": 1, "version": 1, "state": "serving", "readings": []}
            reader = log_reader(settings)
            try:
                [(head, _)] = reader.rows("head")
            finally:
                reader.close()
            letters = store.dead_letters()
            listed = [index | {"position": head, "partitions": {}, "dead_letters": 0}]
            for one in store.generations():
                places = {str(part): place._asdict() for part, place in sorted(store.places(one).items())}
                listed.append(
                    {
                        "view": one.name,
                        "generation": one.number,
                        "version": one.version,
                        "state": one.state,
                        "readings": [name for name in READINGS if source_of(name) == one.name],
                        "position": max((place["position"] for place in places.values()), default=0),
                        "partitions": places,
                        "dead_letters": sum((letter.name, letter.generation) == one[:2] for letter in letters),
                    }
                )
            return listed

        return await asyncio.to_thread(read)


async def _rebuild(settings: Settings, name: str, source: str, *, quiet: bool) -> None:
    from lrs.cli.progress import Tally, TransferProgress  # noqa: PLC0415

    tally = Tally(unit="events")
    with TransferProgress("rebuild", tally, quiet=quiet) as progress:

        def reached(position: int, head: int) -> None:
            tally.statements = position
            tally.fraction = min(1.0, position / head) if head else None
            progress.update()

        async def here(services: Any) -> None:
            head = (await services.log.head()).position
            if source == "kafka":
                from lrs.consuming import rebuild_from_kafka  # noqa: PLC0415
                from lrs.kafka_access import kafka_access  # noqa: PLC0415
                from lrs.kafka_topics import partitions_of  # noqa: PLC0415

                access = kafka_access(settings)
                await asyncio.to_thread(partitions_of, access)
                await rebuild_from_kafka(access, services.views, name, lambda position: reached(position, head))
                return
            await services.views.rebuild(name, lambda position: reached(position, head))

        async def there(ask: Callable[..., Any]) -> None:
            status = await ask("views/rebuild", {"name": name})
            while not status["done"]:
                reached(status["position"], status["head"])
                await asyncio.sleep(STATUS_POLL_S)
                status = await ask("views/rebuild-status", {"name": name})
            if status["error"]:
                raise Busy(f"the server could not build the view anew ({status['error']}); the old one serves")
            reached(status["position"], status["head"])

        await with_services(settings, here, there)


async def _dump(settings: Settings, name: str, only: str | None) -> None:
    from lrs.views import projection_named  # noqa: PLC0415
    from projections.readings import READINGS, read, source_of  # noqa: PLC0415

    if name == INDEX:
        await asyncio.to_thread(_dump_index, settings, only)
        return
    if name in READINGS and only not in (None, name):
        raise NotFound(f"the view {name} has no table {only}")
    only = None if name in READINGS else only
    tables = [one for one in projection_named(name).tables if only in (None, one.name)]
    if not tables:
        raise NotFound(f"the view {name} has no table {only}")
    async with reading(settings) as (_, store, _):

        def write() -> None:
            with store.reading(source_of(name)) as found:
                if found is None:
                    raise NotFound(f"the view {name} has not been computed yet")
                if name in READINGS:
                    for key, content in read(found[0], name):
                        sys.stdout.buffer.write(_told(name, key, content))
                    return
                for table in tables:
                    for page in found[0].pages(table):
                        sys.stdout.buffer.writelines(_line(table, row) for row in page)
            sys.stdout.buffer.flush()

        await asyncio.to_thread(write)


def _line(table: Any, row: Any) -> bytes:
    names = (*table.key, *table.columns)
    values = [None if value is None else value.hex() for value in (*row.key, *row.columns)]
    return _told(table.name, dict(zip(names, values, strict=True)), row.content)


def _told(table: str, key: dict[str, Any], content: dict[str, Any]) -> bytes:
    told = {"table": table, "key": key, "content": content}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _dump_index(settings: Settings, only: str | None) -> None:
    """Print the statement index: what each statement's row says, then what is inherited along references."""
    from lrs.wiring import log_reader  # noqa: PLC0415
    from projections.statement_index import TERM_BYTES  # noqa: PLC0415

    if only not in (None, "statement", "inherited"):
        raise NotFound(f"the view {INDEX} has no table {only}")
    if settings.mode is Mode.EMBEDDED and not (settings.data / "log" / "log.db").exists():
        raise NotFound(f"there is no log in {settings.data}; name the data folder of a server with --data")
    reader = log_reader(settings)
    out = sys.stdout.buffer
    try:
        after = 0
        while only != "inherited" and (rows := reader.rows("index_statements", after, INDEX_ROWS)):
            for position, terms, target, voided in rows:
                found = sorted(bytes(terms[at : at + TERM_BYTES]).hex() for at in range(0, len(terms), TERM_BYTES))
                content = {"terms": found, "refers_to": target and bytes(target).hex(), "voided": bool(voided)}
                out.write(_told("statement", {"position": position}, content))
            after = rows[-1][0]
        place = (-(2**63), 0, 0)
        while only != "statement" and (rows := reader.rows("index_inherited", *place, INDEX_ROWS)):
            for term, position, source in rows:
                key = {"term": term.to_bytes(8, signed=True).hex(), "position": position, "source": source}
                out.write(_told("inherited", key, {}))
            place = rows[-1]
        out.flush()
    finally:
        reader.close()
