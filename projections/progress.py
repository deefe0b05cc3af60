"""The view `progress`: where each learner stands in each course; enrolments and completions are read from it too.

Two tables. `fact` holds what each statement says about a course, so that a voided one can be taken out again;
`standing` what the facts of a learner under one registration come to (projections/course_rules.py). Both are of one
learner alone, so learners' events may interleave as they like.
"""

from __future__ import annotations

from collections.abc import Sequence

from projections.course_rules import CourseFact, Json, fact_of, fold, needs_refold, new_standing, take
from projections.projection import Key, KeyRef, OpenedEvent, Opener, Row, Table, View
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED

NAME = "progress"
FACT = Table("fact", ("learner", "course", "registration", "statement"))
STANDING = Table("standing", ("course", "learner", "registration"), indexes=(("learner",),))


class Progress:
    """The projection."""

    name = NAME
    version = 1
    tables: tuple[Table, ...] = (FACT, STANDING)
    topics: frozenset[str] = frozenset({STATEMENT_RECORDED, STATEMENT_VOIDED})

    def apply(self, events: Sequence[OpenedEvent], view: View, opener: Opener) -> None:
        """Work events into the view."""
        batch = _Batch(view, opener)
        for event in events:
            if event.topic == STATEMENT_VOIDED:
                batch.void(event)
            elif event.topic == STATEMENT_RECORDED:
                batch.record(event)
        batch.write()


class _Batch:
    """A batch on its way: facts that come and go, and the standings that they change."""

    def __init__(self, view: View, opener: Opener) -> None:
        self._view = view
        self._opener = opener
        self._new: dict[Key, tuple[Row, CourseFact]] = {}
        self._by_statement: dict[tuple[bytes, bytes], Key] = {}
        self._voided: dict[Key, None] = {}
        self._refold: set[Key] = set()

    def record(self, event: OpenedEvent) -> None:
        """Note the fact of a statement, if it has one."""
        if event.statement is None or event.learner is None or event.key is None:
            return
        fact = fact_of(event.statement, event.action, event.stored_us)
        if fact is None:
            return
        course = self._opener.blind("course", fact.course)
        registration = self._opener.blind("registration", fact.registration)
        key = (event.learner, course, registration, event.originator_id)
        self._new[key] = (Row(key, fact.content, event.key), fact)
        self._by_statement[event.learner, event.originator_id] = key
        if needs_refold(fact.content):
            self._refold.add(_standing_key(key))

    def void(self, event: OpenedEvent) -> None:
        """Take out the fact of a statement. It comes under the record key of the voided one: its learner."""
        key = self._by_statement.pop((event.record_key, event.originator_id), None)
        if key is not None:
            del self._new[key]
            found = [key]
        else:
            rows = self._view.find(FACT, learner=event.record_key, statement=event.originator_id)
            found = [row.key for row in rows]
            self._voided.update(dict.fromkeys(found))
        self._refold.update(_standing_key(one) for one in found)

    def write(self) -> None:
        """Write facts and standings."""
        self._view.put(FACT, [row for row, _ in self._new.values()])
        self._view.delete(FACT, self._voided)
        changed: dict[Key, list[tuple[Row, CourseFact]]] = {key: [] for key in self._refold}
        for key, one in self._new.items():
            changed.setdefault(_standing_key(key), []).append(one)
        known = self._view.get(STANDING, changed)
        written: list[Row] = []
        gone: list[Key] = []
        for key, facts in changed.items():
            row = self._standing(key, known.get(key), facts)
            if row is None:
                gone.append(key)
            else:
                written.append(row)
        self._view.put(STANDING, written)
        self._view.delete(STANDING, gone)

    def _standing(self, key: Key, known: Row | None, facts: list[tuple[Row, CourseFact]]) -> Row | None:
        """Give a standing with its new facts, or folded anew; None where nothing is left of it."""
        start, seal_with = (known.content, known.seal_with) if known is not None else (None, None)
        if start is None:
            if not facts:
                return None
            _, first = facts[0]
            start = new_standing(first.course, first.registration)
        if key in self._refold:
            course, learner, registration = key
            rows = self._view.find(FACT, learner=learner, course=course, registration=registration)
            folded = fold(start, ((row.key[3], row.content) for row in rows))
            return None if folded is None else Row(key, folded, max((row.seal_with for row in rows), key=_newest))
        for row, fact in facts:
            take(start, row.key[3], fact.content)
            seal_with = row.seal_with if seal_with is None else max(seal_with, row.seal_with, key=_newest)
        assert seal_with is not None
        return Row(key, start, seal_with)


def _standing_key(fact: Key) -> Key:
    learner, course, registration, _ = fact
    return course, learner, registration


def _newest(key: KeyRef) -> tuple[int, int]:
    return key.year, key.version


def units_of(standings: Sequence[Json]) -> tuple[str, ...]:
    """Give the units of a course: whatever anybody has touched, in the order in which a person would count them."""
    units = {unit for standing in standings for unit in standing["units"]}
    return tuple(sorted(units, key=_counted))


def _counted(text: str) -> list[tuple[int, int, str]]:
    """Order texts so that `9` comes before `10`."""
    pieces: list[tuple[int, int, str]] = []
    digits = ""
    for character in text + "\0":
        if character.isdecimal():
            digits += character
            continue
        if digits:
            pieces.append((0, int(digits), ""))
            digits = ""
        pieces.append((1, 0, character))
    return pieces
