"""Views in a SQLite file: one writer at a time, readers beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projections.projection import Key, Opener, Table
from projections.sql_view_store import SqlViewStore
from projections.view_store import Session, SqlRow, StoreBusy

LOCK_TIMEOUT_S = 10
CACHE_KIB = 8 * 1024
CHECKPOINT_PAGES = 8_000
"""A larger write-ahead log makes scattered writes cheaper."""
PAGE_BYTES = 8 * 1024
"""Rows of about a kilobyte fit into a page without spilling over."""
ROWS_AT_ONCE = 128
"""Rows in one statement. SQLite gives up Python's lock once for each statement, so few large ones are quick."""
STATEMENTS_PREPARED_MAX = 256

_MENDED_BY_REPEATING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS view (
    name TEXT NOT NULL, generation INTEGER NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL,
    tables TEXT NOT NULL, PRIMARY KEY (name, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_position (
    name TEXT NOT NULL, generation INTEGER NOT NULL, part INTEGER NOT NULL,
    position INTEGER NOT NULL, through_position INTEGER NOT NULL, through_us INTEGER NOT NULL,
    PRIMARY KEY (name, generation, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, generation INTEGER NOT NULL, part INTEGER NOT NULL,
    position INTEGER NOT NULL, originator_id BLOB NOT NULL, version INTEGER NOT NULL, topic TEXT NOT NULL,
    record_key BLOB NOT NULL, stored_us INTEGER NOT NULL, state BLOB NOT NULL, reason TEXT NOT NULL,
    kept_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS forgotten (learner BLOB PRIMARY KEY, since_us INTEGER NOT NULL) WITHOUT ROWID;
"""


class SQLiteViews(SqlViewStore):
    """ViewStore in a file. One process writes (the data folder's lock sees to that); with read_only none is made."""

    def __init__(self, path: Path, opener: Opener, *, read_only: bool = False, **options: Any) -> None:
        super().__init__(opener, **options)
        self._path = path
        self._writer_lock = threading.Lock()
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            self._writer = self._connect(str(path), read_only=False)
            self._writer.executescript(_SCHEMA)

    def _connect(self, place: str, *, read_only: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            place,
            uri=read_only,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_PREPARED_MAX,
            timeout=LOCK_TIMEOUT_S,
        )
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            # After a power cut the file is whole and perhaps a little behind; what is missing is applied again.
            for pragma in (
                f"page_size={PAGE_BYTES}",
                "journal_mode=WAL",
                "synchronous=NORMAL",
                f"wal_autocheckpoint={CHECKPOINT_PAGES}",
                "temp_store=MEMORY",
            ):
                connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        writer = self._writer
        if writer is None:
            raise StoreBusy("these views are open for reading only")
        with self._writer_lock, _translated():
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield _SQLiteSession(writer)
                writer.execute("COMMIT")
            finally:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        with _translated():
            reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
            if reader is None:
                reader = self._local.reader = self._connect(f"file:{self._path}?mode=ro", read_only=True)
                self._all.append(reader)
            reader.execute("BEGIN")
            try:
                yield _SQLiteSession(reader)
            finally:
                reader.execute("ROLLBACK")

    def _create_table(self, session: Session, name: str, table: Table) -> None:
        columns = [f"{one} BLOB NOT NULL" for one in table.key] + [f"{one} BLOB" for one in table.columns]
        columns += ["labels BLOB NOT NULL"] * table.counted
        session.rows(
            f"CREATE TABLE {name} ({', '.join(columns)}, sealed BLOB NOT NULL, "
            f"PRIMARY KEY ({', '.join(table.key)})) WITHOUT ROWID"
        )
        for at, index in enumerate(table.indexes):
            session.rows(f"CREATE INDEX {name}_{at} ON {name} ({', '.join(index)})")

    def _create_counts(self, session: Session, name: str) -> None:
        session.rows(
            f"CREATE TABLE {name} (grp BLOB NOT NULL, label BLOB NOT NULL, part INTEGER NOT NULL, "
            "rows INTEGER NOT NULL, PRIMARY KEY (grp, label, part)) WITHOUT ROWID"
        )

    def _lock_applying(self, session: Session) -> None:
        """Do nothing: the transaction began with the file's one write lock."""

    def _lock_views(self, session: Session) -> None:
        """Do nothing, for the same reason."""

    def close(self) -> None:
        with self._writer_lock:
            for connection in (*self._all, *filter(None, [self._writer])):
                connection.close()
            self._all.clear()
            self._writer = None


class _SQLiteSession:
    """A connection inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        return self._connection.execute(text, parameters).fetchall()

    def put_many(self, table: str, key: Sequence[str], others: Sequence[str], rows: Sequence[SqlRow]) -> None:
        columns = (*key, *others)
        row = f"({', '.join('?' * len(columns))})"
        head = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608  our own words
        # In the order of the key, neighbours are written together.
        ordered = sorted(rows, key=lambda one: one[: len(key)])
        self._in_pieces(ordered, lambda count: head + ", ".join([row] * count))

    def get_many(self, table: str, columns: Sequence[str], key: Sequence[str], keys: Sequence[Key]) -> list[SqlRow]:
        row = f"({', '.join('?' * len(key))})"
        head = f"SELECT {', '.join(columns)} FROM {table} WHERE ({', '.join(key)}) IN (VALUES "  # noqa: S608
        return self._in_pieces(keys, lambda count: head + ", ".join([row] * count) + ")")

    def delete_many(self, table: str, key: Sequence[str], keys: Sequence[Key]) -> None:
        row = f"({', '.join('?' * len(key))})"
        head = f"DELETE FROM {table} WHERE ({', '.join(key)}) IN (VALUES "  # noqa: S608  our own words
        self._in_pieces(keys, lambda count: head + ", ".join([row] * count) + ")")

    def add_many(self, table: str, rows: Sequence[tuple[bytes, bytes, int, int]]) -> None:
        head = f"INSERT INTO {table} (grp, label, part, rows) VALUES "  # noqa: S608  our own words
        tail = " ON CONFLICT (grp, label, part) DO UPDATE SET rows = rows + excluded.rows"
        self._in_pieces(sorted(rows), lambda count: head + ", ".join(["(?, ?, ?, ?)"] * count) + tail)

    def _in_pieces(self, rows: Sequence[SqlRow], text_for: Callable[[int], str]) -> list[SqlRow]:
        """Run a statement over many rows: in pieces of few different sizes, so that few statements are prepared."""
        found: list[SqlRow] = []
        at = 0
        while at < len(rows):
            count = min(ROWS_AT_ONCE, 1 << ((len(rows) - at).bit_length() - 1))
            parameters = [value for row in rows[at : at + count] for value in row]
            found += self._connection.execute(text_for(count), parameters).fetchall()
            at += count
        return found


@contextmanager
def _translated() -> Iterator[None]:
    """Tell what a repetition mends from what it does not."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith(_MENDED_BY_REPEATING):
            raise StoreBusy("the views' file does not answer") from error
        raise
