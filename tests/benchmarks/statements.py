"""Statements as content posts them, about 1.2 kB each, the same for the same seed."""

from __future__ import annotations

import random
import uuid
from typing import Any

LEARNERS = 2_000
COURSES = 20
MODULES = 12
PROBES = 40
PROBE_STATEMENTS = 50
PROBE_VERB = "http://adlnet.gov/expapi/verbs/completed"
VERBS = ("initialized", "progressed", "answered", "completed", "passed", "experienced")


def statements(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Give so many statements, each with an id of its own."""
    chance = random.Random(seed)
    return [_statement(chance) for _ in range(count)]


def probes() -> list[dict[str, Any]]:
    """Give the statements of a few learners who stop early: each has a full page under one registration, for ever."""
    chance = random.Random(0)
    made = []
    for probe in range(PROBES):
        for _ in range(PROBE_STATEMENTS):
            one = _statement(chance)
            one["actor"]["account"]["name"] = f"probe-{probe}"
            one["verb"] = {"id": PROBE_VERB}
            one["context"]["registration"] = str(uuid.UUID(int=(1 << 100) + probe))
            made.append(one)
    return made


def _statement(chance: random.Random) -> dict[str, Any]:
    learner, course, module = chance.randrange(LEARNERS), chance.randrange(COURSES), chance.randrange(MODULES)
    verb = chance.choice(VERBS)
    root = f"https://school.example/courses/{course}"
    registration = uuid.UUID(int=(learner << 64) + course)
    return {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "actor": {
            "objectType": "Agent",
            "name": f"Learner {learner}",
            "account": {"homePage": "https://school.example", "name": f"learner-{learner}"},
        },
        "verb": {"id": f"http://adlnet.gov/expapi/verbs/{verb}", "display": {"en": verb, "nl": verb}},
        "object": {
            "objectType": "Activity",
            "id": f"{root}/modules/{module}",
            "definition": {
                "type": "http://adlnet.gov/expapi/activities/module",
                "name": {"en": f"Module {module}", "nl": f"Module {module}"},
                "description": {"en": "What one should know about this", "nl": "Wat men hiervan moet weten"},
            },
        },
        "result": {
            "score": {"scaled": chance.randrange(100) / 100, "raw": chance.randrange(100), "min": 0, "max": 100},
            "success": True,
            "completion": verb == "completed",
            "duration": f"PT{chance.randrange(1, 60)}M",
        },
        "context": {
            "registration": str(registration),
            "platform": "Example LMS",
            "language": "nl",
            "contextActivities": {
                "parent": [{"id": root, "definition": {"type": "http://adlnet.gov/expapi/activities/course"}}],
                "grouping": [{"id": "https://school.example/programme"}],
                "category": [{"id": "https://w3id.org/xapi/cmi5/context/categories/cmi5"}],
            },
            "extensions": {"https://w3id.org/xapi/cmi5/context/extensions/sessionid": f"{chance.getrandbits(64):016x}"},
        },
        "timestamp": "2026-11-02T09:15:27.250Z",
    }
