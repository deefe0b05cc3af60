"""What the relay keeps in the log's database: its place, its lease, and the pages it reads. Everything here blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from lrs.errors import Busy, Damaged, Misconfigured
from lrs.sql import queries

PAGE_EVENTS_MAX = 1_000
PAGE_BYTES_MAX = 4 * 1024 * 1024
"""A page ends here, unless its first event alone is larger."""
CONNECT_S = 5
LEASE_SILENT_S = 15
"""A relay that asks its database nothing for so long has lost its connection there, and the lease with it."""
_LEASE = 4719
_CREATING = 4720


class DatabaseAway(Busy):
    """The database does not answer."""


class Overtaken(Busy):
    """Another relay moved the place on; this one looks again where it is."""


class RelayPlace(NamedTuple):
    """How far the log is copied: everything up to position is acknowledged; prevs, by partition, the last of each."""

    incarnation: bytes
    position: int
    stored_us: int
    prevs: tuple[int, ...]


EventRow = tuple[int, Any, int, str, bytes, int, bytes]
"""(position, originator id as UUID, version, topic, record key, stored µs, state)"""


class RelayStore:
    """One connection to the log's database. The lease is the connection's: it ends with it, however that ends."""

    def __init__(self, url: str) -> None:
        """Connect, and make the relay's table. Raises Busy; Misconfigured when there is no log."""
        self._queries = queries("relay")
        try:
            self._connection = psycopg.connect(
                url,
                autocommit=True,
                application_name="griffel relay",
                connect_timeout=CONNECT_S,
                keepalives_idle=CONNECT_S,
                keepalives_interval=CONNECT_S,
                keepalives_count=2,
                # A place that a crash of the database takes back is only sent again.
                options=f"-c synchronous_commit=off -c idle_session_timeout={LEASE_SILENT_S}s -c jit=off",
            )
        except psycopg.OperationalError as error:
            raise DatabaseAway from error
        try:
            self._log()
            with self._connection.transaction():
                # Two that make the same table at once would trip over each other.
                self._rows("take_turn", _CREATING)
                self._run("table")
        except BaseException:
            self.close()
            raise

    def take_lease(self) -> bool:
        """Take the lease if nobody has it; say whether it is ours."""
        return bool(self._rows("take_lease", _LEASE)[0][0])

    def place(self, partitions: int) -> RelayPlace:
        """Give how far the log is copied; at the very first time, that is nowhere.

        Raises Damaged when that place is another log's, Misconfigured when the topic has got another number of
        partitions.
        """
        incarnation = self._log()[1]
        self._run("begin", incarnation, [0] * partitions)
        place = RelayPlace(*self._rows("place")[0])
        place = place._replace(prevs=tuple(place.prevs))
        if place.incarnation != incarnation:
            raise Damaged("how far the relay is was kept for another log than this one")
        if len(place.prevs) != partitions:
            raise Misconfigured(
                f"this log was copied to {len(place.prevs)} partitions and the topic has {partitions}: the number is "
                "fixed for the life of a log"
            )
        return place

    def progress(self) -> Progress:
        """Give how far the log is copied, by whichever relay."""
        rows = self._rows("place")
        _, position, stored_us, prevs = rows[0] if rows else (b"", 0, 0, ())
        return Progress(position, stored_us, self.head(), len(prevs))

    def head(self) -> int:
        """Give the last position of the log."""
        return int(self._log()[0])

    def page(self, after: int) -> list[EventRow]:
        """Give the next events after a position, in order: some of them, by number and size; [] at the end."""
        return self._rows("page", after, PAGE_EVENTS_MAX, PAGE_BYTES_MAX)

    def move(self, before: RelayPlace, now: RelayPlace) -> None:
        """Store a new place. Raises Overtaken when it is not where we left it."""
        found = self._run(
            "move", now.position, now.stored_us, list(now.prevs), before.incarnation, before.position
        ).rowcount
        if found != 1:
            raise Overtaken

    def close(self) -> None:
        """Close the connection and give the lease back."""
        self._connection.close()

    def _log(self) -> tuple[int, bytes]:
        try:
            found = self._rows("log")
        except psycopg.errors.UndefinedTable as error:
            raise Misconfigured("there is no log in this database yet: start a server first") from error
        return found[0][0], found[0][1]

    def _rows(self, name: str, *parameters: Any) -> list[Any]:
        return self._run(name, *parameters).fetchall()

    def _run(self, name: str, *parameters: Any) -> psycopg.Cursor[Any]:
        try:
            return self._connection.execute(self._queries[name], parameters or None, binary=True)
        except psycopg.OperationalError as error:
            raise DatabaseAway from error


class Progress(NamedTuple):
    """How far a relay has copied the log, and where that ends; partitions is 0 where no relay has begun."""

    position: int
    stored_us: int
    head: int
    partitions: int


def read_progress(url: str) -> Progress:
    """Give how far the relay is; anyone may ask beside a running one. Raises Busy, Misconfigured."""
    store = RelayStore(url)
    try:
        return store.progress()
    finally:
        store.close()


def partitions_known(url: str) -> int | None:
    """Give the number of partitions that a log's relay began with, None where none has. Raises Busy, Misconfigured."""
    return read_progress(url).partitions or None
