"""Attachments: whatever their size they come back as they were, or not at all."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrs import attachments
from lrs.attachments import CHUNK_BYTES, SEALED_CHUNK_BYTES, Attachments, BlobFolder
from lrs.errors import Damaged

SIZES = {
    "0": 0,
    "1": 1,
    "chunk - 1": CHUNK_BYTES - 1,
    "chunk": CHUNK_BYTES,
    "chunk + 1": CHUNK_BYTES + 1,
    "three chunks": 3 * CHUNK_BYTES,
    "three chunks and some": 3 * CHUNK_BYTES + 4321,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "attachments"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Attachments]:
    store = Attachments(BlobFolder(folder))
    yield store
    await store.stop()


async def pieces(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(store: Attachments, blob: Any) -> bytes:
    return b"".join([piece async for piece in store.read(blob)])


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("**/*") if path.is_file())


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("piece", [1 << 20, 10_000, CHUNK_BYTES])
async def test_an_attachment_of_any_size_comes_back_as_it_was(store: Attachments, size: int, piece: int) -> None:
    content = os.urandom(size)
    sha2, blob = await store.save(pieces(content, piece))
    assert sha2 == hashlib.sha256(content).hexdigest()
    assert blob["length"] == size
    assert await read(store, blob) == content


async def test_it_is_read_chunk_by_chunk(store: Attachments) -> None:
    _, blob = await store.save(pieces(bytes(3 * CHUNK_BYTES)))
    assert [len(piece) async for piece in store.read(blob)] == [CHUNK_BYTES] * 3


async def test_equal_attachments_have_nothing_in_common_on_the_disk(store: Attachments, folder: Path) -> None:
    content = b"canary " * 1000
    blobs = [(await store.save(pieces(content)))[1] for _ in range(2)]
    first, second = (path.read_bytes() for path in files(folder))
    assert first != second
    assert blobs[0]["key"] != blobs[1]["key"]
    assert b"canary" not in first + second


async def test_a_files_length_says_only_steps_of_128_bytes(store: Attachments, folder: Path) -> None:
    for size in (0, 1, 100, 124):
        await store.save(pieces(bytes(size)))
    assert len({path.stat().st_size for path in files(folder)}) == 1


async def test_files_are_their_owners_alone_and_named_by_chance(store: Attachments, folder: Path) -> None:
    _, blob = await store.save(pieces(b"content"))
    [path] = files(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.name == blob["id"]
    assert hashlib.sha256(b"content").hexdigest()[:8] not in path.name


def cut_the_last_byte(content: bytes) -> bytes:
    return content[:-1]


def cut_the_last_chunk(content: bytes) -> bytes:
    return content[: (len(content) - 1) // SEALED_CHUNK_BYTES * SEALED_CHUNK_BYTES]


def cut_everything(content: bytes) -> bytes:
    return b""


def change_the_first_byte(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def change_the_last_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def swap_two_chunks(content: bytes) -> bytes:
    return (
        content[SEALED_CHUNK_BYTES : 2 * SEALED_CHUNK_BYTES]
        + content[:SEALED_CHUNK_BYTES]
        + content[2 * SEALED_CHUNK_BYTES :]
    )


@pytest.mark.parametrize(
    "harm",
    [
        cut_the_last_byte,
        cut_the_last_chunk,
        cut_everything,
        change_the_first_byte,
        change_the_last_byte,
        swap_two_chunks,
    ],
)
async def test_what_was_changed_on_the_disk_is_damaged(
    store: Attachments, folder: Path, harm: Callable[[bytes], bytes]
) -> None:
    _, blob = await store.save(pieces(os.urandom(2 * CHUNK_BYTES + 50)))
    [path] = files(folder)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(Damaged):
        await read(store, blob)


async def test_a_missing_file_is_damage(store: Attachments, folder: Path) -> None:
    _, blob = await store.save(pieces(b"content"))
    files(folder)[0].unlink()
    with pytest.raises(Damaged):
        await read(store, blob)


async def test_another_attachments_key_does_not_open_it(store: Attachments) -> None:
    blobs = [(await store.save(pieces(b"content")))[1] for _ in range(2)]
    with pytest.raises(Damaged):
        await read(store, blobs[0] | {"key": blobs[1]["key"]})
    with pytest.raises(Damaged):
        await read(store, blobs[0] | {"id": blobs[1]["id"]})


async def test_nothing_is_left_of_a_stream_that_breaks_off(store: Attachments, folder: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(3 * CHUNK_BYTES)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.save(broken())
    assert files(folder) == []


async def test_nothing_is_left_when_the_disk_refuses(
    store: Attachments, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BlobFolder, "seal_off", full)
    with pytest.raises(OSError, match="No space"):
        await store.save(pieces(bytes(2 * CHUNK_BYTES)))
    assert files(folder) == []


async def test_what_is_discarded_is_gone_and_doing_so_twice_is_no_error(store: Attachments, folder: Path) -> None:
    _, blob = await store.save(pieces(b"content"))
    await store.discard(blob)
    await store.discard(blob)
    assert files(folder) == []


# ---------------------------------------------------------------------------------------------------------------- sweep


def old(path: Path) -> None:
    then = time.time() - attachments.ORPHAN_AGE_S - 1
    os.utime(path, (then, then))


async def test_only_what_is_old_and_known_to_no_statement_is_swept(store: Attachments, folder: Path) -> None:
    names = ["held", "orphan", "young"]
    blobs = {name: (await store.save(pieces(name.encode())))[1] for name in names}
    for name in ("held", "orphan"):
        old(folder / blobs[name]["id"][:2] / blobs[name]["id"])
    asked: list[bytes] = []

    async def known(ids: list[bytes]) -> set[bytes]:
        asked.extend(ids)
        return {bytes.fromhex(blobs["held"]["id"])}

    assert await store.sweep(known) == 1
    assert sorted(asked) == sorted(bytes.fromhex(blobs[name]["id"]) for name in ("held", "orphan"))
    assert sorted(path.name for path in files(folder)) == sorted(blobs[name]["id"] for name in ("held", "young"))
    assert await read(store, blobs["held"]) == b"held"


async def test_sweeping_an_empty_store_asks_nobody(store: Attachments) -> None:
    async def known(ids: list[bytes]) -> set[bytes]:
        raise AssertionError(ids)

    assert await store.sweep(known) == 0


async def test_a_stray_file_is_left_alone(store: Attachments, folder: Path) -> None:
    (folder / "ab").mkdir(parents=True)
    stray = folder / "ab" / ".DS_Store"
    stray.write_bytes(b"of somebody else")
    old(stray)

    async def known(ids: list[bytes]) -> set[bytes]:
        return set(ids)

    assert await store.sweep(known) == 0
    assert stray.exists()


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)
