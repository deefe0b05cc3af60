"""What it means to append: one group of requests, one transaction, decided under the log's lock.

The unit of success is the request: each goes in whole, or is handed back with what changed since the server looked
(ids that are known, people whose state is another). No exception lies on this path and nothing is half done
(decision 7). Positions and `stored` come from the one row `log_head` (decision 6), so they are gap-free, distinct and
in the order of commits for any number of processes and clocks.

This module knows the order of things; what SQL does each is in the recorders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from lrs.changed import Changed
from lrs.document_writing import DocumentRequest, DocumentsChanged, DocumentTables, write_documents
from lrs.forgetting import ForgetRequest, Forgotten, SqlTables, forget
from lrs.indexing import CHAIN_STATEMENTS_MAX, Indexed, IndexRequest, IndexTables, write_index
from schemas.envelope import Part, clear_part, join_parts
from schemas.events import STATEMENT_VOIDED
from schemas.person_states import ALL_PURPOSES, STATE_KINDS, PersonState, PersonStateRow, StateChange, changes_in

Stream = tuple[bytes, int]
"""(originator id, version)"""


class IndexEntry(msgspec.Struct, array_like=True, frozen=True):
    """What the statement index keeps of a statement: its terms packed, whom it refers to, whom it voids."""

    terms: bytes
    target: bytes | None = None
    voids: bytes | None = None


class NewEvent(msgspec.Struct, array_like=True, frozen=True):
    """An event on its way into the log. record_key is its key on Kafka; people are the pseudonyms it names."""

    originator_id: bytes
    version: int
    topic: str
    record_key: bytes
    state: bytes
    people: tuple[bytes, ...] = ()
    entry: IndexEntry | None = None
    blobs: tuple[bytes, ...] = ()


class Copied(msgspec.Struct, array_like=True, frozen=True):
    """Says that events come from a copy of this log: from which position on, and their stored µs."""

    position: int
    stored_us: tuple[int, ...]


class AppendRequest(msgspec.Struct, array_like=True, frozen=True, tag="append"):
    """Events that go in together or not at all. seen is what the server knew of the state of the people named.

    Copied events keep their positions and times, and nothing is made of them: what once was is among them.
    """

    events: tuple[NewEvent, ...]
    seen: tuple[PersonStateRow, ...] = ()
    copied: Copied | None = None


class Appended(msgspec.Struct, array_like=True, frozen=True, tag="appended"):
    """The request is in the log. stored_us of each of its events, in order; head_us is the log's newest."""

    position: int
    stored_us: tuple[int, ...]
    head_us: int


class KnownStatement(msgspec.Struct, frozen=True):
    """A statement's row as linking needs it."""

    position: int
    terms: bytes
    target: bytes | None
    voids: bytes | None
    voided: bool
    record_key: bytes


EventRow = tuple[int, bytes, int, str, bytes, int, bytes]
"""(position, originator id, version, topic, record key, stored µs, state)"""
TermRow = tuple[bytes, int, int]
"""(packed terms, position, source)"""
StatementRow = tuple[int, bytes, bytes, bytes | None, bytes | None]
"""(position, packed terms, packed people, target, whom it voids)"""


class Rows(msgspec.Struct):
    """What one group inserts. terms are only those that statements inherit: their own follow when they are settled.

    erased are people who are found by nothing any more from now on.
    """

    events: list[EventRow] = []
    statements: list[StatementRow] = []
    terms: list[TermRow] = []
    people: list[tuple[bytes, int]] = []
    blobs: list[tuple[bytes, int]] = []
    voidings: list[tuple[bytes, int]] = []
    voided_positions: list[int] = []
    states: list[StateChange] = []
    erased: list[bytes] = []


Referrer = tuple[int, bytes, bytes]
"""(position, originator id, the target it refers to)"""


class LookedUp(NamedTuple):
    """What deciding a group of appends takes: the head and the clock, and what is known of what the group names."""

    position: int
    stored_us: int
    now_us: int
    known: set[Stream]
    states: list[PersonStateRow]
    referrers: list[Referrer]
    voidings: set[bytes]


class LogTables(SqlTables, DocumentTables, Protocol):
    """The log's tables inside a transaction that holds the log's lock."""

    def look_up(self, streams: Sequence[Stream], people: Sequence[bytes], statements: Sequence[bytes]) -> LookedUp:
        """Give all that deciding a group takes, in as few questions as the database allows."""
        ...

    def referrers(self, targets: Sequence[bytes]) -> list[Referrer]:
        """Give the statements that refer to a target."""
        ...

    def known_statements(self, originator_ids: Sequence[bytes]) -> dict[bytes, KnownStatement]:
        """Give the statements among these streams."""
        ...

    def insert(self, rows: Rows, position: int, stored_us: int) -> None:
        """Insert everything and move the head to (position, stored µs)."""
        ...

    def settled(self) -> int:
        """Give up to which position the lists hold every statement."""
        ...

    def unsettled(self, limit: int) -> list[tuple[int, bytes, bytes]]:
        """Give (position, packed terms, packed people) of the oldest statements that the lists do not hold yet."""
        ...

    def settle(self, terms: list[TermRow], people: list[tuple[bytes, int]], position: int) -> None:
        """Write lists and say that they hold every statement up to a position."""
        ...

    def advance(self) -> int:
        """Move the head's stored to the clock's time, never back; give it."""
        ...

    def index(self) -> IndexTables:
        """Give the index that is being built."""
        ...


class Group:
    """One group of append requests inside the log's transaction."""

    def __init__(self, tables: LogTables, requests: Sequence[AppendRequest]) -> None:
        self._tables = tables
        self._requests = requests
        self._rows = Rows()
        self._copying = any(request.copied is not None for request in requests)
        self._fresh: dict[bytes, KnownStatement] = {}
        self._looked_up: dict[bytes, KnownStatement | None] = {}
        self._states: dict[bytes, list[PersonStateRow]] = {}
        events = [event for request in requests for event in request.events]
        self._seen = tables.look_up(
            [(event.originator_id, event.version) for event in events],
            list({person for event in events for person in _people_of(event)}),
            [event.originator_id for event in events if event.entry is not None],
        )
        self._position, self._stored_us, self._now_us = self._seen[:3]

    def append(self) -> list[Appended | Changed]:
        """Take each request whole or hand it back; write; give the outcomes in the order of the requests."""
        for row in self._seen.states:
            self._states.setdefault(row[0], []).append(row)
        outcomes = [self._take(request, self._seen.known) for request in self._requests]
        self._link()
        if self._rows.events:
            self._tables.insert(self._rows, self._position, self._stored_us)
        return [Appended(*one, self._stored_us) if isinstance(one, tuple) else one for one in outcomes]

    def _take(self, request: AppendRequest, taken: set[Stream]) -> Changed | tuple[int, tuple[int, ...]]:
        if request.copied is not None:
            return self._take_copy(request.events, request.copied)
        streams = [(event.originator_id, event.version) for event in request.events]
        known = tuple([index for index, stream in enumerate(streams) if stream in taken])
        if not known and len(set(streams)) < len(streams):
            known = tuple([index for index, stream in enumerate(streams) if stream in streams[:index]])
        now_true: tuple[PersonStateRow, ...] = ()
        if states := self._states:
            named = {person for event in request.events for person in _people_of(event)}
            now_true = tuple(sorted(row for person in named if person in states for row in states[person]))
        if known or now_true != request.seen:
            return Changed(known, now_true)
        taken.update(streams)
        first = self._position + 1
        return first, tuple([self._add(event) for event in request.events])

    def _take_copy(self, events: Sequence[NewEvent], copied: Copied) -> Changed | tuple[int, tuple[int, ...]]:
        """Take events as they were; hand them back where the log does not end just before them."""
        if copied.position != self._position + 1:
            return Changed((), ())
        return copied.position, tuple([self._add(*one) for one in zip(events, copied.stored_us, strict=True)])

    def _add(self, event: NewEvent, stored_us: int | None = None) -> int:
        rows = self._rows
        self._position += 1
        self._stored_us = max(self._now_us, self._stored_us + 1) if stored_us is None else stored_us
        position = self._position
        rows.events.append(
            (position, event.originator_id, event.version, event.topic, event.record_key, self._stored_us, event.state)
        )
        if event.blobs:
            rows.blobs += [(blob, position) for blob in event.blobs]
        if (entry := event.entry) is not None:
            rows.statements.append((position, entry.terms, b"".join(event.people), entry.target, entry.voids))
            self._fresh[event.originator_id] = KnownStatement(
                position, entry.terms, entry.target, entry.voids, False, event.record_key
            )
        else:
            rows.people += [(person, position) for person in event.people]
        if event.topic in STATE_KINDS:
            self._change_states(event.state)
        return self._stored_us

    def _change_states(self, record: bytes) -> None:
        """Have what an event says of a person be true for all that comes after it, in this group too."""
        for change in changes_in(record):
            self._rows.states.append(change)
            if change.purpose == ALL_PURPOSES and change.state == PersonState.ERASED:
                self._rows.erased.append(change.pseudonym)
            others = [row for row in self._states.get(change.pseudonym, ()) if row[1] != change.purpose]
            self._states[change.pseudonym] = (
                [*others, (change.pseudonym, change.purpose, change.state)] if change.state else others
            )

    # ── StatementRefs and voiding ────────────────────────────────────────────────────────────────────────────────

    def _link(self) -> None:
        """Give the index what StatementRefs pass on, and void what is to be voided (decision 13)."""
        fresh = self._fresh
        if not fresh and not self._copying:
            return
        inherits = [one for one, entry in fresh.items() if entry.target is not None]
        for originator_id in inherits:
            self._inherit(fresh[originator_id].position, self._chain(originator_id))
        for position, referrer, target in self._seen.referrers:
            if target not in fresh:
                continue
            passed_on = [fresh[target], *self._chain(target)]
            self._inherit(position, passed_on)
            for further in self._referrers_of(referrer):
                self._inherit(further, passed_on)
        self._void(self._seen.voidings & fresh.keys())

    def _inherit(self, position: int, sources: Iterable[KnownStatement]) -> None:
        self._rows.terms += [(source.terms, position, source.position) for source in sources]

    def _chain(self, originator_id: bytes) -> list[KnownStatement]:
        """Give the statements that a statement leads to by StatementRefs, nearest first, without going in circles."""
        chain: list[KnownStatement] = []
        passed = {originator_id}
        statement = self._statement(originator_id)
        while statement is not None and statement.target is not None and len(chain) < CHAIN_STATEMENTS_MAX:
            if statement.target in passed:
                break
            passed.add(statement.target)
            statement = self._statement(statement.target)
            if statement is not None:
                chain.append(statement)
        return chain

    def _referrers_of(self, originator_id: bytes) -> list[int]:
        """Give the positions of all statements in the log that lead to this one, over any number of steps."""
        found: list[int] = []
        passed = {originator_id}
        layer = [originator_id]
        for _ in range(CHAIN_STATEMENTS_MAX):
            rows = [row for row in self._tables.referrers(layer) if row[1] not in passed] if layer else []
            layer = [referrer for _, referrer, _ in rows]
            passed.update(layer)
            found += [position for position, _, _ in rows]
        return found

    def _statement(self, originator_id: bytes) -> KnownStatement | None:
        if originator_id in self._fresh:
            return self._fresh[originator_id]
        if originator_id not in self._looked_up:
            found = self._tables.known_statements([originator_id])
            self._looked_up[originator_id] = found.get(originator_id)
        return self._looked_up[originator_id]

    def _void(self, pending: set[bytes]) -> None:
        rows = self._rows
        asked = dict.fromkeys(pending)
        for entry in list(self._fresh.values()):
            if entry.voids is not None:
                rows.voidings.append((entry.voids, entry.position))
                asked[entry.voids] = None
        if self._copying:
            done = [event[1] for event in rows.events if event[3] == STATEMENT_VOIDED]
            rows.voided_positions += [one.position for one in map(self._statement, done) if one is not None]
            return
        for target in asked:
            statement = self._statement(target)
            # A statement that voids cannot be voided itself (xAPI Data 2.3.2).
            if statement is None or statement.voids is not None or statement.voided:
                continue
            rows.voided_positions.append(statement.position)
            self._position += 1
            self._stored_us += 1
            state = join_parts([clear_part(Part.VOIDED, statement.record_key, statement.position.to_bytes(8))])
            rows.events.append(
                (self._position, target, 2, STATEMENT_VOIDED, statement.record_key, self._stored_us, state)
            )


def _people_of(event: NewEvent) -> Iterable[bytes]:
    """Give those whose state decides about an event: whom it names, and of whom it says what is true."""
    if event.topic in STATE_KINDS:
        return {*event.people, *[change.pseudonym for change in changes_in(event.state)]}
    return event.people


class AdvanceRequest(msgspec.Struct, array_like=True, frozen=True, tag="advance"):
    """Move the watermark to now, so that a quiet log's Consistent-Through does not grow old."""


class Advanced(msgspec.Struct, array_like=True, frozen=True, tag="advanced"):
    """The watermark after moving it."""

    head_us: int


class Failed(msgspec.Struct, array_like=True, frozen=True, tag="failed"):
    """The transaction could not be committed; nothing of it was written. reason is for the operator's log.

    full: because the disk is.
    """

    reason: str
    full: bool = False


Request = AppendRequest | DocumentRequest | AdvanceRequest | IndexRequest | ForgetRequest
Outcome = Appended | Changed | DocumentsChanged | Advanced | Indexed | Forgotten | Failed


def write_group(tables: LogTables, requests: Sequence[Request]) -> list[Outcome]:
    """Carry out requests on tables whose lock is held: appends as one group, then documents, then the watermark."""
    appends = [one for one in requests if isinstance(one, AppendRequest)]
    appended: Iterator[Appended | Changed] = iter(Group(tables, appends).append() if appends else ())
    outcomes: list[Outcome] = []
    for request in requests:
        if isinstance(request, AppendRequest):
            outcomes.append(next(appended))
        elif isinstance(request, DocumentRequest):
            outcomes.append(write_documents(tables, request))
        elif isinstance(request, AdvanceRequest):
            outcomes.append(Advanced(tables.advance()))
        elif isinstance(request, ForgetRequest):
            outcomes.append(forget(tables, request))
        else:
            outcomes.append(write_index(tables.index(), request))
    return outcomes
