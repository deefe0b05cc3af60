"""The view `progress`: rows do not depend on the order of events, on batches, or on when something was voided."""

from __future__ import annotations

import dataclasses
import json
import random
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.projector import Projector
from lrs.demo.term import Term, TermSettings
from projections.course_rules import learner_standing
from projections.progress import FACT, STANDING, Progress, counted, standing_of, units_of
from projections.progress import NAME as PROGRESS
from projections.projection import Key, OpenedEvent
from projections.readings import READINGS, read
from projections.sqlite_views import SQLiteViews
from projections.view_store import Place
from schemas.actions import VOIDED, action_of
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED
from schemas.people import identifier_of
from tests.view_tools import OpenOpener, key_of, rows_of, sixteen

Tables = dict[str, dict[Key, Any]]
PROGRESS_VIEW = Progress()


@cache
def term() -> tuple[tuple[OpenedEvent, ...], dict[str, Any]]:
    """A small term as its log has it: each statement once, and what was voided, behind it."""
    play = Term(TermSettings(seed=24, learners=10, courses=3, weeks=4))
    events: list[OpenedEvent] = []
    sent: dict[str, OpenedEvent] = {}
    for _, body in play.play():
        statement = json.loads(body)
        if statement["id"] in sent:
            continue
        identifier = identifier_of(statement["actor"]) or ""
        learner = None if "member" in statement["actor"] else sixteen(identifier)
        event = OpenedEvent(
            len(events) + 1,
            sixteen(statement["id"]),
            STATEMENT_RECORDED,
            1_000_000 + len(events),
            sixteen(identifier),
            learner,
            statement,
            action_of(statement),
            key_of(sixteen(identifier)),
        )
        sent[statement["id"]] = event
        events.append(event)
        if statement["verb"]["id"] == VOIDED:
            target = sent[statement["object"]["id"]]
            events.append(
                OpenedEvent(
                    len(events) + 1,
                    target.originator_id,
                    STATEMENT_VOIDED,
                    1_000_000 + len(events),
                    target.record_key,
                )
            )
    return tuple(events), play.truth()


def computed(events: Sequence[OpenedEvent], sizes: Sequence[int] = (500,)) -> Tables:
    """The view of events in this order, in batches of these sizes over and over."""
    opener = OpenOpener()
    numbered = [dataclasses.replace(event, position=position) for position, event in enumerate(events, 1)]
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteViews(Path(folder) / "views.db", opener)
        projector = Projector(PROGRESS_VIEW, store.target(PROGRESS_VIEW), store, opener)
        places, at, turn = {0: Place()}, 0, 0
        while at < len(numbered):
            size = sizes[turn % len(sizes)]
            places = projector.work(places, numbered[at : at + size])
            at, turn = at + size, turn + 1
        assert store.dead_letters() == []
        rows = rows_of(store, PROGRESS, PROGRESS_VIEW.tables)
        rows |= {name: read_rows(store, name) for name in READINGS}
        assert_counts_are_of(rows, store, opener)
        store.close()
    return rows


def read_rows(store: SQLiteViews, name: str) -> dict[Key, Any]:
    with store.reading(PROGRESS) as found:
        assert found is not None
        return {(bytes.fromhex(key["course"]), bytes.fromhex(key["learner"])): row for key, row in read(found[0], name)}


def assert_counts_are_of(rows: Tables, store: SQLiteViews, opener: OpenOpener) -> None:
    """Fail where what is counted without opening rows is not what the opened rows say."""
    courses: dict[str, list[Any]] = {}
    for row in rows[STANDING.name].values():
        courses.setdefault(row["course"], []).append(row)
    with store.reading(PROGRESS) as read:
        assert read is not None
        for course, mine in courses.items():
            units = units_of(mine)
            standings = [learner_standing(b"", standing_of(row), units) for row in mine]
            enrolled = [one for one in standings if one.enrolled]
            opened = len(enrolled), sum(one.completed_at is not None for one in enrolled)
            assert counted(read[0].counts(STANDING, opener.blind("course", course)), course, opener) == opened


@cache
def in_order() -> Tables:
    return computed(term()[0])


@settings(max_examples=6, deadline=None)
@given(
    chance=st.randoms(use_true_random=False),
    sizes=st.lists(st.sampled_from((1, 2, 7, 60, 400)), min_size=1, max_size=4),
)
def test_rows_are_the_same_in_any_order_and_in_any_batches(chance: random.Random, sizes: list[int]) -> None:
    events = list(term()[0])
    chance.shuffle(events)
    where = {event.originator_id: at for at, event in enumerate(events) if event.topic == STATEMENT_RECORDED}
    for at, event in enumerate(events):
        # A voiding of what is not there cannot be: its event is written with or after its target.
        if event.topic == STATEMENT_VOIDED and (target := where[event.originator_id]) > at:
            events[at], events[target] = events[target], events[at]
    assert computed(events, sizes if sum(sizes) > 20 else [*sizes, 400]) == in_order()


@settings(max_examples=5, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_what_is_voided_leaves_no_trace_whatever_it_was_and_whenever(chance: random.Random) -> None:
    said = [event for event in term()[0] if event.topic == STATEMENT_RECORDED]
    events = list(said)
    voided = chance.sample(said, 40)
    for event in voided:
        at = chance.randrange(events.index(event) + 1, len(events) + 1)
        events.insert(at, dataclasses.replace(event, topic=STATEMENT_VOIDED, learner=None, statement=None, key=None))
    gone = {event.originator_id for event in voided}
    expected = computed([event for event in said if event.originator_id not in gone])
    assert computed(events, (chance.choice((3, 50, 500)),)) == expected


def test_rows_say_what_the_term_was() -> None:
    truth = term()[1]
    standings = in_order()[STANDING.name]
    opener = OpenOpener()
    for course, told in truth["courses"].items():
        rows = {key: content for key, content in standings.items() if key[0] == opener.blind("course", course)}
        assert units_of(rows.values()) == tuple(told["modules"])
        shown = [learner_standing(key[1], standing_of(row), tuple(told["modules"])) for key, row in rows.items()]
        mine = {one.registration: one for one in shown}
        for learner in told["learners"]:
            standing = mine[learner["registration"]]
            for name in ("enrolled", "enrolled_at", "unenrolled_at", "progress", "completed_at", "outcome", "score"):
                assert getattr(standing, name) == learner[name], (course, name)
        assert {one.registration for one in mine.values() if one.enrolled_at} == {
            one["registration"] for one in told["learners"]
        }


def test_an_event_without_its_statement_changes_nothing() -> None:
    said = [event for event in term()[0] if event.topic == STATEMENT_RECORDED]
    erased = {event.record_key for event in said[:10]}
    events = [
        dataclasses.replace(one, statement=None, action="", key=None) if one.record_key in erased else one
        for one in said
    ]
    left = [one for one in said if one.record_key not in erased]
    assert 0 < len(left) < len(said)
    assert computed(events) == computed(left)


def test_units_are_in_the_order_in_which_a_person_would_count() -> None:
    rows = [
        {"registrations": {"": {"units": {"c/10": {}, "c/9": {}}}, "r": {"units": {"c/9": {}}}}},
        {"registrations": {"": {"units": {"c/1": {}, "c/9": {}}}}},
    ]
    assert units_of(rows) == ("c/1", "c/9", "c/10")


def test_enrolments_and_completions_say_what_the_term_was() -> None:
    truth = term()[1]
    course_key = OpenOpener().blind
    rows = in_order()
    for course, told in truth["courses"].items():
        enrolments, completions = (
            {row["registration"]: row for key, row in rows[name].items() if key[0] == course_key("course", course)}
            for name in ("enrolments", "completions")
        )
        learners = {one["registration"]: one for one in told["learners"]}
        assert set(enrolments) == set(learners)
        for registration, row in enrolments.items():
            for name in ("enrolled", "enrolled_at", "unenrolled_at"):
                assert row[name] == learners[registration][name], (course, name)
        done = {name: one for name, one in learners.items() if one["completed_at"]}
        assert set(completions) == set(done)
        for registration, row in completions.items():
            for name in ("completed_at", "outcome", "score"):
                assert row[name] == done[registration][name], (course, name)


def test_each_statement_of_a_course_is_one_fact() -> None:
    facts = in_order()[FACT.name]
    assert len({key[3] for key in facts}) == len(facts) > 500
