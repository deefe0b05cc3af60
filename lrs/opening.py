"""Opening and sealing for projections: the one place where views and keys meet.

Projections work in threads, the key vault belongs to the event loop. What the vault has in memory is used at once, as
long as its lease holds; for the rest a thread waits while the event loop asks. Nothing opened and no key is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consumers.feed import FeedEvent
from lrs.errors import Busy, Damaged
from lrs.key_vault import KeyVault
from lrs.keys import KeyId
from lrs.sealing import BODY_HALVES, SCHEMA, key_of, open_part, seal_part, sum_of
from projections.projection import Json, KeyGone, KeyRef, OpenedEvent
from schemas.envelope import (
    NOBODY,
    Algorithm,
    Header,
    Part,
    SealedPart,
    parse_part,
    split_parts,
)
from schemas.events import STATEMENT_RECORDED

KEYS_WAIT_S = 15.0
"""How long a thread waits for the vault; over it Busy, and the batch is begun again."""
BLIND_KEPT_MAX = 20_000

Ciphers = Mapping[KeyId, AESGCM | None]


class VaultOpener:
    """projections.projection.Opener over the key vault. Make it on the event loop that the vault belongs to."""

    def __init__(self, vault: KeyVault) -> None:
        self._vault = vault
        self._loop = asyncio.get_running_loop()
        self._blinded: dict[tuple[str, tuple[str | bytes, ...]], bytes] = {}

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────

    def events(self, events: Sequence[FeedEvent]) -> list[OpenedEvent]:
        """Open a batch. Raises Damaged (or MalformedRecord) when one of them is not what it must be, and Busy."""
        split = [list(split_parts(one.state, _OPENED)) if one.topic == STATEMENT_RECORDED else [] for one in events]
        ciphers = self._ciphers(key_of(part) for parts in split for part in parts if part.header.owner != NOBODY)
        return [_opened(one, parts, ciphers) for one, parts in zip(events, split, strict=True)]

    def blind(self, kind: str, *values: str | bytes) -> bytes:
        known = self._blinded.get((kind, values))
        if known is None:
            known = self._vault.blinding.id(f"view {kind}", *values)
            if len(self._blinded) >= BLIND_KEPT_MAX:
                self._blinded.clear()
            self._blinded[kind, values] = known
        return known

    # ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open_rows(self, rows: Sequence[tuple[bytes, bytes]]) -> list[Json | None]:
        """Open contents; None where the key is destroyed. Raises Damaged and Busy."""
        parts = [parse_part(sealed) for sealed, _ in rows]
        ciphers = self._ciphers(map(key_of, parts))
        opened: list[Json | None] = []
        for part, (_, binding) in zip(parts, rows, strict=True):
            cipher = ciphers[key_of(part)]
            opened.append(None if cipher is None else orjson.loads(open_part(cipher, part, binding)))
        return opened

    def seal_row(self, key: KeyRef, binding: bytes, content: Json) -> bytes:
        key_id = KeyId(*key)
        cipher = self._vault.opening_key(key_id) or self._ciphers([key_id])[key_id]
        if cipher is None:
            raise KeyGone
        header = Header(Algorithm.AES_256_GCM, key.purpose, key.year, Part.ROW, key.owner, key.version, SCHEMA)
        return seal_part(cipher, header, binding, orjson.dumps(content))

    def _ciphers(self, keys: Iterable[KeyId]) -> dict[KeyId, AESGCM | None]:
        """Give every key's cipher, None where it is destroyed. Waits for the vault where one is not in memory."""
        found: dict[KeyId, AESGCM | None] = {one: self._vault.opening_key(one) for one in set(keys)}
        missing = [one for one, cipher in found.items() if cipher is None]
        if missing:
            asked = asyncio.run_coroutine_threadsafe(self._vault.for_opening(missing), self._loop)
            try:
                found |= asked.result(KEYS_WAIT_S)
            except FutureTimeoutError as error:
                asked.cancel()
                raise Busy("the key vault does not answer; try again") from error
        return found


_OPENED = frozenset({Part.BODY, Part.WRAP, Part.TOGETHER, Part.RESULT})


def _opened(event: FeedEvent, parts: list[SealedPart], ciphers: Ciphers) -> OpenedEvent:
    common = (event.position, event.originator_id, event.topic, event.stored_us, event.record_key)
    if event.topic != STATEMENT_RECORDED:
        return OpenedEvent(*common)
    learner, key, content = _read_body(event.originator_id, parts, ciphers)
    if content is None:
        return OpenedEvent(*common, learner)
    return OpenedEvent(*common, learner, content["statement"], content["action"], key)


def _read_body(
    originator_id: bytes, parts: Sequence[SealedPart], ciphers: Ciphers
) -> tuple[bytes | None, KeyRef | None, Json | None]:
    """Give whom a statement is about, the key that its body is sealed under, and the body, where it can be opened."""
    body = next((part for part in parts if part.header.part == Part.BODY), None)
    if body is None:
        raise Damaged("a statement's record has no body")
    header = body.header
    if header.owner == NOBODY:
        return None, None, _joint_body(originator_id, body, parts, ciphers)
    cipher = ciphers[key_of(body)]
    if cipher is None:
        return header.owner, None, None
    content: Json = orjson.loads(open_part(cipher, body, originator_id))
    for part in parts:
        if part.header.part == Part.RESULT and (survey := ciphers[key_of(part)]) is not None:
            content["statement"]["result"] = orjson.loads(open_part(survey, part, originator_id))
    return header.owner, KeyRef(header.owner, header.purpose, header.year, header.key_version), content


def _joint_body(originator_id: bytes, body: SealedPart, parts: Sequence[SealedPart], ciphers: Ciphers) -> Json | None:
    """Open a body with several principals: by the first of them whose key lives, and their key together."""
    halves: dict[int, bytes] = {}
    for part in parts:
        kind = part.header.part
        if kind in (Part.WRAP, Part.TOGETHER) and kind not in halves and (cipher := ciphers[key_of(part)]) is not None:
            halves[kind] = open_part(cipher, part, originator_id)
    if len(halves) < BODY_HALVES:
        return None
    content: Json = orjson.loads(open_part(AESGCM(sum_of([*halves.values()])), body, originator_id))
    return content
