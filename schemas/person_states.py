"""What may be true of a person, and how an event says so: in clear bytes, by pseudonym, so that any copy can be folded.

A *change* is one part of such an event (schemas/envelope.py): its owner is the pseudonym, its content the purpose and
what is true from then on. The log's database keeps the newest of each (pseudonym, purpose) in `person_state`, written
in the append's own transaction (decision 9).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from schemas.envelope import Part, clear_part, split_parts
from schemas.events import (
    ACTIVITY_FORGOTTEN,
    CONSENT_CHANGED,
    ERASURE_COMPLETED,
    ERASURE_REQUESTED,
    HOLD_CHANGED,
    RESTRICTION_CHANGED,
    RETENTION_EXPIRED,
)

ALL_PURPOSES = 0
"""In the place of a purpose: the person as a whole."""
STATE_KINDS = frozenset(
    {
        ERASURE_REQUESTED,
        ERASURE_COMPLETED,
        RESTRICTION_CHANGED,
        CONSENT_CHANGED,
        ACTIVITY_FORGOTTEN,
        HOLD_CHANGED,
        RETENTION_EXPIRED,
    }
)
"""Kinds of events that say what is true of a person, or of the owner of an activity's key: erased."""
_YEAR_BYTES = 2
_EVERYBODY = bytes(16 - _YEAR_BYTES)
_CONTENT = struct.Struct(">BB")


class PersonState(IntEnum):
    """What may be true of a person, or of one purpose of theirs; nobody without a row is anything but active."""

    ACTIVE = 0
    """Only in events: what was true no longer is."""
    FENCED = 1
    """Asked to be forgotten: nothing more is recorded about them, and what is there is being erased."""
    ERASED = 2
    RESTRICTED = 3
    """Hidden from everybody else, and still recorded (GDPR, Article 18)."""
    WITHDRAWN = 4
    EXPIRING = 5
    """Of everybody in a year: past its term, and being forgotten."""
    EXPIRED = 6
    HELD_FOR_OBLIGATION = 7
    """May not be destroyed: the law asks for it (GDPR, Article 17(3)(b))."""
    HELD_FOR_ARCHIVES = 8
    """May not be destroyed: archiving in the public interest (17(3)(d))."""
    HELD_FOR_CLAIMS = 9
    """May not be destroyed: legal claims (17(3)(e))."""


HOLD = 128
"""Added to a purpose, where the state says whether it is held: a purpose may be held and withdrawn."""
GROUNDS = {
    "legal_obligation": PersonState.HELD_FOR_OBLIGATION,
    "archives": PersonState.HELD_FOR_ARCHIVES,
    "legal_claims": PersonState.HELD_FOR_CLAIMS,
}
"""Why something may be held, and the state that says so."""
HELD = frozenset(GROUNDS.values())

GONE = frozenset({PersonState.FENCED, PersonState.ERASED})

PersonStateRow = tuple[bytes, int, int]
"""(pseudonym, purpose or 0 for all, PersonState)"""


class StateChange(NamedTuple):
    """What is true of a person from an event on: purpose 0 is all of them."""

    pseudonym: bytes
    purpose: int
    state: int


def held_among(states: Iterable[PersonStateRow]) -> dict[int, str]:
    """Give the purposes that may not be destroyed, each with its ground, from the states of one person."""
    names = {state: ground for ground, state in GROUNDS.items()}
    return {purpose - HOLD: names[PersonState(state)] for _, purpose, state in states if state in HELD}


def everybody_of(year: int) -> bytes:
    """Give what stands in the place of a pseudonym for everybody's keys of a year."""
    return _EVERYBODY + year.to_bytes(_YEAR_BYTES)


def year_of(everybody: bytes) -> int:
    """Undo `everybody_of`."""
    return int.from_bytes(everybody[-_YEAR_BYTES:])


def is_everybody(pseudonym: bytes) -> bool:
    """Say whether something stands for everybody of a year, and not for a person."""
    return pseudonym.startswith(_EVERYBODY)


def pack_change(change: StateChange) -> bytes:
    """Give a change as a part of an event."""
    return clear_part(Part.PERSON_STATE, change.pseudonym, _CONTENT.pack(change.purpose, change.state))


def changes_in(record: bytes) -> Iterator[StateChange]:
    """Give the changes that an event says. Raises MalformedRecord."""
    for part in split_parts(record, _CHANGES):
        yield StateChange(part.header.owner, *_CONTENT.unpack(part.box))


_CHANGES = frozenset({Part.PERSON_STATE})
