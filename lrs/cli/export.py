"""`griffel export`: write statements out, one on each line."""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import orjson

from lrs.cli.endpoint_options import Stopped, endpoint_of, endpoint_options, instant, run
from lrs.cli.multipart import Attachment
from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.resume import ResumeFile, private_file
from lrs.cli.statement_sources import part_of, read_instant
from lrs.cli.xapi_client import Endpoint, Page, xapi_client

STATE_FORMAT: Final = "griffel-export-1"
STANDARD_OUTPUT: Final = "-"
STEP_BACK: Final = timedelta(milliseconds=1)
"""The finest difference in `stored` that every store tells apart."""

Json = dict[str, Any]


def agent(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Take a person as a JSON agent or as a mailbox; the message never repeats what was given."""
    if value is None:
        return None
    text = value.strip()
    try:
        if text.startswith("{"):
            orjson.loads(text)
            return text
        if "@" in text:
            return orjson.dumps({"mbox": f"mailto:{text.removeprefix('mailto:')}"}).decode()
    except orjson.JSONDecodeError:
        pass
    raise click.BadParameter('give a mailbox, or JSON: {"account": {"homePage": "https://…", "name": "…"}}.')


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported, from where to where."""

    endpoint: Endpoint
    version: str | None
    query: dict[str, str]
    file: str
    resume: Path | None
    attachments: Path | None
    overwrite: bool
    patience_s: float
    quiet: bool

    @property
    def checksum(self) -> str:
        """Tell this query from others; keyed, since it may name a person, by a secret that is kept elsewhere."""
        text = orjson.dumps([self.endpoint.url, self.query, self.file], option=orjson.OPT_SORT_KEYS)
        return hmac.new((self.endpoint.secret or "").encode(), text, hashlib.sha256).hexdigest()


@click.command(context_settings={"show_default": True})
@click.argument("file", default=STANDARD_OUTPUT)
@endpoint_options("--from", "Endpoint to export from")
@click.option(
    "--since",
    metavar="INSTANT",
    callback=instant,
    envvar="GRIFFEL_EXPORT_SINCE",
    show_envvar=True,
    help="Only what was stored after this.",
)
@click.option(
    "--until",
    metavar="INSTANT",
    callback=instant,
    envvar="GRIFFEL_EXPORT_UNTIL",
    show_envvar=True,
    help="Only what was stored up to this.",
)
@click.option(
    "--agent",
    metavar="AGENT",
    callback=agent,
    envvar="GRIFFEL_EXPORT_AGENT",
    show_envvar=True,
    help="Only statements about this person: a mailbox, or an agent as JSON.",
)
@click.option(
    "--related-agents",
    is_flag=True,
    envvar="GRIFFEL_EXPORT_RELATED_AGENTS",
    show_envvar=True,
    help="Also where the person is named in another place.",
)
@click.option("--verb", envvar="GRIFFEL_EXPORT_VERB", show_envvar=True, help="Only this verb, by its IRI.")
@click.option("--activity", envvar="GRIFFEL_EXPORT_ACTIVITY", show_envvar=True, help="Only this activity, by its IRI.")
@click.option(
    "--related-activities",
    is_flag=True,
    envvar="GRIFFEL_EXPORT_RELATED_ACTIVITIES",
    show_envvar=True,
    help="Also where the activity is named in another place, such as the course.",
)
@click.option(
    "--registration",
    type=click.UUID,
    envvar="GRIFFEL_EXPORT_REGISTRATION",
    show_envvar=True,
    help="Only this registration.",
)
@click.option(
    "--ascending/--descending",
    default=True,
    envvar="GRIFFEL_EXPORT_ASCENDING",
    show_envvar=True,
    help="Oldest or newest first.",
)
@click.option(
    "--page",
    "page_max",
    type=click.IntRange(1, 1000),
    default=100,
    envvar="GRIFFEL_EXPORT_PAGE",
    show_envvar=True,
    help="Statements in one request.",
)
@click.option(
    "--attachments",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="GRIFFEL_EXPORT_ATTACHMENTS",
    show_envvar=True,
    help="Folder to write the data of attachments into, each named by its sha2.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GRIFFEL_EXPORT_RESUME",
    show_envvar=True,
    help="File that keeps how far it came; with it, the same command goes on from there.",
)
@click.option(
    "--overwrite", is_flag=True, envvar="GRIFFEL_EXPORT_OVERWRITE", show_envvar=True, help="Replace an existing FILE."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    envvar="GRIFFEL_EXPORT_JSON",
    show_envvar=True,
    help="At the end, print what was done as JSON (on standard error where the statements go to standard output).",
)
@click.option("--quiet", is_flag=True, envvar="GRIFFEL_EXPORT_QUIET", show_envvar=True, help="Show no progress.")
def export(
    *,
    file: str,
    endpoint: str,
    key: str | None,
    secret: str | None,
    xapi_version: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Write statements to FILE, one on each line (NDJSON); to standard output without one, or with `-`.

    An export is plain text about people: whoever holds the file can read all of it, and no erasure reaches it. FILE is
    made readable for you alone; keep it no longer than you need it.

    \b
      griffel export term.ndjson
      griffel export --since 2026-09-01 --verb http://adlnet.gov/expapi/verbs/completed | gzip > done.ndjson.gz
      griffel export all.ndjson --attachments files --resume all.state
      griffel export one.ndjson --agent '{"account": {"homePage": "https://school.example", "name": "l0001"}}'

    Statements that were voided are not given out by a store, so they are not in an export; the statements that voided
    them are. With --resume, an export that was stopped goes on, and one that is complete adds what is new.

    Exit codes: 0 done; 2 a wrong command line; 3 stopped before the end.
    """
    if how["resume"] is not None and not how["ascending"]:
        raise click.UsageError("--resume needs --ascending: what is new is at the end.")
    order = Order(
        endpoint=endpoint_of(endpoint, key, secret),
        version=xapi_version,
        query=_query(how),
        file=file,
        **{name: how[name] for name in ("resume", "attachments", "overwrite", "patience_s", "quiet")},
    )
    summary = run(_export(order))
    if as_json:
        click.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2), err=file == STANDARD_OUTPUT)


def _query(how: Json) -> dict[str, str]:
    query = {
        name: str(how[name]) for name in ("since", "until", "agent", "verb", "activity", "registration") if how[name]
    }
    flags = ("related_agents", "related_activities")
    return (
        query
        | {name: "true" for name in flags if how[name]}
        | {
            "ascending": "true" if how["ascending"] else "false",
            "limit": str(how["page_max"]),
        }
    )


@dataclass(slots=True)
class Place:
    """How far an export came.

    Attributes:
        stored: of the last statement written; empty before the first.
        equals: how many of the last statements written have that same `stored`.
        size: bytes of the file up to there.
        statements: how many were written, by all runs.
    """

    stored: str = ""
    equals: int = 0
    size: int = 0
    statements: int = 0
    _skip: dict[str, int] = field(default_factory=dict)

    def query(self, query: dict[str, str]) -> dict[str, str]:
        """Ask for what comes after, from a little before, since several statements may have the same `stored`."""
        if not self.stored:
            return query
        self._skip = {self.stored: self.equals}
        since = (read_instant(self.stored) - STEP_BACK).isoformat().replace("+00:00", "Z")
        if "since" in query and read_instant(query["since"]) > read_instant(since):
            since = query["since"]
        return query | {"since": since}

    def new(self, page: Page) -> Iterator[Json]:
        """Yield the statements of a page that were not written before."""
        last = next(iter(self._skip), None)
        for statement in page.statements:
            stored = str(statement.get("stored", ""))
            if last is not None and stored:
                if read_instant(stored) < read_instant(last):
                    continue
                if stored == last and self._skip[last] > 0:
                    self._skip[last] -= 1
                    continue
            yield statement

    def written(self, statement: Json, size: int) -> None:
        """Count a statement that was written, in so many bytes."""
        stored = str(statement.get("stored", ""))
        self.equals = self.equals + 1 if stored == self.stored else 1
        self.stored = stored
        self.size += size
        self.statements += 1


async def _export(order: Order) -> Json:
    """Do it, and give the summary."""
    resume = ResumeFile(order.resume, STATE_FORMAT, order.checksum)
    place = _last_place(resume)
    resumed = place.statements
    tally, started_s = Tally(), time.monotonic()
    output = _open_output(order, place)
    attachments, through = 0, ""
    try:
        async with xapi_client(order.endpoint, version=order.version, patience_s=order.patience_s) as client:
            with TransferProgress("export", tally, quiet=order.quiet) as progress:
                meter = _Meter(order.query.get("until"))
                wanted = order.attachments is not None
                async for page in client.pages(place.query(order.query), attachments=wanted):
                    for statement in place.new(page):
                        line = orjson.dumps(statement, option=orjson.OPT_APPEND_NEWLINE)
                        output.write(line)
                        place.written(statement, len(line))
                        tally.statements += 1
                    if order.attachments is not None:
                        attachments += _write_attachments(order.attachments, page.attachments)
                    output.flush()
                    if order.resume is not None:
                        _reach_disk(output)
                        resume.save(
                            stored=place.stored, equals=place.equals, size=place.size, statements=place.statements
                        )
                    through = through or page.consistent_through
                    tally.fraction = 1.0 if page.last else meter.fraction(place.stored)
                    progress.update()
    except BrokenPipeError:
        # Whoever read our output has read enough; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        if order.file != STANDARD_OUTPUT:
            output.close()
    seconds = time.monotonic() - started_s
    return {
        "statements": tally.statements,
        "statements_before": resumed,
        "attachments": attachments,
        "consistent_through": through or None,
        "seconds": round(seconds, 3),
        "statements_per_s": round(tally.statements / max(seconds, 1e-9), 1),
    }


def _last_place(resume: ResumeFile) -> Place:
    try:
        kept = resume.load()
    except ValueError as error:
        raise Stopped(str(error)) from error
    if resume.belonged_elsewhere:
        raise Stopped(f"{resume.path} belongs to another export: other filters, another endpoint, FILE or secret.")
    return Place(kept["stored"], kept["equals"], kept["size"], kept["statements"]) if kept is not None else Place()


def _open_output(order: Order, place: Place) -> BinaryIO:
    """Open where the statements go, at the place where an earlier run stopped."""
    if order.file == STANDARD_OUTPUT:
        return sys.stdout.buffer
    path = Path(order.file)
    if place.statements:
        if not path.is_file() or path.stat().st_size < place.size:
            raise Stopped(f"{path} is not what the resume file says: it is gone or shorter. Remove {order.resume}.")
        file = private_file(path, "a")
        file.truncate(place.size)
        file.seek(place.size)
        return file
    if path.is_file() and path.stat().st_size and not order.overwrite:
        raise Stopped(f"{path} is there already; --overwrite replaces it.")
    return private_file(path, "w")


def _reach_disk(output: BinaryIO) -> None:
    """Let the file reach the disk before the place behind it does; pipes have no disk."""
    try:
        os.fsync(output.fileno())
    except OSError:
        return


def _write_attachments(folder: Path, attachments: dict[str, Attachment]) -> int:
    """Write what is not there yet, readable by its owner only, and say how many that were."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = 0
    for sha2, attachment in attachments.items():
        if not _is_digest_of(sha2, attachment.data):
            raise Stopped("The endpoint sent an attachment whose data are not what its sha2 says.")
        path = folder / sha2.lower()
        if path.exists():
            continue
        beside = path.with_name(path.name + ".new")
        with private_file(beside, "w") as file:
            file.write(attachment.data)
        beside.replace(path)
        written += 1
    return written


def _is_digest_of(sha2: str, data: bytes) -> bool:
    """Compare with the SHA-2 of the same length; so the name of the file can be nothing but a digest."""
    algorithm = {56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}.get(len(sha2))
    return algorithm is not None and hashlib.new(algorithm, data).hexdigest() == sha2.lower()


class _Meter:
    """How far an export is, by the time its last statement was stored."""

    def __init__(self, until: str | None) -> None:
        self._first: datetime | None = None
        self._last = read_instant(until) if until else datetime.now(UTC)

    def fraction(self, stored: str) -> float | None:
        if not stored:
            return None
        self._first = self._first or read_instant(stored)
        return part_of(self._first, read_instant(stored), self._last)
