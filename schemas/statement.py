"""xAPI statements: whether one is right, the form in which it is kept, and whether two are the same.

The first module to read of the language. The rules stand in `statement_rules`, the comparison in `comparison`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas import statement_rules as rules
from schemas.comparison import equal_statements
from schemas.errors import InvalidInput
from schemas.times import Version, in_utc, parse_timestamp

if TYPE_CHECKING:
    from schemas.checks import Check, Json

__all__ = [
    "Version",
    "check_activity",
    "check_activity_definition",
    "check_agent",
    "check_statement",
    "check_uuid",
    "equal_statements",
    "normalise_statement",
    "parse_timestamp",
]


def check_statement(value: Any, version: Version, pointer: str = "") -> None:
    """Raise InvalidInput if value is not a statement of that version (xAPI Data 2).

    value is JSON as `parse_json` gives it; it does not change. pointer is where it stands in the document, and the
    problem's pointer begins with it.
    """
    _check(rules.CHECK_STATEMENT[version], value, pointer)


def check_agent(value: Any, version: Version, pointer: str = "") -> None:
    """Raise InvalidInput if value is neither an agent nor an identified group, as parameters have them (Comm. 2)."""
    del version  # both know the same agents
    _check(rules.check_agent_parameter, value, pointer)


def check_activity(value: Any, version: Version, pointer: str = "") -> None:
    """Raise InvalidInput if value is not an activity (Data 2.4.4.1)."""
    del version  # both know the same activities
    _check(rules.check_activity, value, pointer)


def check_activity_definition(value: Any, version: Version, pointer: str = "") -> None:
    """Raise InvalidInput if value is not the definition of an activity (Data 2.4.4.1)."""
    del version  # both know the same definitions
    _check(rules.check_definition, value, pointer)


def check_uuid(text: Any) -> None:
    """Raise InvalidInput if text is not a UUID in its standard form (Data 4.4), of any version and in either case."""
    rules.check_uuid(text)


def _check(check: Check, value: Any, pointer: str) -> None:
    try:
        check(value)
    except InvalidInput as problem:
        problem.pointer = pointer + problem.pointer
        raise


def normalise_statement(value: Json) -> None:
    """Bring a checked statement into the form in which it is kept and given out, in place.

    Single context activities become arrays (Data 2.4.6.2), timestamps that have a zone become UTC (Data 4.5).
    """
    _normalise(value)
    target = value["object"]
    if target.get("objectType") == "SubStatement":
        _normalise(target)


def _normalise(value: Json) -> None:
    if "timestamp" in value:
        value["timestamp"] = in_utc(value["timestamp"])
    context = value.get("context")
    if context is not None and "contextActivities" in context:
        activities = context["contextActivities"]
        for kind, found in activities.items():
            if type(found) is dict:
                activities[kind] = [found]
