"""The witness: up to where this vault's log was on Kafka, kept in the vault, which is another database than the log's.

A log that ends before it has been put back to an earlier day, whatever else can be asked. It follows the relay within a
second, so it may be a second late and is never ahead.
"""

from __future__ import annotations

from typing import NamedTuple

from lrs.key_vault import KeyVault


class Testimony(NamedTuple):
    """Everything up to position is acknowledged by Kafka, of the log with this incarnation."""

    incarnation: bytes
    position: int


class Witness:
    """The witness in one vault. Raises Busy when the vault's database does not answer."""

    def __init__(self, vault: KeyVault) -> None:
        self._vault = vault

    async def read(self) -> Testimony | None:
        """Give what it says, None where nothing of this vault's log has ever been on Kafka."""
        rows = await self._vault.with_store(lambda store: store.rows("witness"))
        return Testimony(bytes(rows[0][0]), rows[0][1]) if rows else None

    async def follow(self, seen: Testimony) -> None:
        """Move it on to what was seen. It never goes back, and never from one log to another."""
        await self._vault.with_store(lambda store: store.run("follow_witness", *seen))

    async def give_up(self, seen: Testimony) -> None:
        """Set it back: an operator has accepted that what came after is lost."""
        await self._vault.with_store(lambda store: store.run("set_witness", *seen))
