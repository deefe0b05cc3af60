"""Names for people whose names are not shown: two invented words for each learner of a course.

They are made of a keyed hash of course and learner. So a learner keeps them throughout a course, has others in another,
and nobody without the store's key can tell who is who, nor that the two are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

_CONSONANTS = "bdlmnrstv"
_VOWELS = "aeiou"
_SYLLABLES = tuple(consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS)
_WORD_SYLLABLES = 3
_WORDS = 2
_UNFORTUNATE = frozenset({"lolita", "malade", "debile", "senile", "sadole", "tomato", "banana", "vanera"})
"""Invented words that turned out to mean something."""

Blind = Callable[..., bytes]


def readable_name(blind: Blind, course_id: str, learner: str) -> str:
    """Give the name of a learner in a course, both as 32 hex digits: "Tavomi Resalu".

    blind(kind, *values) gives 16 bytes of a keyed hash.
    """
    digits = _digits(blind, course_id, learner)
    words: list[str] = []
    while len(words) < _WORDS:
        word = "".join(_SYLLABLES[next(digits)] for _ in range(_WORD_SYLLABLES))
        if word not in _UNFORTUNATE:
            words.append(word.capitalize())
    return " ".join(words)


def _digits(blind: Blind, course_id: str, learner: str) -> Iterator[int]:
    """Give numbers below the number of syllables, without end, each as likely as any other to a very small part."""
    count = 0
    while True:
        digest = blind("readable name", bytes.fromhex(course_id), bytes.fromhex(learner), b"%d" % count)
        number = int.from_bytes(digest)
        for _ in range(_WORDS * _WORD_SYLLABLES):
            number, digit = divmod(number, len(_SYLLABLES))
            yield digit
        count += 1
