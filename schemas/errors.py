"""What is wrong with input, and where: the one way in which the language refuses.

InvalidInput                a rule is broken
└── TooLarge                a limit on size, count or depth is passed
"""

from __future__ import annotations

POINTER_KEY_LENGTH_MAX = 128
"""Characters of a key in a pointer. A place under a longer key is named by what holds it."""


class InvalidInput(Exception):
    """Input breaks a rule.

    detail is the rule, as a sentence; it never repeats the input. pointer is the place, an RFC 6901 JSON pointer, ""
    for the whole document. A pointer holds the keys on the way to the place, and a client chooses some of those
    (extensions, languages, properties that do not exist): an answer stops before the first of them, a log has none.
    """

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer

    def inside(self, key: str | int) -> None:
        """Say that the place lies under a key (or index) of something larger: puts it in front of the pointer."""
        token = pointer_token(key)
        self.pointer = "" if token is None else token + self.pointer


class TooLarge(InvalidInput):
    """Input passes a limit on size, count or depth."""


def pointer_token(key: str | int) -> str | None:
    """Give a key (or index) as a piece of a pointer; None for a key that is too long to stand in one."""
    if isinstance(key, int):
        return f"/{key}"
    if len(key) > POINTER_KEY_LENGTH_MAX:
        return None
    return "/" + key.replace("~", "~0").replace("/", "~1")
