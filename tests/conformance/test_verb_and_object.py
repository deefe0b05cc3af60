"""Data 2.4.3 and 2.4.4: verbs, activities, interactions, statement references, sub-statements."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import (
    GONE,
    HOSTS,
    activity,
    agent,
    altered,
    changed,
    full,
    group,
    identifiers,
    new_id,
    reference,
    statement,
    substatement,
)
from .client import Api, accepted, refused, requirement, row

pytestmark = pytest.mark.before_storage

NO_MAPS = [12345, "text", ["en"], {"en": 1}, {"en": {"text": "nested"}}]
NO_IRIS = ["should fail", "ab=c://should.fail.com", 12345, {"key": "iri"}]

WRONG = [
    row("XAPI-00044", "verb without id", {"verb/id": GONE}),
    *(row("XAPI-00044", f"verb id {value}", {"verb/id": value}) for value in NO_IRIS),
    *(row("XAPI-00045", f"verb display {value}", {"verb/display": value}) for value in NO_MAPS),
    *(row("XAPI-00046", f"objectType {value}", {"object/objectType": value}) for value in ["activity", "Thing", 1]),
    row("XAPI-00047", "activity without id", {"object/id": GONE}),
    *(row("XAPI-00047", f"activity id {value}", {"object/id": value}) for value in NO_IRIS),
    *(row("XAPI-00048", f"definition {value}", {"object/definition": value}) for value in ["text", 1, []]),
    *(row("XAPI-00056", f"name {value}", {"object/definition/name": value}) for value in NO_MAPS),
    *(row("XAPI-00059", f"description {value}", {"object/definition/description": value}) for value in NO_MAPS),
    *(row("XAPI-00060", f"type {value}", {"object/definition/type": value}) for value in NO_IRIS),
    *(row("XAPI-00061", f"moreInfo {value}", {"object/definition/moreInfo": value}) for value in NO_IRIS),
    *(row("XAPI-00057", f"extensions {value}", {"object/definition/extensions": value}) for value in ["text", 1, []]),
    *(
        row("XAPI-00049", f"interactionType {value}", {"object/definition/interactionType": value})
        for value in ["https://school.example/choice", 123, {"key": "choice"}, "essay", ""]
    ),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("changes", WRONG)
def test_a_wrong_verb_or_activity_is_refused(api: Api, changes: dict[str, Any], host: str) -> None:
    refused(api, altered(host, changes))


@requirement("XAPI-00047")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "value", ["urn:isbn:9789000000000", "tag:school.example,2024:unité", "https://école.example/é"]
)
def test_any_iri_may_be_an_activity(api: Api, value: str, host: str) -> None:
    accepted(api, altered(host, {"object/id": value}))


@requirement("XAPI-00046", "XAPI-00047")
@pytest.mark.parametrize("host", HOSTS)
def test_an_activity_needs_no_object_type(api: Api, host: str) -> None:
    accepted(api, altered(host, {"object/objectType": GONE}))


@requirement("XAPI-00046")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (agent(), "agent"),
        (group(agent()), "group"),
        (reference(), "statementref"),
        (reference(), "StatementReference"),
        (substatement(), "substatement"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_object_types_are_case_sensitive(api: Api, value: dict[str, Any], wrong: str, host: str) -> None:
    refused(api, changed(statement(object=substatement()), {HOSTS[host] + "object": value | {"objectType": wrong}}))


def component(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "description": {"en": name}} | more


INTERACTIONS = {
    "true-false": ([], ["true"]),
    "choice": (["choices"], ["a[,]b"]),
    "fill-in": ([], ["Ann's dog"]),
    "long-fill-in": ([], ["{case_matters=false}{lang=en}To be"]),
    "likert": (["scale"], ["a"]),
    "matching": (["source", "target"], ["a[.]a[,]b[.]b"]),
    "performance": (["steps"], ["a[.]1:[,]b[.]"]),
    "sequencing": (["choices"], ["b[,]a"]),
    "numeric": ([], ["4[:]"]),
    "other": ([], ["(35.937432,-86.868896)"]),
}
LISTS = {
    "steps": ("XAPI-00051", "performance"),
    "target": ("XAPI-00052", "matching"),
    "source": ("XAPI-00053", "matching"),
    "scale": ("XAPI-00054", "likert"),
    "choices": ("XAPI-00055", "choice"),
}


def interaction(kind: str) -> dict[str, Any]:
    lists, responses = INTERACTIONS[kind]
    components = {name: [component("a"), component("b")] for name in lists}
    return {"interactionType": kind, "correctResponsesPattern": responses} | components


@requirement("XAPI-00049")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", INTERACTIONS)
def test_each_interaction_is_accepted(api: Api, kind: str, host: str) -> None:
    accepted(api, altered(host, {"object": activity(**interaction(kind))}))


WRONG_LISTS = [
    row(f"{number} {more}", f"{name}: {text}", kind, {name: value})
    for name, (number, kind) in LISTS.items()
    for text, value, more in (
        ("an object", {"id": "a"}, ""),
        ("a string", "a", ""),
        ("a string inside", ["a"], "XAPI-00063"),
        ("a list inside", [[]], "XAPI-00063"),
        ("no id", [{"description": {"en": "a"}}], "XAPI-00058"),
        ("an id that is a number", [component("a") | {"id": 1}], "XAPI-00058"),
        ("an id twice", [component("a"), component("a")], "XAPI-00058"),
        ("a description that is text", [component("a", description="a")], "XAPI-00062"),
        ("a description with a bad tag", [component("a", description={"a12345678": "a"})], "XAPI-00062"),
    )
] + [
    row("XAPI-00050", f"correctResponsesPattern: {value}", "choice", {"correctResponsesPattern": value})
    for value in ("a", {"a": "b"}, [1], [["a"]])
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("kind", "wrong"), WRONG_LISTS)
def test_a_wrong_list_of_an_interaction_is_refused(api: Api, kind: str, wrong: dict[str, Any], host: str) -> None:
    refused(api, altered(host, {"object": activity(**(interaction(kind) | wrong))}))


@requirement("XAPI-00064")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", INTERACTIONS)
def test_an_interaction_without_type_is_refused(api: Api, kind: str, host: str) -> None:
    for name, value in interaction(kind).items():
        if name != "interactionType":
            refused(api, altered(host, {"object": activity(**{name: value})}))


@requirement("XAPI-00065")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "value",
    [*({name: value} for name, value in identifiers().items()), {"member": [agent()]}],
    ids=[*identifiers(), "member"],
)
def test_a_person_as_object_needs_an_object_type(api: Api, value: dict[str, Any], host: str) -> None:
    refused(api, changed(statement(object=substatement()), {HOSTS[host] + "object": value}))


@requirement("XAPI-00066")
@pytest.mark.parametrize("place", ["actor", "verb", "object"])
def test_a_substatement_without_a_part_is_refused(api: Api, place: str) -> None:
    refused(api, changed(full("sub-statement"), {f"object/{place}": GONE}))


@requirement("XAPI-00066", "XAPI-00046")
@pytest.mark.parametrize(
    "inner",
    [agent(), group(agent()), reference(), activity(name={"en": "Yes"})],
    ids=["agent", "group", "reference", "activity"],
)
def test_a_substatement_may_have_any_other_object(api: Api, inner: dict[str, Any]) -> None:
    accepted(api, statement(object=substatement(object=inner)))


@requirement("XAPI-00066")
def test_a_substatement_may_have_context_and_result(api: Api) -> None:
    accepted(api, full("sub-statement"))


FORBIDDEN = [
    row("XAPI-00067", "authority", {"authority": agent()}),
    row("XAPI-00068", "version", {"version": "1.0.0"}),
    row("XAPI-00069", "stored", {"stored": "2024-01-01T00:00:00Z"}),
    row("XAPI-00070", "id", {"id": new_id()}),
    row("XAPI-00071", "a sub-statement", {"object": substatement()}),
]


@pytest.mark.parametrize("more", FORBIDDEN)
def test_what_a_substatement_must_not_have_is_refused(api: Api, more: dict[str, Any]) -> None:
    refused(api, statement(object=substatement(**more)))


REFERENCES = [
    row("XAPI-00072", "no id", {"objectType": "StatementRef"}),
    row("XAPI-00072", "an id that is no UUID", {"objectType": "StatementRef", "id": "should fail"}),
    row("XAPI-00072", "an id that is an IRI", {"objectType": "StatementRef", "id": "https://school.example/1"}),
    row("XAPI-00073", "no objectType", {"id": new_id()}),
    row("XAPI-00073", "objectType in lower case", reference() | {"objectType": "statementref"}),
    row("XAPI-00073", "a sub-statement without objectType", statement()),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", REFERENCES)
def test_a_wrong_statement_reference_is_refused(api: Api, value: dict[str, Any], host: str) -> None:
    refused(api, changed(statement(object=substatement()), {HOSTS[host] + "object": value}))


@requirement("XAPI-00072", "XAPI-00073")
@pytest.mark.parametrize("host", HOSTS)
def test_a_statement_reference_may_point_to_nothing_yet(api: Api, host: str) -> None:
    accepted(api, changed(statement(object=substatement()), {HOSTS[host] + "object": reference()}))
