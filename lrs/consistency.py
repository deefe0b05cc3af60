"""At start: do this log and this vault belong together?

A vault from an older backup, or another installation's, must not pass for one in which people were erased. So the keys
of the newest events must be known: there, or destroyed, or confirmed lost (decision 18).
"""

from __future__ import annotations

from lrs.errors import Damaged
from lrs.event_log import EventLog
from lrs.key_vault import KeyVault
from lrs.sealing import key_of
from schemas.envelope import NOBODY, Algorithm, Purpose, split_parts

NEWEST_EVENTS = 200


async def check_vault_fits(log: EventLog, vault: KeyVault) -> None:
    """Raise Damaged when a key that the newest events were sealed with is unknown to the vault."""
    end = await log.position_stored_by(log.known_head_us)
    keys = {
        key_of(part)
        for event in await log.read(max(0, end - NEWEST_EVENTS), NEWEST_EVENTS)
        for part in split_parts(event.state)
        if part.header.algorithm != Algorithm.CLEAR
        and part.header.owner != NOBODY
        and part.header.purpose != Purpose.STORE
    }
    try:
        await vault.for_opening(keys)
    except Damaged as error:
        raise Damaged(
            "this key vault does not belong to this log, or is older: keys of the newest events are missing from it; "
            "put the right vault in place. If there is none any more, what they sealed is lost: "
            "`griffel keys confirm-lost` counts it, and gives it up"
        ) from error
