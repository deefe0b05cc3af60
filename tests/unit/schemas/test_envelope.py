"""A sealed record as bytes: parts in order, padded, and nothing but MalformedRecord for what is no record."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import (
    HEADER_BYTES,
    MAGIC,
    NONCE_BYTES,
    PADDING_BYTES,
    Algorithm,
    Header,
    MalformedRecord,
    Part,
    Purpose,
    SealedPart,
    clear_part,
    join_parts,
    pad,
    parse_part,
    split_parts,
    unpad,
)

HEADERS = st.builds(
    Header,
    algorithm=st.sampled_from(Algorithm).map(int),
    purpose=st.sampled_from(Purpose).map(int),
    year=st.integers(0, 2**16 - 1),
    part=st.sampled_from(Part).map(int),
    owner=st.binary(min_size=16, max_size=16),
    key_version=st.integers(0, 2**16 - 1),
    schema=st.integers(0, 2**16 - 1),
)
NONCES = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


@given(st.binary(max_size=400))
def test_padding_is_undone_and_says_only_steps_of_128_bytes(plain: bytes) -> None:
    padded = pad(plain)
    assert unpad(padded) == plain
    assert len(padded) % PADDING_BYTES == 0
    assert 0 <= len(padded) - len(plain) - 4 < PADDING_BYTES


@pytest.mark.parametrize(("size", "padded"), [(0, 128), (124, 128), (125, 256), (252, 256), (253, 384)])
def test_padded_lengths(size: int, padded: int) -> None:
    assert len(pad(bytes(size))) == padded


@given(st.binary(max_size=200))
def test_unpadding_garbage_is_malformed_or_gives_what_its_length_says(garbage: bytes) -> None:
    try:
        plain = unpad(garbage)
    except MalformedRecord:
        return
    assert garbage[:4] == struct.pack(">I", len(plain))
    assert garbage[4:].startswith(plain)


@given(HEADERS, NONCES, st.binary(max_size=200))
def test_a_part_is_read_as_it_was_written(header: Header, nonce: bytes, box: bytes) -> None:
    nonce = nonce if header.algorithm else b""
    assert parse_part(header.pack() + nonce + box) == SealedPart(header, header.pack(), nonce, box)


@given(st.lists(st.tuples(HEADERS, NONCES, st.binary(max_size=60)), max_size=5))
def test_parts_come_back_in_order(parts: list[tuple[Header, bytes, bytes]]) -> None:
    written = [header.pack() + nonce + box for header, nonce, box in parts]
    assert list(split_parts(join_parts(written))) == [parse_part(part) for part in written]


def test_every_field_of_the_header_stands_in_its_bytes() -> None:
    header = Header(1, 2, 2026, 3, b"o" * 16, 4, 5)
    packed = {header.pack()}
    for field, other in {
        "algorithm": 0,
        "purpose": 1,
        "year": 2025,
        "part": 1,
        "owner": b"p" * 16,
        "key_version": 1,
        "schema": 1,
    }.items():
        packed.add(header._replace(**{field: other}).pack())
    assert len(packed) == 1 + len(Header._fields)
    assert {len(one) for one in packed} == {HEADER_BYTES}


def test_a_clear_part_carries_its_content_as_it_is() -> None:
    [part] = split_parts(join_parts([clear_part(Part.VOIDED, b"o" * 16, b"content")]))
    assert (part.header.algorithm, part.header.part, part.header.owner) == (Algorithm.CLEAR, Part.VOIDED, b"o" * 16)
    assert (part.nonce, part.box) == (b"", b"content")


@given(st.binary(max_size=300))
def test_garbage_is_malformed(garbage: bytes) -> None:
    for record in (garbage, join_parts([garbage]), struct.pack(">IB", len(garbage) + 1, MAGIC) + garbage):
        try:
            parts = list(split_parts(record))
        except MalformedRecord:
            continue
        assert all(part.header_bytes[0] == MAGIC for part in parts)


@given(st.data())
def test_a_record_that_was_cut_is_malformed_or_ends_between_parts(data: st.DataObject) -> None:
    parts = [clear_part(Part.BODY, bytes(16), content) for content in (b"", b"a" * 20, b"b" * 300)]
    record = join_parts(parts)
    ends = {len(join_parts(parts[:count])) for count in range(len(parts) + 1)}
    cut = data.draw(st.integers(0, len(record)))
    if cut in ends:
        assert len(list(split_parts(record[:cut]))) < len(parts) or cut == len(record)
    else:
        with pytest.raises(MalformedRecord):
            list(split_parts(record[:cut]))


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes([MAGIC]) * (HEADER_BYTES - 1), id="shorter than a header"),
        pytest.param(b"\0" + clear_part(Part.BODY, bytes(16), b"")[1:], id="another magic"),
        pytest.param(struct.pack(">BBI", MAGIC, 1, 2) + bytes(HEADER_BYTES), id="another tenant"),
        pytest.param(Header(1, 1, 2026, 1, bytes(16), 1, 1).pack() + bytes(NONCE_BYTES - 1), id="a short nonce"),
    ],
)
def test_a_part_that_is_none_of_ours_is_malformed(part: bytes) -> None:
    with pytest.raises(MalformedRecord):
        parse_part(part)
    with pytest.raises(MalformedRecord):
        list(split_parts(join_parts([part])))
