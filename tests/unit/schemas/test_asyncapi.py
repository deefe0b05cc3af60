"""schemas/asyncapi.json in itself: valid AsyncAPI, with a message for each kind of event and what it says, opened."""

from __future__ import annotations

import copy
import json

import jsonschema_rs
import pytest

from schemas.envelope import Part
from schemas.events import KINDS
from tests.conftest import without
from tests.descriptions import ASYNCAPI, OPENED, Json, header_validator
from tests.services import ROOT

SPECIFICATION = ROOT / "tests/integration/js/node_modules/@asyncapi/specs/schemas/3.0.0.json"
# These stand in documents, credentials and rows of views, which are no events.
NO_EVENTS = {Part.DOCUMENT, Part.DOCUMENT_ID, Part.CREDENTIAL, Part.ROW}


@pytest.fixture(scope="module")
def specification() -> jsonschema_rs.Validator:
    """AsyncAPI's own JSON Schema."""
    if not SPECIFICATION.exists():
        without("@asyncapi/specs: type  npm install --prefix tests/integration/js")
    return jsonschema_rs.validator_for(json.loads(SPECIFICATION.read_text()))


def test_the_description_is_valid_asyncapi(specification: jsonschema_rs.Validator):
    specification.validate(ASYNCAPI)


def test_a_description_with_a_mistake_is_none(specification: jsonschema_rs.Validator):
    wrong = copy.deepcopy(ASYNCAPI)
    wrong["components"]["messages"]["head"]["playload"] = {}
    assert not specification.is_valid(wrong)


def test_every_kind_of_event_has_a_message():
    messages = ASYNCAPI["components"]["messages"]
    assert set(messages) == {*KINDS, "head"}
    assert ASYNCAPI["channels"]["events"]["messages"] == {
        name: {"$ref": f"#/components/messages/{name}"} for name in messages
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_is_described_as_it_is_when_opened(kind: str):
    opened = ASYNCAPI["components"]["messages"][kind]["x-opened"]["$ref"]
    assert opened == f"opened-events.schema.json#/$defs/{kind}"
    assert OPENED["$defs"][kind]["properties"]["kind"] == {"const": kind}
    assert {"$ref": f"#/$defs/{kind}"} in OPENED["oneOf"]


def test_every_part_of_an_event_is_described():
    described = {name.removesuffix("_part") for name in OPENED["$defs"] if name.endswith("_part")}
    assert described == {part.name.lower() for part in Part if part not in NO_EVENTS}


def test_what_events_say_is_described_by_json_schema():
    jsonschema_rs.meta.validate(OPENED)
    jsonschema_rs.validator_for(OPENED)


def test_headers_of_one_kind_are_not_those_of_another():
    headers: Json = {
        "ce_specversion": "1.0",
        "ce_id": "7",
        "ce_source": "urn:griffel:log:" + "0" * 32,
        "ce_type": "griffel.voiding",
        "originator_id": "o" * 16,
        "originator_version": "1",
        "position": "7",
        "prev": "0",
        "stored_us": "1",
        "incarnation": "i" * 16,
    }
    assert [name for name in ASYNCAPI["components"]["messages"] if header_validator(name).is_valid(headers)] == [
        "voiding"
    ]
