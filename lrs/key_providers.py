"""Who holds the root of the keys. A provider wraps and unwraps epoch keys; it is asked at start and at rotation only.

    KeyProvider             wrap, unwrap, destroy
    ├── FileKeys            one file for each epoch, in a folder of its own (default)
    └── EnvironmentKey      one key in GRIFFEL_MASTER_KEY, which nobody here can destroy

The interface fits a key management service: `wrap` and `unwrap` are its encrypt and decrypt, an epoch is one of its
keys, `destroy` deletes that key.
"""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged, Misconfigured
from schemas.envelope import KEY_BYTES, NONCE_BYTES


class KeyProvider(Protocol):
    """Holder of the roots under which epoch keys are wrapped.

    epoch numbers count from 1. Wrapped keys are opaque bytes, kept in the vault.
    """

    name: str
    can_destroy: bool
    """False when a key once used lives on where Griffel cannot reach it; certificates then say so."""

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap an epoch's key, making the root for that epoch if there is none. Raises Misconfigured."""
        ...

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Give an epoch's key. Raises Misconfigured when the root is missing, Damaged when it does not fit."""
        ...

    def destroy(self, epoch: int) -> None:
        """Destroy an epoch's root, so that nothing wrapped under it can be opened again. Doing so twice is no error."""
        ...


def _wrap(root: bytearray | bytes, epoch: int, key: bytes | bytearray) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(root).encrypt(nonce, key, _binding(epoch))


def _unwrap(root: bytearray | bytes, epoch: int, wrapped: bytes, where: str) -> bytearray:
    try:
        return bytearray(AESGCM(root).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _binding(epoch)))
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"the key in {where} does not fit this vault") from error


def _binding(epoch: int) -> bytes:
    return b"griffel epoch %d" % epoch


class FileKeys:
    """Roots in files `epoch-N.key` of a folder readable by the owner alone."""

    name = "file"
    can_destroy = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap under the epoch's file; a missing file is made, durable before this returns."""
        path = self._path(epoch)
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make(path)
        return _wrap(self._root(epoch), epoch, key)

    def _make(self, path: Path) -> None:
        """Make a root, whole or not at all; when another process was first, its root stays."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, os.urandom(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        self._sync_folder()

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Unwrap with the epoch's file."""
        return _unwrap(self._root(epoch), epoch, wrapped, str(self._path(epoch)))

    def destroy(self, epoch: int) -> None:
        """Overwrite the epoch's file, then remove it."""
        path = self._path(epoch)
        if path.exists():
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            self._sync_folder()

    def _path(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch}.key"

    def _root(self, epoch: int) -> bytearray:
        path = self._path(epoch)
        root = bytearray(KEY_BYTES)
        try:
            with path.open("rb", buffering=0) as file:
                size = file.readinto(root)
        except FileNotFoundError as error:
            raise Misconfigured(f"{path} is missing: without it nothing in this vault can be opened") from error
        if size != KEY_BYTES:
            raise Damaged(f"{path} must hold {KEY_BYTES} bytes")
        return root

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class EnvironmentKey:
    """One root for every epoch, given in the environment as 32 bytes in base64."""

    name = "environment"
    can_destroy = False

    def __init__(self, encoded: str) -> None:
        try:
            self._root = bytearray(base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise Misconfigured("GRIFFEL_MASTER_KEY must be base64; make one with: openssl rand -base64 32") from error
        if len(self._root) != KEY_BYTES:
            raise Misconfigured("GRIFFEL_MASTER_KEY must be 32 bytes in base64; make one with: openssl rand -base64 32")

    def wrap(self, epoch: int, key: bytes | bytearray) -> bytes:
        """Wrap under the one root."""
        return _wrap(self._root, epoch, key)

    def unwrap(self, epoch: int, wrapped: bytes) -> bytearray:
        """Unwrap with the one root."""
        return _unwrap(self._root, epoch, wrapped, "GRIFFEL_MASTER_KEY")

    def destroy(self, epoch: int) -> None:
        """Do nothing: what an environment variable holds cannot be destroyed from here (`can_destroy` says so)."""
