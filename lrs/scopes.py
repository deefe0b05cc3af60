"""Scopes: what a credential may do (xAPI 1.0.3, Communication 4.2, and Griffel's own)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from lrs.errors import Misconfigured


class Scope(StrEnum):
    """What a credential may do. Everything that is not granted is denied."""

    ALL = "all"
    ALL_READ = "all/read"
    STATEMENTS_WRITE = "statements/write"
    STATEMENTS_READ = "statements/read"
    STATEMENTS_READ_MINE = "statements/read/mine"
    STATE = "state"
    DEFINE = "define"
    PROFILE = "profile"
    COURSES_READ = "courses/read"
    STREAMS_READ = "streams/read"
    PRIVACY = "privacy"


def parse_scopes(text: str | Iterable[str]) -> frozenset[Scope]:
    """Read scopes separated by commas or spaces. Raises Misconfigured, naming the scopes there are."""
    names = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    try:
        found = frozenset(Scope(name) for name in names)
    except ValueError as error:
        raise Misconfigured(f"unknown scope; there are: {', '.join(Scope)}") from error
    if not found:
        raise Misconfigured(f"a credential needs a scope; there are: {', '.join(Scope)}")
    return found
