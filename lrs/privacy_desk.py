"""The privacy desk: what a privacy officer may ask for, in words that HTTP, the control socket and commands share.

Everything comes in and goes out as JSON; nothing personal comes back. An erasure is begun and then asked about: it goes
on by itself, here or in the next process, whoever waits for it.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lrs.certificates import Certificate
from lrs.copy_wait import Pending
from lrs.erasure import Eraser, Withheld
from lrs.errors import Busy, GriffelError, NotFound
from lrs.person_changes import Decision, PersonChanges
from lrs.policy import Policy
from lrs.purposes import Register
from lrs.receipts import CONSENT_RECEIPT
from lrs.rotation import Rotation
from schemas.consent import INDICATED_BY, consent_record, read_consent_statement
from schemas.envelope import Purpose
from schemas.errors import InvalidInput
from schemas.people import identifier_of
from schemas.person_states import GROUNDS, HOLD, PersonState
from schemas.purposes import PurposeEntry
from schemas.statement import check_agent

Json = dict[str, Any]
UNDER_WAY, PENDING, WITHHELD, FAILED, DONE = "under way", "pending", "withheld", "failed", "done"
"""States of an erasure. Pending: fenced, and waiting for Kafka. Withheld: fenced, and a legal hold keeps the rest.
Failed: fenced, and taken up again by itself."""
RETRY_S = 30.0
"""How often a server looks for erasures that were left."""
ID_DIGITS = 32

log = logging.getLogger("griffel.erasure")


@dataclass(slots=True)
class _Work:
    """An erasure that this process carries out."""

    step: str = "fenced"
    task: asyncio.Task[Certificate] | None = None

    @property
    def ended(self) -> bool:
        """Say whether nothing is being done any more."""
        return self.task is not None and self.task.done()


@dataclass(frozen=True, slots=True)
class Told:
    """A decision about consent, as it was told: whose, for what, and under which of the policy's texts."""

    identifier: str
    entry: PurposeEntry
    given: bool
    language: str | None = None
    by_learner: bool = False
    version: str | None = None


class PrivacyDesk:
    """Takes requests about people and carries them out."""

    def __init__(
        self,
        eraser: Eraser,
        people: PersonChanges,
        rotation: Rotation,
        policy: Policy,
        register: Register,
        sign: Callable[[Json, str], str],
        *,
        released: Callable[[Json], Awaitable[Any]],
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._policy = policy
        self._register = register
        self._sign = sign
        self._released = released
        self._now = now
        self.eraser = eraser
        self._people = people
        self._rotation = rotation
        self._works: dict[str, _Work] = {}

    async def stop(self) -> None:
        """Leave what is under way; it is taken up at the next start."""
        tasks = [work.task for work in self._works.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def commands(self) -> dict[str, Callable[[Json], Awaitable[Any]]]:
        """Give what the command line may ask of the server that has the installation."""
        return {
            "erasures/preview": self.preview,
            "erasures/begin": self.begin,
            "erasures/show": self.show,
            "erasures/pending": self.pending,
            "consents/change": self.consent,
            "restrictions/change": self.restrict,
            "holds/change": self.hold,
            "holds/list": self.holds,
            "keys/rotate": self.rotate,
        }

    # ── erasure ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def preview(self, asked: Json) -> Json:
        """Say what erasing an agent will do: {"agent", "with_shared"?}. Raises InvalidInput, NotFound, Busy."""
        with_shared = _with_shared(asked)
        person = await self.eraser.find(identifier_in(asked))
        found = await self.eraser.preview(person, with_shared=with_shared)
        return {
            "erasure": self.eraser.stream(person).hex(),
            "identifiers": found.identifiers,
            "keys": found.keys,
            "statements": {
                "erased": found.erased,
                "of_which_shared": found.ended,
                "kept_for_others": found.shared,
                "with_placeholder": found.named,
            },
            "documents": found.documents,
            "stream_entries": found.stream_entries,
            "held": found.held,
        }

    async def begin(self, asked: Json) -> Json:
        """Fence an agent and begin to erase them: {"agent", "with_shared"?}; give how it stands.

        Raises as `preview`, and Conflict for one that was begun otherwise.
        """
        with_shared = _with_shared(asked)
        person = await self.eraser.find(identifier_in(asked))
        await self.eraser.request(person, with_shared=with_shared)
        return self._take_up(person)

    async def pending(self, asked: Json) -> list[Json]:
        """Take up the erasures that were left, and give how each stands."""
        del asked
        return [self._take_up(person) for person in await self.eraser.pending()]

    def _take_up(self, person: bytes) -> Json:
        erasure = self.eraser.stream(person).hex()
        known = self._works.get(erasure)
        if known is None or known.ended:
            work = _Work()

            def tell(step: str) -> None:
                work.step = step

            work.task = asyncio.create_task(self.eraser.erase(person, tell))
            work.task.add_done_callback(lambda task: _note(erasure, task))
            self._works[erasure] = work
        return {"erasure": erasure, "state": UNDER_WAY, "step": "fenced"}

    async def show(self, asked: Json) -> Json:
        """Say how an erasure stands: {"erasure"}, with its certificate when it is done. Raises NotFound, Busy."""
        erasure = asked.get("erasure")
        if not isinstance(erasure, str) or len(erasure) != ID_DIGITS or not _is_hex(erasure):
            raise NotFound("there is no erasure of this id")
        work = self._works.get(erasure)
        # Asked before the log is: an erasure that ends meanwhile is not taken for one that stopped.
        has_ended = work is not None and work.ended
        certificate = await self.eraser.certificate(bytes.fromhex(erasure))
        if certificate is not None:
            self._works.pop(erasure, None)
            return {"erasure": erasure, "state": DONE, "step": "completed", "certificate": certificate.told()}
        if work is None or work.task is None or not has_ended:
            return {"erasure": erasure, "state": UNDER_WAY, "step": work.step if work else "fenced"}
        error = None if work.task.cancelled() else work.task.exception()
        reason = error.detail if isinstance(error, GriffelError) else "the erasure stopped; it is taken up again"
        return {
            "erasure": erasure,
            "state": PENDING if isinstance(error, Pending) else WITHHELD if isinstance(error, Withheld) else FAILED,
            "step": work.step,
            "reason": reason,
        } | ({"held": error.held} if isinstance(error, Withheld) else {})

    async def keep_taking_up(self) -> None:
        """Take up erasures that were left, now and from time to time, for ever."""
        while True:
            try:
                await self.pending({})
            except Busy as error:
                log.warning("erasures wait: %s", error.detail)
            await asyncio.sleep(RETRY_S)

    # ── decisions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def consent(self, asked: Json) -> Json:
        """Record consent: {"agent", "purpose", "given", "language"?, "by_learner"?}; give its record and receipt.

        language: of the policy's text that was shown. by_learner: the learner said so to this system, and not to
        somebody who passes it on. Raises InvalidInput, LearnerErased, Busy.
        """
        told = Told(
            identifier_in(asked),
            self._purpose(asked),
            _flag(asked, "given"),
            asked.get("language"),
            by_learner=asked.get("by_learner", False),
        )
        done = await self.decide(told)
        return {
            "purpose": told.entry.id,
            "given": told.given,
            "changed": done.changed,
            "record": done.record,
            "receipt": self._sign(done.record, CONSENT_RECEIPT),
        }

    def told_by(self, statement: Json) -> Told | None:
        """Read what a checked statement says of its actor's consent; None where it says nothing of that.

        Raises InvalidInput, pointing at the place in the statement.
        """
        said = read_consent_statement(statement)
        if said is None:
            return None
        identifier = identifier_of(statement["actor"])
        assert identifier is not None
        try:
            entry = self._purpose({"purpose": said.purpose})
        except InvalidInput as error:
            raise InvalidInput(error.detail, "/object/id") from None
        return Told(identifier, entry, said.given, said.language, by_learner=True, version=said.policy_version)

    async def decide(self, told: Told, event_id: str | None = None) -> Decision:
        """Record a decision about consent. With an id of its own it is recorded once, however often it comes."""
        entry = told.entry
        assert entry.key_class is not None
        now = self._now()
        policy = self._policy.policy_at(now)
        if told.version is not None:
            try:
                policy = self._policy.version(told.version, now)
            except NotFound as error:
                raise InvalidInput(error.detail, "/context/extensions") from None

        def record(record_id: str, before: Json | None) -> Json | None:
            if before is not None and before["event_id"] == event_id:
                return None
            return consent_record(
                entry,
                policy,
                told.language or policy.languages[0],
                given=told.given,
                at=now,
                record_id=record_id,
                event_id=event_id or str(uuid.uuid4()),
                method={"ui": "xapi" if event_id else "privacy-desk"},
                withdrawal_method=WITHDRAWAL_METHOD,
                indicated_by=INDICATED_BY[not told.by_learner],
                previous=before,
            )

        return await self._people.decide(told.identifier, entry.key_class, given=told.given, make_record=record)

    def _purpose(self, asked: Json) -> PurposeEntry:
        """Give the purpose that a request names. Raises InvalidInput, and names those that can be decided."""
        entries = {one.id: one for one in self._register if one.on_withdrawal is not None and one.key_class is not None}
        purpose = asked.get("purpose")
        if not isinstance(purpose, str) or purpose not in entries:
            raise InvalidInput(f"the purpose is one of: {', '.join(entries)}", "/purpose")
        return entries[purpose]

    async def restrict(self, asked: Json) -> Json:
        """Hide a learner from everybody else, or show them again: {"agent", "restricted"}. Raises as `consent`."""
        restricted = _flag(asked, "restricted")
        changed = await self._people.restrict(identifier_in(asked), restricted=restricted)
        return {"restricted": restricted, "changed": changed}

    async def hold(self, asked: Json) -> Json:
        """Hold what is kept of a learner for a purpose, or release it: {"agent", "purpose", "held", "ground"?}.

        An erasure that the hold kept goes on when the last is released. Raises as `consent`.
        """
        held, ground = _flag(asked, "held"), asked.get("ground")
        if held and (not isinstance(ground, str) or ground not in GROUNDS):
            raise InvalidInput(f"the ground is one of: {', '.join(GROUNDS)}", "/ground")
        if not held and ground is not None:
            raise InvalidInput("only what is held has a ground", "/ground")
        purposes = {one.id: one.key_class for one in self._register if one.key_class is not None}
        purpose = asked.get("purpose")
        if not isinstance(purpose, str) or purpose not in purposes:
            raise InvalidInput(f"the purpose is one of: {', '.join(purposes)}", "/purpose")
        state = GROUNDS[ground] if ground is not None else PersonState.ACTIVE
        changed = await self._people.hold(identifier_in(asked), purposes[purpose], state)
        if not held:
            await self.pending({})
            await self._released({})
        return {"purpose": purpose, "held": held, "changed": changed}

    async def holds(self, asked: Json) -> list[Json]:
        """Say what is held: of whom, by the id that an erasure of theirs has, for which purpose, and on what ground."""
        del asked
        names = {state: ground for ground, state in GROUNDS.items()}
        return [
            {
                "erasure": self.eraser.stream(person).hex(),
                "purpose": Purpose(purpose - HOLD).name.lower(),
                "ground": names[PersonState(state)],
            }
            for person, purpose, state in await self.eraser.held()
        ]

    async def rotate(self, asked: Json) -> Json:
        """Begin a key epoch and destroy the oldest, keeping so many as are set, or {"kept"}. Raises Busy."""
        done = await self._rotation.rotate(kept=asked.get("kept"))
        assert done is not None
        return done._asdict()


WITHDRAWAL_METHOD = "/privacy/consents"
"""Where consent is withdrawn, as records say it."""


def identifier_in(asked: Json) -> str:
    """Give the identifier of the agent that a request names. Raises InvalidInput."""
    agent = asked.get("agent")
    if agent is None:
        raise InvalidInput("the agent is missing: an xAPI agent with one identifier", "/agent")
    check_agent(agent, "2.0.0", "/agent")
    identifier = identifier_of(agent)
    if identifier is None:
        raise InvalidInput("this agent has no identifier", "/agent")
    return identifier


def _flag(asked: Json, name: str) -> bool:
    value = asked.get(name)
    if not isinstance(value, bool):
        raise InvalidInput(f"`{name}` is true or false", f"/{name}")
    return value


def _with_shared(asked: Json) -> bool:
    return "with_shared" in asked and _flag(asked, "with_shared")


def _is_hex(text: str) -> bool:
    return all(one in "0123456789abcdef" for one in text)


def _note(erasure: str, task: asyncio.Task[Certificate]) -> None:
    """Say in the log why an erasure stopped; by its id, which says nothing about anybody."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, Withheld):
        log.debug("the erasure %s waits: %s", erasure, error.detail)
    elif isinstance(error, Busy):
        log.warning("the erasure %s waits: %s", erasure, error.detail)
    else:
        log.error("the erasure %s stopped: %s", erasure, type(error).__name__)
