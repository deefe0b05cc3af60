"""Data 2.4.2: agents and groups, wherever they may stand."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import PERSON_PLACES, agent, group, identifiers, iri, new_id, with_person
from .client import Api, accepted, refused, requirement, row

pytestmark = pytest.mark.before_storage

GROUP_PLACES = (*PERSON_PLACES, "team", "sub-team", "sub-object")
AGENT_PLACES = (*PERSON_PLACES, "sub-object")
NAMES = tuple(identifiers())
PAIRS = [(one, other) for index, one in enumerate(NAMES) for other in NAMES[index + 1 :]]


def identified(*names: str, **more: Any) -> dict[str, Any]:
    values = identifiers()
    return {name: values[name] for name in names} | more


WRONG_AGENTS = [
    row("XAPI-00031", "objectType in lower case", agent(objectType="agent")),
    row("XAPI-00031", "an unknown objectType", agent(objectType="Person")),
    row("XAPI-00032", "objectType a number", agent(objectType=123)),
    row("XAPI-00032", "objectType an object", agent(objectType={"key": "Agent"})),
    row("XAPI-00033", "name a number", agent(name=123)),
    row("XAPI-00033", "name an object", agent(name={"key": "Ann"})),
    row("XAPI-00034", "no identifier", {"objectType": "Agent", "name": "Ann"}),
    *(row("XAPI-00034", f"{one} and {other}", identified(one, other, objectType="Agent")) for one, other in PAIRS),
    row("XAPI-00034", "all identifiers", identified(*NAMES, objectType="Agent")),
    row("XAPI-00035", "members", agent(member=[agent()])),
]

WRONG_IDENTIFIERS = [
    row("XAPI-00038", "an mbox that is no IRI", {"mbox": "should fail"}),
    row("XAPI-00038", "an mbox without mailto", {"mbox": "ann@school.example"}),
    row("XAPI-00038", "an mbox of another scheme", {"mbox": "https://school.example/ann"}),
    row("XAPI-00038", "an mbox without address", {"mbox": "mailto:"}),
    row("XAPI-00038", "an mbox that is a number", {"mbox": 123}),
    row("XAPI-00039", "an mbox_sha1sum that is a number", {"mbox_sha1sum": 123}),
    row("XAPI-00039", "an mbox_sha1sum that is an object", {"mbox_sha1sum": {"key": "a" * 40}}),
    row("XAPI-00039", "an mbox_sha1sum that is none", {"mbox_sha1sum": "not forty digits"}),
    row("XAPI-00040", "an openid that is no URI", {"openid": "ab=c://should.fail.com"}),
    row("XAPI-00040", "an openid that is a number", {"openid": 123}),
    row("XAPI-00041", "an account that is a string", {"account": "ann"}),
    row("XAPI-00041", "an account that is a list", {"account": []}),
    row("XAPI-00041", "an empty account", {"account": {}}),
    row("XAPI-00042", "no homePage", {"account": {"name": "ann"}}),
    row("XAPI-00042", "a homePage that is no IRL", {"account": {"homePage": "ab=c://should.fail.com", "name": "ann"}}),
    row("XAPI-00042", "a homePage that is a number", {"account": {"homePage": 123, "name": "ann"}}),
    row("XAPI-00043", "no account name", {"account": {"homePage": "https://school.example"}}),
    row("XAPI-00043", "an account name that is a number", {"account": {"homePage": iri("home"), "name": 123}}),
    row("XAPI-00043", "an account name that is an object", {"account": {"homePage": iri("home"), "name": {}}}),
]


@pytest.mark.parametrize("place", AGENT_PLACES)
@pytest.mark.parametrize("person", WRONG_AGENTS)
def test_a_wrong_agent_is_refused(api: Api, person: dict[str, Any], place: str) -> None:
    refused(api, with_person(place, person))


@pytest.mark.parametrize("place", AGENT_PLACES)
@pytest.mark.parametrize("identifier", WRONG_IDENTIFIERS)
def test_an_agent_with_a_wrong_identifier_is_refused(api: Api, identifier: dict[str, Any], place: str) -> None:
    refused(api, with_person(place, {"objectType": "Agent"} | identifier))


@pytest.mark.parametrize("place", GROUP_PLACES)
@pytest.mark.parametrize("identifier", WRONG_IDENTIFIERS)
def test_a_group_with_a_wrong_identifier_is_refused(api: Api, identifier: dict[str, Any], place: str) -> None:
    refused(api, with_person(place, {"objectType": "Group"} | identifier))


@pytest.mark.parametrize("identifier", WRONG_IDENTIFIERS)
def test_a_member_with_a_wrong_identifier_is_refused(api: Api, identifier: dict[str, Any]) -> None:
    refused(api, with_person("actor", group(agent(), identifier)))


@pytest.mark.parametrize("place", AGENT_PLACES)
@pytest.mark.parametrize("name", NAMES)
@requirement("XAPI-00034", "XAPI-00038", "XAPI-00039", "XAPI-00040", "XAPI-00041", "XAPI-00042", "XAPI-00043")
def test_an_agent_has_one_identifier(api: Api, name: str, place: str) -> None:
    accepted(api, with_person(place, identified(name, objectType="Agent", name="Ann")))


@requirement("XAPI-00031", "XAPI-00034")
@pytest.mark.parametrize("place", ["actor", "authority", "instructor", "sub-actor", "sub-instructor"])
def test_an_agent_needs_no_object_type(api: Api, place: str) -> None:
    accepted(api, with_person(place, identified("mbox")))


WRONG_GROUPS = [
    row("XAPI-00031", "objectType in lower case", group(agent(), objectType="group")),
    row("XAPI-00031 XAPI-00032", "objectType a number", group(agent(), objectType=123)),
    row("XAPI-00033", "name a number", group(agent(), name=123)),
    row("XAPI-00033", "name an object", group(agent(), name={"key": "All"})),
    row("XAPI-00035", "neither members nor identifier", {"objectType": "Group", "name": "Nobody"}),
    row("XAPI-00036", "member an agent", {"objectType": "Group", "member": agent()}),
    row("XAPI-00036", "member a string", {"objectType": "Group", "member": "ann"}),
    row("XAPI-00036", "a member that is a string", {"objectType": "Group", "member": ["ann"]}),
    row("XAPI-00036", "a member without identifier", group(agent(), {"name": "Ann"})),
    row("XAPI-00036", "a member that is a group", group(agent(), group(agent()))),
    row("XAPI-00036", "an identified group with a wrong member", group(member=[{"name": "Ann"}])),
    *(row("XAPI-00037", f"{one} and {other}", identified(one, other, objectType="Group")) for one, other in PAIRS),
    row("XAPI-00037", "all identifiers", identified(*NAMES, objectType="Group", member=[agent()])),
]


@pytest.mark.parametrize("place", GROUP_PLACES)
@pytest.mark.parametrize("people", WRONG_GROUPS)
def test_a_wrong_group_is_refused(api: Api, people: dict[str, Any], place: str) -> None:
    refused(api, with_person(place, people))


@pytest.mark.parametrize("place", [place for place in GROUP_PLACES if place != "authority"])
@pytest.mark.parametrize("name", NAMES)
@requirement("XAPI-00037", "XAPI-00041", "XAPI-00042", "XAPI-00043", "XAPI-00031")
def test_an_identified_group_has_one_identifier(api: Api, name: str, place: str) -> None:
    accepted(api, with_person(place, identified(name, objectType="Group", name="All", member=[agent()])))


@pytest.mark.parametrize("place", [place for place in GROUP_PLACES if place != "authority"])
@requirement("XAPI-00035", "XAPI-00036", "XAPI-00031")
def test_an_anonymous_group_has_members(api: Api, place: str) -> None:
    accepted(api, with_person(place, group(agent(name="Ann"), identified("account"), name=f"Group {new_id()}")))


@requirement("XAPI-00037")
def test_an_identified_group_needs_no_members(api: Api) -> None:
    accepted(api, with_person("actor", group()))
