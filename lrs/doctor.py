"""The doctor: looks through an installation's own stores for personal values, and says what lies where.

What a store is asked for is all that it gives: files byte by byte (so freed pages and journals count), the rows of
databases (so a value in several pages is whole), the records of Kafka. What cannot be looked at is told as that. No
value is ever told, nor a name that holds one.
"""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import psycopg
from psycopg import sql

from consumers.kafka_feed import KafkaSilent
from consumers.kafka_records import read_records
from lrs import kafka_topics
from lrs.errors import GriffelError
from lrs.kafka_access import KafkaAccess
from lrs.sql import queries
from lrs.unpacking import BadlyPacked, looks_packed, unpacked, unpacked_bytes_sure
from lrs.value_search import CHUNK_BYTES, RowSearch, Sought, StreamSearch, ValueSearch, expected_by_chance
from schemas.topics import EVENTS

UNPACKED_BYTES_MAX = 16 * 1024 * 1024 * 1024
"""What one packed file may hold; the rest is told as not looked at."""
DATABASE_WAIT_S = 10
_SQLITE: Final = b"SQLite format 3\x00"
_HELD_BACK: Final = "(a name that holds a value)"
SQL = queries("doctor")


class Scanned(NamedTuple):
    """How much of a store was looked at; rows is None where it has none."""

    store: str
    bytes: int
    rows: int | None


class Found(NamedTuple):
    """A value that was found: in which store and where there, the line it has in the input, its form, how often.

    by_chance is how often that form is to be expected in so many bytes of random, as sealed data are.
    """

    store: str
    where: str
    line: int
    form: str
    times: int
    by_chance: float


class Unread(NamedTuple):
    """What could not be looked at, and why."""

    store: str
    where: str
    why: str


class Doctor:
    """Looks through stores, one after the other, and keeps what was found. Everything here blocks.

    Args:
        search: the values.
        told: called with a number of bytes whenever so many more have been looked at.
    """

    def __init__(self, search: ValueSearch, told: Callable[[int], None] = lambda _size_bytes: None) -> None:
        self._search = search
        self._told = told
        self._found: Counter[tuple[str, str, Sought]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._rows: dict[str, int] = {}
        self.unread: list[Unread] = []

    @property
    def scanned(self) -> list[Scanned]:
        """How much of each store was looked at."""
        return [Scanned(store, size, self._rows.get(store)) for store, size in self._bytes.items()]

    @property
    def found(self) -> list[Found]:
        """What was found, by store, place and line."""
        merged: dict[tuple[str, str, int, str], tuple[int, float]] = {}
        for (store, where, sought), times in self._found.items():
            key = (store, where, sought.line, sought.form)
            before, chance = merged.get(key, (0, 0.0))
            merged[key] = before + times, chance + expected_by_chance(sought.bits, self._bytes[store])
        return sorted(Found(*key, times, chance) for key, (times, chance) in merged.items())

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def scan_folder(self, store: str, root: Path) -> None:
        """Look through every file at or under a path, and through the names."""

        def shut(path: Path, why: str) -> None:
            self.cannot(store, self._name(path.relative_to(root).as_posix()), why)

        self._open(store)
        for path in files_under(root, shut):
            relative = path.relative_to(root).as_posix() if path != root else path.name
            self._look_at(store, f"file {self._name(relative)}", relative)
            try:
                self._scan_file(store, self._name(relative), path)
            except FileNotFoundError:
                continue  # a file of a running server that has just gone
            except OSError as error:
                self.cannot(store, self._name(relative), _reason(error))

    def _scan_file(self, store: str, where: str, path: Path) -> None:
        stream = StreamSearch(self._search, lambda sought: self._note(store, where, sought))
        head = b""
        with path.open("rb", buffering=0) as file:
            while piece := file.read(CHUNK_BYTES):
                head = head or piece[: len(_SQLITE)]
                stream.feed(piece)
                self._count(store, len(piece))
            if looks_packed(head):
                file.seek(0)
                self._scan_packed(store, where, file, head)
        if head == _SQLITE:
            self._scan_sqlite(store, where, path)

    def _scan_packed(self, store: str, where: str, file: Any, head: bytes) -> None:
        stream = StreamSearch(self._search, lambda sought: self._note(store, f"{where}, unpacked", sought))
        size_bytes = 0
        try:
            for piece in unpacked(file, head):
                stream.feed(piece)
                size_bytes += len(piece)
                if size_bytes > UNPACKED_BYTES_MAX:
                    self.cannot(store, where, f"unpacks to more than {UNPACKED_BYTES_MAX >> 30} GiB")
                    return
        except BadlyPacked:
            # Sealed bytes begin like anything now and then; the shorter the sign, the more must have been unpacked.
            if size_bytes >= unpacked_bytes_sure(head):
                self.cannot(store, where, "a packed file that is damaged or not whole; its end was not unpacked")

    def _scan_sqlite(self, store: str, where: str, path: Path) -> None:
        """Look through the rows of an SQLite file: what lies in several pages is whole there."""
        try:
            address = f"file:{quote(str(path.absolute()))}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=DATABASE_WAIT_S)) as connection:
                connection.text_factory = bytes
                for (table,) in connection.execute(SQL["sqlite_tables"]).fetchall():
                    name = table.decode(errors="replace")
                    rows = connection.execute(f"SELECT * FROM {_quoted(name)}")  # noqa: S608  a table's own name, quoted
                    columns = [one[0] for one in rows.description]
                    self._scan_rows(store, f"{where}, table {self._name(name)}", columns, rows)
        except sqlite3.Error as error:
            self.cannot(store, where, f"its rows could not be read ({type(error).__name__})")

    # ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────────────

    def scan_postgres(self, store: str, url: str) -> None:
        """Look through every row of every table of a database, and through the names that it shows."""
        self._open(store)
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=DATABASE_WAIT_S) as connection:
                for statement in (SQL["postgres_names"], SQL["postgres_remarks"]):
                    for kind, name in connection.execute(statement).fetchall():
                        self._look_at(store, kind, name or "")
                for schema, table, columns in connection.execute(SQL["postgres_tables"]).fetchall():
                    self._scan_table(store, connection, schema, table, columns)
                large = connection.execute(SQL["postgres_large_objects"]).fetchone()
                if large is not None and large[0]:
                    self.cannot(store, "large objects", f"there are {large[0]:,}; Griffel makes none")
        except psycopg.Error as error:
            self.cannot(store, "the database", _failure(error))

    def _scan_table(
        self, store: str, connection: psycopg.Connection[Any], schema: str, table: str, columns: list[str]
    ) -> None:
        where = self._name(table if schema == "public" else f"{schema}.{table}")
        copying = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT (FORMAT BINARY)").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(schema, table)
        )
        try:
            with connection.cursor() as cursor, cursor.copy(copying) as copied:
                self._scan_rows(store, f"table {where}", columns, copied.rows())
        except psycopg.errors.UndefinedTable:
            return  # it went while we looked: a view that was built anew
        except psycopg.Error as error:
            if connection.closed:
                raise
            self.cannot(store, f"table {where}", _failure(error))

    # ── Kafka ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def scan_kafka(self, store: str, kafka: KafkaAccess, told: Callable[[float], None] = lambda _part: None) -> None:
        """Look through every record of the topic, and through the names of topics, groups and clients."""
        self._open(store)

        def seen(partition: int, records: list[Any], part: float) -> None:
            rows = ((one.key, one.value, _headers(one)) for one in records)
            self._scan_rows(
                store, f"{EVENTS}, partition {partition}", ["key", "value", "headers"], rows, word="in the record's"
            )
            told(part)

        try:
            for what, name in kafka_topics.names(kafka):
                self._look_at(store, what, name)
        except GriffelError as error:
            self.cannot(store, "names of topics, groups and clients", error.detail)
        try:
            if not read_records(kafka.brokers, kafka.security, seen):
                self.cannot(store, f"topic {EVENTS}", "there is none, or this user may not see it")
        except KafkaSilent as error:
            self.cannot(store, f"topic {EVENTS}", f"Kafka did not give its records ({error})")

    # ── what all share ────────────────────────────────────────────────────────────────────────────────────────────

    def _scan_rows(
        self,
        store: str,
        where: str,
        columns: Sequence[str],
        rows: Iterator[Sequence[object]],
        word: str = "column",
    ) -> None:
        names = [self._name(one) for one in columns]
        search = RowSearch(
            self._search, len(columns), lambda at, sought: self._note(store, f"{where}, {word} {names[at]}", sought)
        )
        number = told_bytes = 0
        for row in rows:
            search.add(row)
            number += 1
            for at, value in enumerate(row):
                if isinstance(value, bytes) and looks_packed(value[: len(_SQLITE)]):
                    self._scan_packed(store, f"{where}, {word} {names[at]}", io.BytesIO(value), value[: len(_SQLITE)])
            if search.searched_bytes > told_bytes:
                self._count(store, search.searched_bytes - told_bytes)
                told_bytes = search.searched_bytes
        search.flush()
        self._count(store, search.searched_bytes - told_bytes)
        self._rows[store] = self._rows.get(store, 0) + number

    def _open(self, store: str) -> None:
        self._bytes[store] += 0

    def cannot(self, store: str, where: str, why: str) -> None:
        """Tell that something could not be looked at, and why."""
        self.unread.append(Unread(store, where, why))

    def _count(self, store: str, size_bytes: int) -> None:
        self._bytes[store] += size_bytes
        self._told(size_bytes)

    def _note(self, store: str, where: str, sought: Sequence[Sought]) -> None:
        for one in sought:
            self._found[store, where, one] += 1

    def _look_at(self, store: str, what: str, name: str) -> None:
        """Look at a name: of a file, a role, a topic."""
        for match in self._search(os.fsencode(name)):
            self._note(store, f"a name: {what}", match.sought)

    def _name(self, name: str) -> str:
        """Give a name as it may be told: parts of it that hold a value are held back, and so is what would garble."""
        if self._search.found_in(name):
            parts = [_HELD_BACK if self._search.found_in(one) else one for one in name.split("/")]
            name = "/".join(parts)
            if self._search.found_in(name):
                return _HELD_BACK
        return name.encode("ascii", "backslashreplace").decode() if not name.isprintable() else name


def files_under(root: Path, cannot: Callable[[Path, str], None]) -> Iterator[Path]:
    """Give every ordinary file at or under a path, each folder once; cannot is told of what is shut.

    Links are followed, after all folders that are none.
    """
    if os.path.isfile(root):  # noqa: PTH113  Path's own raises where there is no right to look
        yield root
        return
    known: set[tuple[int, int]] = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in known:
                continue
            known.add((status.st_dev, status.st_ino))
            entries = sorted(folder.iterdir())
        except OSError as error:
            cannot(folder, _reason(error))
            continue
        for path in entries:
            try:
                kind = path.stat().st_mode
            except FileNotFoundError:
                continue  # it has just gone, or a link to nothing
            except OSError as error:
                cannot(path, _reason(error))
                continue
            if stat.S_ISDIR(kind):
                (waiting.append if path.is_symlink() else waiting.appendleft)(path)
            elif stat.S_ISREG(kind):
                yield path


def size_of(root: Path) -> int:
    """Give how many bytes the files at or under a path have."""
    total = 0
    for path in files_under(root, lambda _where, _why: None):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _headers(record: Any) -> bytes:
    return b"\xff".join([part for name, value in record.headers for part in (name.encode(), value or b"")])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _reason(error: OSError) -> str:
    return "no right to read it" if isinstance(error, PermissionError) else (error.strerror or type(error).__name__)


def _failure(error: psycopg.Error) -> str:
    """Say why PostgreSQL gave nothing, without its own words: they may repeat what was asked for or is stored."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "no right to read it"
    if error.sqlstate is None:
        return "PostgreSQL cannot be reached"
    return f"PostgreSQL refused with {type(error).__name__}"


def database_size(url: str) -> int:
    """Give how many bytes a PostgreSQL database has; 0 where it does not say."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=DATABASE_WAIT_S) as connection:
            row = connection.execute(SQL["postgres_size"]).fetchone()
    except psycopg.Error:
        return 0
    return int(row[0]) if row is not None else 0
