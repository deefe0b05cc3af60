"""The epoch's key: under it everything in the vault is wrapped, until a rotation begins the next (lrs/rotation.py).

Everything here blocks and belongs to the vault's thread. Another process may rotate at any moment: who writes pins the
epoch first, within the transaction; who reads and meets a row of a newer epoch goes on to that one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged
from lrs.key_providers import KeyProvider
from lrs.keys import wipe
from lrs.vault_store import VaultStore
from schemas.envelope import NONCE_BYTES, TAG_BYTES


class EpochKey:
    """The newest epoch's key in memory. moved is called when it is another one, within a transaction."""

    def __init__(self, store: VaultStore, provider: KeyProvider, moved: Callable[[], None]) -> None:
        self._store = store
        self._provider = provider
        self._moved = moved
        self._cipher: AESGCM | None = None
        self.number = 0

    def load(self) -> None:
        """Take the newest epoch. Raises Misconfigured, Damaged and KeysAway of its provider."""
        number, wrapped, _ = self._store.rows("epochs")[-1]
        key = self._provider.unwrap(number, bytes(wrapped))
        self._cipher = AESGCM(key)
        self.number = number
        wipe(key)

    def forget(self) -> None:
        """Have no key any more."""
        self._cipher = None

    def pin(self) -> int:
        """Keep a rotation out until the caller's transaction ends; give the epoch."""
        if self._store.share_epoch() != self.number:
            self.load()
            self._moved()
        return self.number

    def follow(self, newest: int) -> None:
        """Go on to the newest epoch, if it is another one."""
        if newest != self.number:
            with self._store.transaction():
                self.pin()

    def wrap(self, binding: bytes, plain: bytes | bytearray) -> bytes:
        """Wrap a key or a small text."""
        assert self._cipher is not None
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, binding)

    def unwrap(self, binding: bytes, wrapped: bytes) -> bytearray:
        """Undo `wrap`, into bytes that the caller wipes. Raises Damaged."""
        wrapped = bytes(wrapped)
        plain = bytearray(max(0, len(wrapped) - NONCE_BYTES - TAG_BYTES))
        while True:
            assert self._cipher is not None
            try:
                self._cipher.decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], binding, plain)
            except (InvalidTag, ValueError) as error:
                newest = self._store.rows("newest_epoch")[0][0]
                if newest == self.number:
                    raise Damaged("a row of the vault does not open with the epoch's key") from error
                self.follow(newest)
            else:
                return plain
