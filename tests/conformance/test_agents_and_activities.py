"""Communication 2.4 and 2.5: what the store knows of a person and of an activity."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import EXTENSION, activity, agent, group, identifiers, iri, statement
from .client import Api, must, requirement, row

NUMBERS = {
    "mbox": "XAPI-00239 XAPI-00244",
    "mbox_sha1sum": "XAPI-00240",
    "openid": "XAPI-00241",
    "account": "XAPI-00242",
}


def person(api: Api, who: Any) -> dict[str, Any]:
    return must(200, api.call("GET", "agents", {"agent": who})).json()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", [row(number, name, name) for name, number in NUMBERS.items()])
@requirement("XAPI-00236", "XAPI-00237", "XAPI-00245", "XAPI-00246", "XAPI-00247", "XAPI-00248")
def test_a_person_is_made_of_lists(api: Api, name: str, *, known: bool) -> None:
    who = {"objectType": "Agent", name: identifiers()[name]}
    if known:
        api.store(statement(actor=who))
    found = person(api, who)
    assert found.pop("objectType") == "Person"
    assert all(isinstance(value, list) and value for value in found.values())
    assert found[name] == [who[name]]
    assert all(value.startswith("mailto:") for value in found.get("mbox", []))


@requirement("XAPI-00238")
def test_the_names_of_a_person_are_a_list_of_strings(api: Api) -> None:
    who = agent(name="Ann")
    api.store(statement(actor=who))
    names = person(api, who)["name"]
    assert "Ann" in names
    assert all(isinstance(name, str) for name in names)


@requirement("XAPI-00243")
def test_no_agent_is_refused(api: Api) -> None:
    must(400, api.call("GET", "agents"))


@requirement("XAPI-00249")
@pytest.mark.parametrize(
    "who",
    ["wrong", "{", "true", [], {}, {"name": "Ann"}, {"mbox": "ann@school.example"}, identifiers(), group(agent())],
    ids=["text", "broken", "true", "list", "empty", "nameless", "mbox", "all", "anonymous group"],
)
def test_what_is_no_agent_is_refused(api: Api, who: Any) -> None:
    must(400, api.call("GET", "agents", {"agent": who}))


def described(api: Api, activity_id: str) -> dict[str, Any]:
    return must(200, api.call("GET", "activities", {"activityId": activity_id})).json()


@requirement("XAPI-00251", "XAPI-00252", "XAPI-00253")
def test_an_activity_comes_back_whole(api: Api) -> None:
    sent = activity(
        name={"en-US": "example meeting"},
        description={"en-US": "An example"},
        type=iri("type"),
        moreInfo=iri("about"),
        interactionType="choice",
        correctResponsesPattern=["a"],
        choices=[{"id": "a", "description": {"en": "One"}}],
        extensions={EXTENSION: {"deep": [1, 2]}},
    )
    api.store(statement(object=sent))
    assert described(api, sent["id"]) == sent


@requirement("XAPI-00254")
@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "two requests"])
def test_an_activity_gathers_what_statements_said(api: Api, *, at_once: bool) -> None:
    english = activity(name={"en-US": "meeting"}, extensions={EXTENSION: 1})
    french = {"id": english["id"], "definition": {"name": {"fr-FR": "réunion"}, "type": iri("type")}}
    if at_once:
        api.store(statement(object=english), statement(object=french))
    else:
        api.store(statement(object=english))
        api.store(statement(object=french))
    definition = described(api, english["id"])["definition"]
    assert definition["name"] == {"en-US": "meeting", "fr-FR": "réunion"}
    assert definition["type"] == french["definition"]["type"]
    assert definition["extensions"] == {EXTENSION: 1}


@requirement("XAPI-00254")
def test_an_activity_is_known_from_a_context_too(api: Api) -> None:
    parent = activity(name={"en": "Course"})
    api.store(statement(context={"contextActivities": {"parent": [parent]}}))
    assert described(api, parent["id"])["definition"]["name"] == {"en": "Course"}


@requirement("IEEE-unknown-activity", "XAPI-00253")
def test_an_unknown_activity_is_still_an_activity(api: Api) -> None:
    unknown = iri()
    assert described(api, unknown) == {"objectType": "Activity", "id": unknown}


@requirement("XAPI-00250")
@pytest.mark.parametrize("params", [{}, {"activityId": ""}, {"activityId": "no iri"}, {"activityId": True}], ids=str)
def test_no_activity_id_is_refused(api: Api, params: dict[str, Any]) -> None:
    must(400, api.call("GET", "activities", params))


@requirement("IEEE-iris")
def test_iris_are_compared_as_strings_or_normalised_ones(api: Api) -> None:
    one = iri()
    other = one.replace("/activity/", "/activity/../activity/")
    api.store(statement(object={"id": other}))
    assert described(api, other)["id"] in {one, other}
    assert api.found(activity=one) in ([], api.found(activity=other))
    assert len(api.found(activity=other)) == 1
