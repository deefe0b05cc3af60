"""Signs statements as xAPI wants it (Data 2.6): a JWS in an attachment, with the certificate in its header."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from .client import Json, multipart

USAGE = "http://adlnet.gov/expapi/attachments/signature"
HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}
DAY = datetime.timedelta(days=1)


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Signer:
    """An RSA key with a self-signed certificate."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Conformance Tests")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .sign(self.key, hashes.SHA256())
        )
        self.x5c = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    def jws(self, payload: bytes, algorithm: str = "RS256", **header: Any) -> bytes:
        """A compact JWS of the payload. `header` adds to the protected header; its entries of None are left out."""
        head = {"alg": algorithm, "x5c": self.x5c} | header
        head = {name: value for name, value in head.items() if value is not None}
        signed = f"{base64url(json.dumps(head).encode())}.{base64url(payload)}"
        if algorithm in HASHES:
            signature = self.key.sign(signed.encode(), padding.PKCS1v15(), HASHES[algorithm])
        elif algorithm == "HS256":
            signature = hmac.digest(b"a shared secret", signed.encode(), "sha256")
        else:
            signature = b""
        return f"{signed}.{base64url(signature)}".encode()


def signed_request(statement: Json, jws: bytes | None, content_type: str = "application/octet-stream") -> Json:
    """The `data` and `headers` of a request that carries a statement with this JWS; with None the JWS is announced
    and its part is missing."""
    content = jws or b""
    sha2 = hashlib.sha256(content).hexdigest()
    entry = {
        "usageType": USAGE,
        "display": {"en": "Signature"},
        "contentType": content_type,
        "length": len(content),
        "sha2": sha2,
    }
    body = json.dumps(statement | {"attachments": [entry]}).encode()
    parts = [({"Content-Type": "application/json"}, body)]
    if jws is not None:
        binary = {"Content-Type": content_type, "Content-Transfer-Encoding": "binary", "X-Experience-API-Hash": sha2}
        parts.append((binary, content))
    return {"data": multipart(parts), "headers": {"Content-Type": "multipart/mixed; boundary=griffel-part"}}
