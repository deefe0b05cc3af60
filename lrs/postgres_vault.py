"""The vault's tables on PostgreSQL (lrs/vault_store.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from lrs.errors import Busy
from lrs.full_disk import disk_full, is_full
from lrs.sql import queries, script, split_script
from lrs.vault_store import WHAT, Row, pieces

SILENT_S = 10
"""A server that falls silent within a transaction (suspended, cut off) holds its locks no longer than this."""
_GONE = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)


def _busy(error: psycopg.Error) -> Busy:
    return disk_full(WHAT) if is_full(error) else Busy("the key vault's database does not answer")


class PostgresVault:
    """The vault in a PostgreSQL database of its own. A lost connection is made again at the next call."""

    def __init__(self, url: str) -> None:
        self._queries = {name: text.replace("??", "@@").replace("?", "%s") for name, text in queries("vault").items()}
        self._many = queries("vault_many")
        self._url = url
        self._open: psycopg.Connection[tuple[Any, ...]] | None = None

    @property
    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._open is None or self._open.closed:
            try:
                self._open = psycopg.connect(
                    self._url,
                    autocommit=True,
                    application_name="griffel vault",
                    options=f"-c idle_in_transaction_session_timeout={SILENT_S}s",
                )
            except psycopg.OperationalError as error:
                raise Busy("the key vault's database does not answer") from error
        return self._open

    def create(self) -> None:
        with self._connection.transaction():
            # Two servers that start at once would otherwise both make the same table and one would fail.
            self._connection.execute("SELECT pg_advisory_xact_lock(4717)")
            if self._connection.execute("SELECT to_regclass('holder')").fetchone() != (None,):
                return
            for statement in split_script(script("vault_postgres")):
                self._connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with self._connection.transaction():
                yield
        except _GONE as error:
            raise _busy(error) from error

    def run(self, name: str, *parameters: Any) -> int:
        return self._execute(self._queries[name], parameters).rowcount

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        if rows and name in self._many:
            self._execute(self._many[name], [list(column) for column in zip(*rows, strict=True)])
        elif rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(self._queries[name], rows)

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        found: list[Row] = []
        for piece in pieces(among):
            text = self._queries[name]
            if piece is not None:
                text = text.replace("@@", ",".join(["%s"] * len(piece)))
            found += self._execute(text, (*parameters, *(piece or ()))).fetchall()
        return found

    def share_epoch(self) -> int:
        row = self._execute("SELECT epoch FROM epoch ORDER BY epoch DESC LIMIT 1 FOR SHARE", ()).fetchone()
        assert row is not None
        return int(row[0])

    def lock_minting(self) -> None:
        self._execute("SELECT pg_advisory_xact_lock(4718)", ())

    def share_minting(self) -> None:
        self._execute("SELECT pg_advisory_xact_lock_shared(4718)", ())

    def scrub(self) -> None:
        """Do nothing: what PostgreSQL leaves behind ends with the epoch, whose key it is wrapped under."""

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _execute(self, text: str, parameters: Sequence[Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._connection.execute(text, parameters, prepare=True)
        except _GONE as error:
            raise _busy(error) from error
