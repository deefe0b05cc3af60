"""Data 2.4.6: context, context activities, and the context agents and groups of 2.0."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import HOSTS, activity, agent, altered, changed, full, group, iri, new_id, reference, statement
from .client import Api, accepted, only, refused, requirement, row

pytestmark = pytest.mark.before_storage

NO_STRINGS = [12345, {"key": "text"}, ["text"], True]

WRONG = [
    *(row("XAPI-00087", f"registration {value}", {"context/registration": value}) for value in ["no uuid", {}, 1]),
    *(row("XAPI-00087", f"instructor {value}", {"context/instructor": value}) for value in ["Bea", {"key": 1}, []]),
    *(row("XAPI-00088", f"team {value}", {"context/team": value}) for value in ["Group 7", {"key": 1}, []]),
    row("XAPI-00088", "team an agent", {"context/team": agent()}),
    row("XAPI-00088", "team without objectType", {"context/team": {"member": [agent()]}}),
    *(row("XAPI-00086", f"contextActivities {value}", {"context/contextActivities": value}) for value in ["a", 1, []]),
    *(row("XAPI-00089", f"revision {value}", {"context/revision": value}) for value in NO_STRINGS),
    *(row("XAPI-00090", f"platform {value}", {"context/platform": value}) for value in NO_STRINGS),
    *(row("XAPI-00091", f"language {value}", {"context/language": value}) for value in NO_STRINGS),
    row("XAPI-00092", "statement of another type", {"context/statement": reference() | {"objectType": "statementref"}}),
    row("XAPI-00092", "statement without type", {"context/statement": {"id": new_id()}}),
    row("XAPI-00092", "statement without id", {"context/statement": {"objectType": "StatementRef"}}),
    row("XAPI-00092", "statement with a wrong id", {"context/statement": reference() | {"id": "should fail"}}),
    row("XAPI-00092", "statement a string", {"context/statement": new_id()}),
    row("XAPI-00093", "another kind of activity", {"context/contextActivities/subject": [activity()]}),
    row("XAPI-00093", "a kind in capitals", {"context/contextActivities/Parent": [activity()]}),
    *(
        row("XAPI-00094", f"{kind}: {text}", {f"context/contextActivities/{kind}": value})
        for kind in ("parent", "grouping", "category", "other")
        for text, value in (
            ("a string", "text"),
            ("strings", ["text"]),
            ("no id", {"objectType": "Activity"}),
            ("an agent", [agent()]),
            ("an id that is no IRI", [{"id": "no iri"}]),
            ("a list inside", [[activity()]]),
        )
    ),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("changes", WRONG)
def test_a_wrong_context_is_refused(api: Api, changes: dict[str, Any], host: str) -> None:
    refused(api, altered(host, changes))


OTHER_OBJECTS = {"agent": agent(), "group": group(agent()), "reference": reference(), "sub-statement": None}


@pytest.mark.parametrize("name", [row("XAPI-00084", "revision", "revision"), row("XAPI-00085", "platform", "platform")])
@pytest.mark.parametrize("kind", OTHER_OBJECTS)
@pytest.mark.parametrize("host", HOSTS)
def test_only_activities_have_revision_and_platform(api: Api, name: str, kind: str, host: str) -> None:
    if kind == "sub-statement":
        refused(api, full("sub-statement") | {"context": {name: "1"}})
    else:
        refused(api, altered(host, {"object": OTHER_OBJECTS[kind], "context": {name: "1"}}))


@requirement("XAPI-00084", "XAPI-00085", "XAPI-00089", "XAPI-00090")
@pytest.mark.parametrize("host", HOSTS)
def test_an_activity_without_object_type_has_revision_and_platform(api: Api, host: str) -> None:
    accepted(api, altered(host, {"object": {"id": iri()}, "context": {"revision": "1", "platform": "Paper"}}))


@requirement("XAPI-00087", "XAPI-00088", "XAPI-00092")
@pytest.mark.parametrize("host", HOSTS)
def test_a_context_may_name_people_and_a_statement(api: Api, host: str) -> None:
    context = {
        "registration": new_id(),
        "instructor": group(agent(), agent()),
        "team": group(agent(name="Ann")),
        "statement": reference(),
    }
    accepted(api, altered(host, {"context": context}))


@requirement("XAPI-00093", "XAPI-00094", "XAPI-00086")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kinds", [["parent"], ["grouping"], ["category"], ["other"], None], ids=str)
def test_each_kind_of_context_activity_is_accepted(api: Api, kinds: list[str] | None, host: str) -> None:
    kinds = kinds or ["parent", "grouping", "category", "other"]
    activities = {kind: [activity(), activity(name={"en": kind})] for kind in kinds}
    accepted(api, altered(host, {"context/contextActivities": activities}))


@requirement("XAPI-00096", "XAPI-00094")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", ["parent", "grouping", "category", "other"])
def test_a_single_context_activity_comes_back_in_a_list(api: Api, kind: str, host: str) -> None:
    single = activity()
    stored = accepted(api, altered(host, {"context/contextActivities": {kind: single}}))
    context = stored["context"] if host == "statement" else stored["object"]["context"]
    assert context["contextActivities"] == {kind: [single]}


def context_agent(**more: Any) -> dict[str, Any]:
    return {"objectType": "contextAgent", "agent": agent(), "relevantTypes": [iri("type")]} | more


def context_group(**more: Any) -> dict[str, Any]:
    return {"objectType": "contextGroup", "group": group(agent()), "relevantTypes": [iri("type")]} | more


CONTEXT_PEOPLE = {"contextAgents": context_agent, "contextGroups": context_group}

WRONG_PEOPLE = [
    row("IEEE-context-agents", "agent: another objectType", "contextAgents", {"objectType": "contextagent"}),
    row("IEEE-context-agents", "agent: objectType Agent", "contextAgents", {"objectType": "Agent"}),
    row("IEEE-context-agents", "agent: no identifier", "contextAgents", {"agent": {"name": "Ann"}}),
    row("IEEE-context-agents", "agent: a string", "contextAgents", {"agent": "Ann"}),
    row("IEEE-context-agents", "agent: no relevant types", "contextAgents", {"relevantTypes": []}),
    row("IEEE-context-agents", "agent: a type that is no IRI", "contextAgents", {"relevantTypes": ["no iri"]}),
    row("IEEE-context-agents", "agent: types that are no list", "contextAgents", {"relevantTypes": iri("type")}),
    row("IEEE-context-groups", "group: another objectType", "contextGroups", {"objectType": "contextgroup"}),
    row("IEEE-context-groups", "group: no members", "contextGroups", {"group": {"objectType": "Group"}}),
    row("IEEE-context-groups", "group: an agent", "contextGroups", {"group": agent()}),
    row("IEEE-context-groups", "group: a string", "contextGroups", {"group": "All"}),
    row("IEEE-context-groups", "group: no relevant types", "contextGroups", {"relevantTypes": []}),
    row("IEEE-context-groups", "group: a type that is no IRI", "contextGroups", {"relevantTypes": [1]}),
]


@only("2.0.0")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("name", "more"), WRONG_PEOPLE)
def test_wrong_people_of_a_context_are_refused(api: Api, name: str, more: dict[str, Any], host: str) -> None:
    refused(api, altered(host, {f"context/{name}": [CONTEXT_PEOPLE[name](), CONTEXT_PEOPLE[name](**more)]}))


@only("2.0.0")
@requirement("IEEE-context-agents", "IEEE-context-groups")
@pytest.mark.parametrize("name", CONTEXT_PEOPLE)
@pytest.mark.parametrize("value", ["text", {"key": 1}, [1]], ids=str)
def test_people_of_a_context_that_are_no_list_are_refused(api: Api, name: str, value: Any) -> None:
    refused(api, statement(context={name: value}))


@only("2.0.0")
@requirement("IEEE-context-agents", "IEEE-context-groups")
@pytest.mark.parametrize("host", HOSTS)
def test_people_of_a_context_are_accepted(api: Api, host: str) -> None:
    people = {name: [build(), build()] for name, build in CONTEXT_PEOPLE.items()}
    sent = changed(full(host), {f"{HOSTS[host]}context/{name}": value for name, value in people.items()})
    accepted(api, sent)


@only("1.0.3")
@requirement("XAPI-00010")
@pytest.mark.parametrize("name", CONTEXT_PEOPLE)
def test_people_of_a_context_are_unknown_to_version_one(api: Api, name: str) -> None:
    refused(api, statement(context={name: [CONTEXT_PEOPLE[name]()]}))
