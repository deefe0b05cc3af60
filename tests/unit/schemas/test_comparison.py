"""equal_statements: what may differ, and what makes another statement."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from schemas.statement import equal_statements

from .builders import ACTIVITY, ANN, BEA, CAS, CLASS, DEE, EXTENSION, GONE, ID, SCHOOL, changed, full, minimal, nested


def equal(one: Any, other: Any) -> bool:
    """Whether they are, either way round, without a change to either."""
    before = copy.deepcopy((one, other))
    result = equal_statements(one, other)
    assert equal_statements(other, one) is result
    assert (one, other) == before
    return result


BOTH = {"": full("2.0.0"), "object/": nested()}


@pytest.mark.parametrize("base", [minimal(), full(), full("2.0.0"), nested()])
def test_a_statement_equals_its_copy_in_any_order_of_keys(base: Any) -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    assert equal(base, copy.deepcopy(base))
    assert equal(base, backwards(base))
    assert equal(base, json.loads(json.dumps(base)))


MAY_DIFFER_BELOW = [
    ("verb/display", {"nl": "beantwoordde"}),
    ("verb/display", GONE),
    ("object/definition", {"name": {"nl": "Staartdelen"}}),
    ("object/definition", GONE),
    ("object/objectType", GONE),
    ("actor/objectType", GONE),
    ("actor/mbox", "mailto:ann@SCHOOL.example"),
    ("context/contextActivities/parent/0/definition", {"name": {"nl": "Rekenen"}}),
    ("context/contextActivities/parent", ACTIVITY),
    ("context/contextActivities/other/0/objectType", GONE),
    ("context/team/member", [CAS, ANN | {"mbox": "mailto:ann@School.Example"}, {"objectType": "Agent"} | BEA]),
    ("context/registration", full()["context"]["registration"].upper()),
    ("context/statement/id", full()["context"]["statement"]["id"].upper()),
    ("context/language", "EN-gb"),
    ("result/duration", "PT4H35M59.149S"),
    ("result/score", {"max": 10.5, "min": 0.0, "raw": 5.0, "scaled": 0.50}),
    ("timestamp", "2024-02-29T09:30:00.123+01:00"),
    ("timestamp", "2024-02-29T08:30:00.123000Z"),
    ("attachments/0/display", {"EN": "A report"}),
    ("attachments/0/sha2", full()["attachments"][0]["sha2"].upper()),
]


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(("place", "value"), MAY_DIFFER_BELOW)
def test_what_may_differ_makes_no_other_statement(place: str, value: Any, prefix: str) -> None:
    base = BOTH[prefix]
    other = changed(base, prefix + place, value)
    assert other != base or "score" in place
    assert equal(base, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stored", "2030-01-01T00:00:00Z"),
        ("stored", GONE),
        ("authority", ANN),
        ("authority", GONE),
        ("version", "1.0.3"),
        ("version", GONE),
        ("id", GONE),
        ("id", ID.upper()),
        ("timestamp", GONE),
    ],
)
def test_what_a_store_gives_makes_no_other_statement(name: str, value: Any) -> None:
    assert equal(full(), changed(full(), name, value))


MUST_NOT_DIFFER = [
    ("actor", BEA),
    ("actor/name", "Anna"),
    ("actor/name", GONE),
    ("actor/mbox", "mailto:Ann@school.example"),
    ("verb/id", "https://school.example/verbs/other"),
    ("object/id", "https://school.example/courses/42/quiz/4"),
    ("object", ANN),
    ("object", SCHOOL),
    ("result", GONE),
    ("result/success", False),
    ("result/success", 1),
    ("result/completion", 0),
    ("result/response", "b[,]a"),
    ("result/duration", "PT4H35M59.15S"),
    ("result/duration", "PT16559.14S"),
    ("result/score/raw", 5.000001),
    ("result/score/max", GONE),
    ("result/extensions", {EXTENSION: [1, None, {"deep": {"er": 1}}]}),
    ("result/extensions", {EXTENSION: [True, None, {"deep": {"er": True}}]}),
    ("result/extensions", {EXTENSION: [1, None, {"deep": {"er": True, "than": None}}]}),
    ("context/registration", "ec531277-b57b-4c15-8d91-d292c5b2b8f8"),
    ("context/instructor", CAS),
    ("context/team/member", [ANN, BEA]),
    ("context/team/member", [ANN, BEA, DEE]),
    ("context/team/member", [ANN, BEA, CAS, CAS]),
    ("context/contextActivities/parent", []),
    ("context/contextActivities/grouping", ACTIVITY),
    ("context/contextActivities/other", GONE),
    ("context/revision", "3"),
    ("context/platform", "paper"),
    ("context/language", "en"),
    ("context/extensions", {EXTENSION: {"a": 1, "A": 1}}),
    ("timestamp", "2024-02-29T08:30:00.124Z"),
    ("timestamp", "2024-02-29T08:30:00.123+01:00"),
    ("attachments", []),
    ("attachments", GONE),
    ("attachments/0/length", 28),
    ("attachments/0/display/en", "The report"),
]


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(("place", "value"), MUST_NOT_DIFFER)
def test_what_must_not_differ_makes_another_statement(place: str, value: Any, prefix: str) -> None:
    if prefix + place == "timestamp" and value is GONE:
        return
    assert not equal(BOTH[prefix], changed(BOTH[prefix], prefix + place, value))


def test_another_id_makes_another_statement() -> None:
    assert not equal(full(), full() | {"id": ID[:-1] + "f"})


def test_the_time_of_a_substatement_is_not_given_by_the_store() -> None:
    assert not equal(nested(), changed(nested(), "object/timestamp", GONE))


def test_people_of_a_context_are_compared_as_people() -> None:
    base = full("2.0.0")
    base["context"]["contextGroups"][0]["group"] = CLASS
    other = copy.deepcopy(base)
    other["context"]["contextGroups"][0]["group"]["member"].reverse()
    other["context"]["contextAgents"][0]["agent"]["objectType"] = "Agent"
    assert equal(base, other)
    other["context"]["contextAgents"][0]["relevantTypes"].append("urn:a:b")
    assert not equal(base, other)


def test_groups_are_compared_without_regard_to_order_everywhere() -> None:
    group = CLASS | {"member": [DEE, BEA, ANN, CAS]}
    turned = CLASS | {"member": [CAS, ANN, DEE, BEA]}
    for place in ("actor", "object"):
        assert equal(minimal(**{place: group}), minimal(**{place: turned}))
        assert equal(
            minimal(object={"objectType": "SubStatement"} | minimal(**{place: group})),
            minimal(object={"objectType": "SubStatement"} | minimal(**{place: turned})),
        )


def test_numbers_are_compared_exactly() -> None:
    def with_number(number: Any) -> Any:
        return minimal(result={"extensions": {EXTENSION: number}})

    assert equal(with_number(100), with_number(1e2))
    assert equal(with_number(0), with_number(-0.0))
    assert not equal(with_number(2**53 + 1), with_number(float(2**53)))
    assert not equal(with_number(1), with_number("1"))
    assert not equal(with_number(0), with_number(None))
    assert not equal(with_number([]), with_number({}))


def test_language_tags_that_differ_in_case_alone_do_not_hide_one_another() -> None:
    base = full()
    two = changed(base, "attachments/0/display", {"en": "A report", "EN": "Another"})
    assert not equal(base, two)
    assert equal(two, changed(base, "attachments/0/display", {"EN": "Another", "en": "A report"}))
    assert not equal(two, changed(base, "attachments/0/display", {"EN": "Another", "en": "Another"}))
