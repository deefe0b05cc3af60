"""Opening and sealing for projections, over a real key vault."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lrs.errors import Damaged
from lrs.event_log import Event
from lrs.key_providers import FileKeys
from lrs.key_vault import KeyVault
from lrs.keys import KeyState
from lrs.opening import VaultOpener
from lrs.sealing import SealableStatement, Together, living_principals, seal_statement
from lrs.vault_store import SQLiteVault
from projections.projection import KeyGone, KeyRef
from schemas.actions import action_of
from schemas.envelope import Purpose
from schemas.events import STATEMENT_RECORDED, STATEMENT_VOIDED
from schemas.people import people_of
from tests.conformance.builders import agent, group, new_id, statement

YEAR = 2026


class Vault:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def open(self) -> KeyVault:
        self.vault = KeyVault(SQLiteVault(self.folder / "vault.db"), FileKeys(self.folder / "keys"))
        await self.vault.start()
        self.opener = VaultOpener(self.vault)
        return self.vault

    async def event(self, one: dict, position: int = 1) -> Event:  # type: ignore[type-arg]
        """A statement as the log has it."""
        named = people_of(one)
        owners = await self.vault.pseudonyms(named.identifiers(), YEAR)
        keys = await self.vault.for_sealing(owners.values(), Purpose.LEARNING, YEAR)
        originator_id = self.vault.blinding.statement(one["id"])
        sealable = SealableStatement(one, named, originator_id, action_of(one), YEAR)
        principals = living_principals(named, owners, keys)
        ours = self.vault.blinding.id("together", *sorted(principals))
        shared = (await self.vault.for_sealing([ours], Purpose.TOGETHER, 0))[ours]
        state = seal_statement(sealable, owners, keys, {}, Together(ours, shared) if shared else None)
        return Event(
            position, originator_id, 1, STATEMENT_RECORDED, owners[named.namings[0].identifier], position, state
        )

    async def destroy(self, owner: bytes) -> None:
        """End a learner's keys, and open the vault again as it is then."""
        await self.vault.stop()
        other = sqlite3.connect(self.folder / "vault.db", isolation_level=None)
        other.execute("UPDATE key SET state = ?, wrapped = NULL WHERE owner = ?", (int(KeyState.DESTROYED), owner))
        other.close()
        await self.open()


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[Vault]:
    made = Vault(tmp_path)
    await made.open()
    yield made
    await made.vault.stop()


async def test_a_statement_of_one_learner_is_opened_for_a_projection(keys: Vault) -> None:
    said = statement(id=new_id(), actor=agent(), context={"instructor": agent()})
    event = await keys.event(said)
    [opened] = await asyncio.to_thread(keys.opener.events, [event])
    assert opened.learner == event.record_key
    assert opened.key == KeyRef(event.record_key, Purpose.LEARNING, YEAR, 1)
    assert opened.statement is not None
    assert opened.statement["actor"] == said["actor"]
    assert type(opened.statement["context"]["instructor"]) is int, "a number stands for everyone else"
    assert opened.action == action_of(said)


async def test_a_statement_of_several_learners_is_nobodys_alone(keys: Vault) -> None:
    event = await keys.event(statement(id=new_id(), actor=group(agent(), agent())))
    [opened] = await asyncio.to_thread(keys.opener.events, [event])
    assert (opened.learner, opened.key) == (None, None)
    assert opened.statement is not None


async def test_an_event_of_another_kind_comes_as_it_is(keys: Vault) -> None:
    event = Event(7, b"o" * 16, 2, STATEMENT_VOIDED, b"r" * 16, 9, b"")
    [opened] = await asyncio.to_thread(keys.opener.events, [event])
    assert (opened.position, opened.originator_id, opened.record_key, opened.statement) == (
        7,
        b"o" * 16,
        b"r" * 16,
        None,
    )


async def test_a_row_opens_where_it_belongs_and_nowhere_else(keys: Vault) -> None:
    event = await keys.event(statement(id=new_id(), actor=agent()))
    key = KeyRef(event.record_key, Purpose.LEARNING, YEAR, 1)
    row = await asyncio.to_thread(keys.opener.seal_row, key, b"here", {"at": 1})
    assert await asyncio.to_thread(keys.opener.open_rows, [(row, b"here")]) == [{"at": 1}]
    with pytest.raises(Damaged):
        await asyncio.to_thread(keys.opener.open_rows, [(row, b"there")])


async def test_with_the_key_statement_and_row_are_gone_and_nothing_is_sealed_any_more(keys: Vault) -> None:
    event = await keys.event(statement(id=new_id(), actor=agent()))
    key = KeyRef(event.record_key, Purpose.LEARNING, YEAR, 1)
    row = await asyncio.to_thread(keys.opener.seal_row, key, b"here", {"at": 1})
    await keys.destroy(event.record_key)
    [opened] = await asyncio.to_thread(keys.opener.events, [event])
    assert (opened.learner, opened.statement, opened.key) == (event.record_key, None, None)
    assert await asyncio.to_thread(keys.opener.open_rows, [(row, b"here")]) == [None]
    with pytest.raises(KeyGone):
        await asyncio.to_thread(keys.opener.seal_row, key, b"here", {"at": 1})


async def test_a_key_that_the_vault_never_had_is_damage(keys: Vault) -> None:
    with pytest.raises(Damaged):
        await asyncio.to_thread(keys.opener.seal_row, KeyRef(b"x" * 16, Purpose.LEARNING, YEAR, 1), b"here", {})


async def test_hashes_are_the_same_after_a_restart_and_differ_by_kind(keys: Vault) -> None:
    before = keys.opener.blind("course", "https://school.example/c")
    assert before != keys.opener.blind("registration", "https://school.example/c")
    await keys.vault.stop()
    await keys.open()
    assert keys.opener.blind("course", "https://school.example/c") == before
