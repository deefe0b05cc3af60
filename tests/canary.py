"""Canaries: values that occur nowhere else, sent in every place where a person can stand, and looked for on every disk.

A *canary* is a value with the name of the position it was sent in. `Canary` makes them and knows every *form* in which
one might lie somewhere: as it is, in other letter cases, in base64 (at each of its three alignments, in both
alphabets), in hexadecimal, percent-encoded, JSON-escaped, in UTF-16, and as a plain digest, cut off or whole. A `Hit`
is a form of a canary, found. Bytes that look like gzip or zlib are unpacked and searched too.

The search: the first eight bytes of each form are a number; so is each run of eight bytes of a file, at eight
alignments. Whether the two sets of numbers meet is one pass over the file, however many forms there are, and only where
they meet are the forms themselves compared.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import secrets
import sqlite3
import string
import urllib.parse
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

WORD_CHARACTERS = 16
WINDOW_BYTES = 8
PIECE_BYTES = 8 << 10
UNPACKED_BYTES_MAX = 8 << 20
UNPACKED_DEPTH_MAX = 2
DIGESTS = ("md5", "sha1", "sha256", "sha512")
_LETTERS = string.ascii_lowercase + string.digits
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Hit(NamedTuple):
    """A canary that was found: which, in which form, and where."""

    position: str
    form: str
    where: str


@dataclass
class Canary:
    """Makes canaries and finds them. Every value it gives is new, and is remembered under its position's name."""

    values: dict[str, str] = field(default_factory=dict)
    hashed: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    # ── making ────────────────────────────────────────────────────────────────────────────────────────────────────

    def word(self, position: str, length: int = WORD_CHARACTERS) -> str:
        """A word of letters and digits that begins with a letter."""
        first = secrets.choice(string.ascii_lowercase)
        return self.add(position, first + "".join(secrets.choice(_LETTERS) for _ in range(length - 1)))

    def mbox(self, position: str) -> str:
        word = self.word(position)
        value = f"mailto:{word}@school.example"
        self.also_hashed(position, value, value.removeprefix("mailto:"), f"mbox\0{value}", f"mbox{value}")
        return value

    def sha1sum(self, position: str) -> str:
        return self.add(position, secrets.token_hex(20))

    def iri(self, position: str, kind: str = "things") -> str:
        value = f"https://school.example/{kind}/{self.word(position)}"
        self.also_hashed(position, value)
        return value

    def account(self, position: str) -> dict[str, str]:
        home_page, name = self.iri(f"{position}, account homePage"), self.word(f"{position}, account name")
        wholes = [f"{home_page}{between}{name}" for between in ("", "\0", "|", "\n", " ", "/", ":")]
        self.also_hashed(f"{position}, account name", *wholes, f"{name}@{home_page}", f"account\0{wholes[1]}")
        return {"homePage": home_page, "name": name}

    def uuid(self, position: str) -> str:
        value = str(uuid.uuid4())
        self.add(position, value)
        self.also_hashed(position, uuid.UUID(value).bytes)
        return value

    def number(self, position: str) -> float:
        value = secrets.randbelow(10**9) + 10**9 + 0.25
        self.add(position, repr(value))
        return value

    def text(self, position: str) -> str:
        """Words as a person writes them, with letters beyond ASCII around the canary."""
        value = f"Zoë “{self.word(position)}” Ångström"
        self.also_hashed(position, value)
        return value

    def bytes(self, position: str, length: int = 200) -> bytes:
        """Content of a document or an attachment: the canary, then anything at all."""
        value = self.word(position).encode() + secrets.token_bytes(max(0, length - WORD_CHARACTERS))
        self.also_hashed(position, value)
        return value

    def add(self, position: str, value: str) -> str:
        """Take a value that was made elsewhere (the key of a credential, say)."""
        assert position not in self.values, f"two canaries are called {position!r}"
        assert len(value) >= WINDOW_BYTES
        self.values[position] = value
        self.also_hashed(position, value)
        return value

    def also_hashed(self, position: str, *wholes: str | bytes) -> None:
        """Look for digests of these, which hold the canary, as well."""
        self.hashed[position] += [one.encode() if isinstance(one, str) else one for one in wholes]

    # ── finding ───────────────────────────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def _net(self) -> _Net:
        return _Net(self._forms())

    def _forms(self) -> Iterator[tuple[bytes, tuple[str, str]]]:
        for position, value in self.values.items():
            for name, form in forms_of(value):
                yield form, (position, name)
            for whole in self.hashed[position]:
                for name, form in digests_of(whole):
                    yield form, (position, name)

    def find(self, content: bytes, where: str = "") -> set[Hit]:
        """Every canary in some bytes, packed ones included. Call it when all canaries have been made."""
        assert len(self._net.made_of) == len(self.values) or not self.values, "a canary was made after the first search"
        return {Hit(*found, where) for found in self._found(content, 0)}

    def _found(self, content: bytes, depth: int) -> set[tuple[str, str]]:
        found = self._net.found(content)
        if depth < UNPACKED_DEPTH_MAX:
            for start in _PACKED.finditer(content):
                if inside := unpacked(memoryview(content)[start.start() :]):
                    found |= {(position, f"packed, {form}") for position, form in self._found(inside, depth + 1)}
        return found

    def scan(self, *roots: Path) -> set[Hit]:
        """Every canary in the names and the contents of all files under some folders."""
        hits: set[Hit] = set()
        for path in files_under(*roots):
            hits |= self.find(os.fsencode(path.name), f"the name of {path}")
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # a file of a running server that has just gone
            hits |= self.find(content, str(path))
        return hits

    def scan_open_files(self, pids: Iterable[int]) -> set[Hit]:
        """Every canary in files that processes hold open although they have been deleted (Linux)."""
        hits: set[Hit] = set()
        for pid in pids:
            for number, name in open_files(pid):
                if name.endswith(" (deleted)"):
                    hits |= self.find(Path(f"/proc/{pid}/fd/{number}").read_bytes(), name)
        return hits

    def scan_sqlite(self, *paths: Path) -> set[Hit]:
        """Every canary in the rows of SQLite files: as wholes, wherever page boundaries and free pages are."""
        hits: set[Hit] = set()
        for path in paths:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows = connection.execute(f'SELECT * FROM "{table}"')
                    for number, row in enumerate(rows):
                        hits |= self.find(b"\xff".join(map(_as_bytes, row)), f"{path}, {table}, row {number}")
            finally:
                connection.close()
        return hits

    def scan_postgres(self, *urls: str) -> set[Hit]:
        """Every canary in the rows of PostgreSQL databases: as wholes, whatever TOAST has packed."""
        hits: set[Hit] = set()
        for url in urls:
            with psycopg.connect(url) as connection:
                tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
                assert tables
                for (table,) in tables:
                    copying = sql.SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(sql.Identifier(table))
                    with connection.cursor() as cursor, cursor.copy(copying) as copied:
                        content = b"".join(bytes(piece) for piece in copied)
                    hits |= self.find(content, f"{table} in PostgreSQL")
        return hits


class _Net:
    """All forms, held so that one pass over some bytes finds any of them.

    What each piece was found to hold is remembered by the piece's digest: files are searched again and again, and most
    of a database server's folder is the same in each of its databases.
    """

    def __init__(self, forms: Iterable[tuple[bytes, tuple[str, str]]]) -> None:
        self.made_of: set[str] = set()
        self._by_window: dict[int, list[tuple[bytes, tuple[str, str]]]] = defaultdict(list)
        for form, name in forms:
            self.made_of.add(name[0])
            self._by_window[_number(form[:WINDOW_BYTES])].append((form, name))
        self._windows = frozenset(self._by_window)
        self._known: dict[bytes, frozenset[int]] = {}

    def found(self, content: bytes) -> set[tuple[str, str]]:
        met: set[int] = set()
        for start in range(0, len(content), PIECE_BYTES):
            piece = content[start : start + PIECE_BYTES + WINDOW_BYTES - 1]
            digest = hashlib.blake2b(piece, digest_size=16).digest()
            if digest not in self._known:
                self._known[digest] = self._windows_of(memoryview(piece))
            met |= self._known[digest]
        return {name for one in met for form, name in self._by_window[one] if form in content}

    def _windows_of(self, piece: memoryview) -> frozenset[int]:
        met: set[int] = set()
        for alignment in range(min(WINDOW_BYTES, len(piece))):
            end = alignment + (len(piece) - alignment) // WINDOW_BYTES * WINDOW_BYTES
            numbers = piece[alignment:end].cast("Q")
            if not self._windows.isdisjoint(numbers):
                met |= self._windows.intersection(numbers)
        return frozenset(met)


def _number(window: bytes) -> int:
    return memoryview(window).cast("Q")[0]


# ── forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def forms_of(value: str) -> Iterator[tuple[str, bytes]]:
    """Every form in which a value could be written down, by name, each at least eight bytes long."""
    for name, written in {"as it is": value, "lower": value.lower(), "upper": value.upper()}.items():
        if name == "as it is" or written != value:
            yield from _spelt(name, written.encode())
    yield "percent-encoded where needed", urllib.parse.quote(value, safe="").encode()
    yield "JSON-escaped where needed", json.dumps(value)[1:-1].encode()
    yield "JSON-escaped", "".join([f"\\u{ord(one):04x}" for one in value]).encode()
    yield "JSON-escaped upper", "".join([f"\\u{ord(one):04X}" for one in value]).encode()
    yield "UTF-16", value.encode("utf-16-le")
    yield "UTF-16, big-endian", value.encode("utf-16-be")
    yield "UTF-32", value.encode("utf-32-le")
    for name, whole in _as_binary(value):
        yield from _spelt(name, whole)


def _as_binary(value: str) -> Iterator[tuple[str, bytes]]:
    """The bytes that a value stands for, where it is a UUID or written in hexadecimal."""
    try:
        compact = uuid.UUID(value)
    except ValueError:
        if re.fullmatch(r"([0-9a-f]{2}){8,}", value):
            yield "as bytes", bytes.fromhex(value)
    else:
        yield "as 16 bytes", compact.bytes
        yield "as 16 bytes, little-endian", compact.bytes_le


def _spelt(name: str, whole: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, whole
    yield f"{name}, hex", whole.hex().encode()
    yield f"{name}, upper hex", whole.hex().upper().encode()
    yield from ((f"{name}, {kind}", form) for kind, form in in_base64(whole))
    yield f"{name}, percent-encoded", "".join([f"%{one:02X}" for one in whole]).encode()
    yield f"{name}, percent-encoded lower", "".join([f"%{one:02x}" for one in whole]).encode()


def in_base64(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """What base64 of any bytes around these must hold: without the characters that neighbours have a part in."""
    for alignment in range(3):
        bits = 8 * (alignment + len(whole))
        first, last = -(-8 * alignment // 6), bits // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            yield f"{name} at {alignment}", encode(bytes(alignment) + whole)[first:last]


def digests_of(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """The plain digests of some bytes, whole or cut off to eight bytes, as one would keep them in a file or a table."""
    spellings = {"": whole, "lower ": whole.lower()} if whole.lower() != whole else {"": whole}
    for spelling, spelt in spellings.items():
        for algorithm in DIGESTS:
            name, digest = f"{algorithm} of {spelling}it", hashlib.new(algorithm, spelt, usedforsecurity=False).digest()
            for part, ends in (("first", digest[:WINDOW_BYTES]), ("last", digest[-WINDOW_BYTES:])):
                yield f"{name}, {part} bytes", ends
                yield f"{name}, {part} bytes as a number", ends[::-1]
                yield f"{name}, {part} bytes in hex", ends.hex().encode()
                yield f"{name}, {part} bytes in upper hex", ends.hex().upper().encode()
            yield from ((f"{name}, {kind}", form) for kind, form in in_base64(digest))


def unpacked(content: bytes) -> bytes:
    """What gzip or zlib makes of some bytes, as far as they go; empty when they are neither."""
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(content, UNPACKED_BYTES_MAX)
    except zlib.error:
        return b""


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int) and value.bit_length() > 32:
        return value.to_bytes(9, signed=True)
    return str(value).encode()


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def files_under(*roots: Path) -> Iterator[Path]:
    """Every ordinary file under some folders (or at their paths), sockets and links left out."""
    for root in roots:
        found = [root] if root.is_file() else sorted(root.rglob("*"))
        yield from (path for path in found if path.is_file() and not path.is_symlink())


def open_files(pid: int) -> Iterator[tuple[str, str]]:
    """(descriptor, name) of the ordinary files that a process holds open (Linux)."""
    folder = Path(f"/proc/{pid}/fd")
    for link in list(folder.iterdir()):
        try:
            name = os.readlink(link)  # noqa: PTH115  a deleted file's name is no path
        except FileNotFoundError:
            continue
        if name.startswith("/") and not name.startswith("/dev/"):
            yield link.name, name


def summary(hits: Iterable[Hit]) -> Mapping[str, list[str]]:
    """Hits for a person: each place with what was found there."""
    by_place: dict[str, list[str]] = defaultdict(list)
    for hit in sorted(hits):
        by_place[hit.where].append(f"{hit.position}: {hit.form}")
    return {place: found[:20] for place, found in sorted(by_place.items())}
