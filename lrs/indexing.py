"""Building the statement index anew: beside the one that serves, in the log's own database, a step at a time.

Who has the keys reads the log, computes what each statement is found by, and sends it to the writer
(lrs/index_builder.py). The writer keeps it in tables of its own, links what StatementRefs pass on, and lets them take
the place of the old ones. Statements go on being appended meanwhile, to the old tables; in the last steps, each under
the log's lock, their rows are copied, until none is missing and the tables are exchanged in the same transaction.

This module knows the order of things; what SQL does each is in lrs/sqlite_index.py and lrs/postgres_index.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from schemas.envelope import NOBODY, Algorithm, Part, Purpose, SealedPart, split_parts
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED

TAIL_EVENTS_MAX = 500
"""Events whose rows are copied in one step at the end, while the log's lock is held."""
LINKED_STATEMENTS_MAX = 500
"""Statements that refer to others, of which one step works out what they inherit."""
CHAIN_STATEMENTS_MAX = 64
"""How far a chain of StatementRefs is followed for the index."""

INDEX_TABLES = ("statement", "term", "voiding", "event_people")
"""What is built anew."""
PSEUDONYM_BYTES = 16
_NAMES_SOMEBODY = frozenset({Part.BODY, Part.WRAP, Part.PERSON, Part.COMPLETION, Part.CONSENT})


class Step(StrEnum):
    """What a request asks for, in this order."""

    BEGIN = "begin"
    FILL = "fill"
    LINK = "link"
    SWITCH = "switch"


class Progress(StrEnum):
    """What became of it. MORE: the same again, from `position`; OVERTAKEN: another build began meanwhile."""

    DONE = "done"
    MORE = "more"
    OVERTAKEN = "overtaken"


class IndexRow(msgspec.Struct, array_like=True, frozen=True):
    """What the index keeps of a statement: terms and people packed, whom it refers to, whom it voids."""

    position: int
    terms: bytes
    people: bytes
    target: bytes | None = None
    voids: bytes | None = None


class IndexRequest(msgspec.Struct, array_like=True, frozen=True, tag="index"):
    """A step of a build, which `build` (16 random bytes) names.

    FILL: these rows, people of other events as (pseudonym, position), and voided statements by originator id, are what
    the log has up to position. LINK: of statements after position.
    """

    step: Step
    build: bytes
    position: int = 0
    rows: tuple[IndexRow, ...] = ()
    people: tuple[tuple[bytes, int], ...] = ()
    voided: tuple[bytes, ...] = ()


class Indexed(msgspec.Struct, array_like=True, frozen=True, tag="indexed"):
    """What became of a step; position is how far it came."""

    progress: Progress
    position: int


class Filling(NamedTuple):
    """What the log has up to a position."""

    position: int
    rows: Sequence[IndexRow]
    people: Sequence[tuple[bytes, int]]
    voided: Sequence[bytes]

    def lists(self) -> tuple[list[tuple[bytes, int, int]], list[tuple[bytes, int]]]:
        """Give what goes into the posting lists: (packed terms, position, source), and (pseudonym, position)."""
        terms = [(row.terms, row.position, row.position) for row in self.rows]
        named = [
            (row.people[at : at + PSEUDONYM_BYTES], row.position)
            for row in self.rows
            for at in range(0, len(row.people), PSEUDONYM_BYTES)
        ]
        return terms, [*named, *self.people]


class Reference(NamedTuple):
    """A statement that refers to another: where it is, its stream, and the stream of its target."""

    position: int
    originator_id: bytes
    target: bytes


class Linked(NamedTuple):
    """What passing terms on takes of a statement."""

    position: int
    terms: bytes
    target: bytes | None


class IndexTables(Protocol):
    """The index that is being built, inside a transaction that holds the log's lock."""

    def begin(self, build: bytes) -> None:
        """Make empty tables, in the place of those of any build before."""
        ...

    def give_up(self) -> None:
        """Have a build under way come to nothing; what serves goes on serving."""
        ...

    def is_build(self, build: bytes) -> bool:
        """Say whether these tables are of this build."""
        ...

    def has_served(self, build: bytes) -> bool:
        """Say whether it was this build whose tables took the place of others last."""
        ...

    def reached(self) -> int:
        """Give the position up to which the tables are filled."""
        ...

    def fill(self, filling: Filling) -> None:
        """Write rows, which may be there already, and remember the position."""
        ...

    def references(self, after: int, limit: int) -> list[Reference]:
        """Give statements that refer to others, after a position, in order."""
        ...

    def referring_to(self, targets: Sequence[bytes]) -> list[Reference]:
        """Give the statements that refer to any of these."""
        ...

    def linked(self, originator_ids: Sequence[bytes]) -> dict[bytes, Linked]:
        """Give the statements of these streams, of those that there are."""
        ...

    def inherit(self, terms: Sequence[tuple[bytes, int, int]]) -> None:
        """Write terms that statements inherit: (packed terms, position, source)."""
        ...

    def settle_down(self) -> None:
        """Have the database look at what the tables hold now."""
        ...

    def tail(self, after: int, limit: int) -> tuple[Filling, dict[bytes, bytes | None], bool]:
        """Give what the tables that serve have of the next events after a position.

        Then the statements among them by originator id, with their targets, and whether these events are the last.
        """
        ...

    def switch(self, build: bytes, position: int) -> None:
        """Put the tables, which hold everything up to a position, in the place of those that serve."""
        ...


def write_index(tables: IndexTables, request: IndexRequest) -> Indexed:
    """Do one step."""
    if request.step is Step.BEGIN:
        tables.begin(request.build)
        return Indexed(Progress.DONE, 0)
    if not tables.is_build(request.build):
        done = request.step is Step.SWITCH and tables.has_served(request.build)
        return Indexed(Progress.DONE if done else Progress.OVERTAKEN, 0)
    if request.step is Step.FILL:
        tables.fill(Filling(request.position, request.rows, request.people, request.voided))
        return Indexed(Progress.DONE, request.position)
    if request.step is Step.LINK:
        return _link_some(tables, request.position)
    return _switch(tables, request.build)


def _link_some(tables: IndexTables, after: int) -> Indexed:
    found = tables.references(after, LINKED_STATEMENTS_MAX)
    _link(tables, found)
    if len(found) == LINKED_STATEMENTS_MAX:
        return Indexed(Progress.MORE, found[-1].position)
    tables.settle_down()
    return Indexed(Progress.DONE, found[-1].position if found else after)


def _switch(tables: IndexTables, build: bytes) -> Indexed:
    """Copy what was appended meanwhile; exchange the tables where that is all."""
    filling, statements, is_all = tables.tail(tables.reached(), TAIL_EVENTS_MAX)
    tables.fill(filling)
    known = tables.linked(list(statements))
    found = [Reference(known[one].position, one, target) for one, target in statements.items() if target is not None]
    # Whoever leads to one of them, over any number of steps, inherits from it too.
    passed, layer = set(statements), list(statements)
    for _ in range(CHAIN_STATEMENTS_MAX):
        rows = [row for row in tables.referring_to(layer) if row.originator_id not in passed] if layer else []
        layer = [row.originator_id for row in rows]
        passed.update(layer)
        found += rows
    _link(tables, found)
    if is_all:
        tables.switch(build, filling.position)
    return Indexed(Progress.DONE if is_all else Progress.MORE, filling.position)


def _link(tables: IndexTables, references: Sequence[Reference]) -> None:
    """Write what statements inherit from those that they lead to, layer by layer, without going in circles."""
    known: dict[bytes, Linked] = {}
    passed = {one.position: {one.originator_id, one.target} for one in references}
    layer = {one.position: one.target for one in references if one.target != one.originator_id}
    inherited: list[tuple[bytes, int, int]] = []
    for _ in range(CHAIN_STATEMENTS_MAX):
        missing = [one for one in set(layer.values()) if one not in known]
        if missing:
            known |= tables.linked(missing)
        following: dict[int, bytes] = {}
        for position, target in layer.items():
            statement = known.get(target)
            if statement is None:
                continue
            inherited.append((statement.terms, position, statement.position))
            if statement.target is not None and statement.target not in passed[position]:
                passed[position].add(statement.target)
                following[position] = statement.target
        layer = following
    tables.inherit(inherited)


def tail_of(
    events: Sequence[tuple[int, bytes, str, bytes]], rows: Sequence[IndexRow], upto: int
) -> tuple[Filling, dict[bytes, bytes | None]]:
    """Put together what tables have of events (position, originator id, topic, state), as IndexTables.tail gives it."""
    targets = {row.position: row.target for row in rows}
    statements = {one: targets[at] for at, one, topic, _ in events if topic == STATEMENT_RECORDED and at in targets}
    voided = [one for _, one, topic, _ in events if topic == STATEMENT_VOIDED]
    people = [
        (person, at)
        for at, _, topic, state in events
        if topic != STATEMENT_RECORDED
        for person in people_of_parts(split_parts(state))
    ]
    return Filling(upto, rows, people, voided), statements


def people_of_parts(parts: Iterable[SealedPart]) -> list[bytes]:
    """Give the pseudonym of each person whom a record names, from its headers: also of those whose keys are gone."""
    found: dict[bytes, None] = {}
    for part in parts:
        header = part.header
        is_persons = header.algorithm != Algorithm.CLEAR and header.purpose < Purpose.ACTIVITY
        if is_persons and header.owner != NOBODY and header.part in _NAMES_SOMEBODY:
            found[header.owner] = None
    return list(found)
