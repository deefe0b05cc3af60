"""The completion stream's own language: cursors and entries."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from schemas.errors import InvalidInput
from schemas.streams import KINDS, TYPES, Completion, cloud_event, cursor_text, read_cursor

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/completion-stream.schema.json").read_text())
VALID = jsonschema_rs.validator_for(SCHEMA)
SOURCE = "urn:griffel:stream:" + "0" * 32
TIME = "2026-11-14T09:17:58.374394Z"
ACTOR = {"objectType": "Agent", "mbox": "mailto:ada@school.example"}
COURSE, COURSE_ID = "https://school.example/courses/botany", "ab" * 16


@pytest.mark.parametrize("sequence", [0, 1, 42, 999_999_999_999_999])
def test_a_cursor_leads_back_to_its_number(sequence: int) -> None:
    assert read_cursor(cursor_text(sequence)) == sequence


def test_no_cursor_is_before_the_first_entry() -> None:
    assert read_cursor("") == 0


@pytest.mark.parametrize(
    "text", ["c", "42", "c-1", "c042", "c1 ", "c1\n", "C1", "c١", "c1e3", "c1000000000000000", "0"]
)
def test_what_no_stream_has_given_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_cursor(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("achieved", [True, False])
@pytest.mark.parametrize("registration", ["5bce53d2-a6a5-4f4c-81da-b55bb6d96382", None])
def test_every_entry_is_what_the_schema_asks(kind: str, achieved: bool, registration: str | None) -> None:
    at = "2026-11-14T09:17:56.356Z" if achieved else None
    entry = cloud_event(SOURCE, 42, TIME, Completion(kind, achieved, ACTOR, COURSE, COURSE_ID, registration, at))
    VALID.validate(entry)
    assert entry["type"].endswith(".revoked") is not achieved


def test_an_empty_entry_has_a_number_and_no_content() -> None:
    entry = cloud_event(SOURCE, 7, TIME, None)
    VALID.validate(entry)
    assert (entry["id"], entry["sequence"]) == ("c7", "000000000000007")
    assert "data" not in entry


def test_the_schema_knows_every_type() -> None:
    assert set(SCHEMA["properties"]["type"]["enum"]) == set(TYPES)


def test_sequences_sort_as_their_numbers_do() -> None:
    numbers = [1, 2, 9, 10, 99, 100, 12_345]
    texts = [cloud_event(SOURCE, one, TIME, None)["sequence"] for one in numbers]
    assert sorted(texts) == texts


@pytest.mark.parametrize(
    "broken",
    [
        {"data": {"actor": ACTOR, "course": COURSE, "registration": None, "completed_at": None}},
        {"subject": "botany"},
        {"type": "griffel.course.started"},
        {"sequence": "42"},
        {"type": "griffel.entry.empty"},
        {"learner": "ada"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_none(broken: dict[str, object]) -> None:
    at = "2026-11-14T09:17:56.356Z"
    entry = cloud_event(SOURCE, 42, TIME, Completion("completed", True, ACTOR, COURSE, COURSE_ID, None, at))
    assert not VALID.is_valid(entry | broken)
