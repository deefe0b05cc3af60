"""What rotating and ending keys owes, on SQLite and PostgreSQL: nothing lost, nobody twice, an end that stays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from lrs import key_lease
from lrs.credentials import Credentials
from lrs.endings import Endings
from lrs.errors import Damaged, KeysAway, Misconfigured
from lrs.key_providers import FileKeys, KeyProvider
from lrs.key_vault import KeyVault
from lrs.keys import KeyId, key_binding
from lrs.rotation import DAY_US, Rotation, Schedule
from lrs.scopes import Scope
from lrs.suppression import SUPPRESSED_DAYS
from lrs.vault_store import VaultStore
from schemas.envelope import KEY_BYTES, NOBODY, Purpose
from schemas.people import identifier_of

from .test_key_vault import OpenStore, change_rows, count, mbox, started, until

YEAR = 2026
LEARNING, SURVEY = Purpose.LEARNING, Purpose.SURVEY
KEPT = 2


class Stopped(Exception):
    """Where a test has the process die."""


class Clock:
    """Seconds since 1970 that a test moves."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(tmp_path: Path) -> KeyProvider:
    return FileKeys(tmp_path / "keys")


@pytest.fixture
async def vault(open_store: OpenStore, provider: KeyProvider, clock: Clock) -> AsyncIterator[KeyVault]:
    vault = KeyVault(open_store(), provider, clock=clock)
    try:
        await vault.start()
        yield vault
    finally:
        await vault.stop()


@pytest.fixture
async def other(vault: KeyVault, open_store: OpenStore, provider: KeyProvider) -> AsyncIterator[KeyVault]:
    """A second server's vault over the same tables."""
    async with started(open_store(), provider) as other:
        yield other


def rotation(vault: KeyVault, clock: Callable[[], float], kept: int = KEPT) -> Rotation:
    return Rotation(vault, Schedule(7, kept), clock=clock)


def epochs(tmp_path: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("epoch-")) for path in (tmp_path / "keys").glob("*.key"))


async def sealed(vault: KeyVault, who: bytes, purpose: Purpose = LEARNING) -> tuple[KeyId, bytes, bytes]:
    """Something that is sealed under a person's key: the key's name, a nonce, a box."""
    key = (await vault.for_sealing([who], purpose, YEAR))[who]
    assert key is not None
    nonce = os.urandom(12)
    return KeyId(who, purpose, YEAR, key.version), nonce, key.cipher.encrypt(nonce, b"plain", b"")


async def opens(vault: KeyVault, what: tuple[KeyId, bytes, bytes]) -> bool:
    key, nonce, box = what
    cipher = (await vault.for_opening([key]))[key]
    return cipher is not None and cipher.decrypt(nonce, box, b"") == b"plain"


# ------------------------------------------------------------------------------------------------------------- rotation


async def test_everything_is_there_in_the_next_epoch(
    vault: KeyVault, open_store: OpenStore, provider: KeyProvider, clock: Clock
) -> None:
    people = await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)
    boxes = [await sealed(vault, one) for one in people.values()]
    credentials = Credentials(vault)
    key, secret = await credentials.create(frozenset({Scope.ALL}), label="ours")
    was = vault.secrets, await count(vault)
    done = await rotation(vault, clock).rotate()
    assert done is not None
    assert (done.epoch, done.keys, done.identifiers, done.kept) == (2, 2, 4, (1, 2))
    async with started(open_store(), provider) as again:
        assert await again.pseudonyms([mbox("ann"), mbox("bea")], YEAR) == people
        assert all([await opens(again, box) for box in boxes])
        assert again.secrets[2:] == was[0][2:]
        assert await count(again) == was[1], "nobody is there twice"
        caller = await Credentials(again).caller(key, secret, "x")
        assert caller is not None
        assert caller.authority["account"]["name"] == key


async def test_only_so_many_roots_stay(vault: KeyVault, clock: Clock, tmp_path: Path) -> None:
    found = []
    for _ in range(5):
        done = await rotation(vault, clock).rotate()
        assert done is not None
        found.append(epochs(tmp_path))
        assert found[-1] == list(done.kept)
    assert found == [[1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]]


async def test_a_copy_of_the_vault_dies_with_its_epoch(vault: KeyVault, provider: KeyProvider, clock: Clock) -> None:
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()

    def copied(store: VaultStore) -> tuple[bytes, bytes]:
        wrapped = store.rows("keys_of", int(LEARNING), YEAR, among=[who])[0][6]
        return bytes(store.rows("epochs")[0][1]), bytes(wrapped)

    epoch_key, wrapped = await vault.with_store(copied)
    assert wrapped
    await rotation(vault, clock).rotate()
    assert provider.unwrap(1, epoch_key), "within its horizon a backup opens"
    for _ in range(KEPT):
        await rotation(vault, clock).rotate()
    with pytest.raises((Misconfigured, Damaged, InvalidTag)):
        provider.unwrap(1, epoch_key)


async def test_a_long_rotation_keeps_the_lease(vault: KeyVault, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the vault's thread, and with it whoever else could renew; and whoever ends keys waits for it."""
    lease_s = 2.0
    monkeypatch.setattr(key_lease, "LEASE_S", lease_s)
    await vault.pseudonyms([mbox(f"one{number}") for number in range(2_500)], YEAR)
    slow = vault._store.run_many

    def slowly(name: str, rows: Any) -> None:
        time.sleep(lease_s / 4)
        slow(name, rows)

    monkeypatch.setattr(vault._store, "run_many", slowly)
    began = time.monotonic()
    rotating = asyncio.create_task(rotation(vault, clock).rotate())
    held = []
    while not rotating.done():
        held.append(vault.ready)
        await asyncio.sleep(0.02)
    assert await rotating is not None
    assert time.monotonic() - began > lease_s / 2, "it was long beside the lease's renewals"
    assert all(held)


async def test_who_was_erased_is_not_wrapped_anew(vault: KeyVault, clock: Clock) -> None:
    people = await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)
    await Endings(vault, clock=clock).erase(people[mbox("ann")])
    done = await rotation(vault, clock).rotate()
    assert done is not None
    assert (done.keys, done.identifiers) == (1, 2)


@pytest.mark.parametrize("query", ["insert_epoch", "update_key", "insert_identifier", "update_secret", "count_change"])
async def test_a_rotation_that_dies_has_not_been(
    open_store: OpenStore, provider: KeyProvider, clock: Clock, query: str, tmp_path: Path
) -> None:
    store = open_store()

    def dying(run: Callable[..., Any]) -> Callable[..., Any]:
        def instead(name: str, *parameters: Any) -> Any:
            if armed and name == query:
                raise Stopped
            return run(name, *parameters)

        return instead

    armed: list[bool] = []
    store.run, store.run_many = dying(store.run), dying(store.run_many)  # type: ignore[method-assign]
    vault = KeyVault(store, provider, clock=clock)
    await vault.start()
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    box = await sealed(vault, who)
    armed.append(True)
    with pytest.raises(Stopped):
        await rotation(vault, clock).rotate()
    armed.clear()
    assert await opens(vault, box), "the same process goes on"
    await vault.stop()
    async with started(open_store(), provider) as again:
        assert await again.pseudonyms([mbox("ann")], YEAR) == {mbox("ann"): who}
        assert await opens(again, box)
        done = await rotation(again, clock).rotate()
        assert done is not None
        assert done.epoch == 2
        assert await opens(again, box)


async def test_without_the_holder_of_the_roots_nothing_is_rotated_and_everything_goes_on(
    vault: KeyVault, provider: KeyProvider, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T-CRYPTO-4: fail closed. Nothing is made that is not wrapped, and no other way is taken."""
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    box = await sealed(vault, who)
    away = KeysAway("the holder of the root keys does not answer")

    def refuse(*_: object) -> bytes:
        raise away

    with monkeypatch.context() as patch:
        patch.setattr(provider, "wrap", refuse)
        with pytest.raises(KeysAway):
            await rotation(vault, clock).rotate()
    assert epochs(tmp_path) == [1]
    assert await opens(vault, box)
    with monkeypatch.context() as patch:
        patch.setattr(provider, "destroy", refuse)
        with pytest.raises(KeysAway):
            await rotation(vault, clock, kept=0).rotate()
    assert epochs(tmp_path) == [1, 2], "all is done but the destruction"
    assert await opens(vault, box)
    done = await rotation(vault, clock, kept=0).rotate()
    assert done is not None
    assert (done.epoch, epochs(tmp_path)) == (3, [3])
    assert await opens(vault, box)


async def test_each_key_is_of_full_size_and_no_two_are_alike(vault: KeyVault) -> None:
    """T-CRYPTO-1."""
    people = await vault.pseudonyms([mbox(f"p{number}") for number in range(50)], YEAR)
    await vault.for_sealing(people.values(), SURVEY, YEAR)

    def unwrapped(store: VaultStore) -> list[bytes]:
        rows = [
            row for one in (LEARNING, SURVEY) for row in store.rows("keys_of", int(one), YEAR, among=[*people.values()])
        ]
        return [bytes(vault.epoch.unwrap(key_binding(KeyId(bytes(row[0]), *row[1:4])), bytes(row[6]))) for row in rows]

    keys = await vault.with_store(unwrapped)
    assert len(keys) == len(set(keys)) == 100
    assert {len(one) for one in keys} == {KEY_BYTES}


async def test_no_root_is_destroyed_while_a_row_is_left_in_its_epoch(
    open_store: OpenStore, provider: KeyProvider, clock: Clock, tmp_path: Path
) -> None:
    store = open_store()
    vault = KeyVault(store, provider, clock=clock)
    await vault.start()
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    box = await sealed(vault, who)
    many = store.run_many
    store.run_many = lambda name, rows: None if name == "update_key" else many(name, rows)  # type: ignore[method-assign]
    with pytest.raises(Damaged, match="left in the old epoch"):
        await rotation(vault, clock, kept=0).rotate()
    store.run_many = many  # type: ignore[method-assign]
    assert 1 in epochs(tmp_path)
    assert await opens(vault, box)
    await vault.stop()


async def test_servers_and_a_rotation_lose_no_key_and_mint_nobody_twice(
    vault: KeyVault, other: KeyVault, clock: Clock
) -> None:
    """Two servers mint the same people while keys are rotated again and again (decision 16)."""
    names = [f"p{number}" for number in range(40)]

    async def mint(one: KeyVault) -> list[dict[str, bytes]]:
        found = []
        for name in names:
            found.append(await one.pseudonyms([mbox(name)], YEAR))
            await asyncio.sleep(0)
        return found

    async def rotate() -> None:
        for _ in range(4):
            await rotation(vault, clock, kept=9).rotate()
            await asyncio.sleep(0)

    first, second, _ = await asyncio.gather(mint(vault), mint(other), rotate())
    assert first == second
    assert len({owner for found in first for owner in found.values()}) == len(names)
    assert await count(vault) == (2 * len(names), len(names))
    for found in first:
        for owner in found.values():
            assert await opens(other, await sealed(vault, owner))


async def test_an_epoch_ends_when_it_has_lasted(vault: KeyVault, clock: Clock) -> None:
    keeper = rotation(vault, clock)
    clock.now += 1.0
    assert await keeper.rotate(older_than_us=int(clock.now * 1e6) - 7 * DAY_US) is None
    clock.now += 7 * 86_400
    done = await keeper.rotate(older_than_us=int(clock.now * 1e6) - 7 * DAY_US)
    assert done is not None
    assert done.epoch == 2


# -------------------------------------------------------------------------------------------------------------- endings


async def test_whoever_is_erased_has_nothing_and_gets_nothing(vault: KeyVault, other: KeyVault, clock: Clock) -> None:
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    box, survey = await sealed(vault, who), await sealed(vault, who, SURVEY)
    assert await opens(other, box)
    endings = Endings(vault, clock=clock)
    ended = await endings.erase(who, b"footprint")
    assert (ended.keys, ended.identifiers) == (2, 2)
    assert not await opens(vault, box)
    assert not await opens(vault, survey)
    assert await vault.find_pseudonym(mbox("ann")) is None
    assert await endings.living([who]) == set()
    # Another server that still remembers the pseudonym gets no key of another purpose or year for it.
    assert await other.for_sealing([who], Purpose.RESEARCH, YEAR) == {who: None}
    assert await vault.for_sealing([who], LEARNING, YEAR + 1) == {who: None}
    assert await endings.living([who]) == set()
    await until(lambda: other.opening_key(box[0]) is None)
    assert not await opens(other, box)
    again = await endings.erase(who, b"another")
    assert (again.keys, again.identifiers) == (0, 0)
    assert (await endings.ending(who) or ())[1:] == (2, b"footprint")


async def test_every_form_of_an_identifier_is_suppressed_for_its_time(vault: KeyVault, clock: Clock) -> None:
    address = "mailto:ann@school.example"
    digest = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    hashed = identifier_of({"mbox_sha1sum": digest})
    assert hashed is not None
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    endings = Endings(vault, clock=clock)
    await endings.erase(who)
    assert set((await vault.pseudonyms([mbox("ann"), hashed], YEAR)).values()) == {NOBODY}
    assert await vault.for_sealing([NOBODY], LEARNING, YEAR) == {NOBODY: None}
    await rotation(vault, clock).rotate()
    assert (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")] == NOBODY, "after a rotation too"
    clock.now += (SUPPRESSED_DAYS + 32) * 86_400
    assert await endings.tidy() == 2
    fresh = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    assert fresh not in (NOBODY, who), "whoever comes back begins anew"
    peppers = await vault.with_store(lambda store: store.rows("secrets_like", "suppression_pepper %"))
    assert peppers == []


async def test_one_purpose_ends_alone_and_begins_with_another_key(vault: KeyVault, clock: Clock) -> None:
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    learning, survey = await sealed(vault, who), await sealed(vault, who, SURVEY)
    endings = Endings(vault, clock=clock)
    assert await endings.end(who, SURVEY) == 1
    assert await opens(vault, learning)
    assert not await opens(vault, survey)
    assert (await vault.for_sealing([who], SURVEY, YEAR))[who] is None, "nothing is minted by itself"
    assert await endings.renew(who, SURVEY, YEAR) is True
    assert await endings.renew(who, SURVEY, YEAR) is False
    another = await sealed(vault, who, SURVEY)
    assert another[0].version == survey[0].version + 1
    assert await opens(vault, another)
    assert not await opens(vault, survey)


async def test_a_destroyed_key_that_is_put_back_opens_nothing_and_ends_with_the_next_rotation(
    vault: KeyVault, other: KeyVault, open_store: OpenStore, clock: Clock
) -> None:
    """Somebody copies rows of the vault, and writes them back after an erasure and a withdrawal (T-RESTORE-3)."""
    people = await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)
    ann, bea = people[mbox("ann")], people[mbox("bea")]
    boxes = [await sealed(vault, ann), await sealed(vault, bea, SURVEY)]

    def copied(store: VaultStore) -> list[Any]:
        rows = [*store.rows("keys_of", int(LEARNING), YEAR, among=[ann])]
        return rows + store.rows("keys_of", int(SURVEY), YEAR, among=[bea])

    copies = await vault.with_store(copied)
    endings = Endings(vault, clock=clock)
    await endings.erase(ann)
    await endings.end(bea, SURVEY)
    assert await endings.renew(bea, SURVEY, YEAR)
    renewed = await sealed(vault, bea, SURVEY)
    put_back = (
        "UPDATE key SET state = 1, epoch = ?, wrapped = ? WHERE owner = ? AND purpose = ? AND year = ? AND version = ?"
    )
    for owner, purpose, year, version, _, epoch, wrapped in copies:
        await change_rows(open_store, put_back, epoch, bytes(wrapped), bytes(owner), purpose, year, version)
    vault.drop()
    for one in (vault, other):
        assert [await opens(one, box) for box in boxes] == [False, False]
        assert await opens(one, renewed)
    assert (await other.for_sealing([ann], LEARNING, YEAR))[ann] is None
    done = await rotation(vault, clock).rotate()
    assert done is not None
    assert done.keys == 2, "what bea has for learning and her second key for surveys"
    assert await endings.living([ann]) == set()
    assert [await opens(other, box) for box in (*boxes, renewed)] == [False, False, True]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_at_once_the_erased_have_no_key_and_the_living_lose_none(
    vault: KeyVault, other: KeyVault, clock: Clock, seed: int
) -> None:
    """Two servers seal, erase, withdraw and rotate in an order that chance chooses (T-RACE-1)."""
    chance = random.Random(seed)
    names = [f"p{number}" for number in range(12)]
    gone, boxes = set(names[:4]), {}
    people = await vault.pseudonyms([mbox(name) for name in names], YEAR)

    async def seal() -> None:
        one, name = chance.choice((vault, other)), chance.choice(names)
        who = (await one.pseudonyms([mbox(name)], YEAR))[mbox(name)]
        year, purpose = chance.randrange(2020, 2030), chance.choice((LEARNING, SURVEY))
        key = (await one.for_sealing([who], purpose, year))[who]
        if key is not None:
            nonce = os.urandom(12)
            boxes[KeyId(who, purpose, year, key.version)] = (nonce, key.cipher.encrypt(nonce, b"plain", b""))

    async def rotate() -> None:
        await rotation(chance.choice((vault, other)), clock, kept=9).rotate()

    async def erase(name: str) -> None:
        await Endings(chance.choice((vault, other)), clock=clock).erase(people[mbox(name)])

    work: list[Callable[[], Any]] = [seal] * 60 + [rotate] * 3 + [partial(erase, name) for name in sorted(gone)]
    chance.shuffle(work)
    lanes = [work[lane::4] for lane in range(4)]

    async def follow(lane: list[Callable[[], Any]]) -> None:
        for step in lane:
            await step()

    await asyncio.gather(*map(follow, lanes))
    erased = {people[mbox(name)] for name in gone}
    assert await Endings(vault, clock=clock).living(list(people.values())) == set(people.values()) - erased
    vault.drop()
    other.drop()
    for key, (nonce, box) in boxes.items():
        for one in (vault, other):
            assert await opens(one, (key, nonce, box)) is (key.owner not in erased)
    assert set((await other.pseudonyms([mbox(name) for name in gone], YEAR)).values()) == {NOBODY}


async def test_minting_and_erasing_at_once_leave_no_key(vault: KeyVault, other: KeyVault, clock: Clock) -> None:
    (who,) = (await vault.pseudonyms([mbox("ann")], YEAR)).values()
    endings = Endings(vault, clock=clock)

    async def mint() -> None:
        for year in range(2000, 2040):
            await other.for_sealing([who], LEARNING, year)

    await asyncio.gather(mint(), endings.erase(who))
    assert await endings.living([who]) == set()
