"""Statements to change one thing about."""

from __future__ import annotations

import copy
import json
from typing import Any

Json = dict[str, Any]

GONE: Any = object()
"""As a new value: take the property away."""

VERSIONS = ("1.0.3", "2.0.0")

ID = "6690e6c9-3ef0-4ed3-8b37-7f3964730bee"
REGISTRATION = "ec531277-b57b-4c15-8d91-d292c5b2b8f7"
EXTENSION = "https://school.example/xapi/tempo"
VOIDED = "http://adlnet.gov/expapi/verbs/voided"
SIGNATURE = "http://adlnet.gov/expapi/attachments/signature"

ANN = {"objectType": "Agent", "name": "Ann", "mbox": "mailto:ann@school.example"}
BEA = {"name": "Bea", "account": {"homePage": "https://school.example/accounts", "name": "bea-7"}}
CAS = {"openid": "https://id.school.example/cas"}
DEE = {"mbox_sha1sum": "cd9b00a5611f94eaa7b1661edab976068e364975"}
CLASS = {"objectType": "Group", "name": "Class 7", "member": [ANN, BEA, CAS]}
SCHOOL = {"objectType": "Group", "account": {"homePage": "https://school.example/accounts", "name": "school"}}
REFERENCE = {"objectType": "StatementRef", "id": "8f87ccde-bb56-4c2e-ab83-44982ef22df0"}
ACTIVITY = {"objectType": "Activity", "id": "https://school.example/courses/42"}


def minimal(**parts: Any) -> Json:
    """The least that is a statement, with these parts."""
    return {
        "actor": {"mbox": "mailto:ann@school.example"},
        "verb": {"id": "https://school.example/verbs/read"},
        "object": {"id": "https://school.example/books/1"},
    } | parts


def _parts() -> Json:
    """Every property that a statement and a sub-statement share, in 1.0.3."""
    return {
        "actor": ANN,
        "verb": {
            "id": "http://adlnet.gov/expapi/verbs/answered",
            "display": {"en": "answered", "nl-NL": "gaf antwoord"},
        },
        "object": {
            "objectType": "Activity",
            "id": "https://school.example/courses/42/quiz/3",
            "definition": {
                "name": {"en": "Long division"},
                "description": {"en": "Dividing by hand"},
                "type": "http://adlnet.gov/expapi/activities/cmi.interaction",
                "moreInfo": "https://school.example/about/division",
                "interactionType": "choice",
                "correctResponsesPattern": ["a[,]b"],
                "choices": [{"id": "a", "description": {"en": "One"}}, {"id": "b"}],
                "extensions": {EXTENSION: "slow"},
            },
        },
        "result": {
            "score": {"scaled": 0.5, "raw": 5, "min": 0, "max": 10.5},
            "success": True,
            "completion": False,
            "response": "a[,]b",
            "duration": "PT4H35M59.14S",
            "extensions": {EXTENSION: [1, None, {"deep": {"er": True}}]},
        },
        "context": {
            "registration": REGISTRATION,
            "instructor": BEA,
            "team": CLASS,
            "contextActivities": {
                "parent": [ACTIVITY],
                "grouping": [ACTIVITY, ACTIVITY],
                "category": [],
                "other": [ACTIVITY],
            },
            "revision": "2",
            "platform": "Paper",
            "language": "en-GB",
            "statement": REFERENCE,
            "extensions": {EXTENSION: {"a": 1}},
        },
        "timestamp": "2024-02-29T08:30:00.123Z",
        "attachments": [
            {
                "usageType": "https://school.example/usage/report",
                "display": {"en": "A report"},
                "description": {"en": "What was written"},
                "contentType": "text/plain; charset=utf-8",
                "length": 27,
                "sha2": "495395e777cd98da653df9615d09c0fd6bb2f8d4788394cd53c56a3bfdcd848a",
                "fileUrl": "https://school.example/reports/1",
            }
        ],
    }


def _unshared(statement: Json) -> Json:
    """A copy in which no part stands in two places, so that one place can be changed alone."""
    return json.loads(json.dumps(statement))


def full(version: str = "1.0.3") -> Json:
    """A statement with every property of that version."""
    statement = _parts() | {
        "id": ID,
        "stored": "2024-02-29T08:30:01Z",
        "version": "1.0.0" if version == "1.0.3" else "2.0.0",
        "authority": {"objectType": "Group", "member": [BEA, ANN]},
    }
    if version == "2.0.0":
        statement["context"]["contextAgents"] = [
            {"objectType": "contextAgent", "agent": CAS, "relevantTypes": ["https://school.example/roles/coach"]}
        ]
        statement["context"]["contextGroups"] = [{"objectType": "contextGroup", "group": SCHOOL}]
    return _unshared(statement)


def nested() -> Json:
    """A statement whose object is a sub-statement with every property."""
    return _unshared(minimal(object={"objectType": "SubStatement"} | _parts()))


def changed(base: Json, place: str, value: Any) -> Json:
    """A copy of base with one place (keys and indices joined by slashes, `~1` for a slash in a key) set anew."""
    result = copy.deepcopy(base)
    *way, last = [_key(piece) for piece in place.split("/")]
    at: Any = result
    for key in way:
        at = at[key]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return result


def _key(piece: str) -> str | int:
    return int(piece) if piece.isdecimal() else piece.replace("~1", "/")


def resolve(value: Any, pointer: str) -> Any:
    """What an RFC 6901 pointer points to; KeyError, IndexError or ValueError when there is no such place."""
    if not pointer:
        return value
    assert pointer[0] == "/"
    for token in pointer[1:].split("/"):
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
