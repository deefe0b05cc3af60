"""A small OpenID Connect provider: discovery, keys that rotate, and tokens with whatever claims a test asks for.

Run as `python oidc_provider.py PORT [TRAILING]`; the issuer is http://127.0.0.1:PORT and TRAILING. What a real provider
does not have lies under /test.
"""

from __future__ import annotations

import base64
import hmac
import json
import sys
import time
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey


class Provider:
    """The provider's keys, one for each kind of signature, and how often they were fetched."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.generation = 0
        self.fetches = 0
        self.keys: dict[str, Any] = {}
        self.rotate()

    def rotate(self) -> None:
        self.generation += 1
        rsa = RSAKey.generate_key(2048, self._named("rsa"))
        self.keys = {
            "RS256": rsa,
            "PS256": rsa,
            "ES256": ECKey.generate_key("P-256", self._named("ec")),
            "EdDSA": OKPKey.generate_key("Ed25519", self._named("ed")),
        }

    def _named(self, kind: str) -> dict[str, Any]:
        return {"kid": f"{kind}-{self.generation}", "use": "sig"}

    async def configuration(self, request: web.Request) -> web.Response:
        base = self.issuer.rstrip("/")
        return web.json_response({"issuer": self.issuer, "jwks_uri": f"{base}/jwks", "token_endpoint": f"{base}/token"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.fetches += 1
        keys = {key.kid: key for key in self.keys.values()}
        return web.json_response(KeySet(list(keys.values())).as_dict(private=False))

    async def make_token(self, request: web.Request) -> web.Response:
        """Sign: `claims` over the usual ones (null takes one away), `algorithm`, `header` over the usual, `key`."""
        asked = await request.json()
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "griffel", "sub": "ada", "scope": "all", "iat": now, "exp": now + 300}
        claims = {name: value for name, value in (usual | asked.get("claims", {})).items() if value is not None}
        algorithm = asked.get("algorithm", "RS256")
        kind = asked.get("key", "own")
        key: Any = self.keys.get(algorithm)
        if kind == "another":
            key = RSAKey.generate_key(2048, {"kid": self.keys["RS256"].kid})
        elif kind == "public as secret":
            return web.Response(text=_signed_with_the_public_key(self.keys["RS256"], claims))
        header = {"alg": algorithm, "kid": key.kid} | asked.get("header", {})
        registry = jwt.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        registry.max_header_length = 100_000
        return web.Response(text=jwt.encode(header, claims, key, registry=registry))

    async def make_new_keys(self, request: web.Request) -> web.Response:
        self.rotate()
        return web.Response()

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response(self.fetches)


def _signed_with_the_public_key(key: RSAKey, claims: dict[str, Any]) -> str:
    """What a verifier takes that lets the token choose between RS256 and HS256."""
    parts = [json.dumps(one).encode() for one in ({"alg": "HS256", "kid": key.kid}, claims)]
    signed = b".".join([_base64url(part) for part in parts])
    return (signed + b"." + _base64url(hmac.digest(key.as_pem(private=False), signed, "sha256"))).decode()


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def main(port: int, trailing: str = "") -> None:
    provider = Provider(f"http://127.0.0.1:{port}{trailing}")
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider.configuration)
    app.router.add_get("/jwks", provider.jwks)
    app.router.add_post("/test/token", provider.make_token)
    app.router.add_post("/test/rotate", provider.make_new_keys)
    app.router.add_get("/test/fetches", provider.count)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
