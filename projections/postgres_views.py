"""Views in PostgreSQL: any number of consumers and readers, in a schema of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import psycopg

from projections.postgres_arrays import BigInts, BinaryArray, Byteas
from projections.projection import Key, Opener, Table
from projections.sql_view_store import SqlViewStore
from projections.view_store import Session, SqlRow, StoreBusy

SCHEMA = "views"
LOCK_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
SILENT_S = 10
"""A process that falls silent within a transaction (suspended, cut off) holds its locks no longer than this."""
IDLE_CONNECTIONS_MAX = 16
_CREATING, _MOVING = 4721, 4722
"""Advisory locks: making the tables; applying (shared) and changing generations or forgetting somebody (alone)."""

_OPTIONS = (
    f"-c search_path={SCHEMA} -c lock_timeout={LOCK_TIMEOUT_S}s -c jit=off "
    f"-c idle_in_transaction_session_timeout={SILENT_S}s "
    # Rows are found by their keys; a plan that reads whole tables loses, whatever old statistics say.
    "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off "
    # What a crash takes back is applied again.
    "-c synchronous_commit=off"
)
_TABLES = (
    """CREATE TABLE IF NOT EXISTS view (
        name text NOT NULL, generation bigint NOT NULL, version bigint NOT NULL, state text NOT NULL,
        tables text NOT NULL, PRIMARY KEY (name, generation))""",
    """CREATE TABLE IF NOT EXISTS view_position (
        name text NOT NULL, generation bigint NOT NULL, part bigint NOT NULL, position bigint NOT NULL,
        through_position bigint NOT NULL, through_us bigint NOT NULL, PRIMARY KEY (name, generation, part))
        WITH (fillfactor = 50)""",
    """CREATE TABLE IF NOT EXISTS dead_letter (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, generation bigint NOT NULL,
        part bigint NOT NULL, position bigint NOT NULL, originator_id bytea NOT NULL, version bigint NOT NULL,
        topic text NOT NULL, record_key bytea NOT NULL, stored_us bigint NOT NULL, state bytea NOT NULL,
        reason text NOT NULL, kept_us bigint NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS forgotten (learner bytea PRIMARY KEY, since_us bigint NOT NULL)",
)


class PostgresViews(SqlViewStore):
    """ViewStore in the schema `views` of a database. A lost connection is made again at the next call."""

    lock_rows = "FOR UPDATE"

    def __init__(self, url: str, opener: Opener, *, read_only: bool = False, **options: Any) -> None:
        super().__init__(opener, **options)
        self._url = url
        self._idle: list[psycopg.Connection[Any]] = []
        self._idle_lock = threading.Lock()
        self._read_only = read_only
        self._made = False

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._idle_lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    application_name="griffel views",
                    connect_timeout=CONNECT_TIMEOUT_S,
                    options=_OPTIONS,
                )
            if not self._made:
                self._made = self._are_made(connection) if self._read_only else self._make_tables(connection)
            yield connection
        except (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout) as error:
            raise StoreBusy("the views' database does not answer") from error
        finally:
            if connection is not None:
                self._keep(connection)

    def _keep(self, connection: psycopg.Connection[Any]) -> None:
        with self._idle_lock:
            if connection.closed or connection.broken or len(self._idle) >= IDLE_CONNECTIONS_MAX:
                connection.close()
            else:
                self._idle.append(connection)

    def _are_made(self, connection: psycopg.Connection[Any]) -> bool:
        """Say whether anybody has made the tables: all of them in one transaction."""
        return connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.view",)).fetchone() != (None,)

    def _make_tables(self, connection: psycopg.Connection[Any]) -> bool:
        """Make schema and tables; two processes that start at once would otherwise both make the same."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATING,))
            # Asked first: a role that may not make schemas can use one that was made for it.
            if connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,):
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
            for text in _TABLES:
                connection.execute(text)
        return True

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._connection() as connection, connection.transaction():
            yield _PostgresSession(connection)

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        with self._connection() as connection, connection.transaction():
            # Whoever reads may be slow (a dump into a pipe), and keeps nobody from writing.
            connection.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
                "SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            yield _PostgresSession(connection) if self._made else _EmptySession(connection)

    def _lock_applying(self, session: Session) -> None:
        session.rows("SELECT pg_advisory_xact_lock_shared(?)", (_MOVING,))

    def _lock_views(self, session: Session) -> None:
        session.rows("SELECT pg_advisory_xact_lock(?)", (_MOVING,))

    def _create_table(self, session: Session, name: str, table: Table) -> None:
        columns = [f"{one} bytea NOT NULL" for one in table.key] + [f"{one} bytea" for one in table.columns]
        columns += ["labels bytea NOT NULL"] * table.counted
        session.rows(
            f"CREATE TABLE {name} ({', '.join(columns)}, sealed bytea NOT NULL, PRIMARY KEY ({', '.join(table.key)}))"
        )
        # Ciphertext cannot be made smaller, so trying is a waste.
        session.rows(f"ALTER TABLE {name} ALTER COLUMN sealed SET STORAGE EXTERNAL")
        for at, index in enumerate(table.indexes):
            session.rows(f"CREATE INDEX {name}_{at} ON {name} ({', '.join(index)})")

    def _create_counts(self, session: Session, name: str) -> None:
        session.rows(
            f"CREATE TABLE {name} (grp bytea NOT NULL, label bytea NOT NULL, part bigint NOT NULL, "
            "rows bigint NOT NULL, PRIMARY KEY (grp, label, part)) WITH (fillfactor = 50)"
        )

    def close(self) -> None:
        with self._idle_lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()


class _PostgresSession:
    """A connection inside a transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        cursor = self._connection.execute(text.replace("?", "%s"), parameters, binary=True)
        return cursor.fetchall() if cursor.description is not None else []

    def put_many(self, table: str, key: Sequence[str], others: Sequence[str], rows: Sequence[SqlRow]) -> None:
        columns = (*key, *others)
        update = ", ".join(f"{one} = excluded.{one}" for one in others)
        # In the order of the key, so that two consumers never wait for each other crosswise.
        ordered = sorted({row[: len(key)]: row for row in rows}.values(), key=lambda one: one[: len(key)])
        self._over(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM {_unnest(len(columns))} "  # noqa: S608
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {update}",
            ordered,
        )

    def get_many(self, table: str, columns: Sequence[str], key: Sequence[str], keys: Sequence[Key]) -> list[SqlRow]:
        named = ", ".join(f"t.{one}" for one in columns)
        wanted = f"{_unnest(len(key))} AS k({', '.join(key)})"
        text = f"SELECT {named} FROM {wanted} JOIN {table} t USING ({', '.join(key)})"  # noqa: S608  our own words
        return self._over(text, keys)

    def delete_many(self, table: str, key: Sequence[str], keys: Sequence[Key]) -> None:
        wanted = f"{_unnest(len(key))} AS k({', '.join(key)})"
        same = " AND ".join(f"t.{one} = k.{one}" for one in key)
        self._over(f"DELETE FROM {table} t USING {wanted} WHERE {same}", keys)  # noqa: S608  our own words

    def add_many(self, table: str, rows: Sequence[tuple[bytes, bytes, int, int]]) -> None:
        self._over(
            f"INSERT INTO {table} AS known (grp, label, part, rows) "  # noqa: S608  our own words
            "SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[]) "
            "ON CONFLICT (grp, label, part) DO UPDATE SET rows = known.rows + excluded.rows",
            sorted(rows),
            (Byteas, Byteas, BigInts.of, BigInts.of),
        )

    def _over(
        self, text: str, rows: Sequence[SqlRow], kinds: Iterable[Callable[[Any], BinaryArray]] = repeat(Byteas)
    ) -> list[SqlRow]:
        """Run a statement over columns of values, sent as binary arrays of these kinds."""
        if not rows:
            return []
        columns = [kind(column) for column, kind in zip(zip(*rows, strict=True), kinds, strict=False)]
        cursor = self._connection.execute(text, columns, prepare=True, binary=True)
        return cursor.fetchall() if cursor.description is not None else []


class _EmptySession(_PostgresSession):
    """What a reader sees before anybody has made the tables: nothing."""

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        del text, parameters
        return []


def _unnest(count: int) -> str:
    return f"unnest({', '.join(['%b::bytea[]'] * count)})"
