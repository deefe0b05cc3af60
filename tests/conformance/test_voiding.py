"""Data 2.3.2 and Communication 2.1.4: voiding."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import VOIDED, agent, new_id, reference, statement, substatement, voiding
from .client import Api, accepted, must, refused, requirement


@requirement("XAPI-00018", "XAPI-00163", "XAPI-00155", "XAPI-00157")
def test_a_voided_statement_is_only_found_as_such(api: Api) -> None:
    actor = agent()
    [target] = api.store(statement(actor=actor))
    [by] = api.store(voiding(target))
    must(404, api.get(statementId=target))
    assert must(200, api.get(voidedStatementId=target)).json()["id"] == target
    assert api.found(agent=actor) == [by]


@requirement("XAPI-00157")
def test_what_is_not_voided_is_not_found_as_voided(api: Api) -> None:
    [given] = api.store(statement())
    must(404, api.get(voidedStatementId=given))
    must(404, api.get(voidedStatementId=new_id()))


@requirement("XAPI-00019", "XAPI-00020", "XAPI-00016")
def test_a_voiding_statement_may_come_before_its_target(api: Api) -> None:
    target = statement(id=new_id())
    accepted(api, voiding(target["id"]))
    api.store(target)
    must(404, api.get(statementId=target["id"]))
    assert must(200, api.get(voidedStatementId=target["id"])).json()["id"] == target["id"]


@requirement("XAPI-00018", "XAPI-00019")
def test_a_batch_may_hold_a_statement_and_its_voiding(api: Api) -> None:
    target = statement(id=new_id())
    _, by = api.store(target, voiding(target["id"]))
    must(404, api.get(statementId=target["id"]))
    assert api.fetch(by)["verb"]["id"] == VOIDED


@requirement("XAPI-00017", "XAPI-00020")
@pytest.mark.parametrize(
    "target",
    [statement()["object"], agent(), substatement(), {"id": new_id()}, reference() | {"objectType": "Activity"}],
    ids=["activity", "agent", "sub-statement", "no objectType", "another objectType"],
)
def test_only_a_statement_reference_can_be_voided(api: Api, target: dict[str, Any]) -> None:
    refused(api, statement(verb={"id": VOIDED}, object=target))


@requirement("XAPI-00016")
def test_a_voiding_statement_cannot_be_voided(api: Api) -> None:
    [target] = api.store(statement())
    [by] = api.store(voiding(target))
    assert api.post(voiding(by)).status_code in {200, 400}
    assert api.fetch(by)["object"]["id"] == target
    must(404, api.get(voidedStatementId=by))
    must(404, api.get(statementId=target))


@requirement("XAPI-00016", "XAPI-00018")
def test_voiding_twice_changes_nothing(api: Api) -> None:
    [target] = api.store(statement())
    first, second = api.store(voiding(target), voiding(target))
    assert api.fetch(first)["id"] == first
    assert api.fetch(second)["id"] == second
    must(200, api.get(voidedStatementId=target))


@requirement("XAPI-00018", "XAPI-00142")
def test_the_id_of_a_voided_statement_stays_taken(api: Api) -> None:
    target = statement(id=new_id())
    api.store(target)
    api.store(voiding(target["id"]))
    must(200, api.post(target))
    must(409, api.post(statement(id=target["id"])))
    must(404, api.get(statementId=target["id"]))


@requirement("XAPI-00162")
def test_what_targets_a_voided_statement_is_still_found(api: Api) -> None:
    verb = statement()["verb"]
    [target] = api.store(statement(verb=verb))
    before = api.fetch(target)["stored"]
    [comment] = api.store(statement(object=reference(target)))
    [by] = api.store(voiding(target))
    [later] = api.store(statement(verb=verb))
    voided_at = api.fetch(by)["stored"]
    assert api.found(verb=verb["id"]) == [later, by, comment]
    assert api.found(verb=verb["id"], ascending=True) == [comment, by, later]
    assert api.found(verb=verb["id"], since=before, until=voided_at) == [by, comment]
    assert api.found(verb=verb["id"], since=voided_at) == [later]
    assert api.found(verb=verb["id"], limit=2) == [later, by]


@requirement("XAPI-00162")
def test_what_targets_a_voided_statement_through_another_is_still_found(api: Api) -> None:
    actor = agent()
    [target] = api.store(statement(actor=actor))
    [comment] = api.store(statement(object=reference(target)))
    [reply] = api.store(statement(object=reference(comment)))
    [by] = api.store(voiding(target))
    assert api.found(agent=actor) == [by, reply, comment]
