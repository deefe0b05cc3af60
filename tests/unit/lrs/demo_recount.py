"""The truth of a term, counted a second time from statements alone, by the rules in the docstring of lrs.demo.

Written apart from the player: it reads what any view would read, and knows nothing of how a term is played.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

Json = dict[str, Any]

PROGRESS = "https://w3id.org/xapi/cmi5/result/extensions/progress"


def when(one: Json) -> datetime:
    return datetime.fromisoformat(one["timestamp"])


def verb(one: Json) -> str:
    return one["verb"]["id"].rsplit("/", 1)[1]


def person(agent: Json) -> str:
    return json.dumps(
        {name: value for name, value in agent.items() if name not in {"objectType", "name"}}, sort_keys=True
    )


def recount(every: list[Json]) -> Json:
    """Count statements that stand, in the order of their timestamps."""
    courses = structure(every)
    in_course = {module: course for course, modules in courses.items() for module in modules}
    told: Json = {}
    for course, modules in courses.items():
        told[course] = {
            "learners": {},
            "modules": modules,
            "items": defaultdict(Counter),
            "respondents": set(),
            "questions": defaultdict(Counter),
        }
    facts: dict[tuple[str, str], Json] = {}
    for one in every:
        target, context = one["object"]["id"], one.get("context", {})
        activities = context.get("contextActivities", {})
        around = [activity for place in ("parent", "grouping") for activity in activities.get(place, ())]
        course = next((iri for iri in [target, *(activity["id"] for activity in around)] if iri in courses), None)
        if course is None or one["actor"].get("objectType") == "Group":
            continue
        found = facts.setdefault((course, person(one["actor"])), {"about": defaultdict(list)})
        if target == course or target in in_course or one["object"]["definition"]["type"].endswith("/assessment"):
            found["about"][target].append(one)
        if verb(one) == "answered":
            count_answer(told[course], one, around)
    for (course, who), found in facts.items():
        learner = recount_learner(course, courses[course], found["about"])
        if learner is not None:
            told[course]["learners"][who] = learner
    return told


def structure(every: list[Json]) -> dict[str, list[str]]:
    """Which modules each course has: from what is said about modules and units."""
    courses: dict[str, list[str]] = {}
    for one in every:
        definition = one["object"].get("definition", {})
        parents = one.get("context", {}).get("contextActivities", {}).get("parent", ())
        if definition.get("type", "").endswith(("/activities/module", "/activities/lesson")):
            course = parents[0]["id"]
            if one["object"]["id"] not in courses.setdefault(course, []):
                courses[course].append(one["object"]["id"])
    return {course: sorted(modules) for course, modules in courses.items()}


def count_answer(told: Json, one: Json, around: list[Json]) -> None:
    item, response = one["object"]["id"], one["result"]["response"]
    kind = one["object"]["definition"]["interactionType"]
    if any(activity["definition"]["type"].endswith("/survey") for activity in around if "definition" in activity):
        told["respondents"].add(person(one["actor"]))
        told["items"][item]["answers"] += 1
        if kind != "long-fill-in":
            told["items"][item][f"response {response}"] += 1
        return
    attempt = one["context"]["extensions"]["https://school.example/xapi/extensions/attempt"]
    counts, right = told["questions"][item], one["result"]["success"]
    assert right == (response in one["object"]["definition"]["correctResponsesPattern"])
    counts["answers"] += 1
    counts[f"response {response}"] += 1
    counts["correct"] += right
    counts["first_tries"] += attempt == 1
    counts["first_correct"] += attempt == 1 and right


def outcome(said: list[Json]) -> tuple[str | None, float | None]:
    for name in ("passed", "failed"):
        found = [one for one in said if verb(one) == name]
        if found:
            return name, found[-1]["result"]["score"]["scaled"]
    return None, None


def first(said: list[Json], name: str) -> datetime | None:
    return next((when(one) for one in said if verb(one) == name), None)


def earliest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)


def recount_learner(course: str, modules: list[str], about: dict[str, list[Json]]) -> Json | None:
    membership = [one for one in about[course] if verb(one) in {"registered", "unregistered"}]
    if not membership:
        return None
    cmi5 = "/cmi5/" in course
    learner: Json = {"modules": {}, "enrolled": verb(membership[-1]) == "registered"}
    met = []
    for module in modules:
        said = about[module]
        completed, passed, waived = (first(said, name) for name in ("completed", "passed", "waived"))
        sent = [
            one["result"]["extensions"][PROGRESS]
            for one in said
            if PROGRESS in one.get("result", {}).get("extensions", {})
        ]
        met_at = None
        if cmi5:
            both = max(completed, passed) if completed and passed else None
            rules = {
                next(
                    iter(
                        extension
                        for name, extension in one["context"]["extensions"].items()
                        if name.endswith("/moveon")
                    )
                )
                for one in said
                if verb(one) == "launched"
            }
            assert len(rules) <= 1
            rule = rules.pop() if rules else None
            by_rule = {
                "Completed": completed,
                "Passed": passed,
                "CompletedAndPassed": both,
                "CompletedOrPassed": earliest(completed, passed),
                None: None,
            }[rule]
            met_at = earliest(by_rule, waived)
        met.append(met_at)
        progress = 100 if completed or met_at else max(sent, default=0)
        told = outcome(said if cmi5 else about[f"{module}/quiz"])
        learner["modules"][module] = (progress, completed, met_at, *told)
    learner["completed_at"] = (None if None in met else max(met)) if cmi5 else first(about[course], "completed")
    mean = round(sum(module[0] for module in learner["modules"].values()) / len(modules), 2)
    learner["progress"] = 100.0 if learner["completed_at"] else mean
    learner["outcome"], learner["score"] = outcome(about[course])
    learner["enrolled_at"] = [when(one) for one in membership if verb(one) == "registered"][-1]
    return learner


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def assert_true(truth: Json, every: list[Json]) -> None:
    """Fail where the truth differs from a recount of the statements that stand."""
    counted = recount(sorted(every, key=when))
    assert set(truth["courses"]) == set(counted)
    for iri, course in truth["courses"].items():
        mine = counted[iri]
        assert sorted(course["modules"]) == mine["modules"]
        assert {person(learner["agent"]) for learner in course["learners"]} == set(mine["learners"])
        for learner in course["learners"]:
            other = mine["learners"][person(learner["agent"])]
            assert learner["enrolled"] == other["enrolled"]
            assert instant(learner["enrolled_at"]) == other["enrolled_at"]
            assert learner["progress"] == other["progress"]
            assert instant(learner["completed_at"]) == other["completed_at"]
            assert (learner["outcome"], learner["score"]) == (other["outcome"], other["score"])
            for module, told in learner["modules"].items():
                assert (
                    told["progress"],
                    instant(told["completed_at"]),
                    instant(told.get("met_at")),
                    told["outcome"],
                    told["score"],
                ) == other["modules"][module]
        enrolled = [learner for learner in mine["learners"].values() if learner["enrolled"]]
        assert course["enrolled"] == len(enrolled)
        assert course["unenrolled"] == len(mine["learners"]) - len(enrolled)
        assert course["completed"] == sum(learner["completed_at"] is not None for learner in enrolled)
        assert course["passed"] == sum(learner["outcome"] == "passed" for learner in enrolled)
        assert course["failed"] == sum(learner["outcome"] == "failed" for learner in enrolled)
        assert course["survey"]["respondents"] == len(mine["respondents"])
        for item, told in course["survey"]["items"].items():
            assert told["answers"] == mine["items"][item]["answers"]
            assert {f"response {response}": count for response, count in told["responses"].items()} == {
                name: count for name, count in mine["items"][item].items() if name.startswith("response")
            }
        for question, told in course["questions"].items():
            figures = ("answers", "correct", "first_tries", "first_correct")
            assert [told[figure] for figure in figures] == [mine["questions"][question][figure] for figure in figures]
