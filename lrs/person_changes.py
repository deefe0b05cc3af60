"""What a learner, or somebody for them, decides: consent for a purpose given or withdrawn, and restriction.

Each decision is an event, appended under the log's lock like every other (decision 9), so none is overtaken by a
statement. Withdrawing a purpose ends what is kept for it alone: the learner's keys for that purpose are destroyed, if
the register says so; others go on. Consent that is given again begins with new keys.
"""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

import orjson

from lrs.appending import Appended, AppendRequest, NewEvent
from lrs.endings import Endings
from lrs.errors import Busy, LearnerErased, NotFound
from lrs.event_log import EventLog
from lrs.key_vault import KeyVault
from lrs.sealing import SCHEMA, key_of, open_part, seal_part
from schemas.envelope import NOBODY, Algorithm, Header, Part, Purpose, join_parts, split_parts
from schemas.events import CONSENT_CHANGED, HOLD_CHANGED, RESTRICTION_CHANGED
from schemas.people import Json
from schemas.person_states import ALL_PURPOSES, GONE, HOLD, PersonState, StateChange, held_among, pack_change

LOOKS_MAX = 10

Note = Callable[[StateChange, int], Awaitable[None]]
"""Keeps a change, and the version of its stream at which the log has it, where no backup takes it back."""
MakeRecord = Callable[[str, Json | None], Json | None]
"""Gives the record of a decision, of its id and the record before it; None where that one is of this very decision."""


class Decision(NamedTuple):
    """What became of a decision: whether anything is true now that was not, and its record."""

    changed: bool
    record: Json


class PersonChanges:
    """Records decisions of and about people in one installation."""

    def __init__(
        self,
        events: EventLog,
        vault: KeyVault,
        *,
        destroyed_with: Collection[int] = (),
        note: Note | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        """Take the purposes whose keys end with them; and, as note, where a change is kept that outlives backups."""
        self._note = note
        self._destroyed_with = frozenset(destroyed_with)
        self._log = events
        self._vault = vault
        self._endings = Endings(vault)
        self._now = now
        self._changing = asyncio.Lock()

    async def restrict(self, identifier: str, *, restricted: bool) -> bool:
        """Hide a learner from everybody else, or show them again; say whether that changed anything.

        Recording goes on meanwhile. Raises NotFound, LearnerErased, Busy.
        """
        person = await self._vault.find_pseudonym(identifier)
        if person is None:
            raise NotFound("nobody is known by this identifier")
        state = PersonState.RESTRICTED if restricted else PersonState.ACTIVE
        stream = self._vault.blinding.id("restriction", person)
        record = _bare(StateChange(person, ALL_PURPOSES, state))
        async with self._changing:
            changed = await self._change(person, ALL_PURPOSES, state, stream, RESTRICTION_CHANGED, record, ())
        return changed is not None

    async def hold(self, identifier: str, purpose: Purpose, state: PersonState) -> bool:
        """Have what is kept for a purpose never be destroyed, or (ACTIVE) again as ever; say whether that is new.

        It may be released of somebody who is being erased; what was withdrawn meanwhile is destroyed then. Raises
        NotFound, LearnerErased, Busy.
        """
        person = await self._vault.find_pseudonym(identifier)
        if person is None:
            raise NotFound("nobody is known by this identifier")
        stream = self._vault.blinding.id("hold", person, str(int(purpose)))
        record = _bare(StateChange(person, HOLD + purpose, state))
        async with self._changing:
            before = await self._change(person, HOLD + purpose, state, stream, HOLD_CHANGED, record, ())
            states = await self._log.person_states([person])
            withdrawn = (person, int(purpose), int(PersonState.WITHDRAWN)) in states
            if withdrawn and purpose in self._destroyed_with and purpose not in held_among(states):
                await self._endings.end(person, purpose)
        return before not in (None, state)

    async def repeat(self, person: bytes, purpose: int, state: PersonState, version: int) -> bool:
        """Have be true again what was decided after this installation was copied; its record is lost.

        version is the stream's at which it was decided: a log that has that version has the truth. Say whether
        anything was done. Raises Busy.
        """
        kind, name = (RESTRICTION_CHANGED, "restriction") if purpose == ALL_PURPOSES else (CONSENT_CHANGED, "consent")
        values: tuple[str | bytes, ...] = (person,) if purpose == ALL_PURPOSES else (person, str(purpose))
        if purpose >= HOLD:
            kind, name, values = HOLD_CHANGED, "hold", (person, str(purpose - HOLD))
        stream = self._vault.blinding.id(name, *values)
        if await self._log.stream_newest(stream) >= version:
            return False
        record = _bare(StateChange(person, purpose, state))
        await self._change(person, purpose, state, stream, kind, record, ())
        held = held_among(await self._log.person_states([person]))
        if state == PersonState.WITHDRAWN and purpose in self._destroyed_with and purpose not in held:
            await self._endings.end(person, purpose)
        return True

    async def decide(self, identifier: str, purpose: Purpose, *, given: bool, make_record: MakeRecord) -> Decision:
        """Record that a learner gave or withdrew consent for a purpose.

        Somebody unknown becomes known by it. Busy may mean that it is recorded and keys that end with it are still
        there: repeat it. Raises LearnerErased, and what make_record raises; then nothing was changed.
        """
        year = self._now().year
        person = (await self._vault.pseudonyms([identifier], year, Purpose.LEGAL))[identifier]
        key = None
        if person != NOBODY:
            key = (await self._vault.for_sealing([person], Purpose.LEGAL, year))[person]
        if key is None:
            raise LearnerErased("this learner has been erased")
        stream = self._vault.blinding.id("consent", person, str(int(purpose)))
        state = PersonState.ACTIVE if given else PersonState.WITHDRAWN
        header = Header(Algorithm.AES_256_GCM, Purpose.LEGAL, year, Part.CONSENT, person, key.version, SCHEMA)
        cipher, told = key.cipher, Json()

        async def record(before: bytes | None) -> bytes | None:
            told.clear()
            known = await self._opened(stream, before)
            made = make_record(str(uuid.UUID(bytes=stream)), known)
            told.update(made or known or {})
            if made is None:
                return None
            sealed = seal_part(cipher, header, stream, orjson.dumps(told))
            return join_parts([pack_change(StateChange(person, purpose, state)), sealed])

        async with self._changing:
            before = await self._change(person, purpose, state, stream, CONSENT_CHANGED, record, (person,))
            # Another process may have decided otherwise meanwhile: what the log says now is what is done to keys.
            states = await self._log.person_states([person])
            if (person, int(purpose), int(PersonState.WITHDRAWN)) not in states:
                await self._endings.renew(person, purpose, year)
            elif purpose in self._destroyed_with and purpose not in held_among(states):
                await self._endings.end(person, purpose)
        return Decision(before not in (None, state), told)

    async def _opened(self, stream: bytes, state: bytes | None) -> Json | None:
        """Give the record that an event holds; None where there is none any more."""
        for part in split_parts(state or b"", frozenset({Part.CONSENT})):
            cipher = (await self._vault.for_opening([key_of(part)]))[key_of(part)]
            if cipher is not None:
                record: Json = orjson.loads(open_part(cipher, part, stream))
                return record
        return None

    async def _change(
        self,
        person: bytes,
        purpose: int,
        state: PersonState,
        stream: bytes,
        kind: str,
        record: Callable[[bytes | None], Awaitable[bytes | None]],
        people: tuple[bytes, ...],
    ) -> PersonState | None:
        """Append a decision and note it; give what was true before, None where nothing was to be said."""
        for _ in range(LOOKS_MAX):
            states = await self._log.person_states([person])
            known = {of: now_true for _, of, now_true in states}
            is_released = kind == HOLD_CHANGED and state == PersonState.ACTIVE
            if known.get(ALL_PURPOSES) in GONE and not (is_released and known[ALL_PURPOSES] == PersonState.FENCED):
                raise LearnerErased("this learner has been erased")
            # Consent that is given a second time is recorded again: the policy may be another one.
            version, before = (await self._log.newest_of_streams([stream])).get(stream, (0, None))
            is_so = known.get(purpose, PersonState.ACTIVE) == state and kind != CONSENT_CHANGED
            if is_so or (content := await record(before)) is None:
                # Noted again: whoever asks again may have been stopped before it was.
                await self._keep(StateChange(person, purpose, state), version)
                return None
            event = NewEvent(stream, version + 1, kind, person, content, people)
            outcome = await self._log.append(AppendRequest((event,), states))
            if isinstance(outcome, Appended):
                await self._keep(StateChange(person, purpose, state), version + 1)
                return PersonState(known.get(purpose, PersonState.ACTIVE))
        raise Busy("others keep changing what is true of this person; nothing was done, try again")

    async def _keep(self, change: StateChange, version: int) -> None:
        if self._note is not None:
            await self._note(change, version)


def _bare(change: StateChange) -> Callable[[bytes | None], Awaitable[bytes | None]]:
    """Give the record of a change that says no more than what is true."""

    async def record(before: bytes | None) -> bytes:
        del before
        return join_parts([pack_change(change)])

    return record
