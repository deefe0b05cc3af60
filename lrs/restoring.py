"""Restoring the log from a copy of its events: after it a log has the positions, times and index that it had.

A copy holds each event's sealed bytes and nothing of the index. Whom an event is about is read from the headers of its
parts; terms, references and voidings are computed anew from what still opens. What opens no more is kept as it is and
found by nobody, as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consumers.feed import FeedEvent
from lrs.appending import Appended, AppendRequest, Copied, IndexEntry, NewEvent
from lrs.errors import Damaged
from lrs.event_log import EventLog
from lrs.indexing import people_of_parts
from lrs.key_vault import KeyVault
from lrs.keys import KeyId
from lrs.sealing import OpenedStatement, SealedStatement, open_statement
from projections.statement_index import pack_terms, terms_of
from schemas.actions import is_voiding
from schemas.events import STATEMENT_RECORDED
from schemas.people import Named, people_of
from schemas.person_states import PersonState

RESTORED_AT_ONCE = 500
"""How many events go into the log in one transaction."""


class LogRestorer:
    """Writes copied events into a log that ends where they begin."""

    def __init__(self, log: EventLog, vault: KeyVault) -> None:
        self._log = log
        self._vault = vault

    async def restore(self, events: Sequence[FeedEvent]) -> None:
        """Append copied events, which must follow the log's last position without a gap.

        In the log they are durable, in pieces of RESTORED_AT_ONCE. Raises Damaged when they do not follow, or when a
        part does not open with the key that its header names; Busy and its kinds when the log cannot be written.
        """
        for start in range(0, len(events), RESTORED_AT_ONCE):
            piece = events[start : start + RESTORED_AT_ONCE]
            positions = range(piece[0].position, piece[0].position + len(piece))
            if [event.position for event in piece] != list(positions):
                raise Damaged("the copy has a gap, so the log cannot be restored from it")
            request = AppendRequest(
                tuple(await self.read(piece)),
                copied=Copied(piece[0].position, tuple([event.stored_us for event in piece])),
            )
            if not isinstance(await self._log.append(request), Appended):
                raise Damaged(
                    f"the log does not end before position {piece[0].position}, so it cannot be continued there"
                )

    async def read(self, events: Sequence[FeedEvent]) -> list[NewEvent]:
        """Give events as they were appended: with whom they name and, of statements, what they are found by.

        Raises Damaged when a part does not open with the key that its header names, and Busy.
        """
        sealed = [SealedStatement.read(one.position, one.originator_id, one.stored_us, one.state) for one in events]
        statements = [one for one, event in zip(sealed, events, strict=True) if event.topic == STATEMENT_RECORDED]
        ciphers = await self._vault.for_opening({key for one in statements for key in one.key_ids()})
        opened = {one.position: self._open(one, ciphers) for one in statements}
        owners = await self._owners([one for one in opened.values() if one is not None])
        named = {one.position: people_of_parts(one.parts) for one in sealed}
        gone = await self._erased({person for people in named.values() for person in people})
        made: list[NewEvent] = []
        for event, one in zip(events, sealed, strict=True):
            statement = opened.get(event.position)
            entry = None
            if event.topic == STATEMENT_RECORDED:
                entry = IndexEntry(b"") if statement is None else self._entry(statement, owners)
            blobs = _blobs(statement) if statement is not None else ()
            people = tuple([person for person in named[one.position] if person not in gone])
            made.append(
                NewEvent(
                    event.originator_id, event.version, event.topic, event.record_key, event.state, people, entry, blobs
                )
            )
        return made

    async def _erased(self, people: set[bytes]) -> set[bytes]:
        """Give those whose erasure is done: nothing leads to them. One that is under way still finds its events."""
        gone = await self._vault.erased_among(sorted(people))
        states = await self._log.person_states(sorted(gone))
        return gone - {person for person, _, state in states if state == PersonState.FENCED}

    def _open(self, sealed: SealedStatement, ciphers: Mapping[KeyId, AESGCM | None]) -> OpenedStatement | None:
        return open_statement(sealed, ciphers, self._vault.secrets.placeholder_pepper)

    async def _owners(self, statements: Iterable[OpenedStatement]) -> dict[str, bytes]:
        """Give the pseudonyms of everybody named who is still known; placeholders lead to nobody."""
        identifiers = {naming.identifier for one in statements for naming in people_of(one.statement).namings}
        found: dict[str, bytes] = {}
        for identifier in identifiers:
            owner = await self._vault.find_pseudonym(identifier)
            if owner is not None:
                found[identifier] = owner
        return found

    def _entry(self, opened: OpenedStatement, owners: Mapping[str, bytes]) -> IndexEntry:
        statement, blinding = opened.statement, self._vault.blinding
        named = people_of(statement)
        living = Named([one for one in named.namings if one.identifier in owners], named.principals)
        terms = pack_terms(terms_of(statement, living, owners.__getitem__, blinding.term))
        target = statement["object"]
        refers = blinding.statement(target["id"]) if target.get("objectType") == "StatementRef" else None
        return IndexEntry(terms, refers, refers if is_voiding(statement) else None)


def _blobs(opened: OpenedStatement) -> tuple[bytes, ...]:
    return tuple([bytes.fromhex(blob["id"]) for blob in opened.blobs.values()])
