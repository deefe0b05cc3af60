"""In which partition an event of a cluster's log is, without asking Kafka: the relay keeps how many there are."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from consumers.feed import FeedEvent
from lrs.errors import Busy
from schemas.topics import PARTITIONS_DEFAULT, partition_of

CONNECT_S = 5


def partitions_of_log(url: str) -> int:
    """Give how many partitions the log of this database has; before a relay has ever run, how many it will have.

    Blocks. Raises Busy.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            if connection.execute("SELECT to_regclass('relay')").fetchone() == (None,):
                return PARTITIONS_DEFAULT
            found = connection.execute("SELECT cardinality(prevs) FROM relay").fetchone()
    except psycopg.OperationalError as error:
        raise Busy("the database does not answer") from error
    return int(found[0]) if found else PARTITIONS_DEFAULT


def partitioning_of(url: str) -> Callable[[FeedEvent], int]:
    """Give the function that says in which partition an event of this database's log is. Blocks. Raises Busy."""
    partitions = partitions_of_log(url)

    def of(event: FeedEvent) -> int:
        return partition_of(event.record_key, partitions)

    return of
