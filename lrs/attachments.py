"""Attachments: sealed streams under random names, never shared between people.

Each has a random key of its own, which stands inside the sealed statement: who can open the statement can open the
attachment, and it dies with it. The bytes are sealed in chunks of 64 KiB as they arrive; the last chunk is marked and
padded, so a stream that was cut off does not open. What no statement in the log came to hold is swept away at start.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged
from lrs.full_disk import telling_full_disk
from schemas.envelope import KEY_BYTES, NONCE_BYTES, TAG_BYTES, pad, unpad
from schemas.people import Json

SEALED_CHUNK_BYTES = 64 * 1024 + TAG_BYTES
CHUNK_BYTES = 64 * 1024 - 4
"""What a full chunk carries: with its length in front it fills 64 KiB."""
BLOB_ID_BYTES = 16
ORPHAN_AGE_S = 3600.0
_BLOB_NAME = re.compile(rf"[0-9a-f]{{{2 * BLOB_ID_BYTES}}}")
WHAT = "the attachments"
_MORE, _LAST = b"\x00", b"\x01"
T = TypeVar("T")


class BlobStore(Protocol):
    """Where sealed chunks lie. All calls block; they are made from a thread."""

    def append(self, blob_id: bytes, number: int, chunk: bytes) -> None:
        """Add a chunk. The first has number 0."""
        ...

    def seal_off(self, blob_id: bytes) -> None:
        """Make what was added durable."""
        ...

    def chunk(self, blob_id: bytes, number: int) -> bytes:
        """Give a chunk, empty after the last."""
        ...

    def delete(self, blob_id: bytes) -> None:
        """Delete a blob; that there is none is no error."""
        ...

    def older_than(self, age_s: float) -> list[bytes]:
        """Give the blobs that were begun at least so long ago."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class BlobFolder:
    """Sealed files under the data folder, named by random ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, blob_id: bytes, number: int, chunk: bytes) -> None:
        path = self._path(blob_id)
        with telling_full_disk(WHAT):
            if number == 0:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(path, "ab" if number else "xb", opener=_private) as file:
                file.write(chunk)

    def seal_off(self, blob_id: bytes) -> None:
        path = self._path(blob_id)
        for place in (path, path.parent):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                with telling_full_disk(WHAT):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def chunk(self, blob_id: bytes, number: int) -> bytes:
        try:
            with self._path(blob_id).open("rb") as file:
                file.seek(number * SEALED_CHUNK_BYTES)
                return file.read(SEALED_CHUNK_BYTES)
        except FileNotFoundError as error:
            raise Damaged("an attachment's file is missing") from error

    def delete(self, blob_id: bytes) -> None:
        self._path(blob_id).unlink(missing_ok=True)

    def older_than(self, age_s: float) -> list[bytes]:
        before = time.time() - age_s
        ours = [path for path in self._folder.glob("*/*") if _BLOB_NAME.fullmatch(path.name)]
        return [bytes.fromhex(path.name) for path in ours if path.stat().st_mtime <= before]

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _path(self, blob_id: bytes) -> Path:
        name = blob_id.hex()
        return self._folder / name[:2] / name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Attachments:
    """Stores and gives attachments."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attachments")

    async def save(self, chunks: AsyncIterator[bytes], *, algorithm: str = "sha256") -> tuple[str, Json]:
        """Store a stream; give the hash of what came (hex) and the description that the statement keeps.

        When the stream or the store fails, what was written is deleted and the error goes on.
        """
        blob_id, key = os.urandom(BLOB_ID_BYTES), os.urandom(KEY_BYTES)
        cipher, digest = AESGCM(key), hashlib.new(algorithm)
        number = length = 0
        held = bytearray()
        try:
            async for piece in chunks:
                digest.update(piece)
                length += len(piece)
                held += piece
                while len(held) > CHUNK_BYTES:
                    await self._append(cipher, blob_id, number, bytes(held[:CHUNK_BYTES]), _MORE)
                    del held[:CHUNK_BYTES]
                    number += 1
            await self._append(cipher, blob_id, number, bytes(held), _LAST)
            await self._run(self._store.seal_off, blob_id)
        except BaseException:
            await asyncio.shield(self._run(self._store.delete, blob_id))
            raise
        return digest.hexdigest(), {"id": blob_id.hex(), "key": base64.b64encode(key).decode(), "length": length}

    async def read(self, blob: Json) -> AsyncIterator[bytes]:
        """Give the bytes of an attachment. Raises Damaged when they are not what was stored."""
        blob_id, cipher = bytes.fromhex(blob["id"]), AESGCM(base64.b64decode(blob["key"]))
        last = max(0, (blob["length"] - 1) // CHUNK_BYTES)
        for number in range(last + 1):
            sealed = await self._run(self._store.chunk, blob_id, number)
            marker = _LAST if number == last else _MORE
            try:
                yield unpad(cipher.decrypt(_nonce(number), sealed, blob_id + marker))
            except (InvalidTag, ValueError) as error:
                raise Damaged("an attachment does not open with its key") from error

    async def discard(self, blob: Json) -> None:
        """Delete an attachment that no statement came to hold."""
        await self._run(self._store.delete, bytes.fromhex(blob["id"]))

    async def sweep(self, known: Callable[[list[bytes]], Awaitable[set[bytes]]]) -> int:
        """Delete what was begun long ago and is held by no statement; give how many."""
        old = await self._run(self._store.older_than, ORPHAN_AGE_S)
        orphans = set(old) - await known(old) if old else set()
        for blob_id in orphans:
            await self._run(self._store.delete, blob_id)
        return len(orphans)

    async def stop(self) -> None:
        """Let what is under way end, and close the store."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._store.close()

    async def _append(self, cipher: AESGCM, blob_id: bytes, number: int, plain: bytes, marker: bytes) -> None:
        # The key is this blob's alone, so the chunk's number is a nonce that never repeats under it.
        box = cipher.encrypt(_nonce(number), pad(plain), blob_id + marker)
        await self._run(self._store.append, blob_id, number, box)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES)
