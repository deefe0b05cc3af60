"""Where views lie: rows and positions in one transaction, generations, and what could not be applied.

A view has *generations*. One of them *serves* readers; another may be *building* beside it and takes its place in one
step when it has caught up. Each generation has tables of its own, `view_<projection>_<generation>_<table>`, and for
each partition of its feed a *place*: the position up to which events have been applied, and up to which event and time
(`through`) the feed has nothing else.

Everything here blocks: callers come from threads. What both databases do alike is in projections/sql_view_store.py;
what differs, in projections/sqlite_views.py and projections/postgres_views.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from projections.projection import LABEL_BYTES, Key, KeyGone, KeyRef, Opener, Projection, Row, Table
from schemas.envelope import parse_part

PAGE_ROWS_MAX = 500
"""How many rows are read at once where a whole table is read."""
FIRST_ROWS = 8
"""How many are read at once where one is enough, and the first may not open."""
NO_PART = -1
"""In the place of a partition, where none is known: of all partitions that have no place of their own yet."""

SERVING = "serving"
BUILDING = "building"

SqlRow = tuple[Any, ...]


class StoreBusy(Exception):
    """The database of the views does not answer, or is held by others. Nothing was written; repeating helps."""

    retry_helps = True


class Overtaken(Exception):
    """Someone else went ahead with this view, or this generation is no more. Nothing was written: look again."""


class Behind(Exception):
    """The generation that is being built has not caught up with the one that serves, so it cannot take its place."""


class Generation(NamedTuple):
    """One build of a view. version is the projection's that built it."""

    name: str
    number: int
    version: int
    state: str


class Place(NamedTuple):
    """How far a view is in one partition: applied up to position; nothing else is there up to `through`."""

    position: int = 0
    through_position: int = 0
    through_us: int = 0


class DeadLetter(NamedTuple):
    """An event that could not be applied: as it came, and the kind of error that the last try ended with."""

    number: int
    name: str
    generation: int
    partition: int
    position: int
    originator_id: bytes
    version: int
    topic: str
    record_key: bytes
    stored_us: int
    state: bytes
    reason: str
    kept_us: int


class Session(Protocol):
    """A connection inside a transaction. `?` stands for a parameter."""

    def rows(self, text: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        """Run SQL; give its rows, bytes as bytes."""
        ...

    def put_many(self, table: str, key: Sequence[str], others: Sequence[str], rows: Sequence[SqlRow]) -> None:
        """Write rows of key and other columns, over what was there."""
        ...

    def get_many(self, table: str, columns: Sequence[str], key: Sequence[str], keys: Sequence[Key]) -> list[SqlRow]:
        """Give the columns of the rows with these keys."""
        ...

    def delete_many(self, table: str, key: Sequence[str], keys: Sequence[Key]) -> None:
        """Delete the rows with these keys."""
        ...

    def add_many(self, table: str, rows: Sequence[tuple[bytes, bytes, int, int]]) -> None:
        """Add to counts: rows are (group, label, part, how many more)."""
        ...


class StoredView:
    """The rows of one generation inside a transaction: projections.projection.View, and reading page by page."""

    def __init__(self, session: Session, generation: Generation, opener: Opener, part: int = NO_PART) -> None:
        """Take the partition under which a writer counts rows as part."""
        self._session = session
        self._generation = generation
        self._opener = opener
        self._part = part
        self._anyone_forgotten: bool | None = None
        self._counted_as: dict[str, dict[Key, bytes]] = {}
        """What rows of counted tables are counted as, of those that this transaction has looked at."""

    def get(self, table: Table, keys: Iterable[Key]) -> dict[Key, Row]:
        wanted = list(keys)
        if not wanted:
            return {}
        columns = (*_columns(table), "labels") if table.counted else _columns(table)
        found = self._session.get_many(self._name(table), columns, table.key, wanted)
        if table.counted:
            found = self._note_labels(table, wanted, found)
        return {row.key: row for row in self._opened(table, found)}

    def find(self, table: Table, **columns: bytes) -> list[Row]:
        where = " AND ".join(f"{_known(table, name)} = ?" for name in columns)
        text = f"{self._select(table)} WHERE {where} ORDER BY {', '.join(table.key)}"
        return list(self._opened(table, self._session.rows(text, tuple(columns.values()))))

    def put(self, table: Table, rows: Iterable[Row]) -> None:
        rows = self._living(table, list(rows))
        boxes = [(row, box) for row in rows if (box := self._sealed(table, row)) is not None]
        if not boxes:
            return
        if not table.counted:
            sealed = [(*row.key, *row.columns, box) for row, box in boxes]
            self._session.put_many(self._name(table), table.key, (*table.columns, "sealed"), sealed)
            return
        labels = {row.key: pack_labels(row.labels) for row, _ in boxes}
        self._recount(table, labels)
        sealed = [(*row.key, *row.columns, box, labels[row.key]) for row, box in boxes]
        self._session.put_many(self._name(table), table.key, (*table.columns, "sealed", "labels"), sealed)

    def delete(self, table: Table, keys: Iterable[Key]) -> None:
        gone = list(keys)
        if gone:
            if table.counted:
                self._recount(table, dict.fromkeys(gone, b""))
            self._session.delete_many(self._name(table), table.key, gone)

    def counts(self, table: Table, group: bytes) -> dict[bytes, int]:
        """Give how many rows carry each label, of those with a value of the first column of a counted table's key."""
        text = (
            f"SELECT label, CAST(SUM(rows) AS bigint) FROM {counts_named(self._name(table))} WHERE grp = ? "  # noqa: S608
            "GROUP BY label HAVING SUM(rows) > 0"
        )
        return {row[0]: row[1] for row in self._session.rows(text, (group,))}

    def carried(self, table: Table, keys: Sequence[Key]) -> Counter[bytes]:
        """Give how many of the rows with these keys carry each label; none of them is opened."""
        found = Counter[bytes]()
        if keys:
            for (packed,) in self._session.get_many(self._name(table), ("labels",), table.key, keys):
                found.update(unpack_labels(packed))
        return found

    def first(self, table: Table, **columns: bytes) -> Row | None:
        """Give a row with these values, in the order of the key the first that can be opened."""
        return next((row for page in self.pages(table, FIRST_ROWS, **columns) for row in page), None)

    def distinct(self, table: Table, column: str) -> list[bytes]:
        """Give each value of the first column of a table's key once, in order. One look-up for each value."""
        name, column = self._name(table), _known(table, column)
        text = f"SELECT {column} FROM {name} WHERE {column} > ? ORDER BY {column} LIMIT 1"  # noqa: S608  our own words
        found: list[bytes] = []
        while rows := self._session.rows(text, (found[-1] if found else b"",)):
            found.append(rows[0][0])
        return found

    def pages(self, table: Table, page_rows: int = PAGE_ROWS_MAX, /, **columns: bytes) -> Iterator[list[Row]]:
        """Give the rows with these values (all, without any) in the order of the key, a page at a time."""
        key = ", ".join(table.key)
        where = "".join(f" AND {_known(table, name)} = ?" for name in columns)
        marks = ", ".join("?" * len(table.key))
        after: Key = (b"",) * len(table.key)
        while True:
            text = f"{self._select(table)} WHERE ({key}) > ({marks}){where} ORDER BY {key} LIMIT {page_rows}"
            found = self._session.rows(text, (*after, *columns.values()))
            if found:
                yield list(self._opened(table, found))
                after = tuple(found[-1][: len(table.key)])
            if len(found) < page_rows:
                return

    def _note_labels(self, table: Table, wanted: Sequence[Key], found: Sequence[SqlRow]) -> list[SqlRow]:
        """Remember what rows are counted as, which stands last in them; give the rows without it."""
        known = self._counted_as.setdefault(table.name, {})
        known.update(dict.fromkeys(wanted, b""))
        known.update((tuple(row[: len(table.key)]), row[-1]) for row in found)
        return [row[:-1] for row in found]

    def _recount(self, table: Table, labels: Mapping[Key, bytes]) -> None:
        """Count rows as what they are about to be, and no longer as what they were."""
        known = self._counted_as.setdefault(table.name, {})
        if unknown := [key for key in labels if key not in known]:
            columns = (*table.key, "labels")
            self._note_labels(table, unknown, self._session.get_many(self._name(table), columns, table.key, unknown))
        more = Counter[tuple[bytes, bytes]]()
        for key, packed in labels.items():
            if packed != (before := known[key]):
                more.update((key[0], label) for label in unpack_labels(packed))
                more.subtract((key[0], label) for label in unpack_labels(before))
                known[key] = packed
        changed = [(group, label, self._part, rows) for (group, label), rows in more.items() if rows]
        if changed:
            self._session.add_many(counts_named(self._name(table)), changed)

    def _name(self, table: Table) -> str:
        return table_name(self._generation, table)

    def _select(self, table: Table) -> str:
        return f"SELECT {', '.join(_columns(table))} FROM {self._name(table)}"  # noqa: S608  our own words

    def _opened(self, table: Table, found: Sequence[SqlRow]) -> Iterator[Row]:
        """Open rows; one whose key is destroyed is left out."""
        width = len(table.key)
        keys = [tuple(row[:width]) for row in found]
        name = self._generation.name
        opened = self._opener.open_rows(
            [(row[-1], binding(name, table, key)) for key, row in zip(keys, found, strict=True)]
        )
        for key, row, content in zip(keys, found, opened, strict=True):
            if content is not None:
                yield Row(key, content, key_ref(row[-1]), tuple(row[width:-1]))

    def _sealed(self, table: Table, row: Row) -> bytes | None:
        """Seal a row; None where its key was destroyed since it was opened, so that it must not come back."""
        try:
            return self._opener.seal_row(row.seal_with, binding(self._generation.name, table, row.key), row.content)
        except KeyGone:
            return None

    def _living(self, table: Table, rows: list[Row]) -> list[Row]:
        """Leave out the rows of whoever was forgotten: a consumer that lags brings nothing back."""
        if self._anyone_forgotten is None:
            self._anyone_forgotten = bool(self._session.rows("SELECT 1 FROM forgotten LIMIT 1"))
        if not self._anyone_forgotten or not rows:
            return rows
        at = _columns(table).index("learner")
        people = list(dict.fromkeys((*row.key, *row.columns)[at] for row in rows))
        keys = [(one,) for one in people if one is not None]
        gone = {row[0] for row in self._session.get_many("forgotten", ("learner",), ("learner",), keys)}
        return [row for row in rows if (*row.key, *row.columns)[at] not in gone]


class Transaction:
    """A batch's transaction: the view, and what is stored with it. Leaving it without an error commits."""

    def __init__(self, session: Session, generation: Generation, opener: Opener, part: int = NO_PART) -> None:
        self.view = StoredView(session, generation, opener, part)
        self._session = session
        self._generation = generation

    def advance(self, places: Mapping[int, Place]) -> None:
        """Store how far the view is now."""
        for partition, place in places.items():
            self._session.rows(
                "UPDATE view_position SET position = ?, through_position = ?, through_us = ? "
                "WHERE name = ? AND generation = ? AND part = ?",
                (*place, self._generation.name, self._generation.number, partition),
            )

    def keep_dead(self, letter: DeadLetter) -> None:
        """Keep an event that could not be applied, unless its learner is forgotten; the store gives its number."""
        if self._session.rows("SELECT 1 FROM forgotten WHERE learner = ?", (letter.record_key,)):
            return
        self._session.rows(
            "INSERT INTO dead_letter (name, generation, part, position, originator_id, version, topic, record_key, "
            "stored_us, state, reason, kept_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            letter[1:],
        )

    def drop_dead(self, number: int) -> bool:
        """Forget a dead letter; say whether it was there."""
        return bool(self._session.rows("DELETE FROM dead_letter WHERE number = ? RETURNING number", (number,)))


class ViewStore(Protocol):
    """The views of an installation. Any thread may call it; each call is a transaction of its own.

    Every call raises StoreBusy when the database does not answer; then nothing was changed.
    """

    def generations(self, name: str | None = None) -> list[Generation]:
        """Give the generations there are, of one view or of all, by name and number."""
        ...

    def target(self, projection: Projection) -> Generation:
        """Give the generation that events are applied to.

        That is the one that serves; one that is building, where the one that serves was made by another version of the
        projection; a new one, where there is none of this version.
        """
        ...

    def begin(self, projection: Projection) -> Generation:
        """Begin a new generation beside the one that serves; one that is still building is given up."""
        ...

    def switch(self, generation: Generation) -> None:
        """Let a generation serve from now on and drop the other. Raises Behind, and Overtaken when it is no more."""
        ...

    def places(self, generation: Generation) -> dict[int, Place]:
        """Give how far a generation is, by partition; what was built without partitions is at NO_PART."""
        ...

    def transaction(self, generation: Generation, after: Mapping[int, int]) -> AbstractContextManager[Transaction]:
        """Begin to apply events after these positions, by partition.

        Raises Overtaken unless the view is exactly there; nobody else moves those positions until the end.
        """
        ...

    def reading(
        self, name: str, version: int | None = None
    ) -> AbstractContextManager[tuple[StoredView, dict[int, Place]] | None]:
        """Read what serves, as it is at one moment; None where nothing serves yet, or nothing of the version named."""
        ...

    def row_counts(self, generation: Generation) -> dict[str, int]:
        """Give how many rows each table of a generation has. Every row is looked at."""
        ...

    def forget(self, learner: bytes) -> None:
        """Delete every row of a learner from every generation of every view, and keep any from coming back."""
        ...

    def rows_about(self, learner: bytes) -> int:
        """Give how many rows and dead letters there are of a learner, in every generation of every view."""
        ...

    def dead_letters(self, name: str | None = None) -> list[DeadLetter]:
        """Give what could not be applied, of one view or of all, oldest first."""
        ...

    def dead_letter_counts(self) -> dict[tuple[str, int], int]:
        """Give how many dead letters each generation has, by (name, number), of those that have any."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


def place_of(places: Mapping[int, Place], partition: int) -> Place:
    """Give the place of a partition; one that has none of its own yet is where all were."""
    return places.get(partition) or places.get(NO_PART, Place())


def own_places(places: Mapping[int, Place]) -> dict[int, Place]:
    """Give the places of partitions, as soon as there are any; before, that of all of them."""
    own = {part: place for part, place in places.items() if part != NO_PART}
    return own or dict(places)


def table_name(generation: Generation, table: Table) -> str:
    """Give the name of a generation's table."""
    return table_named(generation, table.name)


def table_named(generation: Generation, name: str) -> str:
    """Give the name of a generation's table, by the name of the view's table."""
    return f"view_{generation.name}_{generation.number}_{name}"


def counts_named(table: str) -> str:
    """Give the name of the table that counts the rows of another."""
    return f"{table}_counts"


def pack_labels(labels: Iterable[bytes]) -> bytes:
    """Give labels as they are kept beside their row."""
    return b"".join(sorted(labels))


def unpack_labels(packed: bytes) -> list[bytes]:
    """Undo `pack_labels`."""
    return [packed[at : at + LABEL_BYTES] for at in range(0, len(packed), LABEL_BYTES)]


def binding(name: str, table: Table, key: Key) -> bytes:
    """Give what a row's content is bound to: its view, table and key, so that it opens nowhere else."""
    return b"".join((name.encode(), b"/", table.name.encode(), b"/", *key))


def key_ref(sealed: bytes) -> KeyRef:
    """Give the key that a row's content is sealed under."""
    header = parse_part(sealed).header
    return KeyRef(header.owner, header.purpose, header.year, header.key_version)


def _columns(table: Table) -> tuple[str, ...]:
    return (*table.key, *table.columns, "sealed")


def _known(table: Table, name: str) -> str:
    if name not in _columns(table):
        raise ValueError(f"the table {table.name} has no column {name}")
    return name
