"""Where a consumer reads events from: the log itself (embedded) or Kafka (cluster).

A *position* is an event's place in the one gap-free order of the log, counted from 1. *After* a position means: above
it; so 0 is before everything, and the position of the last event that was applied is what the next read is asked with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class FeedEvent(Protocol):
    """One event as every copy of the log has it (schemas/events.py names the kinds, schemas/envelope.py the bytes)."""

    @property
    def position(self) -> int:
        """The event's place in the log."""
        ...

    @property
    def originator_id(self) -> bytes:
        """The 16 bytes that name the event's stream; what its parts are bound to."""
        ...

    @property
    def version(self) -> int:
        """The event's place in its stream, counted from 1."""
        ...

    @property
    def topic(self) -> str:
        """The kind of event."""
        ...

    @property
    def record_key(self) -> bytes:
        """The 16 bytes by which Kafka orders: a learner's pseudonym, or an activity's or the store's own id."""
        ...

    @property
    def stored_us(self) -> int:
        """When it was stored, in µs since 1970; its order never contradicts that of positions."""
        ...

    @property
    def state(self) -> bytes:
        """The sealed record, bit for bit as it was appended."""
        ...


class EventFeed(Protocol):
    """Events in order, again from any position. `lrs.event_log.EventLog` is one.

    Reading changes nothing: who has applied an event keeps its position together with the effect.
    """

    async def read(self, after: int, limit: int) -> Sequence[FeedEvent]:
        """Give up to `limit` events after a position, in the order of positions and with none left out; [] at the end.

        Raises the log's Busy when what holds the events does not answer; repeating helps.
        """
        ...

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is an event after a position, for at most `timeout_s` seconds; say whether there is."""
        ...
