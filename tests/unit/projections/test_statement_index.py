"""Which terms are true of a statement."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.statement_index import RAREST_FIRST, Kind, pack_terms, term_number, terms_of, unpack_terms
from schemas.people import identifier_of, people_of
from tests.unit.schemas.builders import ANN, BEA, CAS, DEE, REGISTRATION, SCHOOL, full, minimal, nested
from tests.unit.schemas.statements import STATEMENTS


def pseudonym(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()[:16]


def blind(kind: int, value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha256(b"%d" % kind + raw).digest()[:16]


def terms(statement: dict[str, Any]) -> set[bytes]:
    found = terms_of(statement, people_of(statement), pseudonym, blind)
    assert len(found) == len(set(found)), "each term once"
    return set(found)


def of_agent(kind: Kind, agent: dict[str, Any]) -> bytes:
    identifier = identifier_of(agent)
    assert identifier is not None
    return blind(kind, pseudonym(identifier))


def test_the_least_statement_has_an_agent_a_verb_and_an_activity() -> None:
    statement = minimal(actor=ANN)
    assert terms(statement) == {
        of_agent(Kind.AGENT, ANN),
        of_agent(Kind.AGENT_RELATED, ANN),
        blind(Kind.VERB, statement["verb"]["id"]),
        blind(Kind.ACTIVITY, statement["object"]["id"]),
        blind(Kind.ACTIVITY_RELATED, statement["object"]["id"]),
    }


@pytest.mark.parametrize(
    ("parts", "is_agent"),
    [
        pytest.param({"actor": DEE}, True, id="actor"),
        pytest.param({"actor": {"objectType": "Group", "member": [ANN, DEE]}}, True, id="member of the actor"),
        pytest.param({"actor": {"objectType": "Group", **DEE, "member": [ANN]}}, True, id="group as actor"),
        pytest.param({"object": {"objectType": "Agent", **DEE}}, True, id="object"),
        pytest.param({"object": {**SCHOOL, "member": [DEE]}}, True, id="member of the object"),
        pytest.param({"context": {"instructor": DEE}}, False, id="instructor"),
        pytest.param({"context": {"team": {"objectType": "Group", "member": [DEE]}}}, False, id="member of the team"),
        pytest.param({"authority": DEE}, False, id="authority"),
        pytest.param({"object": {"objectType": "SubStatement", **minimal(actor=DEE)}}, False, id="in a sub-statement"),
    ],
)
def test_agent_is_actor_or_object_and_related_agent_is_anywhere(parts: dict[str, Any], is_agent: bool) -> None:
    found = terms(minimal(**parts))
    assert of_agent(Kind.AGENT_RELATED, DEE) in found
    assert (of_agent(Kind.AGENT, DEE) in found) is is_agent
    assert of_agent(Kind.AGENT_RELATED, CAS) not in found


def test_activity_is_the_object_and_related_activity_is_anywhere() -> None:
    statement = full()
    found = terms(statement)
    course, quiz = "https://school.example/courses/42", statement["object"]["id"]
    assert {
        blind(Kind.ACTIVITY, quiz),
        blind(Kind.ACTIVITY_RELATED, quiz),
        blind(Kind.ACTIVITY_RELATED, course),
    } <= found
    assert blind(Kind.ACTIVITY, course) not in found


def test_the_activities_verb_and_registration_of_a_sub_statement_are_not_the_statements() -> None:
    statement = nested()
    found = terms(statement)
    inner = statement["object"]
    assert blind(Kind.ACTIVITY_RELATED, inner["object"]["id"]) in found
    assert blind(Kind.ACTIVITY, inner["object"]["id"]) not in found
    assert blind(Kind.VERB, inner["verb"]["id"]) not in found
    assert blind(Kind.REGISTRATION, REGISTRATION) not in found


def test_a_registration_is_found_in_either_case() -> None:
    for written in (REGISTRATION, REGISTRATION.upper()):
        assert blind(Kind.REGISTRATION, REGISTRATION) in terms(minimal(context={"registration": written}))


def test_equal_values_of_different_kinds_are_different_terms() -> None:
    iri = "https://school.example/same"
    statement = minimal(verb={"id": iri}, object={"id": iri})
    assert len(terms(statement)) == 5


def test_two_identifiers_of_one_learner_are_one_term() -> None:
    statement = minimal(actor=ANN, context={"instructor": BEA})
    found = terms_of(statement, people_of(statement), lambda _: b"p" * 16, blind)
    assert len(found) == 5


@given(STATEMENTS)
def test_everybody_named_is_related_and_nobody_else_is(statement: dict[str, Any]) -> None:
    named = people_of(statement)
    asked: list[tuple[int, str | bytes]] = []

    def noted(kind: int, value: str | bytes) -> bytes:
        asked.append((kind, value))
        return blind(kind, value)

    found = terms_of(statement, named, pseudonym, noted)
    everybody = {pseudonym(one) for one in named.identifiers()}
    assert {value for kind, value in asked if kind == Kind.AGENT_RELATED} == everybody
    assert {blind(kind, value) for kind, value in asked} == set(found)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=10))
def test_packed_terms_are_the_numbers_that_queries_ask_by(found: list[bytes]) -> None:
    assert unpack_terms(pack_terms(found)) == tuple(term_number(one) for one in found)
    assert all(-(2**63) <= term_number(one) < 2**63 for one in found)


def test_every_kind_has_its_place_among_the_rarest() -> None:
    assert sorted(RAREST_FIRST) == sorted(Kind)
