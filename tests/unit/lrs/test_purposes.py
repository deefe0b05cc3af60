"""The register of purposes: what is shipped, what a file may say, and when a key is past its term."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lrs.errors import Misconfigured, NotFound
from lrs.purposes import SHIPPED, load_purposes
from schemas.envelope import Purpose
from schemas.periods import FOREVER
from schemas.purposes import CONSENT, PURPOSES, Withdrawal

Json = dict[str, Any]
DOCUMENT: Json = json.loads(SHIPPED.read_text())
SECOND = timedelta(seconds=1)


def changed(tmp_path: Path, change: Callable[[Json, dict[str, Json]], object]) -> Path:
    """A register's file that differs from the shipped one."""
    document = copy.deepcopy(DOCUMENT)
    change(document, {one["id"]: one for one in document["purposes"]})
    path = tmp_path / "purposes.json"
    path.write_text(json.dumps(document))
    return path


# ── what is shipped ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_register_has_every_purpose_with_its_key() -> None:
    register = load_purposes()
    assert [one.id for one in register] == [*PURPOSES]
    assert {one.id: one.key_class for one in register} == dict(PURPOSES)
    assert len(register) == 9


def test_as_shipped_no_purpose_needs_consent_beforehand() -> None:
    assert [one.id for one in load_purposes() if one.needs_consent] == []


def test_what_withdrawing_does_as_shipped() -> None:
    found = {one.id: one.on_withdrawal for one in load_purposes()}
    assert found == {
        "learning": Withdrawal.STOP_INGEST,
        "communication": Withdrawal.STOP,
        "updates": Withdrawal.DESTROY_KEYS,
        "survey": Withdrawal.DESTROY_KEYS,
        "service_mail": None,
        "statistics": Withdrawal.STOP,
        "research": Withdrawal.DESTROY_KEYS,
        "security": None,
        "legal": None,
    }


def test_what_is_kept_by_consent_can_be_withdrawn() -> None:
    assert all(one.on_withdrawal for one in load_purposes() if one.legal_basis == CONSENT)


def test_an_unknown_purpose_is_not_found_and_not_repeated() -> None:
    with pytest.raises(NotFound) as raised:
        load_purposes().purpose("mailto:ann@school.example")
    assert raised.value.detail.startswith("there is no such purpose; there are learning, communication,")
    assert "ann" not in raised.value.detail


# ── retention ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("purpose", "ends"),
    [
        ("learning", datetime(2031, 1, 1, tzinfo=UTC)),
        ("communication", datetime(2028, 1, 1, tzinfo=UTC)),
        ("security", datetime(2026, 4, 1, tzinfo=UTC)),
        ("survey", datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_term_counts_from_the_end_of_the_year_after_the_keys(purpose: str, ends: datetime) -> None:
    entry = load_purposes().purpose(purpose)
    assert entry.kept_until(2024) == ends
    assert not entry.is_past(2024, ends - SECOND)
    assert entry.is_past(2024, ends)


@pytest.mark.parametrize("purpose", ["updates", "legal", "statistics"])
def test_time_alone_ends_no_term_that_is_no_period(purpose: str) -> None:
    entry = load_purposes().purpose(purpose)
    assert entry.kept_until(2024) == FOREVER
    assert not entry.is_past(2024, datetime(9999, 1, 1, tzinfo=UTC))


def test_a_year_that_the_calendar_does_not_have_is_never_past() -> None:
    assert load_purposes().purpose("survey").kept_until(65_535) == FOREVER


def test_a_key_that_purposes_share_is_past_with_the_last_of_them() -> None:
    register = load_purposes()
    assert [one.id for one in register.kept_under(Purpose.COMMUNICATION)] == ["communication", "service_mail"]
    assert register.kept_until(Purpose.COMMUNICATION, 2024) == datetime(2028, 1, 1, tzinfo=UTC)
    assert not register.key_is_past(Purpose.COMMUNICATION, 2024, datetime(2027, 12, 31, tzinfo=UTC))
    assert register.key_is_past(Purpose.COMMUNICATION, 2024, datetime(2028, 1, 1, tzinfo=UTC))


def test_a_key_that_no_purpose_explains_is_never_past(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda document, one: document["purposes"].remove(one["research"]))
    register = load_purposes(path)
    assert "research" not in register
    for key in (Purpose.RESEARCH, Purpose.STORE, Purpose.ACTIVITY):
        assert not register.key_is_past(key, 1900, datetime(2100, 1, 1, tzinfo=UTC))


def test_what_is_on_hold_is_named() -> None:
    assert load_purposes().held() == (Purpose.LEGAL,)


# ── a file of one's own ───────────────────────────────────────────────────────────────────────────────────────────────


def test_bases_terms_and_consent_beforehand_are_configuration(tmp_path: Path) -> None:
    def change(_: Json, one: dict[str, Json]) -> None:
        one["learning"].update(legal_basis=CONSENT, needs_consent=True, retention="P10Y")

    entry = load_purposes(changed(tmp_path, change)).purpose("learning")
    assert (entry.legal_basis, entry.needs_consent, entry.retention) == (CONSENT, True, "P10Y")


def put(purpose: str, **values: Any) -> Callable[[Json, dict[str, Json]], object]:
    return lambda _, one: one[purpose].update(values)


WRONG = {
    "a purpose of one's own": (put("research", id="marketing"), "purpose marketing, at /id", "The register is closed"),
    "twice": (put("research", id="updates"), "purpose updates, at /id", "leave one of the two out"),
    "left out": (lambda d, one: d["purposes"].remove(one["survey"]), "at /purposes", "`survey` must be in"),
    "no Dutch name": (put("survey", names={"en": "x"}), "purpose survey, at /names", "`nl` is required"),
    "basis": (put("survey", legal_basis="consent"), "purpose survey, at /legal_basis", "eu-gdpr:A6-1-a or"),
    "retention": (put("survey", retention="a year"), "purpose survey, at /retention", "P90D, or one of until_withdr"),
    "no retention": (lambda _, one: one["survey"].pop("retention"), "purpose survey", "`retention` is required"),
    "keyless": (put("statistics", retention="P1Y"), "purpose statistics, at /retention", "give `nothing_kept`"),
    "keeps": (put("survey", retention="nothing_kept"), "purpose survey, at /retention", "say for how long"),
    "shared keys": (put("communication", on_withdrawal="destroy_keys"), "communication, at /on_w", "give `stop`"),
    "learning": (put("learning", on_withdrawal="destroy_keys"), "purpose learning, at /on_w", "an erasure alone"),
    "no ingest": (put("survey", on_withdrawal="stop_ingest"), "purpose survey, at /on_w", "for `learning` alone"),
    "for ever": (put("survey", on_withdrawal=None), "purpose survey, at /on_w", "Consent can be withdrawn"),
    "until": (put("learning", retention="until_withdrawn"), "learning, at /retention", "to be `destroy_keys`"),
    "consent": (put("learning", needs_consent=True), "purpose learning, at /needs_consent", "Only where the basis"),
    "a name": (put("survey", recipients=["Ann Example"]), "survey, at /recipients/0", "a kind, no name"),
    "more": (put("survey", colour="red"), "purpose survey, at /colour", "no such property"),
    "place": (lambda d, _: d.update(storage_location="Utrecht"), "at /storage_location", "such as loc:NL"),
    "no object": (lambda d, _: d["purposes"].insert(0, 5), "the purpose at place 1", "must be an object"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_with_its_entry_and_mend(tmp_path: Path, kind: str) -> None:
    change, place, mend = WRONG[kind]
    path = changed(tmp_path, change)
    with pytest.raises(Misconfigured) as raised:
        load_purposes(path)
    for said in (f"purposes: {path}, ", place, mend):
        assert said in raised.value.detail


def test_a_file_that_is_not_there_or_no_json_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read: No such file"):
        load_purposes(tmp_path / "none.json")
    path = tmp_path / "purposes.json"
    path.write_text('{"purposes": [], "purposes": []}')
    with pytest.raises(Misconfigured, match="purposes"):
        load_purposes(path)
