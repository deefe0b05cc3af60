"""Consent records: what one says, what it is bound to, its chain, and the statements that say the same."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from lrs.policy import load_policy
from lrs.purposes import load_purposes
from schemas.consent import (
    CONSENT_GIVEN,
    CONSENT_WITHDRAWN,
    POLICY_VERSION,
    PURPOSE_PREFIX,
    PURPOSE_TYPE,
    ConsentStatement,
    check_follows,
    check_record,
    consent_record,
    is_given,
    is_withdrawn,
    read_consent_statement,
    record_hash,
)
from schemas.errors import InvalidInput
from schemas.iri import check_iri
from schemas.purposes import PURPOSES
from schemas.statement import check_statement

Json = dict[str, Any]
FOLDER = Path(__file__).parents[3] / "schemas"
VALID = jsonschema_rs.validator_for(
    json.loads((FOLDER / "consent-record.schema.json").read_text()), validate_formats=True
)
PROFILE: Json = json.loads((FOLDER / "consent-profile.json").read_text())
REGISTER, POLICY = load_purposes(), load_policy()
NOW = datetime(2026, 11, 23, 9, 0, 0, 123_456, tzinfo=UTC)
VERSION = POLICY.policy_at(NOW)


def said(purpose: str = "updates", *, given: bool = True, at: datetime = NOW, **values: Any) -> Json:
    usual: Json = {
        "record_id": str(uuid.UUID(int=1)),
        "event_id": str(uuid.uuid4()),
        "method": {"ui": "settings-toggle", "form_version": "3", "control": "unticked-by-default"},
        "withdrawal_method": f"/privacy/me/consents/{purpose}",
        "shown_at": at - timedelta(seconds=30),
    }
    return consent_record(REGISTER.purpose(purpose), VERSION, "nl", given=given, at=at, **usual | values)


# ── one record ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_record_says_what_was_agreed_to_under_which_text() -> None:
    record = said()
    assert record["notice"] == {
        "id": "uwv-privacy",
        "version": "2017-01-01",
        "sha256": VERSION.texts[0].sha256,
        "language": "nl",
        "shown_at": "2026-11-23T08:59:30.123Z",
    }
    expected = {
        "schema": "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr",
        "purpose": "updates",
        "purpose_term": "dpv:DirectMarketing",
        "legal_basis": "eu-gdpr:A6-1-a",
        "personal_data": ["pd:Name", "pd:EmailAddress"],
        "controller": "uwv",
        "processing_location": ["loc:NL"],
        "storage": {"location": "loc:NL", "retention": "dpv:UntilEventDuration"},
        "state": "dpv:ConsentGiven",
        "type": "dpv:ExpressedConsent",
        "event_time": "2026-11-23T09:00:00.123Z",
        "valid_for": "dpv:UntilEventDuration",
        "indicated_by": "dpv:DataSubject",
        "previous": None,
        "hash_prev": None,
    }
    assert {name: record[name] for name in expected} == expected


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("purpose", [one.id for one in REGISTER if one.on_withdrawal is not None])
def test_every_record_is_as_described(purpose: str, given: bool) -> None:
    first = said(purpose, given=given)
    for record in (first, said(purpose, given=given, previous=first), said(purpose, shown_at=None)):
        check_record(record)
        VALID.validate(record)


@pytest.mark.parametrize("purpose", [one.id for one in REGISTER if one.on_withdrawal is None])
def test_consent_has_no_part_in_what_cannot_be_withdrawn(purpose: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be withdrawn"):
        said(purpose)


def test_a_record_is_bound_to_a_language_that_there_is_a_text_in() -> None:
    with pytest.raises(InvalidInput, match="there is nl"):
        consent_record(
            REGISTER.purpose("survey"),
            VERSION,
            "en",
            given=True,
            at=NOW,
            record_id=str(uuid.uuid4()),
            event_id=str(uuid.uuid4()),
            method={"ui": "page"},
            withdrawal_method="/x",
        )


def test_no_free_text_gets_into_a_record() -> None:
    for method in ({"ui": "Asked by Ann Example, ann@school.example"}, {"ui": "page", "note": "x"}, {}):
        with pytest.raises(InvalidInput):
            said(method=method)
    with pytest.raises(InvalidInput):
        said(withdrawal_method="/consents?learner=ann")


MUTATIONS: list[Any] = [None, "", "x", 5, [], {}, ["x"], True, "dpv:ConsentExpired", "P1Y", "2026-01-01"]


@pytest.mark.parametrize("name", said())
def test_code_and_schema_refuse_the_same(name: str) -> None:
    record = said(previous=said())
    for value in MUTATIONS:
        mutated = record | {name: value}
        assert taken(mutated) == VALID.is_valid(mutated), value
    assert not taken({key: value for key, value in record.items() if key != name})
    for inner in ("notice", "storage", "method"):
        for key in record[inner]:
            for value in MUTATIONS:
                mutated = copy.deepcopy(record)
                mutated[inner][key] = value
                # A language tag and a duration have forms that the schema leaves to the code.
                assert taken(mutated) == VALID.is_valid(mutated) or key == "language", (inner, key, value)


def taken(record: Any) -> bool:
    try:
        check_record(record)
    except InvalidInput:
        return False
    return True


def test_a_record_names_nobody() -> None:
    assert not {"subject", "sid", "actor", "pii_principal", "data_subject"} & set(said())


# ── the chain ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_records_of_a_purpose_are_a_chain() -> None:
    first = said()
    second = said(given=False, at=NOW + timedelta(days=1), previous=first, record_id=str(uuid.uuid4()))
    third = said(at=NOW + timedelta(days=2), previous=second)
    fourth = said(at=NOW + timedelta(days=3), previous=third)
    assert [one["state"].removeprefix("dpv:") for one in (first, second, third, fourth)] == [
        "ConsentGiven",
        "ConsentWithdrawn",
        "ConsentGiven",
        "RenewedConsentGiven",
    ]
    assert {one["record_id"] for one in (first, second, third, fourth)} == {first["record_id"]}
    for record, previous in ((first, None), (second, first), (third, second), (fourth, third)):
        check_follows(record, previous)
    for record, previous in ((first, second), (second, None), (third, first), (fourth, second)):
        with pytest.raises(InvalidInput):
            check_follows(record, previous)


def test_a_record_that_was_changed_afterwards_breaks_the_chain() -> None:
    first = said()
    second = said(given=False, previous=first)
    with pytest.raises(InvalidInput) as raised:
        check_follows(second, first | {"state": "dpv:ConsentWithdrawn", "valid_for": "P0D"})
    assert raised.value.pointer == "/hash_prev"


def test_the_order_of_names_does_not_change_a_hash() -> None:
    record = said()
    assert record_hash(dict(reversed(record.items()))) == record_hash(record)


def test_what_comes_next_is_of_the_same_purpose_and_not_earlier() -> None:
    with pytest.raises(InvalidInput, match="another purpose"):
        said("survey", previous=said("updates"))
    with pytest.raises(InvalidInput, match="later than this one"):
        said(at=NOW - timedelta(days=1), previous=said())


def test_consent_is_valid_until_it_is_withdrawn_or_its_time_is_over() -> None:
    given, withdrawn = said("survey"), said("survey", given=False)
    assert given["valid_for"] == "P1Y"
    assert is_given(given, NOW + timedelta(days=364))
    assert not is_given(given, NOW + timedelta(days=366))
    assert is_given(said("updates"), NOW + timedelta(days=36_500))
    assert not is_given(withdrawn, NOW)
    assert not is_given(None, NOW)
    assert (is_withdrawn(withdrawn), is_withdrawn(given), is_withdrawn(None)) == (True, False, False)


# ── statements that say the same ──────────────────────────────────────────────────────────────────────────────────────


def statement(verb: str = CONSENT_WITHDRAWN, purpose: str = PURPOSE_PREFIX + "survey", **values: Any) -> Json:
    built: Json = {
        "actor": {"account": {"homePage": "https://school.example", "name": "ada"}},
        "verb": {"id": verb},
        "object": {"id": purpose, "definition": {"type": PURPOSE_TYPE}},
    }
    built |= values
    check_statement(built, "2.0.0")
    return built


def test_a_statement_with_our_verb_says_which_purpose_and_under_which_text() -> None:
    context = {"language": "nl", "extensions": {POLICY_VERSION: "2017-01-01"}}
    found = read_consent_statement(statement(CONSENT_GIVEN, context=context))
    assert found == ConsentStatement("survey", True, "2017-01-01", "nl")
    assert read_consent_statement(statement()) == ConsentStatement("survey", False, None, None)


def test_any_other_statement_says_nothing_of_consent() -> None:
    assert read_consent_statement(statement("http://adlnet.gov/expapi/verbs/experienced")) is None


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"object": {"id": "https://school.example/survey"}}, "/object/id"),
        ({"object": {"id": PURPOSE_PREFIX + "marketing"}}, "/object/id"),
        ({"object": {"objectType": "Agent", "mbox": "mailto:ada@school.example"}}, "/object/id"),
        ({"actor": {"objectType": "Group", "mbox": "mailto:class@school.example"}}, "/actor"),
        ({"context": {"extensions": {POLICY_VERSION: 1}}}, "/context/extensions"),
    ],
)
def test_a_statement_with_our_verb_that_is_not_one_persons_about_a_purpose_is_refused(
    values: Json, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_consent_statement(statement(**values))
    assert raised.value.pointer == pointer


def test_the_published_profile_has_our_verbs_and_every_purpose_in_both_languages() -> None:
    concepts = {one["id"]: one for one in PROFILE["concepts"]}
    assert {CONSENT_GIVEN, CONSENT_WITHDRAWN} == {one for one, told in concepts.items() if told["type"] == "Verb"}
    assert concepts[PURPOSE_TYPE]["type"] == "ActivityType"
    assert concepts[POLICY_VERSION]["type"] == "ContextExtension"
    assert {one for one, told in concepts.items() if told["type"] == "Activity"} == {
        PURPOSE_PREFIX + one for one in PURPOSES
    }
    for iri, told in concepts.items():
        check_iri(iri)
        assert told["inScheme"] == PROFILE["versions"][0]["id"]
        names = told["activityDefinition"]["name"] if told["type"] == "Activity" else told["prefLabel"]
        assert set(names) == {"en", "nl"}
    assert {one["verb"] for one in PROFILE["templates"]} == {CONSENT_GIVEN, CONSENT_WITHDRAWN}


def test_the_names_of_purposes_in_the_profile_are_those_of_the_shipped_register() -> None:
    names = {one["id"]: one["activityDefinition"]["name"] for one in PROFILE["concepts"] if one["type"] == "Activity"}
    assert names == {PURPOSE_PREFIX + one.id: dict(one.names) for one in REGISTER}
