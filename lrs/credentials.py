"""Credentials: who calls, with which scopes, for which purpose, and whom their statements name as authority.

Secrets are 256 random bits, so one keyed hash is enough to keep them; a credential that was verified is remembered for
a short, bounded time. Keys, labels and authorities are blinded or wrapped: nothing of them stands in the vault in plain
form. xAPI Communication 4.0; scopes as in 1.0.3 Communication 4.2.
"""

from __future__ import annotations

import base64
import hmac
import secrets as random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from lrs.blinding import KeyedHash
from lrs.errors import NotAllowed, NotFound
from lrs.key_vault import KeyVault
from lrs.scopes import Scope, parse_scopes
from lrs.vault_store import VaultStore
from schemas.envelope import Purpose
from schemas.people import CREDENTIALS_HOME_PAGE, Json

SECRET_BYTES = 32
KEY_BYTES = 12
VERIFIED_S = 5.0
VERIFIED_KEPT_MAX = 10_000


_READERS = frozenset(
    {
        Scope.STATEMENTS_READ,
        Scope.STATE,
        Scope.PROFILE,
        Scope.STATEMENTS_READ_MINE,
        Scope.COURSES_READ,
        Scope.STREAMS_READ,
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: blind names the credential without telling it, authority is the agent their statements get."""

    blind: bytes
    authority: Json
    scopes: frozenset[Scope]
    purpose: Purpose = Purpose.LEARNING

    def may(self, scope: Scope, *, reading: bool = False) -> bool:
        """Say whether the caller has a scope, for reading only or for anything it covers."""
        if Scope.ALL in self.scopes or scope in self.scopes:
            return True
        return reading and scope in _READERS and Scope.ALL_READ in self.scopes

    def must(self, *scopes: Scope, reading: bool = False) -> None:
        """Raise NotAllowed unless the caller has one of the scopes."""
        for scope in scopes:
            if self.may(scope, reading=reading):
                return
        raise NotAllowed(f"this needs the scope {' or '.join(scopes)}; the credential does not have it")


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it is listed: without its secret."""

    key: str
    label: str
    scopes: frozenset[Scope]
    purpose: Purpose
    created_us: int
    revoked_us: int | None
    authority: Json


class Credentials:
    """The credentials of this installation, in the vault's database."""

    def __init__(self, vault: KeyVault, *, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock = clock
        self._keyed = KeyedHash(vault.secrets.credential_pepper).digest
        self._verified: dict[str, tuple[float, Caller]] = {}

    async def create(
        self,
        scopes: frozenset[Scope],
        *,
        label: str = "",
        purpose: Purpose = Purpose.LEARNING,
        authority: Json | None = None,
    ) -> tuple[str, str]:
        """Make a credential; give its key and its secret, which is told this once."""
        key = base64.b32encode(random.token_bytes(KEY_BYTES)).decode().rstrip("=").lower()
        secret = random.token_urlsafe(SECRET_BYTES)
        blind = self._blind(key)
        named = authority or {"objectType": "Agent", "account": {"homePage": CREDENTIALS_HOME_PAGE, "name": key}}
        plain = orjson.dumps({"key": key, "label": label, "authority": named})
        told = (self._hash(secret), " ".join(sorted(scopes)), int(purpose), int(self._clock() * 1_000_000))

        def insert(store: VaultStore) -> None:
            with store.transaction():
                store.share_minting()
                self._vault.epoch.pin()
                store.run("insert_credential", blind, *told, self._vault.epoch.wrap(b"credential " + blind, plain))

        await self._vault.with_store(insert)
        return key, secret

    async def listed(self) -> list[Credential]:
        """Give every credential, the oldest first, revoked ones included."""
        return await self._vault.with_store(lambda store: [self._read(row) for row in store.rows("credentials")])

    async def revoke(self, key: str) -> None:
        """End a credential at once here, and within VERIFIED_S in other processes. Raises NotFound."""
        now_us = int(self._clock() * 1_000_000)
        if not await self._vault.with_store(lambda store: store.run("revoke_credential", now_us, self._blind(key))):
            raise NotFound("there is no such credential, or it is revoked already")
        self._verified.clear()

    def remembered(self, presented: str) -> Caller | None:
        """Give the caller if exactly this was presented and verified moments ago. Never blocks."""
        known = self._verified.get(presented)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def caller(self, key: str, secret: str, presented: str) -> Caller | None:
        """Give who presents this key and secret, None if nobody does. Takes the same time for unknown keys.

        presented is the header that held them; who is verified is remembered by it for VERIFIED_S.
        """
        blind = self._blind(key)
        expected = self._hash(secret)

        def find(store: VaultStore) -> Credential | None:
            rows = store.rows("credential", blind)
            fits = hmac.compare_digest(expected, bytes(rows[0][1]) if rows else bytes(32))
            return self._read(rows[0]) if fits and rows and rows[0][5] is None else None

        found = await self._vault.with_store(find)
        return None if found is None else self._remember(presented, blind, found)

    async def holder(self, blind: bytes) -> Caller | None:
        """Give who holds the credential of this blind name, None where it is revoked or never was.

        For whoever has shown the secret before, and proves it by something that the store has sealed: a session. Like
        a secret that was verified, the answer is remembered for VERIFIED_S.
        """
        presented = f"\0{blind.hex()}"  # no header can be equal to it
        if (known := self.remembered(presented)) is not None:
            return known

        def find(store: VaultStore) -> Credential | None:
            rows = store.rows("credential", blind)
            return self._read(rows[0]) if rows and rows[0][5] is None else None

        found = await self._vault.with_store(find)
        return None if found is None else self._remember(presented, blind, found)

    def _remember(self, presented: str, blind: bytes, credential: Credential) -> Caller:
        caller = Caller(blind, credential.authority, credential.scopes, credential.purpose)
        now = time.monotonic()
        self._verified = {one: known for one, known in self._verified.items() if known[0] > now}
        if len(self._verified) < VERIFIED_KEPT_MAX:
            self._verified[presented] = (now + VERIFIED_S, caller)
        return caller

    def _read(self, row: Any) -> Credential:
        blind, _, scopes, purpose, created_us, revoked_us, sealed = row
        told = orjson.loads(self._vault.epoch.unwrap(b"credential " + bytes(blind), bytes(sealed)))
        return Credential(
            told["key"],
            told["label"],
            parse_scopes(scopes),
            Purpose(purpose),
            created_us,
            revoked_us,
            told["authority"],
        )

    def _blind(self, key: str) -> bytes:
        return self._keyed(b"key\0" + key.encode())

    def _hash(self, secret: str) -> bytes:
        return self._keyed(b"secret\0" + secret.encode())
