"""A sealed record as bytes: what stands in the log, on Kafka and in backups, bit for bit the same.

A record is a sequence of *parts*. Each is one AES-256-GCM box with a fixed header in front:

    magic 1 | algorithm 1 | tenant 4 | purpose 1 | year 2 | part 1 | owner 16 | key version 2 | schema 2 |
    nonce 12 | box

The header and the event's originator id are the associated data, so a box moved to another event, owner, purpose
or part does not open. Position, time and topic are left out on purpose: the bytes do not change when a record is
copied. The owner is a pseudonym (or an activity's or the store's own id), never anything a client sent.

Plain text is padded to multiples of 128 bytes before it is sealed, so a length says little. See
docs/explanation/sealing.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

MAGIC = 0x47
PADDING_BYTES = 128
NONCE_BYTES = 12
TAG_BYTES = 16
OWNER_BYTES = 16
KEY_BYTES = 32
TENANT = 1

_HEADER = struct.Struct(">BBIBHB16sHH")
HEADER_BYTES = _HEADER.size
_KIND_OFFSET = struct.calcsize(">BBIBH")
_LENGTH = struct.Struct(">I")

NOBODY = bytes(OWNER_BYTES)
"""Owner of a part whose key lies in other parts of the same record (a body with several principals)."""


class Algorithm(IntEnum):
    """How a box is made."""

    CLEAR = 0
    """Not sealed: only for what says nothing about anybody, such as positions and hashes."""
    AES_256_GCM = 1


class Purpose(IntEnum):
    """Why something is kept; a key belongs to one purpose, so one purpose can end alone (privacy register)."""

    LEARNING = 1
    SURVEY = 2
    COMMUNICATION = 3
    UPDATES = 4
    RESEARCH = 5
    SECURITY = 6
    LEGAL = 7
    ACTIVITY = 100
    """An activity's own key: what courses say about themselves belongs to no learner."""
    STORE = 101
    """The installation's own key, for what belongs to nobody else."""
    TOGETHER = 102
    """A key of several people together: it ends what is about all of them before the last of them has gone."""


class Part(IntEnum):
    """What a box holds."""

    BODY = 1
    """The statement with a number in each place where someone else is named, and its action."""
    PERSON = 2
    """One named person: every place and form in which the statement names them."""
    WRAP = 3
    """One half of the body's random key, for one of several principals: with the other half, any of them opens it."""
    JOINT = 4
    """What needs the keys of all persons named: a signature that repeats the statement."""
    SHARE = 5
    """One person's share of the joint part's key. All shares together are the key."""
    RESULT = 6
    """The result of a survey answer, which ends with the purpose `survey`."""
    DOCUMENT = 7
    DOCUMENT_ID = 8
    DEFINITION = 9
    """An activity's merged definition."""
    CREDENTIAL = 10
    VOIDING = 11
    VOIDED = 12
    ROW = 13
    """The content of a view's row."""
    COMPLETION = 14
    """That a learner completed a course, or that this was taken back."""
    SEQUENCED = 15
    """Which event has a number in the completion stream: its stream and version."""
    PERSON_STATE = 16
    """What is true of a person from this event on. Not sealed: purpose and state, by pseudonym."""
    CONSENT = 17
    """A record of consent given or withdrawn, under the learner's key for `legal`."""
    CERTIFICATE = 18
    """What an erasure has done, signed. Not sealed: it says nothing about anybody but the pseudonym."""
    TOGETHER = 19
    """The other half of the key of a body with several principals, under their key together."""


class Header(NamedTuple):
    """The clear front of a part."""

    algorithm: int
    purpose: int
    year: int
    part: int
    owner: bytes
    key_version: int
    schema: int

    def pack(self) -> bytes:
        """Give the header as bytes: everything before the nonce."""
        return _HEADER.pack(
            MAGIC,
            self.algorithm,
            TENANT,
            self.purpose,
            self.year,
            self.part,
            self.owner,
            self.key_version,
            self.schema,
        )


class SealedPart(NamedTuple):
    """One part as read: its header, the header's bytes, the nonce and the box (ciphertext and tag)."""

    header: Header
    header_bytes: bytes
    nonce: bytes
    box: bytes


class MalformedRecord(ValueError):
    """These bytes are not a record of ours. Retrying does not help: the data is damaged."""


def pad(plain: bytes) -> bytes:
    """Lengthen plain text to a multiple of 128 bytes, its length in front."""
    size = len(plain) + 4
    return _LENGTH.pack(len(plain)) + plain + bytes(-size % PADDING_BYTES)


def unpad(padded: bytes) -> bytes:
    """Undo `pad`. Raises MalformedRecord when the length in front cannot be true."""
    length = _LENGTH.unpack_from(padded)[0] if len(padded) >= _LENGTH.size else 0
    if length > len(padded) - _LENGTH.size:
        raise MalformedRecord("length in front of padded text exceeds it")
    return padded[4 : 4 + length]


def join_parts(parts: list[bytes]) -> bytes:
    """Put parts one behind the other, each with its length in front."""
    return b"".join([chunk for part in parts for chunk in (_LENGTH.pack(len(part)), part)])


def split_parts(record: bytes, kinds: frozenset[int] | None = None) -> Iterator[SealedPart]:
    """Give the parts of a record in order, of some kinds alone where they are named. Raises MalformedRecord."""
    at, end = 0, len(record)
    while at < end:
        if at + 4 > end:
            raise MalformedRecord("record ends inside a length")
        (length,) = _LENGTH.unpack_from(record, at)
        start, at = at + 4, at + 4 + length
        if at > end or length < HEADER_BYTES:
            raise MalformedRecord("record ends inside a part")
        if kinds is None or record[start + _KIND_OFFSET] in kinds:
            yield parse_part(record[start:at])


def parse_part(part: bytes) -> SealedPart:
    """Read one part. Raises MalformedRecord when the header is not one of ours."""
    try:
        magic, algorithm, tenant, purpose, year, kind, owner, key_version, schema = _HEADER.unpack_from(part)
    except struct.error as error:
        raise MalformedRecord("part is shorter than its header") from error
    if magic != MAGIC or tenant != TENANT:
        raise MalformedRecord("part does not begin like one of ours")
    header = Header(algorithm, purpose, year, kind, owner, key_version, schema)
    body = HEADER_BYTES + (NONCE_BYTES if algorithm else 0)
    if len(part) < body:
        raise MalformedRecord("part ends inside its nonce")
    return SealedPart(header, part[:HEADER_BYTES], part[HEADER_BYTES:body], part[body:])


def clear_part(kind: Part, owner: bytes, content: bytes) -> bytes:
    """Give a part that is not sealed. Only for hashes, positions and counts."""
    return Header(Algorithm.CLEAR, Purpose.STORE, 0, kind, owner, 0, 1).pack() + content
