"""Credentials: who calls, what they may do, and what is kept of their secret."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lrs import credentials as module
from lrs.credentials import Caller, Credentials
from lrs.errors import Misconfigured, NotAllowed, NotFound
from lrs.key_providers import FileKeys
from lrs.key_vault import KeyVault
from lrs.scopes import Scope, parse_scopes
from lrs.vault_store import SQLiteVault
from schemas.envelope import Purpose
from schemas.people import CREDENTIALS_HOME_PAGE
from schemas.statement import check_agent

ALL = frozenset({Scope.ALL})


@pytest.fixture
def store(tmp_path: Path) -> SQLiteVault:
    return SQLiteVault(tmp_path / "vault" / "vault.db")


@pytest.fixture
async def vault(store: SQLiteVault, tmp_path: Path) -> AsyncIterator[KeyVault]:
    vault = KeyVault(store, FileKeys(tmp_path / "keys"))
    await vault.start()
    yield vault
    await vault.stop()


@pytest.fixture
def credentials(vault: KeyVault) -> Credentials:
    return Credentials(vault)


async def verified(credentials: Credentials, key: str, secret: str) -> Caller | None:
    return await credentials.caller(key, secret, f"Basic {key}:{secret}")


# ------------------------------------------------------------------------------------------------------------------ who


async def test_who_has_key_and_secret_is_the_caller(credentials: Credentials) -> None:
    key, secret = await credentials.create(frozenset({Scope.STATE, Scope.PROFILE}), purpose=Purpose.RESEARCH)
    caller = await verified(credentials, key, secret)
    assert caller is not None
    assert (caller.scopes, caller.purpose) == ({Scope.STATE, Scope.PROFILE}, Purpose.RESEARCH)


async def test_nobody_else_is(credentials: Credentials) -> None:
    key, secret = await credentials.create(ALL)
    for wrong in ((key, secret[:-1]), (key, ""), (secret, key), ("", secret), (key.upper(), secret)):
        assert await verified(credentials, *wrong) is None


async def test_one_credentials_secret_is_not_anothers(credentials: Credentials) -> None:
    (first, _), (_, second_secret) = await credentials.create(ALL), await credentials.create(ALL)
    assert await verified(credentials, first, second_secret) is None


async def test_keys_and_secrets_are_random(credentials: Credentials) -> None:
    made = [await credentials.create(ALL) for _ in range(20)]
    assert len({key for key, _ in made}) == len({secret for _, secret in made}) == 20
    assert min(len(secret) for _, secret in made) >= 43, "256 bits in base64"


async def test_each_credential_has_an_authority_of_its_own_that_is_an_agent(credentials: Credentials) -> None:
    callers = [await verified(credentials, *await credentials.create(ALL)) for _ in range(2)]
    authorities = [caller.authority for caller in callers if caller is not None]
    for authority in authorities:
        check_agent(authority, "2.0.0")
        assert authority["account"]["homePage"] == CREDENTIALS_HOME_PAGE
    assert authorities[0] != authorities[1]


async def test_a_credential_may_name_its_authority(credentials: Credentials) -> None:
    named = {"objectType": "Agent", "mbox": "mailto:lms@school.example"}
    caller = await verified(credentials, *await credentials.create(ALL, authority=named))
    assert caller is not None
    assert caller.authority == named


async def test_the_vault_keeps_neither_secret_nor_key_nor_label(
    credentials: Credentials, vault: KeyVault, tmp_path: Path
) -> None:
    key, secret = await credentials.create(
        ALL, label="canary-label", authority={"mbox": "mailto:canary-authority@school.example"}
    )
    await verified(credentials, key, secret)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "vault").iterdir())
    for text in (key, secret, "canary-label", "canary-authority"):
        assert text.encode() not in kept


# --------------------------------------------------------------------------------------------------------------- memory


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, as a list of one number to change."""
    now = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


async def test_who_was_verified_is_remembered_for_a_moment(vault: KeyVault, clock: list[float]) -> None:
    vault._lease._until = float("inf")
    credentials = Credentials(vault)
    key, secret = await credentials.create(ALL)
    presented = f"Basic {key}:{secret}"
    assert credentials.remembered(presented) is None
    caller = await verified(credentials, key, secret)
    assert credentials.remembered(presented) == caller
    clock[0] += module.VERIFIED_S - 0.01
    assert credentials.remembered(presented) == caller
    clock[0] += 0.02
    assert credentials.remembered(presented) is None


async def test_who_was_refused_is_not_remembered(credentials: Credentials) -> None:
    key, secret = await credentials.create(ALL)
    await verified(credentials, key, secret + "x")
    assert credentials.remembered(f"Basic {key}:{secret}x") is None
    assert credentials.remembered(f"Basic {key}:{secret}") is None


async def test_what_is_remembered_is_bounded(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERIFIED_KEPT_MAX", 3)
    for _ in range(6):
        key, secret = await credentials.create(ALL)
        assert await verified(credentials, key, secret) is not None
    assert len(credentials._verified) <= 3


# ------------------------------------------------------------------------------------------------------------- revoking


async def test_a_revoked_credential_is_nobodys_at_once(credentials: Credentials) -> None:
    key, secret = await credentials.create(ALL)
    await verified(credentials, key, secret)
    await credentials.revoke(key)
    assert credentials.remembered(f"Basic {key}:{secret}") is None
    assert await verified(credentials, key, secret) is None


async def test_only_what_is_there_can_be_revoked_and_only_once(credentials: Credentials) -> None:
    key, _ = await credentials.create(ALL)
    await credentials.revoke(key)
    for gone in (key, "nobodys"):
        with pytest.raises(NotFound):
            await credentials.revoke(gone)


async def test_credentials_are_listed_the_oldest_first_without_their_secrets(vault: KeyVault) -> None:
    seconds = itertools.count(1_000)
    credentials = Credentials(vault, clock=lambda: float(next(seconds)))
    first, _ = await credentials.create(ALL, label="first")
    second, secret = await credentials.create(frozenset({Scope.STATE}), label="second", purpose=Purpose.SURVEY)
    await credentials.revoke(first)
    listed = await credentials.listed()
    assert [(one.key, one.label, one.scopes, one.purpose) for one in listed] == [
        (first, "first", ALL, Purpose.LEARNING),
        (second, "second", {Scope.STATE}, Purpose.SURVEY),
    ]
    assert [(one.created_us, one.revoked_us) for one in listed] == [
        (1_000_000_000, 1_002_000_000),
        (1_001_000_000, None),
    ]
    assert secret not in repr(listed)


async def test_whoever_has_shown_a_secret_is_known_by_their_blind_name_until_the_credential_is_revoked(
    credentials: Credentials,
) -> None:
    key, secret = await credentials.create(ALL)
    shown = await credentials.caller(key, secret, "shown")
    assert shown is not None
    assert await credentials.holder(shown.blind) == shown
    assert await credentials.holder(bytes(32)) is None
    await credentials.revoke(key)
    assert await credentials.holder(shown.blind) is None


async def test_no_header_passes_for_what_is_remembered_of_a_session(credentials: Credentials) -> None:
    key, secret = await credentials.create(ALL)
    shown = await credentials.caller(key, secret, "shown")
    assert shown is not None
    await credentials.holder(shown.blind)
    for header in (shown.blind.hex(), f"session {shown.blind.hex()}"):
        assert credentials.remembered(header) is None


# --------------------------------------------------------------------------------------------------------------- scopes

READ_BY_ALL_READ = {
    Scope.STATEMENTS_READ,
    Scope.STATEMENTS_READ_MINE,
    Scope.STATE,
    Scope.PROFILE,
    Scope.COURSES_READ,
    Scope.STREAMS_READ,
}


@pytest.mark.parametrize("reading", [True, False], ids=["reading", "writing"])
@pytest.mark.parametrize(("had", "needed"), list(itertools.product(Scope, Scope)), ids=str)
def test_a_scope_grants_itself_all_grants_everything_and_all_read_what_is_only_read(
    had: Scope, needed: Scope, reading: bool
) -> None:
    caller = Caller(b"", {}, frozenset({had}))
    granted = had in (Scope.ALL, needed) or (had is Scope.ALL_READ and reading and needed in READ_BY_ALL_READ)
    assert caller.may(needed, reading=reading) is granted
    if granted:
        caller.must(needed, reading=reading)
    else:
        with pytest.raises(NotAllowed):
            caller.must(needed, reading=reading)


def test_without_a_scope_nothing_is_allowed() -> None:
    nobody = Caller(b"", {}, frozenset())
    assert not any(nobody.may(scope, reading=reading) for scope in Scope for reading in (True, False))


def test_one_of_several_scopes_is_enough() -> None:
    Caller(b"", {}, frozenset({Scope.STATE})).must(Scope.PROFILE, Scope.STATE)


@pytest.mark.parametrize("text", ["state profile", "state,profile", " profile, state,state ", ["state", "profile"]])
def test_scopes_are_read_from_text(text: Any) -> None:
    assert parse_scopes(text) == {Scope.STATE, Scope.PROFILE}


@pytest.mark.parametrize("text", ["", " , ", "everything", "state everything", "ALL", []])
def test_unknown_scopes_are_refused_with_those_there_are(text: Any) -> None:
    with pytest.raises(Misconfigured, match="statements/read/mine"):
        parse_scopes(text)
