"""What tests of a whole term share: what the command line shows, and whether it is the truth."""

from __future__ import annotations

import json
from typing import Any

from tests.services import Griffel

LEARNER_FIELDS = (
    "agent",
    "registration",
    "enrolled",
    "enrolled_at",
    "unenrolled_at",
    "progress",
    "completed_at",
    "outcome",
    "score",
)


def ask(server: Griffel, *arguments: str) -> str:
    return server.command(*arguments, "--data", str(server.data_dir)).stdout


def views_of(server: Griffel, name: str = "progress") -> list[dict[str, Any]]:
    """The generations of a view."""
    return [one for one in json.loads(ask(server, "views", "list", "--json")) if one["view"] == name]


def courses_of(server: Griffel) -> dict[str, dict[str, Any]]:
    """Each course as the command line shows it, by its IRI."""
    listed = json.loads(ask(server, "courses", "list", "--json"))
    shown = [json.loads(ask(server, "courses", "show", one["id"], "--json", "--agents")) for one in listed]
    return {one["activity_id"]: one | {"summary": summary} for one, summary in zip(shown, listed, strict=True)}


def who(agent: dict[str, Any]) -> str:
    return json.dumps(agent, sort_keys=True)


def assert_equals_truth(server: Griffel, courses: dict[str, Any]) -> None:
    """Fail where what the command line shows of these courses, or of which there are, is not the truth."""
    shown = courses_of(server)
    assert set(shown) == set(courses)
    for iri, course in courses.items():
        mine = shown[iri]
        assert mine["modules"] == course["modules"]
        assert (mine["summary"]["enrolled"], mine["summary"]["completed"]) == (course["enrolled"], course["completed"])
        # Whoever was only seen (staff, or enrolled by mistake) is shown too, but was never enrolled.
        learners = {who(one["agent"]): one for one in mine["learners"] if one["enrolled_at"]}
        assert set(learners) == {who(one["agent"]) for one in course["learners"]}
        for told in course["learners"]:
            standing = learners[who(told["agent"])]
            assert {name: standing[name] for name in LEARNER_FIELDS} == {name: told[name] for name in LEARNER_FIELDS}
            for unit, expected in told["modules"].items():
                assert {name: standing["modules"][unit][name] for name in expected} == expected, (iri, unit)
