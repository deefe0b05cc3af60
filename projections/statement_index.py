"""The statement index: posting lists that answer `GET /statements`, written in the append's own transaction.

A *term* is a 64-bit keyed hash of a kind and a value (an agent as actor, a verb, a registration …); its list holds the
positions of the statements it is true of. A filter of several terms is the intersection of their lists, newest first.
A statement whose object is a StatementRef inherits the terms of its target: such rows carry as `source` the position
of the statement whose own terms they are, so that a filter is met by one statement as a whole and dies with any
statement on the way to it (xAPI Communication 2.1.3).

No value that a client chose, and no pseudonym, stands in the index: only hashes under a pepper that lies in the vault.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from schemas.activities import activities_of
from schemas.people import Named

Json = dict[str, Any]
BlindTerm = Callable[[int, str | bytes], bytes]
"""Keyed hash of (kind, value) to 16 bytes: the first 8 are the term, all 16 settle a collision."""

NAME = "statement_index"
VERSION = 1
"""Moves when a statement would get other terms: then the index is to be built anew."""
TERM_BYTES = 16
_FIRST_HALF = struct.Struct(">q")


class Kind(IntEnum):
    """What a term says."""

    AGENT = 1
    """Actor or object, or a member of a group that is actor or object."""
    AGENT_RELATED = 2
    """Named anywhere, authority and sub-statement included."""
    ACTIVITY = 3
    ACTIVITY_RELATED = 4
    VERB = 5
    REGISTRATION = 6


# A name of its own for each: to look a member up in the class costs more than to hash it, and this is the hot path.
_AGENT, _AGENT_RELATED, _ACTIVITY, _ACTIVITY_RELATED, _VERB, _REGISTRATION = map(int, Kind)

RAREST_FIRST = (Kind.REGISTRATION, Kind.AGENT, Kind.ACTIVITY, Kind.ACTIVITY_RELATED, Kind.AGENT_RELATED, Kind.VERB)


def terms_of(statement: Json, named: Named, pseudonym_of: Callable[[str], bytes], blind: BlindTerm) -> list[bytes]:
    """Give the terms (16 bytes each) that are true of a checked, normalised, not yet separated statement.

    pseudonym_of maps an identifier to the learner's pseudonym.
    """
    terms: set[bytes] = set()
    add = terms.add
    for naming in named.namings:
        pseudonym = pseudonym_of(naming.identifier)
        add(blind(_AGENT_RELATED, pseudonym))
        if naming.role in _ACTOR_OR_OBJECT:
            add(blind(_AGENT, pseudonym))
    target = statement["object"]
    if target.get("objectType", "Activity") == "Activity":
        add(blind(_ACTIVITY, target["id"]))
    for activity in activities_of(statement):
        add(blind(_ACTIVITY_RELATED, activity["id"]))
    add(blind(_VERB, statement["verb"]["id"]))
    context = statement.get("context")
    if context is not None and "registration" in context:
        add(blind(_REGISTRATION, context["registration"].lower()))
    return list(terms)


_ACTOR_OR_OBJECT = frozenset({"actor", "actor.member", "object", "object.member"})


def term_number(term: bytes) -> int:
    """Give the term as the signed 64-bit number that the lists hold."""
    number: int = _FIRST_HALF.unpack_from(term)[0]
    return number


def pack_terms(terms: list[bytes]) -> bytes:
    """Give terms as they are kept beside the statement: 8 bytes each, one behind the other."""
    return b"".join([term[:8] for term in terms])


def unpack_terms(packed: bytes) -> tuple[int, ...]:
    """Undo `pack_terms` into numbers."""
    return struct.unpack(f">{len(packed) // 8}q", packed)
