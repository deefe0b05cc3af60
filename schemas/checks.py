"""What rules are made of: checks of values, and makers of checks from other checks.

A *check* takes a value and raises InvalidInput if the value is not allowed in its place. The pointer of a problem grows
on the way out, from the place to the root, so a good statement costs nothing for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schemas.errors import InvalidInput

Check = Callable[[Any], None]
Json = dict[str, Any]

RECURRING_KEPT_MAX = 5_000
RECURRING_BYTES_MAX = 4_096

NAMED: set[str] = set()
"""Every name that an `object_of` gives to a property, but for those that are left out."""


def object_of(
    checks: Mapping[str, Check], *required: str, also: Callable[[Json], None] | None = None, named: bool = True
) -> Check:
    """Make the check of an object with these properties and no others.

    also sees the object after each of its properties has passed, for rules about several of them. named: whether its
    properties go into NAMED; not those of what no client sends as a statement.
    """
    if named:
        NAMED.update(checks)

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise InvalidInput("This must be an object.")
        for key, item in value.items():
            try:
                try:
                    check_item = checks[key]
                except KeyError:
                    raise InvalidInput("There is no such property here.") from None
                check_item(item)
            except InvalidInput as problem:
                problem.inside(key)
                raise
        for key in required:
            if key not in value:
                raise InvalidInput(f"`{key}` is required here.")
        if also is not None:
            also(value)

    return check


def array_of(check_item: Check, *, empty: bool = True, also: Callable[[list[Any]], None] | None = None) -> Check:
    """Make the check of an array of such items, which may be empty or not."""

    def check(value: Any) -> None:
        if type(value) is not list:
            raise InvalidInput("This must be an array.")
        if not (empty or value):
            raise InvalidInput("This array must not be empty.")
        for index, item in enumerate(value):
            try:
                check_item(item)
            except InvalidInput as problem:
                problem.inside(index)
                raise
        if also is not None:
            also(value)

    return check


def by_object_type(checks: Mapping[str, Check], default: str | None = None) -> Check:
    """Make the check of an object whose `objectType` says which check holds; default is what an absent one means."""
    rule = f"`objectType` must be one of {', '.join(checks)}."

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise InvalidInput("This must be an object.")
        kind = value.get("objectType", default)
        if type(kind) is not str or kind not in checks:
            raise InvalidInput(rule, "/objectType" if "objectType" in value else "")
        checks[kind](value)

    return check


def one_of(*texts: str) -> Check:
    """Make the check of a string that is one of these."""
    allowed = frozenset(texts)
    rule = f"This must be {' or '.join(texts)}."

    def check(value: Any) -> None:
        if type(value) is not str or value not in allowed:
            raise InvalidInput(rule)

    return check


def matching(form: re.Pattern[str], rule: str) -> Check:
    """Make the check of a string that has a form as a whole."""
    fits = form.fullmatch

    def check(value: Any) -> None:
        if type(value) is not str or not fits(value):
            raise InvalidInput(rule)

    return check


def recurring(check: Check) -> Check:
    """Make a check that remembers what has passed, for what stands in most statements word for word.

    Writing a value as JSON costs a tenth of looking into all its properties.
    """
    passed: set[bytes] = set()

    def check_unless_passed(value: Any) -> None:
        try:
            text = orjson.dumps(value)
        except orjson.JSONEncodeError:
            text = b""
        if text in passed:
            return
        check(value)
        if 0 < len(text) <= RECURRING_BYTES_MAX:
            if len(passed) >= RECURRING_KEPT_MAX:
                passed.clear()
            passed.add(text)

    return check_unless_passed


def check_string(value: Any) -> None:
    """Raise InvalidInput if value is not a string."""
    if type(value) is not str:
        raise InvalidInput("This must be a string.")


def check_boolean(value: Any) -> None:
    """Raise InvalidInput if value is not true or false."""
    if type(value) is not bool:
        raise InvalidInput("This must be true or false.")


def check_number(value: Any) -> None:
    """Raise InvalidInput if value is not a number."""
    if type(value) is not int and type(value) is not float:
        raise InvalidInput("This must be a number.")
