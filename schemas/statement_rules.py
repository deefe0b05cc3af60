"""The rules of xAPI statements, as tables: which properties each object has, and what each may hold.

What a check is, and how checks are made of checks, stands in `checks`.

Section numbers are those of xAPI 1.0.3, part two; what 2.0.0 changed stands beside it.
"""

from __future__ import annotations

import re
from typing import Any

from schemas.checks import (
    NAMED,
    Check,
    Json,
    array_of,
    by_object_type,
    check_boolean,
    check_number,
    check_string,
    matching,
    object_of,
    one_of,
    recurring,
)
from schemas.errors import InvalidInput
from schemas.iri import check_iri, check_known_iri, check_mailbox, check_media_type
from schemas.languages import check_language_map, check_language_tag
from schemas.times import Version, check_duration, check_timestamp_1, check_timestamp_2

VOIDED = "http://adlnet.gov/expapi/verbs/voided"
SIGNATURE = "http://adlnet.gov/expapi/attachments/signature"
SIGNATURE_MEDIA_TYPE = "application/octet-stream"

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_SHA2 = re.compile(r"(?:[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})")
_VERSION_1 = re.compile(r"1\.0(?:\.[0-9A-Za-z.+-]{1,32})?")
_VERSION_1_OR_2 = re.compile(r"[12]\.0(?:\.[0-9A-Za-z.+-]{1,32})?")


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

PROPERTIES = frozenset(NAMED)
"""Every name that xAPI gives to a property; any other key of a statement was chosen by somebody."""
