"""What a key is called, what is true of it, and the names of what the store keeps secret."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FIRST_VERSION = 1


class KeyState(IntEnum):
    """What a key row says."""

    ACTIVE = 1
    DESTROYED = 2
    LOST = 3
    """An operator has confirmed that the key is gone without having been destroyed."""


class KeyId(NamedTuple):
    """Which key: found in the header of every sealed part."""

    owner: bytes
    purpose: int
    year: int
    version: int


class SealingKey(NamedTuple):
    """A key to seal with: the version to write into the header, and its cipher."""

    version: int
    cipher: AESGCM


class Secrets(NamedTuple):
    """The store's own secrets, in memory while it runs."""

    cursor_key: AESGCM
    store_key: AESGCM
    placeholder_pepper: bytes
    credential_pepper: bytes
    etag_pepper: bytes
    signing_key: bytes
    store_owner: bytes


def key_binding(key: KeyId) -> bytes:
    """Give what a wrapped key is bound to."""
    return b"key %s %d %d %d" % (key.owner, key.purpose, key.year, key.version)


def wipe(key: bytearray) -> None:
    """Overwrite a key in memory."""
    key[:] = bytes(len(key))


def remember(memory: dict[Any, Any], items: Iterable[tuple[Any, Any]], kept_max: int) -> None:
    """Add to a bounded memory; the oldest entries make room."""
    memory.update(items)
    while len(memory) > kept_max:
        del memory[next(iter(memory))]
