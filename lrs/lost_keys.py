"""Keys that are missing from the vault although they were never destroyed: found by reading the log (decision 18).

A key that is missing is no erasure: the store stops and says so. Only an operator may say that it is lost, after a
vault was restored from a backup that is too old and nothing better is left. It is a state of its own then: what was
sealed under it can be opened by nobody, no certificate counts it, and whoever it belonged to goes on with a new one.
"""

from __future__ import annotations

from collections.abc import Callable

from lrs.key_vault import KeyVault
from lrs.keys import KeyId, KeyState
from lrs.log_reader import LogReader
from lrs.sealing import key_of
from lrs.vault_store import VaultStore
from schemas.envelope import NOBODY, Algorithm, Purpose, split_parts

EVENTS_AT_ONCE = 1_000


def missing_keys(reader: LogReader, store: VaultStore, tell: Callable[[int], None] = lambda _: None) -> set[KeyId]:
    """Give the keys that records of the log name and the vault has no row of. Blocks; tell is told positions."""
    missing: set[KeyId] = set()
    known: set[KeyId] = set()
    position = 0
    while rows := reader.rows("events_after", position, EVENTS_AT_ONCE):
        position = rows[-1][0]
        named = {
            key_of(part)
            for row in rows
            for part in split_parts(bytes(row[6]))
            if part.header.algorithm != Algorithm.CLEAR
            and part.header.owner != NOBODY
            and part.header.purpose != Purpose.STORE
        }
        asked = named - known - missing
        for owner in {key.owner for key in asked}:
            known |= {KeyId(owner, row[0], row[1], row[2]) for row in store.rows("keys_of_owner", owner)}
        missing |= asked - known
        tell(position)
    return missing


def confirm_lost(vault: KeyVault, store: VaultStore, keys: set[KeyId]) -> None:
    """Have keys be lost for ever. Whoever is still known by an identifier gets new ones. In the vault's thread."""
    with store.transaction():
        store.lock_minting()
        epoch = vault.epoch.pin()
        store.run_many(
            "insert_key",
            [(key.owner, key.purpose, key.year, key.version, int(KeyState.LOST), epoch, None) for key in sorted(keys)],
        )
        known = {bytes(row[0]) for row in store.rows("owners_with_identifiers", among=[key.owner for key in keys])}
        for key in sorted(keys):
            mine = [
                row for row in store.rows("keys_of_owner", key.owner) if (row[0], row[1]) == (key.purpose, key.year)
            ]
            if key.owner in known and mine[-1][3] == KeyState.LOST:
                vault.insert_keys([key.owner], key.purpose, key.year, mine[-1][2] + 1)
        store.run("count_change")
