"""Reading the statement index as it lies there, for operators: every row of it, settled or not, and how large it is."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from lrs.indexing import PSEUDONYM_BYTES
from lrs.log_reader import LogReader
from projections.statement_index import unpack_terms

PAGE_ROWS_MAX = 5_000
"""Rows that are read at once."""
TABLES = ("statement", "term", "person", "voiding")
"""What the index is made of: each statement's own row, lists by term and by person, and what was asked to be voided."""

Json = dict[str, Any]
_SIGN = 1 << 63
_SETTLED = "position > (SELECT settled FROM log_head)"


class IndexStatus(NamedTuple):
    """Which build of the index serves, and how far another one is that is under way (None: there is none)."""

    generation: int
    building: int | None


def read_status(reader: LogReader) -> IndexStatus:
    """Say which build serves. Blocks."""
    if not reader.has_table("index_build"):
        return IndexStatus(1, None)
    found = reader.run("SELECT generation, build, position FROM index_build", ())
    if not found:
        return IndexStatus(1, None)
    generation, build, position = found[0]
    return IndexStatus(generation, None if build is None else position)


def count_rows(reader: LogReader) -> dict[str, int]:
    """Give how many rows each table of the index has; every one is looked at. Blocks."""

    def number(text: str) -> int:
        return int(reader.run(text, ())[0][0] or 0)

    return {
        "statement": number("SELECT COUNT(*) FROM statement"),
        "term": number("SELECT COUNT(*) FROM term")
        + number(f"SELECT SUM(length(terms) / 8) FROM statement WHERE {_SETTLED}"),  # noqa: S608  our own words
        "person": number("SELECT COUNT(*) FROM event_people")
        + number(f"SELECT SUM(length(people) / {PSEUDONYM_BYTES}) FROM statement WHERE {_SETTLED}"),  # noqa: S608
        "voiding": number("SELECT COUNT(*) FROM voiding"),
    }


def read_rows(reader: LogReader, table: str) -> Iterator[tuple[Json, Json]]:
    """Give each row of a table as (key, content), in the order of keys. Blocks; to be called inside a snapshot."""
    yield from _READ[table](reader)


def _statements(reader: LogReader) -> Iterator[tuple[Json, Json]]:
    text = f"SELECT position, target, voids, voided FROM statement WHERE position > ? ORDER BY position {_LIMIT}"  # noqa: S608
    after = 0
    while rows := reader.run(text, (after,)):
        for position, target, voids, voided in rows:
            content = {"refers_to": _hex(target), "voids": _hex(voids), "voided": bool(voided)}
            yield {"position": position}, content
        after = rows[-1][0]


def _terms(reader: LogReader) -> Iterator[tuple[Json, Json]]:
    # As text the terms sort as unsigned numbers: those that are not negative come first.
    own = sorted(
        (term % (2 * _SIGN), position, position)
        for position, terms in reader.run(f"SELECT position, terms FROM statement WHERE {_SETTLED}", ())  # noqa: S608
        for term in unpack_terms(terms)
    )
    for (term, position, source), _ in groupby(heapq.merge(_settled_terms(reader), own)):
        yield {"term": f"{term:016x}", "position": position, "source": source}, {}


def _settled_terms(reader: LogReader) -> Iterator[tuple[int, int, int]]:
    text = (
        "SELECT term, position, source FROM term WHERE (term, position, source) > (?, ?, ?) AND term <= ? "  # noqa: S608
        f"ORDER BY term, position, source {_LIMIT}"
    )
    for first, last in ((0, _SIGN - 1), (-_SIGN, -1)):
        after = (first, -1, -1)
        while rows := reader.run(text, (*after, last)):
            yield from ((term % (2 * _SIGN), position, source) for term, position, source in rows)
            after = rows[-1]


def _people(reader: LogReader) -> Iterator[tuple[Json, Json]]:
    own = sorted(
        (people[at : at + PSEUDONYM_BYTES], position)
        for position, people in reader.run(f"SELECT position, people FROM statement WHERE {_SETTLED}", ())  # noqa: S608
        for at in range(0, len(people), PSEUDONYM_BYTES)
    )
    for (pseudonym, position), _ in groupby(heapq.merge(_settled_people(reader), own)):
        yield {"pseudonym": pseudonym.hex(), "position": position}, {}


def _settled_people(reader: LogReader) -> Iterator[tuple[bytes, int]]:
    text = (
        "SELECT pseudonym, position FROM event_people WHERE (pseudonym, position) > (?, ?) "  # noqa: S608
        f"ORDER BY pseudonym, position {_LIMIT}"
    )
    after: tuple[bytes, int] = (b"", -1)
    while rows := reader.run(text, after):
        yield from ((row[0], row[1]) for row in rows)
        after = (rows[-1][0], rows[-1][1])


def _voidings(reader: LogReader) -> Iterator[tuple[Json, Json]]:
    text = f"SELECT target, position FROM voiding WHERE target > ? ORDER BY target {_LIMIT}"  # noqa: S608
    after = b""
    while rows := reader.run(text, (after,)):
        yield from (({"target": target.hex()}, {"position": position}) for target, position in rows)
        after = rows[-1][0]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


_LIMIT = f"LIMIT {PAGE_ROWS_MAX}"
_READ = dict(zip(TABLES, (_statements, _terms, _people, _voidings), strict=True))
