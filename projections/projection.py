"""What a projection is: code that computes a view from events, a batch at a time.

A *view* is one or more tables of *rows*. A row is found by its key and holds a JSON content that is sealed under a key
of the learner whom it is about, so a view can be read no longer than the learner's keys live. Key and columns are
pseudonyms and keyed hashes, 16 bytes each, never what a client sent.

Views do not depend on the order in which learners' events come (decision 29), nor on that of one learner's: what is
late, repeated or voided leads to the same rows. Consent and restriction decide who may see a row, not whether it is
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]
Key = tuple[bytes, ...]
"""The key of a row: the table's key columns, in order."""
LABEL_BYTES = 8


class KeyGone(Exception):
    """The key that a row was to be sealed under is destroyed: its learner is erased, and the row with them."""


class KeyRef(NamedTuple):
    """Which of a learner's keys a row is sealed under: the one of the newest statement that went into it."""

    owner: bytes
    purpose: int
    year: int
    version: int


@dataclass(frozen=True, slots=True)
class OpenedEvent:
    """An event as projections see it.

    learner is the pseudonym of the one person whom the statement is about, None where there are several or the event
    is no statement. statement is None where there is none, or where it cannot be opened any more; in it a number stands
    in the place of everyone whom it names but is not about (schemas/people.py). `blind(kind, value)` of the opener
    gives the keyed hashes that stand in keys.
    """

    position: int
    originator_id: bytes
    topic: str
    stored_us: int
    record_key: bytes
    learner: bytes | None = None
    statement: Json | None = None
    action: str = ""
    key: KeyRef | None = None


class Opener(Protocol):
    """Opens and seals for projections; what it hides are the keys. Any thread may call it."""

    def events(self, events: Sequence[Any]) -> list[OpenedEvent]:
        """Open a batch of feed events, in order; what has no key any more comes without its statement.

        Raises Damaged and Busy of the program, which projections leave alone.
        """
        ...

    def blind(self, kind: str, *values: str | bytes) -> bytes:
        """Give the keyed hash (16 bytes) of ids that clients chose; kind keeps equal texts of different kinds apart."""
        ...

    def open_rows(self, rows: Sequence[tuple[bytes, bytes]]) -> list[Json | None]:
        """Open sealed contents, each given with what it is bound to; None where the key is destroyed."""
        ...

    def seal_row(self, key: KeyRef, binding: bytes, content: Json) -> bytes:
        """Seal a content under a learner's key, bound to the row's table and key. Raises KeyGone."""
        ...


@dataclass(slots=True)
class Row:
    """A row of a view. columns are the table's other columns; seal_with is the key for the next sealing.

    labels are what the row counts as, LABEL_BYTES each, where its table is counted.
    """

    key: Key
    content: Json
    seal_with: KeyRef
    columns: tuple[bytes | None, ...] = ()
    labels: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a view: columns of 16 bytes (or NULL, for those outside the key), then the sealed content.

    One column of each table is called `learner`: by it a learner is forgotten. indexes are columns by which rows are
    also found. Of a counted table it is kept beside it how many rows carry each label, for each value of the key's
    first column: so that counting opens nothing. Labels are keyed hashes.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    counted: bool = False

    def __post_init__(self) -> None:
        if "learner" not in (*self.key, *self.columns):
            raise ValueError(f"the table {self.name} has no column `learner`, so nobody could be forgotten in it")


class View(Protocol):
    """The rows of one view inside a transaction."""

    def get(self, table: Table, keys: Iterable[Key]) -> dict[Key, Row]:
        """Give the rows that are there; one whose key is destroyed is not."""
        ...

    def find(self, table: Table, **columns: bytes) -> list[Row]:
        """Give every row with these values, in the order of the key."""
        ...

    def put(self, table: Table, rows: Iterable[Row]) -> None:
        """Write rows, over what was there."""
        ...

    def delete(self, table: Table, keys: Iterable[Key]) -> None:
        """Delete rows; that one is not there is no error."""
        ...


class Projection(Protocol):
    """Code that computes one view. `version` moves when the rows would come out differently: then it is rebuilt."""

    name: str
    version: int
    tables: tuple[Table, ...]
    topics: frozenset[str]
    """Kinds of events that change the view; others only move its position."""

    def apply(self, events: Sequence[OpenedEvent], view: View, opener: Opener) -> None:
        """Work events into the view. They are in the order of positions, each given once; the transaction is the
        caller's, who stores the position in it.
        """
        ...
