"""Completions in the log: appended by the sequencer, read by institutions.

A change of a completion is an event of its own stream under the learner's key (`completion_changed`). In the same
request goes a `completion_sequenced` event, which gives it the next number of the completion stream: that stream's
version is the number, so the log's primary key keeps numbers without gaps and gives each once (decision 31).
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consumers.completion_stream import Change, Registration, StreamHead
from consumers.feed import FeedEvent
from lrs.appending import Appended, AppendRequest, NewEvent
from lrs.changed import Changed
from lrs.errors import Busy, Damaged
from lrs.event_log import Event, EventLog
from lrs.hiding import hidden_among
from lrs.key_vault import KeyVault
from lrs.keys import KeyId, SealingKey
from lrs.reading import timestamp
from lrs.sealing import SCHEMA, key_of, open_part, seal_part
from projections.course_rules import time_text
from schemas.envelope import Algorithm, Header, Part, Purpose, SealedPart, clear_part, join_parts, split_parts
from schemas.errors import InvalidInput
from schemas.events import COMPLETION_CHANGED, COMPLETION_SEQUENCED, STATEMENT_RECORDED
from schemas.people import identity_from
from schemas.person_states import ALL_PURPOSES, GONE, PersonState, PersonStateRow
from schemas.streams import Completion, Erasure, Json, cloud_event

CHANGES_AT_ONCE = 100
"""How many changes go into the log in one transaction."""
LOOKS_MAX = 10
"""How often a request is made anew because the stream moved on or somebody's state changed."""
ENTRIES_MAX = 500
"""How many entries are read at once."""
LOOK_S = 0.25
"""How often the stream's end is looked up while somebody waits for an entry."""

_ID_BYTES = 16
_IDENTIFIER_ORDER = ("account", "mbox", "openid", "mbox_sha1sum")

log = logging.getLogger("griffel.completions")


class Completions:
    """The completion stream of this installation: consumers.completion_stream.CompletionLog, and reading entries."""

    def __init__(
        self,
        events: EventLog,
        vault: KeyVault,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._log = events
        self._vault = vault
        self._now = now
        self._stream = vault.blinding.id("stream", "completions")
        self._newest = 0
        self._looked_s = -LOOK_S
        self._looking = asyncio.Lock()
        self.source = f"urn:griffel:stream:{vault.blinding.id('stream source', 'completions').hex()}"
        self.left_out = 0
        """How many changes were left out because their learner is erased or has withdrawn."""

    # ── for the sequencer ─────────────────────────────────────────────────────────────────────────────────────────

    async def statements(self, originator_ids: Sequence[bytes]) -> list[FeedEvent]:
        """Give the statements of these streams, voided ones too."""
        return [one for one in await self._log.streams(originator_ids) if one.topic == STATEMENT_RECORDED]

    async def registrations(self, events: Sequence[FeedEvent]) -> list[Registration]:
        """Give what completion_changed events are about. Raises Busy, and Damaged."""
        contents = await self._contents(events)
        return [
            Registration(event.record_key, content["course"], content["registration"])
            for event, content in zip(events, contents, strict=True)
            if content is not None
        ]

    async def heads(self, streams: Sequence[bytes]) -> dict[bytes, StreamHead]:
        """Give the newest event of each stream that has one."""
        found = await self._log.heads_of_streams(streams)
        return {stream: StreamHead(*head) for stream, head in found.items()}

    async def append(self, changes: Sequence[Change]) -> bool:
        """Append changes and number them, CHANGES_AT_ONCE in a transaction.

        Gives False when others have appended one of them meanwhile; those before it are in the log. Raises Busy.
        """
        for start in range(0, len(changes), CHANGES_AT_ONCE):
            if not await self._append(list(changes[start : start + CHANGES_AT_ONCE])):
                return False
        return True

    async def _append(self, changes: list[Change]) -> bool:
        seen: tuple[PersonStateRow, ...] = ()
        year = self._now().year
        for _ in range(LOOKS_MAX):
            learners = {one.registration.learner for one in changes}
            keys = await self._vault.for_sealing(learners, Purpose.LEARNING, year)
            changes = self._without(changes, {one for one in learners if keys[one] is None})
            if not changes:
                return True
            number = await self._log.stream_newest(self._stream, self._newest)
            pairs = [self._pair(one, keys, year, number + at) for at, one in enumerate(changes, 1)]
            request = AppendRequest(tuple([event for pair in pairs for event in pair]), seen)
            outcome = await self._log.append(request)
            if isinstance(outcome, Appended):
                return True
            if any(index % 2 == 0 for index in outcome.known):
                return False
            changes = self._without(changes, _refused(outcome))
            left = {one.registration.learner for one in changes}
            seen = tuple([row for row in outcome.states if row[0] in left])
        raise Busy("others keep appending to the completion stream; nothing was stored, try again")

    def _without(self, changes: list[Change], learners: set[bytes]) -> list[Change]:
        """Leave out what is about some learners, and count it."""
        kept = [one for one in changes if one.registration.learner not in learners]
        self.left_out += len(changes) - len(kept)
        return kept

    def _pair(
        self, change: Change, keys: Mapping[bytes, SealingKey | None], year: int, number: int
    ) -> tuple[NewEvent, NewEvent]:
        """Give a change as an event, and the event that numbers it."""
        learner, course, registration = change.registration
        key = keys[learner]
        assert key is not None
        content = {"kind": change.kind, "course": course, "registration": registration, "at": change.at_us}
        header = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, year, Part.COMPLETION, learner, key.version, SCHEMA)
        sealed = seal_part(key.cipher, header, change.stream, orjson.dumps(content))
        changed = NewEvent(change.stream, change.version, COMPLETION_CHANGED, learner, join_parts([sealed]), (learner,))
        return changed, self._sequencing(change.stream, change.version, number)

    async def sequencing(self, stream: bytes, version: int) -> NewEvent:
        """Give the event by which an event of another stream gets the next number; another may get it first."""
        self._newest = await self._log.stream_newest(self._stream, self._newest)
        return self._sequencing(stream, version, self._newest + 1)

    def _sequencing(self, stream: bytes, version: int, number: int) -> NewEvent:
        owner = self._vault.secrets.store_owner
        which = clear_part(Part.SEQUENCED, owner, stream + version.to_bytes(8))
        return NewEvent(self._stream, number, COMPLETION_SEQUENCED, owner, join_parts([which]))

    # ── for readers ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def known_newest(self) -> int:
        """Give the number of the newest entry that this process knows of."""
        return self._newest

    async def newest(self) -> int:
        """Give the number of the newest entry, 0 before the first; looked up LOOK_S ago at the most. Raises Busy."""
        async with self._looking:
            if time.monotonic() - self._looked_s >= LOOK_S:
                self._newest = await self._log.stream_newest(self._stream, self._newest)
                self._looked_s = time.monotonic()
            return self._newest

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is an entry after a number, for at most timeout_s; say whether there is. Raises Busy."""
        ends = time.monotonic() + timeout_s
        while await self.newest() <= after:
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return False
            await asyncio.sleep(min(LOOK_S, left_s))
        return True

    async def read(self, after: int, limit: int, purpose: Purpose = Purpose.LEARNING) -> list[Json]:
        """Give up to `limit` (ENTRIES_MAX) entries after a number, in order, as CloudEvents.

        One whose learner is erased, restricted, or has withdrawn the reader's purpose is empty. Raises InvalidInput
        when the number is beyond the end, Busy, and Damaged.
        """
        rows = await self._log.stream_between(self._stream, after, after + min(limit, ENTRIES_MAX))
        if not rows:
            self._newest = max(self._newest, await self._log.stream_newest(self._stream, self._newest))
            if after > self._newest:
                raise InvalidInput("this cursor is beyond the end of the stream; it is not one of this stream", "")
            return []
        self._newest = max(self._newest, rows[-1].version)
        named = [_named(row) for row in rows]
        found = {(one.originator_id, one.version): one for one in await self._log.streams(_streams(named))}
        try:
            changed = [found[one] for one in named]
        except KeyError as error:
            raise Damaged("an entry of the completion stream names an event that is not in the log") from error
        told = await self._told(changed, purpose)
        return [
            cloud_event(self.source, row.version, timestamp(row.stored_us), content)
            for row, content in zip(rows, told, strict=True)
        ]

    async def _told(self, events: Sequence[Event], purpose: Purpose) -> list[Completion | Erasure | None]:
        """Give what entries say: completions, and erasures, which name the entries that are empty because of them."""
        changes = [one for one in events if one.topic == COMPLETION_CHANGED]
        completions = iter(await self._completions(changes, purpose))
        return [next(completions) if one.topic == COMPLETION_CHANGED else _erasure(one) for one in events]

    async def _completions(self, events: Sequence[Event], purpose: Purpose) -> list[Completion | None]:
        learners = list({one.record_key for one in events})
        withheld = hidden_among(await self._log.person_states(learners), purpose)
        contents = await self._contents(events)
        actors: dict[bytes, Json | None] = {}
        told: list[Completion | None] = []
        for event, content in zip(events, contents, strict=True):
            learner = event.record_key
            if content is None or learner in withheld:
                told.append(None)
                continue
            if learner not in actors:
                actors[learner] = await self._actor(learner)
            actor = actors[learner]
            told.append(None if actor is None else self._completion(event, content, actor))
        return told

    def _completion(self, event: Event, content: Json, actor: Json) -> Completion:
        return Completion(
            content["kind"],
            event.version % 2 == 1,
            actor,
            content["course"],
            self._vault.blinding.id("view course", content["course"]).hex(),
            content["registration"] or None,
            time_text(content["at"]),
        )

    async def _actor(self, learner: bytes) -> Json | None:
        """Give a learner as an agent, by the identifier that says most; None where nothing leads to them any more."""
        identities = [identity_from(one) for one in await self._vault.identifiers_of(learner)]
        for kind in _IDENTIFIER_ORDER:
            of_kind = [one for one in identities if kind in one]
            if of_kind:
                return {"objectType": "Agent", **min(of_kind, key=str)}
        return None

    async def _contents(self, events: Sequence[FeedEvent]) -> list[Json | None]:
        """Open completion_changed events; None where the key is destroyed."""
        parts = [_only_part(one) for one in events]
        ciphers: dict[KeyId, AESGCM | None] = {}
        if parts:
            ciphers = await self._vault.for_opening([key_of(one) for one in parts])
        contents: list[Json | None] = []
        for event, part in zip(events, parts, strict=True):
            cipher = ciphers[key_of(part)]
            contents.append(None if cipher is None else orjson.loads(open_part(cipher, part, event.originator_id)))
        return contents


def _erasure(event: Event) -> Erasure:
    for part in split_parts(event.state, frozenset({Part.CERTIFICATE})):
        content = orjson.loads(part.box)
        return Erasure(content["erasure"], content["stream_entries_emptied"])
    raise Damaged("an entry of the completion stream names an event that is none of its own")


def _only_part(event: FeedEvent) -> SealedPart:
    parts = list(split_parts(event.state))
    if event.topic != COMPLETION_CHANGED or len(parts) != 1:
        raise Damaged("a change of a completion is not what it must be")
    return parts[0]


def _named(event: Event) -> tuple[bytes, int]:
    """Give the stream and version of the event that has this number."""
    content = next(split_parts(event.state)).box
    return content[:_ID_BYTES], int.from_bytes(content[_ID_BYTES:])


def _streams(named: Iterable[tuple[bytes, int]]) -> list[bytes]:
    return list({stream for stream, _ in named})


def _refused(outcome: Changed) -> set[bytes]:
    """Give those of whom nothing may be appended."""
    return {
        pseudonym
        for pseudonym, purpose, state in outcome.states
        if (purpose == ALL_PURPOSES and state in GONE)
        or (purpose == Purpose.LEARNING and state == PersonState.WITHDRAWN)
    }
