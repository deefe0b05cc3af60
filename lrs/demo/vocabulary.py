"""The verbs, activity types and extensions that the term's platforms use, with their names in English and Dutch."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

_ADL = "http://adlnet.gov/expapi/verbs/"
_NAMES: Final = {
    _ADL + "registered": ("registered for", "schreef zich in voor"),
    "http://id.tincanapi.com/verb/unregistered": ("unregistered from", "schreef zich uit voor"),
    "http://id.tincanapi.com/verb/viewed": ("viewed", "bekeek"),
    _ADL + "experienced": ("experienced", "las"),
    _ADL + "progressed": ("progressed", "vorderde"),
    _ADL + "completed": ("completed", "rondde af"),
    _ADL + "attempted": ("attempted", "begon aan"),
    _ADL + "answered": ("answered", "beantwoordde"),
    _ADL + "passed": ("passed", "haalde"),
    _ADL + "failed": ("failed", "haalde niet"),
    _ADL + "scored": ("scored", "kreeg een cijfer voor"),
    _ADL + "launched": ("launched", "opende"),
    _ADL + "initialized": ("initialized", "startte"),
    _ADL + "terminated": ("terminated", "sloot af"),
    "https://w3id.org/xapi/adl/verbs/abandoned": ("abandoned", "brak af"),
    "https://w3id.org/xapi/adl/verbs/waived": ("waived", "kreeg vrijstelling voor"),
    "https://w3id.org/xapi/adl/verbs/satisfied": ("satisfied", "voldeed aan"),
    "https://w3id.org/xapi/video/verbs/played": ("played", "speelde af"),
    "https://w3id.org/xapi/video/verbs/paused": ("paused", "pauzeerde"),
    "https://w3id.org/xapi/video/verbs/seeked": ("seeked", "spoelde"),
    "http://activitystrea.ms/schema/1.0/submit": ("submitted", "leverde in"),
    _ADL + "voided": ("voided", "trok in"),
}
VERB: Final[dict[str, Json]] = {
    iri.rsplit("/", 1)[1]: {"id": iri, "display": {"en": english, "nl": dutch}}
    for iri, (english, dutch) in _NAMES.items()
}
"""Each verb as it stands in a statement, by the last part of its IRI."""

_TYPES = "http://adlnet.gov/expapi/activities/"
COURSE: Final = _TYPES + "course"
MODULE: Final = _TYPES + "module"
LESSON: Final = _TYPES + "lesson"
ASSESSMENT: Final = _TYPES + "assessment"
INTERACTION: Final = _TYPES + "cmi.interaction"
PAGE: Final = "http://activitystrea.ms/schema/1.0/page"
ASSIGNMENT: Final = "http://id.tincanapi.com/activitytype/school-assignment"
SURVEY: Final = "http://id.tincanapi.com/activitytype/survey"
VIDEO: Final = "https://w3id.org/xapi/video/activity-type/video"
CMI5_COURSE: Final = "https://w3id.org/xapi/cmi5/activitytype/course"
CMI5_BLOCK: Final = "https://w3id.org/xapi/cmi5/activitytype/block"

CMI5: Final = "https://w3id.org/xapi/cmi5/context/categories/cmi5"
MOVE_ON: Final = "https://w3id.org/xapi/cmi5/context/categories/moveon"
VIDEO_PROFILE: Final = "https://w3id.org/xapi/video"

PROGRESS: Final = "https://w3id.org/xapi/cmi5/result/extensions/progress"
REASON: Final = "https://w3id.org/xapi/cmi5/result/extensions/reason"
_CMI5_CONTEXT = "https://w3id.org/xapi/cmi5/context/extensions/"
SESSION_ID: Final = _CMI5_CONTEXT + "sessionid"
MASTERY: Final = _CMI5_CONTEXT + "masteryscore"
LAUNCH_MODE: Final = _CMI5_CONTEXT + "launchmode"
LAUNCH_URL: Final = _CMI5_CONTEXT + "launchurl"
MOVE_ON_RULE: Final = _CMI5_CONTEXT + "moveon"
VIDEO_EXTENSION: Final = "https://w3id.org/xapi/video/extensions/"
ATTEMPT: Final = "https://school.example/xapi/extensions/attempt"


def reference(activity: Json) -> Json:
    """Give an activity as contextActivities name it: its id and type."""
    return {"id": activity["id"], "definition": {"type": activity["definition"]["type"]}}
