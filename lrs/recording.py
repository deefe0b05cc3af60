"""Recording statements: the first file to read. What content posts becomes events here.

    record_statements
      prepare      ids, authority, who is named, what it means             (schemas/)
      vault        a pseudonym for everyone named, keys to seal with       (lrs/key_vault.py)
      seal         the body for its principals, everyone else apart        (lrs/sealing.py)
      append       all of the request or nothing, in one transaction       (lrs/event_log.py)
      look again   where the writer found an id known or a person's state changed: compare, refuse, or seal anew

Nothing is read before it is written: an id's uniqueness is the log's primary key, and only when it clashes are the two
statements compared (decisions 7 and 11).
"""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lrs.activities import NO_YEAR, ActivityCatalogue
from lrs.appending import Appended, AppendRequest, IndexEntry, NewEvent
from lrs.changed import Changed
from lrs.errors import Busy, Conflict, LearnerErased, PurposeWithdrawn, Refused
from lrs.event_log import EventLog
from lrs.key_vault import KeyVault
from lrs.keys import SealingKey
from lrs.sealing import (
    SCHEMA,
    SealableStatement,
    SealedStatement,
    Together,
    living_principals,
    open_statement,
    seal_part,
    seal_statement,
)
from projections.statement_index import pack_terms, terms_of
from schemas.actions import action_of, is_voiding
from schemas.envelope import NOBODY, Algorithm, Header, Part, Purpose, join_parts
from schemas.errors import InvalidInput
from schemas.events import STATEMENT_RECORDED, VOIDING
from schemas.people import Json, Named, people_of
from schemas.person_states import ALL_PURPOSES, GONE, PersonState, PersonStateRow
from schemas.statement import equal_statements

LOOKS_MAX = 10
"""How often a request is looked at again before it is given back as busy."""

SEALED_AT_ONCE = 100
"""How many statements are sealed before the event loop gets a turn."""
FIRST_VERSION = 1
TOGETHER = "together"
_SIGNED = "a signed statement names someone who has been erased"


@dataclass(slots=True, frozen=True)
class Attached:
    """What came with the statements: stored blobs by sha2, and which of them are signatures over which identifiers."""

    blobs: Mapping[str, Json] = field(default_factory=dict)
    signed_people: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Pending:
    """A statement on its way: index is its place in the request."""

    index: int
    statement: Json
    originator_id: bytes
    action: str
    named: Named
    voids: bytes | None = None
    voiding_known: bool = False
    owners: Mapping[str, bytes] = field(default_factory=dict)


class StatementRecorder:
    """Records statements for callers. `now` gives the time that chooses the keys' year."""

    def __init__(
        self,
        log: EventLog,
        vault: KeyVault,
        catalogue: ActivityCatalogue,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self._log = log
        self._vault = vault
        self._catalogue = catalogue
        self._now = now
        self._new_id = new_id

    async def record_statements(
        self,
        statements: Sequence[Json],
        authority: Json,
        version: str,
        *,
        attached: Attached | None = None,
        may_define: bool = True,
    ) -> list[str]:
        """Record checked and normalised statements, all or none; give their ids in order.

        The statements are this method's own from now on. version is what a statement without one gets. Raises
        InvalidInput (an id twice), Conflict (an id is used for another statement), LearnerErased, PurposeWithdrawn,
        Busy and its kinds. After any of them nothing of the request is stored, but for WriterGone.
        """
        ids = [self._complete(statement, authority, version) for statement in statements]
        _refuse_repeated(ids)
        pending = [self._prepare(index, statement) for index, statement in enumerate(statements)]
        await asyncio.sleep(0)  # for what arrived together, as before checking
        seen: tuple[PersonStateRow, ...] = ()
        gone: set[bytes] = set()
        for _ in range(LOOKS_MAX):
            said = self._catalogue.collect([one.statement for one in pending]) if may_define else {}
            defined = await self._catalogue.changes(said) if said else []
            events, sources = await self._seal(pending, attached or Attached(), seen, gone)
            request = AppendRequest((*events, *[event for _, event in defined]), seen)
            outcome = await self._log.append(request)
            if isinstance(outcome, Appended):
                self._catalogue.forget([activity_id for activity_id, _ in defined])
                return ids
            pending = await self._look_again(outcome, pending, sources)
            self._catalogue.forget([activity_id for activity_id, _ in defined])
            if not pending:
                return ids
            _refuse(outcome.states, pending, attached or Attached())
            # Who is gone is not named again, so their state is not asked again.
            gone |= {row[0] for row in outcome.states if row[1] == ALL_PURPOSES and _means_gone(row[2])}
            seen = tuple([row for row in outcome.states if row[0] not in gone])
        raise Busy("others keep changing what this request depends on; nothing was stored, try again")

    def _complete(self, statement: Json, authority: Json, version: str) -> str:
        statement_id: str = statement.setdefault("id", "") or str(self._new_id())
        statement["id"] = statement_id
        statement["authority"] = authority
        statement.setdefault("version", version)
        statement.pop("stored", None)
        return statement_id

    def _prepare(self, index: int, statement: Json) -> _Pending:
        blinding = self._vault.blinding
        pending = _Pending(
            index, statement, blinding.statement(statement["id"]), action_of(statement), people_of(statement)
        )
        if is_voiding(statement):
            pending.voids = blinding.statement(statement["object"]["id"])
        return pending

    # ── sealing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _seal(
        self, pending: Sequence[_Pending], attached: Attached, seen: Iterable[PersonStateRow], gone: set[bytes]
    ) -> tuple[list[NewEvent], list[_Pending]]:
        """Give the statements' events, and which statement each belongs to."""
        year = self._now().year
        identifiers = dict.fromkeys([naming.identifier for one in pending for naming in one.named.namings])
        # A signature may name someone whom the statement does not: an authority that was replaced.
        identifiers |= dict.fromkeys(frozenset().union(*attached.signed_people.values()))
        owners = self._vault.remembered(identifiers) or await self._vault.pseudonyms(identifiers, year)
        if NOBODY in owners.values():
            gone = gone | {NOBODY}
        no_survey = {row[0] for row in seen if row[1:] == (Purpose.SURVEY, PersonState.WITHDRAWN)}
        keys = await self._keys(owners.values(), Purpose.LEARNING, year)
        for owner in gone:
            keys[owner] = None
        together = await self._together([living_principals(one.named, owners, keys) for one in pending])
        events: list[NewEvent] = []
        sources: list[_Pending] = []
        voided: set[bytes] = set()
        for one, ours in zip(pending, together, strict=True):
            if all(keys[owners[identifier]] is None for identifier in one.named.principals):
                await self._refuse_gone(one, LearnerErased(pointer=f"/{one.index}/actor"))
            sealable = self._sealable(one, attached, year)
            if any(keys[owners[identifier]] is None for identifier in sealable.signed_people):
                await self._refuse_gone(one, LearnerErased(_SIGNED, pointer=f"/{one.index}"))
            survey_keys: dict[bytes, SealingKey | None] = {}
            if sealable.survey_answer_of_one:
                principal = owners[one.named.principals[0]]
                if principal in no_survey:
                    survey_keys[principal] = None
                else:
                    survey_keys = await self._keys([principal], Purpose.SURVEY, year)
            state = seal_statement(sealable, owners, keys, survey_keys, ours)
            one.owners = owners
            people = {owners[naming.identifier] for naming in one.named.namings if naming.is_person} - gone
            alive = _without(one.named, owners, gone) if gone else one.named
            terms = terms_of(one.statement, alive, owners.__getitem__, self._vault.blinding.term)
            entry = IndexEntry(pack_terms(terms), self._target(one.statement), one.voids)
            record_key = next(owners[who] for who in _record_identifiers(one) if owners[who] not in gone)
            blobs = tuple([bytes.fromhex(blob["id"]) for blob in sealable.blobs.values()])
            events.append(
                NewEvent(
                    one.originator_id,
                    FIRST_VERSION,
                    STATEMENT_RECORDED,
                    record_key,
                    state,
                    tuple(people),
                    entry,
                    blobs,
                )
            )
            sources.append(one)
            if len(sources) % SEALED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if one.voids is not None and not one.voiding_known and one.voids not in voided:
                voided.add(one.voids)
                events.append(self._voiding(one.voids))
                sources.append(one)
        return events, sources

    async def _refuse_gone(self, one: _Pending, refusal: LearnerErased) -> NoReturn:
        """Raise for a statement that lacks a key which it needs; an id that is used comes before that (decision 7)."""
        if await self._log.find_statements([one.originator_id]):
            raise Conflict("a different statement with this id is stored", pointer=f"/{one.index}/id")
        raise refusal

    async def _keys(self, owners: Iterable[bytes], purpose: Purpose, year: int) -> dict[bytes, SealingKey | None]:
        keys: dict[bytes, SealingKey | None] = {}
        for owner in owners:
            key = self._vault.sealing_key(owner, purpose, year)
            if key is None:
                return await self._vault.for_sealing(owners, purpose, year)
            keys[owner] = key
        return keys

    async def _together(self, principals: Sequence[Sequence[bytes]]) -> list[Together | None]:
        """Give, for each statement's living principals, their key together; None where there is one or nobody."""
        blind = self._vault.blinding.id
        owners = [blind(TOGETHER, *sorted(ours)) if len(ours) > 1 else None for ours in principals]
        wanted = dict.fromkeys([owner for owner in owners if owner is not None])
        keys = await self._keys(wanted, Purpose.TOGETHER, NO_YEAR) if wanted else {}
        if None in keys.values():
            raise Busy("someone whom this is about is being erased; nothing was stored, try again")
        return [Together(owner, key) if owner and (key := keys[owner]) else None for owner in owners]

    def _sealable(self, one: _Pending, attached: Attached, year: int) -> SealableStatement:
        sealable = SealableStatement(one.statement, one.named, one.originator_id, one.action, year)
        attachments = one.statement.get("attachments")
        if attachments and attached.blobs:
            sha2s = {attachment["sha2"] for attachment in attachments}
            sealable.blobs = {sha2: blob for sha2, blob in attached.blobs.items() if sha2 in sha2s}
            signatures = sha2s.intersection(attached.signed_people)
            sealable.signature_sha2s = frozenset(signatures)
            sealable.signed_people = frozenset().union(*[attached.signed_people[sha2] for sha2 in signatures])
        return sealable

    def _target(self, statement: Json) -> bytes | None:
        target = statement["object"]
        if target.get("objectType") != "StatementRef":
            return None
        return self._vault.blinding.statement(target["id"])

    def _voiding(self, target: bytes) -> NewEvent:
        """The voiding as an event of its own, under the store's key: erasing who voided revives nothing."""
        secrets = self._vault.secrets
        originator_id = self._vault.blinding.id("voiding", target)
        header = Header(Algorithm.AES_256_GCM, Purpose.STORE, 0, Part.VOIDING, secrets.store_owner, 0, SCHEMA)
        state = join_parts([seal_part(secrets.store_key, header, originator_id, target)])
        return NewEvent(originator_id, FIRST_VERSION, VOIDING, secrets.store_owner, state)

    # ── looking again ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _look_again(
        self, changed: Changed, pending: list[_Pending], sources: Sequence[_Pending]
    ) -> list[_Pending]:
        """Settle ids that are known: equal statements are done, others are a conflict. Give what is left to record."""
        clashing: dict[bytes, _Pending] = {}
        for index in changed.known:
            if index >= len(sources):
                continue  # an activity's definition moved on meanwhile; it is merged anew
            one = sources[index]
            is_statement = index == 0 or sources[index - 1] is not one
            if is_statement:
                clashing[one.originator_id] = one
            else:
                one.voiding_known = True
        if not clashing:
            return pending
        for row in await self._log.find_statements(list(clashing)):
            position, originator_id, stored_us, state, _ = row
            one = clashing[originator_id]
            sealed = SealedStatement.read(position, originator_id, stored_us, state)
            ciphers = await self._vault.for_opening(sealed.key_ids())
            opened = open_statement(sealed, ciphers, self._vault.secrets.placeholder_pepper)
            if opened is None or not opened.intact or not equal_statements(opened.statement, one.statement):
                raise Conflict("a different statement with this id is stored", pointer=f"/{one.index}/id")
        return [one for one in pending if one.originator_id not in clashing]


def _refuse(states: Iterable[PersonStateRow], pending: Sequence[_Pending], attached: Attached) -> None:
    """Raise if someone's state forbids a statement (decision 10)."""
    by_person: dict[bytes, dict[int, int]] = {}
    for pseudonym, purpose, state in states:
        by_person.setdefault(pseudonym, {})[purpose] = state
    if not by_person:
        return
    refusals = [refusal for one in pending if (refusal := _refusal(one, by_person, attached)) is not None]
    if refusals:
        refusals[0].pointers = [refusal.pointer or "" for refusal in refusals]
        raise refusals[0]


def _refusal(one: _Pending, by_person: Mapping[bytes, Mapping[int, int]], attached: Attached) -> Refused | None:
    """Give why one statement is refused, None if it is not."""
    about = [by_person.get(one.owners[identifier], {}) for identifier in one.named.principals]
    if all(_is_gone(state) for state in about):
        return LearnerErased(pointer=f"/{one.index}/actor")
    if any(state.get(Purpose.LEARNING) == PersonState.WITHDRAWN for state in about):
        return PurposeWithdrawn(pointer=f"/{one.index}/actor")
    for attachment in one.statement.get("attachments", ()):
        signed = attached.signed_people.get(attachment["sha2"], frozenset())
        if any(_is_gone(by_person.get(one.owners[identifier], {})) for identifier in signed):
            return LearnerErased(_SIGNED, pointer=f"/{one.index}")
    return None


def _is_gone(state: Mapping[int, int]) -> bool:
    return _means_gone(state.get(ALL_PURPOSES))


def _means_gone(state: int | None) -> bool:
    return state in GONE


def _record_identifiers(one: _Pending) -> Iterable[str]:
    """Give whose pseudonym is the record's key: the actor's; an anonymous group's first member's (decision 24).

    Where that one is erased, it is the next of those whom the statement is about.
    """
    yield one.named.namings[0].identifier
    yield from one.named.principals


def _without(named: Named, owners: Mapping[str, bytes], gone: set[bytes]) -> Named:
    return Named([naming for naming in named.namings if owners[naming.identifier] not in gone], named.principals)


def _refuse_repeated(ids: Sequence[str]) -> None:
    lowered = [one.lower() for one in ids]
    if len(set(lowered)) < len(lowered):
        repeated: Any = next(index for index, one in enumerate(lowered) if one in lowered[:index])
        raise InvalidInput("the same id stands twice in this request", f"/{repeated}/id")
