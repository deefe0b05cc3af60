"""Rules that hold for every value: made statements, damaged statements, and no statements at all."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.json_input import parse_json
from schemas.statement import (
    check_activity,
    check_activity_definition,
    check_agent,
    check_statement,
    check_uuid,
    equal_statements,
    normalise_statement,
    parse_timestamp,
)

from .builders import ANN, CLASS, REFERENCE, SCHOOL, VERSIONS, full, minimal, nested, resolve
from .timing import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = st.text(max_size=8)
WORDS = st.sampled_from(
    [
        *(
            "actor",
            "verb",
            "object",
            "objectType",
            "id",
            "definition",
            "member",
            "mbox",
            "account",
            "extensions",
            "score",
        ),
        *(
            "raw",
            "min",
            "max",
            "scaled",
            "context",
            "contextActivities",
            "parent",
            "interactionType",
            "choices",
            "result",
        ),
        *("contextAgents", "agent", "relevantTypes", "timestamp", "version", "authority", "attachments", "en", "x/y~z"),
        *("Agent", "Group", "Activity", "StatementRef", "SubStatement", "choice", "urn:a:b", "P1D", "1.0.0", "nl-NL"),
        *("mailto:a@b", "2024-02-29T08:30:00Z", "8f87ccde-bb56-4c2e-ab83-44982ef22df0"),
    ]
)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | TEXT
PIECES = st.sampled_from([ANN, CLASS, SCHOOL, REFERENCE, minimal(), nested()["object"], *full().values()])
VALUES = st.recursive(
    SCALARS | PIECES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | TEXT, inner, max_size=5),
    max_leaves=12,
)
VERSION = st.sampled_from(VERSIONS)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place below a value, as a container and a key."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A good statement after a few changes: values replaced, taken away, added."""
    statement = copy.deepcopy(draw(st.sampled_from([minimal(), full(), full("2.0.0"), nested()])))
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(statement))
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        how = draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove":
            del container[key]
        elif how == "replace" or isinstance(container, list):
            container[key] = copy.deepcopy(draw(VALUES))
        else:
            container[draw(WORDS | TEXT)] = copy.deepcopy(draw(VALUES))
    return statement


def is_accepted(value: Any, version: Any) -> bool:
    """Whether it is, after a look at the refusal: its pointer leads to a place that exists."""
    before = copy.deepcopy(value)
    try:
        check_statement(value, version)
    except InvalidInput as problem:
        resolve(value, problem.pointer)
        return False
    finally:
        assert value == before
    return True


@given(value=VALUES, version=VERSION)
def test_any_value_is_accepted_or_refused(value: Any, version: Any) -> None:
    is_accepted(value, version)
    for check in (check_agent, check_activity, check_activity_definition):
        with suppress(InvalidInput):
            check(value, version)
    with suppress(InvalidInput):
        check_uuid(value)
    with suppress(InvalidInput):
        parse_timestamp(value, version)


@given(statement=damaged(), version=VERSION)
def test_what_is_accepted_stays_accepted_and_equal_in_the_form_that_is_kept(statement: Any, version: Any) -> None:
    if not is_accepted(statement, version):
        return
    kept = copy.deepcopy(statement)
    normalise_statement(kept)
    assert is_accepted(kept, version)
    assert equal_statements(statement, kept)
    again = copy.deepcopy(kept)
    normalise_statement(again)
    assert again == kept


@given(statement=damaged())
def test_what_version_one_accepts_version_two_accepts_apart_from_times(statement: Any) -> None:
    for name in ("timestamp", "stored"):
        statement.pop(name, None)
    if isinstance(statement.get("object"), dict):
        statement["object"].pop("timestamp", None)
    if is_accepted(statement, "1.0.3"):
        assert is_accepted(statement, "2.0.0")


@given(one=damaged(), other=damaged())
def test_equality_is_the_same_either_way_round(one: Any, other: Any) -> None:
    assert equal_statements(one, one)
    assert equal_statements(one, other) is equal_statements(other, one)


@given(one=VALUES, other=VALUES)
def test_any_two_objects_can_be_compared(one: Any, other: Any) -> None:
    wrapped = ({"object": one, "context": one, "actor": other}, {"object": other, "context": one, "actor": one})
    assert equal_statements(*wrapped) is equal_statements(*reversed(wrapped))
    assert equal_statements(wrapped[0], copy.deepcopy(wrapped[0]))


def test_a_statement_made_to_be_slow_is_not() -> None:
    many = 9_000
    for statement in (
        minimal(actor={"objectType": "Group", "member": [{"mbox": f"mailto:a{n}@b"} for n in range(many)]}),
        minimal(result={"extensions": {f"urn:a:{n}": n for n in range(many)}}),
        minimal(verb={"id": "urn:a:b", "display": {f"en-x-{n}": "" for n in range(many)}}),
        minimal(result={"response": "a" * 1_000_000}),
        minimal(context={"contextActivities": {"other": [{"id": f"urn:a:{n}"} for n in range(many)]}}),
        minimal(
            object={
                "id": "urn:a:b",
                "definition": {"interactionType": "choice", "choices": [{"id": str(n)} for n in range(many)]},
            }
        ),
    ):
        # 9,000 of anything: what counts is that the time grows with the number, not with its square.
        assert seconds_of(lambda statement=statement: check_statement(statement, "2.0.0")) < 0.25
        assert seconds_of(lambda statement=statement: equal_statements(statement, statement)) < 0.5


def test_depth_that_can_be_read_can_be_checked_and_compared() -> None:
    deep = b'{"urn:a:b":' + b"[" * 60 + b"]" * 60 + b"}"
    statements = [minimal(result={"extensions": parse_json(deep)}) for _ in range(2)]
    check_statement(statements[0], "2.0.0")
    assert equal_statements(*statements)
