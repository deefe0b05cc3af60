"""The vault's tables, on SQLite here and on PostgreSQL in lrs/postgres_vault.py: one set of named queries.

Everything here blocks and belongs to the vault's own thread. Nothing here can open anything: keys come and go wrapped.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lrs.errors import Busy
from lrs.full_disk import telling_full_disk
from lrs.sql import queries, script

Row = Sequence[Any]
SQLITE_BUSY_TIMEOUT_S = 10
SCRUB_TRIES_MAX = 100
SCRUB_WAIT_S = 0.05
WHAT = "the key vault"
LIST_ITEMS_MAX = 500
"""How many parameters one `IN` list holds; longer lists are asked in pieces."""


class VaultStore(Protocol):
    """The vault's tables. Each call outside `transaction` is a transaction of its own."""

    def create(self) -> None:
        """Make the tables that are missing."""
        ...

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls within one transaction: all of them are durable after it, or none has happened."""
        ...

    def run(self, name: str, *parameters: Any) -> int:
        """Run a named query that changes something; give the number of rows it changed."""
        ...

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        """Run a named query once for each row of parameters."""
        ...

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        """Give the rows of a named query. `among` fills its `??`."""
        ...

    def share_epoch(self) -> int:
        """Keep rotation out until the transaction ends; give the newest epoch."""
        ...

    def lock_minting(self) -> None:
        """Keep every other minting of identities out until the transaction ends."""
        ...

    def share_minting(self) -> None:
        """Keep whoever ends keys out until the transaction ends, and nobody else who mints them."""
        ...

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the files, as far as this database can. Raises Busy; then again."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def pieces(among: Sequence[Any] | None) -> Iterator[Sequence[Any] | None]:
    """Give a list that `IN` asks for in pieces; None, where there is no list, once."""
    if among is None:
        yield None
        return
    for start in range(0, len(among), LIST_ITEMS_MAX):
        yield among[start : start + LIST_ITEMS_MAX]


class SQLiteVault:
    """The vault in a file; deleted bytes are overwritten (`secure_delete`), commits reach the disk (`FULL`)."""

    def __init__(self, path: Path) -> None:
        self._queries = queries("vault")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=SQLITE_BUSY_TIMEOUT_S
        )
        path.chmod(0o600)
        for pragma in ("secure_delete=ON", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=200"):
            self._connection.execute(f"PRAGMA {pragma}")

    def create(self) -> None:
        self._connection.executescript(script("vault_sqlite"))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._connection.in_transaction:
            yield
            return
        with telling_full_disk(WHAT):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def run(self, name: str, *parameters: Any) -> int:
        with telling_full_disk(WHAT):
            return self._connection.execute(self._queries[name], parameters).rowcount

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        with telling_full_disk(WHAT):
            self._connection.executemany(self._queries[name], rows)

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        found: list[Row] = []
        for piece in pieces(among):
            text = self._queries[name]
            if piece is not None:
                text = text.replace("??", ",".join("?" * len(piece)))
            found += self._connection.execute(text, (*parameters, *(piece or ()))).fetchall()
        return found

    def share_epoch(self) -> int:
        return int(self._connection.execute("SELECT max(epoch) FROM epoch").fetchone()[0])

    def lock_minting(self) -> None:
        """Do nothing: the transaction began with the file's one write lock."""

    def share_minting(self) -> None:
        """Do nothing, for the same reason."""

    def scrub(self) -> None:
        """Move the write-ahead log into the file, over what was there, and empty it, however long others read."""
        for wait_s in (0.0, *(SCRUB_WAIT_S,) * SCRUB_TRIES_MAX):
            time.sleep(wait_s)
            with telling_full_disk(WHAT):
                busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
        raise Busy("another process reads the key vault without a pause, so deleted keys may still be in its file")

    def close(self) -> None:
        self._connection.close()
