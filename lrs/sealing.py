"""Seal and open a statement, part by part (schemas/envelope.py has the layout, schemas/people.py the slots).

One principal: the body is sealed under that principal's key, who stands in it in full. Several: a random key for the
body, in two halves (their xor is the key): one is wrapped under each principal's key, so that the body ends with the
last of them; the other under a key of these principals together, so that it can be ended before. Then everyone stands
in a part of their own. Someone whose key is destroyed leaves an empty slot, which reads as a placeholder. A signature
repeats the statement, so it is sealed under a key that is the sum (xor) of one share for every person that the signed
statement names: it ends with the first of them.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged
from lrs.keys import KeyId, SealingKey
from schemas.actions import is_survey_answer
from schemas.envelope import (
    KEY_BYTES,
    NOBODY,
    NONCE_BYTES,
    Algorithm,
    Header,
    Part,
    Purpose,
    SealedPart,
    join_parts,
    pad,
    split_parts,
    unpad,
)
from schemas.people import ERASED_HOME_PAGE, Json, Named, Naming, put_back, take_out

SCHEMA = 1
BODY_HALVES = 2
NONCES_DRAWN = 256
_NO_VERSION = 0

Owners = Mapping[str, bytes]
"""Pseudonym of each identifier that a statement names."""
Keys = Mapping[bytes, SealingKey | None]
"""Sealing key of each pseudonym, None where it is destroyed."""


class Together(NamedTuple):
    """The key of several principals together, and its owner."""

    owner: bytes
    key: SealingKey


class _Nonces:
    """Random nonces, drawn from the system's generator a few hundred at a time. Any thread may ask."""

    def __init__(self) -> None:
        self._drawn: list[bytes] = []

    def next(self) -> bytes:
        """Give a nonce that is given once."""
        try:
            return self._drawn.pop()
        except IndexError:
            # Two threads may draw at once; then the nonces of one are never used.
            block = os.urandom(NONCES_DRAWN * NONCE_BYTES)
            drawn = [block[at : at + NONCE_BYTES] for at in range(0, len(block), NONCE_BYTES)]
            nonce = drawn.pop()
            self._drawn = drawn
            return nonce


_next_nonce = _Nonces().next


def seal_part(cipher: AESGCM, header: Header, binding: bytes, plain: bytes) -> bytes:
    """Seal plain text: padded, under a fresh random nonce, bound to the header and to `binding` (the originator id)."""
    front = header.pack()
    nonce = _next_nonce()
    return front + nonce + cipher.encrypt(nonce, pad(plain), front + binding)


def open_part(cipher: AESGCM, part: SealedPart, binding: bytes) -> bytes:
    """Open a part. Raises Damaged when key, header, binding and box do not belong together."""
    try:
        return unpad(cipher.decrypt(part.nonce, part.box, part.header_bytes + binding))
    except (InvalidTag, ValueError) as error:
        raise Damaged("a sealed part does not open with the key that its header names") from error


def key_of(part: SealedPart) -> KeyId:
    """Give the key that a part was sealed with."""
    header = part.header
    return KeyId(header.owner, header.purpose, header.year, header.key_version)


@dataclass(slots=True)
class SealableStatement:
    """A checked statement with all that sealing it needs.

    owners covers every identifier named; keys the `learning` key of every pseudonym; survey_keys the `survey` key of
    the principal of a survey answer. blobs describes stored attachments by sha2. signature_sha2s are the attachments
    that are signatures; signed_people the identifiers named in what was signed.
    """

    statement: Json
    named: Named
    originator_id: bytes
    action: str
    year: int
    blobs: dict[str, Json] = field(default_factory=dict)
    signature_sha2s: frozenset[str] = frozenset()
    signed_people: frozenset[str] = frozenset()

    @property
    def survey_answer_of_one(self) -> bool:
        """Say whether the result is sealed under `survey`: a survey answer of one principal."""
        return len(self.named.principals) == 1 and is_survey_answer(self.statement, self.action)


def living_principals(named: Named, owners: Owners, keys: Keys) -> list[bytes]:
    """Give the pseudonyms of those whom a statement is about and who have a key."""
    return [one for one in dict.fromkeys([owners[one] for one in named.principals]) if keys[one] is not None]


def seal_statement(
    sealable: SealableStatement, owners: Owners, keys: Keys, survey_keys: Keys, together: Together | None = None
) -> bytes:
    """Give the sealed record. The statement comes out as it went in.

    At least one principal must have a key; anyone without one becomes an empty slot. together is needed where several
    principals have one.
    """
    statement, named = sealable.statement, sealable.named
    seal = partial(_seal_for, keys, sealable)
    principals = living_principals(named, owners, keys)
    sole = principals[0] if len(principals) == 1 else None
    taken, people = _separate(named, owners, sole)
    parts: list[bytes] = []
    aside: Json = {}
    blobs = sealable.blobs
    if sealable.signature_sha2s:
        blobs = _seal_signatures(sealable, owners, seal, parts, aside)
    if sole is not None and sealable.survey_answer_of_one:
        aside["result"] = statement.pop("result")
        if (survey_key := survey_keys[sole]) is not None:
            header = Header(
                Algorithm.AES_256_GCM, Purpose.SURVEY, sealable.year, Part.RESULT, sole, survey_key.version, SCHEMA
            )
            plain = orjson.dumps(aside["result"])
            parts.append(seal_part(survey_key.cipher, header, sealable.originator_id, plain))
    content: Json = {"action": sealable.action, "statement": statement}
    if blobs:
        content["blobs"] = blobs
    body = orjson.dumps(content)
    statement.update(aside)
    for naming, original in taken:
        naming.holder[naming.key] = original
    for owner, kept in people.items():
        if keys[owner] is not None:
            parts.append(seal(Part.PERSON, owner, orjson.dumps(kept)))
    if sole is not None:
        return join_parts([seal(Part.BODY, sole, body), *parts])
    assert together is not None
    halves = [os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)]
    header = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, sealable.year, Part.BODY, NOBODY, _NO_VERSION, SCHEMA)
    sealed = seal_part(AESGCM(sum_of(halves)), header, sealable.originator_id, body)
    header = Header(
        Algorithm.AES_256_GCM, Purpose.TOGETHER, 0, Part.TOGETHER, together.owner, together.key.version, SCHEMA
    )
    other_half = seal_part(together.key.cipher, header, sealable.originator_id, halves[1])
    wraps = [seal(Part.WRAP, owner, halves[0]) for owner in principals]
    return join_parts([sealed, other_half, *wraps, *parts])


def _seal_for(keys: Keys, sealable: SealableStatement, part: Part, owner: bytes, plain: bytes) -> bytes:
    key = keys[owner]
    assert key is not None
    header = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, sealable.year, part, owner, key.version, SCHEMA)
    return seal_part(key.cipher, header, sealable.originator_id, plain)


def _separate(
    named: Named, owners: Owners, sole: bytes | None
) -> tuple[list[tuple[Naming, Json]], dict[bytes, list[tuple[int, str, Json]]]]:
    """Take out everyone but the sole principal; give what to put back where, and what each person's part keeps."""
    taken: list[tuple[Naming, Json]] = []
    people: dict[bytes, list[tuple[int, str, Json]]] = {}
    for slot, naming in enumerate(named.namings):
        owner = owners[naming.identifier]
        if owner != sole and naming.is_person:
            taken.append((naming, naming.agent))
            people.setdefault(owner, []).append((slot, naming.role, take_out(naming, slot)))
    return taken, people


def _seal_signatures(
    sealable: SealableStatement,
    owners: Owners,
    seal: Callable[[Part, bytes, bytes], bytes],
    parts: list[bytes],
    aside: Json,
) -> dict[str, Json]:
    """Move signatures out of the statement into a joint part; give the blobs that stay in the body."""
    statement = sealable.statement
    aside["attachments"] = statement["attachments"]
    places = [place for place, one in enumerate(statement["attachments"]) if one["sha2"] in sealable.signature_sha2s]
    moved = [statement["attachments"][place] for place in places]
    statement["attachments"] = [one for one in statement["attachments"] if one["sha2"] not in sealable.signature_sha2s]
    shares = {owners[one]: os.urandom(KEY_BYTES) for one in sorted(sealable.signed_people)}
    parts += [seal(Part.SHARE, owner, share) for owner, share in shares.items()]
    plain = orjson.dumps(
        {"places": places, "attachments": moved, "blobs": {one["sha2"]: sealable.blobs[one["sha2"]] for one in moved}}
    )
    header = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, sealable.year, Part.JOINT, NOBODY, _NO_VERSION, SCHEMA)
    parts.append(seal_part(AESGCM(sum_of(list(shares.values()))), header, sealable.originator_id, plain))
    return {sha2: blob for sha2, blob in sealable.blobs.items() if sha2 not in sealable.signature_sha2s}


def sum_of(shares: Sequence[bytes]) -> bytes:
    """Give the key that shares come to: their xor."""
    total = 0
    for share in shares:
        total ^= int.from_bytes(share)
    return total.to_bytes(KEY_BYTES)


# ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class SealedStatement:
    """A record as read from the log, its parts split. stored is in µs since 1970."""

    position: int
    originator_id: bytes
    stored_us: int
    parts: list[SealedPart]

    @classmethod
    def read(cls, position: int, originator_id: bytes, stored_us: int, state: bytes) -> SealedStatement:
        """Split a record. Raises MalformedRecord."""
        return cls(position, originator_id, stored_us, list(split_parts(state)))

    def key_ids(self) -> Iterator[KeyId]:
        """Give every key that opening this asks for."""
        return (key_of(part) for part in self.parts if part.header.owner != NOBODY)


@dataclass(slots=True)
class OpenedStatement:
    """A statement as it may be read: erased people replaced by placeholders.

    people holds the pseudonym of everyone whose part or body could still be opened. intact is False when any part of it
    has been erased, whoever it was about.
    """

    position: int
    stored_us: int
    statement: Json
    action: str
    blobs: dict[str, Json]
    people: frozenset[bytes]
    intact: bool


class _Opening:
    """What has been opened of a record so far."""

    def __init__(self, sealed: SealedStatement, ciphers: Mapping[KeyId, AESGCM | None]) -> None:
        self._binding = sealed.originator_id
        self._ciphers = ciphers
        self._half: bytes | None = None
        self._other_half: bytes | None = None
        self._shares: list[bytes] | None = []
        self._body: SealedPart | None = None
        self.joint: SealedPart | None = None
        self.slots: dict[int, Json] = {}
        self.result: Any = None
        self.alive: set[bytes] = set()
        self.intact = True
        for part in sealed.parts:
            if part.header.part == Part.BODY:
                self._body = part
            elif part.header.part == Part.JOINT:
                self.joint = part
            else:
                self._take(part)

    def _take(self, part: SealedPart) -> None:
        cipher, kind = self._ciphers[key_of(part)], part.header.part
        if cipher is None:
            self.intact = False
            if kind == Part.SHARE:
                self._shares = None
            return
        plain = open_part(cipher, part, self._binding)
        if kind == Part.TOGETHER:
            self._other_half = plain
            return
        self.alive.add(part.header.owner)
        if kind == Part.PERSON:
            self.slots.update((slot, agent) for slot, _, agent in orjson.loads(plain))
        elif kind == Part.WRAP:
            self._half = plain
        elif kind == Part.SHARE and self._shares is not None:
            self._shares.append(plain)
        elif kind == Part.RESULT:
            self.result = orjson.loads(plain)

    def content(self) -> Json | None:
        """Open the body; None when nobody is left whose key opens it, or when it was ended before."""
        body = self._body
        if body is None:
            raise Damaged("a statement's record has no body")
        if body.header.owner == NOBODY:
            halves = [half for half in (self._half, self._other_half) if half is not None]
            cipher = AESGCM(sum_of(halves)) if len(halves) == BODY_HALVES else None
        else:
            cipher = self._ciphers[key_of(body)]
        if cipher is None:
            return None
        if body.header.owner != NOBODY:
            self.alive.add(body.header.owner)
        content: Json = orjson.loads(open_part(cipher, body, self._binding))
        return content

    def signatures(self) -> Json | None:
        """Open the joint part; None when the key of someone it names is gone."""
        if self.joint is None or not self._shares:
            return None
        moved: Json = orjson.loads(open_part(AESGCM(sum_of(self._shares)), self.joint, self._binding))
        return moved

    def placeholder(self, pepper: bytes, slot: int) -> Json:
        """Give the identity of someone erased, and remember that somebody is."""
        self.intact = False
        return _placeholder(pepper, self._binding, slot)


def open_statement(
    sealed: SealedStatement, ciphers: Mapping[KeyId, AESGCM | None], placeholder_pepper: bytes
) -> OpenedStatement | None:
    """Open what can be opened; None when the body is dead, because all principals are erased."""
    opening = _Opening(sealed, ciphers)
    content = opening.content()
    if content is None:
        return None
    statement: Json = content["statement"]
    blobs: dict[str, Json] = content.get("blobs", {})
    put_back(statement, opening.slots, partial(opening.placeholder, placeholder_pepper))
    if opening.result is not None:
        statement["result"] = opening.result
    if opening.joint is not None:
        if (moved := opening.signatures()) is not None:
            for place, attachment in zip(moved["places"], moved["attachments"], strict=True):
                statement["attachments"].insert(place, attachment)
            blobs = blobs | moved["blobs"]
        if not statement["attachments"]:
            del statement["attachments"]
    return OpenedStatement(
        sealed.position,
        sealed.stored_us,
        statement,
        content["action"],
        blobs,
        frozenset(opening.alive),
        opening.intact,
    )


def _placeholder(pepper: bytes, originator_id: bytes, slot: int) -> Json:
    """Give the identity of an erased person: the same within one statement, not linkable across (decision 21)."""
    name = hmac.digest(pepper, originator_id + slot.to_bytes(4), "sha256")[:18]
    return {"account": {"homePage": ERASED_HOME_PAGE, "name": base64.urlsafe_b64encode(name).decode()}}
