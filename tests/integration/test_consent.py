"""Consent for each purpose: what withdrawing ends, what giving begins, and the record and receipt of both (T-CONS)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import requests

from lrs.receipts import CONSENT_RECEIPT, verify
from schemas.consent import check_follows, check_record
from tests.conformance.builders import agent, iri, new_id, statement
from tests.conformance.client import Api, Json, must
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, consent, erase, identity_of, is_placeholder, place, privacy
from tests.services import Griffel, running


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def school(request: pytest.FixtureRequest, make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with running(make_lrs(request.param)) as server:
        yield server


@pytest.fixture
def api(school: Griffel) -> Iterator[Api]:
    api = Api(school.url, school.key, school.secret, "2.0.0")
    with api.session:
        yield api


def answer(who: Json) -> Json:
    return statement(
        id=new_id(),
        actor=who,
        object={"id": iri(), "definition": {"interactionType": "likert"}},
        verb={"id": "http://adlnet.gov/expapi/verbs/answered"},
        result={"response": "likert_4"},
    )


def test_withdrawing_surveys_ends_their_answers_and_nothing_else(school: Griffel, api: Api) -> None:
    who = agent()
    kept, given = statement(id=new_id(), actor=who), answer(who)
    api.store(kept, given)
    told = consent(school, who, "survey", given=False)
    assert told["changed"] is True
    assert api.fetch(kept["id"])["actor"]["mbox"] == who["mbox"]
    found = api.fetch(given["id"])
    assert "result" not in found
    assert found["actor"]["mbox"] == who["mbox"], "that it was answered is about learning"
    later = answer(who)
    must(200, api.post(later))
    assert "result" not in api.fetch(later["id"])
    consent(school, who, "survey", given=True)
    again = answer(who)
    must(200, api.post(again))
    assert api.fetch(again["id"])["result"] == {"response": "likert_4"}
    assert "result" not in api.fetch(given["id"]), "what was destroyed stays destroyed"
    states = dict(Databases(school).vault("SELECT version, state FROM key WHERE purpose = 2 ORDER BY version"))
    assert set(states.values()) <= {1, 2}
    assert 2 in states, "consent given again begins with another key"


def test_withdrawing_learning_stops_recording_and_hides(school: Griffel, api: Api) -> None:
    who, other = agent(), agent()
    own = statement(id=new_id(), actor=who)
    named = statement(id=new_id(), actor=other, context={"instructor": who})
    api.store(own, named)
    consent(school, who, "learning", given=False)
    refused = must(403, api.post(statement(actor=who)))
    assert refused.json()["type"] == "urn:griffel:problem:consent-required"
    state = {"activityId": iri(), "agent": identity_of(who), "stateId": "s"}
    must(403, api.call("PUT", "activities/state", state, data=b"x"))
    assert api.get(statementId=own["id"]).status_code == 404
    assert is_placeholder(api.fetch(named["id"])["context"]["instructor"])
    consent(school, who, "learning", given=True)
    assert api.fetch(own["id"])["actor"]["mbox"] == who["mbox"], "nothing was destroyed"
    must(200, api.post(statement(actor=who)))


def test_a_reader_with_another_purpose_still_sees(school: Griffel, api: Api) -> None:
    who = agent()
    own = statement(id=new_id(), actor=who)
    api.store(own)
    wide = school.key, school.secret
    key, secret = school.credential("statements/read", "--purpose", "research")
    school.key, school.secret = wide
    researcher = Api(school.url, key, secret, "2.0.0")
    assert researcher.get(statementId=own["id"]).status_code == 200
    consent(school, who, "research", given=False)
    assert researcher.get(statementId=own["id"]).status_code == 404
    assert api.get(statementId=own["id"]).status_code == 200


def test_each_decision_has_a_record_and_a_receipt(school: Griffel) -> None:
    who = agent()
    [key] = must(200, requests.get(f"{school.base}/privacy/keys", timeout=BOUND_S)).json()["keys"]
    before = None
    for given in (True, False, False, True):
        told = consent(school, who, "updates", given=given, language="nl", by_learner=True)
        check_record(told["record"])
        check_follows(told["record"], before)
        assert verify(key, told["receipt"], CONSENT_RECEIPT) == told["record"]
        assert told["record"]["notice"]["language"] == "nl"
        assert who["mbox"] not in json.dumps(told)
        before = told["record"]


def test_what_cannot_be_decided_is_refused_with_the_place(school: Griffel) -> None:
    who = identity_of(agent())
    for asked, pointer in (
        ({"agent": who, "purpose": "legal", "given": False}, "/purpose"),
        ({"agent": who, "purpose": "cookies", "given": False}, "/purpose"),
        ({"agent": who, "purpose": "survey", "given": "no"}, "/given"),
        ({"agent": who, "purpose": "survey", "given": True, "language": "tlh"}, "/language"),
        ({"agent": {"mbox": "ada"}, "purpose": "survey", "given": True}, "/agent/mbox"),
        ({"agent": who, "purpose": "survey", "given": True, "why": "x"}, None),
    ):
        told = must(400, privacy(school, "POST", "consents", **asked)).json()
        assert told.get("pointer") == pointer, told


def test_whoever_is_erased_decides_nothing_more(school: Griffel, api: Api) -> None:
    who = agent()
    api.store(statement(actor=who))
    consent(school, who, "survey", given=False)
    erase(school, who)
    asked = {"agent": identity_of(who), "purpose": "survey", "given": True}
    assert (
        must(403, privacy(school, "POST", "consents", **asked)).json()["type"] == "urn:griffel:problem:learner-erased"
    )


def test_the_command_line_records_it_too(school: Griffel, api: Api) -> None:
    who = agent()
    api.store(statement(actor=who))
    options = [*place(school), "--agent", json.dumps(identity_of(who)), "--purpose", "learning"]
    assert "withdrawn" in school.command("consent", "withdraw", *options).stdout
    must(403, api.post(statement(actor=who)))
    told = json.loads(school.command("consent", "give", *options, "--json").stdout)
    check_record(told["record"])
    must(200, api.post(statement(actor=who)))
    wrong = school.command("consent", "give", *options[:-1], "nonsense", check=False)
    assert wrong.returncode == 1
    assert "learning" in wrong.stderr


def said(who: Json, verb: str, purpose: str, **more: object) -> Json:
    target = {"id": f"urn:griffel:purpose:{purpose}", "objectType": "Activity"}
    return statement(id=new_id(), actor=who, verb={"id": f"urn:griffel:verb:consent-{verb}"}, object=target, **more)


def test_a_statement_of_a_trusted_credential_does_the_same(school: Griffel, api: Api) -> None:
    who = agent()
    given = answer(who)
    api.store(given)
    withdrawn = said(who, "withdrawn", "survey", context={"language": "nl"})
    for _ in range(2):
        must(200, api.post(withdrawn))
    assert "result" not in api.fetch(given["id"])
    assert api.fetch(withdrawn["id"])["verb"]["id"].endswith("consent-withdrawn")
    changes = Databases(school).log("SELECT count(*) FROM events WHERE topic = ?", "consent_changed")
    must(200, api.post(withdrawn))
    assert Databases(school).log("SELECT count(*) FROM events WHERE topic = ?", "consent_changed") == changes
    must(200, api.post(said(who, "withdrawn", "learning")))
    must(403, api.post(statement(actor=who)))
    must(200, api.post([said(who, "given", "learning"), statement(actor=who)]))
    must(200, api.post(statement(actor=who)))


def test_what_an_ordinary_credential_says_of_consent_is_only_kept(school: Griffel, api: Api) -> None:
    who = agent()
    wide = school.key, school.secret
    key, secret = school.credential("statements/write,statements/read")
    school.key, school.secret = wide
    ordinary = Api(school.url, key, secret, "2.0.0")
    must(200, ordinary.post(said(who, "withdrawn", "learning")))
    must(200, ordinary.post(statement(actor=who)))


def test_a_statement_of_consent_that_cannot_be_is_refused_as_a_whole(api: Api) -> None:
    who = agent()
    for wrong in ("cookies", "legal"):
        batch = [statement(id=new_id(), actor=who), said(who, "given", wrong)]
        told = must(400, api.post(batch)).json()
        assert told["pointer"] == "/1/object/id"
        assert api.get(statementId=batch[0]["id"]).status_code == 404
