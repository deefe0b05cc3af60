"""Where the log ends and how far the relay is, read over one connection of its own. Everything here blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from lrs.errors import Busy
from lrs.sql import queries
from lrs.witness import Testimony
from schemas.records import EventRecord

CONNECT_S = 5
ANSWER_S = 10
"""How long the database may take to answer a look."""
_CREATING = 4720
_RESTORING = 4721


class LogEnd(NamedTuple):
    """The log's last event, and what the relay has copied of this log (None: nothing), to an event of which time."""

    incarnation: bytes
    position: int
    stored_us: int
    relayed: Testimony | None
    relayed_us: int


class LogPlace:
    """Looks at one log. A lost connection is made again at the next look; `connections` counts them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queries = queries("relay")
        self._connection: psycopg.Connection[Any] | None = None
        self.connections = 0

    def look(self, *, anew: bool = False) -> LogEnd:
        """Give where the log ends; anew: over a new connection. Raises Busy."""
        if anew:
            self.close()
        incarnation, position, stored_us, relay, relayed, relayed_us = self._run("end").fetchall()[0]
        if relay != incarnation:
            return LogEnd(bytes(incarnation), position, stored_us or 0, None, 0)
        testimony = Testimony(bytes(relay), relayed)
        return LogEnd(bytes(incarnation), position, stored_us or 0, testimony, relayed_us)

    def differs(self, events: Sequence[EventRecord]) -> bool:
        """Say whether the log has something else in the position of any of these events. Raises Busy."""
        wanted = {one.position: one for one in events}
        for position, originator_id, version, digest in self._run("contents", list(wanted)):
            one = wanted.pop(position)
            found = (originator_id.bytes, version, bytes(digest))
            if found != (one.originator_id, one.version, hashlib.sha256(one.state).digest()):
                return True
        return bool(wanted)

    def take_turn(self) -> bool:
        """Take the right to restore this log, if nobody has it; it ends with the connection. Raises Busy."""
        return bool(self._run("take_lease", _RESTORING).fetchall()[0][0])

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, name: str, *parameters: Any) -> psycopg.Cursor[Any]:
        try:
            connection = self._connection
            if connection is None or connection.closed:
                connection = self._connection = self._open()
                self.connections += 1
            return connection.execute(self._queries[name], parameters or None)
        except psycopg.OperationalError as error:
            self.close()
            raise Busy("the database does not answer") from error

    def _open(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            application_name="griffel guard",
            connect_timeout=CONNECT_S,
            keepalives_idle=CONNECT_S,
            keepalives_interval=CONNECT_S,
            keepalives_count=2,
            tcp_user_timeout=ANSWER_S * 1000,
            options=f"-c statement_timeout={ANSWER_S}s -c jit=off",
        )
        with connection.transaction():
            # Two that make the same table at once would trip over each other.
            connection.execute(self._queries["take_turn"], (_CREATING,))
            connection.execute(self._queries["table"])
        return connection
