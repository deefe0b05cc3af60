"""What a verb means for a course: the action of a statement, and under which purpose its result is kept.

The tables are data: more verbs are added here, nowhere else. `http` and `https` twins of a verb are different ids for
xAPI; here, and only here, they mean the same.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_ADL = "http://adlnet.gov/expapi/verbs/"

ACTION_BY_VERB: dict[str, str] = {
    _ADL + "registered": "enrolled",
    "https://w3id.org/xapi/tla/verbs/registered": "enrolled",
    "https://xapi.edlm/profiles/edlm-lms/concepts/verbs/enrolled": "enrolled",
    "http://id.tincanapi.com/verb/unregistered": "unenrolled",
    _ADL + "launched": "launched",
    _ADL + "initialized": "started",
    _ADL + "attempted": "started",
    _ADL + "progressed": "progressed",
    _ADL + "completed": "completed",
    _ADL + "passed": "passed",
    _ADL + "failed": "failed",
    _ADL + "scored": "scored",
    "https://w3id.org/xapi/tla/verbs/scored": "scored",
    "https://w3id.org/xapi/adl/verbs/waived": "waived",
    "https://w3id.org/xapi/adl/verbs/satisfied": "satisfied",
    "https://w3id.org/xapi/adl/verbs/abandoned": "abandoned",
    _ADL + "terminated": "terminated",
    _ADL + "answered": "answered",
    _ADL + "responded": "answered",
    "https://w3id.org/xapi/dod-isd/verbs/responded": "answered",
    _ADL + "voided": "voided",
}
DEFAULT_ACTION = "experienced"

SURVEY_ACTIVITY_TYPES = frozenset(
    {
        "http://adlnet.gov/expapi/activities/survey",
        "http://id.tincanapi.com/activitytype/survey",
        "https://w3id.org/xapi/acrossx/activities/survey",
    }
)
SURVEY_INTERACTION_TYPES = frozenset({"likert"})
VOIDED = _ADL + "voided"


def action_of(statement: Json) -> str:
    """Give the action that a statement's verb stands for."""
    verb: str = statement["verb"]["id"]
    action = ACTION_BY_VERB.get(verb)
    if action is None and verb.startswith("https://adlnet.gov/"):
        action = ACTION_BY_VERB.get("http" + verb[5:])
    return action or DEFAULT_ACTION


def is_voiding(statement: Json) -> bool:
    """Say whether a checked statement voids another (xAPI Data 2.3.2)."""
    return bool(statement["verb"]["id"] == VOIDED)


def is_survey_answer(statement: Json, action: str) -> bool:
    """Say whether the result is an answer to a survey, so that it is kept under `survey` and not under `learning`.

    An answer counts when its question is a Likert scale, or when its question or one of its parents or groupings is a
    survey by activity type.
    """
    if action != "answered" or "result" not in statement:
        return False
    target = statement["object"]
    definition = target.get("definition", {})
    if definition.get("interactionType") in SURVEY_INTERACTION_TYPES:
        return True
    lists = statement.get("context", {}).get("contextActivities", {})
    around = [*lists.get("parent", ()), *lists.get("grouping", ())]
    types = [definition.get("type"), *[one.get("definition", {}).get("type") for one in around]]
    return not SURVEY_ACTIVITY_TYPES.isdisjoint(types)
