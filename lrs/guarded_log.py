"""A log in a database that may one day be an older one: it takes events only from a writer that has been vouched for.

A writer is one connection to the database, and ends with it. So whoever has compared the log with its copy after the
writer began (lrs/log_guard.py) knows that nothing is missing below the next position that this writer gives.
"""

from __future__ import annotations

from lrs.appending import AppendRequest, Outcome, Request
from lrs.errors import LogBehind
from lrs.event_log import EventLog


class GuardedLog(EventLog):
    """An EventLog whose writers have to be vouched for. What comes from the log's own copy is taken from any."""

    _vouched: object = None

    @property
    def writer(self) -> object:
        """Give the writer that runs, None while there is none."""
        return self._writer if self._writer is not None and not self._writer.gone.is_set() else None

    @property
    def vouched(self) -> bool:
        """Say whether the writer that runs has been vouched for."""
        return self.writer is not None and self.writer is self._vouched

    def vouch(self, writer: object) -> None:
        """Let a writer take events; None: none may."""
        self._vouched = writer

    async def _send(self, request: Request, events: int) -> Outcome:
        is_copy = isinstance(request, AppendRequest) and request.copied is not None
        if not is_copy and self.writer is not None and not self.vouched:
            raise LogBehind
        return await super()._send(request, events)
