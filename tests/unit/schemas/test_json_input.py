"""parse_json: what is read, what is refused, where the fault is."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import InvalidInput, TooLarge
from schemas.json_input import INTEGER_MAX, INTEGER_MIN, JsonLimits, parse_json

from .builders import full
from .timing import seconds_of

LIMITS = JsonLimits(depth_max=8, members_max=6, items_max=10, values_max=40)


def refusal(text: str | bytes, limits: JsonLimits | None = None) -> InvalidInput:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(InvalidInput) as caught:
        parse_json(raw, limits=limits) if limits else parse_json(raw)
    return caught.value


def same(a: Any, b: Any) -> bool:
    """Equal in value and in kind: 1 is not 1.0, and not true."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("1E2", 100.0),
        ("0e-999", 0.0),
        ("-0.000E+999", -0.0),
        ("5e-324", 5e-324),
        (str(INTEGER_MAX), INTEGER_MAX),
        (str(INTEGER_MIN), INTEGER_MIN),
        ("0.12345678901234567890", 0.12345678901234567890),
        ("1" + "0" * 300 + ".0", 1e300),
        ('"\\ud83d\\ude00\\u0000"', "😀\0"),
        ('{"\\u003a": ":", ":": 1}  ', None),
        (' [ true , false , null , "" , { } , [ ] ] ', [True, False, None, "", {}, []]),
        ('{"a": {"b": 0.0, "c": "12345678901234567890"}}', {"a": {"b": 0.0, "c": "12345678901234567890"}}),
    ],
)
def test_json_is_read(text: str, value: Any) -> None:
    if value is None:
        assert refusal(text).pointer == "/:"
    else:
        assert same(parse_json(text.encode()), value)


def test_a_statement_is_read_however_it_is_written() -> None:
    statement = full()
    for text in (
        json.dumps(statement),
        json.dumps(statement, separators=(",", ":")),
        json.dumps(statement, indent=4, ensure_ascii=False),
    ):
        assert same(parse_json(text.encode()), statement)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": 1, "a": 1}', "/a"),
        ('{"a":1,"\\u0061":2}', "/a"),
        ('{"a":1,"a":2,"b":"\\u003a"}', "/a"),
        ('{"a":1,"a":2,"b":"\\u003A"}', "/a"),
        ('{"":{"a":1,"a":2}}', "//a"),
        ('{"a/b":[0,{"c~d":[{"k":1,"k":1}]}]}', "/a~1b/1/c~0d/0/k"),
        ('{"a":{"x":1e-999},"a":2}', "/a"),
        ('[{"b":1,"b":2},{"a":1,"a":2}]', "/0/b"),
        ('{"b":{"x":1,"x":2},"a":{"y":1,"y":2}}', "/b/x"),
        ('{"' + "k" * 500 + '":{"a":1,"a":2}}', ""),
        ('{"a":{"' + "k" * 500 + '":{"a":1,"a":2}}}', "/a"),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_its_place(text: str, pointer: str) -> None:
    assert refusal(text).pointer == pointer


@pytest.mark.parametrize(
    "number",
    [
        "1e-999",
        "-1E-400",
        "0.001e-322",
        "0." + "0" * 400 + "1",
        str(INTEGER_MAX + 1),
        str(INTEGER_MIN - 1),
        "1" + "0" * 40,
        "-" + "1" * 60,
    ],
)
def test_a_number_that_would_become_another_is_refused_at_its_place(number: str) -> None:
    assert refusal(number).pointer == ""
    assert refusal(f'{{"a": [1, {number}]}}').pointer == "/a/1"
    assert refusal(f'{{"a":[1,{number}]}}').pointer == "/a/1"


@pytest.mark.parametrize(
    "number", ["1e999", "-1e309", "1" * 400, "1" * 5_000, "NaN", "Infinity", "-Infinity", "01", "+1"]
)
def test_what_no_float_holds_and_what_is_no_number_is_refused(number: str) -> None:
    refusal(number)
    refusal(f'{{"a": [1, {number}]}}')


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  ",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b"1 2",
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\udfff": 1}',
        b'"\t"',
        b'"\\x41"',
        b"nul",
        b"/* */ 1",
        b"\x0c1",
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    assert "JSON" in refusal(raw).detail


@pytest.mark.parametrize("raw", [b'"\xff"', b'"\xc3("', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'{"a": "\xe9"}'])
def test_what_is_no_utf_8_is_refused(raw: bytes) -> None:
    assert "UTF-8" in refusal(raw).detail


@pytest.mark.parametrize("raw", ["\ufeff{}".encode(), "\ufeff".encode()])
def test_a_byte_order_mark_is_refused(raw: bytes) -> None:
    assert "byte order mark" in refusal(raw).detail


@pytest.mark.parametrize("codec", ["utf-16", "utf-32-le"])
def test_another_encoding_is_refused(codec: str) -> None:
    refusal('{"a": 1}'.encode(codec))


@pytest.mark.parametrize(
    ("text", "limits", "pointer"),
    [
        ("[" * 9 + "]" * 9, LIMITS, "/0" * 8),
        ('{"a":' * 9 + "1" + "}" * 9, LIMITS, "/a" * 8),
        ("[" * 200_000, None, ""),
        ("[" * 200_000 + "]" * 200_000, None, ""),
        ('{"a":[' * 1_000, None, ""),
        ("[" + ",".join(["0"] * 11) + "]", LIMITS, ""),
        ('{"a":[' + ",".join(["0"] * 11) + "]}", LIMITS, "/a"),
        ('[{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}]', LIMITS, "/0"),
        ("[" + ",".join(["[0,0,0,0]"] * 9) + "]", LIMITS, ""),
    ],
)
def test_what_is_beyond_a_limit_is_too_large(text: str, limits: JsonLimits | None, pointer: str) -> None:
    problem = refusal(text, limits)
    assert isinstance(problem, TooLarge)
    assert problem.pointer == pointer


@pytest.mark.parametrize(
    "text",
    [
        "[" * 8 + "]" * 8,
        '"' + "[" * 100 + '"',
        "[" + ",".join(["0"] * 10) + "]",
        '{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}',
        "[" + ",".join(["[0,0,0]"] * 9) + "]",
    ],
)
def test_what_is_just_within_the_limits_is_read(text: str) -> None:
    assert parse_json(text.encode(), limits=LIMITS) == json.loads(text)


def test_a_batch_of_statements_is_within_the_limits() -> None:
    batch = [full("2.0.0")] * 1_000
    assert parse_json(json.dumps(batch).encode()) == batch


def test_limits_deeper_than_can_be_written_again_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="depth_max"):
        JsonLimits(depth_max=251)


def test_a_problem_neither_repeats_nor_carries_the_document() -> None:
    for raw in (
        b'{"a": "canary" "b"}',
        b'{"a": "canary", "a": 1}',
        b'["canary", 1e-999]',
        b'"canary\xff"',
        b"[" * 99 + b"canary",
    ):
        problem = refusal(raw)
        assert "canary" not in problem.detail + problem.pointer + str(problem)
        assert problem.__context__ is None
        assert problem.__cause__ is None


# Against a reference: the standard library, with every rule spelt out


class RefusedByReference(Exception):
    """The reference refuses."""


def by_reference(raw: bytes, limits: JsonLimits) -> Any:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs) or len(pairs) > limits.members_max:
            raise RefusedByReference
        return dict(pairs)

    def integer(text: str) -> int:
        if not INTEGER_MIN <= Decimal(text) <= INTEGER_MAX:
            raise RefusedByReference
        return int(text)

    def decimal(text: str) -> float:
        number = float(text)
        if math.isinf(number) or (number == 0 and Decimal(text) != 0):
            raise RefusedByReference
        return number

    def constant(_: str) -> None:
        raise RefusedByReference

    def measure(value: Any, depth: int) -> int:
        if not isinstance(value, dict | list):
            return 1
        if depth == limits.depth_max or (isinstance(value, list) and len(value) > limits.items_max):
            raise RefusedByReference
        children = value.values() if isinstance(value, dict) else value
        return 1 + sum(measure(child, depth + 1) for child in children)

    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=members, parse_int=integer, parse_float=decimal, parse_constant=constant
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # no lone surrogate
    except (ValueError, RecursionError):
        raise RefusedByReference from None
    if text.startswith("\ufeff") or measure(value, 0) > limits.values_max:
        raise RefusedByReference
    return value


def agrees(raw: bytes, limits: JsonLimits) -> None:
    try:
        expected = by_reference(raw, limits)
    except RefusedByReference:
        refusal(raw, limits)
    else:
        assert same(parse_json(raw, limits=limits), expected)


SPACE = st.sampled_from(["", "", "", " ", "\n", "\t "])
PIECES = [
    "a",
    "b",
    ":",
    ",",
    "{",
    "]",
    "0.0",
    "e-5",
    "\\u003a",
    "\\u0061",
    "\\n",
    '\\"',
    "\\\\",
    "é",
    "😀",
    "\\ud83d\\ude00",
    "\\ud800",
]
STRINGS = st.lists(st.sampled_from(PIECES), max_size=3).map(lambda pieces: '"' + "".join(pieces) + '"')
KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\u003a"', '""', '"{"', '"é"'])
NUMBERS = st.one_of(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,21})\Z"),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(
        ["0.0", "-0.0", "-0", "1.0", "0e5", "0e-999", "1e-999", "0.1e-400", "1e400", "18446744073709551616"]
    ),
)
SCALARS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null", "NaN"]))


def containers(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    item = st.builds("{}{}{}".format, SPACE, children, SPACE)
    member = st.builds("{}{}{}:{}{}".format, SPACE, KEYS, SPACE, SPACE, children)
    arrays = st.lists(item, max_size=12).map(lambda items: "[" + ",".join(items) + "]")
    return arrays | st.lists(member, max_size=8).map(lambda members: "{" + ",".join(members) + "}")


DOCUMENTS = st.builds("{}{}{}".format, SPACE, st.recursive(SCALARS, containers, max_leaves=30), SPACE)


@given(DOCUMENTS)
@example('{"a":1,"b":{"\\u0061":1,"a":2},"c":"\\u003a"}')
@example("[0.0,1e-400]")
def test_documents_are_read_as_the_reference_reads_them(text: str) -> None:
    agrees(text.encode(), LIMITS)
    agrees(text.encode(), JsonLimits())


@given(DOCUMENTS, st.integers(min_value=0), st.binary(max_size=3))
def test_damaged_documents_are_read_as_the_reference_reads_them(text: str, at: int, junk: bytes) -> None:
    raw = text.encode()
    at %= len(raw) + 1
    agrees(raw[:at] + junk + raw[at + 1 :], JsonLimits())


@given(st.binary(max_size=64) | st.text(alphabet='[]{}":,0e-1.\\u\ufeff ', max_size=64).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    agrees(raw, JsonLimits())


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(INTEGER_MIN, INTEGER_MAX) | FLOATS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(value=VALUES, ascii_only=st.booleans())
def test_what_was_written_is_read_again(value: Any, ascii_only: bool) -> None:
    assert same(parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()), value)


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b"\\u003a" * 20_000 + b'"',
        b"[" + b"0.0," * 9_000 + b"1e-5]",
        b'"' + b"1" * 100_000 + b'"',
        b"[" * 100_000,
        b'"' + b"\\" * 100_000,
        b'{"a":"' + b"[{" * 50_000,
        b"1" * 100_000,
        b"0." + b"0" * 100_000 + b"1",
        b"1e" + b"9" * 100_000,
        b"1e-" + b"9" * 100_000,
        b" " * 100_000,
        b'{"' + b"k" * 100_000 + b'":1,"a":1,"a":1}',
    ],
    ids=lambda raw: raw[:8].decode(),
)
def test_a_document_made_to_be_slow_is_not(raw: bytes) -> None:
    def read() -> None:
        with suppress(InvalidInput):
            parse_json(raw)

    assert seconds_of(read) < 0.05
