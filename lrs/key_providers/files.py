"""Root keys in files: one for each epoch, in a folder of its own (the default)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lrs.errors import Damaged, Misconfigured
from lrs.key_providers.provider import binding, unwrap_under, wrap_under
from schemas.envelope import KEY_BYTES


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
        return wrap_under(self._root(epoch), binding(epoch), key)

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
        return unwrap_under(self._root(epoch), binding(epoch), wrapped, str(self._path(epoch)))

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
