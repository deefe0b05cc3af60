"""`griffel doctor`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from lrs.cli.installation import PLACES
from lrs.config import KAFKA_SETTINGS, Mode, Settings, variable, with_settings

if TYPE_CHECKING:
    from rich.table import Table

    from lrs.doctor import Doctor
    from lrs.setup_check import SetupFinding

EXAMPLE = "printf 'mailto:ada@school.example\\nAda Lovelace\\n' | griffel doctor"
FOUND, UNREAD = 1, 3
"""Exit codes: something was found; something could not be looked at, so that nothing can be said of it."""
INTERRUPTED = 130
CHANCE_TOLD_MIN = 0.001
_MB = 1_000_000


@click.command()
@click.option("--setup", is_flag=True, help="Check how the installation is set up instead; reads no values.")
@click.option(
    "--also",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    metavar="PATH",
    help="A further file or folder to look through: logs, backups, a database server's own files. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@with_settings(*PLACES, *KAFKA_SETTINGS)
def doctor(settings: Settings, *, setup: bool, also: tuple[Path, ...], as_json: bool, quiet: bool) -> None:
    """Look through everything the installation keeps for personal values, and say what lies where.

    Values are read from standard input, one a line: addresses, names, account names. They never stand on the command
    line, where a shell's history and other users would see them, and are never printed; findings name a value by its
    line.

    \b
    printf 'mailto:ada@school.example\\nAda Lovelace\\n' | griffel doctor
    griffel doctor < values.txt
    griffel doctor --setup

    Each value is looked for as it is, in any letter case, in base64, hex, URL-encoded, JSON-escaped, in UTF-16, and as
    its plain MD5, SHA-1 and SHA-256; in the data folder's files and the rows of its databases, and in cluster mode in
    both PostgreSQL databases and on Kafka. Works while a server runs and while none does.

    \b
    Exit codes:
      0  everything was looked at, nothing was found
      1  something was found
      2  a wrong command line
      3  nothing was found, but something could not be looked at
    """
    if setup:
        _check_setup(settings, as_json=as_json)
        return
    values = _read_values()
    if settings.mode is Mode.EMBEDDED and not _is_there(settings.data):
        raise click.UsageError(f"there is no data folder {settings.data}; name the server's with --data")

    from lrs.doctor import Doctor  # noqa: PLC0415  keeps `griffel --help` quick
    from lrs.value_search import ValueSearch  # noqa: PLC0415

    with _progress(quiet or as_json, _size_bytes(settings, also)) as told:
        looked = Doctor(ValueSearch(values), told)
        try:
            _scan(looked, settings, also)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
    found, scanned = looked.found, looked.scanned
    if as_json:
        answer = {
            "scanned": [one._asdict() for one in scanned],
            "found": [one._asdict() for one in found],
            "unread": [one._asdict() for one in looked.unread],
        }
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    else:
        _print(looked, len(values))
    if found or looked.unread:
        raise SystemExit(FOUND if found else UNREAD)


def _read_values() -> list[Any]:
    from lrs.value_search import read_values  # noqa: PLC0415
    from schemas.errors import InvalidInput  # noqa: PLC0415

    if sys.stdin.isatty():
        click.echo("One value a line; Ctrl+D ends.", err=True)
    try:
        values = read_values(sys.stdin.buffer.read())
    except InvalidInput as error:
        raise click.UsageError(error.detail) from error
    if not values:
        raise click.UsageError(f"no values on standard input. Give one a line, for instance:\n\n  {EXAMPLE}")
    return values


def _scan(looked: Doctor, settings: Settings, also: tuple[Path, ...]) -> None:
    """Look through every store of the installation, then through what else was named."""
    from lrs.errors import GriffelError  # noqa: PLC0415
    from lrs.kafka_access import kafka_access  # noqa: PLC0415
    from lrs.places import keys_folder  # noqa: PLC0415

    cluster = settings.mode is Mode.CLUSTER
    if _is_there(settings.data):
        looked.scan_folder("data folder", settings.data)
    keys = None if settings.master_key else keys_folder(settings)
    if keys is not None and _is_there(keys) and not keys.resolve().is_relative_to(settings.data.resolve()):
        looked.scan_folder("root keys", keys)
    if cluster:
        looked.scan_postgres("log's database", settings.database_url)
        looked.scan_postgres("vault's database", settings.keys_url)
    if settings.kafka:
        try:
            looked.scan_kafka("Kafka", kafka_access(settings))
        except GriffelError as error:
            looked.cannot("Kafka", "everything", error.detail)
    elif cluster:
        looked.cannot("Kafka", "everything", f"{variable('kafka')} is not set, so Kafka was not looked at")
    for number, path in enumerate(also, 1):
        looked.scan_folder(f"--also, no. {number}", path)


def _is_there(path: Path) -> bool:
    """Say whether something is there, be it that we may not look into it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _size_bytes(settings: Settings, also: tuple[Path, ...]) -> int:
    """Estimate how much there is to look at; what cannot be asked counts nothing."""
    from lrs.doctor import database_size, size_of  # noqa: PLC0415

    total = sum(map(size_of, [settings.data, *also]))
    if settings.mode is Mode.CLUSTER:
        total += database_size(settings.database_url) + database_size(settings.keys_url)
    return total


@contextmanager
def _progress(quiet: bool, whole_bytes: int) -> Iterator[Callable[[int], None]]:  # noqa: FBT001  an option's value
    """Show how much has been looked at, on a terminal."""
    from lrs.cli.progress import Tally, TransferProgress  # noqa: PLC0415

    tally = Tally(unit="MB", fraction=0.0)
    looked_bytes = 0
    with TransferProgress("doctor", tally, quiet=quiet or not sys.stderr.isatty()) as progress:

        def told(size_bytes: int) -> None:
            nonlocal looked_bytes
            looked_bytes += size_bytes
            tally.statements = looked_bytes // _MB
            tally.fraction = min(looked_bytes / max(whole_bytes, 1), 0.99)
            progress.update()

        yield told
        tally.fraction = 1.0


def _print(looked: Doctor, values: int) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(markup=False, highlight=False)
    found = looked.found
    stores = _table("Looked through", "store", "size", "rows")
    for store in looked.scanned:
        stores.add_row(store.store, f"{store.bytes / _MB:,.1f} MB", "" if store.rows is None else f"{store.rows:,}")
    console.print(stores)
    if found:
        table = _table("Found", "line", "form", "times", "store", "where")
        for one in found:
            table.add_row(str(one.line), one.form, f"{one.times:,}", one.store, one.where)
        console.print(table)
        if any(one.by_chance >= CHANCE_TOLD_MIN for one in found):
            click.echo("Some forms are so short that random bytes hold them now and then: --json tells by_chance.")
    if looked.unread:
        table = _table("Not looked at", "store", "where", "why")
        for missed in looked.unread:
            table.add_row(missed.store, missed.where, missed.why)
        console.print(table)
    lines = len({one.line for one in found})
    if found:
        click.echo(f"Of {values} values, {lines} were found. Lines are those of the input.")
    elif looked.unread:
        click.echo("Nothing was found in what could be looked at; the rest is not known.")
    else:
        click.echo(f"Nothing was found: none of {values} values, in any form.")


def _check_setup(settings: Settings, *, as_json: bool) -> None:
    from lrs.setup_check import check_setup  # noqa: PLC0415

    findings = check_setup(settings)
    if as_json:
        click.echo(orjson.dumps({"findings": [one._asdict() for one in findings]}, option=orjson.OPT_INDENT_2))
    else:
        _print_setup(findings)
    if any(one.good is False for one in findings):
        raise SystemExit(FOUND)
    if any(one.good is None for one in findings):
        raise SystemExit(UNREAD)


def _print_setup(findings: list[SetupFinding]) -> None:
    from rich.console import Console  # noqa: PLC0415

    table = _table("Set-up", "what", "is", "")
    words = {True: "good", False: "not good", None: "not known"}
    for one in findings:
        table.add_row(one.name, one.found, words[one.good])
    Console(markup=False, highlight=False).print(table)
    for one in findings:
        if one.advice:
            click.echo(f"{one.name}: {one.advice}")


def _table(title: str, *columns: str) -> Table:
    from rich import box  # noqa: PLC0415  keeps `griffel --help` quick
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for name in columns:
        right = name in ("line", "times", "size", "rows")
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table
