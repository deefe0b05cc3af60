"""The key vault: pseudonyms, the keys that seal, and what leads from an identifier to a learner.

    root (a provider) ─ epoch key ─┬─ secrets: peppers, the store's own keys
                                   ├─ identifiers, so that a rotation can blind them again
                                   └─ one random key for each (owner, purpose, year, version)

An *owner* is a pseudonym, an activity or the store itself: 16 random bytes, minted once, derived from nothing. Keys are
random too; a derived key could be derived again and so could not be destroyed.

The vault is durable before the log: mint, commit, then seal. Reading never mints. A key that is marked destroyed is a
fact (what it sealed is erased); a key that is missing without that mark is damage, and is never called erased.

What is in memory: the epoch key, and ciphers of the keys in use, up to a bound and under a lease (lrs/key_lease.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.blinding import Blinding
from lrs.epoch import EpochKey
from lrs.errors import Damaged
from lrs.key_lease import Answering, Dropped, KeyLease
from lrs.key_providers import KeyProvider
from lrs.keys import (
    FIRST_VERSION,
    SECRET_NAMES,
    KeyId,
    KeyState,
    SealingKey,
    Secrets,
    forget,
    key_binding,
    remember,
    secrets_from,
    wipe,
)
from lrs.suppression import suppressed_among
from lrs.vault_store import VaultStore
from schemas.envelope import KEY_BYTES, NOBODY, OWNER_BYTES, Purpose
from schemas.people import sha1sum_identifier

DROPPED_POLL_S = 0.1
PEOPLE_KEPT_MAX = 50_000
CIPHERS_KEPT_MAX = 20_000

T = TypeVar("T")


class KeyVault:
    """Keys and identities: find, create, and give ciphers for sealing and opening.

    Call `start` before anything else; every method is for the event loop, the store works in a thread of its own.
    """

    def __init__(self, store: VaultStore, provider: KeyProvider, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self.provider = provider
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        self.epoch = EpochKey(store, provider, self._take_pepper)
        self._pseudonyms: dict[str, bytes] = {}
        self._sealing: dict[tuple[bytes, int, int], SealingKey | None] = {}
        self._opening: dict[KeyId, AESGCM | None] = {}
        self._lease = KeyLease(self.drop, self.epoch.follow)
        self._renewing: asyncio.Task[None] | None = None
        self.blinding: Blinding
        self.secrets: Secrets

    # ── start and stop ────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Make what is missing, load the epoch key and the secrets, take the lease.

        Raises Misconfigured or Damaged when the root is missing or does not fit, Busy when the database is away.
        """
        await self._in_thread(self._load)
        self._renewing = asyncio.create_task(self._lease.keep_renewing(self.with_store))

    async def stop(self) -> None:
        """Forget every key and close the store."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        self.drop()
        self.epoch.forget()
        await self._in_thread(self._close)
        await asyncio.to_thread(self._thread.shutdown)

    @property
    def ready(self) -> bool:
        """Say whether the lease holds: without it nothing is sealed or opened."""
        return self._lease.holds

    def begin_answer(self) -> Answering:
        """Note that an answer is begun: to be ended, and only to be handed out while `covers` it."""
        return self._lease.begin_answer()

    def end_answer(self, answering: Answering) -> None:
        """Note that an answer was handed out, or will not be."""
        self._lease.end_answer(answering)

    def covers(self, answering: Answering) -> bool:
        """Say whether the lease was held without a gap since an answer was begun."""
        return self._lease.covers(answering)

    async def dropping(self) -> Dropped:
        """Give what says when no process keeps what was destroyed until now. Raises Busy."""
        return await self.with_store(lambda store: Dropped(store.rows("changes")[0][0]))

    async def dropped(self, dropping: Dropped) -> None:
        """Wait until no process keeps it, and every answer that was begun with it is sent. Raises Busy."""
        while not await self.with_store(dropping.look):  # noqa: ASYNC110  other processes say so
            await asyncio.sleep(DROPPED_POLL_S)

    def _close(self) -> None:
        self._lease.end(self._store)
        self._store.close()

    def _load(self) -> None:
        store = self._store
        store.create()
        if not store.rows("epochs"):
            epoch_key = bytearray(os.urandom(KEY_BYTES))
            wrapped = self.provider.wrap(1, epoch_key)
            with store.transaction():
                store.run("insert_vault", os.urandom(OWNER_BYTES))
                store.run("insert_epoch", 1, wrapped, int(self._clock() * 1_000_000))
            wipe(epoch_key)
        self.epoch.load()
        held = {name for name, *_ in store.rows("secrets")}
        missing = [name for name in SECRET_NAMES if name not in held]
        if missing:
            rows = [
                (name, self.epoch.number, self.epoch.wrap(b"secret " + name.encode(), os.urandom(32)))
                for name in missing
            ]
            with store.transaction():
                store.run_many("insert_secret", rows)
        plain = {
            name: bytes(self.epoch.unwrap(b"secret " + name.encode(), wrapped))
            for name, _, wrapped in store.rows("secrets")
        }
        self.blinding = Blinding(plain["id_pepper"], plain["identifier_pepper"])
        self.secrets = secrets_from(plain, bytes(store.rows("vault_id")[0][0]))
        self._lease.begin(store)

    def _take_pepper(self) -> None:
        """Blind identifiers as the epoch that has just begun does."""
        rows = {name: wrapped for name, _, wrapped in self._store.rows("secrets")}
        pepper = self.epoch.unwrap(b"secret identifier_pepper", rows["identifier_pepper"])
        self.blinding.renew(bytes(pepper))

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

        Someone new gets a key for the purpose and year in the same transaction. Who was erased not long ago is nobody
        (NOBODY, who has no keys), for as long as their identifiers are suppressed.
        """
        wanted = dict.fromkeys(identifiers)
        known = self._pseudonyms if self.ready else {}
        found = {one: known[one] for one in wanted if one in known}
        if len(found) < len(wanted):
            missing = [one for one in wanted if one not in found]
            minted, keys = await self._in_thread(self._mint, missing, year, purpose)
            known_now = [(one, owner) for one, owner in minted.items() if owner != NOBODY]
            remember(self._pseudonyms, known_now, PEOPLE_KEPT_MAX)
            remember(self._sealing, (((owner, purpose, year), key) for owner, key in keys.items()), CIPHERS_KEPT_MAX)
            found |= minted
        return found

    async def find_pseudonym(self, identifier: str) -> bytes | None:
        """Give the pseudonym of an identifier, None where nobody has it. Never mints."""
        found = self.remembered([identifier])
        if found is None:
            found = await self._in_thread(self._find, [identifier])
        return found.get(identifier)

    async def identifiers_of(self, owner: bytes) -> list[str]:
        """Give every identifier that leads to a learner, hashes of mailboxes included."""
        return await self._in_thread(self.unwrapped_identifiers, owner)

    async def erased_among(self, owners: Sequence[bytes]) -> set[bytes]:
        """Give those whose keys were all destroyed, for ever."""
        rows = await self._in_thread(lambda: self._store.rows("erased", among=owners))
        return {bytes(row[0]) for row in rows}

    async def owners_of_activities(self, after: bytes, limit: int) -> list[tuple[bytes, str]]:
        """Give (owner, identifier) of activities that have a key, in the order of owners, after one of them."""

        def work() -> list[tuple[bytes, str]]:
            owners = [bytes(row[0]) for row in self._store.rows("owners_of_activities", after, limit)]
            return [(owner, self.unwrapped_identifiers(owner)[0]) for owner in owners]

        return await self._in_thread(work)

    def unwrapped_identifiers(self, owner: bytes) -> list[str]:
        """Give what `identifiers_of` gives, to whoever works in the vault's thread."""
        rows = self._store.rows("identifiers_of", owner)
        return [self.epoch.unwrap(b"identifier " + owner, wrapped).decode() for _, wrapped in rows]

    def _find(self, identifiers: Sequence[str]) -> dict[str, bytes]:
        """Find owners, in the epoch that is."""
        self.epoch.follow(self._store.rows("newest_epoch")[0][0])
        return self._look_up(identifiers)

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
        found = self._find(identifiers)
        if len(found) < len(identifiers):
            found |= self._mint_missing([one for one in identifiers if one not in found], year, purpose)
        return found, self._newest_keys(sorted({*found.values()} - {NOBODY}), purpose, year)

    def _mint_missing(self, identifiers: list[str], year: int, purpose: Purpose) -> dict[str, bytes]:
        with self._store.transaction():
            self._store.lock_minting()
            self.epoch.pin()
            # Another process may have minted them, or one of their other forms, a moment ago.
            found = self._look_up(identifiers)
            now_us = int(self._clock() * 1_000_000)
            lost = [one for one in identifiers if one not in found]
            found |= dict.fromkeys(suppressed_among(self._store, lost, now_us, self.epoch.unwrap), NOBODY)
            links: list[tuple[bytes, bytes, int, bytes]] = []
            fresh: dict[str, bytes] = {}
            for identifier in identifiers:
                hashed = sha1sum_identifier(identifier)
                known = found.get(identifier) or fresh.get(identifier) or (fresh.get(hashed) if hashed else None)
                owner = known or os.urandom(OWNER_BYTES)
                if owner == NOBODY:
                    continue
                for form in (identifier, hashed):
                    if form is not None:
                        fresh[form] = owner
                        wrapped = self.epoch.wrap(b"identifier " + owner, form.encode())
                        links.append((self.blinding.identifier(form), owner, self.epoch.number, wrapped))
            self._store.run_many("insert_identifier", links)
            minted = self._look_up(identifiers)
            self.insert_keys(sorted(set(minted.values())), purpose, year)
        return minted | {one: owner for one, owner in found.items() if owner == NOBODY}

    # ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def sealing_key(self, owner: bytes, purpose: int, year: int) -> SealingKey | None:
        """Give a key to seal with if it is in memory and the lease holds, else None. Never blocks."""
        return self._sealing.get((owner, purpose, year)) if self.ready else None

    async def for_sealing(self, owners: Iterable[bytes], purpose: int, year: int) -> dict[bytes, SealingKey | None]:
        """Give each owner's key for a purpose and year, minting the missing.

        None where the newest is destroyed, or the owner erased.
        """
        wanted = dict.fromkeys(owners)
        known = self._sealing
        found: dict[bytes, SealingKey | None] = {}
        if self.ready:
            found = {one: known[one, purpose, year] for one in wanted if (one, purpose, year) in known}
        if len(found) < len(wanted):
            missing = [one for one in wanted if one not in found]
            read: dict[bytes, SealingKey | None] = dict.fromkeys(missing)
            read |= await self._in_thread(
                self._keys_for_sealing, [one for one in missing if one != NOBODY], purpose, year
            )
            remember(known, (((owner, purpose, year), key) for owner, key in read.items()), CIPHERS_KEPT_MAX)
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
            remember(known, read.items(), CIPHERS_KEPT_MAX)
            found |= read
        return found

    def _keys_for_sealing(self, owners: list[bytes], purpose: int, year: int) -> dict[bytes, SealingKey | None]:
        found = self._newest_keys(owners, purpose, year)
        missing = sorted(one for one in owners if one not in found)
        if missing:
            with self._store.transaction():
                self._store.share_minting()
                self.epoch.pin()
                self.insert_keys(missing, purpose, year)
            found |= self._newest_keys(missing, purpose, year)
        return found

    def insert_keys(self, owners: Sequence[bytes], purpose: int, year: int, version: int = FIRST_VERSION) -> None:
        """Mint keys, but for those who are erased; within a transaction of the vault's thread."""
        rows = []
        erased = {bytes(row[0]) for row in self._store.rows("erased", among=owners)}
        for owner in owners:
            if owner in erased:
                continue
            key = bytearray(os.urandom(KEY_BYTES))
            binding = key_binding(KeyId(owner, purpose, year, version))
            rows.append(
                (
                    owner,
                    int(purpose),
                    year,
                    version,
                    int(KeyState.ACTIVE),
                    self.epoch.number,
                    self.epoch.wrap(binding, key),
                )
            )
            wipe(key)
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

    def _living(self, key: KeyId, state: int, wrapped: bytes | None) -> AESGCM | None:
        """Give a key's cipher, None where it is destroyed or lost. Raises Damaged for a living key without bytes."""
        if state != KeyState.ACTIVE:
            return None
        if wrapped is None:
            raise Damaged("a key's bytes are missing from the vault although it was never destroyed")
        plain = self.epoch.unwrap(key_binding(key), wrapped)
        cipher = AESGCM(plain)
        wipe(plain)
        return cipher

    # ── lease ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_lease(self) -> None:
        """Renew the lease from the vault's thread, within a transaction that keeps out whoever ends keys."""
        self._lease.keep(self._store)

    def drop(self, owners: Iterable[bytes] | None = None) -> None:
        """Forget at once what is in memory of some people and their keys, of everybody where none are named."""
        gone = None if owners is None else frozenset(owners)
        forget(self._sealing, gone, lambda key, _: key[0])
        forget(self._opening, gone, lambda key, _: key.owner)
        forget(self._pseudonyms, gone, lambda _, owner: owner)

    # ── the store, for those who keep rows of their own in it ────────────────────────────────────────────────────

    async def with_store(self, work: Callable[[VaultStore], T]) -> T:
        """Run work on the vault's tables in the vault's thread (credentials live there)."""
        return await self._in_thread(work, self._store)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._settled, work, *arguments)

    def _settled(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do some work; again where rows were read in one epoch and opened in another."""
        while True:
            epoch = self.epoch.number
            try:
                return work(*arguments)
            except Damaged:
                if epoch in (0, self.epoch.number):
                    raise
