"""Key epochs: everything that lives is wrapped anew under a fresh key, and the oldest key that is kept is destroyed.

What was wrapped under a destroyed epoch can be opened by nobody, wherever a copy of it lies: backups of the vault, a
replica, freed pages of a disk. So an erasure reaches every copy once the epochs are gone that were kept when it
happened (decision 35, T2); and a backup of the vault can be used for that long and no longer.

One transaction wraps everything anew, so a crash leaves the old epoch or the new one, whole. The roots lie with a
provider outside of it: the new one is made first and the oldest destroyed last, and either may be done again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.blinding import KeyedHash
from lrs.certificates import Horizon
from lrs.errors import Busy, Damaged
from lrs.key_vault import KeyVault
from lrs.keys import KeyId, key_binding, wipe
from lrs.suppression import end_suppression
from lrs.vault_store import VaultStore
from schemas.envelope import KEY_BYTES, NONCE_BYTES

ROWS_AT_ONCE = 1_000
DAY_US = 86_400_000_000
ROOTS_LOOKED_AT = 8
"""How many epochs back a root is looked for that should be gone: a run of destructions that failed."""
LOOK_S = 600.0
_FIRST = (b"", -1, -1, -1)

log = logging.getLogger("griffel.keys")


class Rotated(NamedTuple):
    """What a rotation did: the epoch that began, how many keys and identifiers it wrapped, which epochs are kept."""

    epoch: int
    keys: int
    identifiers: int
    kept: tuple[int, ...]


class Schedule(NamedTuple):
    """How long an epoch lasts (days; 0: until somebody rotates) and how many that ended are kept."""

    epoch_days: int
    epochs_kept: int


class Rotation:
    """Rotates one vault's epochs."""

    def __init__(self, vault: KeyVault, schedule: Schedule, *, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._provider = vault.provider
        self._schedule = schedule
        self._clock = clock

    async def rotate(self, *, older_than_us: int | None = None, kept: int | None = None) -> Rotated | None:
        """Begin an epoch and destroy the oldest. older_than_us: only where the newest began before that time.

        kept is how many that ended stay, where it is not what is set.

        Raises Busy (nothing was changed, or all but the destruction: repeat it), Damaged when a row does not open.
        """
        rotated = await self._vault.with_store(lambda store: self._rotate(store, older_than_us, kept))
        self._vault.drop()
        return rotated

    def horizon(self, destroyed_us: int) -> Horizon:
        """Say until when a backup from before a destruction can be opened."""
        days, kept = self._schedule
        if not self._provider.can_destroy:
            return Horizon(
                None, "The root key is held where it cannot be destroyed from here, so backups of the vault do not die."
            )
        if not days:
            return Horizon(
                None, f"Backups of the vault from before die with the {kept + 1}th rotation from now on, done by hand."
            )
        return Horizon(
            destroyed_us + days * (kept + 1) * DAY_US,
            f"Keys are wrapped anew every {days} days and {kept} epochs are kept: no backup opens after that day.",
        )

    async def keep_rotating(self) -> None:
        """Rotate whenever an epoch has lasted as long as it should, for ever."""
        while self._schedule.epoch_days:
            try:
                ends_us = int(self._clock() * 1_000_000) - self._schedule.epoch_days * DAY_US
                if (rotated := await self.rotate(older_than_us=ends_us)) is not None:
                    log.info("the keys were rotated: epoch %d", rotated.epoch)
                else:
                    # A rotation that was killed may have left the root of an epoch that is not kept.
                    await self._vault.with_store(self._destroy_roots)
            except Busy as error:
                log.warning("the keys could not be rotated: %s", error.detail)
            await asyncio.sleep(LOOK_S)

    # ── in the vault's thread ─────────────────────────────────────────────────────────────────────────────────────

    def _rotate(self, store: VaultStore, older_than_us: int | None, kept: int | None) -> Rotated | None:
        with store.transaction():
            store.lock_minting()
            old = self._vault.epoch.pin()
            if older_than_us is not None and store.rows("epochs")[-1][2] > older_than_us:
                return None
            epoch = old + 1
            key = bytearray(os.urandom(KEY_BYTES))
            now_us = int(self._clock() * 1_000_000)
            store.run("insert_epoch", epoch, self._provider.wrap(epoch, key), now_us)
            wrapping = _Wrapping(self._vault, epoch, AESGCM(key))
            wipe(key)
            if again := store.run("destroy_again"):
                log.warning("%d destroyed keys had been put back into the vault; they were destroyed again", again)
            end_suppression(store, now_us)
            keys = wrapping.keys(store)
            pepper = os.urandom(KEY_BYTES)
            identifiers = wrapping.identifiers(store, pepper)
            wrapping.secrets(store, pepper)
            wrapping.credentials(store)
            if store.rows("count_below", epoch, epoch, epoch)[0][0]:
                raise Damaged("a row of the vault was left in the old epoch; nothing was changed")
            oldest = epoch - (self._schedule.epochs_kept if kept is None else kept)
            store.run("forget_epochs_below", epoch)
            store.run("delete_epochs_below", oldest)
            store.run("count_change")
        self._destroy_roots(store)
        store.scrub()
        with store.transaction():
            self._vault.epoch.pin()
        return Rotated(epoch, keys, identifiers, tuple([row[0] for row in store.rows("epochs")]))

    def _destroy_roots(self, store: VaultStore) -> None:
        """Destroy the roots of the epochs before the oldest that is kept; doing it again does no harm."""
        oldest = store.rows("epochs")[0][0]
        for one in range(max(1, oldest - ROOTS_LOOKED_AT), oldest):
            self._provider.destroy(one)


class _Wrapping:
    """Wraps rows anew: opened with the vault's epoch, sealed under the next one."""

    def __init__(self, vault: KeyVault, epoch: int, cipher: AESGCM) -> None:
        self._vault = vault
        self._epoch = epoch
        self._cipher = cipher

    def keys(self, store: VaultStore) -> int:
        """Wrap every living key anew; give how many."""
        wrapped = 0
        for rows in _pages(store, "keys_below", self._epoch):
            fresh = []
            for owner, purpose, year, version, old in rows:
                key = KeyId(bytes(owner), purpose, year, version)
                fresh.append((self._epoch, self._again(key_binding(key), bytes(old)), *key))
            store.run_many("update_key", fresh)
            self._vault.keep_lease()
            wrapped += len(fresh)
        return wrapped

    def identifiers(self, store: VaultStore, pepper: bytes) -> int:
        """Wrap every identifier anew, found from now on by its hash under another pepper; give how many."""
        rows = store.rows("all_identifiers")
        links = []
        blinded = KeyedHash(pepper).digest
        for number, (owner, old) in enumerate(rows):
            if number % ROWS_AT_ONCE == 0:
                self._vault.keep_lease()
            binding = b"identifier " + bytes(owner)
            plain = bytes(self._vault.epoch.unwrap(binding, bytes(old)))
            links.append((blinded(plain), bytes(owner), self._epoch, self._wrap(binding, plain)))
        store.run("delete_all_identifiers")
        self._vault.keep_lease()
        store.run_many("insert_identifier", links)
        self._vault.keep_lease()
        return len(links)

    def secrets(self, store: VaultStore, pepper: bytes) -> None:
        """Wrap the store's secrets anew, the pepper of identifiers replaced."""
        for name, _, old in store.rows("secrets"):
            binding = b"secret " + name.encode()
            wrapped = self._again(binding, bytes(old))
            if name == "identifier_pepper":
                wrapped = self._wrap(binding, pepper)
            store.run("update_secret", self._epoch, wrapped, name)

    def credentials(self, store: VaultStore) -> None:
        """Wrap what is kept of credentials anew."""
        for blind, *_, sealed in store.rows("credentials"):
            store.run("update_credential", self._again(b"credential " + bytes(blind), bytes(sealed)), bytes(blind))

    def _again(self, binding: bytes, wrapped: bytes) -> bytes:
        plain = self._vault.epoch.unwrap(binding, wrapped)
        fresh = self._wrap(binding, plain)
        wipe(plain)
        return fresh

    def _wrap(self, binding: bytes, plain: bytes | bytearray) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, binding)


def _pages(store: VaultStore, name: str, epoch: int) -> Iterator[list[Any]]:
    after: tuple[Any, ...] = _FIRST
    while rows := [tuple(row) for row in store.rows(name, epoch, *after, ROWS_AT_ONCE)]:
        yield rows
        after = rows[-1][:4]
