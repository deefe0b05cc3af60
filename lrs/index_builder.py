"""Has the statement index built anew from the log, while statements go on being appended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from lrs.errors import Busy, Conflict
from lrs.event_log import Event, EventLog
from lrs.indexing import Indexed, IndexRequest, IndexRow, Progress, Step
from lrs.restoring import LogRestorer
from schemas.events import STATEMENT_VOIDED

BUILT_AT_ONCE = 500
"""How many events are read, and written into the new index, at once."""
BUILD_ID_BYTES = 16
TRIES_MAX = 40
"""How often a step is tried while the log cannot be written, or somebody reads the old index for long."""
TRY_WAIT_S = 0.5
"""Between two of these tries."""


class IndexBuilder:
    """Reads the log and sends the index to the writer, step by step (lrs/indexing.py)."""

    def __init__(self, log: EventLog, restorer: LogRestorer) -> None:
        self._log = log
        self._restorer = restorer

    async def rebuild(self, tell: Callable[[int], None]) -> None:
        """Build the index and let it serve; tell is told each position that was reached.

        Raises Conflict when another build began meanwhile, Busy when the log cannot be written for long; then the index
        that served goes on serving.
        """
        build = os.urandom(BUILD_ID_BYTES)
        await self._do(IndexRequest(Step.BEGIN, build))
        position = 0
        while True:
            events = await self._log.read(position, BUILT_AT_ONCE)
            if events:
                await self._do(await self._filling(build, events))
                position = events[-1].position
                tell(position)
            if len(events) < BUILT_AT_ONCE:
                break
        done = Indexed(Progress.MORE, 0)
        for step in (Step.LINK, Step.SWITCH):
            done = Indexed(Progress.MORE, 0)
            while done.progress is Progress.MORE:
                done = await self._do(IndexRequest(step, build, done.position))
        tell(done.position or position)

    async def _filling(self, build: bytes, events: Sequence[Event]) -> IndexRequest:
        rows: list[IndexRow] = []
        people: list[tuple[bytes, int]] = []
        for event, made in zip(events, await self._restorer.read(events), strict=True):
            if made.entry is not None:
                named = b"".join(made.people)
                rows.append(IndexRow(event.position, made.entry.terms, named, made.entry.target, made.entry.voids))
            else:
                people += [(person, event.position) for person in made.people]
        voided = tuple([event.originator_id for event in events if event.topic == STATEMENT_VOIDED])
        return IndexRequest(Step.FILL, build, events[-1].position, tuple(rows), tuple(people), voided)

    async def _do(self, request: IndexRequest) -> Indexed:
        """Have a step done; one whose outcome is unknown may be repeated."""
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                done = await self._log.index(request)
            except Busy:
                if not left:
                    raise
                await asyncio.sleep(TRY_WAIT_S)
                continue
            if done.progress is Progress.OVERTAKEN:
                raise Conflict("another rebuild of this view began meanwhile; this one was given up")
            return done
        raise AssertionError("the last try ends in one way or the other")
