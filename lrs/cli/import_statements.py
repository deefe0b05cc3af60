"""`griffel import`: bring statements in from a file, standard input or another store."""

from __future__ import annotations

import hashlib
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import orjson

from lrs.cli.endpoint_options import (
    EXIT_REJECTS,
    Stopped,
    endpoint_of,
    endpoint_options,
    instant,
    run,
)
from lrs.cli.in_flight import read_ahead
from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.resume import ResumeFile
from lrs.cli.statement_sources import FileSource, StoreSource, file_checksum
from lrs.cli.transfer import RejectsReport, Transferred, transfer
from lrs.cli.xapi_client import Endpoint, endpoint_url, xapi_client

STATE_FORMAT: Final = "griffel-import-1"
STANDARD_INPUT: Final = "-"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, from where to where, and how."""

    source: str
    target: Endpoint
    source_credential: tuple[str | None, str | None]
    source_version: str | None
    version: str | None
    since: str | None
    until: str | None
    attachments: Path | None
    batch_max: int
    in_flight_max: int
    state: Path | None
    restart: bool
    rejects: Path | None
    rejects_with_statements: bool
    patience_s: float
    quiet: bool

    @property
    def is_store(self) -> bool:
        """Say whether the source is another store."""
        return self.source.startswith(("http://", "https://"))

    @property
    def checksum(self) -> str:
        """Tell this source and target from others, by nothing that is in the statements."""
        if self.is_store:
            text = f"{self.target.url}\n{self.source}\n{self.since}\n{self.until}"
            return hashlib.sha256(text.encode()).hexdigest()
        return file_checksum(Path(self.source), self.target.url)

    def beside(self, ending: str) -> Path:
        """Give a path for a file that belongs to the source: beside it, or in the working directory."""
        if self.source == STANDARD_INPUT:
            return Path(f"griffel-import{ending}")
        if self.is_store:
            return Path(f"griffel-import-{self.checksum[:12]}{ending}")
        return Path(self.source + ending)


@click.command(name="import", context_settings={"show_default": True})
@click.argument("source")
@endpoint_options("--to", "Endpoint to import into")
@click.option("--source-key", envvar="GRIFFEL_SOURCE_KEY", show_envvar=True, help="Key for the other store.")
@click.option("--source-secret", envvar="GRIFFEL_SOURCE_SECRET", show_envvar=True, help="Secret for the other store.")
@click.option(
    "--source-xapi-version",
    type=click.Choice(["1.0.3", "2.0.0"]),
    envvar="GRIFFEL_SOURCE_XAPI_VERSION",
    show_envvar=True,
    help="Version of xAPI the other store speaks.  [default: the newest its about resource names]",
)
@click.option(
    "--since",
    metavar="INSTANT",
    callback=instant,
    envvar="GRIFFEL_IMPORT_SINCE",
    show_envvar=True,
    help="From another store: only what it stored after this.",
)
@click.option(
    "--until",
    metavar="INSTANT",
    callback=instant,
    envvar="GRIFFEL_IMPORT_UNTIL",
    show_envvar=True,
    help="From another store: only what it stored up to this.",
)
@click.option(
    "--attachments",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="GRIFFEL_IMPORT_ATTACHMENTS",
    show_envvar=True,
    help="From a file: folder with the data of attachments, each named by its sha2, as `griffel export` writes it.",
)
@click.option(
    "--batch",
    "batch_max",
    type=click.IntRange(1, 1000),
    default=100,
    envvar="GRIFFEL_IMPORT_BATCH",
    show_envvar=True,
    help="Statements in one request.",
)
@click.option(
    "--in-flight",
    "in_flight_max",
    type=click.IntRange(1, 64),
    default=4,
    envvar="GRIFFEL_IMPORT_IN_FLIGHT",
    show_envvar=True,
    help="Requests at once; with 1, statements are stored in the order of the source.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GRIFFEL_IMPORT_STATE",
    show_envvar=True,
    help="File that keeps how far it came.  [default: beside the source, or here for a store]",
)
@click.option(
    "--restart", is_flag=True, envvar="GRIFFEL_IMPORT_RESTART", show_envvar=True, help="Begin at the beginning again."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GRIFFEL_IMPORT_REJECTS",
    show_envvar=True,
    help="File for what is refused.  [default: beside the source, or here for a store]",
)
@click.option(
    "--rejects-with-statements",
    is_flag=True,
    envvar="GRIFFEL_IMPORT_REJECTS_WITH_STATEMENTS",
    show_envvar=True,
    help="Write refused statements themselves too. They are about people: take care of that file.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="GRIFFEL_IMPORT_JSON",
    show_envvar=True,
    help="At the end, print what was done as JSON.",
)
@click.option("--quiet", is_flag=True, envvar="GRIFFEL_IMPORT_QUIET", show_envvar=True, help="Show no progress.")
def import_statements(
    *,
    source: str,
    endpoint: str,
    key: str | None,
    secret: str | None,
    xapi_version: str | None,
    patience_s: float,
    source_key: str | None,
    source_secret: str | None,
    source_xapi_version: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Bring statements in from SOURCE.

    SOURCE is a file with one statement on each line (NDJSON) or one JSON array of statements, gzipped or not; `-` for
    standard input; or the xAPI endpoint of another store.

    \b
      griffel import term.ndjson.gz
      zcat old/*.gz | griffel import -
      griffel import https://lrs.example/xapi --source-key KEY --source-secret SECRET --since 2026-08-01

    A stopped import goes on where it was when the same command is given again, and nothing is stored twice: a
    statement keeps its id, and one without an id always gets the same. From another store, the same command given
    later brings what is new since, and attachments come along.

    Where a batch is refused, it is halved until only the bad statements are left out; they are listed in a report by
    line number, place in the statement, status and reason, and the rest goes on.

    Exit codes: 0 all is in; 1 some statements were refused; 2 a wrong command line; 3 stopped before the end.
    """
    if source.startswith(("http://", "https://")):
        try:
            source = endpoint_url(source)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="SOURCE") from error
    elif source != STANDARD_INPUT and not Path(source).is_file():
        raise click.BadParameter("there is no such file.", param_hint="SOURCE")
    if source == STANDARD_INPUT and how["state"] is not None:
        raise click.UsageError("--state needs a file or another store: standard input cannot be gone back in.")
    order = Order(
        source=source,
        target=endpoint_of(endpoint, key, secret),
        source_credential=(source_key, source_secret),
        source_version=source_xapi_version,
        version=xapi_version,
        patience_s=patience_s,
        **how,
    )
    summary = run(_import(order))
    if as_json:
        click.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    if summary["rejected"]:
        click.echo(f"{summary['rejected']:,} statements were refused: see {summary['rejects_report']}", err=True)
        sys.exit(EXIT_REJECTS)


async def _import(order: Order) -> Json:
    """Do it, and give the summary."""
    resume, kept = _open_resume(order)
    report = RejectsReport(
        order.rejects or order.beside(".rejects.ndjson"), with_statements=order.rejects_with_statements
    )
    try:
        report.go_on_from(kept.get("report_size", 0))
    except ValueError as error:
        raise Stopped(str(error)) from error
    place = kept.get("place", {})
    done = Transferred(kept.get("accepted", 0), kept.get("rejected", 0), place)
    tally, started_s = Tally(rejects=done.rejected), time.monotonic()
    async with AsyncExitStack() as stack:
        stack.callback(report.close)
        client = await stack.enter_async_context(
            xapi_client(order.target, version=order.version, patience_s=order.patience_s)
        )
        if order.is_store:
            batches = (await _store_source(order, stack, client.version, place)).batches()
        else:
            batches = read_ahead(iter(_file_source(order, stack, client.version, place)))
        progress = stack.enter_context(TransferProgress("import", tally, quiet=order.quiet))
        try:
            await transfer(
                client,
                batches,
                in_flight_max=order.in_flight_max,
                report=report,
                resume=resume,
                progress=progress,
                tally=tally,
                done=done,
            )
        except ValueError as error:
            raise Stopped(f"The source cannot be read further: {error}") from error
    if order.is_store:  # the place is where new statements begin; what this import came to is told now
        Transferred(place=done.place).save(resume, report)
    else:
        resume.remove()
    seconds = time.monotonic() - started_s
    return {
        "statements": tally.statements,
        "accepted": done.accepted,
        "rejected": done.rejected,
        "resumed": bool(place),
        "seconds": round(seconds, 3),
        "statements_per_s": round(tally.statements / max(seconds, 1e-9), 1),
        "waits": client.waits,
        "rejects_report": str(report.path) if done.rejected else None,
    }


def _open_resume(order: Order) -> tuple[ResumeFile, Json]:
    """Open the file that keeps the place, and give what it kept, empty where this import begins."""
    if order.source == STANDARD_INPUT:
        return ResumeFile(None, STATE_FORMAT, ""), {}
    resume = ResumeFile(order.state or order.beside(".import-state.json"), STATE_FORMAT, order.checksum)
    try:
        kept = resume.load()
    except ValueError as error:
        raise Stopped(str(error)) from error
    if resume.belonged_elsewhere:
        click.echo("The source or the target is another than at the last import: beginning at the beginning.", err=True)
    if kept is not None and order.restart:
        kept = None
    if kept is not None:
        click.echo("Going on where the last import stopped.", err=True)
    return resume, kept or {}


async def _store_source(order: Order, stack: AsyncExitStack, version: str, place: Json) -> StoreSource:
    key, secret = order.source_credential
    client = await stack.enter_async_context(
        xapi_client(Endpoint(order.source, key, secret), version=order.source_version, patience_s=order.patience_s)
    )
    return StoreSource(
        client,
        batch_max=order.batch_max,
        since=order.since,
        until=order.until,
        after_stored=place.get("stored"),
        version=version,
    )


def _file_source(order: Order, stack: AsyncExitStack, version: str, place: Json) -> FileSource:
    stream: BinaryIO
    if order.source == STANDARD_INPUT:
        stream, size = _standard_input(), None
    else:
        path = Path(order.source)
        stream, size = stack.enter_context(path.open("rb", buffering=0)), path.stat().st_size
    return FileSource(
        stream,
        batch_max=order.batch_max,
        size=size,
        after_line=place.get("line", 0),
        attachments=order.attachments,
        version=version,
    )


def _standard_input() -> BinaryIO:
    """Open standard input a second time, without a buffer.

    A thread that waits for input holds the lock of the buffer it reads; Python closes sys.stdin at its end and would
    abort on that lock after an interrupt.
    """
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, ValueError):  # it is no file
        return sys.stdin.buffer
