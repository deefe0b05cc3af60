"""Language tags (RFC 5646) and the maps that xAPI makes of them (Data 4.2)."""

from __future__ import annotations

import re
from typing import Any

from schemas.errors import InvalidInput

TAG_LENGTH_MAX = 128
KNOWN_TAGS_MAX = 1_024

# The length of a part tells what it is, so there is one way to read a tag, and time grows with its length alone.
_TAG = re.compile(
    r"""
    (?:
        (?:[a-z]{2,3}(?:-[a-z]{3}){0,3} | [a-z]{4,8})                       # language, extended languages
        (?:-[a-z]{4})?                                                      # script
        (?:-(?:[a-z]{2} | [0-9]{3}))?                                       # region
        (?P<variants>(?:-(?:[a-z0-9]{5,8} | [0-9][a-z0-9]{3}))*+)
        (?P<extensions>(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})++)*+)
        (?:-x(?:-[a-z0-9]{1,8})++)?                                         # private use
    )
    | x(?:-[a-z0-9]{1,8})++
    | en-gb-oed | i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)
    | sgn-(?:be-fr|be-nl|ch-de)
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

_known: set[str] = set()


def check_language_tag(value: Any) -> None:
    """Raise InvalidInput if value is not a well-formed language tag (RFC 5646, 2.2.9), registered or not."""
    if type(value) is not str:
        raise InvalidInput("This must be a string that holds a language tag.")
    if value in _known:
        return
    if not _is_well_formed(value):
        raise InvalidInput("This must be a language tag as RFC 5646 forms them, such as nl or en-GB.")
    if len(_known) >= KNOWN_TAGS_MAX:
        _known.clear()
    _known.add(value)


def check_language_map(value: Any) -> None:
    """Raise InvalidInput if value does not map language tags to texts (xAPI Data 4.2)."""
    if type(value) is not dict:
        raise InvalidInput("This must be an object: a map of language tags to strings.")
    for tag, text in value.items():
        if tag not in _known:
            try:
                check_language_tag(tag)
            except InvalidInput as problem:
                problem.inside(tag)
                raise
        if type(text) is not str:
            no_text = InvalidInput("This must be a string.")
            no_text.inside(tag)
            raise no_text


def _is_well_formed(tag: str) -> bool:
    if len(tag) > TAG_LENGTH_MAX or (found := _TAG.fullmatch(tag)) is None:
        return False
    variants = (found["variants"] or "").lower().split("-")[1:]
    singletons = [part for part in (found["extensions"] or "").lower().split("-") if len(part) == 1]
    return len(set(variants)) == len(variants) and len(set(singletons)) == len(singletons)
