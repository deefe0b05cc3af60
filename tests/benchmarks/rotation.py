"""How long `griffel keys rotate` takes, from typing it to its end, where there are a hundred thousand keys."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

from rich.table import Table

from lrs.key_providers import FileKeys
from lrs.key_vault import KeyVault
from lrs.postgres_vault import PostgresVault
from lrs.vault_store import SQLiteVault
from schemas.envelope import Purpose
from tests.services import Griffel

KEYS = 100_000
YEARS = (2025, 2026)
LEARNERS_AT_ONCE = 1_000
ROTATIONS = 3


async def rotation_figures(server: Griffel, table: Table) -> None:
    """Fill the vault of an installation that does not run, rotate it some times, add the figures."""
    await _fill(server)
    took = []
    for _ in range(ROTATIONS):
        began = time.perf_counter()
        told = json.loads(server.command("keys", "rotate", "--data", str(server.data_dir), "--json").stdout)
        took.append(time.perf_counter() - began)
        if told["keys"] < KEYS:
            raise SystemExit(f"a rotation wrapped {told['keys']:,} keys")
    what = f"{told['keys']:,} keys, {told['identifiers']:,} identifiers"
    table.add_row(server.mode, what, f"{statistics.median(took):.1f} s", "10 s")


async def _fill(server: Griffel) -> None:
    """Mint learners with an account each, and a key for each year."""
    store = SQLiteVault(server.data_dir / "vault" / "vault.db")
    keys = server.data_dir / "keys"
    if server.mode == "cluster":
        store, keys = PostgresVault(server.keys_url), Path(server.environment["GRIFFEL_KEYS_DIR"])
    vault = KeyVault(store, FileKeys(keys))
    await vault.start()
    try:
        for start in range(0, KEYS // len(YEARS), LEARNERS_AT_ONCE):
            people = [f"account:https://school.example:{number}" for number in range(start, start + LEARNERS_AT_ONCE)]
            owners = await vault.pseudonyms(people, YEARS[0])
            for year in YEARS[1:]:
                await vault.for_sealing(owners.values(), Purpose.LEARNING, year)
    finally:
        await vault.stop()
