"""The contract of ViewStore, over SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from consumers.dead_letters import letter_of
from consumers.projector import Projector
from lrs.event_log import Event
from projections.postgres_views import PostgresViews
from projections.projection import Row
from projections.sqlite_views import SQLiteViews
from projections.view_store import (
    BUILDING,
    NO_PART,
    PAGE_ROWS_MAX,
    SERVING,
    Behind,
    Generation,
    Overtaken,
    Place,
    StoreBusy,
    ViewStore,
    place_of,
)
from tests.view_tools import (
    COUNT,
    FEW,
    MANY,
    TALLY,
    Counting,
    OpenOpener,
    counts,
    did,
    key_of,
    rows_of,
    sixteen,
)

ANN, BEA = sixteen("Ann"), sixteen("Bea")


@pytest.fixture
def opener() -> OpenOpener:
    return OpenOpener()


@pytest.fixture(params=["sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path, opener: OpenOpener) -> Iterator[Callable[[], ViewStore]]:
    """Opens one installation's views, as often as asked, on each database."""
    made: list[ViewStore] = []
    if request.param == "postgres":
        url: str = request.getfixturevalue("empty_database")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS views CASCADE")

    def make() -> ViewStore:
        store = SQLiteViews(tmp_path / "views.db", opener) if request.param == "sqlite" else PostgresViews(url, opener)
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[[], ViewStore]) -> ViewStore:
    return make_store()


def apply(store: ViewStore, generation: Generation, events: list[Event], opener: OpenOpener, part: int = 0) -> None:
    places = {part: store.places(generation).get(part, Place())}
    Projector(Counting(generation.version), generation, store, opener).work(places, events)


def test_the_first_generation_serves_at_once(store: ViewStore) -> None:
    assert store.generations() == []
    assert store.target(Counting()) == Generation("counting", 1, 1, SERVING)
    assert store.target(Counting()) == Generation("counting", 1, 1, SERVING)
    assert store.places(store.target(Counting())) == {}


def test_rows_and_position_go_in_together(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(3, "Ann", "a"), did(5, "Ann", "a"), did(6, "Bea", "a")], opener)
    assert counts(store) == {(ANN, "a"): 2, (BEA, "a"): 1}
    assert store.places(generation) == {0: Place(6, 6, 1_000_006)}


def test_after_an_error_neither_is_there(store: ViewStore) -> None:
    generation = store.target(Counting())

    def fail_halfway() -> None:
        with store.transaction(generation, {0: 0}) as transaction:
            transaction.view.put(COUNT, [Row((ANN, BEA), {"thing": "a", "count": 1}, key_of(ANN), (BEA,))])
            transaction.advance({0: Place(4, 4, 4)})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert counts(store) == {}
    assert store.places(generation).get(0, Place()) == Place()


def test_whoever_was_overtaken_writes_nothing(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(1, "Ann", "a")], opener)
    with pytest.raises(Overtaken), store.transaction(generation, {0: 0}):
        pytest.fail("the view is at 1")
    assert counts(store) == {(ANN, "a"): 1}


def test_of_two_consumers_at_once_one_applies_and_the_other_is_overtaken(
    make_store: Callable[[], ViewStore], opener: OpenOpener, request: pytest.FixtureRequest
) -> None:
    first = make_store()
    second = first if isinstance(first, SQLiteViews) else make_store()
    generation = first.target(Counting())
    outcomes: list[str] = []
    began = threading.Event()

    def compete() -> None:
        began.set()
        try:
            apply_at_zero(second)
            outcomes.append("applied")
        except Overtaken:
            outcomes.append("overtaken")

    def apply_at_zero(store: ViewStore) -> None:
        Projector(Counting(), generation, store, opener).work({0: Place()}, [did(1, "Ann", "a")])

    with first.transaction(generation, {0: 0}) as transaction:
        other = threading.Thread(target=compete)
        other.start()
        assert began.wait(10)
        Counting().apply(opener.events([did(1, "Ann", "a")]), transaction.view, opener)
        transaction.advance({0: Place(1, 1, 1)})
    other.join(20)
    assert outcomes == ["overtaken"]
    assert counts(first) == {(ANN, "a"): 1}


def test_partitions_have_places_of_their_own(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(7, "Ann", "a")], opener, part=0)
    apply(store, generation, [did(3, "Bea", "a")], opener, part=1)
    assert {part: place.position for part, place in store.places(generation).items()} == {0: 7, 1: 3}


def test_rows_are_found_by_columns_and_read_in_the_order_of_their_keys(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    many = [did(at, f"learner {at % 700}", "a" if at % 2 else "b") for at in range(1, PAGE_ROWS_MAX * 2 + 2)]
    apply(store, generation, many, opener)
    with store.reading("counting") as read:
        assert read is not None
        view, places = read
        keys = [row.key for page in view.pages(COUNT) for row in page]
        found = view.find(COUNT, thing=opener.blind("thing", "a"))
        last = many[-1]
        [by_column] = view.find(COUNT, last=last.originator_id)
        learners = view.distinct(COUNT, "learner")
    assert keys == sorted(set(keys))
    assert len(keys) == 700
    assert {row.content["thing"] for row in found} == {"a"}
    assert [row.key for row in found] == sorted(row.key for row in found)
    assert by_column.key[0] == last.record_key
    assert by_column.columns == (last.originator_id,)
    assert by_column.seal_with == key_of(by_column.key[0])
    assert learners == sorted({key[0] for key in keys})
    assert places[0].position == len(many)


def test_a_row_is_replaced_and_deleted(store: ViewStore) -> None:
    generation = store.target(Counting())
    key = (ANN, BEA)
    for at, count in enumerate((1, 2)):
        with store.transaction(generation, {0: at}) as transaction:
            transaction.view.put(COUNT, [Row(key, {"thing": "a", "count": count}, key_of(ANN), (None,))])
            transaction.advance({0: Place(at + 1, 0, 0)})
    assert rows_of(store, "counting", [COUNT])["count"][key]["count"] == 2
    with store.transaction(generation, {0: 2}) as transaction:
        transaction.view.delete(COUNT, [key, (BEA, ANN)])
        assert transaction.view.get(COUNT, [key]) == {}
    assert rows_of(store, "counting", [COUNT])["count"] == {}


def test_a_row_whose_key_is_destroyed_is_not_there_and_does_not_come_back(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener)
    opener.destroy(ANN)
    assert counts(store) == {(BEA, "a"): 1}
    with store.transaction(generation, {0: 2}) as transaction:
        transaction.view.put(COUNT, [Row((ANN, BEA), {"thing": "a", "count": 1}, key_of(ANN), (BEA,))])
    assert counts(store) == {(BEA, "a"): 1}


def test_a_generation_is_built_beside_the_one_that_serves_and_takes_its_place(
    store: ViewStore, opener: OpenOpener
) -> None:
    old = store.target(Counting())
    apply(store, old, [did(1, "Ann", "a")], opener)
    new = store.begin(Counting())
    assert new == Generation("counting", 2, 1, BUILDING)
    assert counts(store) == {(ANN, "a"): 1}, "the old one serves"
    assert store.target(Counting()) == old, "and is moved on"
    with pytest.raises(Behind):
        store.switch(new)
    apply(store, new, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener)
    store.switch(new)
    assert store.generations() == [new._replace(state=SERVING)]
    assert counts(store) == {(ANN, "a"): 1, (BEA, "a"): 1}
    with pytest.raises(Overtaken):
        apply(store, old, [did(2, "Ann", "a")], opener)


def test_another_version_is_built_beside_and_moved_on(store: ViewStore, opener: OpenOpener) -> None:
    apply(store, store.target(Counting()), [did(1, "Ann", "a")], opener)
    new = store.target(Counting(version=2))
    assert (new.number, new.state) == (2, BUILDING)
    assert store.target(Counting(version=2)) == new
    apply(store, new, [did(1, "Ann", "a")], opener)
    store.switch(new)
    assert store.target(Counting(version=2)).state == SERVING


def test_a_second_rebuild_gives_up_the_first(store: ViewStore, opener: OpenOpener) -> None:
    store.target(Counting())
    first = store.begin(Counting())
    second = store.begin(Counting())
    with pytest.raises(Overtaken):
        apply(store, first, [did(1, "Ann", "a")], opener)
    with pytest.raises(Overtaken):
        store.switch(first)
    store.switch(second)
    assert [one.number for one in store.generations("counting")] == [second.number]


def test_whoever_is_forgotten_leaves_every_generation_and_does_not_come_back(
    store: ViewStore, opener: OpenOpener
) -> None:
    old = store.target(Counting())
    apply(store, old, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener)
    new = store.begin(Counting())
    apply(store, new, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener)
    store.forget(ANN)
    apply(store, old, [did(3, "Ann", "b"), did(4, "Bea", "b")], opener)
    assert counts(store) == {(BEA, "a"): 1, (BEA, "b"): 1}
    apply(store, new, [did(3, "Ann", "b"), did(4, "Bea", "b")], opener)
    store.switch(new)
    assert counts(store) == {(BEA, "a"): 1, (BEA, "b"): 1}


def tally(store: ViewStore, opener: OpenOpener, thing: str) -> dict[bytes, int]:
    with store.reading("counting") as read:
        assert read is not None
        return read[0].counts(TALLY, opener.blind("thing", thing))


def test_rows_are_counted_by_their_labels_and_nothing_is_opened(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(1, "Ann", "a"), did(2, "Ann", "a"), did(3, "Ann", "b")], opener)
    apply(store, generation, [did(2, "Bea", "a")], opener, part=1)
    assert tally(store, opener, "a") == {FEW: 2}
    apply(store, generation, [did(4, "Ann", "a")], opener)
    opener.open_rows = lambda _: pytest.fail("a row was opened")  # type: ignore[method-assign,assignment,return-value]
    assert tally(store, opener, "a") == {FEW: 1, MANY: 1}
    assert tally(store, opener, "b") == {FEW: 1}
    assert tally(store, opener, "c") == {}


def test_a_deleted_row_is_not_counted(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener)
    key = (opener.blind("thing", "a"), ANN)
    for at in (2, 3):
        with store.transaction(generation, {0: at}) as transaction:
            transaction.view.delete(TALLY, [key])
            transaction.advance({0: Place(at + 1, 0, 0)})
    assert tally(store, opener, "a") == {FEW: 1}


def test_a_row_that_can_be_opened_no_more_is_counted_once_when_it_is_replaced(
    store: ViewStore, opener: OpenOpener
) -> None:
    generation = store.target(Counting())
    apply(store, generation, [did(1, "Ann", "a")], opener)
    opener.destroy(ANN)
    with store.transaction(generation, {0: 1}) as transaction:
        # Under a key of a later year, which lives.
        row = Row((opener.blind("thing", "a"), ANN), {}, key_of(BEA), labels=frozenset({MANY}))
        transaction.view.put(TALLY, [row])
    assert tally(store, opener, "a") == {MANY: 1}


def test_whoever_is_forgotten_leaves_the_counts_of_every_generation(store: ViewStore, opener: OpenOpener) -> None:
    old = store.target(Counting())
    events = [did(1, "Ann", "a"), did(2, "Ann", "b"), did(3, "Bea", "a")]
    apply(store, old, events, opener)
    new = store.begin(Counting())
    apply(store, new, events, opener)
    opener.destroy(ANN)
    for _ in range(2):
        store.forget(ANN)
        assert (tally(store, opener, "a"), tally(store, opener, "b")) == ({FEW: 1}, {})
    store.switch(new)
    assert (tally(store, opener, "a"), tally(store, opener, "b")) == ({FEW: 1}, {})
    assert store.row_counts(new) == {"count": 1, "tally": 1}
    again = store.begin(Counting())
    opener.destroyed.clear()
    apply(store, again, events, opener)
    store.switch(again)
    assert tally(store, opener, "a") == {FEW: 1}, "nobody comes back by a rebuild either"
    assert store.row_counts(again) == {"count": 1, "tally": 1}


def test_dead_letters_of_whoever_is_forgotten_go_and_do_not_come_back(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    letters = [
        letter_of(did(at, who, "a"), generation, 0, ValueError()) for at, who in enumerate(("Ann", "Bea", "Bea"))
    ]

    def keep(after: int) -> None:
        with store.transaction(generation, {0: after}) as transaction:
            for letter in letters:
                transaction.keep_dead(letter)
            transaction.advance({0: Place(after + 1, 0, 0)})

    keep(0)
    assert store.dead_letter_counts() == {("counting", 1): 3}
    store.forget(ANN)
    assert {one.record_key for one in store.dead_letters()} == {BEA}
    keep(1)
    assert {one.record_key for one in store.dead_letters()} == {BEA}
    assert store.dead_letter_counts() == {("counting", 1): 4}


def test_partitions_begin_where_a_view_was_built_to_before_there_were_any(store: ViewStore, opener: OpenOpener) -> None:
    generation = store.target(Counting())
    projector = Projector(Counting(), generation, store, opener, partition_of=lambda _: NO_PART)
    projector.work({}, [did(1, "Ann", "a"), did(2, "Bea", "a")], (2, 1_000_002))
    assert place_of(store.places(generation), 3) == Place(2, 2, 1_000_002)
    with store.reading("counting") as read:
        assert read is not None
        assert read[1] == {NO_PART: Place(2, 2, 1_000_002)}
    with pytest.raises(Overtaken), store.transaction(generation, {3: 0}):
        pytest.fail("what came before has been applied")
    Projector(Counting(), generation, store, opener).work(
        {3: place_of(store.places(generation), 3)}, [did(5, "Ann", "a")]
    )
    assert counts(store) == {(ANN, "a"): 2, (BEA, "a"): 1}
    with store.reading("counting") as read:
        assert read is not None
        assert read[1] == {3: Place(5, 5, 1_000_005)}, "what all were at is no partition's place any more"
    new = store.begin(Counting())
    apply(store, new, [did(1, "Ann", "a"), did(2, "Bea", "a")], opener, part=NO_PART)
    with pytest.raises(Behind):
        store.switch(new)
    apply(store, new, [did(5, "Ann", "a")], opener, part=NO_PART)
    store.switch(new)


def test_a_reader_who_wants_another_version_finds_nothing(store: ViewStore, opener: OpenOpener) -> None:
    apply(store, store.target(Counting()), [did(1, "Ann", "a")], opener)
    for version, is_there in ((1, True), (2, False), (None, True)):
        with store.reading("counting", version) as read:
            assert (read is not None) == is_there


def test_views_are_there_after_they_were_closed(make_store: Callable[[], ViewStore], opener: OpenOpener) -> None:
    first = make_store()
    apply(first, first.target(Counting()), [did(1, "Ann", "a")], opener)
    first.close()
    second = make_store()
    assert counts(second) == {(ANN, "a"): 1}
    assert second.places(second.target(Counting()))[0].position == 1


def test_nothing_serves_before_anything_was_computed(store: ViewStore) -> None:
    with store.reading("counting") as read:
        assert read is None


def test_a_reader_of_a_database_without_views_finds_nothing_until_there_are_some(
    empty_database: str, opener: OpenOpener
) -> None:
    reader = PostgresViews(empty_database, opener, read_only=True)
    assert (reader.generations(), reader.dead_letters()) == ([], [])
    with reader.reading("counting") as read:
        assert read is None
    writer = PostgresViews(empty_database, opener)
    apply(writer, writer.target(Counting()), [did(1, "Ann", "a")], opener)
    assert counts(reader) == {(ANN, "a"): 1}
    reader.close()
    writer.close()


def test_a_file_that_cannot_be_written_is_busy(tmp_path: Path, opener: OpenOpener) -> None:
    SQLiteViews(tmp_path / "views.db", opener).close()
    reading = SQLiteViews(tmp_path / "views.db", opener, read_only=True)
    with pytest.raises(StoreBusy):
        reading.target(Counting())
    reading.close()


def test_a_database_that_is_away_is_busy(opener: OpenOpener) -> None:
    with pytest.raises(StoreBusy):
        PostgresViews("postgresql://nobody@127.0.0.1:1/nothing", opener).generations()
