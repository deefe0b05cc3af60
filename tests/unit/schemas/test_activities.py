"""Activity definitions: where they stand, how they merge, and one language of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.activities import (
    activities_of,
    in_language,
    is_covered,
    merge_definitions,
    one_language,
    preferred_languages,
)

from .builders import full, minimal, nested

ENGLISH_DUTCH = {"en": "Division", "nl": "Delen"}


# ----------------------------------------------------------------------------------------------------- where they stand


def test_a_statements_activities_are_its_object_and_those_of_its_context() -> None:
    ids = [activity["id"] for activity in activities_of(full())]
    course = "https://school.example/courses/42"
    assert ids == [f"{course}/quiz/3", course, course, course, course]


def test_those_of_a_sub_statement_are_found_too() -> None:
    assert len(activities_of(nested())) == len(activities_of(full()))


@pytest.mark.parametrize(
    "target", [{"objectType": "Agent", "mbox": "mailto:a@b.example"}, {"objectType": "StatementRef", "id": "x"}]
)
def test_what_is_no_activity_is_not_among_them(target: Any) -> None:
    assert activities_of(minimal(object=target)) == []


def test_what_is_found_is_the_statements_own() -> None:
    statement = full()
    activities_of(statement)[0]["definition"] = {"name": {"en": "changed"}}
    assert statement["object"]["definition"] == {"name": {"en": "changed"}}


# -------------------------------------------------------------------------------------------------------------- merging


def test_what_is_said_first_is_the_definition() -> None:
    assert merge_definitions(None, {"name": ENGLISH_DUTCH}) == {"name": ENGLISH_DUTCH}


@pytest.mark.parametrize("key", ["name", "description", "extensions"])
def test_maps_are_merged_key_by_key_and_the_later_wins(key: str) -> None:
    merged = merge_definitions({key: {"a": "old", "b": "kept"}}, {key: {"a": "new", "c": "added"}})
    assert merged == {key: {"a": "new", "b": "kept", "c": "added"}}


def test_everything_else_is_replaced_and_what_is_not_said_stays() -> None:
    old = {"type": "t1", "moreInfo": "m", "interactionType": "choice", "choices": [{"id": "a"}, {"id": "b"}]}
    new = {"type": "t2", "choices": [{"id": "c"}]}
    assert merge_definitions(old, new) == {**old, **new}


DEFINITIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.dictionaries(st.sampled_from(["en", "nl", "de"]), st.text(max_size=3), max_size=3),
        "extensions": st.dictionaries(st.sampled_from(["http://a", "http://b"]), st.integers(0, 3), max_size=2),
        "type": st.sampled_from(["http://t1", "http://t2"]),
        "choices": st.lists(st.sampled_from("abc").map(lambda one: {"id": one}), max_size=2),
    },
)


@given(DEFINITIONS, DEFINITIONS, DEFINITIONS)
def test_merging_changes_nothing_given_and_does_not_depend_on_how_it_is_grouped(a: Any, b: Any, c: Any) -> None:
    given_ones = copy.deepcopy((a, b, c))
    assert merge_definitions(merge_definitions(a, b), c) == merge_definitions(a, merge_definitions(b, c))
    assert (a, b, c) == given_ones


@given(DEFINITIONS, DEFINITIONS)
def test_what_was_merged_is_covered(a: Any, b: Any) -> None:
    assert is_covered(merge_definitions(a, b), b)
    assert is_covered(a, b) == (merge_definitions(a, b) == a)
    assert not is_covered(None, a)


# ------------------------------------------------------------------------------------------------------------ languages


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["nl"], "nl"),
        (["NL"], "nl"),
        (["nl-NL", "en"], "nl"),
        (["en-GB-oed"], "en-GB"),
        (["en"], "en-GB"),
        (["fr", "nl"], "nl"),
        (["fr"], "und"),
        ([], "und"),
        (["*", "nl"], "und"),
    ],
)
def test_the_best_entry_is_chosen_by_the_readers_preference(wanted: list[str], chosen: str) -> None:
    entries = {"en-GB": "colour", "nl": "kleur", "und": "?"}
    assert one_language(entries, wanted) == {chosen: entries[chosen]}


def test_without_a_fitting_entry_it_is_the_maps_first() -> None:
    assert one_language({"nl": "kleur", "de": "Farbe"}, ["fr"]) == {"nl": "kleur"}
    assert one_language({}, ["fr"]) == {}


@given(
    st.dictionaries(st.sampled_from(["en", "en-GB", "nl", "nl-BE", "und", "zh-Hant"]), st.text(), max_size=4),
    st.lists(st.text(max_size=8), max_size=4),
)
def test_one_entry_is_chosen_whatever_is_wanted(entries: dict[str, str], wanted: list[str]) -> None:
    chosen = one_language(entries, wanted)
    assert len(chosen) == min(1, len(entries))
    assert chosen.items() <= entries.items()


def test_every_map_of_a_definition_is_given_in_one_language() -> None:
    component = [{"id": "a", "description": ENGLISH_DUTCH}, {"id": "b"}]
    definition = {
        "name": ENGLISH_DUTCH,
        "description": ENGLISH_DUTCH,
        "type": "http://t",
        **dict.fromkeys(("choices", "scale", "source", "target", "steps"), component),
    }
    before = copy.deepcopy(definition)
    dutch = {"nl": "Delen"}
    shown = in_language(definition, ["nl"])
    assert (shown["name"], shown["description"], shown["type"]) == (dutch, dutch, "http://t")
    for key in ("choices", "scale", "source", "target", "steps"):
        assert shown[key] == [{"id": "a", "description": dutch}, {"id": "b"}]
    assert definition == before


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("nl", ["nl"]),
        ("nl, en", ["nl", "en"]),
        ("en;q=0.5, nl", ["nl", "en"]),
        ("da, en-gb;q=0.8, en;q=0.7", ["da", "en-gb", "en"]),
        ("nl;q=0, en", ["en"]),
        ("nl ; q = 0.3 , en;q=0.9", ["en", "nl"]),
        ("en;q=loud, nl", ["nl"]),
        ("*", ["*"]),
        ("", []),
        (" , ,", []),
    ],
)
def test_accept_language_is_read_by_weight(header: str, languages: list[str]) -> None:
    assert preferred_languages(header) == languages


@given(st.text())
def test_any_text_as_accept_language_gives_a_list(header: str) -> None:
    assert all(isinstance(tag, str) and tag for tag in preferred_languages(header))


@pytest.mark.parametrize("weight", ["nan", "inf", "-1", "1e400", "2"])
def test_a_weight_that_is_none_passes_its_language_over(weight: str) -> None:
    assert preferred_languages(f"en;q=0.5, nl;q={weight}") == ["en"]
