"""The restore gate: nothing is served by a vault, or a log, in which somebody lives who was erased since (decision 36).

A backup brings back keys that were destroyed after it was made. So before anything is served, what the log says of
people is compared with the vault, and, where a journal is kept, the journal with both; what was ended is ended again.
Usually nothing is to be done, and that takes two questions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from lrs.endings import Endings
from lrs.erasure import Eraser
from lrs.event_log import EventLog
from lrs.journal import Entry, Journal
from lrs.key_vault import KeyVault
from lrs.keys import KeyState
from lrs.person_changes import PersonChanges
from schemas.envelope import Purpose
from schemas.person_states import ALL_PURPOSES, GONE, HELD, HOLD, PersonState, held_among, is_everybody, year_of

log = logging.getLogger("griffel.erasure")
Newest = Mapping[tuple[bytes, int], Entry]
"""The newest line of each (pseudonym, purpose)."""


async def end_again(
    events: EventLog,
    vault: KeyVault,
    destroyed_with: Collection[int] = (),
    expired: Callable[[int, int], None] = lambda _purpose, _year: None,
) -> int:
    """Destroy what a vault has of those who, by the log, were erased; give how many people that was.

    So are keys for purposes that were withdrawn, of those that keys end with, and those that expired;
    expired is told of each (purpose, year) of which there were any. Raises Busy.
    """
    endings = Endings(vault)
    erased = [person for person, _, _ in await events.people_who_are(PersonState.ERASED)]
    living = await endings.living(erased)
    for person in sorted(living):
        await endings.erase(person)
    for person, purpose, _ in await events.people_who_are(PersonState.WITHDRAWN):
        is_held = purpose in held_among(await events.person_states([person]))
        if (
            purpose in destroyed_with
            and not is_held
            and any(key.purpose == purpose and key.state == KeyState.ACTIVE for key in await endings.keys_of(person))
        ):
            await endings.end(person, purpose)
    held = await events.people_who_are(*HELD)
    for everybody, purpose, _ in await events.people_who_are(PersonState.EXPIRING, PersonState.EXPIRED):
        year, keep = year_of(everybody), {owner for owner, of, _ in held if of == HOLD + purpose}
        if (await endings.expire(purpose, year, keep)).keys:
            expired(purpose, year)
    if living:
        log.warning("%d people were erased after this vault was copied; they were erased from it again", len(living))
    return len(living)


class RestoreGate:
    """Replays the journal of an embedded installation into its vault and its log."""

    def __init__(
        self, events: EventLog, vault: KeyVault, journal: Journal, eraser: Eraser, people: PersonChanges
    ) -> None:
        self._log = events
        self._endings = Endings(vault)
        self._journal = journal
        self._eraser = eraser
        self._people = people

    async def pass_through(self, entries: list[Entry]) -> None:
        """Do again whatever the journal says and this installation does not know of. Raises Busy.

        Keys are destroyed before this returns; the rest of an erasure is taken up as one that was left.
        """
        newest = _newest(entries)
        people = list({person for person, _ in newest})
        true_now = {(person, purpose): state for person, purpose, state in await self._log.person_states(people)}
        erased = {person for (person, _), entry in newest.items() if entry.change.state == PersonState.ERASED}
        gone = {person for (person, purpose), state in true_now.items() if purpose == ALL_PURPOSES and state in GONE}
        # Before anybody is fenced: what is held is not destroyed with the rest.
        again = await self._repeat(newest, true_now, gone | erased, of_holds=True)
        again += await self._expire_again(newest)
        again += await self._forget_again(newest, gone)
        gone |= {person for (person, _), entry in newest.items() if entry.change.state in GONE}
        again += await self._repeat(newest, true_now, gone, of_holds=False)
        if again:
            log.warning("the journal knew of %d endings that this installation did not; they were done again", again)
        await self._journal.tell_vault()

    async def _repeat(
        self, newest: Newest, true_now: Mapping[tuple[bytes, int], int], but: Collection[bytes], *, of_holds: bool
    ) -> int:
        """Decide again what the log has not, of everybody but some; give how much that was."""
        again = 0
        for (person, purpose), (change, version, _) in newest.items():
            if person in but or is_everybody(person) or (purpose >= HOLD) is not of_holds:
                continue
            if true_now.get((person, purpose), PersonState.ACTIVE) != change.state:
                again += await self._people.repeat(person, purpose, PersonState(change.state), version)
        return again

    async def _expire_again(self, newest: Newest) -> int:
        again = 0
        held = await self._log.people_who_are(*HELD)
        for everybody, purpose in newest:
            if is_everybody(everybody):
                keep = {owner for owner, of, _ in held if of == HOLD + purpose}
                again += (await self._endings.expire(purpose, year_of(everybody), keep)).keys > 0
        return again

    async def _forget_again(self, newest: Newest, gone: Collection[bytes]) -> int:
        """Fence whoever the log does not know to be gone, and destroy the keys of whoever was erased."""
        again = 0
        living = await self._endings.living([person for person, _ in newest])
        for person, entry in ((key[0], entry) for key, entry in newest.items() if entry.change.state in GONE):
            is_back = person in living and entry.change.state == PersonState.ERASED
            if person not in gone:
                await self._eraser.request(person, with_shared=(person, Purpose.TOGETHER) in newest)
            if is_back:
                await self._eraser.destroy(person)
            again += person not in gone or is_back
        return again


def _newest(entries: Iterable[Entry]) -> Newest:
    """Give the newest line of each person and purpose; nothing comes after an erasure."""
    newest: dict[tuple[bytes, int], Entry] = {}
    for entry in entries:
        person, purpose, _ = entry.change
        if (person, purpose) not in newest or newest[person, purpose].change.state != PersonState.ERASED:
            newest[person, purpose] = entry
    return newest
