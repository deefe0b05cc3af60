"""Signed JSON that can be checked by anyone who has the public key: receipts of consent, certificates of erasure.

A JWS in compact form (RFC 7515), signed with Ed25519 (`EdDSA`, RFC 8037). The header names the key by its thumbprint
(RFC 7638) and what is signed by `typ`, so that nothing signed as one thing passes for another (RFC 8725, 3.11).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from schemas.errors import InvalidInput
from schemas.json_input import parse_json

Json = dict[str, Any]

ALGORITHM = "EdDSA"
CONSENT_RECEIPT = "griffel-consent-receipt+jws"
"""The `typ` of a consent record that is given to the learner."""
ERASURE_CERTIFICATE = "griffel-erasure-certificate+jws"
"""The `typ` of the certificate of an erasure."""
RECEIPT_BYTES_MAX = 1024 * 1024
SEED_BYTES = 32


def sign(seed: bytes | bytearray, payload: Json, typ: str) -> str:
    """Sign JSON with the key that a seed of 32 random bytes stands for; typ says what it is.

    The seed is only read: whoever holds it in a bytearray can overwrite it afterwards.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed)
    header = {"alg": ALGORITHM, "kid": _jwk(key.public_key())["kid"], "typ": typ}
    signed = b".".join(_encode(orjson.dumps(one, option=orjson.OPT_SORT_KEYS)) for one in (header, payload))
    return b".".join((signed, _encode(key.sign(signed)))).decode("ascii")


def verify(public_key: Json, jws: str, typ: str) -> Json:
    """Give what was signed. public_key: a JWK as `public_jwk` gives it; typ: what it must have been signed as.

    Raises InvalidInput when it is no such JWS, was signed as something else or with another key, or was changed.
    """
    key = _read_key(public_key)
    if len(jws) > RECEIPT_BYTES_MAX:
        raise InvalidInput(f"a receipt has at most {RECEIPT_BYTES_MAX} characters")
    try:
        header_text, payload_text, signature_text = jws.encode("ascii").split(b".")
        header = parse_json(_decode(header_text))
        payload = _decode(payload_text)
        signature = _decode(signature_text)
    except (ValueError, InvalidInput) as error:
        raise InvalidInput("this is not a JSON web signature in compact form") from error
    if type(header) is not dict or set(header) != {"alg", "kid", "typ"} or header["alg"] != ALGORITHM:
        raise InvalidInput(f"the header must have alg ({ALGORITHM}), kid and typ, and nothing else")
    if header["typ"] != typ:
        raise InvalidInput(f"this was not signed as {typ}")
    if header["kid"] != _jwk(key)["kid"]:
        raise InvalidInput("this was signed with another key: `kid` names it")
    try:
        key.verify(signature, header_text + b"." + payload_text)
    except InvalidSignature:
        raise InvalidInput("the signature does not fit: what was signed has been changed") from None
    content: Json = parse_json(payload)
    return content


def public_jwk(seed: bytes | bytearray) -> Json:
    """Give the public key of a seed as a JWK (RFC 8037), its thumbprint as `kid`: what everyone may have."""
    return _jwk(Ed25519PrivateKey.from_private_bytes(seed).public_key())


def _jwk(key: Ed25519PublicKey) -> Json:
    x = _encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode("ascii")
    # The thumbprint is of these members alone, in this order.
    members = {"crv": "Ed25519", "kty": "OKP", "x": x}
    kid = _encode(hashlib.sha256(orjson.dumps(members)).digest()).decode("ascii")
    return members | {"alg": ALGORITHM, "kid": kid, "use": "sig"}


def _read_key(jwk: Json) -> Ed25519PublicKey:
    rule = "the public key must be a JWK with kty OKP, crv Ed25519 and x"
    if (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519") or type(jwk.get("x")) is not str:
        raise InvalidInput(rule)
    try:
        return Ed25519PublicKey.from_public_bytes(_decode(jwk["x"].encode("ascii")))
    except ValueError as error:
        raise InvalidInput(rule) from error


def _encode(plain: bytes) -> bytes:
    return base64.urlsafe_b64encode(plain).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Read base64url without padding. Raises ValueError for any other way to write the same bytes."""
    try:
        plain = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError from error
    if _encode(plain) != text:
        raise ValueError
    return plain
