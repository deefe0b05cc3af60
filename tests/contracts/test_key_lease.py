"""How who destroys keys learns that no process has them any more, on both databases."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from lrs import key_lease
from lrs.endings import Endings
from lrs.key_providers import FileKeys, KeyProvider
from lrs.key_vault import KeyVault
from lrs.keys import KeyId
from schemas.envelope import Purpose

from .test_key_vault import YEAR, OpenStore, mbox, started, until

LONG_S = 60.0
SHORT_S = 0.5


@pytest.fixture
def provider(tmp_path: Path) -> KeyProvider:
    return FileKeys(tmp_path / "keys")


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lease, "RENEW_S", 0.02)
    monkeypatch.setattr(key_lease, "LEASE_MARGIN_S", 0.1)
    monkeypatch.setattr(key_lease, "LEASE_S", LONG_S)


async def remembered(vault: KeyVault) -> KeyId:
    """Have a process remember a key, and give which."""
    owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    key = KeyId(owner, Purpose.LEARNING, YEAR, 1)
    assert (await vault.for_opening([key]))[key] is not None
    return key


async def holders(vault: KeyVault) -> int:
    """How many processes are known to keep keys."""

    def look(store: Any) -> int:
        return int(store._connection.execute("SELECT count(*) FROM holder").fetchone()[0])

    return await vault.with_store(look)


async def test_what_is_destroyed_is_dropped_by_all_before_a_lease_has_ended(
    open_store: OpenStore, provider: KeyProvider
) -> None:
    async with started(open_store(), provider) as vault, started(open_store(), provider) as other:
        key = await remembered(other)
        await Endings(vault).erase(key.owner)
        dropping = await vault.dropping()
        began = time.monotonic()
        await vault.dropped(dropping)
        assert time.monotonic() - began < LONG_S / 2
        assert other.opening_key(key) is None


async def test_an_answer_that_was_begun_before_is_waited_for_and_one_begun_after_is_not(
    open_store: OpenStore, provider: KeyProvider
) -> None:
    async with started(open_store(), provider) as vault, started(open_store(), provider) as other:
        key = await remembered(other)
        answering = other.begin_answer()
        await Endings(vault).erase(key.owner)
        waiting = asyncio.create_task(vault.dropped(await vault.dropping()))
        await until(lambda: other.opening_key(key) is None)
        later = other.begin_answer()
        await asyncio.wait((waiting,), timeout=SHORT_S)
        assert not waiting.done()
        assert other.covers(answering), "it may be sent"
        other.end_answer(answering)
        other.end_answer(answering)
        async with asyncio.timeout(LONG_S / 2):
            await waiting
        other.end_answer(later)


async def test_whoever_was_killed_is_waited_for_once_and_for_as_long_as_a_lease(
    monkeypatch: pytest.MonkeyPatch, open_store: OpenStore, provider: KeyProvider
) -> None:
    monkeypatch.setattr(key_lease, "LEASE_S", SHORT_S)
    async with started(open_store(), provider) as vault:
        killed = KeyVault(open_store(), provider)
        await killed.start()
        key = await remembered(killed)
        assert killed._renewing is not None
        killed._renewing.cancel()
        waited = []
        for owner in (key.owner, (await vault.pseudonyms([mbox("bea")], YEAR))[mbox("bea")]):
            await Endings(vault).erase(owner)
            began = time.monotonic()
            await vault.dropped(await vault.dropping())
            waited.append(time.monotonic() - began)
        assert waited[0] >= SHORT_S
        assert not killed.ready
        assert waited[1] < waited[0]
        await killed.stop()


async def test_a_process_that_ends_is_not_waited_for(open_store: OpenStore, provider: KeyProvider) -> None:
    async with started(open_store(), provider) as vault:
        async with started(open_store(), provider) as other:
            key = await remembered(other)
            assert await holders(vault) == 2
        assert await holders(vault) == 1
        await Endings(vault).erase(key.owner)
        async with asyncio.timeout(LONG_S / 2):
            await vault.dropped(await vault.dropping())


async def test_one_that_was_forgotten_although_it_runs_is_known_again(
    open_store: OpenStore, provider: KeyProvider
) -> None:
    async with started(open_store(), provider) as vault, started(open_store(), provider) as other:
        key = await remembered(other)
        answering = other.begin_answer()
        await Endings(vault).erase(key.owner)
        await until(lambda: other.opening_key(key) is None)
        # As whoever waited for it in vain does.
        await vault.with_store(lambda store: store.run("forget_holders_before", store.rows("changes")[0][0]))
        async with asyncio.timeout(LONG_S / 2):
            while await holders(vault) < 2:  # noqa: ASYNC110  the other one says so
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(vault.dropped(await vault.dropping()))
        await asyncio.wait((waiting,), timeout=SHORT_S)
        assert not waiting.done(), "its answer is still under way"
        other.end_answer(answering)
        async with asyncio.timeout(LONG_S / 2):
            await waiting
