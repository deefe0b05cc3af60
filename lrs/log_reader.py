"""Reading the log: read-only connections, one for each reading thread. PostgreSQL has lrs/postgres_reader.py.

Everything here blocks; lrs/event_log.py calls it from threads. A query over several tables is one SQL statement, so it
sees one snapshot.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lrs.sql import queries

LIST_ITEMS_MAX = 512
CACHE_KIB = 4 * 1024
PROBE_ROWS = 200
"""How far into each posting list is looked to guess which is the rarest."""

Row = tuple[Any, ...]


class Head(NamedTuple):
    """Where the log ends: its newest position, and the stored µs before which nothing can appear any more."""

    position: int
    stored_us: int


class StatementQuery(NamedTuple):
    """Which positions to give: all terms met by one statement, after < position <= upto, not voided.

    terms are numbers, the likely rarest first. Positions come newest first unless ascending.
    """

    terms: tuple[int, ...]
    after: int
    upto: int
    ascending: bool
    limit: int


class LogReader(Protocol):
    """A reader for any thread."""

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        """Give the rows of a named query; `among` fills its `??`. Originator ids are bytes."""
        ...

    def positions(self, query: StatementQuery) -> tuple[list[tuple[int, bool]], Head]:
        """Give up to `limit` (position, is the match its own and not inherited), and the head.

        The head is read first, so no statement at or before it can be missing from the answer.
        """
        ...

    def run(self, text: str, parameters: tuple[Any, ...]) -> list[Row]:
        """Run a query (`?` for parameters) in this thread's connection; give its rows."""
        ...

    def has_table(self, name: str) -> bool:
        """Say whether there is a table of this name."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Have every query of this thread see one moment, for as long as the block lasts."""
        ...

    def close(self) -> None:
        """Close every thread's connection."""
        ...


def _order(ascending: bool) -> str:  # noqa: FBT001
    return "ASC" if ascending else "DESC"


def all_text(*, ascending: bool) -> str:
    """Give the query for positions without a filter."""
    return (
        "SELECT s.position, 1 FROM statement s WHERE s.voided = 0 AND s.position > ? AND s.position <= ? "
        f"ORDER BY s.position {_order(ascending)} LIMIT ?"
    )


def recent_text(terms: int, contains: str, *, ascending: bool) -> str:
    """Give the query for statements that are newer than the lists: their own packed terms are looked at.

    contains is the database's way to say that a column holds some bytes.
    """
    return (
        "SELECT s.position, 1 FROM statement s WHERE s.position > (SELECT settled FROM log_head) "
        f"AND s.position > ? AND s.position <= ? AND s.voided = 0 {f'AND {contains} ' * terms}"
        f"ORDER BY s.position {_order(ascending)} LIMIT ?"
    )


def lists_text(terms: int, *, ascending: bool) -> str:
    """Give the query for positions by posting lists.

    A filter is met by one statement as a whole: its own terms, or those of one statement that it refers to.
    """
    order = _order(ascending)
    others = "".join(
        [
            f" AND EXISTS (SELECT 1 FROM term t{at} WHERE t{at}.term = ? AND t{at}.position = t.position "
            f"AND t{at}.source = t.source)"
            for at in range(1, terms)
        ]
    )
    return (
        f"SELECT t.position, t.source = t.position FROM term t WHERE t.term = ? AND t.position > ? AND t.position <= ? "
        f"AND EXISTS (SELECT 1 FROM statement s WHERE s.position = t.position AND s.voided = 0){others} "
        f"ORDER BY t.position {order}, t.source {order} LIMIT ?"
    )


def _rarest_first(reader: Any, query: StatementQuery) -> tuple[int, ...]:
    """Put the term first whose list is thinnest near its newest end, so that it drives the intersection."""
    if len(query.terms) < 2:  # noqa: PLR2004
        return query.terms
    depth: dict[int, int] = {}
    for term in query.terms:
        found = reader.run(
            "SELECT position FROM term WHERE term = ? AND position <= ? ORDER BY position DESC LIMIT 1 OFFSET ?",
            (term, query.upto, PROBE_ROWS),
        )
        depth[term] = found[0][0] if found else 0
    return tuple(sorted(query.terms, key=depth.__getitem__))


def positions_of(reader: Any, query: StatementQuery) -> tuple[list[tuple[int, bool]], Head]:
    """Answer a query: what is newer than the lists first, then the lists.

    In that order, because statements are moved into the lists meanwhile: one may then be found twice, which is settled
    here, but none is missed.
    """
    head = Head(*reader.rows("head")[0])
    query = query._replace(upto=min(query.upto, head.position))
    bounds = (query.after, query.upto)
    if not query.terms:
        rows = reader.run(all_text(ascending=query.ascending), (*bounds, query.limit))
        return [(position, True) for position, _ in rows], head
    packed = [term.to_bytes(8, signed=True) for term in query.terms]
    text = recent_text(len(packed), reader.contains, ascending=query.ascending)
    found = {position: True for position, _ in reader.run(text, (*bounds, *packed, query.limit))}
    for position, own in _from_lists(reader, query):
        found[position] = found.get(position, False) or own
    ordered = sorted(found.items(), reverse=not query.ascending)
    return ordered[: query.limit], head


def _from_lists(reader: Any, query: StatementQuery) -> list[tuple[int, bool]]:
    terms = _rarest_first(reader, query)
    text = lists_text(len(terms), ascending=query.ascending)
    found: dict[int, bool] = {}
    after, upto = query.after, query.upto
    while len(found) < query.limit:
        # A statement may meet the filter by itself and through others: such rows are one.
        wanted = query.limit - len(found) + 1
        rows = reader.run(text, (*terms[:1], after, upto, *terms[1:], wanted))
        for position, own in rows:
            found[position] = found.get(position, False) or bool(own)
        if len(rows) < wanted:
            break
        last = rows[-1][0]
        after, upto = (last, upto) if query.ascending else (after, last - 1)
    return list(found.items())


class SQLiteReader:
    """Reads the log's file."""

    contains = "instr(s.terms, ?) > 0"

    def __init__(self, path: Path) -> None:
        self._uri = f"file:{path}?mode=ro"
        self._queries = queries("log_queries")
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []

    def rows(self, name: str, *parameters: Any, among: Sequence[Any] | None = None) -> list[Row]:
        text = self._queries[name]
        if among is None:
            return self.run(text, parameters)
        found: list[Row] = []
        for start in range(0, len(among), LIST_ITEMS_MAX):
            piece = list(among[start : start + LIST_ITEMS_MAX])
            size = 1 << (len(piece) - 1).bit_length()
            piece += [piece[0]] * (size - len(piece))
            found += self.run(text.replace("??", ",".join("?" * size)), (*parameters, *piece))
        return found

    def positions(self, query: StatementQuery) -> tuple[list[tuple[int, bool]], Head]:
        return positions_of(self, query)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self.run("BEGIN", ())
        try:
            yield
        finally:
            self.run("ROLLBACK", ())

    def has_table(self, name: str) -> bool:
        return bool(self.run("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def run(self, text: str, parameters: tuple[Any, ...]) -> list[Row]:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            connection.execute("PRAGMA query_only=ON")
            self._local.connection = connection
            self._all.append(connection)
        return connection.execute(text, parameters).fetchall()

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
