"""The view `progress`: where each learner stands in each course; enrolments and completions are read from it too.

Two tables. `fact` holds what each statement says about a course, so that what is voided can be taken out again: then
the standing is folded anew from the facts that are left; otherwise a new fact is taken into the standing that is there.
Both come to the same, in any order and in any batches (projections/course_rules.py). `standing` has one row for each
learner in a course, with what the facts under each registration come to. Rows are of one learner alone, so learners'
events may interleave as they like. They are counted by what they mean for the course (who is enrolled, who has
completed it, which units it has), so that the list of courses opens none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from projections.course_rules import (
    CourseFact,
    Json,
    fact_of,
    is_enrolled,
    merge,
    met_at,
    needs_refold,
    new_standing,
    take,
)
from projections.projection import LABEL_BYTES, Key, KeyRef, OpenedEvent, Opener, Row, Table, View
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED

NAME = "progress"
FACT = Table("fact", ("learner", "course", "registration", "statement"))
STANDING = Table("standing", ("course", "learner"), indexes=(("learner",),), counted=True)
_STAGE, _UNIT = b"\0", b"\1"
"""The first byte of a label: who is enrolled and how far, and which units somebody has touched."""
_COMPLETED, _UNDER_WAY = "completed", "under way"


class Progress:
    """The projection."""

    name = NAME
    version = 2
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
        """Give a row with its new facts, or folded anew; None where nothing is left of it."""
        content, keys = (known.content, [known.seal_with]) if known is not None else (None, [])
        if key in self._refold:
            facts = self._all_facts(key, content, facts)
            content, keys = None, []
        for row, fact in facts:
            if content is None:
                content = {"course": fact.course, "registrations": {}}
            mine = content["registrations"].setdefault(fact.registration, new_standing(fact.course, fact.registration))
            take(mine, row.key[3], fact.content)
            keys.append(row.seal_with)
        if content is None:
            return None
        return Row(key, content, max(keys, key=_newest), labels=_labels(content, self._opener))

    def _all_facts(
        self, key: Key, known: Json | None, new: list[tuple[Row, CourseFact]]
    ) -> list[tuple[Row, CourseFact]]:
        """Give every fact of a row, in the order in which they are folded."""
        course = known["course"] if known is not None else new[0][1].course if new else None
        if course is None:
            return []
        texts = [fact.registration for _, fact in new]
        if known is not None:
            texts += known["registrations"]
        named = {self._opener.blind("registration", text): text for text in texts}
        rows = [row for row in self._view.find(FACT, course=key[0], learner=key[1]) if row.key[2] in named]
        rows.sort(key=lambda row: needs_refold(row.content), reverse=True)
        return [(row, CourseFact(course, named[row.key[2]], row.content)) for row in rows]


def _standing_key(fact: Key) -> Key:
    learner, course, _, _ = fact
    return course, learner


def _newest(key: KeyRef) -> tuple[int, int]:
    return key.year, key.version


def _labels(row: Json, opener: Opener) -> frozenset[bytes]:
    """Give how far someone who is enrolled is, and the units that a learner has touched, enrolled or not."""
    course = row["course"]
    labels = {_label(opener, _UNIT, course, unit) for unit in _touched(row)}
    merged = standing_of(row)
    if is_enrolled(merged):
        labels.add(_label(opener, _STAGE, course, _stage(merged)))
    return frozenset(labels)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def standing_of(row: Json) -> Json:
    """Give the one standing that a learner's row comes to."""
    return merge(row["registrations"].values())


def units_of(rows: Iterable[Json]) -> tuple[str, ...]:
    """Give the units of a course: whatever anybody has touched, in the order in which a person would count them."""
    return tuple(sorted({unit for row in rows for unit in _touched(row)}, key=_counted))


def counted(labels: Mapping[bytes, int], course: str, opener: Opener) -> tuple[int, int]:
    """Give how many are enrolled in a course and how many of them have completed it, from its labels.

    A cmi5 course is completed by whoever met moveOn in every unit that anybody has touched.
    """
    units = sum(label[:1] == _UNIT for label in labels)
    enrolled = sum(rows for label, rows in labels.items() if label[:1] == _STAGE)
    done = [_COMPLETED, *([_met(units)] if units else [])]
    return enrolled, sum(labels.get(_label(opener, _STAGE, course, one), 0) for one in done)


def _stage(standing: Json) -> str:
    if standing["cmi5"]:
        return _met(sum(met_at(unit) is not None for unit in standing["units"].values()))
    return _COMPLETED if "completed" in standing else _UNDER_WAY


def _met(units: int) -> str:
    return f"met {units}"


def _label(opener: Opener, kind: bytes, course: str, text: str) -> bytes:
    return kind + opener.blind("label", course, text)[: LABEL_BYTES - 1]


def _touched(row: Json) -> set[str]:
    return {unit for standing in row["registrations"].values() for unit in standing["units"]}


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
