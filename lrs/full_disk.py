"""Telling a full disk from everything else that keeps a store from writing: someone has to make room, and should know.

Each store says it in its own way; whatever wrapped the error is looked through.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from lrs.errors import DiskFull

_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_POSTGRESQL = "53100"


def is_full(error: BaseException | None) -> bool:
    """Say whether a full disk is behind an error."""
    while error is not None:
        if (
            (isinstance(error, OSError) and error.errno in _ERRNOS)
            or getattr(error, "sqlite_errorcode", None) in _SQLITE
            or getattr(error, "sqlstate", None) == _POSTGRESQL
        ):
            return True
        error = error.__cause__
    return False


def disk_full(what: str) -> DiskFull:
    """Give the error that names what is on the disk that is full."""
    return DiskFull(f"the disk of {what} is full; nothing was stored. Once there is room, writing goes on by itself")


@contextmanager
def telling_full_disk(what: str) -> Iterator[None]:
    """Raise DiskFull, which names what is on the disk, where the block failed because of that; else what it raised."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise disk_full(what) from error
        raise
