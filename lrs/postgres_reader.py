"""Reading the log on PostgreSQL (lrs/log_reader.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from lrs.errors import Busy
from lrs.log_reader import Head, Row, StatementQuery, positions_of
from lrs.sql import queries


class PostgresReader:
    """Reads the log's database."""

    contains = "position(?::bytea IN s.terms) > 0"

    def __init__(self, url: str) -> None:
        self._url = url
        self._queries = {
            name: text.replace("IN (??)", "= ANY(@@)").replace("?", "%s").replace("@@", "%s")
            for name, text in queries("log_queries").items()
        }
        self._local = threading.local()
        self._all: list[psycopg.Connection[Any]] = []

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        if among is not None:
            items = list(among)
            if "originator_id = ANY" in self._queries[name]:
                items = [UUID(bytes=one) for one in items]
            parameters = (*parameters, items)
        return self._execute(self._queries[name], parameters)

    def positions(self, query: StatementQuery) -> tuple[list[tuple[int, bool]], Head]:
        return positions_of(self, query)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self._connection().transaction():
            self._connection().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def has_table(self, name: str) -> bool:
        return self.run("SELECT to_regclass(?)", (name,)) != [(None,)]

    def run(self, text: str, parameters: tuple[Any, ...]) -> list[Row]:
        return self._execute(text.replace("?", "%s"), parameters)

    def _execute(self, text: str, parameters: tuple[Any, ...]) -> list[Row]:
        try:
            rows = self._connection().execute(text, parameters, prepare=True).fetchall()
        except psycopg.OperationalError as error:
            raise Busy("the database does not answer; try again") from error
        return [tuple([value.bytes if isinstance(value, UUID) else value for value in row]) for row in rows]

    def _connection(self) -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                application_name="griffel reader",
                connect_timeout=5,
                # The lists are read from their newest end and left early; plans that read whole lists lose.
                options="-c enable_hashjoin=off -c enable_mergejoin=off -c enable_bitmapscan=off -c enable_seqscan=off "
                "-c jit=off -c default_transaction_read_only=on",
            )
            self._local.connection = connection
            self._all.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
