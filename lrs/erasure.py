"""Erasure: somebody asks to be forgotten, and is. The one way in which keys of a person as a whole are destroyed.

    request     an event: from its position on nothing more is recorded about them (the fence)
    copied      in a cluster Kafka has acknowledged that event, before anything is destroyed
    keys        destroyed, with all that leads from an identifier to the person (lrs/endings.py)
    views       rows, counts and dead letters of the person, in every generation; a tombstone keeps them away
    log         documents, attachments, lists, what others inherited (lrs/forgetting.py)
    activities  defined for them alone (lrs/unused_activities.py)
    caches      every process has dropped what it held: its lease has ended since
    verified    no key, no identifier, no row is left, and every part of theirs names a key that is destroyed
    completed   an event with the signed certificate, told to those who receive the completion stream

Every step may be repeated, and none asks how far another process came. So whoever finds somebody fenced can take the
erasure up where it was left: a server does so at its start and from time to time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import orjson

from lrs.appending import Appended, AppendRequest, NewEvent
from lrs.attachments import Attachments
from lrs.certificates import Certificate, Certifier, Found
from lrs.changed import Changed
from lrs.completions import Completions
from lrs.copy_wait import Copied, wait_for_copy
from lrs.endings import Endings, counted
from lrs.errors import Busy, Conflict, Damaged, NotFound
from lrs.event_log import Event, EventLog
from lrs.forgetting import Forget, ForgetRequest
from lrs.key_vault import KeyVault
from lrs.keys import KeyState
from lrs.person_changes import Note
from lrs.shared_bodies import SHARING, Fate, choice, fate, is_chosen, keys_together, sharing
from lrs.unused_activities import SETTLE, UnusedActivities
from projections.statement_index import Kind, term_number
from projections.view_store import ViewStore
from schemas.envelope import Part, Purpose, SealedPart, clear_part, join_parts, split_parts
from schemas.events import (
    COMPLETION_SEQUENCED,
    ERASURE_COMPLETED,
    ERASURE_REQUESTED,
)
from schemas.person_states import (
    ALL_PURPOSES,
    GONE,
    HELD,
    PersonState,
    PersonStateRow,
    StateChange,
    held_among,
    pack_change,
)

EVENTS_AT_ONCE = 50
PACE_S = 0.042
"""From one step of so many events to the next: others go first, and keys are gone by then."""
LOOKS_MAX = 10

Tell = Callable[[str], None]

log = logging.getLogger("griffel.erasure")


class Withheld(Busy):
    """A legal hold keeps what is left of this person. Nobody sees it; it is destroyed when the hold is released."""

    def __init__(self, held: Mapping[int, str]) -> None:
        """Held is the ground of each purpose that is held."""
        self.held = {Purpose(purpose).name.lower(): ground for purpose, ground in sorted(held.items())}
        told = ", ".join(f"{purpose} ({ground})" for purpose, ground in self.held.items())
        super().__init__(f"a legal hold keeps: {told}; the erasure goes on when it is released")


class Preview(NamedTuple):
    """What an erasure will do. Statements by what they become: erased, some of them although they are about others too
    (ended); kept for others who are alive (shared); kept with a placeholder in the person's place (named). keys by
    purpose; held: the ground of each purpose that is held.
    """

    identifiers: int
    keys: dict[str, int]
    erased: int
    ended: int
    shared: int
    named: int
    documents: int
    stream_entries: int
    held: dict[str, str]


class Eraser:
    """Carries out erasures in one installation. copied is None where there is no Kafka to wait for."""

    def __init__(
        self,
        events: EventLog,
        vault: KeyVault,
        views: ViewStore,
        attachments: Attachments,
        completions: Completions,
        certifier: Certifier,
        activities: UnusedActivities,
        *,
        copied: Copied | None = None,
        note: Note | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = events
        self._vault = vault
        self._endings = Endings(vault, clock=clock)
        self._views = views
        self._attachments = attachments
        self._completions = completions
        self._certifier = certifier
        self._activities = activities
        self._copied = copied
        self._note = note
        self._under_way: dict[bytes, asyncio.Lock] = {}

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, identifier: str) -> bytes:
        """Give the pseudonym of an identifier. Raises NotFound."""
        person = await self._vault.find_pseudonym(identifier)
        if person is None:
            raise NotFound("nobody is known by this identifier: there is nothing to erase")
        return person

    def stream(self, person: bytes) -> bytes:
        """Give the stream of a person's erasure, which is also its id."""
        return self._vault.blinding.id("erasure", person)

    async def preview(self, person: bytes, *, with_shared: bool = False) -> Preview:
        """Count what an erasure will do, or one that ends what is shared with others too; nothing is changed."""
        await self._log.forget(SETTLE)
        ending = await self._keys_together(person) if with_shared else set()
        found = Counter[Fate]()
        async for events in self._about(person, 0.0):
            found.update((await self._fates(person, events, ending)).values())
        keys = counted(await self._endings.keys_of(person))
        return Preview(
            identifiers=len(await self._vault.identifiers_of(person)),
            keys={Purpose(one).name.lower(): number for one, number in sorted(keys.items())},
            erased=found[Fate.DEAD] + found[Fate.ENDED],
            ended=found[Fate.ENDED],
            shared=found[Fate.SHARED],
            named=found[Fate.NAMED],
            documents=await self._log.documents_of(person),
            stream_entries=found[Fate.COMPLETION],
            held=Withheld(held_among(await self._log.person_states([person]))).held,
        )

    async def request(self, person: bytes, *, with_shared: bool = False) -> bytes:
        """Fence somebody: from now on nothing more is recorded about them. Give the erasure's id.

        with_shared: what is about others too ends with them. Doing it again is no error. Raises Conflict for one that
        was begun otherwise, Busy and its kinds; then nothing was changed.
        """
        stream = self.stream(person)
        states: tuple[PersonStateRow, ...] = await self._log.person_states([person])
        for _ in range(LOOKS_MAX):
            if _is_gone(states):
                if with_shared and not is_chosen(person, states):
                    raise Conflict("this erasure was begun before, and keeps what is about others too")
                return stream
            changes = [StateChange(person, ALL_PURPOSES, PersonState.FENCED)]
            if with_shared:
                changes.append(choice(person))
            state = join_parts([pack_change(change) for change in changes])
            event = NewEvent(stream, 1, ERASURE_REQUESTED, person, state)
            outcome = await self._log.append(AppendRequest((event,), states))
            if isinstance(outcome, Appended):
                return stream
            states = outcome.states
        raise Busy("others keep changing what is true of this person; nothing was done, try again")

    async def certificate(self, erasure: bytes) -> Certificate | None:
        """Give the certificate of an erasure; None while it is under way. Raises NotFound."""
        events = await self._log.streams([erasure])
        if not any(one.topic == ERASURE_REQUESTED for one in events):
            raise NotFound("there is no erasure of this id")
        for event in events:
            if event.topic == ERASURE_COMPLETED:
                return Certificate.read(_certificate_part(event).box)
        return None

    async def pending(self) -> list[bytes]:
        """Give those who are fenced and not yet erased."""
        return [person for person, _, _ in await self._log.people_who_are(PersonState.FENCED)]

    async def held(self) -> list[PersonStateRow]:
        """Give everyone of whom something is held."""
        return await self._log.people_who_are(*HELD)

    async def erase(self, person: bytes, tell: Tell = lambda _: None) -> Certificate:
        """Fence, destroy, forget, verify; give the certificate.

        Raises Pending while Kafka has not acknowledged the request, Busy when something does not answer: what was done
        stays done, and the same call goes on. Raises Damaged when something is left that cannot be.
        """
        await self.request(person)
        async with self._under_way.setdefault(person, asyncio.Lock()):
            try:
                return await self._carry_out(person, tell)
            finally:
                self._under_way.pop(person, None)

    # ── doing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _carry_out(self, person: bytes, tell: Tell) -> Certificate:
        stream = self.stream(person)
        if (done := await self.certificate(stream)) is not None:
            return done
        (requested,) = [one for one in await self._log.streams([stream]) if one.topic == ERASURE_REQUESTED]
        tell("fenced")
        await wait_for_copy(self._copied, requested.position)
        if held := held_among(await self._log.person_states([person])):
            await self._withhold(person, held)
        is_resumed = await self._endings.ending(person) is not None
        await self.destroy(person)
        dropping = await self._vault.dropping()
        tell("keys destroyed")
        await asyncio.to_thread(self._views.forget, person)
        tell("views")
        found, entries, ended, touched = await self._forget_in_log(person, requested.position, tell)
        found["activities"] = await self._activities.end(None if is_resumed else touched)
        tell("activities")
        await self._vault.dropped(dropping)
        tell("caches")
        # Whoever applied a batch with a key in memory was told by the tombstone; documents by the state of the person.
        await self._verify(person, ended, requested.position)
        tell("verified")
        certificate = await self._complete(person, requested, found, entries, ended)
        tell("completed")
        return certificate

    async def _withhold(self, person: bytes, held: Mapping[int, str]) -> NoReturn:
        """Destroy the keys that no hold keeps. Raises Withheld, which says what is kept, and why."""
        await self._keep(person, PersonState.FENCED)
        for purpose in sorted(counted(await self._endings.keys_of(person)).keys() - held.keys()):
            await self._endings.end(person, purpose)
        raise Withheld(held)

    async def destroy(self, person: bytes) -> None:
        """Destroy the keys of somebody who is fenced, and all that leads to them. Raises Busy; then again.

        Where that was chosen, the keys that they have together with others too.
        """
        documents = await self._log.documents_of(person)
        if await self._endings.ending(person) is None:
            await self._keep(person, PersonState.ERASED)
        await self._endings.erase(person, orjson.dumps({"documents": documents}))
        if is_chosen(person, await self._log.person_states([person])):
            await self._log.forget(SETTLE)
            await self._endings.erase_all(sorted(await self._keys_together(person)))

    async def _keep(self, person: bytes, state: PersonState) -> None:
        """Have the journal know what was asked for, before it is done."""
        if self._note is not None:
            if is_chosen(person, await self._log.person_states([person])):
                await self._note(choice(person), 1)
            await self._note(StateChange(person, ALL_PURPOSES, state), 1)

    async def _keys_together(self, person: bytes) -> set[bytes]:
        return await keys_together(self._about(person, 0.0), person, await self.held())

    async def _forget_in_log(
        self, person: bytes, fenced_at: int, tell: Tell
    ) -> tuple[Counter[str], list[int], set[bytes], set[int] | None]:
        """Forget everything but by which events the person is found.

        Give what was found, their entries of the completion stream, whose keys together were ended, and the index
        terms that statements were taken out of; None where another process had taken out some.
        Raises Damaged for an event that is newer than the fence, or has a part whose key was never destroyed.
        """
        destroyed = {
            (key.purpose, key.year, key.version)
            for key in await self._endings.keys_of(person)
            if key.state == KeyState.DESTROYED
        }
        await self._steps(ForgetRequest(Forget.DOCUMENTS, person))
        tell("documents")
        terms = tuple(
            [term_number(self._vault.blinding.term(kind, person)) for kind in (Kind.AGENT, Kind.AGENT_RELATED)]
        )
        found = Counter[str]()
        entries: list[int] = []
        ended: set[bytes] = set()
        touched: set[int] = set()
        is_whole = True
        async for events in self._about(person, PACE_S):
            _check(events, person, fenced_at, destroyed)
            fates = await self._fates(person, events)
            found.update(fates.values())
            dead = tuple([position for position, fate in fates.items() if fate in (Fate.DEAD, Fate.ENDED)])
            named = tuple([position for position, fate in fates.items() if fate in (Fate.SHARED, Fate.NAMED)])
            for event in events:
                if fates[event.position] is Fate.ENDED:
                    ended |= sharing(list(split_parts(event.state, SHARING)))[1]
            # The files first: their rows are how they are found again when this is stopped in between.
            blobs = await self._log.blobs_at(dead)
            for blob_id in blobs:
                await self._attachments.discard({"id": blob_id.hex()})
            found["attachments"] += len(blobs)
            done = await self._log.forget(ForgetRequest(Forget.STATEMENTS, person, terms, dead, named))
            is_whole &= not done.again
            touched.update(done.terms)
            entries += await self._entries([one for one in events if fates[one.position] is Fate.COMPLETION])
        tell("statements")
        await self._steps(ForgetRequest(Forget.TERMS, person, terms))
        tell("lists")
        return found, entries, ended, touched if is_whole else None

    async def _steps(self, request: ForgetRequest) -> None:
        while (await self._log.forget(request)).more:
            continue

    async def _about(self, person: bytes, pace_s: float) -> AsyncIterator[list[Event]]:
        """Give the events by which somebody is found, some at a time, no faster than one step in pace_s seconds."""
        position = 0
        while True:
            began_s = time.monotonic()
            events = await self._log.events_about(person, position, EVENTS_AT_ONCE)
            if events:
                yield events
            if len(events) < EVENTS_AT_ONCE:
                return
            position = events[-1].position
            await asyncio.sleep(began_s + pace_s - time.monotonic())

    async def _fates(self, person: bytes, events: Sequence[Event], ending: Collection[bytes] = ()) -> dict[int, Fate]:
        """Say of each event what becomes of it, by the headers of its parts: no key is needed for that.

        ending are owners of keys that are about to be destroyed too.
        """
        parts = {one.position: list(split_parts(one.state)) for one in events}
        owners = {owner for one in parts.values() for owner in set[bytes]().union(*sharing(one))} - {person}
        living = await self._endings.living(sorted(owners)) - set(ending)
        return {one.position: fate(one, parts[one.position], person, living) for one in events}

    async def _entries(self, changes: Sequence[Event]) -> list[int]:
        """Give the numbers in the completion stream of completion_changed events: each is followed by its number."""
        numbers = []
        for change in changes:
            following = await self._log.read(change.position, 1)
            if following and following[0].topic == COMPLETION_SEQUENCED:
                numbers.append(following[0].version)
        return numbers

    # ── proving ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _verify(self, person: bytes, ended: Collection[bytes], fenced_at: int) -> None:
        """Raise Damaged when anything is left of a person that their erasure should have reached."""
        if await self._endings.living([person, *ended]):
            raise Damaged("a key or an identifier of an erased person is there again")
        if await self._log.documents_of(person):
            raise Damaged("a document of an erased person is there again")
        if rows := await asyncio.to_thread(self._views.rows_about, person):
            raise Damaged(f"views have {rows} rows of an erased person")
        # What is in the log up to the fence was looked at, and the log does not change.
        if await self._log.events_about(person, fenced_at, 1):
            raise Damaged("an event about a person is newer than their fence")

    async def _complete(
        self, person: bytes, requested: Event, found: Counter[str], entries: Sequence[int], ended: Collection[bytes]
    ) -> Certificate:
        stream = requested.originator_id
        ending = await self._endings.ending(person)
        if ending is None:
            raise Damaged("the vault does not know of an erasure that was just carried out")
        keys = Counter(key.purpose for key in await self._endings.keys_of(person))
        footprint = orjson.loads(ending[2] or b"{}")
        told = self._certifier.certify(
            Found(
                erasure=stream.hex(),
                requested_us=requested.stored_us,
                destroyed_us=ending[0],
                position=requested.position,
                keys={Purpose(one).name.lower(): number for one, number in sorted(keys.items())},
                identifiers=ending[1],
                erased=found[Fate.DEAD] + found[Fate.ENDED],
                ended=found[Fate.ENDED],
                shared=found[Fate.SHARED],
                named=found[Fate.NAMED],
                documents=footprint.get("documents", 0),
                attachments=found["attachments"],
                activities=found["activities"],
                stream_entries=tuple(sorted(entries)),
            )
        )
        # Keys together that were ended are told too: no vault from before may have them again (lrs/restore_gate.py).
        gone = [person, *sorted(ended)]
        changes = [pack_change(StateChange(owner, ALL_PURPOSES, PersonState.ERASED)) for owner in gone]
        state = join_parts([changes[0], clear_part(Part.CERTIFICATE, person, told.pack()), *changes[1:]])
        for _ in range(LOOKS_MAX):
            events = [NewEvent(stream, 2, ERASURE_COMPLETED, person, state)]
            if entries:
                events.append(await self._completions.sequencing(stream, 2))
            states = await self._log.person_states(gone)
            outcome = await self._log.append(AppendRequest(tuple(events), states))
            if isinstance(outcome, Appended):
                log.info("an erasure is complete: %s", stream.hex())
                return told
            if _is_known(outcome):
                done = await self.certificate(stream)
                if done is not None:
                    return done
        raise Busy("others keep appending to the completion stream; the erasure goes on when asked again")


def _check(events: Sequence[Event], person: bytes, fenced_at: int, destroyed: set[tuple[int, int, int]]) -> None:
    """Raise Damaged unless whatever these events have of a person is sealed under keys that are destroyed."""
    if events[-1].position > fenced_at:
        raise Damaged("an event about a person is newer than their fence")
    for event in events:
        for part in split_parts(event.state):
            header = part.header
            mine = header.owner == person and header.algorithm
            if mine and (header.purpose, header.year, header.key_version) not in destroyed:
                raise Damaged("a part of an erased person names a key that was never destroyed")


def _is_known(outcome: Changed) -> bool:
    return 0 in outcome.known


def _is_gone(states: Iterable[PersonStateRow]) -> bool:
    return any(purpose == ALL_PURPOSES and state in GONE for _, purpose, state in states)


def _certificate_part(event: Event) -> SealedPart:
    for part in split_parts(event.state, frozenset({Part.CERTIFICATE})):
        return part
    raise Damaged("an erasure was completed without a certificate")
