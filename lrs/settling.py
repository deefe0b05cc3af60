"""Settling: what statements' own rows say is written into the posting lists, many statements at once.

Until then a query looks at those rows one by one. Neighbours in a list share a page, so many at once touch far fewer
pages than each at its own commit (docs/architecture.md).
"""

from __future__ import annotations

from lrs.appending import LogTables

PSEUDONYM_BYTES = 16
SETTLE_STATEMENTS_MIN = 500
"""So many statements are worth writing into the posting lists together: neighbours in a list share a page."""
SETTLE_STATEMENTS_MAX = 2_000
"""Never more than about this many are left to be looked at one by one."""


def settle_upto(tables: LogTables, position: int | None) -> None:
    """Write statements into the lists, up to a position, or all of them where none is given."""
    while (position is None or tables.settled() < position) and settle(tables) == SETTLE_STATEMENTS_MAX:
        continue


def settle(tables: LogTables, limit: int = SETTLE_STATEMENTS_MAX) -> int:
    """Write the oldest statements that are not in the lists yet into them; give how many.

    Until then a query looks at them one by one. Many at once touch far fewer pages than each at its own commit.
    """
    rows = tables.unsettled(limit)
    if rows:
        people = [
            (packed[at : at + PSEUDONYM_BYTES], position)
            for position, _, packed in rows
            for at in range(0, len(packed), PSEUDONYM_BYTES)
        ]
        tables.settle([(terms, position, position) for position, terms, _ in rows], people, rows[-1][0])
    return len(rows)
