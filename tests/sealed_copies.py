"""Everything that is sealed in an installation, copied; and every key there is, tried on it (privacy.md, T-ERASE-3).

A `Box` is a ciphertext with what it is bound to. `Copies` takes them from the log, documents, views, attachments, the
segment files of Kafka and a backup. `keys_left` gives every key that vaults and roots give together, whosever it is;
`open_all` tries each key on each box, and goes on with the keys that lie in what it has opened.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.attachments import SEALED_CHUNK_BYTES
from lrs.errors import Damaged, Misconfigured
from lrs.key_providers import FileKeys
from projections.progress import Progress
from projections.view_store import binding
from schemas.envelope import (
    HEADER_BYTES,
    KEY_BYTES,
    NOBODY,
    NONCE_BYTES,
    Algorithm,
    Part,
    Purpose,
    SealedPart,
    parse_part,
    split_parts,
    unpad,
)
from tests.canary import files_under
from tests.databases import Databases
from tests.services import Griffel, Postgres

Rows = Callable[[str], list[tuple[Any, ...]]]
"""Runs a query."""

_HEADER = re.compile(rb"\x47\x01\x00\x00\x00\x01.{24}", re.DOTALL)
_KEY_IN_TEXT = re.compile(rb'"key":"([A-Za-z0-9+/]{43}=)"')
_MORE, _LAST = b"\0", b"\1"


class Box(NamedTuple):
    """A ciphertext: what it is bound to, its nonce, itself. share_of: whose boxes together are another one's key."""

    bound: bytes
    nonce: bytes
    text: bytes
    kind: int
    record: bytes = b""


@dataclass
class Copies:
    """Boxes by the places they were copied from; holders: the people without whom a box must not open.

    What an activity's key has sealed ends with that activity, which is one of those who are gone once nobody names it.
    `every` says of a box with several holders that each of them is needed, not just one.
    """

    places: dict[Box, set[str]] = field(default_factory=lambda: defaultdict(set))
    holders: dict[Box, frozenset[bytes]] = field(default_factory=dict)
    every: set[Box] = field(default_factory=set)

    def add_record(self, place: str, record: bytes, bound: bytes) -> None:
        """Add the parts of an event, a document or a view's row."""
        parts = [part for part in split_parts(record) if part.header.algorithm != Algorithm.CLEAR]
        sharing: dict[int, frozenset[bytes]] = {
            kind: frozenset(part.header.owner for part in parts if part.header.part == kind)
            for kind in (Part.WRAP, Part.SHARE)
        }
        for part in parts:
            self.add_part(place, part, bound, sharing)

    def add_part(self, place: str, part: SealedPart, bound: bytes, sharing: dict[int, frozenset[bytes]]) -> None:
        header = part.header
        box = Box(part.header_bytes + bound, part.nonce, part.box, header.part, bound)
        self.places[box].add(place)
        if header.part == Part.JOINT:
            self.holders[box] = sharing[Part.SHARE]
            self.every.add(box)
        elif header.owner == NOBODY:
            self.holders[box] = sharing[Part.WRAP]
        elif header.purpose <= Purpose.ACTIVITY:
            self.holders[box] = frozenset({header.owner})

    def add_log(self, place: str, log: Rows, *, views: Rows | None = None) -> None:
        """Add what lies in a log's database, and in views."""
        for originator, state in log("SELECT originator_id, state FROM events"):
            self.add_record(f"{place}: log", bytes(state), raw(originator))
        for key, sealed in log("SELECT document_key, sealed FROM document"):
            self.add_record(f"{place}: documents", bytes(sealed), raw(key))
        if views is not None:
            for content, bound in view_rows(views):
                self.add_part(f"{place}: views", parse_part(content), bound, {})

    def add_attachments(self, place: str, blobs: Iterable[tuple[bytes, list[bytes]]]) -> None:
        """Add attachments: their ids with their chunks. Whose they are is known once they open."""
        for blob_id, chunks in blobs:
            for number, chunk in enumerate(chunks):
                mark = _LAST if number == len(chunks) - 1 else _MORE
                self.places[Box(blob_id + mark, number.to_bytes(NONCE_BYTES), chunk, 0)].add(f"{place}: attachments")

    def add_segments(self, folders: Iterable[Path]) -> None:
        """Add what lies in Kafka's segment files, as it lies there: bit for bit what is in the log."""
        known = {box.bound[:HEADER_BYTES] + box.nonce: box for box in self.places}
        for path in files_under(*folders):
            content = path.read_bytes() if path.suffix == ".log" else b""
            for found in _HEADER.finditer(content):
                at = found.start()
                box = known.get(content[at : at + HEADER_BYTES + NONCE_BYTES])
                begins = at + HEADER_BYTES + NONCE_BYTES
                if box is not None and content[begins : begins + len(box.text)] == box.text:
                    self.places[box].add("Kafka's segments")

    def ended_with(self, gone: set[bytes]) -> set[Box]:
        """Give the boxes that must not open once these people are gone."""
        return {
            box
            for box, holders in self.holders.items()
            if (holders & gone if box in self.every else holders and holders <= gone)
        }

    def trace(self, opened: dict[Box, Box | None]) -> None:
        """Have each box whose key lay in another one end with that one: attachments, with their statements."""
        for box, source in opened.items():
            if source is not None and box not in self.holders and source in self.holders:
                self.holders[box] = self.holders[source]
                if source in self.every:
                    self.every.add(box)

    def places_of(self, boxes: Iterable[Box]) -> set[str]:
        return {place for box in boxes for place in self.places[box]}


def raw(value: Any) -> bytes:
    """Bytes as SQLite gives them; PostgreSQL has a type of its own for ids."""
    return value.bytes if isinstance(value, uuid.UUID) else bytes(value)


def view_rows(views: Rows) -> Iterator[tuple[bytes, bytes]]:
    """Give (sealed content, what it is bound to) of every row of every generation of every view."""
    tables = {table.name: table for table in Progress().tables}
    for name, generation, kept in views("SELECT name, generation, tables FROM view"):
        for table in [tables[one.split("+")[0]] for one in kept.split()]:
            keys = ", ".join(table.key)
            for content, *key in views(f"SELECT sealed, {keys} FROM view_{name}_{generation}_{table.name}"):
                if content is not None:
                    yield bytes(content), binding(name, table, tuple(raw(one) for one in key))


def blobs_of_table(log: Rows) -> list[tuple[bytes, list[bytes]]]:
    found: dict[bytes, list[bytes]] = defaultdict(list)
    for blob_id, chunk in log("SELECT blob_id, chunk FROM blob_chunk ORDER BY blob_id, number"):
        found[bytes(blob_id)].append(bytes(chunk))
    return list(found.items())


def blobs_of_folder(folder: Path) -> list[tuple[bytes, list[bytes]]]:
    found = []
    for path in files_under(folder):
        content = path.read_bytes()
        chunks = [content[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(content), SEALED_CHUNK_BYTES)]
        found.append((bytes.fromhex(path.name), chunks))
    return found


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def roots_of(server: Griffel) -> Path:
    """The folder of an installation's root keys."""
    return server.data_dir / "keys" if server.mode == "embedded" else Path(server.environment["GRIFFEL_KEYS_DIR"])


def keys_left(roots: Path, *vaults: Rows) -> set[bytes]:
    """Give every key that these vaults hold and that opens with the roots that are there."""
    found: set[bytes] = set()
    for vault in vaults:
        for epoch, wrapped in vault("SELECT epoch, wrapped FROM epoch"):
            try:
                epoch_key = bytes(FileKeys(roots).unwrap(epoch, bytes(wrapped)))
            except (Misconfigured, Damaged):
                continue
            cipher = AESGCM(epoch_key)
            found.add(epoch_key)
            for name, sealed in vault("SELECT name, wrapped FROM secret"):
                found |= _unwrapped(cipher, b"secret " + name.encode(), bytes(sealed))
            keys = vault("SELECT owner, purpose, year, version, wrapped FROM key WHERE wrapped IS NOT NULL")
            for owner, purpose, year, version, sealed in keys:
                bound = b"key %s %d %d %d" % (bytes(owner), purpose, year, version)
                found |= _unwrapped(cipher, bound, bytes(sealed))
    return found


def _unwrapped(cipher: AESGCM, bound: bytes, sealed: bytes) -> set[bytes]:
    try:
        plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except InvalidTag:
        return set()
    return {plain} if len(plain) == KEY_BYTES else set()


def open_all(boxes: Iterable[Box], keys: Iterable[bytes]) -> dict[Box, Box | None]:
    """Try every key on every box, and whatever keys come to light; give what opened, with the box its key lay in."""
    opened: dict[Box, Box | None] = {}
    closed = set(boxes)
    source_of: dict[bytes, Box | None] = dict.fromkeys(keys)
    fresh = set(source_of)
    shares: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
    while fresh:
        came: dict[bytes, Box | None] = {}
        for key in fresh:
            cipher = AESGCM(key)
            for box in list(closed):
                try:
                    plain = unpad(cipher.decrypt(box.nonce, box.text, box.bound))
                except InvalidTag:
                    continue
                closed.discard(box)
                opened[box] = source_of[key]
                if box.kind == Part.SHARE:
                    shares[box.record, box.kind].append(plain)
                    came[_sum(shares[box.record, box.kind])] = None
                elif box.kind in (Part.WRAP, Part.TOGETHER):
                    shares[box.record, box.kind].append(plain)
                    for half in shares[box.record, Part.WRAP][:1]:
                        came |= dict.fromkeys(_sum([half, other]) for other in shares[box.record, Part.TOGETHER])
                came |= {base64.b64decode(one): box for one in _KEY_IN_TEXT.findall(plain)}
        fresh = came.keys() - source_of.keys()
        source_of |= {one: came[one] for one in fresh}
    return opened


def _sum(shares: list[bytes]) -> bytes:
    total = 0
    for share in shares:
        total ^= int.from_bytes(share)
    return total.to_bytes(KEY_BYTES)


# ── backups ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(server: Griffel) -> tuple[Rows, Rows, Rows]:
    """Give what runs queries on an installation's log, vault and views."""
    databases = Databases(server)
    return databases.log, databases.vault, databases.views


def rows_of_backup(server: Griffel, backup: Path, postgres: Postgres | None) -> tuple[Rows, Rows]:
    """Give what runs queries on the log and the vault in a backup; a cluster's is put into databases for it."""
    copied = Griffel(server.folder / "of-backup", server.mode)
    if postgres is None:
        copied.data_dir = backup
    else:
        copied.database_url, copied.keys_url = (
            _restored(postgres, name, backup / name / f"{name}.dump") for name in ("log", "vault")
        )
    databases = Databases(copied)
    return databases.log, databases.vault


def _restored(postgres: Postgres, name: str, dump: Path) -> str:
    url = postgres.create_database(f"griffel_restored_{name}_{secrets.token_hex(4)}")
    command = ["pg_restore", "--no-owner", "--no-privileges", f"--dbname={url}", str(dump)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert said.returncode == 0, said.stderr
    return url
