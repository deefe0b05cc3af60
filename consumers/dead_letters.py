"""What could not be applied: kept as it came, to be looked at and tried again.

A dead letter holds the sealed record, so it can be read no longer than its learner's keys live, and of the error only
its kind. It belongs to one generation of a view: a generation that is built anew tries every event anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from consumers.feed import FeedEvent
from projections.projection import Opener, Projection
from projections.view_store import DeadLetter, Generation, ViewStore, place_of


@dataclass(frozen=True, slots=True)
class LetterEvent:
    """A dead letter as the event it was."""

    position: int
    originator_id: bytes
    version: int
    topic: str
    record_key: bytes
    stored_us: int
    state: bytes


def letter_of(event: FeedEvent, generation: Generation, partition: int, error: Exception) -> DeadLetter:
    """Make a dead letter of an event and the error that its last try ended with."""
    return DeadLetter(
        0,
        generation.name,
        generation.number,
        partition,
        event.position,
        event.originator_id,
        event.version,
        event.topic,
        event.record_key,
        event.stored_us,
        event.state,
        type(error).__name__,
        time.time_ns() // 1000,
    )


def event_of(letter: DeadLetter) -> LetterEvent:
    """Give the event back."""
    return LetterEvent(
        letter.position,
        letter.originator_id,
        letter.version,
        letter.topic,
        letter.record_key,
        letter.stored_us,
        letter.state,
    )


def redrive(
    letter: DeadLetter,
    generation: Generation,
    projection: Projection,
    store: ViewStore,
    opener: Opener,
    *,
    voided: Callable[[bytes], bool],
    then: DeadLetter | None = None,
) -> bool:
    """Apply a dead letter's event once more; say whether it was there to be applied.

    The view's other events are past it by now, which views allow (their rows do not depend on the order), but for one
    case: what has been voided meanwhile must not come back. voided says so of an originator id, and is asked while
    nobody else moves the view. The event's error comes through; then the letter stays. `then` is kept in the same
    transaction: what follows from the event elsewhere, and is not to be lost.
    """
    position = place_of(store.places(generation), letter.partition).position
    event = event_of(letter)
    with store.transaction(generation, {letter.partition: position}) as transaction:
        if not transaction.drop_dead(letter.number):
            return False
        if not voided(event.originator_id):
            projection.apply(opener.events([event]), transaction.view, opener)
        if then is not None:
            transaction.keep_dead(then)
    return True


def drop(letter: DeadLetter, generation: Generation, store: ViewStore) -> None:
    """Keep a letter no longer: what it is about is done."""
    position = place_of(store.places(generation), letter.partition).position
    with store.transaction(generation, {letter.partition: position}) as transaction:
        transaction.drop_dead(letter.number)
