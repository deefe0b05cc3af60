"""Activities that nobody's statement names any more: their definitions end with the last learner (decision 17).

An activity's definition belongs to no learner, yet its id or its text may say who somebody was. So when an erasure has
emptied an activity's posting list, that activity is forgotten too: an `activity_forgotten` event, by which every copy
of the log knows it, then its keys, and the identifier that leads to them. Whoever posts about it later begins anew.
"""

from __future__ import annotations

from collections.abc import Collection

from lrs.activities import ActivityCatalogue, activity_of_identifier
from lrs.appending import Appended, AppendRequest, NewEvent
from lrs.endings import Endings
from lrs.event_log import EventLog
from lrs.forgetting import Forget, ForgetRequest
from lrs.key_vault import KeyVault
from projections.statement_index import Kind, term_number
from schemas.envelope import NOBODY, join_parts
from schemas.events import ACTIVITY_FORGOTTEN
from schemas.person_states import ALL_PURPOSES, PersonState, StateChange, pack_change

ACTIVITIES_AT_ONCE = 500
SETTLE = ForgetRequest(Forget.DOCUMENTS, NOBODY)
"""Has every statement written into the lists, and nothing forgotten."""


class UnusedActivities:
    """Ends the activities of one installation that are named by nothing."""

    def __init__(self, log: EventLog, vault: KeyVault, catalogue: ActivityCatalogue) -> None:
        self._log = log
        self._vault = vault
        self._catalogue = catalogue
        self._endings = Endings(vault)

    async def end(self, touched: Collection[int] | None) -> int:
        """End activities without a statement and without a document; give how many that were.

        touched are index terms that statements were taken out of; None: not known, so every activity is looked at.
        Raises Busy; what was ended stays so.
        """
        if touched is not None and not touched:
            return 0
        await self._log.forget(SETTLE)
        ended = 0
        after = b""
        while page := await self._vault.owners_of_activities(after, ACTIVITIES_AT_ONCE):
            after = page[-1][0]
            for owner, identifier in page:
                activity_id = activity_of_identifier(identifier)
                term = self._term(activity_id)
                if (touched is None or term in touched) and not await self._log.is_listed(term):
                    ended += await self._end(owner, activity_id)
        return ended

    def _term(self, activity_id: str) -> int:
        return term_number(self._vault.blinding.term(Kind.ACTIVITY_RELATED, activity_id))

    async def _end(self, owner: bytes, activity_id: str) -> bool:
        if await self._log.documents_of(owner):
            return False
        version, definition = await self._catalogue.current(activity_id)
        change = pack_change(StateChange(owner, ALL_PURPOSES, PersonState.ERASED))
        event = NewEvent(
            self._catalogue.stream(activity_id), version + 1, ACTIVITY_FORGOTTEN, owner, join_parts([change])
        )
        outcome = await self._log.append(AppendRequest((event,)))
        if not isinstance(outcome, Appended):
            # Somebody has defined it anew a moment ago: it is used.
            return False
        await self._endings.erase(owner)
        self._catalogue.forget([activity_id])
        await self._log.forget(SETTLE)
        if definition is not None and await self._log.is_listed(self._term(activity_id)):
            # Somebody posted about it meanwhile and believed that it was defined.
            events = await self._catalogue.changes({activity_id: definition})
            await self._log.append(AppendRequest(tuple([event for _, event in events])))
            self._catalogue.forget([activity_id])
            return False
        return True
