"""The data folder of an embedded installation: one process at a time, and how to speak to the one that has it.

Beside a running server the command line speaks to it over a local socket; without one it takes the folder itself
(decision 37).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrs.errors import Misconfigured

SOCKET_PATH_BYTES_MAX = 100
"""Unix socket paths are short (108 bytes on Linux); a longer one is put among the temporary files instead."""


class FolderTaken(Misconfigured):
    """Another Griffel process has this data folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a data folder. Raises FolderTaken when another process does."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderTaken(
                f"another Griffel process has the folder {folder}; stop it, or give this one its own with --data"
            ) from error
        yield
    finally:
        os.close(descriptor)


def control_socket(folder: Path) -> Path:
    """Give the path of the socket by which the command line reaches the server that has this folder."""
    path = folder.absolute() / "control.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    short = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"griffel-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise Misconfigured(f"{private} belongs to someone else; use a shorter --data path")
    return private / f"{short}.sock"
