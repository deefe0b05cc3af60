"""The log on PostgreSQL: the eventsourcing library's recorder, positions from the head row, our tables beside it.

What differs from the library's: a position is given by `log_head` under the table's lock (its own sequence leaves a gap
at each rollback), rows go in as parallel arrays, nothing is retried here (a repeated insert whose first answer was lost
would look like a conflict), and one transaction carries many requests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

import psycopg
from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL

from lrs.appending import KnownStatement, LookedUp, Outcome, Referrer, Request, Rows, Stream, TermRow, write_group
from lrs.document_writing import DocumentPut, next_revision
from lrs.postgres_index import PostgresIndex
from lrs.settling import settle, settle_upto
from lrs.sql import script, split_script
from projections.postgres_arrays import BigInts, Byteas, Texts, Uuids
from schemas.person_states import PersonStateRow

CHANNEL = "griffel_log"
CONNECT_TIMEOUT_S = 5.0
CONNECTION_AGE_S = 10 * 365 * 86_400.0
"""After which a connection is replaced: never, since a writer ends with its connection."""
_LARGEST = 2**63 - 1


def open_datastore(url: str, *, connections: int = 1) -> PostgresDatastore:
    """Open a datastore of the library on a `postgresql://` URL."""
    given = conninfo_to_dict(url)
    datastore = PostgresDatastore(
        dbname=str(given.get("dbname", "")),
        host=str(given.get("host", "")),
        port=str(given.get("port", "5432")),
        user=str(given.get("user", "")),
        password=str(given.get("password", "")),
        pool_size=connections,
        connect_timeout=CONNECT_TIMEOUT_S,
        idle_in_transaction_session_timeout=10.0,
        conn_max_age=CONNECTION_AGE_S,
    )
    # What else the URL says (sslmode and the like), which the library has no argument for.
    assert isinstance(datastore.pool.kwargs, dict)
    datastore.pool.kwargs |= {name: value for name, value in given.items() if name not in datastore.pool.kwargs}
    return datastore


class ConnectionChanged(SystemExit):
    """The connection is another one than before, and may lead to another database: the process of the writer ends.

    The next writer is compared with the log's copy before it may write (lrs/log_guard.py).
    """


class PostgresLogRecorder(PostgresApplicationRecorder):
    """Recorder of the log on PostgreSQL. The clock is the server's, so that processes need not agree on theirs."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore, events_table_name="events")
        self.channel_name = CHANNEL
        self.sql_create_statements = []
        self._first: object = None

    def create_table(self) -> None:
        with self._transaction() as connection:
            # Two servers that start at once would otherwise both make the same table and one would fail.
            connection.execute("SELECT pg_advisory_xact_lock(4716)")
            # Never touch tables that are there: a schema change waits for locks that a running server holds.
            if connection.execute("SELECT to_regclass('log_head')").fetchone() != (None,):
                return
            for statement in split_script(script("log_postgres")):
                connection.execute(SQL(statement))

    # ── the library's interface ───────────────────────────────────────────────────────────────────────────────────

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        if not stored_events:
            return None
        with self._transaction() as connection:
            tables = PostgresTables(connection)
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
            try:
                tables.insert(rows, position, stored_us)
            except psycopg.errors.UniqueViolation as error:
                raise IntegrityError(str(error)) from error
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
            "SELECT originator_id, originator_version, topic, state FROM events WHERE originator_id = %s "
            "AND originator_version > %s AND originator_version <= %s "
            f"ORDER BY originator_version {'DESC' if desc else 'ASC'} LIMIT %s"
        )
        bounds = (-1 if gt is None else gt, _LARGEST if lte is None else lte, _LARGEST if limit is None else limit)
        rows = self._select(text, (UUID(bytes=_id_bytes(originator_id)), *bounds))
        return [StoredEvent(row[0], row[1], row[2], bytes(row[3])) for row in rows]

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
        text = (
            "SELECT position, originator_id, originator_version, topic, state FROM events "
            "WHERE position >= %s AND position <= %s AND (%s OR topic = ANY(%s)) ORDER BY position LIMIT %s"
        )
        rows = self._select(text, (first, _LARGEST if stop is None else stop, not topics, list(topics), limit))
        return [
            Notification(id=row[0], originator_id=row[1], originator_version=row[2], topic=row[3], state=bytes(row[4]))
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        position: int | None = self._select("SELECT max(position) FROM events", ())[0][0]
        return position

    @contextmanager
    def _transaction(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """Run a transaction whose rows are tuples; the library's are dictionaries."""
        with self.datastore.get_connection() as pooled:
            if self._first is not None and pooled is not self._first:
                raise ConnectionChanged
            self._first = pooled
            connection = cast("Connection[Any]", pooled)
            connection.row_factory = tuple_row
            try:
                with connection.transaction():
                    yield connection
            finally:
                connection.row_factory = dict_row

    def _select(self, text: str, parameters: tuple[Any, ...]) -> list[Any]:
        with self._transaction() as connection:
            return connection.execute(SQL(text), parameters, prepare=True).fetchall()

    # ── ours ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, requests: Sequence[Request]) -> list[Outcome]:
        """Carry out a group of requests in one transaction; give the outcomes in the same order.

        Raises the library's persistence errors when the transaction fails; then nothing of the group is written.
        """
        with self._transaction() as connection:
            return write_group(PostgresTables(connection), requests)

    def settle(self) -> int:
        """Write the oldest unsettled statements into the lists, in a transaction of its own; give how many."""
        with self._transaction() as connection:
            return settle(PostgresTables(connection))


_HEAD = "SELECT position, stored_us, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM log_head"
_KNOWN_STREAMS = (
    "SELECT e.originator_id, e.originator_version FROM events e "
    "JOIN unnest(%b::uuid[], %s::bigint[]) AS asked (id, version) "
    "ON e.originator_id = asked.id AND e.originator_version = asked.version"
)
_PERSON_STATES = "SELECT pseudonym, purpose, state FROM person_state WHERE pseudonym = ANY(%b)"
_REFERRERS = (
    "SELECT s.position, e.originator_id, s.target FROM statement s JOIN events e ON e.position = s.position "
    "WHERE s.target = ANY(%b)"
)
_VOIDINGS = "SELECT target FROM voiding WHERE target = ANY(%b)"


class PostgresTables:
    """The log's tables in an open PostgreSQL transaction that holds the log's lock.

    What can be asked or told together goes in one round trip (the protocol's pipeline).
    """

    def __init__(self, connection: Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        # So that positions are committed in order: the lock is held until the transaction ends.
        self._cursor.execute("LOCK TABLE events IN EXCLUSIVE MODE", prepare=False)

    def now_us(self) -> int:
        return int(self.rows(_HEAD)[0][2])

    def head(self) -> tuple[int, int, int]:
        """Give (position, stored µs, the server's clock's µs)."""
        position, stored_us, now_us = self.rows(_HEAD)[0]
        return position, stored_us, now_us

    def look_up(self, streams: Sequence[Stream], people: Sequence[bytes], statements: Sequence[bytes]) -> LookedUp:
        ids, versions = Uuids([one for one, _ in streams]), BigInts.of([version for _, version in streams])
        with self._connection.pipeline():
            head, known, states, referrers, voidings = (
                self._connection.execute(SQL(text), parameters, prepare=True)
                for text, parameters in (
                    (_HEAD, ()),
                    (_KNOWN_STREAMS, (ids, versions)),
                    (_PERSON_STATES, (Byteas(people),)),
                    (_REFERRERS, (Byteas(statements),)),
                    (_VOIDINGS, (Byteas(statements),)),
                )
            )
        position, stored_us, now_us = head.fetchall()[0]
        return LookedUp(
            position,
            stored_us,
            now_us,
            {(row[0].bytes, row[1]) for row in known},
            [(row[0], row[1], row[2]) for row in states],
            [(row[0], row[1].bytes, row[2]) for row in referrers],
            {row[0] for row in voidings},
        )

    def advance(self) -> int:
        rows = self.rows(
            "UPDATE log_head SET stored_us = greatest(stored_us, "
            "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint) RETURNING stored_us"
        )
        stored_us: int = rows[0][0]
        return stored_us

    def person_states(self, people: Sequence[bytes]) -> list[PersonStateRow]:
        return [(row[0], row[1], row[2]) for row in self.rows(_PERSON_STATES, Byteas(people))]

    def referrers(self, targets: Sequence[bytes]) -> list[Referrer]:
        return [(row[0], row[1].bytes, row[2]) for row in self.rows(_REFERRERS, Byteas(targets))]

    def known_statements(self, originator_ids: Sequence[bytes]) -> dict[bytes, KnownStatement]:
        rows = self.rows(
            "SELECT e.originator_id, s.position, s.terms, s.target, s.voids, s.voided, e.record_key "
            "FROM events e JOIN statement s ON s.position = e.position "
            "WHERE e.originator_version = 1 AND e.originator_id = ANY(%s)",
            Uuids(originator_ids),
        )
        return {row[0].bytes: KnownStatement(row[1], row[2], row[3], row[4], bool(row[5]), row[6]) for row in rows}

    def insert(self, rows: Rows, position: int, stored_us: int) -> None:
        with self._connection.pipeline():
            self._insert(rows, position, stored_us)

    def _insert(self, rows: Rows, position: int, stored_us: int) -> None:
        columns = list(zip(*rows.events, strict=True))
        self.run(
            "INSERT INTO events (position, originator_id, originator_version, topic, record_key, stored_us, state) "
            "SELECT * FROM unnest(%s::bigint[], %b::uuid[], %s::bigint[], %b::text[], %b::bytea[], %s::bigint[], "
            "%b::bytea[])",
            BigInts.of(columns[0]),
            Uuids(columns[1]),
            BigInts.of(columns[2]),
            Texts([topic.encode() for topic in columns[3]]),
            Byteas(columns[4]),
            BigInts.of(columns[5]),
            Byteas(columns[6]),
        )
        if rows.statements:
            at, terms, people, targets, voids = zip(*rows.statements, strict=True)
            self.run(
                "INSERT INTO statement (position, terms, people, target, voids) "
                "SELECT * FROM unnest(%s::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[])",
                BigInts.of(at),
                Byteas(terms),
                Byteas(people),
                Byteas(targets),
                Byteas(voids),
            )
        self.insert_lists(rows.terms, rows.people)
        if rows.blobs:
            self.run(
                "INSERT INTO blob (blob_id, position) SELECT * FROM unnest(%b::bytea[], %s::bigint[]) "
                "ON CONFLICT DO NOTHING",
                Byteas([one for one, _ in rows.blobs]),
                BigInts.of([one for _, one in rows.blobs]),
            )
        if rows.voidings:
            self.run(
                "INSERT INTO voiding (target, position) SELECT * FROM unnest(%b::bytea[], %s::bigint[]) "
                "ON CONFLICT DO NOTHING",
                Byteas([one for one, _ in rows.voidings]),
                BigInts.of([one for _, one in rows.voidings]),
            )
        if rows.voided_positions:
            self.run("UPDATE statement SET voided = 1 WHERE position = ANY(%s)", BigInts.of(rows.voided_positions))
        for change in rows.states:
            self.run(
                "INSERT INTO person_state (pseudonym, purpose, state) VALUES (%s, %s, %s) "
                "ON CONFLICT (pseudonym, purpose) DO UPDATE SET state = excluded.state",
                *change,
            )
        if rows.states:
            self.run("DELETE FROM person_state WHERE state = 0")
        if rows.erased:
            self.run("DELETE FROM event_people WHERE pseudonym = ANY(%b)", Byteas(rows.erased))
        self.run("UPDATE log_head SET position = %s, stored_us = %s", position, stored_us)
        self._cursor.execute(f"NOTIFY {CHANNEL}", prepare=False)

    def settled(self) -> int:
        return int(self.rows("SELECT settled FROM log_head")[0][0])

    def unsettled(self, limit: int) -> list[tuple[int, bytes, bytes]]:
        return self.rows(
            "SELECT position, terms, people FROM statement WHERE position > (SELECT settled FROM log_head) "
            "ORDER BY position LIMIT %s",
            limit,
        )

    def settle(self, terms: list[TermRow], people: list[tuple[bytes, int]], position: int) -> None:
        self.insert_lists(terms, people)
        self.run("UPDATE log_head SET settled = %s", position)

    def insert_lists(self, packed_terms: list[TermRow], people: list[tuple[bytes, int]], suffix: str = "") -> None:
        """Write into the posting lists, or into those of the same name and this suffix; what is there stays."""
        # In the order of the lists, so that neighbours share a page.
        if packed_terms:
            pack = struct.Struct(">q").pack
            triples: list[tuple[bytes, bytes, bytes]] = []
            for packed, at, source in packed_terms:
                position, origin = pack(at), pack(source)
                triples += [(packed[start : start + 8], position, origin) for start in range(0, len(packed), 8)]
            triples.sort()
            terms, positions, sources = zip(*triples, strict=True)
            self.run(
                f"INSERT INTO term{suffix} (term, position, source) "
                "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING",
                BigInts(terms),
                BigInts(positions),
                BigInts(sources),
            )
        if people:
            people = sorted(people)
            self.run(
                f"INSERT INTO event_people{suffix} (pseudonym, position) "
                "SELECT * FROM unnest(%b::bytea[], %s::bigint[]) ON CONFLICT DO NOTHING",
                Byteas([one for one, _ in people]),
                BigInts.of([one for _, one in people]),
            )

    def revisions(self, document_keys: Sequence[bytes]) -> dict[bytes, int]:
        rows = self.rows(
            "SELECT document_key, revision FROM document WHERE document_key = ANY(%s)", Byteas(document_keys)
        )
        return {bytes(row[0]): row[1] for row in rows}

    def put_document(self, put: DocumentPut, now_us: int) -> None:
        self.run(
            "INSERT INTO document (document_key, scope, wide_scope, owner, revision, updated_us, sealed) "
            "VALUES (%s,%s,%s,%s,%s,%s,%s) ON CONFLICT (document_key) DO UPDATE SET owner = excluded.owner, "
            "revision = excluded.revision, updated_us = excluded.updated_us, sealed = excluded.sealed",
            put.document_key,
            put.scope,
            put.wide_scope,
            put.owner,
            next_revision(put, now_us),
            now_us,
            put.sealed,
        )

    def delete_documents(self, document_keys: Sequence[bytes]) -> None:
        self.run("DELETE FROM document WHERE document_key = ANY(%s)", Byteas(document_keys))

    def index(self) -> PostgresIndex:
        return PostgresIndex(self)

    # ── forgetting ────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, text: str, *parameters: Any) -> list[Any]:
        return self.rows(text.replace("?", "%s"), *parameters)

    def ask_among(self, text: str, items: Sequence[Any]) -> list[Any]:
        if not items:
            return []
        ids: Any = list(items) if isinstance(items[0], int) else Byteas(items)
        if "originator_id IN (??)" in text:
            ids = Uuids(items)
        rows = self.rows(text.replace("IN (??)", "= ANY(%s)" if isinstance(ids, (list, Uuids)) else "= ANY(%b)"), ids)
        return [tuple([value.bytes if isinstance(value, UUID) else value for value in row]) for row in rows]

    def do_many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._cursor.executemany(SQL(text.replace("?", "%s")), rows)

    def delete_terms(self, rows: Sequence[tuple[int, int, int]]) -> None:
        terms, positions, sources = zip(*rows, strict=True)
        self.run(
            "DELETE FROM term t "
            "USING unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS gone (term, position, source) "
            "WHERE t.term = gone.term AND t.position = gone.position AND t.source = gone.source",
            BigInts.of(terms),
            BigInts.of(positions),
            BigInts.of(sources),
        )

    def settle_upto(self, position: int | None) -> None:
        settle_upto(self, position)

    def give_up_index(self) -> None:
        self.index().give_up()

    def run(self, text: str, *parameters: Any) -> None:
        self._cursor.execute(SQL(text), parameters, prepare=True)

    def rows(self, text: str, *parameters: Any) -> list[Any]:
        self.run(text, *parameters)
        return self._cursor.fetchall()


def _id_bytes(originator_id: UUID | str) -> bytes:
    return originator_id.bytes if isinstance(originator_id, UUID) else UUID(originator_id).bytes
