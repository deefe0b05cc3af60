"""Forms in which a value may be written down: encodings, spellings and plain digests, as bytes to be looked for.

A form is *folded* when it is looked for whatever the letter case of ASCII; what base64 and digests are made of has no
letter case, so those are *exact*.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
import urllib.parse
from collections.abc import Iterator
from typing import Final, NamedTuple

SCHEME: Final = "mailto:"
DIGESTS: Final = ("md5", "sha1", "sha256")
BASE64_CHARACTERS_MIN = 6
"""Fewer characters of base64 would be found by chance; of a value of four letters some alignments are so short."""
_RESERVED: Final = ":/?#[]@!$&'()*+,;="
_BASE64: Final = (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode))


class Form(NamedTuple):
    """One way to write a value: its name, its bytes, and whether letter case is to be looked past."""

    name: str
    needle: bytes
    folded: bool


def bare(value: str) -> str:
    """Give a value without `mailto:`: whoever wrote the address with it wrote this as well."""
    return value[len(SCHEME) :] if value.lower().startswith(SCHEME) else value


def forms_of(value: str) -> Iterator[Form]:
    """Give every form of a value, in the order in which they are told apart; the same bytes may come twice."""
    core = bare(value)
    normal = list(dict.fromkeys([core, unicodedata.normalize("NFC", core), unicodedata.normalize("NFD", core)]))
    # Bytes are folded in ASCII alone, so that letters beyond it come in both cases. The spelling as given goes first.
    spellings = list(dict.fromkeys(spelt for one in normal for spelt in (one, one.lower(), one.upper())))
    for spelt in spellings:
        for name, needle in _written(spelt):
            yield Form(name, needle.lower(), folded=True)
    for spelt in spellings:
        for name, needle in in_base64(spelt.encode()):
            yield Form(name, needle, folded=False)
    for whole in _wholes(value):
        yield from _digests(whole.encode())


def in_base64(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Give what base64 of any bytes around these must hold: without the characters that neighbours have a part in."""
    for alignment in range(3):
        bits = 8 * (alignment + len(whole))
        first, last = -(-8 * alignment // 6), bits // 6
        for name, encode in _BASE64:
            needle = encode(bytes(alignment) + whole)[first:last]
            if len(needle) >= BASE64_CHARACTERS_MIN:
                yield name, needle
    for name, encode in _BASE64:
        if len(needle := encode(whole).rstrip(b"=")) >= BASE64_CHARACTERS_MIN:
            yield name, needle


def _written(spelt: str) -> Iterator[tuple[str, bytes]]:
    """Give the forms of one spelling in which letter case says nothing."""
    raw = spelt.encode()
    yield "as it is", raw
    for safe in ("", "/", _RESERVED):
        yield "URL-encoded", urllib.parse.quote(spelt, safe=safe).encode()
    yield "URL-encoded", urllib.parse.quote_plus(spelt).encode()
    yield "URL-encoded", "".join([f"%{one:02x}" for one in raw]).encode()
    for ascii_alone in (True, False):
        written = json.dumps(spelt, ensure_ascii=ascii_alone)[1:-1]
        yield "JSON-escaped", written.encode()
        yield "JSON-escaped", written.replace("/", "\\/").encode()
    units = spelt.encode("utf-16-be")
    yield "JSON-escaped", "".join([f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)]).encode()
    yield "hex", raw.hex().encode()
    yield "UTF-16 little-endian", spelt.encode("utf-16-le")
    yield "UTF-16 big-endian", units
    yield "Latin-1", spelt.encode("latin-1", "ignore") if _fits_latin_1(spelt) else raw


def _fits_latin_1(spelt: str) -> bool:
    return all(ord(one) < 256 for one in spelt)  # noqa: PLR2004  what one byte holds


def _wholes(value: str) -> list[str]:
    """Give what a digest may have been made of: the value, with `mailto:` and without, as it is and in lower case."""
    core = bare(value)
    wholes = [value, core]
    if _looks_like_an_address(core):
        wholes.append(SCHEME + core)
    return list(dict.fromkeys([*wholes, *[one.lower() for one in wholes]]))


def _looks_like_an_address(core: str) -> bool:
    name, at, host = core.partition("@")
    return bool(name and at and "." in host) and " " not in core and "/" not in core


def _digests(whole: bytes) -> Iterator[Form]:
    for algorithm in DIGESTS:
        name = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}[algorithm]
        digest = hashlib.new(algorithm, whole, usedforsecurity=False).digest()
        yield Form(name, digest, folded=False)
        yield Form(f"{name} in hex", digest.hex().encode(), folded=True)
        for _, encode in _BASE64:
            yield Form(f"{name} in base64", encode(digest).rstrip(b"="), folded=False)
