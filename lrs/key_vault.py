"""The key vault: pseudonyms, the keys that seal, and what leads from an identifier to a learner.

    root (a provider) ─ epoch key ─┬─ secrets: peppers, the store's own keys
                                   ├─ identifiers, so that a rotation can blind them again
                                   └─ one random key for each (owner, purpose, year, version)

An *owner* is a pseudonym, an activity or the store itself: 16 random bytes, minted once, derived from nothing. Keys are
random too; a derived key could be derived again and so could not be destroyed.

The vault is durable before the log: mint, commit, then seal. Reading never mints. A key that is marked destroyed is a
fact (what it sealed is erased); a key that is missing without that mark is damage, and is never called erased.

What is in memory: the epoch key, and ciphers of the keys in use, up to a bound and under a *lease*. The lease is
renewed each second by reading a counter that every destruction, in whichever process, moves; when it moved, or cannot
be read for LEASE_S, all ciphers are dropped.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.blinding import Blinding
from lrs.errors import Damaged
from lrs.key_providers import KeyProvider
from lrs.vault_store import VaultStore
from schemas.envelope import KEY_BYTES, NONCE_BYTES, OWNER_BYTES, Purpose
from schemas.people import sha1sum_identifier

LEASE_S = 5.0
RENEW_S = 1.0
PEOPLE_KEPT_MAX = 50_000
CIPHERS_KEPT_MAX = 20_000
FIRST_VERSION = 1
TAG_BYTES = 16

T = TypeVar("T")


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
    store_owner: bytes


_SECRET_NAMES = (
    "id_pepper",
    "identifier_pepper",
    "cursor_key",
    "store_key",
    "placeholder_pepper",
    "credential_pepper",
    "etag_pepper",
)


class KeyVault:
    """Keys and identities: find, create, and give ciphers for sealing and opening.

    Call `start` before anything else; every method is for the event loop, the store works in a thread of its own.
    """

    def __init__(self, store: VaultStore, provider: KeyProvider, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        self._epoch = 0
        self._epoch_cipher: AESGCM | None = None
        self._pseudonyms: dict[str, bytes] = {}
        self._sealing: dict[tuple[bytes, int, int], SealingKey | None] = {}
        self._opening: dict[KeyId, AESGCM | None] = {}
        self._changes = -1
        self._lease_until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self.blinding: Blinding
        self.secrets: Secrets

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Make what is missing, load the epoch key and the secrets, take the lease.

        Raises Misconfigured or Damaged when the root is missing or does not fit, Busy when the database is away.
        """
        await self._in_thread(self._load)
        self._renewing = asyncio.create_task(self._keep_lease())

    async def stop(self) -> None:
        """Forget every key and close the store."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        self._drop_ciphers()
        self._pseudonyms.clear()
        self._epoch_cipher = None
        await self._in_thread(self._store.close)
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def ready(self) -> bool:
        """Say whether the lease holds: without it nothing is sealed or opened."""
        return time.monotonic() < self._lease_until

    def _load(self) -> None:
        store = self._store
        store.create()
        if not store.rows("epochs"):
            epoch_key = bytearray(os.urandom(KEY_BYTES))
            wrapped = self._provider.wrap(1, epoch_key)
            with store.transaction():
                store.run("insert_vault", os.urandom(OWNER_BYTES))
                store.run("insert_epoch", 1, wrapped, int(self._clock() * 1_000_000))
            _wipe(epoch_key)
        self._load_epoch()
        held = {name for name, *_ in store.rows("secrets")}
        missing = [name for name in _SECRET_NAMES if name not in held]
        if missing:
            rows = [(name, self._epoch, self._wrap(b"secret " + name.encode(), os.urandom(32))) for name in missing]
            with store.transaction():
                store.run_many("insert_secret", rows)
        plain = {
            name: bytes(self._unwrap(b"secret " + name.encode(), wrapped)) for name, _, wrapped in store.rows("secrets")
        }
        self.blinding = Blinding(plain["id_pepper"], plain["identifier_pepper"])
        self.secrets = Secrets(
            AESGCM(plain["cursor_key"]),
            AESGCM(plain["store_key"]),
            plain["placeholder_pepper"],
            plain["credential_pepper"],
            plain["etag_pepper"],
            bytes(store.rows("vault_id")[0][0]),
        )
        self._apply_lease(*self._renew())

    def _load_epoch(self) -> None:
        epoch, wrapped, _ = self._store.rows("epochs")[-1]
        key = self._provider.unwrap(epoch, bytes(wrapped))
        self._epoch_cipher = AESGCM(key)
        self._epoch = epoch
        _wipe(key)

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────

    def remembered(self, identifiers: Iterable[str]) -> dict[str, bytes] | None:
        """Give the pseudonyms if all are in memory and the lease holds, else None. Never blocks."""
        if not self.ready:
            return None
        known = self._pseudonyms
        try:
            return {one: known[one] for one in identifiers}
        except KeyError:
            return None

    async def pseudonyms(
        self, identifiers: Iterable[str], year: int, purpose: Purpose = Purpose.LEARNING
    ) -> dict[str, bytes]:
        """Give each identifier's pseudonym, minting those that are new, durable before this returns.

        Someone new gets a key for the purpose and year in the same transaction.
        """
        wanted = dict.fromkeys(identifiers)
        known = self._pseudonyms if self.ready else {}
        found = {one: known[one] for one in wanted if one in known}
        if len(found) < len(wanted):
            missing = [one for one in wanted if one not in found]
            minted, keys = await self._in_thread(self._mint, missing, year, purpose)
            _remember(self._pseudonyms, minted.items(), PEOPLE_KEPT_MAX)
            _remember(self._sealing, (((owner, purpose, year), key) for owner, key in keys.items()), CIPHERS_KEPT_MAX)
            found |= minted
        return found

    async def find_pseudonym(self, identifier: str) -> bytes | None:
        """Give the pseudonym of an identifier, None where nobody has it. Never mints."""
        found = self.remembered([identifier])
        if found is None:
            found = await self._in_thread(self._look_up, [identifier])
        return found.get(identifier)

    async def identifiers_of(self, owner: bytes) -> list[str]:
        """Give every identifier that leads to a learner, hashes of mailboxes included."""

        def read() -> list[str]:
            rows = self._store.rows("identifiers_of", owner)
            return [self._unwrap(b"identifier " + owner, wrapped).decode() for _, wrapped in rows]

        return await self._in_thread(read)

    def _look_up(self, identifiers: Sequence[str]) -> dict[str, bytes]:
        """Find owners by any form that leads to them: a mailbox also by its sha1sum (decision 19)."""
        blinds: dict[bytes, str] = {}
        for identifier in identifiers:
            blinds[self.blinding.identifier(identifier)] = identifier
        rows = self._store.rows("owners", among=list(blinds))
        found = {blinds[bytes(blind)]: bytes(owner) for blind, owner in rows}
        second: dict[bytes, str] = {}
        for identifier in identifiers:
            if identifier not in found and (hashed := sha1sum_identifier(identifier)) is not None:
                second[self.blinding.identifier(hashed)] = identifier
        if second:
            for blind, owner in self._store.rows("owners", among=list(second)):
                found[second[bytes(blind)]] = bytes(owner)
        return found

    def _mint(
        self, identifiers: list[str], year: int, purpose: Purpose
    ) -> tuple[dict[str, bytes], dict[bytes, SealingKey | None]]:
        """Give pseudonyms, and the sealing keys of everybody, which the next step asks for anyway."""
        found = self._look_up(identifiers)
        if len(found) < len(identifiers):
            found |= self._mint_missing([one for one in identifiers if one not in found], year, purpose)
        return found, self._newest_keys(sorted(set(found.values())), purpose, year)

    def _mint_missing(self, identifiers: list[str], year: int, purpose: Purpose) -> dict[str, bytes]:
        with self._store.transaction():
            self._store.lock_minting()
            self._pin_epoch()
            # Another process may have minted them, or one of their other forms, a moment ago.
            found = self._look_up(identifiers)
            links: list[tuple[bytes, bytes, int, bytes]] = []
            fresh: dict[str, bytes] = {}
            for identifier in identifiers:
                hashed = sha1sum_identifier(identifier)
                known = found.get(identifier) or fresh.get(identifier) or (fresh.get(hashed) if hashed else None)
                owner = known or os.urandom(OWNER_BYTES)
                for form in (identifier, hashed):
                    if form is not None:
                        fresh[form] = owner
                        wrapped = self._wrap(b"identifier " + owner, form.encode())
                        links.append((self.blinding.identifier(form), owner, self._epoch, wrapped))
            self._store.run_many("insert_identifier", links)
            minted = self._look_up(identifiers)
            self._insert_keys(sorted(set(minted.values())), purpose, year)
        return minted

    # ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def sealing_key(self, owner: bytes, purpose: int, year: int) -> SealingKey | None:
        """Give a key to seal with if it is in memory and the lease holds, else None. Never blocks."""
        return self._sealing.get((owner, purpose, year)) if self.ready else None

    async def for_sealing(self, owners: Iterable[bytes], purpose: int, year: int) -> dict[bytes, SealingKey | None]:
        """Give each owner's key for a purpose and year, minting the missing; None where the newest is destroyed."""
        wanted = dict.fromkeys(owners)
        known = self._sealing
        found: dict[bytes, SealingKey | None] = {}
        if self.ready:
            found = {one: known[one, purpose, year] for one in wanted if (one, purpose, year) in known}
        if len(found) < len(wanted):
            missing = [one for one in wanted if one not in found]
            read = await self._in_thread(self._keys_for_sealing, missing, purpose, year)
            _remember(known, (((owner, purpose, year), key) for owner, key in read.items()), CIPHERS_KEPT_MAX)
            found |= read
        return found

    def opening_key(self, key: KeyId) -> AESGCM | None:
        """Give a key to open with if it is in memory and the lease holds, else None. Never blocks."""
        return self._opening.get(key) if self.ready else None

    async def for_opening(self, keys: Iterable[KeyId]) -> dict[KeyId, AESGCM | None]:
        """Give each key's cipher; None where it is destroyed (or confirmed lost).

        Raises Damaged when a key is missing without ever having been destroyed.
        """
        wanted = dict.fromkeys(keys)
        known = self._opening
        found: dict[KeyId, AESGCM | None] = {}
        if self.ready:
            found = {one: known[one] for one in wanted if one in known}
        if len(found) < len(wanted):
            read = await self._in_thread(self._keys_for_opening, [one for one in wanted if one not in found])
            _remember(known, read.items(), CIPHERS_KEPT_MAX)
            found |= read
        return found

    def _keys_for_sealing(self, owners: list[bytes], purpose: int, year: int) -> dict[bytes, SealingKey | None]:
        found = self._newest_keys(owners, purpose, year)
        missing = sorted(one for one in owners if one not in found)
        if missing:
            with self._store.transaction():
                self._pin_epoch()
                self._insert_keys(missing, purpose, year)
            found |= self._newest_keys(missing, purpose, year)
        return found

    def _insert_keys(self, owners: Sequence[bytes], purpose: int, year: int) -> None:
        rows = []
        for owner in owners:
            key = bytearray(os.urandom(KEY_BYTES))
            binding = _key_binding(KeyId(owner, purpose, year, FIRST_VERSION))
            rows.append(
                (owner, int(purpose), year, FIRST_VERSION, int(KeyState.ACTIVE), self._epoch, self._wrap(binding, key))
            )
            _wipe(key)
        self._store.run_many("insert_key", rows)

    def _newest_keys(self, owners: Sequence[bytes], purpose: int, year: int) -> dict[bytes, SealingKey | None]:
        newest: dict[bytes, tuple[KeyId, int, bytes | None]] = {}
        for owner, _, _, version, state, _, wrapped in self._store.rows("keys_of", int(purpose), year, among=owners):
            if bytes(owner) not in newest or newest[bytes(owner)][0].version < version:
                newest[bytes(owner)] = (KeyId(bytes(owner), purpose, year, version), state, wrapped)
        sealing: dict[bytes, SealingKey | None] = {}
        for owner, (key, state, wrapped) in newest.items():
            cipher = self._living(key, state, wrapped)
            sealing[owner] = SealingKey(key.version, cipher) if cipher is not None else None
        return sealing

    def _keys_for_opening(self, keys: list[KeyId]) -> dict[KeyId, AESGCM | None]:
        groups: dict[tuple[int, int], list[bytes]] = {}
        for key in keys:
            groups.setdefault((key.purpose, key.year), []).append(key.owner)
        found: dict[KeyId, AESGCM | None] = {}
        wanted = set(keys)
        for (purpose, year), owners in groups.items():
            for owner, _, _, version, state, _, wrapped in self._store.rows("keys_of", purpose, year, among=owners):
                key = KeyId(bytes(owner), purpose, year, version)
                if key in wanted:
                    found[key] = self._living(key, state, wrapped)
        if len(found) != len(wanted):
            raise Damaged("a key is missing from the vault although it was never destroyed")
        return found

    # ── wrapping ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _pin_epoch(self) -> None:
        if self._store.share_epoch() != self._epoch:
            self._load_epoch()

    def _wrap(self, binding: bytes, plain: bytes | bytearray) -> bytes:
        assert self._epoch_cipher is not None
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._epoch_cipher.encrypt(nonce, plain, binding)

    def _unwrap(self, binding: bytes, wrapped: bytes) -> bytearray:
        assert self._epoch_cipher is not None
        wrapped = bytes(wrapped)
        plain = bytearray(max(0, len(wrapped) - NONCE_BYTES - TAG_BYTES))
        try:
            self._epoch_cipher.decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], binding, plain)
        except (InvalidTag, ValueError) as error:
            raise Damaged("a row of the vault does not open with the epoch's key") from error
        return plain

    def _living(self, key: KeyId, state: int, wrapped: bytes | None) -> AESGCM | None:
        """Give a key's cipher, None where it is destroyed or lost. Raises Damaged for a living key without bytes."""
        if state != KeyState.ACTIVE:
            return None
        if wrapped is None:
            raise Damaged("a key's bytes are missing from the vault although it was never destroyed")
        plain = self._unwrap(_key_binding(key), wrapped)
        cipher = AESGCM(plain)
        _wipe(plain)
        return cipher

    # ── lease ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                self._apply_lease(*await self._in_thread(self._renew))
            except Exception:  # noqa: BLE001, S112  whatever kept the vault from answering, it is asked again
                # The lease runs out by itself when the vault stays away; that is what it is for.
                continue

    def _renew(self) -> tuple[float, int]:
        asked = time.monotonic()
        return asked, self._store.rows("changes")[0][0]

    def _apply_lease(self, asked: float, changes: int) -> None:
        """On the event loop, after every read that the vault's thread did before: nothing stale is kept."""
        if changes != self._changes:
            self._drop_ciphers()
            self._pseudonyms.clear()
            self._changes = changes
        self._lease_until = asked + LEASE_S

    def _drop_ciphers(self) -> None:
        self._sealing.clear()
        self._opening.clear()

    # ── the store, for those who keep rows of their own in it ────────────────────────────────────────────────────

    async def with_store(self, work: Callable[[VaultStore], T]) -> T:
        """Run work on the vault's tables in the vault's thread (credentials live there)."""
        return await self._in_thread(work, self._store)

    def wrap_text(self, binding: bytes, text: bytes) -> bytes:
        """Wrap a small text under the epoch's key."""
        return self._wrap(binding, text)

    def unwrap_text(self, binding: bytes, wrapped: bytes) -> bytes:
        """Undo `wrap_text`. Raises Damaged."""
        return bytes(self._unwrap(binding, wrapped))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _key_binding(key: KeyId) -> bytes:
    return b"key %s %d %d %d" % (key.owner, key.purpose, key.year, key.version)


def _remember(memory: dict[Any, Any], items: Iterable[tuple[Any, Any]], kept_max: int) -> None:
    """Add to a bounded memory; the oldest entries make room."""
    memory.update(items)
    while len(memory) > kept_max:
        del memory[next(iter(memory))]


def _wipe(key: bytearray) -> None:
    key[:] = bytes(len(key))
