"""Data 2.5 and Communication 2.1.3: results in pages, and the header that says how far they are complete."""

from __future__ import annotations

import datetime
import re

import pytest

from .builders import agent, identifiers, iri, new_id, statement
from .client import Api, must, requirement


def pages(api: Api, **params: object) -> list[list[str]]:
    """Every page of a query: the ids on it."""
    result = must(200, api.get(**params)).json()
    found = []
    while True:
        assert set(result) <= {"statements", "more"}
        found.append([each["id"] for each in result["statements"]])
        if not result.get("more"):
            return found
        result = must(200, api.more(result["more"])).json()


@requirement("XAPI-00110", "XAPI-00113", "XAPI-00154")
def test_a_result_has_a_list_of_statements_and_more(api: Api) -> None:
    api.store(statement(), statement())
    result = must(200, api.get(limit=1)).json()
    assert [set(each) >= {"actor", "verb", "object", "id", "stored"} for each in result["statements"]] == [True]
    assert isinstance(result["more"], str)
    assert result["more"]


@requirement("XAPI-00108", "XAPI-00111", "XAPI-00114")
@pytest.mark.parametrize("ascending", [False, True])
def test_pages_hold_every_statement_once_in_order(api: Api, *, ascending: bool) -> None:
    actor = agent()
    stored = api.store(*(statement(actor=actor) for _ in range(7)))
    assert pages(api, agent=actor, limit=3, ascending=ascending) == (
        [stored[:3], stored[3:6], stored[6:]] if ascending else [stored[6:3:-1], stored[3:0:-1], stored[:1]]
    )


@requirement("XAPI-00108", "XAPI-00111")
def test_pages_keep_to_the_query(api: Api) -> None:
    verb, actor = {"id": iri("verb"), "display": {"en": "read"}}, agent(name="Ann")
    wanted = api.store(*(statement(actor=actor, verb=verb) for _ in range(3)))
    api.store(statement(actor=actor), statement(verb=verb))
    first = must(200, api.get(agent=actor, verb=verb["id"], limit=1, format="ids")).json()
    second = must(200, api.more(first["more"])).json()
    [shown] = second["statements"]
    assert shown["id"] == wanted[1]
    assert shown["verb"] == {"id": verb["id"]}
    assert "name" not in shown["actor"]


@requirement("XAPI-00108")
def test_what_comes_later_does_not_move_the_pages(api: Api) -> None:
    actor = agent()
    stored = api.store(*(statement(actor=actor) for _ in range(4)))
    first = must(200, api.get(agent=actor, limit=2)).json()
    api.store(statement(actor=actor))
    second = must(200, api.more(first["more"])).json()
    assert [each["id"] for each in first["statements"] + second["statements"]] == stored[::-1]


@requirement("XAPI-00109")
def test_the_last_page_has_no_more(api: Api) -> None:
    actor = agent()
    api.store(*(statement(actor=actor) for _ in range(2)))
    for params in ({}, {"limit": 2}, {"limit": 100}, {"limit": 0}):
        assert must(200, api.get(agent=actor, **params)).json().get("more", "") == ""


@requirement("XAPI-00108")
def test_more_is_relative_and_tells_nothing(api: Api) -> None:
    person = identifiers()
    actor = {"account": person["account"]}
    api.store(statement(actor=actor), statement(actor=actor))
    more = must(200, api.get(agent=actor, limit=1)).json()["more"]
    assert more.startswith("/")
    assert person["account"]["name"] not in more


@requirement("XAPI-00112", "XAPI-00149", "XAPI-00109")
def test_nothing_found_is_an_empty_list(api: Api) -> None:
    for params in ({"verb": iri("verb")}, {"agent": agent()}, {"registration": new_id()}, {"activity": iri()}):
        assert must(200, api.get(**params)).json() in ({"statements": [], "more": ""}, {"statements": []})


QUERIES = [
    {},
    {"agent": agent()},
    {"verb": iri("verb")},
    {"activity": iri()},
    {"registration": new_id()},
    {"activity": iri(), "related_activities": True},
    {"agent": agent(), "related_agents": True},
    {"since": "2012-06-01T19:09:13.245Z"},
    {"until": "2012-06-01T19:09:13.245Z"},
    {"limit": 1},
    {"ascending": True},
    {"format": "ids"},
    {"attachments": True},
    {"statementId": new_id()},
    {"unknown": "parameter"},
    {"verb": "no iri"},
]


@requirement("XAPI-00153", "XAPI-00160")
@pytest.mark.parametrize("params", QUERIES, ids=lambda params: " ".join(params) or "all")
def test_every_answer_says_how_far_it_is_complete(api: Api, params: dict[str, object]) -> None:
    through = api.get(**params).headers["X-Experience-API-Consistent-Through"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", through)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(through)
    assert datetime.timedelta(seconds=-5) < age < datetime.timedelta(seconds=60)


@requirement("XAPI-00153")
def test_posting_and_putting_say_it_too(api: Api) -> None:
    assert "X-Experience-API-Consistent-Through" in api.post(statement()).headers
    sent = statement(id=new_id())
    answer = api.call("PUT", "statements", {"statementId": sent["id"]}, json=sent)
    assert "X-Experience-API-Consistent-Through" in answer.headers


@requirement("XAPI-00152")
def test_what_was_answered_was_stored_before_the_header(api: Api) -> None:
    for _ in range(5):
        [given] = api.store(statement())
        answer = must(200, api.get(limit=1))
        [newest] = answer.json()["statements"]
        through = datetime.datetime.fromisoformat(answer.headers["X-Experience-API-Consistent-Through"])
        stored = datetime.datetime.fromisoformat(newest["stored"])
        assert newest["id"] == given
        assert through >= stored.replace(microsecond=stored.microsecond // 1000 * 1000)
