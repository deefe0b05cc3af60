"""How far everything is: the log, the relay, each view. What `/metrics` and `griffel status` both tell.

The *lag* of a view is what the log has and the view has not: in events, and as the age of the oldest of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lrs.index_reader import read_status as read_build
from lrs.log_reader import LogReader
from projections.statement_index import NAME as INDEX
from projections.statement_index import VERSION as INDEX_VERSION
from projections.view_store import BUILDING, SERVING, Generation, Place, ViewStore, own_places

_MICROSECONDS = 1_000_000

RelayPosition = Callable[[], int | None]
"""Gives the position up to which the relay has copied the log, None where no relay has ever run. Blocks."""


class Log(Protocol):
    """What is asked of the log."""

    async def head(self) -> tuple[int, int]:
        """Give the newest position and the watermark (µs)."""
        ...

    async def statements_at(self, positions: Sequence[int]) -> Mapping[int, Sequence[Any]]:
        """Give (position, originator id, stored µs, …) of events, by position."""
        ...


class ReaderLog:
    """A log that is only read, beside a server or without one."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    async def head(self) -> tuple[int, int]:
        """Give the newest position and the watermark (µs)."""
        position, stored_us = (await asyncio.to_thread(self._reader.rows, "head"))[0]
        return position, stored_us

    async def statements_at(self, positions: Sequence[int]) -> Mapping[int, Sequence[Any]]:
        """Give (position, originator id, stored µs, …) of events, by position."""
        if not positions:
            return {}
        rows = await asyncio.to_thread(lambda: self._reader.rows("statements_at", among=positions))
        return {row[0]: row for row in rows}

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


@dataclass(frozen=True, slots=True)
class ViewStatus:
    """A generation of a view. position is that of the newest event applied in any partition."""

    name: str
    generation: int
    version: int
    state: str
    position: int
    lag_events: int
    lag_s: float
    dead_letters: int
    partitions: Mapping[int, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """How far the log is on Kafka."""

    position: int
    lag_events: int
    lag_s: float


@dataclass(frozen=True, slots=True)
class Status:
    """How far everything was at one moment. stored_us is the log's watermark; relay is None where there is none."""

    position: int
    stored_us: int
    views: tuple[ViewStatus, ...]
    relay: RelayStatus | None = None


async def read_status(log: Log, store: ViewStore, relay: RelayPosition | None = None) -> Status:
    """Look at log, relay and views. Raises Busy and StoreBusy when a database does not answer."""
    # The log last: what others are compared with is never older than they are.
    found, dead = await asyncio.to_thread(_views, store)
    copied = None if relay is None else await asyncio.to_thread(relay)
    position, stored_us = await log.head()
    reached = {one: _reached(places) for one, places in found}
    behind = {at + 1 for at in (*reached.values(), *(() if copied is None else (copied,))) if at < position}
    waiting = await log.statements_at(sorted(behind))
    now_us = time.time_ns() // 1000

    def lag(at: int) -> tuple[int, float]:
        oldest = waiting.get(at + 1)
        return max(0, position - at), max(0, now_us - oldest[2]) / _MICROSECONDS if oldest is not None else 0.0

    views = [
        ViewStatus(
            one.name,
            one.number,
            one.version,
            one.state,
            max((place.position for place in places.values()), default=0),
            *lag(reached[one]),
            dead.get((one.name, one.number), 0),
            places,
        )
        for one, places in found
    ]
    return Status(position, stored_us, tuple(views), None if copied is None else RelayStatus(copied, *lag(copied)))


def read_index_status(reader: LogReader, head: int) -> list[ViewStatus]:
    """Give how the statement index is, which is never behind, and how a new one is that is being built. Blocks."""
    serving, building = read_build(reader)
    found = [ViewStatus(INDEX, serving, INDEX_VERSION, SERVING, head, 0, 0.0, 0)]
    if building is not None:
        behind = max(0, head - building)
        found.append(ViewStatus(INDEX, serving + 1, INDEX_VERSION, BUILDING, building, behind, 0.0, 0))
    return found


def _views(store: ViewStore) -> tuple[list[tuple[Generation, dict[int, Place]]], dict[tuple[str, int], int]]:
    return [(one, own_places(store.places(one))) for one in store.generations()], store.dead_letter_counts()


def _reached(places: Mapping[int, Place]) -> int:
    """Give the position up to which everything has been applied, in every partition."""
    return min((max(place.position, place.through_position) for place in places.values()), default=0)
