"""Logs to test against: one on SQLite and one on PostgreSQL, with the same ways to write, read and look inside."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from lrs import postgres_recorder, sqlite_recorder
from lrs.appending import Appended, AppendRequest, IndexEntry, NewEvent, Outcome, Request
from lrs.changed import Changed
from lrs.event_log import EventLog
from lrs.log_reader import LogReader, SQLiteReader, StatementQuery
from lrs.postgres_reader import PostgresReader
from schemas.envelope import Part, clear_part, join_parts
from schemas.events import STATEMENT_RECORDED
from schemas.person_states import PersonStateRow

LISTS = ("lists later", "lists at once")
lists_now_or_later = pytest.mark.parametrize("recorder", LISTS, indirect=True)
"""Runs a test with statements that the posting lists do not hold yet, and with those that they hold."""
STATE = join_parts([clear_part(Part.BODY, bytes(16), b"sealed")])
EVERYTHING = 2**63 - 1


class Recorder(Protocol):
    """What is asked of both recorders here."""

    def create_table(self) -> None: ...

    def write(self, requests: Sequence[Request]) -> list[Outcome]: ...

    def settle(self) -> int: ...

    def insert_events(self, stored_events: Sequence[Any]) -> Sequence[int] | None: ...


@dataclass(frozen=True)
class LogPlace:
    """A log that is still empty. `place` is what the writer is told: a path or an address."""

    kind: str
    place: str

    @property
    def many_writers(self) -> bool:
        """Whether several processes may write at once; a file has one writer, the data folder's lock sees to that."""
        return self.kind == "postgres"

    def recorder(self, clock: Callable[[], int] | None = None) -> Recorder:
        """A recorder with its tables made. `clock` (µs) is for SQLite; PostgreSQL has its own."""
        recorder: Recorder
        if self.kind == "sqlite":
            options = {} if clock is None else {"clock": clock}
            recorder = sqlite_recorder.SQLiteLogRecorder(sqlite_recorder.open_datastore(Path(self.place)), **options)
        else:
            recorder = postgres_recorder.PostgresLogRecorder(postgres_recorder.open_datastore(self.place))
        recorder.create_table()
        return recorder

    def reader(self) -> LogReader:
        return SQLiteReader(Path(self.place)) if self.kind == "sqlite" else PostgresReader(self.place)

    def log(self, **options: Any) -> EventLog:
        """The log as a server has it, not yet started."""
        return EventLog(self.place, self.reader, **options)

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement beside the log (`?` for parameters), as an operator could; its rows."""
        if self.kind == "sqlite":
            connection = sqlite3.connect(self.place, isolation_level=None, timeout=10)
            try:
                return connection.execute(text, parameters).fetchall()
            finally:
                connection.close()
        with psycopg.connect(self.place, autocommit=True) as other:
            cursor = other.execute(text.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []


def open_recorder(place: str) -> Recorder:
    """The recorder for a place, as another process opens it."""
    return LogPlace("postgres" if "://" in place else "sqlite", place).recorder()


def write_events(place: str, requests: int, size: int) -> list[tuple[int, tuple[int, ...], int]]:
    """Append, one after the other, requests of `size` events each, as a process of its own; what they were told."""
    recorder = open_recorder(place)
    told = []
    for _ in range(requests):
        request = AppendRequest(tuple(event(os.urandom(16)) for _ in range(size)))
        outcome = appended(recorder.write([request])[0])
        told.append((outcome.position, outcome.stored_us, outcome.head_us))
    return told


# --------------------------------------------------------------------------------------------------------- what goes in


def name(text: str) -> bytes:
    """16 bytes that stand for a statement, a person or a document."""
    return text.encode().ljust(16, b"\0")[:16]


def term(number: int) -> bytes:
    """The 8 bytes of a term: a hash, as terms are."""
    return hashlib.sha256(b"term %d" % number).digest()[:8]


def event(stream: bytes, version: int = 1, people: Iterable[bytes] = (), **more: Any) -> NewEvent:
    """An event that is no statement's."""
    return NewEvent(stream, version, "something_happened", stream, STATE, tuple(people), **more)


class Settling:
    """A recorder that writes statements into the posting lists at once, not when there is time."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def write(self, requests: Sequence[Request]) -> list[Outcome]:
        outcomes = self._recorder.write(requests)
        self._recorder.settle()
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)


def statement(
    statement_id: str,
    *terms: int,
    refers_to: str | None = None,
    voids: str | None = None,
    people: Iterable[str] = (),
    record_key: bytes | None = None,
) -> NewEvent:
    target = refers_to or voids
    entry = IndexEntry(b"".join(map(term, terms)), name(target) if target else None, name(voids) if voids else None)
    named = tuple(name(one) for one in people)
    return NewEvent(name(statement_id), 1, STATEMENT_RECORDED, record_key or name("key"), STATE, named, entry)


def request(*events: NewEvent, seen: tuple[PersonStateRow, ...] = ()) -> AppendRequest:
    return AppendRequest(tuple(events), seen)


def record(recorder: Recorder, *events: NewEvent) -> list[int]:
    """Append each event as a request of its own, all in one group; their positions."""
    return [appended(outcome).position for outcome in recorder.write([request(one) for one in events])]


def appended(outcome: Outcome) -> Appended:
    assert isinstance(outcome, Appended), outcome
    return outcome


def changed(outcome: Outcome) -> Changed:
    assert isinstance(outcome, Changed), outcome
    return outcome


# ------------------------------------------------------------------------------------------------------- what comes out


def found(reader: LogReader, *terms: int, ascending: bool = True, limit: int = 1000) -> list[int]:
    """The positions that a filter by all these terms gives."""
    numbers = tuple(int.from_bytes(term(one), signed=True) for one in terms)
    positions, _ = reader.positions(StatementQuery(numbers, 0, EVERYTHING, ascending, limit))
    return [position for position, _ in positions]


def entries(reader: LogReader) -> list[tuple[Any, ...]]:
    """Every event, in order: position, originator id, version, topic, record key, stored µs, state."""
    return reader.rows("events_after", 0, EVERYTHING)


def assert_sound(reader: LogReader) -> None:
    """Positions are gap-free from 1, `stored` is distinct and in their order, and the head is where they end."""
    rows = entries(reader)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    stored = [row[5] for row in rows]
    assert stored == sorted(set(stored))
    [(position, stored_us)] = reader.rows("head")
    assert position == len(rows)
    assert stored_us >= max(stored, default=0)
