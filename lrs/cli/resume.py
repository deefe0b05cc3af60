"""The small file from which a stopped transfer goes on: counts, times and checksums, nothing about a person."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

Json = dict[str, Any]


class ResumeFile:
    """Keeps one JSON object in a file, whole or not at all, readable by its owner only.

    Args:
        path: where; None keeps nothing.
        kind: what the file is for. A file of another kind is not read, so that a wrong path destroys nothing.
        belongs_to: a checksum of what is transferred from where to where. A file that belongs to something else is
            not gone on from.
    """

    def __init__(self, path: Path | None, kind: str, belongs_to: str) -> None:
        self.path = path
        self._head = {"format": kind, "belongs_to": belongs_to}
        self.belonged_elsewhere = False

    def load(self) -> Json | None:
        """Give what was kept last, None where there is nothing to go on from.

        Raises:
            ValueError: the file is there and is something else.
        """
        if self.path is None:
            return None
        try:
            kept = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError:
            kept = None
        if not isinstance(kept, dict) or kept.get("format") != self._head["format"]:
            raise ValueError(f"{self.path} is not a {self._head['format']} file; it was left as it is.")
        self.belonged_elsewhere = kept.get("belongs_to") != self._head["belongs_to"]
        return None if self.belonged_elsewhere else kept

    def save(self, **kept: Any) -> None:
        """Replace what was kept; after a crash either the old or the new is there."""
        if self.path is None:
            return
        beside = self.path.with_name(self.path.name + ".new")
        with private_file(beside, "w") as file:
            file.write(orjson.dumps(self._head | kept, option=orjson.OPT_APPEND_NEWLINE))
        beside.replace(self.path)

    def remove(self) -> None:
        """Forget; there is nothing to go on from any more."""
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def private_file(path: Path, mode: Literal["w", "a"]) -> BinaryIO:
    """Open a file to write from its beginning or its end, readable by its owner only, whatever the umask.

    A device or a pipe is opened as it is.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | (os.O_TRUNC if mode == "w" else 0), 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
        file = os.fdopen(descriptor, "r+b")
        file.seek(0, os.SEEK_END)
        return file
    return os.fdopen(descriptor, "wb")
