"""Root keys in OpenBao: one key of its transit engine for each epoch, `PREFIX-epoch-N`, which never leaves OpenBao.

    wrapped key = length of A (2 bytes) ─ A: a fresh root as transit's ciphertext ─ B: the epoch key under that root

What OpenBao decrypts is the fresh root, so that neither OpenBao nor what stands before it ever sees an epoch key; B is
bound to epoch and key name, which transit's own associated data would do at the price of rewrapping.

Spoken to with the standard library: it is five requests, the answer that holds a root is read into memory that is
wiped afterwards (a client library leaves it in strings), and nothing is taken from an operator's VAULT_… variables.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from lrs.errors import KeysAway, Misconfigured
from lrs.key_providers.provider import binding, does_not_fit, secret_of, unwrap_under, wrap_under
from schemas.envelope import KEY_BYTES

ANSWER_WAIT_S = 5.0
"""How long OpenBao may take to take a connection, and to answer."""
ANSWER_BYTES_MAX = 64 * 1024
LENGTH_BYTES = 2
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOUNT = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class _Plain(msgspec.Struct):
    plaintext: bytearray


class _Data(msgspec.Struct):
    """What Griffel reads of an answer's data: those of a key, of an encryption or of a decryption."""

    ciphertext: str = ""
    plaintext: bytearray | None = None
    exportable: bool = False
    allow_plaintext_backup: bool = False
    deletion_allowed: bool = False
    soft_deleted: bool = False


class _Answer(msgspec.Struct):
    status: int = 0
    data: _Data | None = None
    errors: list[str] = []


class OpenBaoKeys:
    """Roots that are keys of OpenBao's transit engine.

    url: where OpenBao is; https, except on this machine. token: itself, or a file that is read at every request, so
    that an agent may renew it. mount: the path of the engine. prefix: how this installation's keys are named; two
    installations with one prefix would destroy each other's. ca_file: the authority that signed OpenBao's certificate.
    """

    name = "openbao"
    can_destroy = True

    def __init__(
        self, url: str, token: str | Path, mount: str = "transit", prefix: str = "griffel", ca_file: Path | None = None
    ) -> None:
        """Raise Misconfigured when something cannot be right; nothing is asked of OpenBao yet."""
        self._address = _address(url)
        self._token = token
        self._mount = mount.strip("/")
        self._prefix = prefix
        if not _MOUNT.fullmatch(self._mount):
            raise Misconfigured("GRIFFEL_OPENBAO_MOUNT must be the path of a transit engine, such as transit")
        if not _NAME.fullmatch(prefix):
            raise Misconfigured("GRIFFEL_KEYS_PREFIX must be letters, digits, dots, dashes and underscores")
        self._tls = _tls(ca_file) if self._address.scheme == "https" else None

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap under the epoch's key, which is made when it is missing: not exportable, no backups in the plain."""
        name = self._key(epoch)
        made = self._ask("POST", f"keys/{name}", {"type": "aes256-gcm96"})
        if made.status != HTTPStatus.OK or made.data is None:
            raise self._refusal(epoch, made)
        if made.data.exportable or made.data.allow_plaintext_backup:
            raise Misconfigured(f"OpenBao's key {name} can be exported: Griffel needs one that never leaves OpenBao")
        if not made.data.deletion_allowed:
            # Now and not at rotation: a right that is missing is noticed before anybody relies on the key's deletion.
            self._allow_deletion(epoch)
        root = bytearray(os.urandom(KEY_BYTES))
        answer = self._ask("POST", f"encrypt/{name}", _Plain(root))
        if answer.status != HTTPStatus.OK or answer.data is None:
            raise self._refusal(epoch, answer)
        sealed = answer.data.ciphertext.encode()
        wrapped = len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed + wrap_under(root, binding(epoch, name), key)
        _wipe(root)
        return wrapped

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Unwrap with the epoch's key."""
        name = self._key(epoch)
        ends = LENGTH_BYTES + int.from_bytes(wrapped[:LENGTH_BYTES], "big")
        try:
            sealed = wrapped[LENGTH_BYTES:ends].decode("ascii")
        except UnicodeDecodeError as error:
            raise does_not_fit(f"OpenBao's {name}") from error
        answer = self._ask("POST", f"decrypt/{name}", {"ciphertext": sealed})
        root = answer.data.plaintext if answer.data is not None else None
        if answer.status != HTTPStatus.OK or root is None:
            raise self._refusal(epoch, answer)
        try:
            return unwrap_under(root, binding(epoch, name), wrapped[ends:], f"OpenBao's {name}")
        finally:
            _wipe(root)

    def destroy(self, epoch: int) -> None:
        """Delete the epoch's key, every version of it."""
        if self._find(epoch) is None:
            return
        self._allow_deletion(epoch)
        answer = self._ask("DELETE", f"keys/{self._key(epoch)}")
        # Another process may have deleted it meanwhile: what counts is that it is gone.
        if answer.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT) and self._find(epoch) is not None:
            raise self._refusal(epoch, answer)

    def _key(self, epoch: int) -> str:
        return f"{self._prefix}-epoch-{epoch}"

    def _allow_deletion(self, epoch: int) -> None:
        answer = self._ask("POST", f"keys/{self._key(epoch)}/config", {"deletion_allowed": True})
        if answer.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT) and self._find(epoch) is not None:
            raise self._refusal(epoch, answer)

    def _find(self, epoch: int) -> _Data | None:
        """Give what OpenBao says of an epoch's key, None when there is no such key."""
        answer = self._ask("GET", f"keys/{self._key(epoch)}")
        # Without the engine it is not found either, but then there are errors: nothing says that the key is gone.
        if answer.status == HTTPStatus.NOT_FOUND and not answer.errors:
            return None
        if answer.status != HTTPStatus.OK or answer.data is None:
            raise self._no_engine(answer.status)
        return answer.data

    def _refusal(self, epoch: int, answer: _Answer) -> Exception:
        """Give the error for an answer that is none of those that a right request in a right state has."""
        name = self._key(epoch)
        if answer.status != HTTPStatus.BAD_REQUEST:
            return self._no_engine(answer.status)
        found = self._find(epoch)
        if found is None:
            return Misconfigured(f"OpenBao's key {name} is missing: without it nothing in this vault can be opened")
        if found.soft_deleted:
            return Misconfigured(f"OpenBao's key {name} is soft-deleted: restore it, or nothing can be opened")
        return does_not_fit(f"OpenBao's {name}")

    def _no_engine(self, status: int) -> Misconfigured:
        if status == HTTPStatus.NOT_FOUND:
            return Misconfigured(
                f"OpenBao has no transit engine at {self._mount}: correct GRIFFEL_OPENBAO_MOUNT, or type: "
                f"bao secrets enable -path={self._mount} transit"
            )
        return Misconfigured(f"GRIFFEL_OPENBAO_URL answers with status {status}, as no OpenBao does")

    def _ask(self, method: str, path: str, body: Any = None) -> _Answer:
        """Ask OpenBao. Raises KeysAway when it does not answer, Misconfigured when it does not let Griffel in."""
        token = secret_of(self._token, "GRIFFEL_OPENBAO_TOKEN_FILE")
        if not (token.isascii() and token.isprintable()):
            raise Misconfigured("GRIFFEL_OPENBAO_TOKEN is not a token of OpenBao: it has characters that no token has")
        address = self._address
        host, wait_s = address.hostname or "", ANSWER_WAIT_S
        if self._tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, address.port, timeout=wait_s, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(host, address.port, timeout=wait_s)
        sent, received = bytearray(), bytearray(ANSWER_BYTES_MAX)
        try:
            if body is not None:
                msgspec.json.Encoder().encode_into(body, sent)
            headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
            connection.request(method, f"{address.path}/v1/{self._mount}/{path}", sent or None, headers)
            response = connection.getresponse()
            size = _read(response, received)
            answer = _parse(memoryview(received)[:size])
            answer.status = response.status
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(
                "the certificate of GRIFFEL_OPENBAO_URL does not fit: name its authority with GRIFFEL_OPENBAO_CA_FILE"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise KeysAway("OpenBao, which holds the root keys, does not answer at GRIFFEL_OPENBAO_URL") from error
        finally:
            connection.close()
            _wipe(sent)
            _wipe(received)
        if answer.status == HTTPStatus.FORBIDDEN:
            raise self._denied()
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise KeysAway(f"OpenBao, which holds the root keys, is sealed or busy (status {answer.status})")
        return answer

    def _denied(self) -> Misconfigured:
        keys = f"{self._prefix}-epoch-*"
        lines = [
            f'path "{self._mount}/keys/{keys}" {{ capabilities = ["create", "read", "update", "delete"] }}',
            f'path "{self._mount}/encrypt/{keys}" {{ capabilities = ["update"] }}',
            f'path "{self._mount}/decrypt/{keys}" {{ capabilities = ["update"] }}',
        ]
        return Misconfigured(
            "OpenBao denies the request: the token of GRIFFEL_OPENBAO_TOKEN has run out, or its policy lacks one of "
            "these lines:\n" + "\n".join(lines)
        )


def _address(url: str) -> SplitResult:
    """Read the address. Raises Misconfigured."""
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable or parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
        raise Misconfigured("GRIFFEL_OPENBAO_URL must be the address of an OpenBao, such as https://bao.internal:8200")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise Misconfigured("GRIFFEL_OPENBAO_URL must begin with https: token and keys would go over the net readable")
    return parts


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured("GRIFFEL_OPENBAO_CA_FILE must be a file with certificates, as PEM") from error


def _read(response: http.client.HTTPResponse, into: bytearray) -> int:
    view, size = memoryview(into), 0
    while size < len(into):
        count = response.readinto(view[size:])
        if not count:
            return size
        size += count
    raise http.client.HTTPException("the answer is too long")


def _parse(text: memoryview) -> _Answer:
    if not text:
        return _Answer()
    try:
        return msgspec.json.decode(text, type=_Answer)
    except msgspec.DecodeError:  # also where the form is another: a proxy's page, for example
        return _Answer(errors=["not JSON"])


def _wipe(secret: bytearray) -> None:
    secret[:] = bytes(len(secret))
