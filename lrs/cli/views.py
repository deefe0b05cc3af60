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
STATUS_POLL_S = 0.2
"""How often a server is asked how far a rebuild is."""
_WORDS = frozenset({"view", "of", "state"})


@click.group()
def views() -> None:
    """List the views, build one anew, print what one holds.

    Works while a server runs and while none does.
    """


@views.command("list")
@click.option("--rows", is_flag=True, help="Count rows too; every one is looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings(*PLACES)
def list_(settings: Settings, *, rows: bool, as_json: bool) -> None:
    """List every view with its generations: how far each is, and what it could not apply.

    \b
    of         the view from which this one is computed whenever it is read
    gen        the generation: how often the view has been built anew, counted from 1
    parts      partitions of its feed; the log itself is one
    position   the newest event that the view has applied
    behind     how many events of the log are still to come
    dead       events that could not be applied and are kept: griffel dead-letters list
    """
    found = carry_out(_list(settings, rows=rows))
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    counted = ["rows"] if rows else []
    for name in ("view", "of", "gen", "state", "parts", *counted, "position", "behind", "dead"):
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    for one in found:
        words = [one["view"], one["of"], one["generation"], one["state"], len(one["partitions"])]
        sizes = [sum(one["rows"].values())] if "rows" in one else [""] * len(counted)
        sizes += [one["position"], one["lag_events"], one["dead_letters"]]
        table.add_row(*map(str, words), *[f"{size:,}" if size != "" else "" for size in sizes])
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
    if source == "kafka" and name == INDEX:
        raise click.UsageError("The statement index belongs to the log's database: griffel restore brings both back.")
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
    statement_index there are keyed hashes and positions.
    """
    carry_out(_dump(settings, name, only))


async def _list(settings: Settings, *, rows: bool) -> list[dict[str, Any]]:
    from lrs.index_reader import count_rows  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.places import log_reader  # noqa: PLC0415
    from lrs.status import ReaderLog, read_index_status, read_status  # noqa: PLC0415
    from projections.readings import READINGS, source_of  # noqa: PLC0415

    async with reading(settings) as (_, store, _):
        reader = log_reader(settings)
        try:
            found = await read_status(ReaderLog(reader), store)
            indexes = await asyncio.to_thread(read_index_status, reader, found.position)
            sizes: dict[tuple[str, int], dict[str, int]] = {}
            if rows:
                for one in store.generations():
                    sizes[one.name, one.number] = await asyncio.to_thread(store.row_counts, one)
                serving = indexes[0]
                sizes[serving.name, serving.generation] = await asyncio.to_thread(count_rows, reader)
        finally:
            reader.close()
    listed = []
    for view in (*indexes, *found.views):
        told = {
            "view": view.name,
            "of": "",
            "generation": view.generation,
            "version": view.version,
            "state": view.state,
            "partitions": {str(part): place._asdict() for part, place in sorted(view.partitions.items())},
            "position": view.position,
            "lag_events": view.lag_events,
            "lag_s": view.lag_s,
            "dead_letters": view.dead_letters,
        }
        counted = sizes.get((view.name, view.generation))
        listed.append(told if counted is None else told | {"rows": counted})
        listed += [told | {"view": name, "of": view.name} for name in READINGS if source_of(name) == view.name]
    return listed


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
    tables = [one for one in projection_named(name).tables if name in READINGS or only in (None, one.name)]
    if not tables:
        raise NotFound(f"the view {name} has no table {only}")
    async with reading(settings) as (_, store, _):

        def write() -> None:
            with store.reading(source_of(name)) as found:
                if found is None:
                    raise NotFound(f"the view {name} has not been computed yet")
                if name in READINGS:
                    sys.stdout.buffer.writelines(_told(name, *row) for row in read(found[0], name))
                else:
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
    from lrs.index_reader import TABLES, read_rows  # noqa: PLC0415
    from lrs.places import log_reader  # noqa: PLC0415

    if only not in (None, *TABLES):
        raise NotFound(f"the view {INDEX} has no table {only}")
    if settings.mode is Mode.EMBEDDED and not (settings.data / "log" / "log.db").exists():
        raise NotFound(f"there is no log in {settings.data}; name the data folder of a server with --data")
    reader = log_reader(settings)
    try:
        with reader.snapshot():
            for table in TABLES:
                if only in (None, table):
                    sys.stdout.buffer.writelines(_told(table, *row) for row in read_rows(reader, table))
        sys.stdout.buffer.flush()
    finally:
        reader.close()
