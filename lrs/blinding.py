"""Keyed hashes: how a value is found again without ever being written.

Two peppers lie in the vault. The *id pepper* never rotates: it blinds ids that clients chose (statements, verbs,
activities, registrations, documents) and index terms. The *identifier pepper* belongs to an epoch and blinds what leads
to a person. Both are 32 random bytes; the hash is HMAC-SHA-256.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

TERMS_KEPT_MAX = 20_000
_BITS_128 = 16
_BLOCK_BYTES = 64


class KeyedHash:
    """HMAC-SHA-256 under one key (RFC 2104), with the key's two blocks hashed once and for all.

    The library's own one-shot function lets go of Python's lock for each hash, which costs thirty times the hash when
    another thread waits for it; these copies do not, for texts of up to 2 kB.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        if len(block) != _BLOCK_BYTES:
            raise ValueError(f"the key has at most {_BLOCK_BYTES} bytes")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, message: bytes) -> bytes:
        """Give the hash of a message (32 bytes)."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Blinding:
    """The installation's keyed hashes."""

    def __init__(self, id_pepper: bytes, identifier_pepper: bytes) -> None:
        self._of_id = KeyedHash(id_pepper).digest
        self._of_identifier = KeyedHash(identifier_pepper).digest
        self._terms: dict[int, dict[str | bytes, bytes]] = defaultdict(dict)

    def renew(self, identifier_pepper: bytes) -> None:
        """Blind identifiers under another pepper from now on: a new epoch has begun."""
        self._of_identifier = KeyedHash(identifier_pepper).digest

    def identifier(self, identifier: str) -> bytes:
        """Blind what leads to a person (32 bytes)."""
        return self._of_identifier(identifier.encode())

    def id(self, kind: str, *values: str | bytes) -> bytes:
        """Blind ids that a client chose (16 bytes). kind keeps equal texts of different kinds apart."""
        message = b"\0".join([kind.encode(), *[one if isinstance(one, bytes) else one.encode() for one in values]])
        return self._of_id(message)[:_BITS_128]

    def statement(self, statement_id: str) -> bytes:
        """Give the originator id of the statement with this id (a UUID in any case)."""
        return self._of_id(b"statement\0" + statement_id.lower().encode())[:_BITS_128]

    def term(self, kind: int, value: str | bytes) -> bytes:
        """Give the index term of a value (16 bytes). Values recur, so hashes are kept, up to a bound for each kind."""
        terms = self._terms[kind]
        known = terms.get(value)
        if known is None:
            raw = value if isinstance(value, bytes) else value.encode()
            known = self._of_id(b"term%c" % kind + raw)[:_BITS_128]
            if len(terms) >= TERMS_KEPT_MAX:
                terms.clear()
            terms[value] = known
        return known
