"""What may be true of a person, and how an event says so: in clear bytes, by pseudonym, so that any copy can be folded.

A *change* is one part of such an event (schemas/envelope.py): its owner is the pseudonym, its content the purpose and
what is true from then on. The log's database keeps the newest of each (pseudonym, purpose) in `person_state`, written
in the append's own transaction (decision 9).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from schemas.envelope import Part, clear_part, split_parts
from schemas.events import CONSENT_CHANGED, ERASURE_COMPLETED, ERASURE_REQUESTED, RESTRICTION_CHANGED

ALL_PURPOSES = 0
"""In the place of a purpose: the person as a whole."""
STATE_KINDS = frozenset({ERASURE_REQUESTED, ERASURE_COMPLETED, RESTRICTION_CHANGED, CONSENT_CHANGED})
"""Kinds of events that say what is true of a person."""
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


GONE = frozenset({PersonState.FENCED, PersonState.ERASED})

PersonStateRow = tuple[bytes, int, int]
"""(pseudonym, purpose or 0 for all, PersonState)"""


class StateChange(NamedTuple):
    """What is true of a person from an event on: purpose 0 is all of them."""

    pseudonym: bytes
    purpose: int
    state: int


def pack_change(change: StateChange) -> bytes:
    """Give a change as a part of an event."""
    return clear_part(Part.PERSON_STATE, change.pseudonym, _CONTENT.pack(change.purpose, change.state))


def changes_in(record: bytes) -> Iterator[StateChange]:
    """Give the changes that an event says. Raises MalformedRecord."""
    for part in split_parts(record, _CHANGES):
        yield StateChange(part.header.owner, *_CONTENT.unpack(part.box))


_CHANGES = frozenset({Part.PERSON_STATE})
