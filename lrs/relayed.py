"""What the relay has written down beside a cluster's log: how far it is, and how many partitions there are."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from consumers.feed import FeedEvent
from lrs.errors import Busy
from projections.view_store import NO_PART
from schemas.topics import partition_of

CONNECT_S = 5


def read_relay_position(url: str) -> int | None:
    """Give the position up to which the relay of this database's log has copied it. Blocks. Raises Busy."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            if connection.execute("SELECT to_regclass('relay')").fetchone() == (None,):
                return None
            found = connection.execute("SELECT position FROM relay").fetchone()
    except psycopg.OperationalError as error:
        raise Busy("the database does not answer") from error
    return int(found[0]) if found else None


def partitions_of_log(url: str) -> int | None:
    """Give how many partitions the log of this database has, None before a relay has ever run.

    Blocks. Raises Busy.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            if connection.execute("SELECT to_regclass('relay')").fetchone() == (None,):
                return None
            found = connection.execute("SELECT cardinality(prevs) FROM relay").fetchone()
    except psycopg.OperationalError as error:
        raise Busy("the database does not answer") from error
    return int(found[0]) if found else None


def partitioning_of(url: str) -> Callable[[FeedEvent], int]:
    """Give the function that says in which partition an event of this database's log is. Blocks. Raises Busy.

    Before a relay has ever run no event is in any; partitions then begin where a view was built to.
    """
    partitions = partitions_of_log(url)

    def of(event: FeedEvent) -> int:
        return NO_PART if partitions is None else partition_of(event.record_key, partitions)

    return of
