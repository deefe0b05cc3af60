"""ViewStore over SQL: what SQLite and PostgreSQL do alike."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from projections.projection import Opener, Projection, Table
from projections.view_store import (
    BUILDING,
    NO_PART,
    SERVING,
    Behind,
    DeadLetter,
    Generation,
    Overtaken,
    Place,
    Session,
    StoredView,
    Transaction,
    counts_named,
    own_places,
    place_of,
    table_name,
    table_named,
    unpack_labels,
)

_POSITION = "SELECT position FROM view_position WHERE name = ? AND generation = ? AND part = ? "


class SqlViewStore(ABC):
    """ViewStore over SQL: what both databases do alike."""

    def __init__(self, opener: Opener, *, clock_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._opener = opener
        self._clock_us = clock_us

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Session]:
        """A transaction that may write."""

    @abstractmethod
    def _snapshot(self) -> AbstractContextManager[Session]:
        """A transaction that reads one moment."""

    @abstractmethod
    def _create_table(self, session: Session, name: str, table: Table) -> None:
        """Make a table of a view."""

    @abstractmethod
    def _create_counts(self, session: Session, name: str) -> None:
        """Make the table that counts the rows of another."""

    lock_rows = ""
    """What is appended to a SELECT so that no other transaction changes its rows before the end of this one."""

    @abstractmethod
    def _lock_applying(self, session: Session) -> None:
        """Let others apply until the transaction ends, but not forget anybody or change which generations there are."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    # ── generations ───────────────────────────────────────────────────────────────────────────────────────────────

    def generations(self, name: str | None = None) -> list[Generation]:
        with self._snapshot() as session:
            return _generations(session, name)

    def target(self, projection: Projection) -> Generation:
        with self._snapshot() as session:
            found = _target(_generations(session, projection.name), projection)
        if found is not None:
            return found
        with self._writing() as session:
            self._lock_views(session)
            known = _generations(session, projection.name)
            return _target(known, projection) or self._make(session, projection, known)

    def begin(self, projection: Projection) -> Generation:
        with self._writing() as session:
            self._lock_views(session)
            known = _generations(session, projection.name)
            for one in known:
                if one.state == BUILDING:
                    self._drop(session, one)
            return self._make(session, projection, known)

    def switch(self, generation: Generation) -> None:
        with self._writing() as session:
            self._lock_views(session)
            known = _generations(session, generation.name)
            if not any(one.number == generation.number for one in known):
                raise Overtaken
            for old in known:
                if old.number == generation.number:
                    continue
                mine, theirs = _places(session, generation), _places(session, old)
                if old.state == SERVING and any(
                    place_of(mine, part).position < place.position for part, place in own_places(theirs).items()
                ):
                    raise Behind
                self._drop(session, old)
            session.rows(
                "UPDATE view SET state = ? WHERE name = ? AND generation = ?",
                (SERVING, generation.name, generation.number),
            )

    def _make(self, session: Session, projection: Projection, known: Sequence[Generation]) -> Generation:
        """Make the next generation; the first of all serves at once."""
        state = BUILDING if any(one.state == SERVING for one in known) else SERVING
        number = 1 + max((one.number for one in known), default=0)
        made = Generation(projection.name, number, projection.version, state)
        for table in projection.tables:
            name = table_name(made, table)
            self._create_table(session, name, table)
            if table.counted:
                self._create_counts(session, counts_named(name))
        names = " ".join(f"{one.name}+{one.key[0]}" if one.counted else one.name for one in projection.tables)
        session.rows(
            "INSERT INTO view (name, generation, version, state, tables) VALUES (?, ?, ?, ?, ?)", (*made, names)
        )
        return made

    def _drop(self, session: Session, generation: Generation) -> None:
        key = (generation.name, generation.number)
        [(names,)] = session.rows("SELECT tables FROM view WHERE name = ? AND generation = ?", key)
        for name, group in _tables(names):
            full = table_named(generation, name)
            for one in [full, counts_named(full)] if group else [full]:
                session.rows(f"DROP TABLE IF EXISTS {one}")
        for kept in ("view", "view_position", "dead_letter"):
            session.rows(f"DELETE FROM {kept} WHERE name = ? AND generation = ?", key)  # noqa: S608  our own words

    @abstractmethod
    def _lock_views(self, session: Session) -> None:
        """Keep others from applying, from changing which generations there are and from forgetting, until the end."""

    # ── applying ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def transaction(self, generation: Generation, after: Mapping[int, int]) -> Iterator[Transaction]:
        key = (generation.name, generation.number)
        with self._writing() as session:
            self._lock_applying(session)
            if not session.rows("SELECT 1 FROM view WHERE name = ? AND generation = ?", key):
                raise Overtaken
            for partition, position in after.items():
                if not session.rows(_POSITION, (*key, partition)):
                    self._begin_partition(session, generation, partition)
                if session.rows(_POSITION + self.lock_rows, (*key, partition)) != [(position,)]:
                    raise Overtaken
            yield Transaction(session, generation, self._opener, min(after, default=NO_PART))

    def _begin_partition(self, session: Session, generation: Generation, partition: int) -> None:
        begins = place_of(_places(session, generation), partition)
        session.rows(
            "INSERT INTO view_position (name, generation, part, position, through_position, through_us) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (generation.name, generation.number, partition, *begins),
        )

    def places(self, generation: Generation) -> dict[int, Place]:
        with self._snapshot() as session:
            return _places(session, generation)

    @contextmanager
    def reading(self, name: str, version: int | None = None) -> Iterator[tuple[StoredView, dict[int, Place]] | None]:
        with self._snapshot() as session:
            serving = next((one for one in _generations(session, name) if one.state == SERVING), None)
            if serving is None or version not in (None, serving.version):
                yield None
            else:
                yield StoredView(session, serving, self._opener), own_places(_places(session, serving))

    def row_counts(self, generation: Generation) -> dict[str, int]:
        with self._snapshot() as session:
            key = (generation.name, generation.number)
            found = session.rows("SELECT tables FROM view WHERE name = ? AND generation = ?", key)
            return {
                table: session.rows(f"SELECT COUNT(*) FROM {table_named(generation, table)}")[0][0]  # noqa: S608
                for (names,) in found
                for table, _ in _tables(names)
            }

    def dead_letter_counts(self) -> dict[tuple[str, int], int]:
        with self._snapshot() as session:
            rows = session.rows("SELECT name, generation, COUNT(*) FROM dead_letter GROUP BY name, generation")
            return {(row[0], row[1]): row[2] for row in rows}

    def dead_letters(self, name: str | None = None) -> list[DeadLetter]:
        with self._snapshot() as session:
            where, parameters = ("", ()) if name is None else ("WHERE name = ?", (name,))
            text = (
                "SELECT number, name, generation, part, position, originator_id, version, topic, record_key, "  # noqa: S608
                f"stored_us, state, reason, kept_us FROM dead_letter {where} ORDER BY number"
            )
            return [DeadLetter(*row) for row in session.rows(text, parameters)]

    # ── forgetting ────────────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, learner: bytes) -> None:
        with self._writing() as session:
            self._lock_views(session)
            session.rows(
                "INSERT INTO forgotten (learner, since_us) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (learner, self._clock_us()),
            )
            for name, number, names in session.rows("SELECT name, generation, tables FROM view"):
                for table, group in _tables(names):
                    full = table_named(Generation(name, number, 0, ""), table)
                    if group:
                        _uncount(session, full, group, learner)
                    session.rows(f"DELETE FROM {full} WHERE learner = ?", (learner,))  # noqa: S608  our own words
            session.rows("DELETE FROM dead_letter WHERE record_key = ?", (learner,))

    def rows_about(self, learner: bytes) -> int:
        found = 0
        with self._snapshot() as session:
            for name, number, names in session.rows("SELECT name, generation, tables FROM view"):
                for table, _ in _tables(names):
                    full = table_named(Generation(name, number, 0, ""), table)
                    found += session.rows(f"SELECT count(*) FROM {full} WHERE learner = ?", (learner,))[0][0]  # noqa: S608
            found += session.rows("SELECT count(*) FROM dead_letter WHERE record_key = ?", (learner,))[0][0]
        return int(found)


def _tables(names: str) -> list[tuple[str, str]]:
    """Give the tables of a generation as its row in `view` has them, each with the column by which it is counted."""
    return [(name, group) for name, _, group in (one.partition("+") for one in names.split())]


def _uncount(session: Session, table: str, column: str, learner: bytes) -> None:
    """Take a learner's rows out of the counts. Nobody applies meanwhile, so the partition does not matter."""
    less = Counter(
        (group, label)
        for group, packed in session.rows(f"SELECT {column}, labels FROM {table} WHERE learner = ?", (learner,))  # noqa: S608
        for label in unpack_labels(packed)
    )
    if less:
        session.add_many(counts_named(table), [(*one, NO_PART, -rows) for one, rows in less.items()])


def _generations(session: Session, name: str | None) -> list[Generation]:
    where, parameters = ("", ()) if name is None else ("WHERE name = ?", (name,))
    text = f"SELECT name, generation, version, state FROM view {where} ORDER BY name, generation"  # noqa: S608
    return [Generation(*row) for row in session.rows(text, parameters)]


def _target(known: Sequence[Generation], projection: Projection) -> Generation | None:
    mine = [one for one in known if one.version == projection.version]
    return next((one for one in mine if one.state == SERVING), mine[-1] if mine else None)


def _places(session: Session, generation: Generation) -> dict[int, Place]:
    found = session.rows(
        "SELECT part, position, through_position, through_us FROM view_position WHERE name = ? AND generation = ?",
        (generation.name, generation.number),
    )
    return {row[0]: Place(*row[1:]) for row in found}
