"""Restriction: a learner disappears from everybody else's view, is recorded meanwhile, and comes back whole."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.conformance.builders import agent, group, new_id, statement
from tests.conformance.client import Api, Json, must
from tests.integration.privacy_desk import BOUND_S, consent, identity_of, is_placeholder, place, privacy, restrict
from tests.services import Griffel, running

ADL = "http://adlnet.gov/expapi/"


def course(name: str) -> Json:
    kind = {"type": f"{ADL}activities/course", "name": {"en": name}}
    return {"id": f"https://school.example/courses/{name}", "definition": kind}


def enrol(who: Json, where: Json, *verbs: str) -> list[Json]:
    registration = new_id()
    return [
        statement(
            actor=who,
            verb={"id": f"{ADL}verbs/{verb}"},
            object=where,
            context={"registration": registration},
            result={"completion": True} if verb == "completed" else {},
        )
        for verb in ("registered", *verbs)
    ]


@pytest.fixture(scope="module")
def school(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with running(make_lrs("embedded")) as server:
        yield server


def api_of(server: Griffel) -> Api:
    return Api(server.url, server.key, server.secret, "2.0.0")


def asked(server: Griffel, path: str, **params: Any) -> Any:
    response = requests.get(
        server.base + path,
        params=params,
        auth=(server.key, server.secret),
        headers={"Accept": "application/json"},
        timeout=BOUND_S,
    )
    return response.json() if response.ok else None


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return found


def test_a_restricted_learner_is_hidden_from_every_read_and_comes_back_whole(school: Griffel) -> None:
    api = api_of(school)
    hidden, other = agent(name="Somebody"), agent()
    own, shared, named = (
        statement(id=new_id(), **parts)
        for parts in (
            {"actor": hidden},
            {"actor": group(hidden, other)},
            {"actor": other, "context": {"instructor": hidden}},
        )
    )
    api.store(own, shared, named)
    before = [api.fetch(one["id"]) for one in (own, shared, named)]
    assert restrict(school, hidden, restricted=True) is True
    assert restrict(school, hidden, restricted=True) is False
    assert api.get(statementId=own["id"]).status_code == 404
    assert is_placeholder(api.fetch(shared["id"])["actor"]["member"][0])
    assert is_placeholder(api.fetch(named["id"])["context"]["instructor"])
    everything = json.dumps(must(200, api.get(limit=500)).json())
    assert hidden["mbox"] not in everything
    assert "Somebody" not in everything
    for filters in ({}, {"related_agents": True}):
        assert api.found(agent=identity_of(hidden), **filters) == []
    later = statement(id=new_id(), actor=hidden)
    must(200, api.post(later))
    assert api.get(statementId=later["id"]).status_code == 404
    assert restrict(school, hidden, restricted=False) is True
    assert [api.fetch(one["id"]) for one in (own, shared, named)] == before
    assert api.fetch(later["id"])["actor"]["mbox"] == hidden["mbox"], "what came meanwhile is there too"


def test_documents_of_a_restricted_learner_are_there_for_their_content_alone(school: Griffel) -> None:
    """Content that was told that there is no bookmark would begin anew, over the one that is there."""
    api, hidden = api_of(school), agent()
    state = {"activityId": course("documents")["id"], "agent": hidden, "stateId": "bookmark"}
    profile = {"agent": hidden, "profileId": "preferences"}
    must(204, api.call("PUT", "activities/state", state, data=b"chapter 7"))
    must(204, api.call("PUT", "agents/profile", profile, data=b"large", headers={"If-None-Match": "*"}))
    wide = school.key, school.secret
    reader = Api(school.url, *school.credential("all/read"), "2.0.0")
    school.key, school.secret = wide
    listed = {name: value for name, value in state.items() if name != "stateId"}

    def seen() -> list[object]:
        bookmark, preferences = (
            reader.call("GET", "activities/state", state),
            reader.call("GET", "agents/profile", profile),
        )
        ids = must(200, reader.call("GET", "activities/state", listed)).json()
        return [bookmark.status_code, preferences.status_code, ids]

    assert seen() == [200, 200, ["bookmark"]]
    restrict(school, hidden, restricted=True)
    assert seen() == [404, 404, []]
    assert must(200, api.call("GET", "activities/state", state)).content == b"chapter 7"
    restrict(school, hidden, restricted=False)
    assert seen() == [200, 200, ["bookmark"]]
    must(200, api.post(statement(actor=hidden)))
    consent(school, hidden, "learning", given=False)
    assert api.call("GET", "activities/state", state).status_code == 404, "withdrawn is for everybody"


def test_a_restricted_learner_is_not_made_known_by_another_identifier(school: Griffel) -> None:
    api, hidden = api_of(school), agent()
    api.store(statement(actor=hidden))
    digest = hashlib.sha1(hidden["mbox"].encode(), usedforsecurity=False).hexdigest()
    asked_with = {"agent": {"mbox_sha1sum": digest}}
    assert must(200, api.call("GET", "agents", asked_with)).json()["mbox"] == [hidden["mbox"]]
    restrict(school, hidden, restricted=True)
    assert must(200, api.call("GET", "agents", asked_with)).json() == {"objectType": "Person", "mbox_sha1sum": [digest]}


def test_a_list_that_was_begun_ends_where_its_learner_is_restricted(school: Griffel) -> None:
    api, hidden, other, registration = api_of(school), agent(), agent(), new_id()
    for _ in range(3):
        api.store(statement(actor=other, context={"instructor": hidden}))
        api.store(statement(actor=hidden, context={"registration": registration}))
    begun = must(200, api.get(agent=identity_of(hidden), related_agents=True, limit=1)).json()
    assert len(begun["statements"]) == 1
    restrict(school, hidden, restricted=True)
    path = begun["more"].removeprefix("/xapi/")
    assert must(200, api.call("GET", path)).json() == {"statements": [], "more": ""}
    found = must(200, api.get(registration=registration, limit=1)).json()
    assert found == {"statements": [], "more": ""}, "nothing tells that there is something"


def test_a_restricted_learner_is_in_no_course_and_no_count(school: Griffel) -> None:
    api, where = api_of(school), course("restricted")
    hidden, other = agent(), agent()
    api.store(*enrol(hidden, where, "completed"), *enrol(other, where))

    def listed() -> Any:
        found = asked(school, "/courses")["courses"]
        return next((one for one in found if one["activity_id"] == where["id"]), None)

    until(lambda: (one := listed()) and (one["enrolled"], one["completed"]) == (2, 1))
    report = asked(school, f"/courses/{listed()['id']}")
    assert len(report["learners"]) == 2
    restrict(school, hidden, restricted=True)
    assert (listed()["enrolled"], listed()["completed"]) == (1, 0)
    assert len(asked(school, f"/courses/{listed()['id']}")["learners"]) == 1
    shown = school.command("courses", "show", *place(school), where["id"], "--json").stdout
    assert len(json.loads(shown)["learners"]) == 1
    restrict(school, hidden, restricted=False)
    again = asked(school, f"/courses/{listed()['id']}")
    assert (listed()["enrolled"], listed()["completed"]) == (2, 1)
    assert again["learners"] == report["learners"]


def test_entries_of_a_restricted_learner_are_empty_until_it_is_lifted(school: Griffel) -> None:
    api, where, hidden = api_of(school), course("streamed"), agent()
    api.store(*enrol(hidden, where, "completed"))

    def entries() -> list[Json]:
        found: list[Json] = asked(school, "/streams/completions/events", limit=500)["events"]
        return [one for one in found if hidden["mbox"] in json.dumps(one)]

    told = until(entries)
    restrict(school, hidden, restricted=True)
    assert entries() == []
    numbers = {one["id"]: one["type"] for one in asked(school, "/streams/completions/events", limit=500)["events"]}
    assert numbers[told[0]["id"]] == "griffel.entry.empty", "its number stays"
    restrict(school, hidden, restricted=False)
    assert entries() == told


def test_whoever_is_restricted_still_sees_themselves(school: Griffel) -> None:
    hidden = agent()
    school_key = (school.key, school.secret)
    api_of(school).store(statement(actor=hidden))
    restrict(school, hidden, restricted=True)
    key, secret = school.credential("statements/read", "--authority", json.dumps(identity_of(hidden)))
    school.key, school.secret = school_key
    theirs = Api(school.url, key, secret, "2.0.0")
    assert len(theirs.found(agent=identity_of(hidden))) == 1
    restrict(school, hidden, restricted=False)


def test_nobody_is_restricted_who_is_not_known(school: Griffel) -> None:
    must(404, privacy(school, "POST", "restrictions", agent=identity_of(agent()), restricted=True))
    must(400, privacy(school, "POST", "restrictions", agent=identity_of(agent()), restricted="yes"))
    said = school.command("restrict", *place(school), "--agent", json.dumps(identity_of(agent())), check=False)
    assert said.returncode == 1
    assert "nobody is known" in said.stderr
