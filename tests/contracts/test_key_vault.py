"""What the key vault owes, on SQLite and on PostgreSQL: one pseudonym for each learner, keys that open, and an end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lrs import key_lease
from lrs.errors import Busy, Damaged, GriffelError, Misconfigured
from lrs.key_providers import EnvironmentKey, FileKeys, KeyProvider
from lrs.key_vault import KeyVault
from lrs.keys import KeyId, KeyState, SealingKey
from lrs.vault_store import SQLiteVault, VaultStore
from schemas.envelope import Purpose
from schemas.people import identifier_of

BOUND_S = 10
YEAR = 2026
LEARNING = Purpose.LEARNING

OpenStore = Callable[[], VaultStore]


def mbox(name: str) -> str:
    identifier = identifier_of({"mbox": f"mailto:{name}@school.example"})
    assert identifier is not None
    return identifier


def sha1sum(name: str) -> str:
    digest = hashlib.sha1(f"mailto:{name}@school.example".encode(), usedforsecurity=False).hexdigest()
    identifier = identifier_of({"mbox_sha1sum": digest})
    assert identifier is not None
    return identifier


@asynccontextmanager
async def started(store: VaultStore, provider: KeyProvider) -> AsyncIterator[KeyVault]:
    vault = KeyVault(store, provider)
    try:
        await vault.start()
        yield vault
    finally:
        await vault.stop()


@pytest.fixture
def provider(tmp_path: Path) -> KeyProvider:
    return FileKeys(tmp_path / "keys")


@pytest.fixture
async def vault(open_store: OpenStore, provider: KeyProvider) -> AsyncIterator[KeyVault]:
    async with started(open_store(), provider) as vault:
        yield vault


@pytest.fixture
async def other(vault: KeyVault, open_store: OpenStore, provider: KeyProvider) -> AsyncIterator[KeyVault]:
    """A second server's vault over the same tables."""
    async with started(open_store(), provider) as other:
        yield other


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens in other processes too
            await asyncio.sleep(0.01)


async def keys_opens(sealing: SealingKey, opening: Any) -> bool:
    nonce = os.urandom(12)
    return bool(opening.decrypt(nonce, sealing.cipher.encrypt(nonce, b"plain", b""), b"") == b"plain")


async def change_rows(open_store: OpenStore, sqlite: str, *parameters: Any) -> None:
    """Change the vault's tables as another process would: the text is the same on both databases but for `?`."""
    store = open_store()
    if isinstance(store, SQLiteVault):
        store._connection.execute(sqlite, parameters)
    else:
        store._connection.execute(sqlite.replace("?", "%s"), parameters)
    store.close()


async def destroy(open_store: OpenStore, owner: bytes, state: KeyState = KeyState.DESTROYED) -> None:
    await change_rows(open_store, "UPDATE key SET state = ?, wrapped = NULL WHERE owner = ?", int(state), owner)
    await change_rows(open_store, "UPDATE vault SET changes = changes + 1")


async def count(vault: KeyVault) -> tuple[int, int]:
    """How many identifiers and keys there are."""

    def look(store: Any) -> tuple[int, int]:
        rows = [store._connection.execute(f"SELECT count(*) FROM {table}") for table in ("identifier", "key")]
        return rows[0].fetchone()[0], rows[1].fetchone()[0]

    return await vault.with_store(look)


# --------------------------------------------------------------------------------------------------------------- people


async def test_minting_is_idempotent(vault: KeyVault) -> None:
    first = await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)
    assert await vault.pseudonyms([mbox("bea"), mbox("ann"), mbox("ann")], YEAR) == first
    assert len(set(first.values())) == 2
    assert {len(one) for one in first.values()} == {16}


async def test_pseudonyms_outlive_a_restart(open_store: OpenStore, provider: KeyProvider) -> None:
    async with started(open_store(), provider) as vault:
        first = await vault.pseudonyms([mbox("ann")], YEAR)
        secrets = vault.secrets.placeholder_pepper, vault.secrets.store_owner, vault.blinding.statement("id")
    async with started(open_store(), provider) as vault:
        assert await vault.pseudonyms([mbox("ann")], YEAR) == first
        assert secrets == (vault.secrets.placeholder_pepper, vault.secrets.store_owner, vault.blinding.statement("id"))


async def test_two_vaults_know_the_same_people(vault: KeyVault, other: KeyVault) -> None:
    assert await vault.pseudonyms([mbox("ann")], YEAR) == await other.pseudonyms([mbox("ann")], YEAR)


async def test_two_vaults_that_mint_at_once_mint_one_pseudonym(vault: KeyVault, other: KeyVault) -> None:
    people = [mbox(f"p{number}") for number in range(120)]
    pieces = [people[at : at + 6] for at in range(0, len(people), 6)]
    minted = await asyncio.gather(
        *[vault.pseudonyms(piece, YEAR) for piece in pieces],
        *[other.pseudonyms(piece[::-1], YEAR) for piece in reversed(pieces)],
    )
    for one, another in zip(minted[: len(pieces)], reversed(minted[len(pieces) :]), strict=True):
        assert one == another
    assert len({owner for one in minted for owner in one.values()}) == len(people)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(mbox, mbox, id="mbox and mbox"),
        pytest.param(mbox, sha1sum, id="mbox and sha1sum"),
        pytest.param(sha1sum, mbox, id="sha1sum and mbox"),
        pytest.param(sha1sum, sha1sum, id="sha1sum and sha1sum"),
    ],
)
async def test_someone_minted_between_another_vaults_look_and_its_write_is_one_learner(
    open_store: OpenStore, provider: KeyProvider, first: Callable[[str], str], second: Callable[[str], str]
) -> None:
    loop = asyncio.get_running_loop()
    minted: dict[str, bytes] = {}
    async with started(open_store(), provider) as quicker:

        def meanwhile() -> None:
            asked = quicker.pseudonyms([second("ann")], YEAR)
            minted.update(asyncio.run_coroutine_threadsafe(asked, loop).result(BOUND_S))

        store = open_store()
        async with started(store, provider) as slower:
            before_writing(store, meanwhile)
            found = await slower.pseudonyms([first("ann")], YEAR)
        assert found[first("ann")] == minted[second("ann")]
        async with started(open_store(), provider) as third:
            forms = await third.pseudonyms([mbox("ann"), sha1sum("ann")], YEAR)
            assert set(forms.values()) == set(found.values())


def before_writing(store: VaultStore, meanwhile: Callable[[], None]) -> None:
    """Let something happen once, just before the store's next transaction begins."""
    transaction = store.transaction

    @contextmanager
    def interrupted() -> Iterator[None]:
        store.transaction = transaction  # type: ignore[method-assign]
        meanwhile()
        with transaction():
            yield

    store.transaction = interrupted  # type: ignore[method-assign]


@pytest.mark.parametrize("order", [(mbox, sha1sum), (sha1sum, mbox)], ids=["mbox first", "sha1sum first"])
async def test_a_mailbox_and_its_sha1sum_lead_to_one_learner(
    vault: KeyVault, other: KeyVault, order: tuple[Callable[[str], str], ...]
) -> None:
    first, second = (form("ann") for form in order)
    owner = (await vault.pseudonyms([first], YEAR))[first]
    assert await other.find_pseudonym(second) == owner
    assert await other.pseudonyms([second], YEAR) == {second: owner}


@pytest.mark.parametrize("order", [(mbox, sha1sum), (sha1sum, mbox)], ids=["mbox first", "sha1sum first"])
async def test_a_mailbox_and_its_sha1sum_in_one_statement_are_one_learner(
    vault: KeyVault, order: tuple[Callable[[str], str], ...]
) -> None:
    minted = await vault.pseudonyms([form("ann") for form in order], YEAR)
    assert len(minted) == 2
    assert len(set(minted.values())) == 1


async def test_identifiers_of_other_kinds_are_other_learners(vault: KeyVault) -> None:
    agents: list[dict[str, Any]] = [
        {"mbox": "mailto:ann@school.example"},
        {"openid": "mailto:ann@school.example"},
        {"account": {"homePage": "https://school.example", "name": "ann"}},
        {"account": {"homePage": "https://school.example/ann", "name": ""}},
        {"mbox": "mailto:Ann@school.example"},
    ]
    identifiers = [identifier_of(agent) for agent in agents]
    minted = await vault.pseudonyms([one for one in identifiers if one], YEAR)
    assert len(set(minted.values())) == len(agents)


async def test_a_learners_identifiers_can_be_told(vault: KeyVault) -> None:
    owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    assert sorted(await vault.identifiers_of(owner)) == sorted([mbox("ann"), sha1sum("ann")])
    assert await vault.identifiers_of(bytes(16)) == []


async def test_reading_never_mints(vault: KeyVault) -> None:
    await vault.pseudonyms([mbox("ann")], YEAR)
    before = await count(vault)
    assert await vault.find_pseudonym(mbox("bea")) is None
    assert await vault.find_pseudonym(sha1sum("bea")) is None
    assert vault.remembered([mbox("ann"), mbox("bea")]) is None
    with pytest.raises(Damaged):
        await vault.for_opening([KeyId(os.urandom(16), LEARNING, YEAR, 1)])
    assert await count(vault) == before


async def test_who_was_met_is_remembered(vault: KeyVault) -> None:
    minted = await vault.pseudonyms([mbox("ann")], YEAR)
    assert vault.remembered([mbox("ann")]) == minted


# ----------------------------------------------------------------------------------------------------------------- keys


async def test_what_is_sealed_with_a_key_is_opened_with_it_everywhere(
    vault: KeyVault, other: KeyVault, open_store: OpenStore, provider: KeyProvider
) -> None:
    owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    sealing = (await vault.for_sealing([owner], LEARNING, YEAR))[owner]
    assert sealing is not None
    key = KeyId(owner, LEARNING, YEAR, sealing.version)
    assert await keys_opens(sealing, (await vault.for_opening([key]))[key])
    assert await keys_opens(sealing, (await other.for_opening([key]))[key])
    async with started(open_store(), provider) as third:
        assert await keys_opens(sealing, (await third.for_opening([key]))[key])
    assert vault.sealing_key(owner, LEARNING, YEAR) is not None
    assert vault.opening_key(key) is not None


async def test_each_purpose_year_and_owner_has_a_key_of_its_own(vault: KeyVault) -> None:
    wanted = [(owner, purpose, year) for owner in (b"a" * 16, b"b" * 16) for purpose in (1, 2) for year in (2025, 2026)]
    sealed = []
    for owner, purpose, year in wanted:
        key = (await vault.for_sealing([owner], purpose, year))[owner]
        assert key is not None
        sealed.append(key.cipher.encrypt(bytes(12), bytes(32), b""))
    assert len(set(sealed)) == len(wanted)


async def test_two_vaults_that_make_a_key_at_once_make_one(vault: KeyVault, other: KeyVault) -> None:
    owners = [os.urandom(16) for _ in range(30)]
    one, another = await asyncio.gather(
        vault.for_sealing(owners, LEARNING, YEAR), other.for_sealing(owners[::-1], LEARNING, YEAR)
    )
    for owner in owners:
        sealing, again = one[owner], another[owner]
        assert sealing is not None
        assert again is not None
        assert await keys_opens(sealing, again.cipher)


@pytest.mark.parametrize("state", [KeyState.DESTROYED, KeyState.LOST])
async def test_a_key_that_has_ended_opens_and_seals_nothing(
    vault: KeyVault, other: KeyVault, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, state: KeyState
) -> None:
    minted = await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)
    ann, bea = minted.values()
    await destroy(open_store, ann, state)
    keys = [KeyId(owner, LEARNING, YEAR, 1) for owner in (ann, bea)]
    opening = await other.for_opening(keys)
    assert (opening[keys[0]], opening[keys[1]] is not None) == (None, True)
    sealing = await other.for_sealing([ann, bea], LEARNING, YEAR)
    assert (sealing[ann], sealing[bea] is not None) == (None, True)


async def test_a_destruction_in_another_process_empties_what_is_remembered(
    monkeypatch: pytest.MonkeyPatch, open_store: OpenStore, provider: KeyProvider
) -> None:
    monkeypatch.setattr(key_lease, "RENEW_S", 0.02)
    async with started(open_store(), provider) as vault:
        owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
        await vault.for_sealing([owner], LEARNING, YEAR)
        key = KeyId(owner, LEARNING, YEAR, 1)
        assert (await vault.for_opening([key]))[key] is not None
        await destroy(open_store, owner)
        await until(lambda: vault.opening_key(key) is None and vault.sealing_key(owner, LEARNING, YEAR) is None)
        assert await vault.for_opening([key]) == {key: None}
        assert await vault.for_sealing([owner], LEARNING, YEAR) == {owner: None}


async def test_a_later_version_is_sealed_with_and_the_earlier_stays_ended(
    vault: KeyVault, open_store: OpenStore
) -> None:
    owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    key = KeyId(owner, LEARNING, YEAR, 2)
    wrapped = vault.epoch.wrap(b"key %s %d %d %d" % (owner, LEARNING, YEAR, 2), os.urandom(32))
    await destroy(open_store, owner)
    columns = "owner, purpose, year, version, state, epoch, wrapped"
    await change_rows(
        open_store, f"INSERT INTO key ({columns}) VALUES (?, ?, ?, 2, 1, 1, ?)", owner, int(LEARNING), YEAR, wrapped
    )
    vault.drop()
    sealing = (await vault.for_sealing([owner], LEARNING, YEAR))[owner]
    assert sealing is not None
    assert sealing.version == 2
    opening = await vault.for_opening([key, key._replace(version=1)])
    assert opening[key._replace(version=1)] is None
    assert await keys_opens(sealing, opening[key])


async def test_a_key_that_is_missing_is_damage_and_never_called_erased(vault: KeyVault, open_store: OpenStore) -> None:
    ann, bea = (await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)).values()
    await change_rows(open_store, "DELETE FROM key WHERE owner = ?", ann)
    vault.drop()
    with pytest.raises(Damaged):
        await vault.for_opening([KeyId(owner, LEARNING, YEAR, 1) for owner in (bea, ann)])


async def test_a_living_key_without_its_bytes_is_damage_too(vault: KeyVault, open_store: OpenStore) -> None:
    owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
    await change_rows(open_store, "UPDATE key SET wrapped = NULL WHERE owner = ?", owner)
    vault.drop()
    with pytest.raises(Damaged):
        await vault.for_opening([KeyId(owner, LEARNING, YEAR, 1)])


async def test_a_key_row_that_was_changed_is_damage(vault: KeyVault, open_store: OpenStore) -> None:
    ann, bea = (await vault.pseudonyms([mbox("ann"), mbox("bea")], YEAR)).values()
    await change_rows(
        open_store, "UPDATE key SET wrapped = (SELECT wrapped FROM key WHERE owner = ?) WHERE owner = ?", bea, ann
    )
    vault.drop()
    with pytest.raises(Damaged):
        await vault.for_opening([KeyId(ann, LEARNING, YEAR, 1)])
    with pytest.raises(Damaged):
        await vault.for_sealing([ann], LEARNING, YEAR)


async def test_a_wrapped_text_opens_only_with_its_binding(vault: KeyVault) -> None:
    wrapped = vault.epoch.wrap(b"here", b"text")
    assert vault.epoch.unwrap(b"here", wrapped) == b"text"
    with pytest.raises(Damaged):
        vault.epoch.unwrap(b"there", wrapped)


async def test_nothing_that_names_a_learner_stands_in_the_tables(vault: KeyVault, tmp_path: Path) -> None:
    await vault.pseudonyms([mbox("ann-canary"), sha1sum("bea")], YEAR)

    def dump(store: Any) -> bytes:
        rows = [store._connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("identifier", "key")]
        return b"".join(bytes(cell) for table in rows for row in table for cell in row if isinstance(cell, bytes))

    files = b"".join(path.read_bytes() for path in tmp_path.glob("vault/*"))  # noqa: ASYNC240
    held = files + await vault.with_store(dump)
    digest = sha1sum("bea").partition("\0")[2]
    for canary in (b"ann-canary", digest.encode(), bytes.fromhex(digest)):
        assert canary not in held


# ---------------------------------------------------------------------------------------------------------------- lease


class Away:
    """The vault's tables, which may stop answering."""

    def __init__(self, store: VaultStore) -> None:
        self._store = store
        self.away = False

    def rows(self, *arguments: Any, **named: Any) -> Any:
        if self.away:
            raise Busy("the key vault's database does not answer")
        return self._store.rows(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_the_lease_runs_out_when_the_store_is_away_and_comes_back_with_it(
    monkeypatch: pytest.MonkeyPatch, open_store: OpenStore, provider: KeyProvider
) -> None:
    monkeypatch.setattr(key_lease, "RENEW_S", 0.02)
    monkeypatch.setattr(key_lease, "LEASE_S", 0.3)
    store = Away(open_store())
    async with started(store, provider) as vault:
        owner = (await vault.pseudonyms([mbox("ann")], YEAR))[mbox("ann")]
        key = KeyId(owner, LEARNING, YEAR, 1)
        await vault.for_opening([key])
        assert vault.ready
        answering = vault.begin_answer()
        assert vault.covers(answering)
        store.away = True
        await until(lambda: not vault.ready)
        assert vault.remembered([mbox("ann")]) is None
        assert vault.opening_key(key) is None
        assert vault.sealing_key(owner, LEARNING, YEAR) is None
        with pytest.raises(Busy):
            await vault.for_opening([key])
        with pytest.raises(Busy):
            await vault.for_sealing([owner], LEARNING, YEAR)
        with pytest.raises(Busy):
            await vault.pseudonyms([mbox("ann")], YEAR)
        assert not vault.covers(answering)
        store.away = False
        await until(lambda: vault.ready)
        assert not vault.covers(answering), "it was lost in between"
        assert (await vault.for_opening([key]))[key] is not None


async def test_the_lease_comes_back_whatever_the_store_failed_of(
    monkeypatch: pytest.MonkeyPatch, open_store: OpenStore, provider: KeyProvider
) -> None:
    monkeypatch.setattr(key_lease, "RENEW_S", 0.02)
    monkeypatch.setattr(key_lease, "LEASE_S", 0.3)
    async with started(open_store(), provider) as vault:
        await change_rows(open_store, "ALTER TABLE vault RENAME TO vault_elsewhere")
        await until(lambda: not vault.ready)
        await change_rows(open_store, "ALTER TABLE vault_elsewhere RENAME TO vault")
        await until(lambda: vault.ready)


# ------------------------------------------------------------------------------------------------------------ providers


async def test_a_missing_root_key_is_refused_at_start(open_store: OpenStore, tmp_path: Path) -> None:
    async with started(open_store(), FileKeys(tmp_path / "keys")):
        pass
    with pytest.raises(Misconfigured, match="missing"):
        async with started(open_store(), FileKeys(tmp_path / "elsewhere")):
            pass


async def test_a_wrong_root_key_is_refused_at_start(open_store: OpenStore, tmp_path: Path) -> None:
    async with started(open_store(), FileKeys(tmp_path / "keys")):
        pass
    for wrong in (os.urandom(32), os.urandom(31), b""):
        (tmp_path / "keys" / "epoch-1.key").write_bytes(wrong)
        with pytest.raises(Damaged):
            async with started(open_store(), FileKeys(tmp_path / "keys")):
                pass
    with pytest.raises(Damaged):
        async with started(open_store(), EnvironmentKey(base64.b64encode(os.urandom(32)).decode())):
            pass


async def test_two_vaults_start_at_once_over_empty_tables(open_store: OpenStore, tmp_path: Path) -> None:
    vaults = [KeyVault(open_store(), FileKeys(tmp_path / "keys")) for _ in range(4)]
    try:
        await asyncio.gather(*[vault.start() for vault in vaults])
        minted = [await vault.pseudonyms([mbox("ann")], YEAR) for vault in vaults]
        assert all(one == minted[0] for one in minted)
        assert len({vault.secrets.placeholder_pepper for vault in vaults}) == 1
    finally:
        for vault in vaults:
            await vault.stop()


async def test_a_vault_may_have_its_root_key_from_the_environment(open_store: OpenStore) -> None:
    encoded = base64.b64encode(os.urandom(32)).decode()
    async with started(open_store(), EnvironmentKey(encoded)) as vault:
        minted = await vault.pseudonyms([mbox("ann")], YEAR)
    async with started(open_store(), EnvironmentKey(encoded)) as vault:
        assert await vault.pseudonyms([mbox("ann")], YEAR) == minted


def file_keys(tmp_path: Path) -> KeyProvider:
    return FileKeys(tmp_path / "keys")


def environment_key(tmp_path: Path) -> KeyProvider:
    return EnvironmentKey(base64.b64encode(bytes(range(32))).decode())


@pytest.mark.parametrize("make", [file_keys, environment_key])
def test_a_provider_unwraps_what_it_wrapped_for_that_epoch_alone(
    make: Callable[[Path], KeyProvider], tmp_path: Path
) -> None:
    provider = make(tmp_path)
    key = os.urandom(32)
    wrapped = provider.wrap(1, key)
    assert key not in wrapped
    assert provider.unwrap(1, wrapped) == key
    assert make(tmp_path).unwrap(1, wrapped) == key
    provider.wrap(2, key)
    for epoch, altered in ((2, wrapped), (1, wrapped[:-1] + bytes([wrapped[-1] ^ 1])), (1, wrapped[:12]), (1, b"")):
        with pytest.raises(GriffelError):
            provider.unwrap(epoch, altered)


def test_key_files_are_their_owners_alone(tmp_path: Path) -> None:
    FileKeys(tmp_path / "deep" / "keys").wrap(1, bytes(32))
    folder = tmp_path / "deep" / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()] == [("epoch-1.key", 0o600)]


def test_a_destroyed_file_key_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    provider = FileKeys(tmp_path)
    assert provider.can_destroy
    key = os.urandom(32)
    first, second = provider.wrap(1, key), provider.wrap(2, key)
    (tmp_path / "hard link").hardlink_to(tmp_path / "epoch-1.key")
    provider.destroy(1)
    provider.destroy(1)
    assert (tmp_path / "hard link").read_bytes() == bytes(32), "overwritten before it was removed"
    with pytest.raises(Misconfigured):
        provider.unwrap(1, first)
    assert provider.unwrap(2, second) == key


def test_an_environment_key_says_that_it_cannot_be_destroyed(tmp_path: Path) -> None:
    provider = environment_key(tmp_path)
    assert not provider.can_destroy
    wrapped = provider.wrap(1, bytes(32))
    provider.destroy(1)
    assert provider.unwrap(1, wrapped) == bytes(32)


@pytest.mark.parametrize("encoded", ["", "not base64!", "c2hvcnQ=", base64.b64encode(bytes(33)).decode(), "é" * 44])
def test_an_environment_key_of_another_form_is_refused_with_the_mend(encoded: str) -> None:
    with pytest.raises(Misconfigured, match=r"GRIFFEL_MASTER_KEY .* openssl rand -base64 32") as refused:
        EnvironmentKey(encoded)
    assert not encoded or encoded not in refused.value.detail


def test_servers_that_make_a_root_key_at_once_share_one(tmp_path: Path) -> None:
    for attempt in range(30):
        folder = tmp_path / f"{attempt}"
        with ThreadPoolExecutor(4) as threads:
            wrapped = list(threads.map(lambda _: FileKeys(folder).wrap(1, bytes(32)), range(4)))  # noqa: B023
        assert [FileKeys(folder).unwrap(1, one) for one in wrapped] == [bytes(32)] * 4
