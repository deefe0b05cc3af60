"""What a key provider is, and what those have in common that seal an epoch key under a root they hold in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged, Misconfigured
from schemas.envelope import NONCE_BYTES, TAG_BYTES


class KeyProvider(Protocol):
    """Holder of the roots under which epoch keys are wrapped.

    epoch numbers count from 1. Wrapped keys are opaque bytes, kept in the vault. Every method may block.
    """

    name: str
    can_destroy: bool
    """False when a key once used lives on where Griffel cannot reach it; certificates then say so."""

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap an epoch's key, making the root for that epoch if there is none.

        Raises Misconfigured when a setting or a right is missing, KeysAway when the provider does not answer.
        """
        ...

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Give an epoch's key.

        Raises Misconfigured when the root, a setting or a right is missing, Damaged when what was wrapped does not fit
        this epoch's root, KeysAway when the provider does not answer.
        """
        ...

    def destroy(self, epoch: int) -> None:
        """Destroy an epoch's root, so that nothing wrapped under it can be opened again. Doing so twice is no error.

        Raises Misconfigured and KeysAway; the root then has to be taken as still there.
        """
        ...


def binding(epoch: int, name: str = "") -> bytes:
    """Give what binds a wrapped key to its epoch and, where roots have names, to the name of its root."""
    return b"griffel epoch %d" % epoch + (b" under " + name.encode() if name else b"")


def wrap_under(root: bytearray | bytes, bound: bytes, key: bytes | bytearray) -> bytes:
    """Wrap a key under a root."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(root).encrypt(nonce, key, bound)


def unwrap_under(root: bytearray | bytes, bound: bytes, wrapped: bytes, where: str) -> bytearray:
    """Give the key. where: what holds the root, for the message. Raises Damaged."""
    key = bytearray(max(0, len(wrapped) - NONCE_BYTES - TAG_BYTES))
    try:
        AESGCM(root).decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound, key)
    except (InvalidTag, ValueError) as error:
        raise does_not_fit(where) from error
    return key


def does_not_fit(where: str) -> Damaged:
    """Give the error for a wrapped key that a root does not open."""
    return Damaged(f"the key in {where} does not fit this vault")


def secret_of(given: str | Path, setting: str) -> str:
    """Give a secret that is given itself or by a file; read each time, because others may renew the file.

    Raises Misconfigured, naming the setting.
    """
    if isinstance(given, str):
        return given
    try:
        secret = given.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{setting} names a file that cannot be read") from error
    if not secret:
        raise Misconfigured(f"{setting} names a file that is empty")
    return secret
