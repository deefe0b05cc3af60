"""What is inside gzip, zlib and zstd streams, piece by piece, however much it is."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final

import zstandard

PIECE_BYTES: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b\x08"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")

_ZSTD_PACKED_BYTES: Final = 2048
"""What is unpacked at once: at most 64 MiB, for four bytes may stand for a block of 128 KiB."""
_FIRST: Final = (_GZIP[:1], _ZSTD[:1], b"\x78")


class BadlyPacked(Exception):
    """What begins like a packed stream goes on like none, or ends before its end."""


def looks_packed(head: bytes) -> bool:
    """Say whether some bytes begin like a stream that can be unpacked."""
    return head[:1] in _FIRST and (head.startswith((_GZIP, _ZSTD)) or _ZLIB.match(head) is not None)


def unpacked_bytes_sure(head: bytes) -> int:
    """Give how much must have been unpacked before one can be sure that this was packed, and not random bytes."""
    if head.startswith(_ZSTD):
        return 0
    return 1 if head.startswith(_GZIP) else PIECE_BYTES


def unpacked(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    """Give what is inside, in pieces. head: the first bytes of the file, which is at its beginning.

    Raises BadlyPacked, after whatever could be unpacked.
    """
    try:
        if head.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as inside:
                yield from iter(partial(inside.read, PIECE_BYTES), b"")
        elif head.startswith(_ZSTD):
            yield from _unpacked_zstd(file)
        else:
            yield from _inflated(file)
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise BadlyPacked from error


def _unpacked_zstd(file: BinaryIO) -> Iterator[bytes]:
    """Unpack frame after frame. The library's own reader takes a frame that is cut off for one that has ended."""
    packed = file.read(_ZSTD_PACKED_BYTES)
    while packed.startswith(_ZSTD):
        frame = zstandard.ZstdDecompressor().decompressobj()
        while packed:
            if piece := frame.decompress(packed):
                yield piece
            if frame.eof:
                break
            packed = file.read(_ZSTD_PACKED_BYTES)
        if not frame.eof:
            raise EOFError
        packed = frame.unused_data or file.read(_ZSTD_PACKED_BYTES)
        if len(packed) < len(_ZSTD):
            packed += file.read(_ZSTD_PACKED_BYTES)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    packed = file.read(PIECE_BYTES)
    while packed:
        if piece := stream.decompress(packed, PIECE_BYTES):
            yield piece
        if stream.eof:
            return
        packed = stream.unconsumed_tail or file.read(PIECE_BYTES)
    yield stream.flush()
    if not stream.eof:
        raise EOFError
