"""Where statements to import come from: a file of them, standard input, or another store.

A source yields batches. Each has the statements to post, what could not even be read, and the *place* behind it: what
the source needs to go on after it. Places hold line numbers and times only.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import uuid
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from lrs.cli.multipart import Attachment
from lrs.cli.xapi_client import XapiClient

Json = dict[str, Any]

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
STATEMENT_BYTES_MAX: Final = 64 * 1024 * 1024
ARRAY_BYTES_MAX: Final = 512 * 1024 * 1024
OVERLAP: Final = timedelta(seconds=10)
"""A store may let a statement become visible a little after one with a later `stored`; reading this much again costs
nothing, since a statement that is there already is recognised."""

_SHA2 = re.compile(r"[0-9a-fA-F]{56,128}")


@dataclass(slots=True)
class Item:
    """One statement on its way.

    Attributes:
        line: its line in a file, or its number in an array or in what another store gave, counted from 1.
        body: the statement as JSON, as it came wherever possible.
        stored: when another store stored it; None from a file.
        attachments: the data that goes with it.
        unreadable: why it cannot be posted at all; None where it can.
    """

    line: int
    body: bytes = field(repr=False)
    stored: str | None = None
    attachments: tuple[Attachment, ...] = ()
    unreadable: str | None = None


@dataclass(slots=True)
class Batch:
    """Statements that are posted in one request.

    Attributes:
        items: no two with the same id, which a store would refuse.
        place: where to go on after this batch.
        fraction: how much of the source lies behind it, None where that cannot be known.
    """

    items: list[Item] = field(default_factory=list)
    place: Json = field(default_factory=dict)
    fraction: float | None = None
    _ids: set[str] = field(default_factory=set)
    _size: int = 0

    def has_room(self, body: bytes, statement_id: str | None, batch_max: int) -> bool:
        """Say whether one more fits."""
        return not self.items or (
            len(self.items) < batch_max
            and self._size + len(body) <= BATCH_BYTES_MAX
            and (statement_id is None or statement_id not in self._ids)
        )

    def add(self, item: Item, statement_id: str | None) -> None:
        """Put one more in."""
        self.items.append(item)
        self._size += len(item.body) + sum(len(one.data) for one in item.attachments)
        if statement_id is not None:
            self._ids.add(statement_id)


class FileSource:
    """Reads statements from NDJSON or from one JSON array, gzipped or not.

    A statement without an id gets one made from everything read up to it and its line, so that the same file, also
    grown at its end, gives the same ids again.

    Args:
        stream: the bytes.
        batch_max: statements in a batch.
        size: bytes of the whole stream, None where unknown.
        after_line: leave out everything up to this line.
        attachments: folder with the data of attachments, named by their sha2.
        version: the xAPI version the target speaks.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        batch_max: int,
        size: int | None = None,
        after_line: int = 0,
        attachments: Path | None = None,
        version: str = "2.0.0",
    ) -> None:
        self._raw = stream
        self._batch_max = batch_max
        self._size = size
        self._after_line = after_line
        self._attachments = attachments
        self._version = version
        self._seen = hashlib.sha256()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches in order; a ValueError where the whole cannot be read."""
        try:
            yield from self._batches()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError("its gzip data are damaged or cut short.") from error

    def _batches(self) -> Iterator[Batch]:
        batch = Batch()
        for line, text in self._records():
            self._seen.update((text or b"") + b"\n")
            if line <= self._after_line:
                continue
            item, statement_id = self._item(line, text)
            if not batch.has_room(item.body, statement_id, self._batch_max):
                yield batch
                batch = Batch()
            batch.add(item, statement_id)
            batch.place = {"line": line}
            batch.fraction = self._fraction()
        if batch.items:
            yield batch

    def _fraction(self) -> float | None:
        return min(1.0, self._raw.tell() / self._size) if self._size else None

    def _records(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield each line or array element with its number; None for one that is too long to keep."""
        with _buffered(self._raw) as buffered:
            yield from _lines_or_elements(buffered)

    def _item(self, line: int, text: bytes | None) -> tuple[Item, str | None]:
        if text is None:
            return Item(line, b"", unreadable=f"The line is longer than {STATEMENT_BYTES_MAX:,} bytes."), None
        try:
            statement = orjson.loads(text)
        except orjson.JSONDecodeError:
            return Item(line, text, unreadable="The line is not JSON."), None
        if not isinstance(statement, dict):
            return Item(line, text, unreadable="The line is not a JSON object."), None
        if "id" not in statement:
            statement_id = self._made_id(line)
            text = b'{"id":"%b"%b%b' % (statement_id.encode(), b"," if statement else b"", text[1:].lstrip())
        else:
            statement_id = str(statement["id"]).lower()
        text = fitted(statement, self._version) or text
        return Item(line, text, attachments=self._data_of(statement)), statement_id

    def _made_id(self, line: int) -> str:
        digest = hashlib.sha256(b"griffel import\n%d\n" % line + self._seen.digest()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=5))

    def _data_of(self, statement: Json) -> tuple[Attachment, ...]:
        if self._attachments is None:
            return ()
        found = []
        for entry in attachment_entries(statement):
            sha2 = entry.get("sha2")
            if isinstance(sha2, str) and _SHA2.fullmatch(sha2):
                path = self._attachments / sha2.lower()
                if path.is_file():
                    content_type = str(entry.get("contentType", "application/octet-stream"))
                    found.append(Attachment(sha2, content_type, path.read_bytes()))
        return tuple(found)


@contextmanager
def _buffered(raw: BinaryIO) -> Iterator[BinaryIO]:
    """Read through a buffer, and through gzip where the first two bytes say so; leave the raw stream open."""
    buffered = io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18)
    try:
        if buffered.peek(2)[:2] == b"\x1f\x8b":
            with io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=buffered)), 1 << 18) as unzipped:
                yield unzipped
        else:
            yield buffered
    finally:
        with suppress(ValueError):  # the raw stream was closed first
            buffered.detach()


def _lines_or_elements(buffered: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield each line or array element with its number; None for one that is too long to keep."""
    line, begun = 0, False
    while text := buffered.readline(STATEMENT_BYTES_MAX):
        line += 1
        if len(text) == STATEMENT_BYTES_MAX and not text.endswith(b"\n"):
            while (rest := buffered.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            yield line, None
            continue
        text = text.removeprefix(b"\xef\xbb\xbf").strip()
        if text.startswith(b"[") and not begun:
            yield from _array_elements(text + b"\n" + buffered.read(ARRAY_BYTES_MAX), buffered)
            return
        if text:
            begun = True
            yield line, text


def _array_elements(text: bytes, rest: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each element of a JSON array as it was written."""
    if rest.read(1):
        raise ValueError(f"A JSON array may have {ARRAY_BYTES_MAX:,} bytes. Write one statement on each line instead.")
    decoder, characters = json.JSONDecoder(), text.decode("utf-8")
    number, at = 0, _after_space(characters, 1)
    try:
        while characters[at] != "]":
            number += 1
            _, end = decoder.raw_decode(characters, at)
            yield number, characters[at:end].encode("utf-8")
            at = _after_space(characters, end)
            if characters[at] == ",":
                at = _after_space(characters, at + 1)
            elif characters[at] != "]":
                raise ValueError  # noqa: TRY301 - one sentence for all that is wrong with an array
    except (ValueError, IndexError) as error:
        raise ValueError(f"The JSON array cannot be read at element {max(number, 1)}.") from error


def _after_space(characters: str, at: int) -> int:
    while characters[at : at + 1].isspace():
        at += 1
    return at


def attachment_entries(statement: Json) -> list[Json]:
    """Give every attachment entry of a statement and of its sub-statement."""
    entries = []
    for place in (statement, statement.get("object")):
        listed = place.get("attachments") if isinstance(place, dict) else None
        entries += [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return entries


def fitted(statement: Json, version: str) -> bytes | None:
    """Leave out a statement's version where the target does not speak it; None where nothing need change.

    The store sets the property itself (xAPI Data 2.4.10).
    """
    if version.startswith("1.") and str(statement.get("version", "")).startswith("2."):
        return orjson.dumps({name: value for name, value in statement.items() if name != "version"})
    return None


class StoreSource:
    """Reads statements from another store, oldest first, with the data of their attachments.

    Args:
        client: speaks to the other store.
        batch_max: statements in a batch, and asked for in a page.
        since: only those stored after this instant.
        until: only those stored at or before this instant.
        after_stored: an earlier run dealt with everything stored up to here; some overlap is read again.
        version: the xAPI version the target speaks.
    """

    def __init__(
        self,
        client: XapiClient,
        *,
        batch_max: int,
        since: str | None = None,
        until: str | None = None,
        after_stored: str | None = None,
        version: str = "2.0.0",
    ) -> None:
        self._client = client
        self._batch_max = batch_max
        self._until = until
        self._version = version
        self._since = since
        if after_stored is not None:
            again = read_instant(after_stored) - OVERLAP
            if since is None or read_instant(since) < again:
                self._since = again.isoformat().replace("+00:00", "Z")

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield batches in the order of `stored`."""
        query = {"ascending": "true", "limit": str(self._batch_max)}
        query |= {name: value for name, value in (("since", self._since), ("until", self._until)) if value}
        number, first, last = 0, None, datetime.now(UTC) if self._until is None else read_instant(self._until)
        async for page in self._client.pages(query, attachments=True):
            batch = Batch()
            for statement in page.statements:
                number += 1
                body = fitted(statement, self._version) or orjson.dumps(statement)
                statement_id = str(statement.get("id")).lower()
                if not batch.has_room(body, statement_id, self._batch_max):
                    yield batch
                    batch = Batch()
                data = tuple(
                    page.attachments[entry["sha2"]]
                    for entry in attachment_entries(statement)
                    if entry.get("sha2") in page.attachments
                )
                stored = statement.get("stored")
                batch.add(Item(number, body, stored if isinstance(stored, str) else None, data), statement_id)
                if isinstance(stored, str):
                    first = first or read_instant(stored)
                    batch.place = {"stored": stored}
                    batch.fraction = part_of(first, read_instant(stored), last)
            if batch.items:
                yield batch


def read_instant(text: str) -> datetime:
    """Read an instant as a store writes it; a ValueError where it is none."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def part_of(first: datetime, now: datetime, last: datetime) -> float | None:
    """Say how much of the way from first to last is done, between 0 and 1."""
    span = (last - first).total_seconds()
    return min(1.0, max(0.0, (now - first).total_seconds() / span)) if span > 0 else None


def file_checksum(path: Path, target: str) -> str:
    """Give a checksum of a file's size and time and of where it goes; it tells nothing about what is in it."""
    about = os.stat(path)  # noqa: PTH116 - st_mtime_ns is what matters here
    return hashlib.sha256(f"{target}\n{about.st_size}\n{about.st_mtime_ns}".encode()).hexdigest()
