"""Whether two statements are the same statement (xAPI Data 2.3.1).

Each is brought into a form from which everything that may differ is gone, and the forms are compared. A form keeps
JSON's own types, so that comparing it can tell true from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import orjson

from schemas.errors import InvalidInput
from schemas.times import comparable_duration, parse_timestamp

Json = dict[str, Any]

_SET_BY_THE_STORE = frozenset({"stored", "authority", "version"})
_SET_BY_THE_STORE_IF_ABSENT = ("id", "timestamp")


def equal_statements(a: Json, b: Json) -> bool:
    """Say whether two statements are the same, apart from what may change without making another one of them.

    May change: `stored`, `authority`, `version`; `id` and `timestamp` where one has none; verb displays; activity
    definitions; the zone of a timestamp; the order of a group's members; a single context activity or an array of it;
    an `objectType` that is what its absence means; the case of UUIDs, hashes, language tags and mail domains; what is
    finer than 0.01 second in a duration; how a number is written; the order of keys. The data of attachments are not
    looked at, their entries are. A signature's payload has no entry for the signature: take that one away first.

    Neither argument changes. Values that are no checked statements are compared as far as they go; nothing is raised.
    """
    one, other = _statement(a), _statement(b)
    for key in _SET_BY_THE_STORE_IF_ABSENT:
        if key not in one or key not in other:
            one.pop(key, None)
            other.pop(key, None)
    return _same(one, other)


def _same(a: Any, b: Any) -> bool:
    if type(a) is dict:
        return type(b) is dict and a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if type(a) is list:
        return type(b) is list and len(a) == len(b) and all(map(_same, a, b))
    if type(a) is bool or type(b) is bool:
        return a is b
    return bool(a == b)


# Forms. Each function gives the form of what stands in one place; what is no such thing stays as it is.

Form = Callable[[Any], Any]


def _of_object(forms: Mapping[str, Form], *, without: Container[str] = (), default: str | None = None) -> Form:
    """Make the form of an object: these keys changed, those left out, and `objectType` too where it is the default."""

    def form(value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {
            key: forms[key](item) if key in forms else item
            for key, item in value.items()
            if key not in without and not (key == "objectType" and item == default)
        }

    return form


def _of_array(form_item: Form) -> Form:
    return lambda value: [form_item(item) for item in value] if type(value) is list else value


def _of_string(change: Callable[[str], Any]) -> Form:
    return lambda value: change(value) if type(value) is str else value


def _instant(value: Any) -> Any:
    try:
        return parse_timestamp(value, "1.0.3")
    except InvalidInput:
        return value


def _mailbox(value: str) -> str:
    name, at, domain = value.rpartition("@")
    return name + at + domain.lower()


def _language_map(value: Any) -> Any:
    if type(value) is not dict:
        return value
    # As pairs, because two tags may differ in case alone.
    return sorted(([tag.lower(), text] for tag, text in value.items()), key=orjson.dumps)


def _members(value: Any) -> Any:
    if type(value) is not list:
        return value
    return sorted(map(_person, value), key=lambda member: orjson.dumps(member, option=orjson.OPT_SORT_KEYS))


def _context_activities(value: Any) -> Any:
    if type(value) is not dict:
        return value
    return {kind: _activities([found] if type(found) is dict else found) for kind, found in value.items()}


def _object(value: Any) -> Any:
    kind = value.get("objectType", "Activity") if type(value) is dict else None
    return _BY_OBJECT_TYPE[kind](value) if type(kind) is str and kind in _BY_OBJECT_TYPE else value


_lower = _of_string(str.lower)
_person = _of_object({"mbox": _of_string(_mailbox), "mbox_sha1sum": _lower, "member": _members}, default="Agent")
_activities = _of_array(_of_object({}, without=("definition",), default="Activity"))
_reference = _of_object({"id": _lower})
_context = _of_object(
    {
        "registration": _lower,
        "instructor": _person,
        "team": _person,
        "contextActivities": _context_activities,
        "language": _lower,
        "statement": _reference,
        "contextAgents": _of_array(_of_object({"agent": _person})),
        "contextGroups": _of_array(_of_object({"group": _person})),
    }
)
_attachments = _of_array(_of_object({"display": _language_map, "description": _language_map, "sha2": _lower}))
_FORMS_OF_A_STATEMENT: dict[str, Form] = {
    "id": _lower,
    "actor": _person,
    "verb": _of_object({}, without=("display",)),
    "object": _object,
    "result": _of_object({"duration": _of_string(comparable_duration)}),
    "context": _context,
    "timestamp": _instant,
    "attachments": _attachments,
}
_statement = _of_object(_FORMS_OF_A_STATEMENT, without=_SET_BY_THE_STORE)
_BY_OBJECT_TYPE: dict[str, Form] = {
    "Activity": _of_object({}, without=("definition",), default="Activity"),
    "Agent": _person,
    "Group": _person,
    "StatementRef": _reference,
    "SubStatement": _of_object(_FORMS_OF_A_STATEMENT),
}
