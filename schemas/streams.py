"""The completion stream as institutions receive it: numbered entries, each a CloudEvent (1.0, structured JSON).

An *entry* has a number, the *sequence*: 1, 2, 3 and so on, without gaps, given once. A *cursor* names the entry that
was read last; it is opaque to readers and valid for ever. schemas/completion-stream.schema.json says what an entry
looks like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from schemas.errors import InvalidInput

Json = dict[str, Any]

COMPLETED = "completed"
SATISFIED = "satisfied"
KINDS = (COMPLETED, SATISFIED)
"""What happens once for each registration: a course is completed, and the platform says that it is satisfied."""

EMPTY_TYPE = "griffel.entry.empty"
"""An entry whose content is withheld, or can be opened by nobody any more. It keeps its number."""
_TYPES = {
    (COMPLETED, True): "griffel.course.completed",
    (COMPLETED, False): "griffel.course.completed.revoked",
    (SATISFIED, True): "griffel.course.satisfied",
    (SATISFIED, False): "griffel.course.satisfied.revoked",
}
ERASED_TYPE = "griffel.learner.erased"
"""A learner was erased: what was received in the entries that it names must be deleted."""
TYPES = (*_TYPES.values(), EMPTY_TYPE, ERASED_TYPE)
SEQUENCE_DIGITS = 15
BEGINNING = "c0"
"""The cursor before the first entry."""
_CURSOR = re.compile(r"c(0|[1-9]\d{0,14})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Completion:
    """A change of one learner's registration in a course. at: when, RFC 3339; None where it was taken back."""

    kind: str
    achieved: bool
    actor: Json
    course: str
    course_id: str
    registration: str | None
    at: str | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """A learner was erased: the id of the erasure, and the numbers of the entries that were about them."""

    erasure: str
    entries: list[int]


def cloud_event(source: str, sequence: int, time: str, content: Completion | Erasure | None) -> Json:
    """Give an entry as a CloudEvent; without content it is an empty one."""
    event: Json = {
        "specversion": "1.0",
        "id": cursor_text(sequence),
        "source": source,
        "type": EMPTY_TYPE,
        "time": time,
        # The extension asks for texts that sort as the numbers do.
        "sequence": f"{sequence:0{SEQUENCE_DIGITS}d}",
    }
    if isinstance(content, Erasure):
        event["type"] = ERASED_TYPE
        event["datacontenttype"] = "application/json"
        event["data"] = {"erasure": content.erasure, "entries": [cursor_text(one) for one in content.entries]}
    elif content is not None:
        event["type"] = _TYPES[content.kind, content.achieved]
        event["subject"] = content.course_id
        event["datacontenttype"] = "application/json"
        event["data"] = {
            "actor": content.actor,
            "course": content.course,
            "registration": content.registration,
            "completed_at": content.at,
        }
    return event


def cursor_text(sequence: int) -> str:
    """Give the cursor of the entry with this number."""
    return f"c{sequence}"


def read_cursor(text: str) -> int:
    """Give the number that a cursor stands for; that of no text is before the first. Raises InvalidInput."""
    found = _CURSOR.fullmatch(text or BEGINNING)
    if found is None:
        raise InvalidInput("this cursor was not given by this stream; without one, reading begins at its beginning", "")
    return int(found[1])
