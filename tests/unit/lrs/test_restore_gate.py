"""The restore gate: what the journal knows and the log does not is done again; what the log knows better is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from lrs.config import Settings
from lrs.http.app import Services
from lrs.journal import Entry, Journal
from lrs.person_changes import PersonChanges
from lrs.restore_gate import RestoreGate
from lrs.wiring import open_services
from schemas.envelope import Purpose
from schemas.person_states import ALL_PURPOSES, PersonState, StateChange

WHO = "mbox\0mailto:somebody@school.example"


class Installation(NamedTuple):
    services: Services
    person: bytes
    entries: list[Entry]
    noting: PersonChanges
    silent: PersonChanges
    gate: RestoreGate


@asynccontextmanager
async def installation(folder: Path) -> AsyncIterator[Installation]:
    """An installation; what `noting` does is in the journal, what `silent` does was stopped before it was."""
    entries: list[Entry] = []

    async def note(change: StateChange, version: int) -> None:
        entries.append(Entry(change, version, b""))

    async with open_services(Settings(data=folder / "data")) as services:
        log, vault = services.log, services.vault
        person = (await vault.pseudonyms([WHO], 2026))[WHO]
        noting = PersonChanges(log, vault, note=note)
        journal = Journal(folder / "journal.ndjson", vault)
        gate = RestoreGate(log, vault, journal, services.desk.eraser, noting)
        yield Installation(services, person, entries, noting, PersonChanges(log, vault), gate)


def test_what_the_log_knows_better_is_left(tmp_path: Path) -> None:
    async def work() -> None:
        async with installation(tmp_path) as one:
            await one.noting.restrict(WHO, restricted=True)
            await one.silent.restrict(WHO, restricted=False)
            await one.gate.pass_through(list(one.entries))
            assert await one.services.log.person_states([one.person]) == ()

    asyncio.run(work())


def test_what_the_log_lacks_is_done_again_and_noted_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with installation(tmp_path) as one:
            change = StateChange(one.person, ALL_PURPOSES, PersonState.RESTRICTED)
            await one.gate.pass_through([Entry(change, 1, b"")])
            assert await one.services.log.person_states([one.person]) == (change,)
            assert [(entry.change, entry.version) for entry in one.entries] == [(change, 1)]
            await one.gate.pass_through([Entry(change, 1, b""), *one.entries])
            assert len(one.entries) == 1

    asyncio.run(work())


@pytest.mark.parametrize("place", range(3))
def test_of_whoever_was_erased_nothing_else_is_done_again(tmp_path: Path, place: int) -> None:
    async def work() -> None:
        async with installation(tmp_path) as one:
            others = [
                Entry(StateChange(one.person, ALL_PURPOSES, PersonState.RESTRICTED), 1, b""),
                Entry(StateChange(one.person, Purpose.LEARNING, PersonState.WITHDRAWN), 1, b""),
            ]
            erased = Entry(StateChange(one.person, ALL_PURPOSES, PersonState.ERASED), 1, b"")
            await one.gate.pass_through([*others[:place], erased, *others[place:]])
            (state,) = await one.services.log.person_states([one.person])
            assert state == (one.person, ALL_PURPOSES, PersonState.FENCED)
            assert await one.services.vault.find_pseudonym(WHO) is None

    asyncio.run(work())
