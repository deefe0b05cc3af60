"""Ending keys: of a person, of one purpose of theirs. What is destroyed here was the only copy outside of backups.

Destroyed is a fact (decision 18): the key's row stays without its bytes. Whose keys are all destroyed is marked as
erased in the same transaction, so that no process mints another one for them; their identifiers are deleted and
suppressed. Every destruction moves the vault's counter of changes, by which all processes drop what they hold in memory
within their lease.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from lrs.activities import is_activity
from lrs.key_vault import KeyVault
from lrs.keys import KeyState
from lrs.suppression import SUPPRESSED_DAYS, end_suppression, suppress
from lrs.vault_store import VaultStore

DAY_US = 86_400_000_000
CHANGES_KEPT_MAX = 10_000
OWNERS_AT_ONCE = 500


class Ended(NamedTuple):
    """What was destroyed: keys, and identifiers that led to the person."""

    keys: int
    identifiers: int


class KeyRow(NamedTuple):
    """A key of a person, without its bytes."""

    purpose: int
    year: int
    version: int
    state: int


class Endings:
    """Destroys keys in one vault. Raises Busy when its database does not answer; what was begun is then done again."""

    def __init__(self, vault: KeyVault, *, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock = clock

    async def erase(self, owner: bytes, footprint: bytes = b"") -> Ended:
        """Destroy every key of a person, or of an activity, and what leads to them; people are suppressed besides.

        footprint is what the certificate will say of what cannot be counted afterwards; that of the first time stays.
        """
        now_us = int(self._clock() * 1_000_000)

        def work(store: VaultStore) -> Ended:
            with store.transaction():
                store.lock_minting()
                epoch = self._vault.epoch.pin()
                known = self._vault.unwrapped_identifiers(owner)
                until_us = now_us + SUPPRESSED_DAYS * DAY_US
                people = [one for one in known if not is_activity(one)]
                suppress(store, people, until_us, epoch, self._vault.epoch.wrap, self._vault.epoch.unwrap)
                store.run("delete_identifiers_of", owner)
                keys = store.run("destroy_keys", owner)
                store.run("insert_erased", owner, now_us, len(known), footprint)
                _count(store, owner)
            store.scrub()
            return Ended(keys, len(known))

        ended = await self._vault.with_store(work)
        self._vault.drop([owner])
        return ended

    async def erase_all(self, owners: Sequence[bytes]) -> None:
        """Destroy every key of many owners whom no identifier leads to."""
        now_us = int(self._clock() * 1_000_000)

        def work(store: VaultStore, some: Sequence[bytes]) -> None:
            with store.transaction():
                store.lock_minting()
                for owner in some:
                    store.run("destroy_keys", owner)
                    store.run("insert_erased", owner, now_us, 0, b"")
                    _count(store, owner)
            store.scrub()

        for at in range(0, len(owners), OWNERS_AT_ONCE):
            some = owners[at : at + OWNERS_AT_ONCE]
            await self._vault.with_store(partial(work, some=some))
            self._vault.drop(some)

    async def end(self, owner: bytes, purpose: int) -> int:
        """Destroy a person's keys for one purpose; give how many."""

        def work(store: VaultStore) -> int:
            with store.transaction():
                store.lock_minting()
                keys = store.run("destroy_keys_for", owner, purpose)
                _count(store, owner)
            store.scrub()
            return keys

        ended = await self._vault.with_store(work)
        self._vault.drop([owner])
        return ended

    async def expire(self, purpose: int, year: int, held: Collection[bytes] = ()) -> Ended:
        """Destroy everybody's keys of a purpose and year, and what leads to whoever has no other key; give how many.

        Those may come back: they begin anew. Whoever is held keeps theirs.
        """
        now_us = int(self._clock() * 1_000_000)
        after = b""

        def work(store: VaultStore) -> tuple[Ended, bytes]:
            with store.transaction():
                store.lock_minting()
                rows = store.rows("owners_of_year", purpose, year, after, OWNERS_AT_ONCE)
                owners = [bytes(row[0]) for row in rows if bytes(row[0]) not in held]
                keys = sum(store.run("destroy_keys_of_year", owner, purpose, year) for owner in owners)
                left = {bytes(row[0]) for row in store.rows("owners_with_keys", among=owners)}
                identifiers = 0
                for owner in owners:
                    if owner not in left:
                        gone = store.run("delete_identifiers_of", owner)
                        store.run("insert_erased", owner, now_us, gone, b"")
                        identifiers += gone
                    _count(store, owner)
            if len(rows) < OWNERS_AT_ONCE:
                store.scrub()
            return Ended(keys, identifiers), bytes(rows[-1][0]) if rows else b""

        total = Ended(0, 0)
        while True:
            ended, after = await self._vault.with_store(work)
            total = Ended(total.keys + ended.keys, total.identifiers + ended.identifiers)
            if not after:
                break
        self._vault.drop()
        return total

    async def years(self) -> list[tuple[int, int, int, int]]:
        """Give (purpose, year, keys, learners) of every purpose's year that there are keys of."""
        rows = await self._vault.with_store(lambda store: store.rows("years"))
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def keys_of_year(self, owners: Sequence[bytes], purpose: int, year: int) -> int:
        """Give how many living keys for a purpose and year some people have."""
        found = [one for owner in owners for one in await self.keys_of(owner)]
        return sum((one.purpose, one.year, one.state) == (purpose, year, KeyState.ACTIVE) for one in found)

    async def renew(self, owner: bytes, purpose: int, year: int) -> bool:
        """Give a person whose newest key for a purpose and year is destroyed another one; say whether that was needed.

        Other years get theirs when something is sealed in them. Nobody who is erased gets any.
        """

        def work(store: VaultStore) -> bool:
            with store.transaction():
                store.lock_minting()
                self._vault.epoch.pin()
                mine = [row for row in store.rows("keys_of_owner", owner) if (row[0], row[1]) == (purpose, year)]
                ended = bool(mine) and mine[-1][3] == KeyState.DESTROYED
                if not ended or store.rows("erased", among=[owner]):
                    return False
                self._vault.insert_keys([owner], purpose, year, mine[-1][2] + 1)
                _count(store, owner)
                return True

        renewed = await self._vault.with_store(work)
        if renewed:
            self._vault.drop([owner])
        return renewed

    async def keys_of(self, owner: bytes) -> list[KeyRow]:
        """Give every key of a person, destroyed ones too."""
        rows = await self._vault.with_store(lambda store: store.rows("keys_of_owner", owner))
        return [KeyRow(*row) for row in rows]

    async def ending(self, owner: bytes) -> tuple[int, int, bytes] | None:
        """Give when a person's keys were destroyed (µs), how many identifiers led to them, and the footprint."""
        rows = await self._vault.with_store(lambda store: store.rows("ending", owner))
        return (rows[0][0], rows[0][1], bytes(rows[0][2])) if rows else None

    async def living(self, owners: Sequence[bytes]) -> set[bytes]:
        """Give those of whom a key or an identifier is left."""

        def work(store: VaultStore) -> set[bytes]:
            found = store.rows("owners_with_keys", among=owners) + store.rows("owners_with_identifiers", among=owners)
            return {bytes(row[0]) for row in found}

        return await self._vault.with_store(work) if owners else set()

    async def tidy(self) -> int:
        """Delete what is no longer suppressed; give how many identifiers."""
        now_us = int(self._clock() * 1_000_000)

        def work(store: VaultStore) -> int:
            with store.transaction():
                store.lock_minting()
                return end_suppression(store, now_us)

        return await self._vault.with_store(work)


def _count(store: VaultStore, owner: bytes) -> None:
    """Have every process know that keys of somebody have changed; within the transaction that changes them."""
    store.run("count_change")
    store.run("note_change", owner)
    store.run("forget_changes", CHANGES_KEPT_MAX)


def counted(keys: Iterable[KeyRow]) -> Counter[int]:
    """Give how many living keys there are for each purpose."""
    return Counter(key.purpose for key in keys if key.state == KeyState.ACTIVE)
