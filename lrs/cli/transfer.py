"""Bring batches of statements to an endpoint: several in flight, refused ones parted from the rest, resumable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from lrs.cli.in_flight import in_order
from lrs.cli.progress import Tally, TransferProgress
from lrs.cli.resume import ResumeFile, private_file
from lrs.cli.statement_sources import Batch, Item
from lrs.cli.xapi_client import EndpointError, Refused, XapiClient

FORBIDDEN = 403


class NothingAllowed(EndpointError):
    """The endpoint refuses every statement with 403: the credential may not write statements."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A statement that the endpoint would not take, and why.

    Attributes:
        item: the statement.
        status: the HTTP status it was refused with; 400 where it could not even be sent.
        detail: the endpoint's sentence.
        pointer: JSON pointer from the statement's root; empty for the whole, None where the endpoint named no place.
    """

    item: Item = field(repr=False)
    status: int
    detail: str
    pointer: str | None


async def deliver(client: XapiClient, items: list[Item]) -> list[Reject]:
    """Post statements, and where the batch is refused, halves of it, until only the bad ones are left out.

    Returns:
        What was refused, in order; everything else is stored.
    """
    unreadable = [Reject(item, 400, item.unreadable, "") for item in items if item.unreadable]
    return sorted(
        unreadable + await _deliver_halves(client, [item for item in items if not item.unreadable]),
        key=lambda reject: reject.item.line,
    )


async def _deliver_halves(client: XapiClient, items: list[Item]) -> list[Reject]:
    if not items:
        return []
    try:
        await client.post_statements(
            (item.body for item in items), (attachment for item in items for attachment in item.attachments)
        )
    except Refused as refusal:
        if len(items) == 1:
            pointer = refusal.pointer.removeprefix("/0") if refusal.pointer is not None else None
            return [Reject(items[0], refusal.status, refusal.detail, pointer)]
        middle = len(items) // 2
        return await _deliver_halves(client, items[:middle]) + await _deliver_halves(client, items[middle:])
    return []


class RejectsReport:
    """A file with one line of JSON for each refused statement: its line number, the place in it, status and reason.

    The statement itself is about a person, so it is written only when asked for; the file is its owner's alone.

    Args:
        path: where; made when the first statement is refused.
        with_statements: write the statements too.
    """

    def __init__(self, path: Path, *, with_statements: bool = False) -> None:
        self.path = path
        self._with_statements = with_statements
        self._file: BinaryIO | None = None
        self.size = 0

    def go_on_from(self, size: int) -> None:
        """Keep the report of an earlier run as it was when its place was saved; start afresh where size is 0.

        Raises:
            ValueError: there is a file of that name that is no report; it is left as it is.
        """
        if self.path.exists() and not _is_report(self.path):
            raise ValueError(f"{self.path} is there already and is no report of refused statements.")
        if size == 0:
            self.path.unlink(missing_ok=True)
            return
        self._file = private_file(self.path, "a")
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size

    def add(self, rejects: list[Reject]) -> None:
        """Write some more."""
        if not rejects:
            return
        if self._file is None:
            self._file = private_file(self.path, "w")
        for reject in rejects:
            row: dict[str, Any] = {"line": reject.item.line}
            if reject.item.stored is not None:
                row["stored"] = reject.item.stored
            row |= {"pointer": reject.pointer, "status": reject.status, "detail": reject.detail}
            written = orjson.dumps(row)
            if self._with_statements:
                written = written[:-1] + b',"statement":' + (_compact(reject.item) or b"null") + b"}"
            self.size += self._file.write(written + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) in {b"", b'{"line":'}


def _compact(item: Item) -> bytes | None:
    """Give the statement as JSON on one line, None where it is no JSON."""
    try:
        return orjson.dumps(orjson.loads(item.body))
    except orjson.JSONDecodeError:
        return None


@dataclass(slots=True)
class Transferred:
    """What a transfer came to, earlier runs of it included.

    Attributes:
        accepted: statements that the endpoint has now.
        rejected: statements that it would not take.
        place: where to go on, as the source gave it; empty before the first batch.
    """

    accepted: int = 0
    rejected: int = 0
    place: dict[str, Any] = field(default_factory=dict)

    def save(self, resume: ResumeFile, report: RejectsReport) -> None:
        """Keep it, with the length that the report has now."""
        resume.save(place=self.place, accepted=self.accepted, rejected=self.rejected, report_size=report.size)


async def transfer(
    client: XapiClient,
    batches: AsyncIterator[Batch],
    *,
    in_flight_max: int,
    report: RejectsReport,
    resume: ResumeFile,
    progress: TransferProgress,
    tally: Tally,
    done: Transferred,
) -> Transferred:
    """Post every batch and keep the place behind the last one before which all are done.

    A run that was killed posts again what was in flight; the endpoint recognises those statements by their ids.

    Args:
        client: speaks to the target.
        batches: what to post.
        in_flight_max: requests at once.
        report: takes what is refused.
        resume: keeps the place, the counts and the length of the report after each batch.
        progress: shows the tally.
        tally: counts this run.
        done: counts all runs; where an earlier one stopped, with its figures.
    """

    async def post(batch: Batch) -> list[Reject]:
        return await deliver(client, batch.items)

    async for batch, rejects in in_order(batches, post, in_flight_max):
        done.accepted += len(batch.items) - len(rejects)
        done.rejected += len(rejects)
        if not done.accepted and all(one.status == FORBIDDEN and not one.pointer for one in rejects):
            raise NothingAllowed(str(NothingAllowed.__doc__))
        report.add(rejects)
        tally.statements += len(batch.items)
        tally.rejects = done.rejected
        tally.fraction = batch.fraction
        done.place = batch.place or done.place
        done.save(resume, report)
        progress.update()
    return done
