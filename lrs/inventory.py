"""The inventory of keys: how many there are of each sort, and nothing of what they are (NIST SP 800-57, 4.5)."""

from __future__ import annotations

import datetime
from typing import Any

from lrs.keys import KeyState
from lrs.vault_store import VaultStore
from schemas.envelope import Purpose


def read_inventory(store: VaultStore, provider: str) -> dict[str, Any]:
    """Count a vault's keys. Blocks."""
    keys = [
        {
            "purpose": Purpose(purpose).name.lower(),
            "year": year or None,
            "state": KeyState(state).name.lower(),
            "epoch": epoch,
            "keys": number,
        }
        for purpose, year, state, epoch, number in store.rows("count_keys")
    ]
    epochs = [
        {"epoch": epoch, "began": datetime.datetime.fromtimestamp(us / 1_000_000, datetime.UTC).isoformat()}
        for epoch, _, us in store.rows("epochs")
    ]
    return {"provider": provider, "algorithm": "AES-256-GCM", "epochs": epochs, "keys": keys}
