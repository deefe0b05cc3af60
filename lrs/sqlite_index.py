"""The statement index that is being built anew, on SQLite: tables beside those that serve, in the same file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrs.indexing import INDEX_TABLES, Filling, IndexRow, Linked, Reference, tail_of
from lrs.sql import new_tables, script

if TYPE_CHECKING:
    from lrs.sqlite_recorder import SQLiteTables

_TARGETS = ("statement_target", "statement_target_2")
"""Names of the index on targets: that of the new table must be the one which that of the old does not have."""


_REFERENCES = (
    "SELECT s.position, e.originator_id, s.target FROM statement_new s JOIN events e ON e.position = s.position "
)


class SQLiteIndex:
    """lrs.indexing.IndexTables in an open SQLite transaction."""

    def __init__(self, tables: SQLiteTables) -> None:
        self._tables = tables
        self._rows = tables.rows

    def begin(self, build: bytes) -> None:
        self._rows(
            "CREATE TABLE IF NOT EXISTS index_build (one INTEGER PRIMARY KEY CHECK (one = 1), "
            "generation INTEGER NOT NULL, build BLOB, position INTEGER NOT NULL, served BLOB)"
        )
        self._rows("INSERT INTO index_build (one, generation, position) VALUES (1, 1, 0) ON CONFLICT DO NOTHING")
        self._rows("UPDATE index_build SET build = ?, position = 0", build)
        for name in INDEX_TABLES:
            self._rows(f"DROP TABLE IF EXISTS {name}_new")
        for text in new_tables(script("log_sqlite"), INDEX_TABLES):
            self._rows(text)
        taken = {row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'index'")}
        free = next(one for one in _TARGETS if one not in taken)
        self._rows(f"CREATE INDEX {free} ON statement_new (target) WHERE target IS NOT NULL")

    def give_up(self) -> None:
        """Have a build under way come to nothing; what serves goes on serving."""
        if self._rows("SELECT 1 FROM sqlite_master WHERE name = 'index_build'"):
            self._rows("UPDATE index_build SET build = NULL")

    def is_build(self, build: bytes) -> bool:
        return self._is("build", build)

    def has_served(self, build: bytes) -> bool:
        return self._is("served", build)

    def _is(self, column: str, build: bytes) -> bool:
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'index_build'"):
            return False
        return bool(self._rows(f"SELECT 1 FROM index_build WHERE {column} = ?", build))  # noqa: S608  our own words

    def reached(self) -> int:
        position: int = self._rows("SELECT position FROM index_build")[0][0]
        return position

    def fill(self, filling: Filling) -> None:
        self._tables.many(
            "INSERT OR IGNORE INTO statement_new (position, terms, people, target, voids) VALUES (?,?,?,?,?)",
            [(row.position, row.terms, row.people, row.target, row.voids) for row in filling.rows],
        )
        self._tables.insert_lists(*filling.lists(), suffix="_new")
        self._tables.many(
            "INSERT OR IGNORE INTO voiding_new (target, position) VALUES (?,?)",
            [(row.voids, row.position) for row in filling.rows if row.voids is not None],
        )
        voided = self.linked(filling.voided).values()
        self._tables.many("UPDATE statement_new SET voided = 1 WHERE position = ?", [(one.position,) for one in voided])
        self._rows("UPDATE index_build SET position = ?", filling.position)

    def references(self, after: int, limit: int) -> list[Reference]:
        rows = self._rows(
            _REFERENCES + "WHERE s.position > ? AND s.target IS NOT NULL ORDER BY s.position LIMIT ?",
            after,
            limit,
        )
        return [Reference(*row) for row in rows]

    def referring_to(self, targets: Sequence[bytes]) -> list[Reference]:
        rows = self._tables.among(
            _REFERENCES + "WHERE s.target IN (??)",
            targets,
        )
        return [Reference(*row) for row in dict.fromkeys(rows)]

    def linked(self, originator_ids: Sequence[bytes]) -> dict[bytes, Linked]:
        rows = self._tables.among(
            "SELECT e.originator_id, s.position, s.terms, s.target FROM events e "
            "JOIN statement_new s ON s.position = e.position "
            "WHERE e.originator_version = 1 AND e.originator_id IN (??)",
            originator_ids,
        )
        return {row[0]: Linked(*row[1:]) for row in rows}

    def inherit(self, terms: Sequence[tuple[bytes, int, int]]) -> None:
        self._tables.insert_lists(list(terms), [], suffix="_new")

    def settle_down(self) -> None:
        """Do nothing: SQLite finds its way in these tables without statistics."""

    def tail(self, after: int, limit: int) -> tuple[Filling, dict[bytes, bytes | None], bool]:
        events = self._rows(
            "SELECT position, originator_id, topic, state FROM events WHERE position > ? ORDER BY position LIMIT ?",
            after,
            limit,
        )
        upto = events[-1][0] if events else after
        rows = self._rows(
            "SELECT position, terms, people, target, voids FROM statement WHERE position > ? AND position <= ?",
            after,
            upto,
        )
        return *tail_of(events, [IndexRow(*row) for row in rows], upto), self._tables.head()[0] == upto

    def switch(self, build: bytes, position: int) -> None:
        for name in INDEX_TABLES:
            self._rows(f"DROP TABLE {name}")
            self._rows(f"ALTER TABLE {name}_new RENAME TO {name}")
        self._rows("UPDATE log_head SET settled = ?", position)
        self._rows("UPDATE index_build SET generation = generation + 1, build = NULL, served = ?", build)
