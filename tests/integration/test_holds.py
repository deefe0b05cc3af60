"""A legal hold keeps what it names from being destroyed, and from everybody's eyes (T-ERASE-14, T-LEG-2, T-LEG-3)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.builders import agent, iri, new_id, statement
from tests.conformance.client import Api, must
from tests.databases import Databases
from tests.integration.privacy_desk import BOUND_S, certificate_of, consent, identity_of, place, privacy
from tests.integration.test_retention import MUCH_LATER, answered, in_the_future
from tests.services import Griffel

LEARNING, SURVEY = 1, 2


@pytest.fixture
def api(fresh_lrs: Griffel) -> Iterator[Api]:
    api = Api(fresh_lrs.url, fresh_lrs.key, fresh_lrs.secret, "2.0.0")
    with api.session:
        yield api


def change(server: Griffel, someone: dict[str, Any], purpose: str, **how: Any) -> Any:
    return must(200, privacy(server, "POST", "holds", agent=identity_of(someone), purpose=purpose, **how)).json()


def living(server: Griffel, purpose: int) -> int:
    return int(Databases(server).vault("SELECT count(*) FROM key WHERE purpose = ? AND state = 1", purpose)[0][0])


def answer_of(who: dict[str, Any]) -> dict[str, Any]:
    survey = {"id": iri(), "definition": {"interactionType": "likert"}}
    answered_verb = {"id": "http://adlnet.gov/expapi/verbs/answered"}
    return statement(id=new_id(), actor=who, object=survey, verb=answered_verb, result={"response": "likert_4"})


def test_an_erasure_withholds_what_is_held_and_goes_on_when_it_is_released(api: Api, fresh_lrs: Griffel) -> None:
    gone = agent()
    own, answer = statement(id=new_id(), actor=gone), answer_of(gone)
    api.store(own, answer)
    others = living(fresh_lrs, LEARNING) - 1
    assert change(fresh_lrs, gone, "learning", held=True, ground="legal_claims")["changed"] is True
    assert change(fresh_lrs, gone, "learning", held=True, ground="legal_claims")["changed"] is False
    told = must(200, privacy(fresh_lrs, "POST", "erasures", agent=identity_of(gone), preview=True)).json()
    assert told["held"] == {"learning": "legal_claims"}
    erasure = must(202, privacy(fresh_lrs, "POST", "erasures", agent=identity_of(gone))).json()["erasure"]
    deadline = time.monotonic() + BOUND_S
    while (now := must(200, privacy(fresh_lrs, "GET", f"erasures/{erasure}")).json())["state"] == "under way":
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert (now["state"], now["held"]) == ("withheld", {"learning": "legal_claims"})
    assert (living(fresh_lrs, LEARNING), living(fresh_lrs, SURVEY)) == (others + 1, 0)
    for one in (own, answer):
        assert api.get(statementId=one["id"]).status_code == 404, "what is held is seen by nobody"
    must(403, api.post(statement(actor=gone)))
    listed = json.loads(fresh_lrs.command("hold", "list", *place(fresh_lrs), "--json").stdout)
    assert listed == [{"erasure": erasure, "purpose": "learning", "ground": "legal_claims"}]
    fresh_lrs.stop()
    fresh_lrs.start()
    assert must(200, privacy(fresh_lrs, "GET", f"erasures/{erasure}")).json()["state"] in ("under way", "withheld")
    assert living(fresh_lrs, LEARNING) == others + 1
    assert change(fresh_lrs, gone, "learning", held=False)["changed"] is True
    certificate = certificate_of(fresh_lrs, erasure)
    assert certificate["statements"]["erased"] == 2
    assert certificate["keys_destroyed"] == {"learning": 1, "survey": 1}
    assert living(fresh_lrs, LEARNING) == others


def test_terms_that_end_leave_what_is_held(api: Api, fresh_lrs: Griffel) -> None:
    kept, gone = agent(), agent()
    held, past = statement(id=new_id(), actor=kept), statement(id=new_id(), actor=gone)
    api.store(held, past)
    who = ("--agent", json.dumps(kept), "--purpose", "learning")
    fresh_lrs.command("hold", "place", *place(fresh_lrs), *who, "--ground", "legal_obligation")
    fresh_lrs.stop()
    assert [one["purpose"] for one in answered(in_the_future(fresh_lrs, "expire", MUCH_LATER))] == ["learning"]
    assert answered(in_the_future(fresh_lrs, "due", MUCH_LATER)) == []
    fresh_lrs.start()
    assert api.fetch(held["id"])["actor"]["mbox"] == kept["mbox"]
    assert api.found(agent=kept) == [held["id"]]
    assert api.get(statementId=past["id"]).status_code == 404
    fresh_lrs.command("hold", "release", *place(fresh_lrs), *who)
    # Its year has expired: it goes as soon as nothing keeps it.
    tables, deadline = Databases(fresh_lrs), time.monotonic() + BOUND_S
    while tables.log("SELECT count(*) FROM statement WHERE length(terms) > 0") != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert api.get(statementId=held["id"]).status_code == 404
    assert tables.vault("SELECT count(*) FROM key WHERE purpose = 1 AND state = 1") == [(0,)]


def test_a_purpose_that_is_withdrawn_while_it_is_held_ends_when_it_is_released(api: Api, fresh_lrs: Griffel) -> None:
    who = agent()
    api.store(answer_of(who))
    change(fresh_lrs, who, "survey", held=True, ground="archives")
    consent(fresh_lrs, who, "survey", given=False)
    assert living(fresh_lrs, SURVEY) == 1
    change(fresh_lrs, who, "survey", held=False)
    assert living(fresh_lrs, SURVEY) == 0


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"purpose": "learning", "held": True}, "/ground"),
        ({"purpose": "learning", "held": True, "ground": "because"}, "/ground"),
        ({"purpose": "learning", "held": False, "ground": "archives"}, "/ground"),
        ({"purpose": "everything", "held": False}, "/purpose"),
        ({"purpose": "learning"}, "/held"),
    ],
)
def test_what_a_hold_must_say(lrs: Griffel, asked: dict[str, Any], pointer: str) -> None:
    told = must(400, privacy(lrs, "POST", "holds", agent=agent(), **asked)).json()
    assert told.get("pointer") == pointer, told
