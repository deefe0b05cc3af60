"""Signed papers: certificates and receipts as compact JWS (RFC 7515) under the installation's own Ed25519 key.

The key lies in the vault, wrapped like its other secrets, and does not change when the epochs do. Whoever holds a paper
checks it against the public key, whose id (RFC 7638) stands in its header.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from schemas.errors import InvalidInput

ALGORITHM = "Ed25519"
_REGISTRY = JWSRegistry(algorithms=[ALGORITHM])


class Signer:
    """Signs JSON under a key of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        known = {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
        self._key = OKPKey.import_key({**known, "d": _text(seed)})
        self._kid = self._key.thumbprint()
        self.public_key: dict[str, Any] = {**known, "kid": self._kid, "use": "sig", "alg": ALGORITHM}

    def sign(self, kind: str, content: dict[str, Any]) -> str:
        """Give the JWS of a paper; kind stands in its header as `typ`."""
        header = {"alg": ALGORITHM, "typ": kind, "kid": self._kid}
        plain = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return jws.serialize_compact(header, plain, self._key, registry=_REGISTRY)


def verify(paper: str, public_key: dict[str, Any]) -> dict[str, Any]:
    """Give what a signed paper says. Raises InvalidInput unless this key has signed it, as it is."""
    try:
        found = jws.deserialize_compact(paper, OKPKey.import_key(public_key), registry=_REGISTRY)
        content: dict[str, Any] = orjson.loads(found.payload)
    except (JoseError, ValueError) as error:
        raise InvalidInput("this paper was not signed with this key, or was changed since", "") from error
    return content


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
