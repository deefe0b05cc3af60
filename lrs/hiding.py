"""Who is hidden from a reader: whoever is restricted or gone, or withdrew the reader's purpose (decision 29).

Everything is computed of everybody; what is hidden is left out when it is read or delivered, and is there again when
the restriction is lifted or consent is given again.
"""

from __future__ import annotations

from collections.abc import Iterable

from lrs.event_log import EventLog
from lrs.log_reader import LogReader
from schemas.envelope import Purpose
from schemas.person_states import ALL_PURPOSES, GONE, PersonState, PersonStateRow

HIDING = (PersonState.FENCED, PersonState.RESTRICTED, PersonState.WITHDRAWN)

_FROM_ALL = GONE | {PersonState.RESTRICTED}


def hidden_among(states: Iterable[PersonStateRow], purpose: int) -> frozenset[bytes]:
    """Give those of whom a reader with this purpose sees nothing."""
    return frozenset(
        pseudonym
        for pseudonym, of, state in states
        if (state in _FROM_ALL and of == ALL_PURPOSES) or (state == PersonState.WITHDRAWN and of == purpose)
    )


def hidden_in(reader: LogReader, purpose: Purpose) -> frozenset[bytes]:
    """Give what `hidden_from` gives, beside whoever writes the log. Blocks."""
    rows = [row for state in HIDING for row in reader.rows("people_with_state", int(state))]
    return hidden_among([(row[0], row[1], row[2]) for row in rows], purpose)


async def hidden_from(log: EventLog, purpose: Purpose) -> frozenset[bytes]:
    """Give everyone of whom a reader with this purpose sees nothing. Raises Busy."""
    return hidden_among(await log.people_who_are(*HIDING), purpose)
