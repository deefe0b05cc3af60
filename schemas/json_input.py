"""Read JSON from outside, strictly: what two parsers could understand differently is refused.

orjson refuses what is no JSON: wrong UTF-8, a byte order mark, lone surrogates, NaN, Infinity, numbers too large for a
float. It lets three things pass, which are found here: keys that stand twice, integers beyond 64 bits (it makes floats
of them) and numbers so small that they become zero. And it knows no limits of ours.

The quick way writes the value again and compares. Equal bytes prove that nothing was lost. Equal numbers of colons
prove it for keys, as long as no colon is written as an escape, since a member that was dropped takes its colon along.
Only what looks odd is read a second time, by a parser that calls back for each object and number; that parser
recurses, which is safe because the depth has been checked by then.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from schemas.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
WRITABLE_DEPTH_MAX = 250


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How large a document may be, apart from its bytes.

    depth_max counts objects and arrays inside one another; members_max is for one object, items_max for one array,
    values_max for all values of the document.
    """

    depth_max: int = 64
    members_max: int = 10_000
    items_max: int = 10_000
    values_max: int = 500_000

    def __post_init__(self) -> None:
        if self.depth_max > WRITABLE_DEPTH_MAX:
            raise ValueError(f"depth_max is at most {WRITABLE_DEPTH_MAX}: orjson writes nothing deeper")


DEFAULT_LIMITS = JsonLimits()

Problem = TypeVar("Problem", bound=InvalidInput)

_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"{[")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_RUN = b"0" * 19  # the shortest integer beyond 64 bits has 19 digits
_INTEGER_LENGTH_MAX = len(str(INTEGER_MAX)) + 1
_ZERO_FLOAT = re.compile(rb"(?:^|[:,\[])-?0\.0(?:[,}\]]|$)")
_SMALL = re.compile(rb"[0-9][eE]-[0-9]")  # without it, only a long run of digits can become zero
_ZERO_DIGITS = re.compile(r"-?[0.]++(?![0-9])")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_LOOK_FOR_DEPTH_BYTES_MAX = 65_536
_CONTAINERS = frozenset({dict, list})


def parse_json(raw: bytes, *, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """Give the value of one JSON document in UTF-8 (RFC 8259).

    Raises TooLarge beyond a limit, InvalidInput for anything else that is wrong: no JSON, no UTF-8, a byte order mark,
    a lone surrogate, a key that stands twice in an object, a number that neither a float nor a 64-bit integer holds.
    The pointer names the place, except where the text as a whole cannot be read.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        problem = _why_unreadable(raw, error, limits)
    else:
        _check_limits(raw, value, limits)
        written = orjson.dumps(value)
        if written != raw and _is_suspicious(raw, written):
            _check_exactly(raw)
        return value
    # Raised out here, so that it does not carry along orjson's error, which holds the whole document.
    raise problem


def _is_suspicious(raw: bytes, written: bytes) -> bool:
    """Say whether something may have been lost between raw and written, which is raw read and written again."""
    return (
        raw.count(b":") != written.count(b":")
        or (b"\\" in raw and (b"\\u003a" in raw or b"\\u003A" in raw))
        or _LONG_RUN in raw.translate(_DIGITS_AS_ZERO)
        or (b"0.0" in written and _ZERO_FLOAT.search(written) is not None and _SMALL.search(raw) is not None)
    )


def _why_unreadable(raw: bytes, error: orjson.JSONDecodeError, limits: JsonLimits) -> InvalidInput:
    if raw.startswith(b"\xef\xbb\xbf"):
        return InvalidInput("JSON must not begin with a byte order mark.")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return InvalidInput("JSON must be in UTF-8.")
    if _opens_deeper(raw[:_LOOK_FOR_DEPTH_BYTES_MAX], limits.depth_max):
        return _too_deep(limits)
    return InvalidInput(f"This is not JSON, at line {error.lineno}, column {error.colno}.")


def _opens_deeper(raw: bytes, depth_max: int) -> bool:
    """Say whether text, JSON or not, opens more than depth_max objects and arrays inside one another."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(raw):
        first = raw[found.start()]
        if first in b"{[":
            depth += 1
            if depth > depth_max:
                return True
        elif first in b"}]":
            depth -= 1
    return False


def _check_limits(raw: bytes, value: Any, limits: JsonLimits) -> None:
    """Raise TooLarge if value, read from raw, is beyond a limit."""
    if (
        len(raw) <= limits.members_max
        and len(raw) <= limits.items_max
        and len(raw) <= limits.values_max
        and len(raw.translate(None, _NOT_STRUCTURE)) <= limits.depth_max
    ):
        return  # so small that it cannot be
    # All of one depth at a time: for a large batch this is half the cost of reading it.
    inner = [value]
    values, depth = 1, 0
    while inner:
        objects: list[Any] = [one for one in inner if type(one) is dict]
        arrays: list[Any] = [one for one in inner if type(one) is list]
        if (objects or arrays) and depth == limits.depth_max:
            raise _at(value, (objects or arrays)[0], _too_deep(limits))
        depth += 1
        if max(map(len, objects), default=0) > limits.members_max:
            largest = max(objects, key=len)
            raise _at(value, largest, TooLarge(f"An object has at most {limits.members_max} members here."))
        if max(map(len, arrays), default=0) > limits.items_max:
            largest = max(arrays, key=len)
            raise _at(value, largest, TooLarge(f"An array has at most {limits.items_max} items here."))
        values += sum(map(len, objects)) + sum(map(len, arrays))
        if values > limits.values_max:
            raise TooLarge(f"A document has at most {limits.values_max} values here.")
        inner = [child for one in objects for child in one.values() if type(child) in _CONTAINERS]
        inner += [child for one in arrays for child in one if type(child) in _CONTAINERS]


def _too_deep(limits: JsonLimits) -> TooLarge:
    return TooLarge(f"Objects and arrays stand at most {limits.depth_max} deep inside one another here.")


@dataclass(frozen=True, slots=True)
class _Fault:
    """Stands in a value at the place where something is wrong."""

    detail: str


def _check_exactly(raw: bytes) -> None:
    """Raise InvalidInput if a key stands twice or a number is not held. raw is JSON of limited depth.

    What calls back cannot know where it is; it leaves a mark, which is looked for afterwards.
    """
    faults: list[_Fault] = []

    def faulty(detail: str) -> _Fault:
        faults.append(_Fault(detail))
        return faults[-1]

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    found[key] = faulty("A key stands only once in an object.")
                seen.add(key)
        return found

    def integer(text: str) -> Any:
        # The length first: Python refuses to read very long integers.
        if len(text) <= _INTEGER_LENGTH_MAX and INTEGER_MIN <= int(text) <= INTEGER_MAX:
            return 0
        return faulty("An integer must fit in 64 bits.")

    def decimal(text: str) -> Any:
        number = float(text)
        if math.isinf(number) or (number == 0 and not _ZERO_DIGITS.match(text)):
            return faulty("A number must be one that a 64-bit float can hold.")
        return 0

    value = json.loads(raw.decode(), object_pairs_hook=members, parse_int=integer, parse_float=decimal)
    # A mark may have been dropped with the member that held it; then the one for that member's key is there.
    if faults and (found := _search(value, lambda node: type(node) is _Fault)) is not None:
        raise _placed(InvalidInput(found[1].detail), found[0])


def _at(root: Any, target: Any, problem: Problem) -> Problem:
    """Give a problem the place of one container inside a value."""
    found = _search(root, lambda node: node is target)
    return problem if found is None else _placed(problem, found[0])


def _placed(problem: Problem, path: tuple[str | int, ...]) -> Problem:
    for key in reversed(path):
        problem.inside(key)
    return problem


def _search(root: Any, is_it: Callable[[Any], bool]) -> tuple[tuple[str | int, ...], Any] | None:
    """Give the first node of a value (in its own order) that is_it, with the keys that lead to it."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if is_it(node):
            return path, node
        children: Iterable[tuple[str | int, Any]] = ()
        if type(node) is dict:
            children = reversed(node.items())
        elif type(node) is list:
            children = reversed(list(enumerate(node)))
        waiting += [((*path, key), child) for key, child in children if type(child) in _CONTAINERS or is_it(child)]
    return None
