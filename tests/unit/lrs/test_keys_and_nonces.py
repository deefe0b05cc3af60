"""What sealing rests on: keys of full size from the system's generator, and nonces that never repeat (T-CRYPTO)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lrs.errors import Damaged
from lrs.sealing import open_part, seal_part
from schemas.envelope import KEY_BYTES, NONCE_BYTES, Algorithm, Header, Part, Purpose, parse_part

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("lrs", "consumers", "projections", "schemas")
PLAY = "lrs/demo"
"""Plays a term with made-up people; has no keys."""
NONCES = 1_000_000
THREADS = 4
HEADER = Header(Algorithm.AES_256_GCM, Purpose.LEARNING, 2026, Part.BODY, b"o" * 16, 1, 1)


class Notes:
    """Stands where a cipher stands, and notes the nonces that it is given."""

    def __init__(self) -> None:
        self.nonces: list[bytes] = []

    def encrypt(self, nonce: bytes, _plain: bytes, _bound: bytes) -> bytes:
        self.nonces.append(nonce)
        return b""


def test_no_nonce_repeats_in_a_million_however_many_threads_seal() -> None:
    """T-CRYPTO-2."""

    def seal() -> list[bytes]:
        notes = Notes()
        for _ in range(NONCES // THREADS):
            seal_part(notes, HEADER, b"", b"")  # type: ignore[arg-type]
        return notes.nonces

    with ThreadPoolExecutor(THREADS) as threads:
        drawn = [nonce for found in [threads.submit(seal) for _ in range(THREADS)] for nonce in found.result()]
    assert len(drawn) == len(set(drawn)) == NONCES
    assert {len(one) for one in drawn} == {NONCE_BYTES}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_no_program_of_ours_knows_another_source_of_chance_than_the_systems() -> None:
    """T-CRYPTO-1: where keys and nonces are made there is os.urandom and nothing that could be guessed."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    mine = [path for path in files if not path.is_relative_to(ROOT / PLAY)]
    assert len(mine) > 100
    guessable = {path.name for path in mine if {"random", "numpy.random"} & set(imported(path))}
    assert guessable == set()


def test_nothing_is_sealed_by_anything_but_aes_of_256_bits() -> None:
    """T-CRYPTO-1: one cipher in all our programs, and keys of its full size."""
    names = {"ChaCha20Poly1305", "AESCCM", "AESSIV", "AESOCB3", "AESGCMSIV", "Cipher", "Fernet"}
    used = {
        (path.name, node.id)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id in names
    }
    assert used == set()
    assert KEY_BYTES * 8 == 256


@pytest.mark.parametrize("at", range(2, 6))
def test_a_part_does_not_open_in_another_installation(at: int) -> None:
    """T-CRYPTO-3, for the one field of a header that has one value; the others are in test_sealing.py."""
    cipher = AESGCM(bytes(KEY_BYTES))
    sealed = seal_part(cipher, HEADER, b"event", b"plain")
    part = parse_part(sealed)
    moved = part.header_bytes[:at] + bytes([part.header_bytes[at] ^ 1]) + part.header_bytes[at + 1 :]
    with pytest.raises(Damaged):
        open_part(cipher, part._replace(header_bytes=moved), b"event")
