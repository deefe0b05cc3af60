"""What a learner, or somebody for them, decides: consent for a purpose given or withdrawn, and restriction.

Each decision is an event, appended under the log's lock like every other (decision 9), so none is overtaken by a
statement. Withdrawing a purpose ends what is kept for it alone: the learner's keys for that purpose are destroyed, if
the register says so; others go on. Consent that is given again begins with new keys.
"""

from __future__ import annotations

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
from schemas.events import CONSENT_CHANGED, RESTRICTION_CHANGED
from schemas.people import Json
from schemas.person_states import ALL_PURPOSES, GONE, PersonState, StateChange, pack_change

LOOKS_MAX = 10

Note = Callable[[StateChange], Awaitable[None]]
"""Keeps a change where no backup takes it back."""
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
        changed = await self._change(person, ALL_PURPOSES, state, stream, RESTRICTION_CHANGED, record, ())
        if self._note is not None:
            await self._note(StateChange(person, ALL_PURPOSES, state))
        return changed

    async def repeat(self, person: bytes, purpose: int, state: PersonState) -> None:
        """Have be true again what was decided after this installation was copied; its record is lost. Raises Busy."""
        kind, name = (RESTRICTION_CHANGED, "restriction") if purpose == ALL_PURPOSES else (CONSENT_CHANGED, "consent")
        values: tuple[str | bytes, ...] = (person,) if purpose == ALL_PURPOSES else (person, str(purpose))
        stream = self._vault.blinding.id(name, *values)
        record = _bare(StateChange(person, purpose, state))
        await self._change(person, purpose, state, stream, kind, record, ())
        if state == PersonState.WITHDRAWN and purpose in self._destroyed_with:
            await self._endings.end(person, purpose)

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

        changed = await self._change(person, purpose, state, stream, CONSENT_CHANGED, record, (person,))
        if self._note is not None:
            await self._note(StateChange(person, purpose, state))
        if given:
            await self._endings.renew(person, purpose, year)
        elif purpose in self._destroyed_with:
            await self._endings.end(person, purpose)
        return Decision(changed, told)

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
    ) -> bool:
        for _ in range(LOOKS_MAX):
            states = await self._log.person_states([person])
            known = {of: now_true for _, of, now_true in states}
            if known.get(ALL_PURPOSES) in GONE:
                raise LearnerErased("this learner has been erased")
            # Consent that is given a second time is recorded again: the policy may be another one.
            if known.get(purpose, PersonState.ACTIVE) == state and kind == RESTRICTION_CHANGED:
                return False
            version, before = (await self._log.newest_of_streams([stream])).get(stream, (0, None))
            if (content := await record(before)) is None:
                return False
            event = NewEvent(stream, version + 1, kind, person, content, people)
            outcome = await self._log.append(AppendRequest((event,), states))
            if isinstance(outcome, Appended):
                return known.get(purpose, PersonState.ACTIVE) != state
        raise Busy("others keep changing what is true of this person; nothing was done, try again")


def _bare(change: StateChange) -> Callable[[bytes | None], Awaitable[bytes | None]]:
    """Give the record of a change that says no more than what is true."""

    async def record(before: bytes | None) -> bytes:
        del before
        return join_parts([pack_change(change)])

    return record
