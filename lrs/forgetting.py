"""Forgetting in the log's database: documents, lists and attachments' names of someone whose keys are destroyed.

The events stay: nobody can open them any more. What would still lead to the person goes: documents, the terms by which
their statements are found, and what others inherited from those. Each step is a request to the writer, small, and may
be repeated. `event_people`, by which an erasure knows its way (lrs/erasure.py), goes last, in the transaction of the
event that says that the erasure is complete.

This module knows the order of things; the recorders run its SQL, in which `?` is a parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from lrs.indexing import CHAIN_STATEMENTS_MAX, PSEUDONYM_BYTES
from projections.statement_index import unpack_terms
from schemas.envelope import NOBODY
from schemas.errors import InvalidInput

ROWS_AT_ONCE = 2_000
"""How many rows one step deletes at the most: the log's lock is held meanwhile."""
TERM_PACKED_BYTES = 8


class Forget(StrEnum):
    """What a request asks for, in this order."""

    DOCUMENTS = "documents"
    STATEMENTS = "statements"
    TERMS = "terms"
    EXPIRED = "expired"
    """Of nobody in particular: statements that nobody can open any more."""


class ForgetRequest(msgspec.Struct, array_like=True, frozen=True, tag="forget"):
    """A step of forgetting a person.

    STATEMENTS and EXPIRED: `dead` are positions of statements that nobody can open any more, `named` of others that
    name the person. terms are the index terms (numbers) of the person.
    """

    step: Forget
    person: bytes
    terms: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    named: tuple[int, ...] = ()


class Forgotten(msgspec.Struct, array_like=True, frozen=True, tag="forgotten"):
    """What became of a step: how many rows went, and whether more are left.

    terms are the index terms that something was taken out of; again: some of it was forgotten before.
    """

    rows: int
    more: bool = False
    terms: tuple[int, ...] = ()
    again: bool = False


class SqlTables(Protocol):
    """The log's tables in a transaction that holds the log's lock."""

    def ask(self, text: str, *parameters: Any) -> list[Any]:
        """Run SQL; give its rows."""
        ...

    def ask_among(self, text: str, items: Sequence[Any]) -> list[Any]:
        """Run a query whose `IN (??)` is a list; give its rows."""
        ...

    def do_many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run SQL for each of many rows."""
        ...

    def delete_terms(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Take (term, position, source) out of the posting lists."""
        ...

    def settle_upto(self, position: int | None) -> None:
        """Write every statement into the lists, up to a position where one is given."""
        ...

    def give_up_index(self) -> None:
        """Have an index that is being built anew given up: it may hold what is forgotten."""
        ...


class _Row(NamedTuple):
    """What the index keeps of a statement."""

    position: int
    originator_id: bytes
    terms: bytes
    people: bytes
    target: bytes | None


def forget(tables: SqlTables, request: ForgetRequest) -> Forgotten:
    """Do one step. Doing it again does no harm. Of NOBODY, only the lists are brought up to date."""
    if request.person != NOBODY or request.step is Forget.EXPIRED:
        tables.give_up_index()
    # Many statements at once are settled for far less than a few: no more of them than this step asks for.
    of_statements = request.step in (Forget.STATEMENTS, Forget.EXPIRED)
    is_first = request.step is Forget.DOCUMENTS
    tables.settle_upto(None if is_first else max((*request.dead, *request.named), default=0))
    if is_first:
        return _delete(
            tables,
            "DELETE FROM document WHERE document_key IN (SELECT document_key FROM document WHERE owner = ? LIMIT ?) "
            "RETURNING 1",
            request.person,
        )
    if of_statements:
        return _forget_statements(tables, request)
    done = [
        _delete(
            tables,
            "DELETE FROM term WHERE (term, position, source) IN "
            "(SELECT term, position, source FROM term WHERE term = ? LIMIT ?) RETURNING 1",
            term,
        )
        for term in request.terms
    ]
    return Forgotten(sum(one.rows for one in done), any(one.more for one in done))


def _delete(tables: SqlTables, text: str, whose: bytes | int) -> Forgotten:
    gone = len(tables.ask(text, whose, ROWS_AT_ONCE))
    return Forgotten(gone, gone == ROWS_AT_ONCE)


def _forget_statements(tables: SqlTables, request: ForgetRequest) -> Forgotten:
    if len(request.dead) + len(request.named) > ROWS_AT_ONCE:
        raise InvalidInput(f"a step of forgetting takes {ROWS_AT_ONCE} statements", "")
    rows = {row.position: row for row in _rows(tables, "s.position", (*request.dead, *request.named))}
    gone: list[tuple[int, int, int]] = []
    dying = [rows[position] for position in request.dead if position in rows]
    referred_to = {one.target for one in _rows(tables, "s.target", [row.originator_id for row in dying])}
    again = not all(row.terms for row in dying)
    for row in dying:
        gone += _lists_of(tables, row, request.terms, is_referred_to=row.originator_id in referred_to)
    if gone:
        tables.delete_terms(sorted(set(gone)))
    theirs = {term.to_bytes(TERM_PACKED_BYTES, signed=True) for term in request.terms}
    dead = frozenset(request.dead)
    left = {row.position: _without(row.people, PSEUDONYM_BYTES, {request.person}) for row in rows.values()}
    if request.step is Forget.EXPIRED:
        tables.do_many("DELETE FROM event_people WHERE pseudonym = ? AND position = ?", list(_people_of(rows.values())))
        left = dict.fromkeys(rows, b"")
    tables.do_many(
        "UPDATE statement SET terms = ?, people = ?, target = NULL, voids = NULL WHERE position = ?",
        [(b"", left[position], position) for position in rows if position in dead],
    )
    tables.do_many(
        "UPDATE statement SET terms = ?, people = ? WHERE position = ?",
        [
            (_without(row.terms, TERM_PACKED_BYTES, theirs), left[row.position], row.position)
            for row in rows.values()
            if row.position not in dead
        ],
    )
    tables.do_many("DELETE FROM blob WHERE position = ?", [(one,) for one in dead])
    touched = tuple(sorted({term for term, _, _ in gone}))
    return Forgotten(len(rows), terms=touched, again=again)


def _people_of(rows: Iterable[_Row]) -> Iterator[tuple[bytes, int]]:
    """Give each (pseudonym, position) by which statements are found."""
    for row in rows:
        for at in range(0, len(row.people), PSEUDONYM_BYTES):
            yield row.people[at : at + PSEUDONYM_BYTES], row.position


def _lists_of(
    tables: SqlTables, dead: _Row, theirs: Collection[int], *, is_referred_to: bool
) -> list[tuple[int, int, int]]:
    """Give every row of the lists whose way passes a statement: (term, position, source) (decision 13).

    The lists of the person's own terms are not among them: they go whole, last.
    """
    sources = [dead, *_leads_to(tables, dead)]
    positions = [dead.position, *(_led_from(tables, dead) if is_referred_to else ())]
    return [
        (term, position, source.position)
        for position in positions
        for source in sources
        for term in unpack_terms(source.terms)
        if term not in theirs
    ]


def _leads_to(tables: SqlTables, row: _Row) -> list[_Row]:
    """Give the statements that one leads to by StatementRefs, without going in circles."""
    found: list[_Row] = []
    passed = {row.originator_id}
    while row.target is not None and row.target not in passed and len(found) < CHAIN_STATEMENTS_MAX:
        passed.add(row.target)
        following = _rows(tables, "e.originator_id", [row.target])
        if not following:
            break
        row = following[0]
        found.append(row)
    return found


def _led_from(tables: SqlTables, row: _Row) -> list[int]:
    """Give the positions of the statements that lead to one, over any number of steps."""
    found: list[int] = []
    passed = {row.originator_id}
    layer = [row.originator_id]
    for _ in range(CHAIN_STATEMENTS_MAX):
        if not layer:
            break
        rows = [one for one in _rows(tables, "s.target", layer) if one.originator_id not in passed]
        layer = [one.originator_id for one in rows]
        passed.update(layer)
        found += [one.position for one in rows]
    return found


def _rows(tables: SqlTables, column: str, values: Sequence[Any]) -> list[_Row]:
    text = (
        "SELECT s.position, e.originator_id, s.terms, s.people, s.target "  # noqa: S608  our own words
        f"FROM statement s JOIN events e ON e.position = s.position WHERE e.originator_version = 1 AND {column} IN (??)"
    )
    return [_Row(*row) for row in tables.ask_among(text, values)] if values else []


def _without(packed: bytes, size: int, gone: Iterable[bytes]) -> bytes:
    """Take items of one size out of what is packed."""
    left = [packed[at : at + size] for at in range(0, len(packed), size)]
    return b"".join([one for one in left if one not in gone])
