"""Bearer tokens: JWTs of one OpenID Connect issuer, found by discovery, checked against its published keys.

Nothing but the issuer that the operator named is ever fetched. A token's `scope` grants scopes by their xAPI names
(an `xapi:` in front is allowed); its issuer and subject become the authority of what it posts.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import aiohttp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from lrs.credentials import Caller
from lrs.errors import Busy, NotAuthenticated
from lrs.scopes import Scope

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
HEADER_BYTES_MAX = 16 * 1024
# Header parameters that are not known are to be ignored (RFC 7515, 4), and certificates need more than 512 bytes.
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = HEADER_BYTES_MAX
KEYS_AGE_S = 600.0
REFRESH_AGE_S = 10.0
"""How soon keys are fetched again for a token of an unknown key: a flood of those must not flood the issuer."""
FETCH_S = 5.0
DOCUMENT_BYTES_MAX = 1024 * 1024
SKEW_S = 60
VERIFIED_KEPT_MAX = 10_000
SCOPE_PREFIX = "xapi:"


class TokenVerifier:
    """Checks tokens of one issuer."""

    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer = issuer.rstrip("/")
        self._audience = audience
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._fetching = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._verified: dict[bytes, tuple[float, Caller]] = {}

    async def stop(self) -> None:
        """Close the connections to the issuer."""
        if self._session is not None:
            await self._session.close()

    async def caller(self, token: str) -> Caller:
        """Give who presents this token. Raises NotAuthenticated, Busy when the issuer does not answer."""
        if not token.isascii():
            raise NotAuthenticated("the token is not a JSON web token")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and known[0] > time.time():
            return known[1]
        claims = await self._claims(token)
        scopes = _scopes(claims)
        subject = str(claims.get("sub", ""))
        if not subject:
            raise NotAuthenticated("the token has no subject")
        authority = {"objectType": "Agent", "account": {"homePage": self._issuer, "name": subject}}
        blind = hashlib.sha256(f"{self._issuer}\0{subject}".encode()).digest()
        caller = Caller(blind, authority, scopes)
        if len(self._verified) >= VERIFIED_KEPT_MAX:
            self._verified.clear()
        self._verified[digest] = (min(float(claims["exp"]), time.time() + KEYS_AGE_S), caller)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        keys = await self._current_keys(KEYS_AGE_S)
        registry = jwt.JWTClaimsRegistry(
            leeway=SKEW_S,
            iss={"essential": True, "values": [self._issuer, self._issuer + "/"]},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )
        for attempt in (1, 2):
            try:
                found = jwt.decode(token, keys, registry=_REGISTRY)
                registry.validate(found.claims)
            except (JoseError, ValueError) as error:
                if attempt == 1 and time.monotonic() - self._fetched > REFRESH_AGE_S:
                    keys = await self._current_keys(REFRESH_AGE_S)
                    continue
                raise NotAuthenticated("the token is not valid here: signature, issuer, audience or time") from error
            return dict(found.claims)
        raise NotAuthenticated

    async def _current_keys(self, age_s: float) -> KeySet:
        async with self._fetching:
            if self._keys is None or time.monotonic() - self._fetched > age_s:
                told = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
                if str(told.get("issuer", "")).rstrip("/") != self._issuer:
                    raise Busy("the issuer's configuration names another issuer")
                try:
                    self._keys = KeySet.import_key_set(await self._fetch(str(told["jwks_uri"])))  # type: ignore[arg-type]
                except (JoseError, KeyError, ValueError) as error:
                    raise Busy("the issuer's keys cannot be read") from error
                self._fetched = time.monotonic()
            return self._keys

    async def _fetch(self, url: str) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S))
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                response.raise_for_status()
                if (response.content_length or 0) > DOCUMENT_BYTES_MAX:
                    raise Busy("the issuer's answer is too large")
                document = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Busy("the issuer of bearer tokens does not answer") from error
        if not isinstance(document, dict):
            raise Busy("the issuer's answer is not an object")
        return document


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    told = claims.get("scope", claims.get("scp", ""))
    names = told if isinstance(told, list) else str(told).split()
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[name] for one in names if (name := str(one).removeprefix(SCOPE_PREFIX)) in known)
