"""State and profile documents: immediate, ETag-checked, sealed. Not events: they come back from a backup (decision 5).

A document of a learner (state, agent profile) is sealed under the learner's key, an activity profile under the
activity's. Its place is a keyed hash of everything it is asked by, so no id that a client chose stands in the table.
xAPI Communication 2.2, 2.3, 2.6, 2.7 and 3.1.
"""

from __future__ import annotations

import datetime
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from lrs.activities import NO_YEAR, owner_identifier
from lrs.changed import Changed
from lrs.document_writing import DocumentDelete, DocumentPut, DocumentRequest, DocumentsChanged
from lrs.errors import Busy, Conflict, LearnerErased, PreconditionFailed, PurposeWithdrawn
from lrs.event_log import EventLog
from lrs.key_vault import KeyVault
from lrs.sealing import SCHEMA, key_of, open_part, seal_part
from schemas.envelope import NOBODY, Algorithm, Header, Part, Purpose, join_parts, split_parts
from schemas.errors import InvalidInput
from schemas.people import Json, identifier_of
from schemas.person_states import ALL_PURPOSES, GONE, PersonState, PersonStateRow

LOOKS_MAX = 10
ETAG_HEX_DIGITS = 40
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is: a kind and what it is asked by. id is None for all documents of that place.

    kind is `state`, `agents/profile` or `activities/profile`.
    """

    kind: str
    activity: str | None = None
    agent: Json | None = None
    registration: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is: content and its media type, when it was changed (µs), its ETag without quotes."""

    id: str
    content: bytes
    media_type: str
    updated_us: int
    etag: str
    revision: int


@dataclass(frozen=True, slots=True)
class Precondition:
    """If-Match and If-None-Match as sent: ETags without quotes, `*` among them for any."""

    match: frozenset[str] | None = None
    none_match: frozenset[str] | None = None

    def check(self, current: Document | None) -> None:
        """Raise PreconditionFailed unless it holds for what is there (RFC 9110, 13.1)."""
        if self.match is not None and (current is None or not ({"*", current.etag} & self.match)):
            raise PreconditionFailed
        if self.none_match is not None and current is not None and ({"*", current.etag} & self.none_match):
            raise PreconditionFailed

    @property
    def given(self) -> bool:
        """Say whether the client sent either header."""
        return self.match is not None or self.none_match is not None


@dataclass(frozen=True, slots=True)
class _Keys:
    """A place as the table knows it. owner is None where nobody has that identifier and nothing is to be minted."""

    document_key: bytes
    scope: bytes
    wide_scope: bytes | None
    owner: bytes | None


class Documents:
    """The documents of this installation."""

    def __init__(
        self,
        log: EventLog,
        vault: KeyVault,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._log = log
        self._vault = vault
        self._now = now

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, place: Place) -> Document | None:
        """Give the document at a place, None where there is none or its keys are destroyed."""
        keys = await self._keys(place, minting=False)
        return await self._get(keys)

    async def listed(self, place: Place, since_us: int = 0) -> list[Document]:
        """Give the documents of a place changed after an instant, the oldest first (their content is not needed)."""
        keys = await self._keys(place, minting=False)
        return [document for _, document in await self._all(keys, place, since_us)]

    async def _all(self, keys: _Keys, place: Place, since_us: int) -> list[tuple[bytes, Document]]:
        if keys.owner is None:
            return []
        if keys.wide_scope is not None and place.registration is None:
            rows = await self._log.document_rows("documents_in_wide_scope", keys.wide_scope, since_us)
        else:
            rows = await self._log.document_rows("documents_in_scope", keys.scope, since_us)
        opened = [(bytes(row[0]), await self._open(bytes(row[0]), row[1:])) for row in rows]
        return [(key, document) for key, document in opened if document is not None]

    async def _get(self, keys: _Keys) -> Document | None:
        if keys.owner is None:
            return None
        rows = await self._log.document_rows("document", keys.document_key)
        return await self._open(keys.document_key, rows[0]) if rows else None

    async def _open(self, document_key: bytes, row: tuple[Any, ...]) -> Document | None:
        _, revision, updated_us, sealed = row
        parts = list(split_parts(bytes(sealed)))
        key = key_of(parts[0])
        cipher = self._vault.opening_key(key) or (await self._vault.for_opening([key]))[key]
        if cipher is None:
            return None
        head = orjson.loads(open_part(cipher, parts[0], document_key))
        content = open_part(cipher, parts[1], document_key)
        return Document(head["id"], content, head["type"], updated_us, self._etag(content), revision)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def put(
        self,
        place: Place,
        content: bytes,
        media_type: str,
        precondition: Precondition,
        *,
        must_be_conditional: bool,
        new_ones_too: bool,
    ) -> None:
        """Replace or create a document.

        must_be_conditional: an existing document is only replaced under a precondition; new_ones_too: nor is one made
        without. Raises InvalidInput, PreconditionFailed, Conflict, LearnerErased, PurposeWithdrawn, Busy; nothing has
        changed then.
        """

        def replace(current: Document | None) -> tuple[bytes, str]:
            if must_be_conditional and not precondition.given:
                if current is not None:
                    raise Conflict("a document is there already: read it and send its ETag as If-Match to replace it")
                if new_ones_too:
                    raise InvalidInput("send If-None-Match: * to make a document, or If-Match with its ETag", "")
            return content, media_type

        await self._write(place, precondition, replace)

    async def merge(self, place: Place, content: bytes, media_type: str, sent: Json | None, pre: Precondition) -> None:
        """Merge the top-level members of a JSON object into a document, or create it.

        sent is the content parsed when it is a JSON object, else None. Raises InvalidInput when either side is not a
        JSON object, and as `put`.
        """

        def merged(current: Document | None) -> tuple[bytes, str]:
            if current is None:
                return content, media_type
            if not _is_json(current.media_type) or not _is_json(media_type) or sent is None:
                raise InvalidInput("POST merges JSON objects only; what is there, or what was sent, is none", "")
            stored = orjson.loads(current.content)
            if not isinstance(stored, dict):
                raise InvalidInput("POST merges JSON objects only; the stored document is none", "")
            return orjson.dumps({**stored, **sent}), current.media_type

        await self._write(place, pre, merged)

    async def delete(self, place: Place, precondition: Precondition) -> None:
        """Delete a document; that there is none is no error. Raises PreconditionFailed, Busy."""
        keys = await self._keys(place, minting=False)
        for _ in range(LOOKS_MAX):
            current = await self._get(keys)
            precondition.check(current)
            if current is None:
                return
            request = DocumentRequest(deletes=(DocumentDelete(keys.document_key, current.revision),))
            if isinstance(await self._log.write_documents(request), DocumentsChanged):
                return
        raise Busy("others keep changing this document; nothing was done, try again")

    async def delete_all(self, place: Place) -> None:
        """Delete every document of a place."""
        keys = await self._keys(place, minting=False)
        for _ in range(LOOKS_MAX):
            found = await self._all(keys, place, 0)
            if not found:
                return
            deletes = tuple([DocumentDelete(key, document.revision) for key, document in found])
            if isinstance(await self._log.write_documents(DocumentRequest(deletes=deletes)), DocumentsChanged):
                return
        raise Busy("others keep changing these documents; nothing was done, try again")

    async def _write(
        self, place: Place, precondition: Precondition, change: Callable[[Document | None], tuple[bytes, str]]
    ) -> None:
        keys = await self._keys(place, minting=True)
        assert keys.owner is not None
        assert place.id is not None
        seen: tuple[PersonStateRow, ...] = ()
        for _ in range(LOOKS_MAX):
            current = await self._get(keys)
            precondition.check(current)
            content, media_type = change(current)
            sealed = await self._seal(keys, place, content, media_type)
            revision = current.revision if current else 0
            put = DocumentPut(keys.document_key, keys.scope, keys.wide_scope, keys.owner, revision, sealed)
            request = DocumentRequest((put,), person=keys.owner, seen=seen)
            outcome = await self._log.write_documents(request)
            if isinstance(outcome, DocumentsChanged):
                return
            if place.agent is not None:
                _refuse(outcome)
            elif any(state in GONE for _, _, state in outcome.states):
                # The activity was forgotten a moment ago: it begins anew, under another key.
                self._vault.drop([keys.owner])
                keys = await self._keys(place, minting=True)
                assert keys.owner is not None
                continue
            seen = outcome.states
        raise Busy("others keep changing this document; nothing was done, try again")

    async def _seal(self, keys: _Keys, place: Place, content: bytes, media_type: str) -> bytes:
        assert keys.owner is not None
        purpose, year = (Purpose.LEARNING, self._now().year) if place.agent else (Purpose.ACTIVITY, NO_YEAR)
        key = self._vault.sealing_key(keys.owner, purpose, year)
        if key is None:
            key = (await self._vault.for_sealing([keys.owner], purpose, year))[keys.owner]
        if key is None:
            raise LearnerErased("whom this document is about has been erased")
        head = orjson.dumps({"id": place.id, "type": media_type})
        parts = [
            seal_part(
                key.cipher,
                Header(Algorithm.AES_256_GCM, purpose, year, part, keys.owner, key.version, SCHEMA),
                keys.document_key,
                plain,
            )
            for part, plain in ((Part.DOCUMENT_ID, head), (Part.DOCUMENT, content))
        ]
        return join_parts(parts)

    async def _keys(self, place: Place, *, minting: bool) -> _Keys:
        if place.agent is not None:
            identifier = identifier_of(place.agent)
            assert identifier is not None
            purpose, year = Purpose.LEARNING, self._now().year
        else:
            assert place.activity is not None
            identifier = owner_identifier(place.activity)
            purpose, year = Purpose.ACTIVITY, NO_YEAR
        if minting:
            owner: bytes | None = (await self._vault.pseudonyms([identifier], year, purpose))[identifier]
            if owner == NOBODY:
                raise LearnerErased("whom this document is about has been erased")
        else:
            owner = await self._vault.find_pseudonym(identifier)
        whose = owner or b""
        blind = self._vault.blinding.id
        registration = (place.registration or "").lower()
        around = (place.kind, place.activity or "", whose)
        wide = blind("documents of any registration", *around) if place.kind == "state" else None
        return _Keys(
            blind("document", *around, registration, place.id or ""),
            blind("documents", *around, registration),
            wide,
            owner,
        )

    def _etag(self, content: bytes) -> str:
        return hmac.digest(self._vault.secrets.etag_pepper, content, "sha256").hex()[:ETAG_HEX_DIGITS]


def _is_json(media_type: str) -> bool:
    return media_type.partition(";")[0].strip().lower() == JSON_TYPE


def _refuse(changed: Changed) -> None:
    states = {purpose: state for _, purpose, state in changed.states}
    if states.get(ALL_PURPOSES) in GONE:
        raise LearnerErased("whom this document is about has been erased")
    if states.get(Purpose.LEARNING) == PersonState.WITHDRAWN:
        raise PurposeWithdrawn("the learner has withdrawn the purpose that this document is kept for")
