"""Which fact a statement is, and what facts come to."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.course_rules import (
    fact_of,
    fold,
    instant_us,
    learner_standing,
    merge,
    met_at,
    new_standing,
    take,
    time_text,
)
from schemas.actions import action_of

ADL = "http://adlnet.gov/expapi/"
COURSE = {"id": "https://s.example/c", "definition": {"type": ADL + "activities/course"}}
CMI5_COURSE = {"id": "https://s.example/c5", "definition": {"type": "https://w3id.org/xapi/cmi5/activitytype/course"}}
MODULE = {"id": "https://s.example/c/1", "definition": {"type": ADL + "activities/module"}}
QUIZ = {"id": "https://s.example/c/1/quiz", "definition": {"type": ADL + "activities/assessment"}}
QUESTION = {"id": "https://s.example/c/1/q", "definition": {"type": ADL + "activities/cmi.interaction"}}
PAGE = {"id": "https://s.example/c/1/p", "definition": {"type": "http://activitystrea.ms/schema/1.0/page"}}
ANN = {"account": {"homePage": "https://s.example", "name": "ann"}}
PROGRESS = "https://w3id.org/xapi/cmi5/result/extensions/progress"
CMI5 = "https://w3id.org/xapi/cmi5/context/"
AT = "2026-09-07T10:00:00.000Z"
AT_US = 1_788_775_200_000_000


def say(verb: str, target: dict[str, Any], **more: Any) -> dict[str, Any]:
    around = {place: more.pop(place) for place in ("parent", "grouping", "category") if place in more}
    context: dict[str, Any] = more.pop("context", {})
    if around:
        context = context | {"contextActivities": around}
    verb = verb if ":" in verb else f"{ADL}verbs/{verb}"
    one = {"actor": ANN, "verb": {"id": verb}, "object": target, "timestamp": AT, **more}
    return one | ({"context": context} if context else {})


def fact(statement: dict[str, Any]) -> dict[str, Any] | None:
    found = fact_of(statement, action_of(statement), 5)
    return None if found is None else {"course": found.course, "registration": found.registration, **found.content}


def test_what_is_said_of_a_course_is_a_fact_of_it() -> None:
    told = fact(say("registered", COURSE, context={"registration": "AB-C"}))
    assert told == {"course": COURSE["id"], "registration": "ab-c", "at": AT_US, "kind": "enrolled"}


def test_a_module_directly_in_the_course_is_a_unit_of_it() -> None:
    told = fact(say("completed", MODULE, parent=[COURSE]))
    assert told == {"course": COURSE["id"], "registration": "", "at": AT_US, "kind": "completed", "unit": MODULE["id"]}


@pytest.mark.parametrize("target", [PAGE, QUESTION, QUIZ])
def test_what_stands_in_a_module_is_seen_and_no_more(target: dict[str, Any]) -> None:
    told = fact(say("completed", target, parent=[MODULE], grouping=[COURSE], result={"extensions": {PROGRESS: 40}}))
    assert told == {"course": COURSE["id"], "registration": "", "at": AT_US, "kind": "other"}


def test_the_outcome_of_a_test_in_a_module_is_the_modules() -> None:
    told = fact(say("failed", QUIZ, parent=[MODULE], grouping=[COURSE], result={"score": {"scaled": 0.25}}))
    assert told is not None
    assert (told["kind"], told["unit"], told["score"]) == ("failed", MODULE["id"], 0.25)


def test_verbs_and_types_may_be_written_with_https() -> None:
    course = {"id": COURSE["id"], "definition": {"type": "https://adlnet.gov/expapi/activities/course"}}
    told = fact(say("https://adlnet.gov/expapi/verbs/completed", course))
    assert told is not None
    assert told["kind"] == "completed"


@pytest.mark.parametrize(
    "statement",
    [
        say("completed", MODULE),
        say("completed", MODULE, parent=[{"id": COURSE["id"]}]),
        say("completed", {"objectType": "StatementRef", "id": "x"}, parent=[COURSE]),
        say("completed", COURSE, actor={"objectType": "Group", "member": [ANN]}),
        say("completed", COURSE, actor=0),
        say("completed", 1, parent=[COURSE]),  # type: ignore[arg-type]
    ],
)
def test_what_is_about_no_course_or_not_one_learner_is_no_fact(statement: dict[str, Any]) -> None:
    assert fact(statement) is None


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ({PROGRESS: 40}, 40),
        ({PROGRESS: 40.5}, 40.5),
        ({PROGRESS: 140}, 100),
        ({PROGRESS: -3}, 0),
        ({"https://w3id.org/xapi/video/extensions/progress": 0.25}, 25),
        ({PROGRESS: "40"}, None),
        ({PROGRESS: True}, None),
    ],
)
def test_progress_is_in_percent_however_it_was_sent(extensions: dict[str, Any], expected: float | None) -> None:
    told = fact(say("progressed", MODULE, parent=[COURSE], result={"extensions": extensions}))
    assert told is not None
    assert told.get("progress") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AT, AT_US),
        ("2026-09-07T12:00:00+02:00", AT_US),
        ("2026-09-07t10:00:00.000001z", AT_US + 1),
        ("2026-09-07T10:00:00", AT_US),
        (None, 5),
        ("no time", 5),
    ],
)
def test_instants_are_in_utc_and_stored_stands_in_for_a_missing_one(text: str | None, expected: int) -> None:
    assert instant_us(text, 5) == expected


def test_instants_are_written_as_they_were_to_the_millisecond_or_finer() -> None:
    assert time_text(AT_US) == AT
    assert time_text(AT_US + 1) == "2026-09-07T10:00:00.000001Z"
    assert time_text(None) is None


@pytest.mark.parametrize(
    ("rule", "unit", "expected"),
    [
        ("Completed", {"completed": 5, "first_passed": 3}, 5),
        ("Passed", {"completed": 5, "first_passed": 3}, 3),
        ("CompletedAndPassed", {"completed": 5, "first_passed": 3}, 5),
        ("CompletedAndPassed", {"completed": 5}, None),
        ("CompletedOrPassed", {"completed": 5, "first_passed": 3}, 3),
        ("CompletedOrPassed", {"first_passed": 3}, 3),
        ("NotApplicable", {"launched": 2}, 2),
        ("Passed", {"completed": 5}, None),
        ("Passed", {"completed": 5, "waived": 9}, 9),
        ("Completed", {"completed": 5, "waived": 2}, 2),
        (None, {"completed": 5, "first_passed": 3}, None),
        (None, {"waived": 7}, 7),
    ],
)
def test_move_on_is_met_by_its_rule_or_by_a_waiver(
    rule: str | None, unit: dict[str, Any], expected: int | None
) -> None:
    assert met_at(unit | ({"rule": [1, "", rule]} if rule else {})) == expected


def folded(*facts: dict[str, Any]) -> dict[str, Any]:
    standing = fold(new_standing("c", ""), [(b"%d" % at, one) for at, one in enumerate(facts)])
    assert standing is not None
    return standing


def test_a_session_that_is_only_for_looking_decides_nothing_whenever_its_launch_arrives() -> None:
    launched = {"at": 1, "kind": "launched", "unit": "u", "rule": "Completed", "mode": "Review", "session": "s"}
    completed = {"at": 2, "kind": "completed", "unit": "u", "session": "s"}
    for order in ([launched, completed], [completed, launched]):
        assert met_at(folded(*order)["units"]["u"]) is None
    assert met_at(folded(launched, completed | {"session": "t"})["units"]["u"]) == 2


def test_staff_do_not_make_a_learner_seen() -> None:
    standing = folded(
        {"at": 1, "kind": "completed"}, {"at": 9, "kind": "enrolled"}, {"at": 8, "kind": "other", "by_staff": True}
    )
    assert learner_standing(b"x", standing, ()).last_seen_at == time_text(1)


def test_progress_of_a_course_is_the_mean_over_all_its_units_touched_or_not() -> None:
    standing = folded(
        {"at": 1, "kind": "other", "unit": "u", "progress": 50}, {"at": 1, "kind": "completed", "unit": "v"}
    )
    told = learner_standing(b"x", standing, ("u", "v", "w"))
    assert told.progress == 50.0
    assert {unit: one.progress for unit, one in told.modules.items()} == {"u": 50, "v": 100, "w": 0}


def standing_under(registration: str, *facts: dict[str, Any]) -> dict[str, Any]:
    standing = fold(new_standing("c", registration), [(b"%d" % at, one) for at, one in enumerate(facts)])
    assert standing is not None
    return standing


def test_what_is_said_without_a_registration_belongs_to_the_newest() -> None:
    platform = standing_under("", {"at": 1, "kind": "enrolled"}, {"at": 9, "kind": "completed", "unit": "u"})
    older = standing_under("a", {"at": 3, "kind": "completed"}, {"at": 2, "kind": "passed", "score": 0.9})
    newer = standing_under("b", {"at": 4, "kind": "other", "progress": 30})
    told = learner_standing(b"x", merge([platform, older, newer]), ("u",))
    assert (told.registration, told.enrolled, told.enrolled_at) == ("b", True, time_text(1))
    assert told.modules["u"].completed_at == time_text(9)
    assert (told.completed_at, told.outcome) == (None, None), "an older registration is over"


def test_the_latest_about_an_enrolment_counts_whatever_registration_it_is_under() -> None:
    left = standing_under("a", {"at": 5, "kind": "unenrolled"})
    back = standing_under("", {"at": 6, "kind": "enrolled"})
    assert learner_standing(b"x", merge([left, back]), ()).enrolled
    assert not learner_standing(b"x", merge([left, standing_under("b", {"at": 4, "kind": "enrolled"})]), ()).enrolled


def test_a_rule_is_met_within_one_registration() -> None:
    launched = {"at": 1, "kind": "launched", "unit": "u", "rule": "CompletedAndPassed"}
    older = standing_under("a", launched, {"at": 2, "kind": "completed", "unit": "u"})
    newer = standing_under("b", launched | {"at": 3}, {"at": 4, "kind": "passed", "unit": "u"})
    assert met_at(merge([older, newer])["units"]["u"]) is None


def test_nothing_is_left_of_no_facts() -> None:
    assert fold(new_standing("c", ""), []) is None


KINDS = ("enrolled", "unenrolled", "launched", "completed", "passed", "failed", "waived", "satisfied", "other")
FACTS = st.lists(
    st.fixed_dictionaries(
        {"at": st.integers(1, 6), "kind": st.sampled_from(KINDS)},
        optional={
            "unit": st.sampled_from(("u", "v")),
            "progress": st.integers(0, 100),
            "score": st.sampled_from((0.1, 0.9)),
            "session": st.sampled_from(("s", "t")),
            "rule": st.sampled_from(("Passed", "Completed")),
            "mode": st.just("Review"),
            "cmi5": st.just(True),
        },
    ),
    min_size=1,
    max_size=12,
)


@given(FACTS, st.randoms(use_true_random=False))
def test_the_order_of_facts_makes_no_difference(facts: list[dict[str, Any]], chance: random.Random) -> None:
    named = [(b"%02d" % at, one) for at, one in enumerate(facts)]
    expected = fold(new_standing("c", "r"), named)
    chance.shuffle(named)
    assert fold(new_standing("c", "r"), named) == expected


@given(FACTS)
def test_taking_one_after_the_other_equals_folding_where_every_session_is_normal(facts: list[dict[str, Any]]) -> None:
    named = [(b"%02d" % at, {name: one[name] for name in one if name != "mode"}) for at, one in enumerate(facts)]
    standing = new_standing("c", "r")
    for statement, one in named:
        take(standing, statement, one)
    assert fold(new_standing("c", "r"), named) == standing


@given(FACTS, st.sampled_from(("", "r")))
def test_one_standing_alone_is_what_it_was(facts: list[dict[str, Any]], registration: str) -> None:
    standing = standing_under(registration, *facts)
    assert learner_standing(b"x", merge([standing]), ("u", "v")) == learner_standing(b"x", standing, ("u", "v"))
