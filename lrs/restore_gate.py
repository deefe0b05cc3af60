"""The restore gate: nothing is served by a vault, or a log, in which somebody lives who was erased since (decision 36).

A backup brings back keys that were destroyed after it was made. So before anything is served, what the log says of
people is compared with the vault, and, where a journal is kept, the journal with both; what was ended is ended again.
Usually nothing is to be done, and that takes two questions.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from lrs.endings import Endings
from lrs.erasure import Eraser
from lrs.event_log import EventLog
from lrs.journal import Entry, Journal
from lrs.key_vault import KeyVault
from lrs.keys import KeyState
from lrs.person_changes import PersonChanges
from schemas.person_states import ALL_PURPOSES, GONE, PersonState

log = logging.getLogger("griffel.erasure")


async def end_again(events: EventLog, vault: KeyVault, destroyed_with: Collection[int] = ()) -> int:
    """Destroy what a vault has of those who, by the log, were erased; give how many people that was.

    So are keys for purposes that were withdrawn, of those that keys end with. Raises Busy.
    """
    endings = Endings(vault)
    erased = [person for person, _, _ in await events.people_who_are(PersonState.ERASED)]
    living = await endings.living(erased)
    for person in sorted(living):
        await endings.erase(person)
    for person, purpose, _ in await events.people_who_are(PersonState.WITHDRAWN):
        if purpose in destroyed_with and any(
            key.purpose == purpose and key.state == KeyState.ACTIVE for key in await endings.keys_of(person)
        ):
            await endings.end(person, purpose)
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
        newest: dict[tuple[bytes, int], int] = {}
        for person, purpose, state in (entry.change for entry in entries):
            if newest.get((person, purpose)) not in GONE:
                newest[person, purpose] = state
        people = list({person for person, _ in newest})
        true_now = {(person, purpose): state for person, purpose, state in await self._log.person_states(people)}
        living = await self._endings.living(people)
        again = 0
        for (person, purpose), state in newest.items():
            known = true_now.get((person, purpose), PersonState.ACTIVE)
            if purpose == ALL_PURPOSES and state in GONE:
                if known not in GONE:
                    await self._eraser.request(person)
                if person in living:
                    await self._endings.erase(person)
                again += known not in GONE or person in living
            elif known != state and known not in GONE:
                await self._people.repeat(person, purpose, PersonState(state))
                again += 1
        if again:
            log.warning("the journal knew of %d endings that this installation did not; they were done again", again)
        await self._journal.tell_vault()
