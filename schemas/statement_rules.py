"""The rules of xAPI statements, as tables: which properties each object has, and what each may hold.

A *check* takes a value and raises InvalidInput if the value is not allowed in its place. `object_of`, `array_of` and
`by_object_type` make checks of checks. The pointer of a problem grows on the way out, from the place to the root, so a
good statement costs nothing for it.

Section numbers are those of xAPI 1.0.3, part two; what 2.0.0 changed stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schemas.errors import InvalidInput
from schemas.iri import check_iri, check_known_iri, check_mailbox, check_media_type
from schemas.languages import check_language_map, check_language_tag
from schemas.times import Version, check_duration, check_timestamp_1, check_timestamp_2

Check = Callable[[Any], None]
Json = dict[str, Any]

VOIDED = "http://adlnet.gov/expapi/verbs/voided"
SIGNATURE = "http://adlnet.gov/expapi/attachments/signature"
SIGNATURE_MEDIA_TYPE = "application/octet-stream"

RECURRING_KEPT_MAX = 5_000
RECURRING_BYTES_MAX = 4_096

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_SHA2 = re.compile(r"(?:[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})")
_VERSION_1 = re.compile(r"1\.0(?:\.[0-9A-Za-z.+-]{1,32})?")
_VERSION_1_OR_2 = re.compile(r"[12]\.0(?:\.[0-9A-Za-z.+-]{1,32})?")

PROPERTIES: set[str] = set()
"""Every name that xAPI gives to a property; any other key of a statement was chosen by somebody."""


# What checks are made of


def object_of(checks: Mapping[str, Check], *required: str, also: Callable[[Json], None] | None = None) -> Check:
    """Make the check of an object with these properties and no others.

    also sees the object after each of its properties has passed, for rules about several of them.
    """
    PROPERTIES.update(checks)

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


def check_extensions(value: Any) -> None:
    """Raise InvalidInput if value does not map IRIs to anything (4.1)."""
    if type(value) is not dict:
        raise InvalidInput("This must be an object: a map from IRIs to values.")
    for key in value:
        try:
            check_known_iri(key)
        except InvalidInput as problem:
            problem.inside(key)
            raise


check_uuid = matching(_UUID, "This must be a string: a UUID in its standard form.")


# Agents and groups (2.4.2)

IDENTIFIER_KEYS = ("mbox", "account", "mbox_sha1sum", "openid")

_IDENTIFIERS: dict[str, Check] = {
    "mbox": check_mailbox,
    "mbox_sha1sum": matching(_SHA1, "This must be a string: a SHA-1 sum in 40 hexadecimal digits."),
    "openid": check_iri,
    "account": object_of({"homePage": check_iri, "name": check_string}, "homePage", "name"),
}


def _identifiers_in(value: Json) -> int:
    return ("mbox" in value) + ("account" in value) + ("mbox_sha1sum" in value) + ("openid" in value)


def _has_one_identifier(value: Json) -> None:
    if _identifiers_in(value) != 1:
        raise InvalidInput(f"Exactly one of {', '.join(IDENTIFIER_KEYS)} is required here.")


def _is_identified_or_has_members(value: Json) -> None:
    identifiers = _identifiers_in(value)
    if identifiers > 1:
        raise InvalidInput(f"A group has at most one of {', '.join(IDENTIFIER_KEYS)}.")
    if not identifiers and not value.get("member"):
        raise InvalidInput("A group without identifier needs at least one `member`.")


def _is_pair_with_an_account(value: Json) -> None:
    """2.4.9: a Group as authority is the application, known by its account, together with its user."""
    if _identifiers_in(value):
        raise InvalidInput("A group as authority has no identifier of its own.")
    members = value.get("member", ())
    if len(members) != 2 or not any("account" in member for member in members):  # noqa: PLR2004
        raise InvalidInput("A group as authority has two members: an application, by its account, and a user.")


_AGENT = object_of({"objectType": one_of("Agent"), "name": check_string, **_IDENTIFIERS}, also=_has_one_identifier)
_GROUP_PROPERTIES: dict[str, Check] = {
    "objectType": one_of("Group"),
    "name": check_string,
    "member": array_of(_AGENT),
    **_IDENTIFIERS,
}
_GROUP = object_of(_GROUP_PROPERTIES, "objectType", also=_is_identified_or_has_members)
_IDENTIFIED_GROUP = object_of(_GROUP_PROPERTIES, "objectType", also=_has_one_identifier)
_AUTHORITY_GROUP = object_of(_GROUP_PROPERTIES, "objectType", also=_is_pair_with_an_account)

check_actor = by_object_type({"Agent": _AGENT, "Group": _GROUP}, default="Agent")
check_agent_parameter = by_object_type({"Agent": _AGENT, "Group": _IDENTIFIED_GROUP}, default="Agent")
_check_authority = by_object_type({"Agent": _AGENT, "Group": _AUTHORITY_GROUP}, default="Agent")


# Verbs and activities (2.4.3 and 2.4.4.1)

_VERB = recurring(object_of({"id": check_known_iri, "display": check_language_map}, "id"))

COMPONENT_LISTS: dict[str, tuple[str, ...]] = {
    "true-false": (),
    "choice": ("choices",),
    "fill-in": (),
    "long-fill-in": (),
    "matching": ("source", "target"),
    "performance": ("steps",),
    "sequencing": ("choices",),
    "likert": ("scale",),
    "numeric": (),
    "other": (),
}
"""Which lists of components each type of interaction has."""

_EVERY_COMPONENT_LIST = ("choices", "scale", "source", "target", "steps")


def _have_distinct_ids(components: list[Json]) -> None:
    if len({component["id"] for component in components}) != len(components):
        raise InvalidInput("Each component of an interaction has an `id` of its own.")


def _fits_its_interaction(definition: Json) -> None:
    kind = definition.get("interactionType")
    if kind is None and "correctResponsesPattern" in definition:
        raise InvalidInput("`interactionType` is required beside `correctResponsesPattern`.")
    for name in _EVERY_COMPONENT_LIST:
        if name in definition and (kind is None or name not in COMPONENT_LISTS[kind]):
            raise InvalidInput(f"`{name}` needs an `interactionType` that has such a list.", f"/{name}")


_COMPONENTS = array_of(
    object_of({"id": check_string, "description": check_language_map}, "id"), also=_have_distinct_ids
)

check_definition = object_of(
    {
        "name": check_language_map,
        "description": check_language_map,
        "type": check_known_iri,
        "moreInfo": check_iri,
        "extensions": check_extensions,
        "interactionType": one_of(*COMPONENT_LISTS),
        "correctResponsesPattern": array_of(check_string),
        **dict.fromkeys(_EVERY_COMPONENT_LIST, _COMPONENTS),
    },
    also=_fits_its_interaction,
)
check_activity = recurring(
    object_of({"objectType": one_of("Activity"), "id": check_iri, "definition": check_definition}, "id")
)


# Results (2.4.5)


def _is_in_its_bounds(score: Json) -> None:
    if not -1 <= score.get("scaled", 0) <= 1:
        raise InvalidInput("`scaled` is between -1 and 1.", "/scaled")
    low, high, raw = score.get("min"), score.get("max"), score.get("raw")
    if low is not None and high is not None and not low < high:
        raise InvalidInput("`min` is less than `max`.", "/min")
    if raw is not None and ((low is not None and raw < low) or (high is not None and raw > high)):
        raise InvalidInput("`raw` is between `min` and `max`.", "/raw")


_RESULT = object_of(
    {
        "score": object_of(dict.fromkeys(("scaled", "raw", "min", "max"), check_number), also=_is_in_its_bounds),
        "success": check_boolean,
        "completion": check_boolean,
        "response": check_string,
        "duration": check_duration,
        "extensions": check_extensions,
    }
)


# Context (2.4.6; contextAgents and contextGroups are new in 2.0.0)

CONTEXT_ACTIVITY_KINDS = ("parent", "grouping", "category", "other")

_STATEMENT_REF = object_of({"objectType": one_of("StatementRef"), "id": check_uuid}, "objectType", "id")
_ACTIVITIES = array_of(check_activity)


def _check_one_or_more_activities(value: Any) -> None:
    if type(value) is dict:
        check_activity(value)
    else:
        _ACTIVITIES(value)


def _of_relevance(object_type: str, name: str, check: Check) -> Check:
    """Make the check of a contextAgent or contextGroup, which names somebody under that name."""
    types = array_of(check_known_iri, empty=False)
    return object_of({"objectType": one_of(object_type), name: check, "relevantTypes": types}, "objectType", name)


_CONTEXT_1: dict[str, Check] = {
    "registration": check_uuid,
    "instructor": check_actor,
    "team": _GROUP,
    "contextActivities": recurring(object_of(dict.fromkeys(CONTEXT_ACTIVITY_KINDS, _check_one_or_more_activities))),
    "revision": check_string,
    "platform": check_string,
    "language": check_language_tag,
    "statement": _STATEMENT_REF,
    "extensions": check_extensions,
}
_CONTEXT_2: dict[str, Check] = {
    **_CONTEXT_1,
    "contextAgents": array_of(_of_relevance("contextAgent", "agent", _AGENT)),
    "contextGroups": array_of(_of_relevance("contextGroup", "group", _GROUP)),
}


# Attachments (2.4.11)


def _check_length(value: Any) -> None:
    if type(value) is not int or value < 0:
        raise InvalidInput("This must be an integer, not less than 0.")


def _is_sent_as_a_signature_is(attachment: Json) -> None:
    """2.6: a signature has a media type of its own."""
    if attachment["usageType"] == SIGNATURE:
        media_type = attachment["contentType"].partition(";")[0].strip().lower()
        if media_type != SIGNATURE_MEDIA_TYPE:
            raise InvalidInput(f"A signature has the `contentType` {SIGNATURE_MEDIA_TYPE}.", "/contentType")


_ATTACHMENTS = array_of(
    object_of(
        {
            "usageType": check_known_iri,
            "display": check_language_map,
            "description": check_language_map,
            "contentType": check_media_type,
            "length": _check_length,
            "sha2": matching(_SHA2, "This must be a string: a SHA-2 sum in hexadecimal digits."),
            "fileUrl": check_iri,
        },
        *("usageType", "display", "contentType", "length", "sha2"),
        also=_is_sent_as_a_signature_is,
    )
)


# Statements, and the statements inside them (2.4)


def _fits_its_object(statement: Json) -> None:
    """2.3.2: a voiding points to a statement; 2.4.6: revision and platform are about an activity."""
    kind = statement["object"].get("objectType", "Activity")
    if statement["verb"]["id"] == VOIDED and kind != "StatementRef":
        raise InvalidInput("What is voided is named by a StatementRef.", "/object")
    context = statement.get("context")
    if context is not None and kind != "Activity":
        for name in ("revision", "platform"):
            if name in context:
                raise InvalidInput(f"`{name}` needs an activity as object.", f"/context/{name}")


def _check_of_statements(context: dict[str, Check], check_timestamp: Check, check_version: Check) -> Check:
    common: dict[str, Check] = {
        "actor": check_actor,
        "verb": _VERB,
        "result": _RESULT,
        "context": object_of(context),
        "timestamp": check_timestamp,
        "attachments": _ATTACHMENTS,
    }
    objects: dict[str, Check] = {
        "Activity": check_activity,
        "Agent": _AGENT,
        "Group": _GROUP,
        "StatementRef": _STATEMENT_REF,
    }
    required = ("actor", "verb", "object")
    substatement = object_of(
        {"objectType": one_of("SubStatement"), "object": by_object_type(objects, default="Activity"), **common},
        *required,
        also=_fits_its_object,
    )
    return object_of(
        {
            "id": check_uuid,
            "object": by_object_type({**objects, "SubStatement": substatement}, default="Activity"),
            "stored": check_timestamp,
            "version": check_version,
            "authority": _check_authority,
            **common,
        },
        *required,
        also=_fits_its_object,
    )


CHECK_STATEMENT: dict[Version, Check] = {
    "1.0.3": _check_of_statements(
        _CONTEXT_1, check_timestamp_1, matching(_VERSION_1, "This must be a string: 1.0 or 1.0.x.")
    ),
    "2.0.0": _check_of_statements(
        _CONTEXT_2, check_timestamp_2, matching(_VERSION_1_OR_2, "This must be a string: 1.0, 1.0.x, 2.0 or 2.0.x.")
    ),
}
