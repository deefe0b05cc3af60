"""Data 2.1 and 2.2, Communication 1.4: what any statement must look like."""

from __future__ import annotations

import json

import pytest

from .builders import (
    EXTENSION,
    GONE,
    HOSTS,
    INTERACTION_TYPES,
    activity,
    agent,
    altered,
    attachment,
    changed,
    full,
    group,
    iri,
    new_id,
    statement,
    with_person,
)
from .client import Api, accepted, must, refused, requirement, row

pytestmark = pytest.mark.before_storage

NULLS = (
    "actor/name",
    "actor/mbox",
    "verb/display",
    "verb/display/en",
    "object/definition/moreInfo",
    "object/definition/name/en",
    "object/definition/choices/0/description",
    "result",
    "result/score/raw",
    "result/success",
    "context",
    "context/registration",
    "context/contextActivities/parent",
    "context/team/name",
    "timestamp",
)


@requirement("XAPI-00001")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("place", NULLS)
def test_null_is_refused(api: Api, place: str, host: str) -> None:
    refused(api, altered(host, {place: None}))


EXTENSION_PLACES = ("object/definition/extensions", "result/extensions", "context/extensions")


@requirement("XAPI-00001", "XAPI-00119")
@pytest.mark.parametrize("host", HOSTS)
def test_null_is_accepted_inside_extensions(api: Api, host: str) -> None:
    accepted(api, altered(host, {place: {EXTENSION: None} for place in EXTENSION_PLACES}))


@requirement("XAPI-00002")
def test_numbers_keep_their_precision(api: Api) -> None:
    score = {"scaled": 0.12123434, "raw": 12.125, "min": 0.12123434, "max": 45.45}
    stored = accepted(api, statement(result={"score": score}))
    assert stored["result"]["score"] == score


WRONG = [
    row("XAPI-00003", "no actor", {"actor": GONE}),
    row("XAPI-00004", "no verb", {"verb": GONE}),
    row("XAPI-00005", "no object", {"object": GONE}),
    row("XAPI-00006", "words for a number", {"result/score/max": "one hundred"}),
    row("XAPI-00006", "digits in a string for a number", {"result/score/max": "100"}),
    row("XAPI-00006", "words for a boolean", {"result/success": "it went badly"}),
    row("XAPI-00006", "a boolean in a string", {"result/completion": "false"}),
    row("XAPI-00006", "a number for a boolean", {"result/completion": 1}),
    row("XAPI-00006", "a boolean for a number", {"result/score": {"raw": True}}),
    row("XAPI-00006", "a list for an object", {"verb": []}),
    row("XAPI-00006", "a string for an object", {"actor": "Ann"}),
    row("XAPI-00007", "an empty IRI as verb", {"verb/id": ""}),
    row("XAPI-00007", "an empty IRI as activity", {"object/id": ""}),
    row("XAPI-00007", "an empty mbox", {"actor/mbox": ""}),
    row("XAPI-00007", "an empty UUID", {"context/registration": ""}),
    row("XAPI-00007", "an empty duration", {"result/duration": ""}),
    row("XAPI-00007", "an empty timestamp", {"timestamp": ""}),
    row("XAPI-00011", "a verb without scheme", {"verb/id": "school.example/verb"}),
    row("XAPI-00011", "an activity without scheme", {"object/id": "school.example/activity"}),
    row("XAPI-00011", "a type without scheme", {"object/definition/type": "school.example/type"}),
    row("XAPI-00011", "a moreInfo without scheme", {"object/definition/moreInfo": "school.example/about"}),
    row("XAPI-00011", "an openid without scheme", {"actor": {"openid": "school.example/ann"}}),
    row("XAPI-00011", "a homePage without scheme", {"actor": {"account": {"homePage": "school.example", "name": "a"}}}),
    *(
        row("XAPI-00011", f"a key without scheme in {place}", {place: {"school.example/key": 1}})
        for place in EXTENSION_PLACES
    ),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("changes", WRONG)
def test_wrong_formats_are_refused(api: Api, changes: dict[str, object], host: str) -> None:
    refused(api, altered(host, changes))


@requirement("XAPI-00007")
@pytest.mark.parametrize("kind", ["Agent", "Group"])
@pytest.mark.parametrize("place", ["actor", "authority", "instructor", "object", "sub-actor", "sub-instructor"])
def test_an_account_name_that_is_no_string_is_refused(api: Api, place: str, kind: str) -> None:
    account = {"homePage": "https://school.example", "name": {"key": "name"}}
    refused(api, with_person(place, {"objectType": kind, "account": account}))


@requirement("XAPI-00011")
@pytest.mark.parametrize("name", ["usageType", "fileUrl"])
def test_an_attachment_iri_without_scheme_is_refused(api: Api, name: str) -> None:
    refused(api, statement(attachments=[attachment(**{name: "school.example/file"})]))


@requirement("XAPI-00008", "XAPI-00010")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("actor", "Actor"),
        ("verb", "veRb"),
        ("object", "oBject"),
        ("result", "RESULT"),
        ("context", "conText"),
        ("timestamp", "timeStamp"),
        ("actor/mbox", "actor/Mbox"),
        ("object/definition", "object/Definition"),
        ("result/score", "result/Score"),
        ("context/contextActivities", "context/contextactivities"),
    ],
)
@pytest.mark.parametrize("host", HOSTS)
def test_a_key_in_another_case_is_refused(api: Api, right: str, wrong: str, host: str) -> None:
    place = full(host) if host == "statement" else full(host)["object"]
    for name in right.split("/"):
        place = place[name]
    refused(api, altered(host, {wrong: place}))
    refused(api, altered(host, {wrong: place, right: GONE}))


@requirement("XAPI-00008", "XAPI-00010")
@pytest.mark.parametrize(
    "more",
    [
        {"iD": new_id()},
        {"STOred": "2024-01-01T00:00:00Z"},
        {"auTHORity": agent()},
        {"Version": "1.0.0"},
        {"attachmentS": [attachment()]},
        {"colour": "blue"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_an_unknown_property_of_a_statement_is_refused(api: Api, more: dict[str, object]) -> None:
    refused(api, statement(**more))


@requirement("XAPI-00010")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "place",
    [
        "actor",
        "verb",
        "object",
        "object/definition",
        "object/definition/choices/0",
        "result",
        "result/score",
        "context",
        "context/contextActivities",
        "context/statement",
    ],
)
def test_an_unknown_property_anywhere_is_refused(api: Api, place: str, host: str) -> None:
    refused(api, altered(host, {f"{place}/colour": "blue"}))


@requirement("XAPI-00009")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", INTERACTION_TYPES)
def test_an_interaction_type_in_another_case_is_refused(api: Api, name: str, host: str) -> None:
    for wrong in (name.upper(), name.capitalize(), name[:-1] + name[-1].upper()):
        refused(api, altered(host, {"object/definition": {"interactionType": wrong}}))


@requirement("XAPI-00009")
@pytest.mark.parametrize("value", ["agent", "GROUP", "Person"])
def test_an_object_type_in_another_case_is_refused(api: Api, value: str) -> None:
    refused(api, statement(actor=agent(objectType=value)))


@requirement("XAPI-00012")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statementId", "wrong"),
        ("statementId", "7c114f87-b9c9-467b-be1a-de77ef43e2ef0"),
        ("voidedStatementId", "wrong"),
        ("agent", "wrong"),
        ("agent", {"mbox": "ann@school.example"}),
        ("agent", {"name": "Ann"}),
        ("verb", "school.example/verb"),
        ("activity", "school.example/activity"),
        ("registration", "wrong"),
        ("since", "yesterday"),
        ("until", "2024-13-01T00:00:00Z"),
        ("limit", "many"),
        ("limit", -1),
        ("ascending", "maybe"),
        ("related_agents", "1"),
        ("related_activities", "on"),
        ("attachments", "yes"),
        ("format", "short"),
    ],
)
def test_a_parameter_of_the_wrong_form_is_refused(api: Api, name: str, value: object) -> None:
    must(400, api.get(**{name: value}))


MAPS = (
    "verb/display",
    "object/definition/name",
    "object/definition/description",
    "object/definition/choices/1/description",
)
TAGS = ("de", "de-DE", "zh-Hant", "zh-Hans-CN", "sr-Latn-RS", "cmn", "ase", "es-419", "sl-rozaj-biske-1994", "x-pig")
NO_TAGS = ("something", "a12345678", "en_US", "", "zh-z-aaa-z-bbb-c-ccc", "e", "-en", "en-", "english language")


@requirement("XAPI-00013", "XAPI-00121")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("place", MAPS)
def test_language_tags_are_accepted(api: Api, place: str, host: str) -> None:
    accepted(api, altered(host, {place: dict.fromkeys(TAGS, "text")}))


@requirement("XAPI-00013", "XAPI-00121")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("tag", NO_TAGS)
@pytest.mark.parametrize("place", MAPS)
def test_a_language_map_with_a_bad_tag_is_refused(api: Api, place: str, tag: str, host: str) -> None:
    refused(api, altered(host, {place: {tag: "text"}}))


@requirement("XAPI-00013", "XAPI-00091")
@pytest.mark.parametrize("host", HOSTS)
def test_the_language_of_a_context_is_a_tag(api: Api, host: str) -> None:
    for tag in ("cmn", "fr-CA"):
        accepted(api, altered(host, {"context/language": tag}))
    for tag in NO_TAGS:
        refused(api, altered(host, {"context/language": tag}))


@requirement("XAPI-00013", "XAPI-00121", "XAPI-00106")
@pytest.mark.parametrize("name", ["display", "description"])
def test_the_texts_of_an_attachment_are_language_maps(api: Api, name: str) -> None:
    accepted(api, statement(attachments=[attachment(**{name: dict.fromkeys(TAGS, "text")})]))
    for tag in NO_TAGS:
        refused(api, statement(attachments=[attachment(**{name: {tag: "text"}})]))


TEXT = json.dumps(statement())


@requirement("XAPI-00014")
@pytest.mark.parametrize(
    "body",
    [
        TEXT[:-1],
        TEXT + "}",
        TEXT.replace(":", "=", 1),
        TEXT.replace('"', "'"),
        TEXT[:-1] + ', "result": {"score": {"raw": NaN}}}',
        TEXT[:-1] + ', "result": {"score": {"raw": 01}}}',
        TEXT[:-1] + ', "result": {"response": "\\ud800"}}',
        "",
        "null",
        '"statement"',
        "1",
        "[1]",
        "[null]",
    ],
)
def test_what_is_no_json_object_is_refused(api: Api, body: str) -> None:
    must(400, api.call("POST", "statements", data=body, headers={"Content-Type": "application/json"}))


@requirement("XAPI-00021")
@pytest.mark.parametrize(
    "body",
    [
        TEXT[:-1] + f', "verb": {json.dumps(statement()["verb"])}}}',
        TEXT[:-1] + ', "result": {"success": true, "success": false}}',
    ],
)
def test_a_property_that_stands_twice_is_refused(api: Api, body: str) -> None:
    must(400, api.call("POST", "statements", data=body, headers={"Content-Type": "application/json"}))


@requirement("XAPI-00015")
def test_strings_are_utf8_both_ways(api: Api) -> None:
    display = {"en": "Ünïcödé", "ja": "日本語", "ar": "اللغة", "ru": "Русский", "en-GB": "🖉 \u2028 𝄞 \x7f"}
    sent = statement(actor=agent(name="Zoë 山田"), verb={"id": iri("verb"), "display": display})
    body = json.dumps(sent, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    [statement_id] = must(200, api.call("POST", "statements", data=body, headers=headers)).json()
    answer = must(200, api.get(statementId=statement_id))
    stored = json.loads(answer.content.decode("utf-8"))
    assert stored["verb"]["display"] == display
    assert stored["actor"]["name"] == "Zoë 山田"


@requirement("XAPI-00015")
def test_bytes_that_are_no_utf8_are_refused(api: Api) -> None:
    body = json.dumps(statement(actor=agent(name="Zoe"))).replace("Zoe", "Zoë").encode("latin-1")
    must(400, api.call("POST", "statements", data=body, headers={"Content-Type": "application/json"}))


@requirement("XAPI-00014")
@pytest.mark.parametrize(
    "sent",
    [
        full("statement"),
        full("sub-statement"),
        statement(actor=group(agent(), agent(name="Cas"))),
        statement(actor=group(name="Identified")),
        changed(statement(), {"object/definition": {}}),
        statement(object=activity(name={"en": "Only a name"})),
        statement(object=agent()),
        statement(object=group(agent())),
    ],
    ids=["statement", "sub-statement", "anonymous group", "identified group", "definition", "name", "agent", "group"],
)
def test_good_statements_are_accepted_as_they_are(api: Api, sent: dict[str, object]) -> None:
    accepted(api, sent)
