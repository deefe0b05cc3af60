"""Retention: what is past its term is forgotten, by itself.

A key belongs to a learner, a purpose and a year, and a term to a purpose. So what expires is a purpose's year: the keys
of everybody for it, at one moment, which the register of purposes says (decision 3).

    decided     an event: that year of that purpose has expired (journal; in a cluster acknowledged by Kafka)
    keys        destroyed; whoever has no key left has no identifier either (lrs/endings.py)
    log         of `learning`: what nobody can open any more is found by nothing; documents, attachments, activities
    views       built anew, so that they are what a rebuild would give
    done        an event

Every step may be repeated, by any process. A restored backup is brought up to it as after an erasure
(lrs/restore_gate.py).
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from lrs.appending import Appended, AppendRequest, NewEvent
from lrs.attachments import Attachments
from lrs.copy_wait import Copied, wait_for_copy
from lrs.document_writing import DocumentDelete, DocumentRequest, DocumentsChanged
from lrs.endings import Endings
from lrs.errors import Busy, Conflict, GriffelError, Misconfigured
from lrs.event_log import Event, EventLog
from lrs.forgetting import Forget, ForgetRequest
from lrs.key_lease import LEASE_S
from lrs.key_vault import KeyVault
from lrs.person_changes import Note
from lrs.purposes import Register
from lrs.unused_activities import UnusedActivities
from schemas.envelope import NOBODY, Header, Part, Purpose, join_parts, parse_part, split_parts
from schemas.events import RETENTION_EXPIRED, STATEMENT_RECORDED
from schemas.person_states import HELD, HOLD, PersonState, StateChange, everybody_of, pack_change, year_of

EVENTS_AT_ONCE = 200
PACE_S = 0.1
"""From one step of so many events to the next: others go first."""
DOCUMENTS_AT_ONCE = 500
CLOCKS_DIFFER_US = 2 * 86_400_000_000
"""So far may the clock that chose a key's year be from the one that gave `stored`."""
LENGTH_BYTES = 4
LOOKS_MAX = 10

Rebuild = Callable[[], Awaitable[None]]
Json = dict[str, Any]

log = logging.getLogger("griffel.retention")


class Due(NamedTuple):
    """A purpose's year that is past its term: so many keys, of so many learners, since then."""

    purpose: int
    year: int
    keys: int
    learners: int
    since: datetime.datetime

    def told(self) -> Json:
        """Give it as it is shown."""
        return {
            "purpose": Purpose(self.purpose).name.lower(),
            "year": self.year,
            "keys": self.keys,
            "learners": self.learners,
            "past_since": self.since.date().isoformat(),
        }


class Retention:
    """Forgets what is past its term, in one installation. rebuild builds the views anew; now is the clock."""

    def __init__(
        self,
        events: EventLog,
        vault: KeyVault,
        attachments: Attachments,
        register: Register,
        activities: UnusedActivities,
        rebuild: Rebuild,
        *,
        copied: Copied | None = None,
        note: Note | None = None,
        every_h: int = 24,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._log = events
        self._vault = vault
        self._endings = Endings(vault, clock=lambda: now().timestamp())
        self._attachments = attachments
        self._register = register
        self._activities = activities
        self.rebuild = rebuild
        self._copied = copied
        self._note = note
        self.now = now
        self._every_h = every_h
        self._task: asyncio.Task[list[Json]] | None = None
        self._step = ""
        self._again: set[tuple[int, int]] = set()
        self._running = asyncio.Lock()

    async def due(self) -> list[Due]:
        """Give what is past its term and still there, and what was begun; nothing is changed."""
        states = await self._log.people_who_are(PersonState.EXPIRING, PersonState.EXPIRED)
        # What was held when its year expired has expired too, once it is released.
        expired = {(purpose, year_of(owner)) for owner, purpose, _ in states}
        begun = {(purpose, year_of(owner)) for owner, purpose, state in states if state == PersonState.EXPIRING}
        begun |= self._again
        now = self.now()
        found = []
        for purpose, year, all_keys, everybody in await self._endings.years():
            kept = await self._endings.keys_of_year(sorted(await self._held(purpose)), purpose, year)
            keys, learners = all_keys - kept, everybody - kept
            if not keys:
                continue
            until = self._register.kept_until(purpose, year)
            if (purpose, year) in expired or (until is not None and until <= now):
                found.append(Due(purpose, year, keys, learners, min(until or now, now)))
        known = {(one.purpose, one.year) for one in found}
        return sorted([*found, *[Due(purpose, year, 0, 0, now) for purpose, year in begun - known]])

    async def stop(self) -> None:
        """Leave what is under way; it is taken up at the next look."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def expire(self, tell: Callable[[str], None] = lambda _: None) -> list[Json]:
        """Forget all that is past its term; give what that was.

        Raises Pending while Kafka does not answer, Busy: what was done stays done, and the same call goes on.
        """
        async with self._running:
            return [one.told() | await self._expire(Purpose(one.purpose), one.year, tell) for one in await self.due()]

    def _reached(self, step: str, tell: Callable[[str], None]) -> None:
        self._step = step
        tell(step)

    def take_up(self, purpose: int, year: int) -> None:
        """Have a year that expired before be forgotten once more: a restored vault had keys of it."""
        self._again.add((purpose, year))

    def commands(self) -> dict[str, Callable[[Json], Awaitable[Any]]]:
        """Give what the command line may ask of the server that has the installation."""
        return {"retention/due": self.told_due, "retention/begin": self.begin, "retention/show": self.show}

    async def told_due(self, asked: Json) -> list[Json]:
        """Say what is past its term."""
        del asked
        return [one.told() for one in await self.due()]

    async def begin(self, asked: Json) -> Json:
        """Begin to forget what is past its term, unless that is under way; say how it stands."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self.expire())
        return await self.show(asked)

    async def finish(self) -> None:
        """Wait for what `begin` began, if anything; what stopped it is told by `show`."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def show(self, asked: Json) -> Json:
        """Say how it stands: {"state", "step", "expired"}, and why it stopped."""
        del asked
        if self._task is None or not self._task.done():
            return {"state": "under way", "step": self._step, "expired": []}
        error = None if self._task.cancelled() else self._task.exception()
        if error is None and not self._task.cancelled():
            return {"state": "done", "step": self._step, "expired": self._task.result()}
        reason = error.detail if isinstance(error, GriffelError) else "it stopped; it goes on when asked again"
        return {"state": "failed", "step": self._step, "expired": [], "reason": reason}

    async def keep_expiring(self) -> None:
        """Look from time to time, for ever, and forget what is past its term."""
        while self._every_h:
            try:
                for one in await self.expire():
                    log.info("%s of %d has expired: %d keys", one["purpose"], one["year"], one["keys"])
            except Busy as error:
                log.warning("what is past its term waits: %s", error.detail)
            await asyncio.sleep(self._every_h * 3_600)

    # ── one purpose's year ────────────────────────────────────────────────────────────────────────────────────────

    async def _held(self, purpose: int) -> frozenset[bytes]:
        """Give those of whom a purpose may not be destroyed."""
        return frozenset(owner for owner, of, _ in await self._log.people_who_are(*HELD) if of == HOLD + purpose)

    async def _expire(self, purpose: Purpose, year: int, tell: Callable[[str], None]) -> Json:
        everybody = everybody_of(year)
        position = await self._say(StateChange(everybody, purpose, PersonState.EXPIRING))
        await wait_for_copy(self._copied, position)
        if self._note is not None:
            await self._note(StateChange(everybody, purpose, PersonState.EXPIRED), 1)
        held = await self._held(purpose)
        ended = await self._endings.expire(purpose, year, held)
        dropping = await self._vault.dropping()
        self._reached("keys", tell)
        statements = documents = 0
        if purpose is Purpose.LEARNING:
            # Nothing is sealed under these keys any more once every process has dropped them.
            await self._vault.dropped(dropping)
            statements = await self._forget_statements(year, held)
            self._reached("statements", tell)
            documents = await self._forget_documents(year, held)
            self._reached("documents", tell)
            await self._activities.end(None)
            await self._rebuild()
            self._reached("views", tell)
        await self._say(StateChange(everybody, purpose, PersonState.EXPIRED))
        self._again.discard((purpose, year))
        return {"identifiers": ended.identifiers, "statements": statements, "documents": documents}

    async def _say(self, change: StateChange) -> int:
        """Have the log say how far an expiry is; give the position at which it does."""
        stream = self._vault.blinding.id("retention", str(int(change.purpose)), str(year_of(change.pseudonym)))
        record = join_parts([pack_change(change)])
        for _ in range(LOOKS_MAX):
            states = await self._log.person_states([change.pseudonym])
            if (change.pseudonym, change.purpose, change.state) in states:
                return max(event.position for event in await self._log.streams([stream]))
            version = await self._log.stream_newest(stream)
            event = NewEvent(stream, version + 1, RETENTION_EXPIRED, self._vault.secrets.store_owner, record)
            outcome = await self._log.append(AppendRequest((event,), tuple(states)))
            if isinstance(outcome, Appended):
                return outcome.position
        raise Busy("another process says what has expired; try again")

    async def _forget_statements(self, year: int, held: frozenset[bytes]) -> int:
        """Have statements of a year that nobody can open be found by nothing; give how many that were."""
        begins = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
        ends = datetime.datetime(year + 1, 1, 1, tzinfo=datetime.UTC)
        after = await self._log.position_stored_by(_us(begins) - CLOCKS_DIFFER_US)
        upto = await self._log.position_stored_by(_us(ends) + CLOCKS_DIFFER_US)
        forgotten = 0
        async for events in self._between(after, upto):
            dead = tuple([one.position for one in events if _was_sealed_in(one, year, held)])
            if not dead:
                continue
            for blob_id in await self._log.blobs_at(dead):
                await self._attachments.discard({"id": blob_id.hex()})
            await self._log.forget(ForgetRequest(Forget.EXPIRED, NOBODY, dead=dead))
            forgotten += len(dead)
        return forgotten

    async def _between(self, after: int, upto: int) -> AsyncIterator[list[Event]]:
        while after < upto:
            events = await self._log.read(after, EVENTS_AT_ONCE)
            if not events:
                return
            yield [one for one in events if one.position <= upto]
            after = events[-1].position
            await asyncio.sleep(PACE_S)

    async def _forget_documents(self, year: int, held: frozenset[bytes]) -> int:
        deleted = 0
        after = b""
        while page := await self._log.documents_after(after, DOCUMENTS_AT_ONCE):
            after = page[-1][0]
            for key, revision, head in page:
                header = parse_part(head[LENGTH_BYTES:]).header
                if _is_of(header, year) and header.owner not in held:
                    request = DocumentRequest(deletes=(DocumentDelete(key, revision),))
                    # One that was written meanwhile has a key of this year.
                    deleted += isinstance(await self._log.write_documents(request), DocumentsChanged)
        return deleted

    async def _rebuild(self) -> None:
        for _ in range(LOOKS_MAX):
            try:
                await self.rebuild()
            except (Conflict, Misconfigured):
                # Another rebuild began or is under way: it may have begun before the keys were gone.
                await asyncio.sleep(LEASE_S)
            else:
                return
        raise Busy("the views are being built anew all the time; try again")


def _was_sealed_in(event: Event, year: int, held: frozenset[bytes]) -> bool:
    """Say whether nobody can open a statement any more: its body was sealed in that year, and for nobody held."""
    if event.topic != STATEMENT_RECORDED:
        return False
    headers = [part.header for part in split_parts(event.state)]
    if any(header.part in (Part.BODY, Part.WRAP) and header.owner in held for header in headers):
        return False
    return any(header.part == Part.BODY and _is_of(header, year) for header in headers)


def _is_of(header: Header, year: int) -> bool:
    return header.purpose == Purpose.LEARNING and header.year == year


def _us(moment: datetime.datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
