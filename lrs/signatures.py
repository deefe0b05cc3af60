"""Signed statements: a JWS beside the statement, really verified (xAPI Data 2.6).

The signature's payload must be the statement; its algorithm RS256, RS384 or RS512; where it carries its certificate
(x5c), the signature must be that key's.
"""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from schemas.errors import InvalidInput
from schemas.json_input import parse_json
from schemas.people import Json, people_of
from schemas.statement import Version, check_statement, equal_statements, normalise_statement

SIGNATURE_USAGE = "http://adlnet.gov/expapi/attachments/signature"
SIGNATURE_TYPE = "application/octet-stream"
SIGNATURE_BYTES_MAX = 1024 * 1024
ALGORITHMS = ["RS256", "RS384", "RS512"]
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS)
# The library's own bounds (512 bytes of header) are for tokens; a header that carries certificates needs more.
_REGISTRY.max_header_length = _REGISTRY.max_payload_length = _REGISTRY.max_signature_length = SIGNATURE_BYTES_MAX


def verify_signature(signature: bytes, statement: Json, version: Version, pointer: str) -> frozenset[str]:
    """Check a JWS in compact form against the statement it came with; give the identifiers that it names.

    Raises InvalidInput, pointing at the attachment, when it is no JWS, its algorithm is another, its payload is not
    this statement, or its certificate's key did not make it.
    """
    try:
        found = jws.extract_compact(signature, registry=_REGISTRY)
        payload = parse_json(found.payload)
    except (JoseError, ValueError) as error:
        raise InvalidInput("the signature is not a JSON web signature in compact form", pointer) from error
    except InvalidInput as error:
        raise InvalidInput("the signature's payload is not strict JSON", pointer) from error
    header = found.headers()
    if header.get("alg") not in ALGORITHMS:
        raise InvalidInput("a signature's algorithm must be RS256, RS384 or RS512", pointer)
    if "x5c" in header:
        _verify_with_certificate(signature, header["x5c"], pointer)
    try:
        check_statement(payload, version)
    except InvalidInput as error:
        raise InvalidInput(f"the signature's payload is not a statement: {error.detail}", pointer) from error
    normalise_statement(payload)
    if not equal_statements(payload, _without_signature(statement)):
        raise InvalidInput("the signature's payload is another statement than the one it came with", pointer)
    return frozenset(people_of(payload).identifiers())


def _verify_with_certificate(signature: bytes, chain: Any, pointer: str) -> None:
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))
        key = certificate.public_key()
    except (ValueError, TypeError, IndexError, KeyError, UnsupportedAlgorithm) as error:
        raise InvalidInput("the signature's x5c does not begin with a certificate", pointer) from error
    if not isinstance(key, RSAPublicKey):
        raise InvalidInput("the signature's certificate does not hold an RSA key", pointer)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        jws.deserialize_compact(signature, RSAKey.import_key(pem), registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise InvalidInput("the signature does not fit the key of its certificate", pointer) from error


def _without_signature(statement: Json) -> Json:
    """Give the statement as it was signed: before the signature was attached."""
    kept = [one for one in statement.get("attachments", ()) if one.get("usageType") != SIGNATURE_USAGE]
    bare = {key: value for key, value in statement.items() if key != "attachments"}
    return {**bare, "attachments": kept} if kept else bare
