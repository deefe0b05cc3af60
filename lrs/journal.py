"""The journal of what was ended: outside of every backup, so that no restored backup brings it back (decision 36).

Each line says that somebody was erased, or withdrew, or was restricted, by pseudonym, and carries a hash over all lines
before it under a key of the vault. The vault keeps how many lines it has carried out and the hash of the last; so a
journal that was cut off, exchanged or edited is known. In a cluster the log on Kafka is the journal.

A line is durable before what it says is done in the vault.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orjson

from lrs.errors import Damaged, Misconfigured
from lrs.full_disk import telling_full_disk
from lrs.key_vault import KeyVault
from lrs.vault_store import VaultStore
from schemas.person_states import StateChange

NAME = "journal.ndjson"
HASH_BYTES = 16
_BEGINNING = bytes(HASH_BYTES)
_WHAT = "the journal"


class Entry(NamedTuple):
    """A line: what is true of a person from then on, the version at which its stream says so, the hash up to here."""

    change: StateChange
    version: int
    head: bytes


class Journal:
    """The journal of one vault, in a file that is only ever appended to."""

    def __init__(self, path: Path, vault: KeyVault, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._vault = vault
        self._clock = clock
        self._lock = asyncio.Lock()
        self._entries: list[Entry] = []

    async def open(self) -> list[Entry]:
        """Read the journal, making it for a vault that has never had one; give its lines.

        Raises Misconfigured when it is missing or ends before what the vault has carried out, Damaged when it is not
        what was written. Either way nothing may be served: what was ended since might come back.
        """
        known, head, copied = await self._vault.with_store(_progress)
        if not self._path.exists() and (known or copied):
            raise Misconfigured(
                f"the journal {self._path} is missing. This vault is a copy, or older than its journal; without it "
                "those who were erased since would come back. Put the journal of the installation in that place, or, "
                "if it is lost for ever: griffel restore --without-journal"
            )
        self._entries = await asyncio.to_thread(self._read)
        if len(self._entries) < known or (known and self._entries[known - 1].head != head):
            raise Misconfigured(
                f"the journal {self._path} is not the one that this vault knows, or an older copy of it: put back the "
                "newest; if it is lost for ever: griffel restore --without-journal"
            )
        return list(self._entries)

    async def note(self, change: StateChange, version: int) -> None:
        """Add a line, durable before this returns. Raises DiskFull; then nothing was added."""
        async with self._lock:
            entry = Entry(change, version, self._hash(change, version))
            await asyncio.to_thread(self._write, entry)
            self._entries.append(entry)
            await self.tell_vault()

    async def tell_vault(self) -> None:
        """Have the vault know of every line: a journal that ends before is an older one."""
        entries = len(self._entries)
        head = self._entries[-1].head if entries else _BEGINNING

        def work(store: VaultStore) -> None:
            store.run("set_journal", entries, head, 0)

        await self._vault.with_store(work)

    def _read(self) -> list[Entry]:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
        entries: list[Entry] = []
        content = self._path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            # Written when the machine stopped: what it says was never begun.
            os.truncate(self._path, len(content) - len(torn))
        for line in whole.split(b"\n") if whole else []:
            try:
                told = orjson.loads(line)
                change = StateChange(bytes.fromhex(told["who"]), told["purpose"], told["state"])
                version, head = int(told["version"]), bytes.fromhex(told["head"])
            except (ValueError, KeyError, TypeError) as error:
                raise Damaged(f"line {len(entries) + 1} of the journal {self._path} cannot be read") from error
            self._entries = entries
            if head != self._hash(change, version):
                raise Damaged(f"line {len(entries) + 1} of the journal {self._path} is not what was written there")
            entries.append(Entry(change, version, head))
        return entries

    def _hash(self, change: StateChange, version: int) -> bytes:
        before = self._entries[-1].head if self._entries else _BEGINNING
        said = b"%d %d %d %d" % (len(self._entries), change.purpose, change.state, version)
        return self._vault.blinding.id("journal", before, change.pseudonym, said)

    def _write(self, entry: Entry) -> None:
        change = entry.change
        line = orjson.dumps(
            {
                "at": int(self._clock() * 1_000_000),
                "who": change.pseudonym.hex(),
                "purpose": int(change.purpose),
                "state": int(change.state),
                "version": entry.version,
                "head": entry.head.hex(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        with telling_full_disk(_WHAT), self._path.open("ab", buffering=0) as file:
            begins = file.tell()
            try:
                _write_all(file, line)
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, begins)
                raise


def _write_all(file: io.FileIO, line: bytes) -> None:
    written = file.write(line)
    while written < len(line):
        written += file.write(line[written:])


def _progress(store: VaultStore) -> tuple[int, bytes, bool]:
    rows = store.rows("journal")
    return (rows[0][0], bytes(rows[0][1]), bool(rows[0][2])) if rows else (0, _BEGINNING, False)
