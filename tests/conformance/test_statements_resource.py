"""Communication 2.1: PUT, POST and GET of statements, one by one and in batches; formats."""

from __future__ import annotations

import email.utils
import json
from datetime import datetime
from typing import Any

import pytest

from .builders import (
    EXTENSION,
    activity,
    agent,
    changed,
    full,
    group,
    identifiers,
    iri,
    new_id,
    reference,
    statement,
    verb,
    voiding,
)
from .client import Api, must, only, refused, requirement, row

RESOURCES = {
    "statements": {"limit": 1},
    "agents": {"agent": agent()},
    "activities": {"activityId": iri()},
    "activities/state": {"activityId": iri(), "agent": agent()},
    "activities/profile": {"activityId": iri()},
    "agents/profile": {"agent": agent()},
    "about": {},
}


@requirement("XAPI-00140", "XAPI-00139", "XAPI-00159")
@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_is_there(api: Api, resource: str) -> None:
    answer = must(200, api.call("GET", resource, RESOURCES[resource]))
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"


@requirement("XAPI-00139", "XAPI-00143", "XAPI-00144")
@pytest.mark.parametrize("id_inside", [True, False])
def test_put_stores_a_statement_under_its_id(api: Api, *, id_inside: bool) -> None:
    statement_id, sent = new_id(), statement()
    body = sent | {"id": statement_id} if id_inside else sent
    answer = must(204, api.call("PUT", "statements", {"statementId": statement_id}, json=body))
    assert answer.content == b""
    assert api.fetch(statement_id)["actor"] == sent["actor"]


@requirement("XAPI-00144", "XAPI-00145")
def test_put_without_statement_id_is_refused(api: Api) -> None:
    must(400, api.call("PUT", "statements", json=statement(id=new_id())))


@requirement("XAPI-00144")
def test_put_with_another_id_inside_is_refused(api: Api) -> None:
    must(400, api.call("PUT", "statements", {"statementId": new_id()}, json=statement(id=new_id())))


@requirement("XAPI-00144")
@pytest.mark.parametrize("body", [[statement()], [], [statement(), statement()]], ids=len)
def test_put_takes_one_statement_only(api: Api, body: list[Any]) -> None:
    must(400, api.call("PUT", "statements", {"statementId": new_id()}, json=body))


@requirement("XAPI-00139", "XAPI-00146", "XAPI-00147")
@pytest.mark.parametrize("count", [1, 2, 60])
def test_post_answers_the_ids_in_order(api: Api, count: int) -> None:
    batch = [statement(id=new_id()) for _ in range(count)]
    assert must(200, api.post(batch)).json() == [sent["id"] for sent in batch]
    assert api.fetch(batch[-1]["id"])["actor"] == batch[-1]["actor"]


@requirement("XAPI-00147", "XAPI-00146")
def test_post_takes_one_statement_without_a_list(api: Api) -> None:
    [given] = must(200, api.post(statement())).json()
    assert api.fetch(given)["id"] == given


@requirement("XAPI-00142")
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "changes",
    [{"verb/id": iri("verb")}, {"actor": agent()}, {"result": {"success": True}}, {"object/id": iri()}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_id_is_used_once(api: Api, changes: dict[str, Any], method: str) -> None:
    sent = statement(id=new_id())
    api.store(sent)
    before = api.fetch(sent["id"])
    params = {"statementId": sent["id"]} if method == "PUT" else {}
    must(409, api.call(method, "statements", params, json=changed(sent, changes)))
    assert api.fetch(sent["id"]) == before


@requirement("XAPI-00142")
def test_the_same_statement_again_is_accepted_and_changes_nothing(api: Api) -> None:
    sent = full() | {"id": new_id()}
    api.store(sent)
    before = api.fetch(sent["id"])
    assert must(200, api.post(sent)).json() == [sent["id"]]
    must(204, api.call("PUT", "statements", {"statementId": sent["id"]}, json=sent))
    again = changed(sent, {"timestamp": "2024-02-29T09:30:00.123+01:00", "verb/display": {"nl": "beantwoordde"}})
    must(200, api.post(dict(reversed(again.items()))))
    assert api.fetch(sent["id"]) == before


@requirement("XAPI-00142", "XAPI-00326")
def test_a_batch_with_one_taken_id_stores_nothing(api: Api) -> None:
    taken, fresh = statement(id=new_id()), statement(id=new_id())
    api.store(taken)
    must(409, api.post([fresh, statement(id=taken["id"])]))
    must(404, api.get(statementId=fresh["id"]))


@only("2.0.0")
@requirement("XAPI-00142", "IEEE-duplicate-ids")
def test_a_batch_with_an_id_twice_is_refused(api: Api) -> None:
    sent = statement(id=new_id())
    refused(api, [sent, dict(sent)])
    refused(api, [sent, statement(id=sent["id"])])
    must(404, api.get(statementId=sent["id"]))


@requirement("XAPI-00326", "XAPI-00182")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_batch_with_one_bad_statement_stores_nothing(api: Api, place: int) -> None:
    batch = [statement(id=new_id()) for _ in range(3)]
    batch[place]["verb"] = {"id": "should fail"}
    answer = must(400, api.post(batch))
    assert answer.json()["pointer"].startswith(f"/{place}/verb")
    for sent in batch:
        must(404, api.get(statementId=sent["id"]))


@requirement("XAPI-00156", "XAPI-00158")
def test_get_finds_a_statement_by_its_id(api: Api) -> None:
    first, second = api.store(statement(), statement())
    assert api.fetch(first)["id"] == first
    assert api.fetch(second.upper())["id"] == second
    must(404, api.get(statementId=new_id()))


@requirement("IEEE-last-modified")
def test_last_modified_is_when_it_was_stored(api: Api) -> None:
    answer = must(200, api.get(statementId=api.store(statement())[0]))
    modified = email.utils.parsedate_to_datetime(answer.headers["Last-Modified"])
    assert modified == datetime.fromisoformat(answer.json()["stored"]).replace(microsecond=0)


FILTERS = {
    "agent": agent(),
    "verb": iri("verb"),
    "activity": iri(),
    "registration": new_id(),
    "related_activities": True,
    "related_agents": True,
    "since": "2012-06-01T19:09:13.245Z",
    "until": "2012-06-01T19:09:13.245Z",
    "limit": 1,
    "ascending": True,
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    "kind", [row("XAPI-00151", "statementId", "statementId"), row("XAPI-00150", "voidedStatementId", "voided")]
)
def test_an_id_goes_with_no_filter(api: Api, kind: str, name: str) -> None:
    key = "statementId" if kind == "statementId" else "voidedStatementId"
    must(400, api.get(**{key: new_id(), name: FILTERS[name]}))


@requirement("XAPI-00150", "XAPI-00151")
def test_both_ids_at_once_are_refused(api: Api) -> None:
    must(400, api.get(statementId=new_id(), voidedStatementId=new_id()))


@requirement("XAPI-00150", "XAPI-00151", "XAPI-00155", "XAPI-00165")
@pytest.mark.parametrize(
    "more", [{"format": "exact"}, {"format": "ids"}, {"format": "canonical"}, {"attachments": True}]
)
def test_an_id_goes_with_format_and_attachments(api: Api, more: dict[str, Any]) -> None:
    living, dead = api.store(statement(), statement())
    api.store(voiding(dead))
    content_type = "multipart/mixed" if "attachments" in more else "application/json"
    for params in ({"statementId": living}, {"voidedStatementId": dead}):
        answer = must(200, api.get(**params, **more))
        assert answer.headers["Content-Type"].split(";")[0] == content_type


def named() -> dict[str, Any]:
    """A statement in which everything has more than its identity."""
    return statement(
        actor=group(agent(name="Ann"), agent(name="Cas"), name="All"),
        verb=verb(display={"en": "read", "nl": "las"}),
        object=activity(name={"en": "Book", "nl": "Boek"}, description={"en": "Read it", "nl": "Lees het"}),
        context={
            "instructor": agent(name="Bea"),
            "team": group(name="Team"),
            "contextActivities": {"parent": [activity(name={"en": "Shelf"})]},
        },
    )


@requirement("XAPI-00168", "XAPI-00170")
@pytest.mark.parametrize("more", [{}, {"format": "exact"}], ids=["absent", "exact"])
def test_exact_is_as_it_was_received(api: Api, more: dict[str, str]) -> None:
    sent = named()
    [given] = api.store(sent)
    api.store(changed(named(), {"object/id": sent["object"]["id"], "object/definition/name": {"fr": "Livre"}}))
    for params in ({"statementId": given}, {"verb": sent["verb"]["id"]}):
        answer = must(200, api.get(**params, **more)).json()
        [found] = answer.get("statements", [answer])
        for name, value in sent.items():
            if name == "actor":
                assert sorted(found[name].pop("member"), key=json.dumps) == sorted(value["member"], key=json.dumps)
                value = {key: item for key, item in value.items() if key != "member"}  # noqa: PLW2901
            assert found[name] == value


@requirement("XAPI-00171")
def test_ids_leaves_only_what_identifies(api: Api) -> None:
    sent = named()
    [given] = api.store(sent)
    found = must(200, api.get(verb=sent["verb"]["id"], format="ids")).json()["statements"][0]
    assert found["id"] == given
    assert found["verb"] == {"id": sent["verb"]["id"]}
    assert found["object"]["id"] == sent["object"]["id"]
    assert set(found["object"]) <= {"id", "objectType"}
    assert sorted(member["mbox"] for member in found["actor"]["member"]) == sorted(
        member["mbox"] for member in sent["actor"]["member"]
    )
    assert found["context"]["instructor"]["mbox"] == sent["context"]["instructor"]["mbox"]
    assert found["context"]["team"]["account"] == sent["context"]["team"]["account"]
    text = json.dumps(found)
    assert not [name for name in ("Ann", "Cas", "Bea", "All", "Team", "Book", "Shelf", "read") if f'"{name}"' in text]


@requirement("XAPI-00169", "XAPI-00172")
@pytest.mark.parametrize(
    ("accept", "language"),
    [("nl", "nl"), ("en", "en"), ("fr;q=0.3, nl-NL, nl;q=0.9, en;q=0.1", "nl"), ("nl;q=0, en", "en")],
)
def test_canonical_chooses_the_language(api: Api, accept: str, language: str) -> None:
    sent = named()
    [given] = api.store(sent)
    answer = must(
        200,
        api.call(
            "GET", "statements", {"statementId": given, "format": "canonical"}, headers={"Accept-Language": accept}
        ),
    )
    found = answer.json()
    assert set(found["object"]["definition"]["name"]) == {language}
    assert set(found["object"]["definition"]["description"]) == {language}
    assert set(found["verb"]["display"]) == {language}
    assert set(found["context"]["contextActivities"]["parent"][0]["definition"]["name"]) == {"en"}
    assert found["context"]["instructor"] == sent["context"]["instructor"]


@requirement("XAPI-00169")
def test_canonical_knows_what_other_statements_said(api: Api) -> None:
    book = activity(name={"en": "Book"}, extensions={EXTENSION: 1})
    bare = statement(object={"id": book["id"]})
    given, _ = api.store(bare, statement(object=book))
    params = {"statementId": given, "format": "canonical"}
    found = must(200, api.call("GET", "statements", params, headers={"Accept-Language": "en"})).json()
    assert found["object"]["definition"]["name"] == {"en": "Book"}


@requirement("XAPI-00172")
@pytest.mark.parametrize("more", [{}, {"format": "exact"}], ids=["absent", "exact"])
def test_other_formats_keep_every_language(api: Api, more: dict[str, str]) -> None:
    sent = named()
    [given] = api.store(sent)
    answer = api.call("GET", "statements", {"statementId": given, **more}, headers={"Accept-Language": "nl"})
    assert must(200, answer).json()["object"] == sent["object"]


@requirement("XAPI-00171", "XAPI-00168")
def test_an_unknown_format_is_refused(api: Api) -> None:
    must(400, api.get(format="Exact"))
    must(400, api.get(format=""))


@requirement("XAPI-00015", "XAPI-00158")
def test_every_identifier_survives_the_round(api: Api) -> None:
    people = [{"objectType": "Agent", name: value} for name, value in identifiers().items()]
    sent = statement(actor=group(*people), object=reference())
    [given] = api.store(sent)
    found = api.fetch(given)["actor"]["member"]
    assert sorted(found, key=json.dumps) == sorted(people, key=json.dumps)
