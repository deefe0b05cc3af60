"""What a key is called, what is true of it, and the names of what the store keeps secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.vault_store import VaultStore

FIRST_VERSION = 1
CHANGED_MAX = 1_000
"""Of so many changes at once it is looked up whose they are; of more, everybody is looked up anew."""


SECRET_NAMES = (
    "id_pepper",
    "identifier_pepper",
    "cursor_key",
    "store_key",
    "placeholder_pepper",
    "credential_pepper",
    "etag_pepper",
    "signing_key",
)
"""What the store keeps secret besides keys: made once, at the first start."""


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


def secrets_from(plain: Mapping[str, bytes], store_owner: bytes) -> Secrets:
    """Put the secrets of these names into the form in which they are used."""
    return Secrets(
        AESGCM(plain["cursor_key"]),
        AESGCM(plain["store_key"]),
        plain["placeholder_pepper"],
        plain["credential_pepper"],
        plain["etag_pepper"],
        plain["signing_key"],
        store_owner,
    )


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


def forget(memory: dict[Any, Any], owners: frozenset[bytes] | None, owner_of: Callable[[Any, Any], bytes]) -> None:
    """Take out of a memory what is some owners', all of it where none are named."""
    if owners is None:
        memory.clear()
        return
    for one in [key for key, value in memory.items() if owner_of(key, value) in owners]:
        del memory[one]


def changed_since(store: VaultStore, known: int, newest: int) -> list[bytes] | None:
    """Give whose keys changed between two counts of changes; None where that is everybody's, or is not known."""
    if newest == known:
        return []
    if known < 0 or newest < known or newest - known > CHANGED_MAX:
        return None
    rows = store.rows("changes_after", known, newest, CHANGED_MAX)
    return [bytes(owner) for _, owner in rows] if len(rows) == newest - known else None
