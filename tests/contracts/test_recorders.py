"""What the log's recorder owes, on SQLite and on PostgreSQL: first to the library, then to this project."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from eventsourcing.tests import persistence as library
from hypothesis import given, settings
from hypothesis import strategies as st

from lrs.appending import CHAIN_STATEMENTS_MAX, Advanced, AdvanceRequest, AppendRequest, NewEvent
from lrs.changed import Changed
from lrs.document_writing import DocumentDelete, DocumentPut, DocumentRequest, DocumentsChanged
from lrs.log_reader import LogReader
from schemas.envelope import split_parts
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED
from schemas.person_states import PersonState

from .log_places import (
    STATE,
    LogPlace,
    Recorder,
    appended,
    assert_sound,
    changed,
    entries,
    event,
    found,
    lists_now_or_later,
    name,
    record,
    request,
    statement,
    write_events,
)

ALL_PURPOSES = 0
LEARNING = 1


# -------------------------------------------------------------------------------------------- what the library asks for


class _LibrarysOwn(library.ApplicationRecorderTestCase):
    """The tests that the library ships for recorders."""

    def create_recorder(self) -> Recorder:
        return self.open_place()


class TestSQLiteForTheLibrary(_LibrarysOwn):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.open_place = LogPlace("sqlite", str(tmp_path / "log.db")).recorder


class TestPostgresForTheLibrary(_LibrarysOwn):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_url: Callable[[], str]) -> Iterator[None]:
        opened = []

        def open_place() -> Recorder:
            opened.append(LogPlace("postgres", postgres_url()).recorder())
            return opened[-1]

        self.open_place = open_place
        yield
        for recorder in opened:
            recorder.datastore.close()  # type: ignore[attr-defined]


del _LibrarysOwn  # not to be collected by itself


# ------------------------------------------------------------------------------------------------- whole or handed back


def test_a_clean_request_goes_in_whole(recorder: Recorder, reader: LogReader) -> None:
    [outcome] = recorder.write([request(event(name("a")), event(name("b")), event(name("a"), 2))])
    done = appended(outcome)
    assert done.position == 1
    assert [(row[1], row[2], row[5]) for row in entries(reader)] == [
        (name("a"), 1, done.stored_us[0]),
        (name("b"), 1, done.stored_us[1]),
        (name("a"), 2, done.stored_us[2]),
    ]
    assert done.head_us == done.stored_us[-1]
    assert_sound(reader)


def test_what_is_read_is_what_was_appended(recorder: Recorder, reader: LogReader) -> None:
    written = statement("a", 1, people=["ann"], record_key=name("ann"))
    record(recorder, written)
    [(position, originator_id, version, topic, record_key, _, state)] = entries(reader)
    assert (position, originator_id, version) == (1, name("a"), 1)
    assert (topic, record_key, state) == (STATEMENT_RECORDED, name("ann"), STATE)


def test_a_request_with_a_known_stream_is_handed_back_whole(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, event(name("known")))
    [outcome] = recorder.write([request(event(name("new")), event(name("known")), event(name("newer")))])
    assert outcome == Changed((1,), ())
    assert [row[1] for row in entries(reader)] == [name("known")]
    assert_sound(reader)


def test_another_version_of_a_stream_is_not_known(recorder: Recorder) -> None:
    record(recorder, event(name("a"), 1))
    assert appended(recorder.write([request(event(name("a"), 2))])[0]).position == 2


def test_what_is_handed_back_leaves_its_group_alone(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, event(name("known")))
    outcomes = recorder.write(
        [request(event(name("a"))), request(event(name("known")), event(name("lost"))), request(event(name("b")))]
    )
    assert [type(one).__name__ for one in outcomes] == ["Appended", "Changed", "Appended"]
    assert [appended(outcomes[0]).position, appended(outcomes[2]).position] == [2, 3]
    assert [row[1] for row in entries(reader)] == [name("known"), name("a"), name("b")]
    assert_sound(reader)


def test_of_two_requests_for_one_stream_in_a_group_the_first_goes_in(recorder: Recorder, reader: LogReader) -> None:
    first, second = recorder.write([request(event(name("a"))), request(event(name("b")), event(name("a")))])
    assert appended(first).position == 1
    assert second == Changed((1,), ())
    assert len(entries(reader)) == 1


def test_a_request_that_names_a_stream_twice_is_handed_back_and_spoils_nothing(
    recorder: Recorder, reader: LogReader
) -> None:
    first, second, third = recorder.write(
        [request(event(name("a"))), request(event(name("b")), event(name("b"))), request(event(name("c")))]
    )
    assert [appended(first).position, appended(third).position] == [1, 2]
    assert changed(second).known == (1,)
    assert_sound(reader)


def test_many_streams_are_looked_up_at_once(recorder: Recorder) -> None:
    streams = [name(f"s{number}") for number in range(1200)]
    record(recorder, *[event(one) for one in streams[::2]])
    [outcome] = recorder.write([request(*[event(one) for one in streams])])
    assert changed(outcome).known == tuple(range(0, 1200, 2))


# ------------------------------------------------------------------------------------------------- positions and stored


def test_a_rolled_back_group_leaves_no_gap(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, event(name("a")))
    conflicting = [StoredEvent(UUID(bytes=name(one)), 1, "topic", b"state") for one in ("b", "a")]
    with pytest.raises(IntegrityError):
        recorder.insert_events(conflicting)
    without_state: Any = None  # which the database refuses
    broken = NewEvent(name("c"), 1, "topic", name("c"), without_state)
    with pytest.raises(PersistenceError):
        recorder.write([request(event(name("d"))), request(broken)])
    assert record(recorder, event(name("e"))) == [2]
    assert [row[1] for row in entries(reader)] == [name("a"), name("e")]
    assert_sound(reader)


def test_stored_never_goes_back_when_the_clock_does(place: LogPlace, recorder: Recorder, reader: LogReader) -> None:
    [first] = recorder.write([request(event(name("a")), event(name("b")))])
    ahead = appended(first).head_us + 3_600_000_000
    place.sql("UPDATE log_head SET stored_us = ?", ahead)  # as a process left it whose clock was an hour ahead
    [second] = recorder.write([request(event(name("c")), event(name("d")))])
    assert appended(second).stored_us == (ahead + 1, ahead + 2)
    assert recorder.write([AdvanceRequest()]) == [Advanced(ahead + 2)]
    assert_sound(reader)


def test_on_sqlite_stored_is_the_writers_clock(tmp_path: Path) -> None:
    place = LogPlace("sqlite", str(tmp_path / "log.db"))
    times = iter([1_000, 5_000, 4_000, 4_000, 9_000, 2_000])
    recorder = place.recorder(lambda: next(times))
    outcomes = [recorder.write([request(event(name(f"{number}")))])[0] for number in range(4)]
    assert [appended(one).stored_us for one in outcomes] == [(1_000,), (5_000,), (5_001,), (5_002,)]
    assert_sound(place.reader())


def test_every_event_of_a_large_request_has_its_own_stored(recorder: Recorder, reader: LogReader) -> None:
    [outcome] = recorder.write([request(*[event(name(f"{number}")) for number in range(1500)])])
    assert len(set(appended(outcome).stored_us)) == 1500
    assert_sound(reader)


def test_positions_are_gap_free_for_many_threads(recorder: Recorder, reader: LogReader) -> None:
    def write(writer: int) -> None:
        for number in range(8):
            mine = request(*[event(name(f"{writer}-{number}-{one}")) for one in range(3)])
            shared = request(event(name(f"shared-{number}")))
            recorder.write([mine, shared])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert len(entries(reader)) == 4 * 8 * 3 + 8
    assert_sound(reader)


def test_positions_are_gap_free_for_many_processes(empty_database: str) -> None:
    place = LogPlace("postgres", empty_database)
    recorder = place.recorder()
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as processes:
        writers = [processes.submit(write_events, place.place, 25, 4) for _ in range(3)]
        while not all(writer.done() for writer in writers):  # and one that fails again and again between them
            with pytest.raises(IntegrityError):
                recorder.insert_events([StoredEvent(UUID(int=1), 1, "topic", b"state")] * 2)
        told = [one for writer in writers for one in writer.result()]
    reader = place.reader()
    stored = {row[0]: row[5] for row in entries(reader)}
    assert len(stored) == 3 * 25 * 4
    for position, stored_us, head_us in told:
        assert stored_us == tuple(stored[position + step] for step in range(4))
        assert head_us == stored_us[-1]
    assert_sound(reader)
    reader.close()
    recorder.datastore.close()  # type: ignore[attr-defined]


def test_an_advance_moves_the_watermark_and_no_position(recorder: Recorder, reader: LogReader) -> None:
    [outcome] = recorder.write([request(event(name("a")))])
    [advanced] = recorder.write([AdvanceRequest()])
    assert isinstance(advanced, Advanced)
    assert reader.rows("head") == [(1, advanced.head_us)]
    assert advanced.head_us >= appended(outcome).head_us
    [later] = recorder.write([request(event(name("b")))])
    assert appended(later).stored_us[0] > advanced.head_us
    assert_sound(reader)


def test_outcomes_come_in_the_order_of_the_requests(recorder: Recorder) -> None:
    document = DocumentRequest((put("d"),))
    outcomes = recorder.write([AdvanceRequest(), document, request(event(name("a"))), document, AdvanceRequest()])
    assert [type(one).__name__ for one in outcomes] == [
        *("Advanced", "DocumentsChanged", "Appended", "Changed"),
        "Advanced",
    ]


def test_tables_that_are_there_are_left_as_they_are(place: LogPlace, recorder: Recorder, reader: LogReader) -> None:
    record(recorder, event(name("a")))
    incarnation = reader.rows("incarnation")
    again = place.recorder()
    assert record(again, event(name("b"))) == [2]
    assert reader.rows("incarnation") == incarnation
    again.datastore.close()  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------------------- people


def set_state(place: LogPlace, person: str, state: PersonState, purpose: int = ALL_PURPOSES) -> tuple[bytes, int, int]:
    place.sql("INSERT INTO person_state (pseudonym, purpose, state) VALUES (?, ?, ?)", name(person), purpose, state)
    return (name(person), purpose, int(state))


def test_everybody_named_is_kept_once_with_the_position(place: LogPlace, recorder: Recorder) -> None:
    record(recorder, statement("a", 1, people=["ann", "bea", "ann"]), statement("b", 1, people=["bea"]))
    record(recorder, event(name("c"), people=[name("cas")]))
    recorder.settle()
    rows = place.sql("SELECT pseudonym, position FROM event_people ORDER BY position, pseudonym")
    expected = [("ann", 1), ("bea", 1), ("bea", 2), ("cas", 3)]
    assert [(bytes(who), position) for who, position in rows] == [(name(who), position) for who, position in expected]


@pytest.mark.parametrize("state", PersonState)
def test_a_request_that_does_not_know_someones_state_is_handed_back_with_it(
    place: LogPlace, recorder: Recorder, reader: LogReader, state: PersonState
) -> None:
    row = set_state(place, "ann", state)
    outcomes = recorder.write([request(statement("a", people=["ann", "bea"])), request(statement("b", people=["bea"]))])
    assert outcomes[0] == Changed((), (row,))
    assert appended(outcomes[1]).position == 1
    assert [one[1] for one in entries(reader)] == [name("b")]


def test_a_request_that_knows_everyones_state_goes_in(place: LogPlace, recorder: Recorder) -> None:
    rows = [
        set_state(place, "bea", PersonState.WITHDRAWN, LEARNING),
        set_state(place, "ann", PersonState.RESTRICTED),
        set_state(place, "bea", PersonState.RESTRICTED, 2),
    ]
    set_state(place, "cas", PersonState.FENCED)
    asked = statement("a", people=["bea", "ann", "dee"])
    handed_back = changed(recorder.write([request(asked)])[0])
    assert handed_back.states == tuple(sorted(rows))
    assert appended(recorder.write([request(asked, seen=handed_back.states)])[0]).position == 1


def test_a_state_that_ended_meanwhile_is_a_change_too(place: LogPlace, recorder: Recorder) -> None:
    seen = (set_state(place, "ann", PersonState.RESTRICTED),)
    place.sql("DELETE FROM person_state")
    assert recorder.write([request(statement("a", people=["ann"]), seen=seen)]) == [Changed((), ())]


def test_states_of_many_people_are_found(place: LogPlace, recorder: Recorder) -> None:
    people = [f"p{number}" for number in range(700)]
    rows = [set_state(place, one, PersonState.RESTRICTED) for one in people[:3] + people[-3:]]
    assert changed(recorder.write([request(statement("a", people=people))])[0]).states == tuple(sorted(rows))


# -------------------------------------------------------------------------------------------------------- StatementRefs


@lists_now_or_later
def test_a_statement_is_found_by_each_of_its_terms_and_by_all_together(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("a", 1, 2), statement("b", 2, 3), statement("c", 4))
    assert found(reader, 1) == [1]
    assert found(reader, 2) == [1, 2]
    assert found(reader, 1, 2) == [1]
    assert found(reader, 1, 3) == []
    assert found(reader, 4) == [3]
    assert found(reader) == [1, 2, 3]
    assert found(reader, 2, ascending=False) == [2, 1]
    assert found(reader, 2, limit=1) == [1]


@lists_now_or_later
def test_a_reference_is_found_by_the_terms_of_its_target(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("target", 1), statement("reference", 2, refers_to="target"))
    assert found(reader, 1) == [1, 2]
    assert found(reader, 2) == [2]


@lists_now_or_later
def test_a_filter_is_met_by_one_statement_as_a_whole(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("target", 1, 2), statement("reference", 3, refers_to="target"))
    assert found(reader, 1, 2) == [1, 2]
    assert found(reader, 1, 3) == []


@lists_now_or_later
def test_a_target_that_comes_late_completes_all_that_lead_to_it(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("third", 3, refers_to="second"))
    record(recorder, statement("second", 2, refers_to="first"))
    assert found(reader, 1) == []
    record(recorder, statement("first", 1))
    assert found(reader, 1) == [1, 2, 3]
    assert found(reader, 2) == [1, 2]


@lists_now_or_later
def test_the_middle_of_a_chain_may_come_last(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("first", 1), statement("third", 3, refers_to="second"))
    record(recorder, statement("second", 2, refers_to="first"))
    assert found(reader, 1) == [1, 2, 3]


@lists_now_or_later
@pytest.mark.parametrize("order", [("target", "reference"), ("reference", "target")])
def test_references_within_one_batch_hold_in_either_order(
    recorder: Recorder, reader: LogReader, order: tuple[str, str]
) -> None:
    batch = {"target": statement("target", 1), "reference": statement("reference", 2, refers_to="target")}
    appended(recorder.write([request(*[batch[one] for one in order])])[0])
    assert found(reader, 1) == [1, 2]
    assert found(reader, 2) == [order.index("reference") + 1]


@lists_now_or_later
def test_references_in_a_circle_are_found_by_each_others_terms(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("a", 1, refers_to="b"))
    record(recorder, statement("b", 2, refers_to="c"))
    record(recorder, statement("c", 3, refers_to="a"), statement("self", 4, refers_to="self"))
    for term in (1, 2, 3):
        assert found(reader, term) == [1, 2, 3]
    assert found(reader, 4) == [4]


def test_a_chain_is_followed_up_to_its_bound(recorder: Recorder, reader: LogReader) -> None:
    length = CHAIN_STATEMENTS_MAX + 3
    record(recorder, statement("0", 1))
    record(recorder, *[statement(f"{at}", refers_to=f"{at - 1}") for at in range(1, length)])
    assert found(reader, 1) == list(range(1, CHAIN_STATEMENTS_MAX + 2))


GRAPHS = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        st.lists(st.none() | st.integers(0, size - 1), min_size=size, max_size=size),  # whom each refers to
        st.permutations(range(size)),  # the order in which they come
        st.lists(st.sampled_from(["same group", "new group", "lists first"]), min_size=size, max_size=size),
    )
)


def test_what_references_pass_on_does_not_depend_on_order_grouping_or_lists(
    recorder: Recorder, reader: LogReader
) -> None:
    examples = itertools.count()

    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(GRAPHS)
    def holds(graph: tuple[list[int | None], list[int], list[str]]) -> None:
        targets, order, steps = graph
        before = reader.rows("head")[0][0]
        example = next(examples) * 10  # so that the examples in this log know nothing of each other
        groups: list[list[AppendRequest]] = [[]]
        lists_first: set[int] = set()
        for number, step in zip(order, steps, strict=True):
            target = targets[number]
            refers_to = None if target is None else f"{example + target}"
            if step != "same group":
                groups.append([])
            if step == "lists first":
                lists_first.add(len(groups) - 1)
            groups[-1].append(request(statement(f"{example + number}", example + number, refers_to=refers_to)))
        for at, group in enumerate(groups):
            if at in lists_first:
                recorder.settle()
            for outcome in recorder.write(group):
                appended(outcome)
        for number in range(len(targets)):
            expected = [before + at for at, one in enumerate(order, 1) if number in led_to(one, targets)]
            assert found(reader, example + number) == expected

    holds()


def led_to(number: int, targets: list[int | None]) -> set[int]:
    """A statement and all that its reference leads to."""
    reached: set[int] = set()
    at: int | None = number
    while at is not None and at not in reached:
        reached.add(at)
        at = targets[at]
    return reached


# -------------------------------------------------------------------------------------------------------------- voiding


def voided(reader: LogReader) -> list[bytes]:
    """The streams that end in a voiding."""
    return [row[1] for row in entries(reader) if row[3] == STATEMENT_VOIDED]


@lists_now_or_later
def test_a_voided_statement_is_no_longer_found_and_its_event_lies_under_its_own_key(
    recorder: Recorder, reader: LogReader
) -> None:
    record(recorder, statement("target", 1, record_key=name("its key")))
    record(recorder, statement("voiding", 2, voids="target", record_key=name("another")))
    assert found(reader) == [2]
    assert found(reader, 1) == [2]
    position, originator_id, version, topic, record_key, _, _ = entries(reader)[-1]
    assert (position, originator_id, version) == (3, name("target"), 2)
    assert (topic, record_key) == (STATEMENT_VOIDED, name("its key"))
    assert [bool(row[4]) for row in reader.rows("statements_by_id", among=[name("target")])] == [True]
    assert_sound(reader)


@lists_now_or_later
def test_a_voiding_that_comes_first_waits_for_its_target(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("voiding", 2, voids="target"))
    assert voided(reader) == []
    record(recorder, statement("target", 1))
    assert voided(reader) == [name("target")]
    assert found(reader) == [1]


@lists_now_or_later
@pytest.mark.parametrize("order", [("target", "voiding"), ("voiding", "target")])
def test_voiding_within_one_batch_holds_in_either_order(
    recorder: Recorder, reader: LogReader, order: tuple[str, str]
) -> None:
    batch = {"target": statement("target", 1), "voiding": statement("voiding", 2, voids="target")}
    [outcome] = recorder.write([request(*[batch[one] for one in order])])
    assert voided(reader) == [name("target")]
    assert found(reader) == [order.index("voiding") + 1]
    assert len(appended(outcome).stored_us) == 2
    assert_sound(reader)


def test_a_statement_is_voided_once_however_often_it_is_asked(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("first", voids="target"), statement("second", voids="target"))
    record(recorder, statement("target", 1), statement("third", voids="target"))
    record(recorder, statement("fourth", voids="target"))
    assert voided(reader) == [name("target")]
    assert_sound(reader)


def test_a_voiding_is_not_voided(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("target", 1), statement("voiding", voids="target"))
    record(recorder, statement("void the voiding", voids="voiding"), statement("itself", voids="itself"))
    record(recorder, statement("early", voids="late voiding"), statement("late voiding", voids="target"))
    assert voided(reader) == [name("target")]


@lists_now_or_later
def test_what_refers_to_a_voided_statement_is_still_found(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("target", 1), statement("reference", 2, refers_to="target"))
    record(recorder, statement("voiding", 3, voids="target"))
    assert found(reader, 1) == [2, 3]


def test_every_event_is_a_record_that_can_be_read(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, statement("target", 1), statement("voiding", 2, voids="target"))
    for row in entries(reader):
        assert list(split_parts(row[6])), row[3]


# ------------------------------------------------------------------------------------------------------------ documents


def put(document: str, revision: int = 0, sealed: bytes = b"sealed") -> DocumentPut:
    return DocumentPut(name(document), name("scope"), None, name("ann"), revision, sealed)


def revision(reader: LogReader, document: str) -> int | None:
    rows = reader.rows("document", name(document))
    return rows[0][1] if rows else None


def test_a_document_has_a_new_revision_each_time_it_is_put(recorder: Recorder, reader: LogReader) -> None:
    revisions = [0]
    for number in range(3):
        [outcome] = recorder.write([DocumentRequest((put("d", revisions[-1], b"%d" % number),))])
        revisions.append(revision(reader, "d") or 0)
        assert isinstance(outcome, DocumentsChanged)
        [(owner, _, updated_us, sealed)] = reader.rows("document", name("d"))
        assert (owner, updated_us, sealed) == (name("ann"), outcome.updated_us, b"%d" % number)
    assert sorted(set(revisions)) == revisions


@pytest.mark.parametrize("looked_at", ["none", "the one before", "one to come"])
def test_a_put_that_looked_at_another_revision_is_handed_back(
    recorder: Recorder, reader: LogReader, looked_at: str
) -> None:
    recorder.write([DocumentRequest((put("d"),))])
    before = revision(reader, "d") or 0
    recorder.write([DocumentRequest((put("d", before),))])
    now = revision(reader, "d") or 0
    expected = {"none": 0, "the one before": before, "one to come": now + 1}[looked_at]
    assert recorder.write([DocumentRequest((put("other"), put("d", expected)))]) == [Changed((1,), ())]
    assert (revision(reader, "d"), revision(reader, "other")) == (now, None)


def test_a_put_over_a_document_that_is_gone_is_handed_back(recorder: Recorder) -> None:
    assert recorder.write([DocumentRequest((put("d", 1),))]) == [Changed((0,), ())]


def test_documents_are_deleted_together_or_not_at_all(recorder: Recorder, reader: LogReader) -> None:
    recorder.write([DocumentRequest((put("a"), put("b")))])
    a, b = revision(reader, "a") or 0, revision(reader, "b") or 0
    stale = DocumentRequest(deletes=(DocumentDelete(name("a"), a), DocumentDelete(name("b"), b + 1)))
    assert recorder.write([stale]) == [Changed((1,), ())]
    assert revision(reader, "a") == a
    fitting = DocumentRequest(deletes=(DocumentDelete(name("a"), a), DocumentDelete(name("b"), b)))
    assert isinstance(recorder.write([fitting])[0], DocumentsChanged)
    assert (revision(reader, "a"), revision(reader, "b")) == (None, None)


def test_of_two_puts_in_a_group_the_second_is_handed_back(recorder: Recorder) -> None:
    first, second = recorder.write([DocumentRequest((put("d"),)), DocumentRequest((put("d"),))])
    assert isinstance(first, DocumentsChanged)
    assert second == Changed((0,), ())


def test_a_document_made_again_is_not_the_one_that_was_looked_at(recorder: Recorder, reader: LogReader) -> None:
    recorder.write([DocumentRequest((put("d"),))])
    looked_at = revision(reader, "d")
    assert looked_at is not None
    recorder.write([DocumentRequest(deletes=(DocumentDelete(name("d"), looked_at),))])
    recorder.write([DocumentRequest((put("d"),))])
    assert recorder.write([DocumentRequest((put("d", looked_at),))]) == [Changed((0,), ())]


def test_a_document_of_someone_whose_state_changed_is_handed_back(
    place: LogPlace, recorder: Recorder, reader: LogReader
) -> None:
    row = set_state(place, "ann", PersonState.FENCED)
    [outcome] = recorder.write([DocumentRequest((put("d"),), person=name("ann"))])
    assert outcome == Changed((), (row,))
    assert revision(reader, "d") is None
    known = DocumentRequest((put("d"),), person=name("ann"), seen=(row,))
    nobodys = DocumentRequest((put("e"),))
    assert all(isinstance(one, DocumentsChanged) for one in recorder.write([known, nobodys]))


def test_documents_are_listed_by_scope_and_time(recorder: Recorder, reader: LogReader) -> None:
    here = DocumentPut(name("a"), name("here"), name("wide"), name("ann"), 0, b"a")
    there = DocumentPut(name("b"), name("there"), name("wide"), name("ann"), 0, b"b")
    first = recorder.write([DocumentRequest((here,))])[0]
    recorder.write([DocumentRequest((there,))])
    assert isinstance(first, DocumentsChanged)
    assert [row[0] for row in reader.rows("documents_in_scope", name("here"), 0)] == [name("a")]
    assert [row[0] for row in reader.rows("documents_in_wide_scope", name("wide"), 0)] == [name("a"), name("b")]
    assert reader.rows("documents_in_scope", name("here"), first.updated_us) == []


# ---------------------------------------------------------------------------------------------------------- attachments


def test_a_blob_is_known_once_a_statement_holds_it(recorder: Recorder, reader: LogReader) -> None:
    record(recorder, event(name("a"), blobs=(name("one"), name("two"))), event(name("b"), blobs=(name("one"),)))
    asked = [name("one"), name("two"), name("three")]
    assert {row[0] for row in reader.rows("blobs_known", among=asked)} == {name("one"), name("two")}
