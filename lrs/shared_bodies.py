"""Statements about several people: what becomes of their bodies when one of those people is erased.

A body with several principals stays for those who live, and ends with the last of them. Whoever asks for an erasure may
choose that it ends at once: then the key that these principals have together is destroyed (lrs/sealing.py), for good
and for all of them. What a legal hold keeps of one of the others stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Collection, Sequence
from enum import StrEnum

from lrs.errors import Damaged
from lrs.event_log import Event
from schemas.envelope import Part, Purpose, SealedPart, split_parts
from schemas.events import COMPLETION_CHANGED, STATEMENT_RECORDED
from schemas.person_states import HOLD, PersonState, PersonStateRow, StateChange

SHARING = frozenset({Part.WRAP, Part.TOGETHER})


class Fate(StrEnum):
    """What becomes of an event about somebody who is erased."""

    DEAD = "dead"
    """A statement whose body nobody can open any more."""
    ENDED = "ended"
    """The same, although someone lives whom it is about: it was chosen to end."""
    SHARED = "shared"
    """A statement that is kept for others whom it is about."""
    NAMED = "named"
    """A statement about others, with a placeholder where the person was."""
    COMPLETION = "completion"
    OTHER = "other"


def sharing(parts: Sequence[SealedPart]) -> tuple[set[bytes], set[bytes]]:
    """Give who shares a body, and the owner of their key together; both are empty where it is one person's."""
    owners: dict[int, set[bytes]] = {Part.WRAP: set(), Part.TOGETHER: set()}
    for part in parts:
        if part.header.part in owners:
            owners[part.header.part].add(part.header.owner)
    return owners[Part.WRAP], owners[Part.TOGETHER]


def fate(event: Event, parts: Sequence[SealedPart], person: bytes, living: Collection[bytes]) -> Fate:
    """Say what becomes of an event; living are those, of all who share anything here, of whom a key is left."""
    if event.topic == COMPLETION_CHANGED:
        return Fate.COMPLETION
    if event.topic != STATEMENT_RECORDED:
        return Fate.OTHER
    body = next((part for part in parts if part.header.part == Part.BODY), None)
    if body is None:
        raise Damaged("a statement's record has no body")
    if body.header.owner == person:
        return Fate.DEAD
    people, together = sharing(parts)
    if person not in people:
        return Fate.NAMED
    if people.isdisjoint(set(living) - {person}):
        return Fate.DEAD
    return Fate.ENDED if together.isdisjoint(living) else Fate.SHARED


async def keys_together(
    about: AsyncIterable[Sequence[Event]], person: bytes, held: Collection[PersonStateRow]
) -> set[bytes]:
    """Give the owners of the keys that a person has together with others, but with those of whom anything is held.

    about are the events about the person; held what is held of anybody.
    """
    kept = {owner for owner, purpose, _ in held if purpose == HOLD + Purpose.LEARNING}
    found: set[bytes] = set()
    async for events in about:
        for event in events:
            if event.topic == STATEMENT_RECORDED:
                people, together = sharing(list(split_parts(event.state, SHARING)))
                if person in people and people.isdisjoint(kept):
                    found |= together
    return found


def choice(person: bytes) -> StateChange:
    """Give the change that says that what somebody shares with others ends with them."""
    return StateChange(person, Purpose.TOGETHER, PersonState.WITHDRAWN)


def is_chosen(person: bytes, states: Collection[PersonStateRow]) -> bool:
    """Say whether that was chosen, by what is true of the person."""
    return tuple(choice(person)) in {tuple(row) for row in states}
