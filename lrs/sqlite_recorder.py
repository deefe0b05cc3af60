"""The log on SQLite: the eventsourcing library's recorder, with positions from the head row and our tables beside it.

Three things differ from the library's: originator ids are 16 bytes, a position is given by `log_head` and never by
SQLite (which hands the last one out again after a deletion), and one transaction carries many requests.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from lrs.appending import KnownStatement, LookedUp, Outcome, Referrer, Request, Rows, Stream, TermRow, write_group
from lrs.document_writing import DocumentPut, next_revision
from lrs.settling import settle, settle_upto
from lrs.sql import script, split_script
from lrs.sqlite_index import SQLiteIndex
from projections.statement_index import unpack_terms
from schemas.person_states import PersonStateRow

LOCK_TIMEOUT_S = 10
CACHE_KIB = 32 * 1024
CHECKPOINT_PAGES = 20_000
"""A larger write-ahead log makes inserts into the index much cheaper (docs/architecture.md)."""
STATEMENTS_PREPARED_MAX = 256
LIST_ITEMS_MAX = 512


class LogConnectionPool(SQLiteConnectionPool):
    """The library's pool with connections as the log needs them.

    The library keeps one prepared statement for each connection, so every query of a group would be compiled anew.
    """

    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENTS_PREPARED_MAX,
            timeout=LOCK_TIMEOUT_S,
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"cache_size=-{CACHE_KIB}",
            f"wal_autocheckpoint={CHECKPOINT_PAGES}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return SQLiteConnection(connection, max_age=None)


def open_datastore(path: Path) -> SQLiteDatastore:
    """Open (and make) the log's file for writing. One process at a time: the folder's lock sees to that."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    datastore = SQLiteDatastore(str(path))
    datastore.pool.close()
    datastore.pool = LogConnectionPool(db_name=str(path), pool_size=1, max_overflow=0)
    return datastore


class SQLiteLogRecorder(SQLiteApplicationRecorder):
    """Recorder of the log on SQLite. `clock` gives µs since 1970."""

    def __init__(
        self, datastore: SQLiteDatastore, *, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._clock = clock
        super().__init__(datastore, events_table_name="events")

    def create_table(self) -> None:
        """Make the tables; never touch those that are there, whose names a new index may have taken over."""
        with self.datastore.transaction(commit=False) as c:
            c.execute("SELECT 1 FROM sqlite_master WHERE name = 'log_head'")
            if c.fetchone() is not None:
                return
        super().create_table()

    def construct_create_table_statements(self) -> list[str]:
        return split_script(script("log_sqlite"))

    # ── the library's interface ───────────────────────────────────────────────────────────────────────────────────

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        if not stored_events:
            return None
        tables = SQLiteTables(c, self._clock)
        position, stored_us, now_us = tables.head()
        rows = Rows()
        for event in stored_events:
            position += 1
            stored_us = max(now_us, stored_us + 1)
            originator_id = _id_bytes(event.originator_id)
            rows.events.append(
                (
                    position,
                    originator_id,
                    event.originator_version,
                    event.topic,
                    originator_id,
                    stored_us,
                    event.state,
                )
            )
        tables.insert(rows, position, stored_us)
        return [row[0] for row in rows.events]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        text = (
            "SELECT originator_id, originator_version, topic, state FROM events WHERE originator_id = ? "
            "AND originator_version > ? AND originator_version <= ? "
            f"ORDER BY originator_version {'DESC' if desc else 'ASC'} LIMIT ?"
        )
        bounds = (-1 if gt is None else gt, _LARGEST if lte is None else lte, _LARGEST if limit is None else limit)
        with self.datastore.transaction(commit=False) as c:
            c.execute(text, (_id_bytes(originator_id), *bounds))
            return [StoredEvent(UUID(bytes=row[0]), row[1], row[2], row[3]) for row in c.fetchall()]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = 0 if start is None else start if inclusive_of_start else start + 1
        among = f" AND topic IN ({','.join('?' * len(topics))})" if topics else ""
        text = (
            "SELECT position, originator_id, originator_version, topic, state FROM events "
            f"WHERE position >= ? AND position <= ?{among} ORDER BY position LIMIT ?"
        )
        with self.datastore.transaction(commit=False) as c:
            c.execute(text, (first, _LARGEST if stop is None else stop, *topics, limit))
            return [
                Notification(
                    id=row[0], originator_id=UUID(bytes=row[1]), originator_version=row[2], topic=row[3], state=row[4]
                )
                for row in c.fetchall()
            ]

    def _max_notification_id(self, c: SQLiteCursor) -> int:
        c.execute("SELECT max(position) FROM events")
        position: int = c.fetchone()[0]
        return position

    # ── ours ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, requests: Sequence[Request]) -> list[Outcome]:
        """Carry out a group of requests in one transaction; give the outcomes in the same order.

        Raises the library's persistence errors when the transaction fails; then nothing of the group is written.
        """
        with self.datastore.transaction(commit=True) as c:
            return write_group(SQLiteTables(c, self._clock), requests)

    def settle(self) -> int:
        """Write the oldest unsettled statements into the lists, in a transaction of its own; give how many."""
        with self.datastore.transaction(commit=True) as c:
            return settle(SQLiteTables(c, self._clock))


class SQLiteTables:
    """The log's tables in an open SQLite transaction."""

    def __init__(self, cursor: SQLiteCursor, clock: Callable[[], int]) -> None:
        self._cursor = cursor
        self._clock = clock

    def now_us(self) -> int:
        return self._clock()

    def head(self) -> tuple[int, int, int]:
        """Give (position, stored µs, the clock's µs)."""
        position, stored_us = self.rows("SELECT position, stored_us FROM log_head")[0]
        return position, stored_us, self._clock()

    def look_up(self, streams: Sequence[Stream], people: Sequence[bytes], statements: Sequence[bytes]) -> LookedUp:
        voidings = self.among("SELECT target FROM voiding WHERE target IN (??)", statements)
        return LookedUp(
            *self.head(),
            self._known_streams(streams),
            self.person_states(people),
            self.referrers(statements),
            {row[0] for row in voidings},
        )

    def advance(self) -> int:
        self._cursor.execute("UPDATE log_head SET stored_us = max(stored_us, ?)", (self._clock(),))
        stored_us: int = self.rows("SELECT stored_us FROM log_head")[0][0]
        return stored_us

    def _known_streams(self, streams: Sequence[Stream]) -> set[Stream]:
        versions: dict[int, list[bytes]] = {}
        for originator_id, version in streams:
            versions.setdefault(version, []).append(originator_id)
        known: set[Stream] = set()
        for version, ids in versions.items():
            found = self.among(
                "SELECT originator_id FROM events WHERE originator_version = ? AND originator_id IN (??)", ids, version
            )
            known.update((row[0], version) for row in found)
        return known

    def person_states(self, people: Sequence[bytes]) -> list[PersonStateRow]:
        rows = self.among("SELECT pseudonym, purpose, state FROM person_state WHERE pseudonym IN (??)", people)
        return [tuple(row) for row in rows]

    def referrers(self, targets: Sequence[bytes]) -> list[Referrer]:
        rows = self.among("SELECT position, target FROM statement WHERE target IN (??)", targets)
        return [
            (row[0], self.rows("SELECT originator_id FROM events WHERE position = ?", row[0])[0][0], row[1])
            for row in rows
        ]

    def known_statements(self, originator_ids: Sequence[bytes]) -> dict[bytes, KnownStatement]:
        rows = self.among(
            "SELECT e.originator_id, s.position, s.terms, s.target, s.voids, s.voided, e.record_key "
            "FROM events e JOIN statement s ON s.position = e.position "
            "WHERE e.originator_version = 1 AND e.originator_id IN (??)",
            originator_ids,
        )
        return {row[0]: KnownStatement(row[1], row[2], row[3], row[4], bool(row[5]), row[6]) for row in rows}

    def insert(self, rows: Rows, position: int, stored_us: int) -> None:
        many = self._cursor.executemany
        many(
            "INSERT INTO events (position, originator_id, originator_version, topic, record_key, stored_us, state) "
            "VALUES (?,?,?,?,?,?,?)",
            rows.events,
        )
        if rows.statements:
            many("INSERT INTO statement (position, terms, people, target, voids) VALUES (?,?,?,?,?)", rows.statements)
        self.insert_lists(rows.terms, rows.people)
        if rows.blobs:
            many("INSERT OR IGNORE INTO blob (blob_id, position) VALUES (?,?)", rows.blobs)
        if rows.voidings:
            many("INSERT OR IGNORE INTO voiding (target, position) VALUES (?,?)", rows.voidings)
        if rows.voided_positions:
            many("UPDATE statement SET voided = 1 WHERE position = ?", [(one,) for one in rows.voided_positions])
        if rows.states:
            many(
                "INSERT INTO person_state (pseudonym, purpose, state) VALUES (?,?,?) "
                "ON CONFLICT (pseudonym, purpose) DO UPDATE SET state = excluded.state",
                rows.states,
            )
            self._cursor.execute("DELETE FROM person_state WHERE state = 0")
        if rows.erased:
            many("DELETE FROM event_people WHERE pseudonym = ?", [(one,) for one in rows.erased])
        self._cursor.execute("UPDATE log_head SET position = ?, stored_us = ?", (position, stored_us))

    def settled(self) -> int:
        return int(self.rows("SELECT settled FROM log_head")[0][0])

    def unsettled(self, limit: int) -> list[tuple[int, bytes, bytes]]:
        return self.rows(
            "SELECT position, terms, people FROM statement WHERE position > (SELECT settled FROM log_head) "
            "ORDER BY position LIMIT ?",
            limit,
        )

    def settle(self, terms: list[TermRow], people: list[tuple[bytes, int]], position: int) -> None:
        self.insert_lists(terms, people)
        self._cursor.execute("UPDATE log_head SET settled = ?", (position,))

    def insert_lists(self, packed_terms: list[TermRow], people: list[tuple[bytes, int]], suffix: str = "") -> None:
        """Write into the posting lists, or into those of the same name and this suffix; what is there stays."""
        # In the order of the lists, so that neighbours share a page.
        if packed_terms:
            terms = [(term, at, source) for packed, at, source in packed_terms for term in unpack_terms(packed)]
            self._cursor.executemany(
                f"INSERT OR IGNORE INTO term{suffix} (term, position, source) VALUES (?,?,?)", sorted(terms)
            )
        if people:
            self._cursor.executemany(
                f"INSERT OR IGNORE INTO event_people{suffix} (pseudonym, position) VALUES (?,?)", sorted(people)
            )

    def revisions(self, document_keys: Sequence[bytes]) -> dict[bytes, int]:
        return dict(self.among("SELECT document_key, revision FROM document WHERE document_key IN (??)", document_keys))

    def put_document(self, put: DocumentPut, now_us: int) -> None:
        self._cursor.execute(
            "INSERT INTO document (document_key, scope, wide_scope, owner, revision, updated_us, sealed) "
            "VALUES (?,?,?,?,?,?,?) ON CONFLICT (document_key) DO UPDATE SET owner = excluded.owner, "
            "revision = excluded.revision, updated_us = excluded.updated_us, sealed = excluded.sealed",
            (put.document_key, put.scope, put.wide_scope, put.owner, next_revision(put, now_us), now_us, put.sealed),
        )

    def delete_documents(self, document_keys: Sequence[bytes]) -> None:
        self._cursor.executemany("DELETE FROM document WHERE document_key = ?", [(one,) for one in document_keys])

    def index(self) -> SQLiteIndex:
        return SQLiteIndex(self)

    # ── forgetting ────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, text: str, *parameters: Any) -> list[Any]:
        return self.rows(text, *parameters)

    def ask_among(self, text: str, items: Sequence[Any]) -> list[Any]:
        return self.among(text, items)

    def do_many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        self.many(text, rows)

    def delete_terms(self, rows: Sequence[tuple[int, int, int]]) -> None:
        self.many("DELETE FROM term WHERE term = ? AND position = ? AND source = ?", rows)

    def settle_upto(self, position: int | None) -> None:
        settle_upto(self, position)

    def give_up_index(self) -> None:
        self.index().give_up()

    def many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run SQL for each of many rows."""
        self._cursor.executemany(text, rows)

    def rows(self, text: str, *parameters: Any) -> list[Any]:
        """Run SQL; give its rows."""
        self._cursor.execute(text, parameters)
        rows: list[Any] = self._cursor.fetchall()
        return rows

    def among(self, text: str, items: Sequence[Any], *parameters: Any) -> list[Any]:
        """Run a query whose `??` is a list. Lists are filled up to a power of two, so that few texts are prepared."""
        found: list[Any] = []
        for start in range(0, len(items), LIST_ITEMS_MAX):
            piece = list(items[start : start + LIST_ITEMS_MAX])
            size = 1 << (len(piece) - 1).bit_length()
            piece += [piece[0]] * (size - len(piece))
            found += self.rows(text.replace("??", ",".join("?" * size)), *parameters, *piece)
        return [tuple(row) for row in found]


_LARGEST = 2**63 - 1


def _id_bytes(originator_id: UUID | str) -> bytes:
    return originator_id.bytes if isinstance(originator_id, UUID) else UUID(originator_id).bytes
