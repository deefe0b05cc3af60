"""What becomes of a batch: applied whole, or halved until the event that cannot be applied stands alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.dead_letters import redrive
from consumers.projector import DEAD_IN_A_ROW_MAX, TRIES_MAX, Projector, TooManyDead
from projections.sqlite_views import SQLiteViews
from projections.view_store import DeadLetter, Generation, Place, StoreBusy
from tests.view_tools import Counting, OpenOpener, counts, did, sixteen

ANN, BEA = sixteen("Ann"), sixteen("Bea")


class Setup:
    def __init__(self, folder: Path) -> None:
        self.opener = OpenOpener()
        self.store = SQLiteViews(folder / "views.db", self.opener)
        self.projection = Counting()
        self.waited: list[float] = []

    @property
    def generation(self) -> Generation:
        return self.store.target(self.projection)

    def projector(self) -> Projector:
        return Projector(self.projection, self.generation, self.store, self.opener, pause=self.waited.append)


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    yield made
    made.store.close()


def test_what_cannot_be_applied_is_kept_and_everything_around_it_is_applied(views: Setup) -> None:
    views.projection.fails_on = {3, 4}
    events = [did(at, "Ann" if at % 2 else "Bea", "a") for at in range(1, 9)]
    places = views.projector().work({0: Place()}, events)
    assert places == {0: Place(8, 8, 1_000_008)} == views.store.places(views.generation)
    assert counts(views.store) == {(ANN, "a"): 3, (BEA, "a"): 3}
    letters = views.store.dead_letters("counting")
    assert [(one.position, one.reason, one.partition) for one in letters] == [
        (3, "ValueError", 0),
        (4, "ValueError", 0),
    ]
    assert "cannot be applied" not in repr(letters), "of the error only its kind is kept"


def test_an_event_is_tried_a_few_times_before_it_is_kept(views: Setup) -> None:
    views.projection.fails_on = {1}
    views.projector().work({0: Place()}, [did(1, "Ann", "a")])
    assert len(views.projection.tried) == 1 + TRIES_MAX
    assert len(views.waited) == TRIES_MAX - 1


def test_what_a_repetition_mends_makes_no_dead_letter(views: Setup) -> None:
    def away(*_: object) -> None:
        raise StoreBusy

    views.projection.apply = away  # type: ignore[method-assign]
    with pytest.raises(StoreBusy):
        views.projector().work({0: Place()}, [did(1, "Ann", "a"), did(2, "Ann", "a")])
    assert views.store.dead_letters() == []
    assert views.store.places(views.generation).get(0, Place()).position == 0


def test_when_nothing_at_all_can_be_applied_it_stops(views: Setup) -> None:
    events = [did(at, "Ann", "a") for at in range(1, DEAD_IN_A_ROW_MAX + 10)]
    views.projection.fails_on = {one.position for one in events}
    with pytest.raises(TooManyDead):
        views.projector().work({0: Place()}, events)
    assert len(views.store.dead_letters()) == DEAD_IN_A_ROW_MAX
    assert views.store.places(views.generation)[0].position == DEAD_IN_A_ROW_MAX


def test_a_dead_letter_can_be_redriven_once(views: Setup) -> None:
    views.projection.fails_on = {1}
    views.projector().work({0: Place()}, [did(1, "Ann", "a"), did(2, "Ann", "a")])
    [letter] = views.store.dead_letters()
    again = _Again(views)
    with pytest.raises(ValueError, match="cannot be applied"):
        again(letter)
    assert views.store.dead_letters() == [letter], "it stays"
    views.projection.fails_on = set()
    assert again(letter)
    assert counts(views.store) == {(ANN, "a"): 2}
    assert not again(letter)
    assert counts(views.store) == {(ANN, "a"): 2}
    assert views.store.places(views.generation)[0].position == 2


def test_what_was_voided_meanwhile_does_not_come_back(views: Setup) -> None:
    views.projection.fails_on = {1}
    views.projector().work({0: Place()}, [did(1, "Ann", "a")])
    [letter] = views.store.dead_letters()
    views.projection.fails_on = set()
    assert _Again(views, voided=True)(letter)
    assert counts(views.store) == {}
    assert views.store.dead_letters() == []


def test_of_several_partitions_in_one_feed_each_has_its_place(views: Setup) -> None:
    projector = Projector(
        views.projection,
        views.generation,
        views.store,
        views.opener,
        partition_of=lambda event: event.record_key[0] % 3,
        pause=views.waited.append,
    )
    events = [did(at, f"learner {at % 7}", "a") for at in range(1, 50)]
    places = projector.work({}, events[:20])
    places = projector.work(places, events[20:])
    last = {event.record_key[0] % 3: event.position for event in events}
    assert {part: place.position for part, place in views.store.places(views.generation).items()} == last
    assert sum(counts(views.store).values()) == 49


def test_a_quiet_partition_knows_how_far_it_is(views: Setup) -> None:
    places = views.projector().work({0: Place()}, [did(1, "Ann", "a")], (9, 5_000_000))
    assert places == {0: Place(1, 9, 5_000_000)} == views.store.places(views.generation)
    assert views.projector().work(places, [], (9, 5_000_000)) == places


class _Again:
    def __init__(self, views: Setup, *, voided: bool = False) -> None:
        self._views = views
        self._voided = voided

    def __call__(self, letter: DeadLetter) -> bool:
        views = self._views
        voided = self._voided
        return redrive(letter, views.generation, views.projection, views.store, views.opener, voided=lambda _: voided)
