"""The statement index that is being built anew, on PostgreSQL: tables beside those that serve, in the same schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrs.indexing import INDEX_TABLES, Filling, IndexRow, Linked, Reference, tail_of
from lrs.sql import new_tables, script
from projections.postgres_arrays import BigInts, Byteas, Uuids

if TYPE_CHECKING:
    from lrs.postgres_recorder import PostgresTables

SWITCH_LOCK_WAIT_MS = 500
"""How long the exchange waits for those who read the old tables; then it is tried again. Less than PostgreSQL takes to
look for deadlocks, so that it is never a reader who has to give way."""
_REFERENCES = (
    "SELECT s.position, e.originator_id, s.target FROM statement_new s JOIN events e ON e.position = s.position "
)


class PostgresIndex:
    """lrs.indexing.IndexTables in an open PostgreSQL transaction that holds the log's lock."""

    def __init__(self, tables: PostgresTables) -> None:
        self._tables = tables
        self._rows = tables.rows
        self._run = tables.run

    def begin(self, build: bytes) -> None:
        self._run(
            "CREATE TABLE IF NOT EXISTS index_build (one INTEGER PRIMARY KEY CHECK (one = 1), "
            "generation BIGINT NOT NULL, build BYTEA, position BIGINT NOT NULL, served BYTEA)"
        )
        self._run("INSERT INTO index_build (one, generation, position) VALUES (1, 1, 0) ON CONFLICT DO NOTHING")
        self._run("UPDATE index_build SET build = %s, position = 0", build)
        for name in INDEX_TABLES:
            self._run(f"DROP TABLE IF EXISTS {name}_new")
        for text in new_tables(script("log_postgres"), INDEX_TABLES):
            self._run(text)
        self._run("CREATE INDEX ON statement_new (target) WHERE target IS NOT NULL")

    def give_up(self) -> None:
        """Have a build under way come to nothing; what serves goes on serving."""
        if self._rows("SELECT to_regclass('index_build')") != [(None,)]:
            self._run("UPDATE index_build SET build = NULL")

    def is_build(self, build: bytes) -> bool:
        return self._is("build", build)

    def has_served(self, build: bytes) -> bool:
        return self._is("served", build)

    def _is(self, column: str, build: bytes) -> bool:
        if self._rows("SELECT to_regclass('index_build')") == [(None,)]:
            return False
        return bool(self._rows(f"SELECT 1 FROM index_build WHERE {column} = %s", build))  # noqa: S608  our own words

    def reached(self) -> int:
        position: int = self._rows("SELECT position FROM index_build")[0][0]
        return position

    def fill(self, filling: Filling) -> None:
        rows = filling.rows
        if rows:
            self._run(
                "INSERT INTO statement_new (position, terms, people, target, voids) SELECT * FROM unnest("
                "%b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING",
                BigInts.of([row.position for row in rows]),
                Byteas([row.terms for row in rows]),
                Byteas([row.people for row in rows]),
                Byteas([row.target for row in rows]),
                Byteas([row.voids for row in rows]),
            )
        self._tables.insert_lists(*filling.lists(), suffix="_new")
        asked = [row for row in rows if row.voids is not None]
        if asked:
            self._run(
                "INSERT INTO voiding_new (target, position) SELECT * FROM unnest(%b::bytea[], %b::bigint[]) "
                "ON CONFLICT DO NOTHING",
                Byteas([row.voids for row in asked]),
                BigInts.of([row.position for row in asked]),
            )
        if filling.voided:
            voided = [one.position for one in self.linked(filling.voided).values()]
            self._run("UPDATE statement_new SET voided = 1 WHERE position = ANY(%s)", BigInts.of(voided))
        self._run("UPDATE index_build SET position = %s", filling.position)

    def references(self, after: int, limit: int) -> list[Reference]:
        text = _REFERENCES + "WHERE s.position > %s AND s.target IS NOT NULL ORDER BY s.position LIMIT %s"
        return [Reference(row[0], row[1].bytes, row[2]) for row in self._rows(text, after, limit)]

    def referring_to(self, targets: Sequence[bytes]) -> list[Reference]:
        rows = self._rows(_REFERENCES + "WHERE s.target = ANY(%b)", Byteas(targets))
        return [Reference(row[0], row[1].bytes, row[2]) for row in rows]

    def linked(self, originator_ids: Sequence[bytes]) -> dict[bytes, Linked]:
        rows = self._rows(
            "SELECT e.originator_id, s.position, s.terms, s.target FROM events e "
            "JOIN statement_new s ON s.position = e.position "
            "WHERE e.originator_version = 1 AND e.originator_id = ANY(%s)",
            Uuids(originator_ids),
        )
        return {row[0].bytes: Linked(*row[1:]) for row in rows}

    def inherit(self, terms: Sequence[tuple[bytes, int, int]]) -> None:
        self._tables.insert_lists(list(terms), [], suffix="_new")

    def settle_down(self) -> None:
        for name in INDEX_TABLES:
            self._run(f"ANALYZE {name}_new")

    def tail(self, after: int, limit: int) -> tuple[Filling, dict[bytes, bytes | None], bool]:
        events = self._rows(
            "SELECT position, originator_id, topic, state FROM events WHERE position > %s ORDER BY position LIMIT %s",
            after,
            limit,
        )
        upto = events[-1][0] if events else after
        rows = self._rows(
            "SELECT position, terms, people, target, voids FROM statement WHERE position > %s AND position <= %s",
            after,
            upto,
        )
        seen = [(row[0], row[1].bytes, row[2], row[3]) for row in events]
        return *tail_of(seen, [IndexRow(*row) for row in rows], upto), self._tables.head()[0] == upto

    def switch(self, build: bytes, position: int) -> None:
        self._run(f"SET LOCAL lock_timeout = {SWITCH_LOCK_WAIT_MS}")
        self._run(f"LOCK TABLE {', '.join(INDEX_TABLES)} IN ACCESS EXCLUSIVE MODE")
        for name in INDEX_TABLES:
            self._run(f"DROP TABLE {name}")
            self._run(f"ALTER TABLE {name}_new RENAME TO {name}")
        self._run("UPDATE log_head SET settled = %s", position)
        self._run("UPDATE index_build SET generation = generation + 1, build = NULL, served = %s", build)
