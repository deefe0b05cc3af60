"""What a verb means for a course, and what is a survey's answer."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.actions import (
    ACTION_BY_VERB,
    DEFAULT_ACTION,
    SURVEY_ACTIVITY_TYPES,
    action_of,
    is_survey_answer,
    is_voiding,
)
from schemas.iri import check_iri

from .builders import VOIDED, minimal

ADL = "http://adlnet.gov/expapi/verbs/"
SURVEY = "http://adlnet.gov/expapi/activities/survey"


def said(verb: str, **parts: Any) -> dict[str, Any]:
    return minimal(verb={"id": verb}, **parts)


@pytest.mark.parametrize(
    ("verb", "action"),
    [
        (ADL + "registered", "enrolled"),
        (ADL + "initialized", "started"),
        (ADL + "progressed", "progressed"),
        (ADL + "completed", "completed"),
        (ADL + "passed", "passed"),
        (ADL + "failed", "failed"),
        (ADL + "answered", "answered"),
        ("https://w3id.org/xapi/adl/verbs/satisfied", "satisfied"),
        ("https://w3id.org/xapi/adl/verbs/waived", "waived"),
        (VOIDED, "voided"),
    ],
)
def test_a_known_verb_has_its_action(verb: str, action: str) -> None:
    assert action_of(said(verb)) == action


@pytest.mark.parametrize("verb", ACTION_BY_VERB)
def test_every_verb_of_the_table_is_an_iri_with_one_action(verb: str) -> None:
    check_iri(verb)
    assert action_of(said(verb)) == ACTION_BY_VERB[verb]


def test_the_https_twin_of_a_verb_means_the_same() -> None:
    assert action_of(said("https://adlnet.gov/expapi/verbs/completed")) == "completed"


@pytest.mark.parametrize("verb", ["https://school.example/verbs/read", "https://adlnet.gov/expapi/verbs/nothing", ADL])
def test_any_other_verb_is_an_experience(verb: str) -> None:
    assert action_of(said(verb)) == DEFAULT_ACTION == "experienced"


def test_only_the_verb_itself_voids() -> None:
    assert is_voiding(said(VOIDED))
    assert not is_voiding(said("https://adlnet.gov/expapi/verbs/voided")), "a twin is another id for xAPI"


QUESTION = {"id": "https://school.example/q"}
LIKERT = {**QUESTION, "definition": {"interactionType": "likert"}}
OTHER_QUESTION = {**QUESTION, "definition": {"interactionType": "choice"}}
RESULT = {"response": "likert_3"}


def around(kind: str, activity_type: str = SURVEY) -> dict[str, Any]:
    activities = [
        {"id": "https://school.example/x"},
        {"id": "https://school.example/s", "definition": {"type": activity_type}},
    ]
    return {"contextActivities": {kind: activities}}


@pytest.mark.parametrize(
    ("parts", "is_answer"),
    [
        pytest.param({"object": LIKERT, "result": RESULT}, True, id="a Likert scale"),
        pytest.param({"object": OTHER_QUESTION, "result": RESULT}, False, id="a quiz"),
        pytest.param({"object": LIKERT}, False, id="no result"),
        pytest.param(
            {"object": {**QUESTION, "definition": {"type": SURVEY}}, "result": RESULT}, True, id="a survey itself"
        ),
        pytest.param({"object": QUESTION, "result": RESULT, "context": around("parent")}, True, id="its parent"),
        pytest.param({"object": QUESTION, "result": RESULT, "context": around("grouping")}, True, id="its grouping"),
        pytest.param({"object": QUESTION, "result": RESULT, "context": around("other")}, False, id="something else"),
        pytest.param(
            {
                "object": QUESTION,
                "result": RESULT,
                "context": around("parent", "http://adlnet.gov/expapi/activities/assessment"),
            },
            False,
            id="the parent is a test",
        ),
        pytest.param(
            {"object": {"objectType": "Agent", "mbox": "mailto:a@b.example"}, "result": RESULT}, False, id="a person"
        ),
    ],
)
def test_an_answer_counts_as_a_surveys_by_its_question_and_what_is_around_it(
    parts: dict[str, Any], is_answer: bool
) -> None:
    answered = said(ADL + "answered", **parts)
    assert is_survey_answer(answered, action_of(answered)) is is_answer
    completed = said(ADL + "completed", **parts)
    assert is_survey_answer(completed, action_of(completed)) is False


@pytest.mark.parametrize("activity_type", sorted(SURVEY_ACTIVITY_TYPES))
def test_every_type_of_survey_counts(activity_type: str) -> None:
    answered = said(ADL + "answered", object=QUESTION, result=RESULT, context=around("parent", activity_type))
    assert is_survey_answer(answered, "answered")
