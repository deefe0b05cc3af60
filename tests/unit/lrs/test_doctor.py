"""What the doctor searches by: the forms of a value, streams in pieces, rows, packed streams, and what it reads."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import urllib.parse
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lrs.unpacking import BadlyPacked, looks_packed, unpacked
from lrs.value_search import CHUNK_BYTES, RowSearch, StreamSearch, ValueSearch, expected_by_chance, read_values
from schemas.errors import InvalidInput

ADDRESS = "mailto:ada.lovelace@school.example"
BARE = "ada.lovelace@school.example"
NAME = "Zoë d’Ångström/7"


def forms_in(content: bytes, *values: str) -> set[str]:
    search = ValueSearch(read_values("\n".join(values or (ADDRESS, NAME)).encode()))
    return {one.form for match in search(content) for one in match.sought}


def packed_in_base64(alignment: int, encode=base64.b64encode) -> bytes:
    return encode(b"." * alignment + BARE.encode() + b"and what follows")


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("as it is", ADDRESS.encode()),
        ("as it is", BARE.encode()),
        ("as it is", BARE.title().encode()),
        ("as it is", NAME.encode()),
        ("as it is", NAME.upper().encode()),
        ("as it is", "ZoE\u0308 d’A\u030angstro\u0308m/7".encode()),
        ("base64", packed_in_base64(0)),
        ("base64", packed_in_base64(1)),
        ("base64", packed_in_base64(2)),
        ("base64", base64.b64encode(NAME.encode())),
        ("base64", base64.b64encode(BARE.upper().encode())),
        ("base64url", base64.urlsafe_b64encode("Ångström Ÿþÿ?".encode())),
        ("hex", BARE.encode().hex().encode()),
        ("hex", BARE.encode().hex().upper().encode()),
        ("URL-encoded", urllib.parse.quote(ADDRESS, safe="").encode()),
        ("URL-encoded", urllib.parse.quote_plus(NAME).encode()),
        ("URL-encoded", "".join([f"%{one:02X}" for one in BARE.encode()]).encode()),
        ("JSON-escaped", json.dumps(NAME).encode()),
        ("JSON-escaped", json.dumps(NAME).replace("/", "\\/").encode()),
        ("JSON-escaped", "".join([f"\\u{ord(one):04X}" for one in BARE]).encode()),
        ("UTF-16 little-endian", BARE.encode("utf-16-le")),
        ("UTF-16 big-endian", NAME.upper().encode("utf-16-be")),
        ("Latin-1", "Ångström Ÿ".replace(" Ÿ", "").encode("latin-1")),
    ],
)
def test_a_value_is_found_in_each_form(form, content):
    values = (ADDRESS, NAME, "Ångström Ÿþÿ?", "Ångström")
    assert form in forms_in(b"before" + content + b"behind", *values)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("given_as", [ADDRESS, BARE])
@pytest.mark.parametrize("digested", [ADDRESS, BARE])
def test_a_digest_is_found_with_the_scheme_and_without(algorithm, given_as, digested):
    digest = hashlib.new(algorithm, digested.encode()).digest()
    name = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}[algorithm]
    assert name in forms_in(b"\0" + digest + b"\0", given_as)
    assert f"{name} in hex" in forms_in(digest.hex().encode(), given_as)
    assert f"{name} in hex" in forms_in(digest.hex().upper().encode(), given_as)
    assert f"{name} in base64" in forms_in(base64.b64encode(digest), given_as)


def test_what_is_not_there_is_not_found():
    assert forms_in(os.urandom(1 << 20) + b"ada.lovelace@school.exampl" + hashlib.sha256(b"ada").digest()) == set()


@given(st.integers(0, 60), st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(1, 3))
def test_a_stream_in_pieces_tells_as_often_as_the_whole(before, cuts, times):
    content = (b"x" * before + BARE.upper().encode()) * times + b"tail"
    told = []
    stream = StreamSearch(ValueSearch(read_values(BARE.encode())), lambda sought: told.append(sought[0].form))
    at = turn = 0
    while at < len(content):
        size = cuts[turn % len(cuts)]
        stream.feed(content[at : at + size])
        at, turn = at + size, turn + 1
    assert told == ["as it is"] * times


def test_a_value_across_the_border_of_a_chunk_is_found_once():
    for split in range(1, len(BARE)):
        told = []
        stream = StreamSearch(ValueSearch(read_values(BARE.encode())), told.append)
        whole = os.urandom(CHUNK_BYTES - split) + BARE.encode() + os.urandom(1000)
        stream.feed(whole[:CHUNK_BYTES])
        stream.feed(whole[CHUNK_BYTES:])
        assert len(told) == 1, split


def test_rows_tell_the_column_and_nothing_that_two_values_make_together():
    told = []
    rows = RowSearch(ValueSearch(read_values(b"lovelace\nada.lovelace")), 3, lambda at, one: told.append((at, one)))
    rows.add([b"ada.", b"lovelace", None])
    rows.add([1, b"", b"the LOVELACE of it"])
    rows.flush()
    rows.add([b"lovelace", b"", b""])
    rows.flush()
    assert [(at, [one.line for one in found]) for at, found in told] == [(1, [1]), (2, [1]), (0, [1])]


def zlib_(content: bytes) -> bytes:
    return zlib.compress(content)


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize("pack", [gzip.compress, zlib_, zstd])
def test_packed_streams_are_unpacked_to_their_end(pack):
    content = bytes(5 << 20) + os.urandom(3 << 20) + b"the end"
    packed = pack(content)
    assert looks_packed(packed[:16])
    assert b"".join(unpacked(io.BytesIO(packed), packed[:16])) == content
    if pack is not zlib_:  # of these there may be several behind one another
        twice = packed + pack(b"again")
        assert b"".join(unpacked(io.BytesIO(twice), twice[:16])) == content + b"again"
    came: list[bytes] = []
    with pytest.raises(BadlyPacked):
        came.extend(unpacked(io.BytesIO(packed[:-100_000]), packed[:16]))
    assert sum(map(len, came)) > 5 << 20


def test_values_are_read_one_a_line():
    values = read_values("\ufeffmailto:ada@school.example\r\n\n  Ada Lovelace \nZoë!\n".encode())
    assert [(one.line, one.text) for one in values] == [
        (1, "mailto:ada@school.example"),
        (3, "Ada Lovelace"),
        (4, "Zoë!"),
    ]
    assert "ada" not in repr(values)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"Ada Lovelace\nAda", "line 2 is shorter than 4 characters"),
        (b"mailto:a@b", "line 1 is shorter"),
        (b"good enough\n\xff\xfe\xfd\xfc", "line 2 is not UTF-8"),
        (b"x" * 4001, "line 1 is longer than 4,000"),
        (b"abcd\n" * 1001, "more than 1,000 values"),
    ],
)
def test_a_value_that_cannot_be_looked_for_is_refused_by_its_line(content, rule):
    with pytest.raises(InvalidInput) as refused:
        read_values(content)
    assert rule in refused.value.detail
    assert "Ada" not in refused.value.detail


def test_chance_is_told_for_short_values_alone():
    assert expected_by_chance(28, 1 << 30) == 4
    assert expected_by_chance(8 * 20, 1 << 40) < 1e-30
