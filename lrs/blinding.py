"""Keyed hashes: how a value is found again without ever being written.

Two peppers lie in the vault. The *id pepper* never rotates: it blinds ids that clients chose (statements, verbs,
activities, registrations, documents) and index terms. The *identifier pepper* belongs to an epoch and blinds what leads
to a person. Both are 32 random bytes; the hash is HMAC-SHA-256.
"""

from __future__ import annotations

import hmac

TERMS_KEPT_MAX = 100_000
_BITS_128 = 16


class Blinding:
    """The installation's keyed hashes."""

    def __init__(self, id_pepper: bytes, identifier_pepper: bytes) -> None:
        self._id_pepper = id_pepper
        self._identifier_pepper = identifier_pepper
        self._terms: dict[tuple[int, bytes], bytes] = {}

    def identifier(self, identifier: str) -> bytes:
        """Blind what leads to a person (32 bytes)."""
        return hmac.digest(self._identifier_pepper, identifier.encode(), "sha256")

    def id(self, kind: str, *values: str | bytes) -> bytes:
        """Blind ids that a client chose (16 bytes). kind keeps equal texts of different kinds apart."""
        message = b"\0".join([kind.encode(), *[one if isinstance(one, bytes) else one.encode() for one in values]])
        return hmac.digest(self._id_pepper, message, "sha256")[:_BITS_128]

    def statement(self, statement_id: str) -> bytes:
        """Give the originator id of the statement with this id (a UUID in any case)."""
        return hmac.digest(self._id_pepper, b"statement\0" + statement_id.lower().encode(), "sha256")[:_BITS_128]

    def term(self, kind: int, value: bytes) -> bytes:
        """Give the index term of a value (16 bytes). Values recur, so hashes are kept, up to a bound."""
        known = self._terms.get((kind, value))
        if known is None:
            known = hmac.digest(self._id_pepper, b"term%c" % kind + value, "sha256")[:_BITS_128]
            if len(self._terms) >= TERMS_KEPT_MAX:
                self._terms.clear()
            self._terms[kind, value] = known
        return known
