"""Finding values in bytes: all forms of all values in one pass, over streams of any length and over rows.

The search is an Aho-Corasick automaton (the package ahocorasick_rs). Bytes are searched twice: as they are, and with
ASCII letters in lower case, for forms in which letter case says nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

from lrs.value_forms import Form, bare, forms_of
from schemas.errors import InvalidInput

VALUES_MAX = 1_000
VALUE_CHARACTERS_MIN = 4
VALUE_CHARACTERS_MAX = 4_000
CHUNK_BYTES: Final = 1024 * 1024
DENSE_NEEDLE_BYTES: Final = 128 * 1024
"""Up to so many bytes of needles the automaton is the quickest kind, which takes about a kilobyte for each."""
_BETWEEN: Final = b"\xff"


@dataclass(frozen=True, slots=True)
class Value:
    """A personal value to be looked for, and the line of the input it stood on. Its repr does not show it."""

    line: int
    text: str = field(repr=False)


class Sought(NamedTuple):
    """What a needle stands for: a line of the input in one form. bits: how unlikely it is in bytes taken at random."""

    line: int
    form: str
    bits: float


class Match(NamedTuple):
    """A needle found in some bytes, and all that it stands for."""

    start: int
    end: int
    sought: tuple[Sought, ...]


def read_values(given: bytes) -> list[Value]:
    """Read values, one a line, in UTF-8; blank lines and spaces around a value are nothing.

    Raises InvalidInput, naming the line and never what stands there.
    """
    values = []
    for number, line in enumerate(given.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"line {number} is not UTF-8") from error
        if not text:
            continue
        if len(bare(text)) < VALUE_CHARACTERS_MIN:
            raise InvalidInput(
                f"line {number} is shorter than {VALUE_CHARACTERS_MIN} characters: it would be found by chance in any "
                "store; give a longer one"
            )
        if len(text) > VALUE_CHARACTERS_MAX:
            raise InvalidInput(f"line {number} is longer than {VALUE_CHARACTERS_MAX:,} characters")
        values.append(Value(number, text))
    if len(values) > VALUES_MAX:
        raise InvalidInput(f"more than {VALUES_MAX:,} values; give them in several runs")
    return values


class ValueSearch:
    """All forms of some values, held so that one pass over some bytes finds any of them."""

    def __init__(self, values: Iterable[Value]) -> None:
        folded: dict[bytes, dict[tuple[int, str], Sought]] = {}
        exact: dict[bytes, dict[tuple[int, str], Sought]] = {}
        for value in values:
            known: set[bytes] = set()
            for form in forms_of(value.text):
                # The same bytes as another form of this value are that form: `ada@…` is not URL-encoded.
                if form.needle not in known:
                    known.add(form.needle)
                    owners = (folded if form.folded else exact).setdefault(form.needle, {})
                    owners[value.line, form.name] = Sought(value.line, form.name, _bits(form))
        self._passes = [(_Automaton(needles), fold) for needles, fold in ((folded, True), (exact, False)) if needles]
        self.overlap_bytes = max((len(needle) for needle in (*folded, *exact)), default=1) - 1
        """How many bytes of a stream have to be looked at again with those that follow."""

    def __call__(self, content: bytes) -> Iterator[Match]:
        """Give every match in some bytes, overlapping ones too."""
        for automaton, fold in self._passes:
            yield from automaton.matches(content.lower() if fold else content)

    def found_in(self, text: str) -> bool:
        """Say whether a text holds any of the values."""
        return any(True for _ in self(text.encode(errors="surrogateescape")))


class _Automaton:
    def __init__(self, needles: dict[bytes, dict[tuple[int, str], Sought]]) -> None:
        self._sought = [tuple(owners.values()) for owners in needles.values()]
        dense = sum(map(len, needles)) <= DENSE_NEEDLE_BYTES
        kind = Implementation.DFA if dense else Implementation.ContiguousNFA
        self._net = BytesAhoCorasick(list(needles), implementation=kind)

    def matches(self, content: bytes) -> Iterator[Match]:
        for number, start, end in self._net.find_matches_as_indexes(content, overlapping=True):
            yield Match(start, end, self._sought[number])


def _bits(form: Form) -> float:
    letters = sum(one in b"abcdefghijklmnopqrstuvwxyz" for one in form.needle) if form.folded else 0
    return 8.0 * len(form.needle) - letters


def expected_by_chance(bits: float, size_bytes: int) -> float:
    """Give how often something so unlikely is to be expected in so many bytes taken at random, as sealed data are."""
    return math.ldexp(size_bytes, -int(bits)) if size_bytes else 0.0


class StreamSearch:
    """Searches a stream that comes in pieces; what lies across a border is found, and nothing is told twice."""

    def __init__(self, search: ValueSearch, tell: Callable[[tuple[Sought, ...]], None]) -> None:
        self._search = search
        self._tell = tell
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        """Search the next piece of the stream."""
        content = self._tail + piece
        seen = len(self._tail)
        for match in self._search(content):
            if match.end > seen:
                self._tell(match.sought)
        kept = self._search.overlap_bytes
        self._tail = content[-kept:] if kept else b""


class RowSearch:
    """Searches rows of values, many at once, each value as a whole; call `flush` after the last.

    tell is given the number of the column and what was found in it.
    """

    def __init__(self, search: ValueSearch, columns: int, tell: Callable[[int, tuple[Sought, ...]], None]) -> None:
        self._search = search
        self._columns = columns
        self._tell = tell
        self._values: list[bytes] = []
        self._held_bytes = 0
        self.searched_bytes = 0

    def add(self, row: Sequence[object]) -> None:
        """Take a row of as many values as there are columns; what is not bytes is looked past."""
        for value in row:
            whole = value if isinstance(value, bytes) else b""
            self._values.append(whole)
            self._held_bytes += len(whole)
        if self._held_bytes >= CHUNK_BYTES or len(self._values) >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Search what is held."""
        starts: list[int] = []
        for match in self._search(_BETWEEN.join(self._values)):
            if not starts:
                starts = self._starts()
            at = bisect_right(starts, match.start) - 1
            if match.end <= starts[at] + len(self._values[at]):
                self._tell(at % self._columns, match.sought)
        self.searched_bytes += self._held_bytes
        self._values.clear()
        self._held_bytes = 0

    def _starts(self) -> list[int]:
        starts, at = [], 0
        for value in self._values:
            starts.append(at)
            at += len(value) + len(_BETWEEN)
        return starts
