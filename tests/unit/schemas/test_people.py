"""Who is named in a statement, and how they are taken out and put back."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.people import (
    ERASED_HOME_PAGE,
    identifier_of,
    identity_from,
    people_of,
    put_back,
    sha1sum_identifier,
    take_out,
)
from schemas.statement import check_statement

from .builders import ANN, BEA, CAS, CLASS, DEE, SCHOOL, full, minimal
from .statements import STATEMENTS

IDENTIFIERS = {name: identifier_of(agent) for name, agent in {"ann": ANN, "bea": BEA, "cas": CAS, "dee": DEE}.items()}
OF_SCHOOL = identifier_of(SCHOOL)


def anonymous(*members: Any) -> dict[str, Any]:
    return {"objectType": "Group", "member": list(members)}


# ---------------------------------------------------------------------------------------------------------- identifiers


@pytest.mark.parametrize("agent", [ANN, BEA, CAS, DEE, SCHOOL], ids=["mbox", "account", "openid", "sha1sum", "group"])
def test_an_identifier_gives_back_what_identified_the_agent(agent: dict[str, Any]) -> None:
    identifier = identifier_of(agent)
    assert identifier is not None
    identity = identity_from(identifier)
    assert identity.items() <= agent.items()
    assert identifier_of(identity) == identifier


@given(st.text(), st.text().filter(lambda text: "\0" not in text))
def test_accounts_are_equal_only_when_both_their_texts_are(name: str, home: str) -> None:
    home_page = f"https://school.example/{home}"
    identifier = identifier_of({"account": {"homePage": home_page, "name": name}})
    assert identifier is not None
    assert identity_from(identifier) == {"account": {"homePage": home_page, "name": name}}


def test_equal_texts_of_different_kinds_are_different_identifiers() -> None:
    text = "mailto:ann@school.example"
    agents: list[dict[str, Any]] = [{"mbox": text}, {"openid": text}, {"mbox_sha1sum": text}]
    assert len({identifier_of(agent) for agent in agents}) == 3


def test_the_case_of_a_hash_does_not_matter() -> None:
    assert identifier_of({"mbox_sha1sum": DEE["mbox_sha1sum"].upper()}) == IDENTIFIERS["dee"]


def test_an_anonymous_group_has_no_identifier() -> None:
    assert identifier_of(anonymous(ANN)) is None


def test_only_a_mailbox_has_a_sha1sum_which_is_that_of_its_iri() -> None:
    mailbox = IDENTIFIERS["ann"]
    assert mailbox is not None
    digest = hashlib.sha1(b"mailto:ann@school.example", usedforsecurity=False).hexdigest()
    assert sha1sum_identifier(mailbox) == identifier_of({"mbox_sha1sum": digest})
    for other in ("bea", "cas", "dee"):
        assert sha1sum_identifier(IDENTIFIERS[other] or "") is None


# --------------------------------------------------------------------------------------------------- who is named where


PRINCIPALS = {
    "an agent": (minimal(actor=ANN), ["ann"]),
    "an agent and an agent as object": (minimal(actor=ANN, object={"objectType": "Agent", **BEA}), ["ann", "bea"]),
    "the same agent as object": (minimal(actor=ANN, object=ANN), ["ann"]),
    "the members of an anonymous group": (minimal(actor=anonymous(BEA, ANN, BEA)), ["bea", "ann"]),
    "the members of an identified group": (minimal(actor={**SCHOOL, "member": [CAS]}), ["cas"]),
    "a group without members": (minimal(actor=SCHOOL), ["school"]),
    "a group whose list is empty": (minimal(actor={**SCHOOL, "member": []}), ["school"]),
    "the members of a group as object": (minimal(actor=ANN, object=CLASS), ["ann", "bea", "cas"]),
    "a group without members as object": (minimal(actor=ANN, object=SCHOOL), ["ann", "school"]),
    "no one in a sub-statement": (
        minimal(actor=ANN, object={"objectType": "SubStatement", **minimal(actor=BEA)}),
        ["ann"],
    ),
}


@pytest.mark.parametrize("case", PRINCIPALS)
def test_the_principals_are_whom_the_statement_is_about(case: str) -> None:
    statement, expected = PRINCIPALS[case]
    known = {**IDENTIFIERS, "school": OF_SCHOOL}
    assert people_of(statement).principals == [known[one] for one in expected]


ROLES = {
    "actor": minimal(actor=DEE),
    "actor.member": minimal(actor=anonymous(DEE)),
    "object": minimal(object={"objectType": "Agent", **DEE}),
    "object.member": minimal(object=anonymous(DEE)),
    "instructor": minimal(context={"instructor": DEE}),
    "instructor.member": minimal(context={"instructor": anonymous(ANN, DEE)}),
    "team": minimal(context={"team": {"objectType": "Group", **DEE}}),
    "team.member": minimal(context={"team": anonymous(DEE)}),
    "contextAgents": minimal(context={"contextAgents": [{"objectType": "contextAgent", "agent": DEE}]}),
    "contextGroups": minimal(
        context={"contextGroups": [{"objectType": "contextGroup", "group": {"objectType": "Group", **DEE}}]}
    ),
    "contextGroups.member": minimal(
        context={"contextGroups": [{"objectType": "contextGroup", "group": anonymous(DEE)}]}
    ),
    "authority": minimal(authority=DEE),
    "authority.member": minimal(authority=anonymous(BEA, DEE)),
}
INSIDE = {
    f"object.{role}": minimal(object={"objectType": "SubStatement", **inner})
    for role, inner in ROLES.items()
    if not role.startswith("authority")
}


@pytest.mark.parametrize("role", [*ROLES, *INSIDE])
def test_everybody_is_found_in_every_role(role: str) -> None:
    statement = {**ROLES, **INSIDE}[role]
    check_statement(statement, "2.0.0")
    namings = people_of(statement).namings
    assert [naming.role for naming in namings if naming.identifier == IDENTIFIERS["dee"]] == [role]
    assert all(naming.holder[naming.key] is naming.agent for naming in namings)


def test_everybody_in_a_full_statement_is_found_in_each_place() -> None:
    named = people_of(full("2.0.0"))
    places = [(naming.role, naming.identifier) for naming in named.namings]
    ann, bea, cas = IDENTIFIERS["ann"], IDENTIFIERS["bea"], IDENTIFIERS["cas"]
    assert sorted(places) == sorted(
        [
            ("actor", ann),
            ("instructor", bea),
            *(("team.member", one) for one in (ann, bea, cas)),
            ("contextAgents", cas),
            ("contextGroups", OF_SCHOOL),
            *(("authority.member", one) for one in (bea, ann)),
        ]
    )
    assert named.identifiers() == [ann, bea, cas, OF_SCHOOL]


def test_an_activity_or_a_reference_as_object_names_nobody() -> None:
    for target in ({"id": "https://school.example/a"}, {"objectType": "StatementRef", "id": "a"}):
        assert len(people_of(minimal(object=target)).namings) == 1


# ----------------------------------------------------------------------------------------------- taken out and put back


def separated(statement: dict[str, Any]) -> tuple[dict[str, Any], dict[int, Any]]:
    """A statement with everybody taken out, and what was kept of them by slot."""
    bare = copy.deepcopy(statement)
    return bare, {slot: take_out(naming, slot) for slot, naming in enumerate(people_of(bare).namings)}


def nobody(slot: int) -> dict[str, Any]:
    return {"account": {"homePage": ERASED_HOME_PAGE, "name": f"slot {slot}"}}


@given(STATEMENTS)
def test_putting_back_undoes_taking_out(statement: dict[str, Any]) -> None:
    bare, kept = separated(statement)
    put_back(bare, kept, nobody)
    assert bare == statement


@given(STATEMENTS)
def test_who_was_taken_out_stands_nowhere_in_the_statement(statement: dict[str, Any]) -> None:
    bare, _ = separated(statement)
    assert people_are_numbers(bare)


def people_are_numbers(statement: dict[str, Any]) -> bool:
    """Whether no agent and no identity of a group is left anywhere where one may stand."""
    inner = statement["object"]
    places = [statement["actor"], statement.get("authority"), *in_context(statement.get("context", {}))]
    if type(inner) is int or inner.get("objectType") == "Group":
        places.append(inner)
    elif inner.get("objectType") == "SubStatement" and not people_are_numbers(inner):
        return False
    for place in places:
        if place is None or type(place) is int:
            continue
        if not place.keys() <= {"objectType", "slot", "member", "name"} or ("name" in place and "slot" in place):
            return False
        if any(type(member) is not int for member in place.get("member", ())):
            return False
    return True


def in_context(context: dict[str, Any]) -> list[Any]:
    groups = [entry["group"] for entry in context.get("contextGroups", ())]
    agents = [entry["agent"] for entry in context.get("contextAgents", ())]
    return [context.get("instructor"), context.get("team"), *agents, *groups]


@given(STATEMENTS, st.randoms(use_true_random=False))
def test_whoever_is_gone_is_replaced_by_a_placeholder_that_is_a_valid_agent(
    statement: dict[str, Any], random: Any
) -> None:
    bare, kept = separated(statement)
    gone = {slot for slot in kept if random.random() < 0.5}
    put_back(bare, {slot: agent for slot, agent in kept.items() if slot not in gone}, nobody)
    check_statement(bare, "2.0.0")
    original = people_of(statement).namings
    for slot, naming in enumerate(people_of(bare).namings):
        if slot in gone:
            assert naming.agent["account"] == nobody(slot)["account"]
            assert "name" not in naming.agent
            assert naming.agent.get("objectType") == "Group" or naming.agent["objectType"] == "Agent"
        else:
            assert naming.identifier == original[slot].identifier
