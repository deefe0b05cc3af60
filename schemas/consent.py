"""Consent records: what a learner agreed to or took back, under which text, in the structure of ISO/IEC TS 27560.

A record is JSON in terms of the Data Privacy Vocabulary, with the members that the W3C community group's guide to 27560
asks for. It names no learner: the one it is about owns the envelope that it is kept in. The records of one learner and
purpose are a chain: each names the event before it and carries its hash. schemas/consent-record.schema.json describes a
record, schemas/consent-profile.json the verbs of statements that say the same in xAPI.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from schemas.checks import Check, array_of, check_string, matching, object_of, one_of
from schemas.errors import InvalidInput
from schemas.languages import check_language_tag
from schemas.periods import check_period, parse_period
from schemas.policy import PolicyVersion
from schemas.purposes import PURPOSES, Kept, PurposeEntry
from schemas.times import check_timestamp_2, parse_timestamp

Json = dict[str, Any]

SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
GIVEN, RENEWED, WITHDRAWN = "dpv:ConsentGiven", "dpv:RenewedConsentGiven", "dpv:ConsentWithdrawn"
STATES = (GIVEN, RENEWED, WITHDRAWN)
EXPRESSED = "dpv:ExpressedConsent"
INDICATED_BY = ("dpv:DataSubject", "dpv:DataController")
"""Who said so: the learner, or the controller on the learner's word (a letter, a call)."""
UNTIL_WITHDRAWN, INDETERMINATE = "dpv:UntilEventDuration", "dpv:IndeterminateDuration"
NOT_AT_ALL = "P0D"
"""How long a withdrawn consent is valid for."""


def consent_record(
    entry: PurposeEntry,
    policy: PolicyVersion,
    language: str,
    *,
    given: bool,
    at: datetime,
    record_id: str,
    event_id: str,
    method: Mapping[str, str],
    withdrawal_method: str,
    shown_at: datetime | None = None,
    indicated_by: str = INDICATED_BY[0],
    previous: Json | None = None,
) -> Json:
    """Give the record of a consent that was given or withdrawn.

    language: of the text that was shown. at: when it was said. record_id, event_id: UUIDs; the record's id is that of
    the chain, so where there is a previous record it is taken from that. method: how, as words for `ui`,
    `form_version` and `control`, each optional; never free text. withdrawal_method: the address where it is withdrawn.
    shown_at: when the text was shown, None where nobody knows. previous: the newest record of the chain, checked.

    Raises InvalidInput when the purpose cannot be withdrawn (so that consent has no part in it), when there is no text
    in this language, or when the previous record is of another purpose or later.
    """
    if entry.on_withdrawal is None:
        raise InvalidInput("This purpose cannot be withdrawn, so consent has no part in it.", "/purpose")
    if language not in policy.languages:
        raise InvalidInput(f"There is no text in this language; there is {', '.join(policy.languages)}.", "/language")
    if previous is not None and previous["purpose"] != entry.id:
        raise InvalidInput("The previous record is of another purpose.", "/previous")
    if previous is not None and at < parse_timestamp(previous["event_time"], "2.0.0"):
        raise InvalidInput("The previous record is later than this one.", "/event_time")
    renewed = previous is not None and previous["state"] != WITHDRAWN
    retention = _duration(entry)
    record: Json = {
        "schema": SCHEMA,
        "record_id": record_id if previous is None else previous["record_id"],
        "event_id": event_id,
        "notice": {
            "id": policy.id,
            "version": policy.version,
            "sha256": policy.text_in(language).sha256,
            "language": language,
            "shown_at": None if shown_at is None else _instant(shown_at),
        },
        "purpose": entry.id,
        "purpose_term": entry.term,
        "legal_basis": entry.legal_basis,
        "personal_data": list(entry.personal_data),
        "controller": policy.controller.id,
        "recipients": list(entry.recipients),
        "processing_location": list(entry.processing_locations),
        "storage": {"location": entry.storage_location, "retention": retention},
        "state": (RENEWED if renewed else GIVEN) if given else WITHDRAWN,
        "type": EXPRESSED,
        "event_time": _instant(at),
        "valid_for": retention if given else NOT_AT_ALL,
        "indicated_by": indicated_by,
        "method": dict(method),
        "withdrawal_method": withdrawal_method,
        "previous": None if previous is None else previous["event_id"],
        "hash_prev": None if previous is None else record_hash(previous),
    }
    check_record(record)
    return record


def check_record(value: Any) -> None:
    """Raise InvalidInput, pointing at the place, if value is not a consent record."""
    _RECORD(value)


def check_follows(record: Json, previous: Json | None) -> None:
    """Raise InvalidInput if a checked record does not come next in the chain after another, or first after None."""
    expected = (None, None) if previous is None else (previous["event_id"], record_hash(previous))
    if record["previous"] != expected[0]:
        raise InvalidInput("This is not the event before it.", "/previous")
    if record["hash_prev"] != expected[1]:
        raise InvalidInput("This is not the hash of the record before it.", "/hash_prev")
    if previous is not None and any(record[name] != previous[name] for name in ("record_id", "purpose")):
        raise InvalidInput("The record before it is of another chain.", "/record_id")


def record_hash(record: Json) -> str:
    """Give the SHA-256 of a record as its successor carries it: of compact UTF-8 JSON, names in order."""
    return hashlib.sha256(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)).hexdigest()


def is_given(record: Json | None, now: datetime) -> bool:
    """Say whether the newest record of a chain is a consent that is valid now. Without a record there is none."""
    if record is None or record["state"] == WITHDRAWN:
        return False
    valid_for = record["valid_for"]
    if valid_for in (UNTIL_WITHDRAWN, INDETERMINATE):
        return True
    return now < parse_period(valid_for).after(parse_timestamp(record["event_time"], "2.0.0"))


def is_withdrawn(record: Json | None) -> bool:
    """Say whether the newest record of a chain is a withdrawal. That counts whatever the purpose's basis is."""
    return record is not None and record["state"] == WITHDRAWN


def _duration(entry: PurposeEntry) -> str:
    words = {Kept.UNTIL_WITHDRAWN: UNTIL_WITHDRAWN, Kept.HOLD: INDETERMINATE, Kept.NOTHING: INDETERMINATE}
    return entry.retention if entry.period is not None else words[Kept(entry.retention)]


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ── rules of a record ─────────────────────────────────────────────────────────────────────────────────────────────────


def _or_null(check: Check) -> Check:
    def check_unless_null(value: Any) -> None:
        if value is not None:
            check(value)

    return check_unless_null


def _check_duration(value: Any) -> None:
    if value not in (UNTIL_WITHDRAWN, INDETERMINATE):
        check_period(value)


def _check_record(record: Json) -> None:
    if (record["previous"] is None) != (record["hash_prev"] is None):
        raise InvalidInput("The event before it and its hash stand together.", "/hash_prev")
    if (record["state"] == WITHDRAWN) != (record["valid_for"] == NOT_AT_ALL):
        raise InvalidInput(f"A withdrawn consent, and no other, is valid for {NOT_AT_ALL}.", "/valid_for")
    if record["state"] == RENEWED and record["previous"] is None:
        raise InvalidInput("What is renewed was given before.", "/previous")


_UUID = matching(
    re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "This must be a UUID in small letters."
)
_HASH = matching(re.compile(r"[0-9a-f]{64}"), "This must be a SHA-256 as 64 hexadecimal digits.")
_NAME = matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), "This must be an identifier.")
_KIND = matching(re.compile(r"[a-z][a-z0-9_]{0,39}"), "This must be a kind of recipient.")
_WORD = matching(re.compile(r"[a-z0-9](?:[a-z0-9._ -]{0,62}[a-z0-9])?"), "This must be a few words in small letters.")
_ADDRESS = matching(re.compile(r"(?:/|https?://)[^\s?#]{1,255}"), "This must be an address without a query.")
_LOCATION = matching(re.compile(r"loc:[A-Z]{2}(?:-[A-Z0-9]{1,3})?"), "This must be a place such as loc:NL.")


def _term(prefix: str) -> Check:
    return matching(re.compile(rf"{prefix}:[A-Za-z][A-Za-z0-9-]{{0,63}}"), f"This must be a term of `{prefix}`.")


_CHECKS: dict[str, Check] = {
    "schema": one_of(SCHEMA),
    "record_id": _UUID,
    "event_id": _UUID,
    "notice": object_of(
        {
            "id": _NAME,
            "version": _NAME,
            "sha256": _HASH,
            "language": check_language_tag,
            "shown_at": _or_null(check_timestamp_2),
        },
        "id",
        "version",
        "sha256",
        "language",
        "shown_at",
        named=False,
    ),
    "purpose": one_of(*PURPOSES),
    "purpose_term": _term("dpv"),
    "legal_basis": _term("eu-gdpr"),
    "personal_data": array_of(_term("pd")),
    "controller": _NAME,
    "recipients": array_of(_KIND),
    "processing_location": array_of(_LOCATION, empty=False),
    "storage": object_of({"location": _LOCATION, "retention": _check_duration}, "location", "retention", named=False),
    "state": one_of(*STATES),
    "type": one_of(EXPRESSED),
    "event_time": check_timestamp_2,
    "valid_for": _check_duration,
    "indicated_by": one_of(*INDICATED_BY),
    "method": object_of({"ui": _WORD, "form_version": _WORD, "control": _WORD}, "ui", named=False),
    "withdrawal_method": _ADDRESS,
    "previous": _or_null(_UUID),
    "hash_prev": _or_null(_HASH),
}
_RECORD = object_of(_CHECKS, *_CHECKS, also=_check_record, named=False)


# ── statements that say the same ──────────────────────────────────────────────────────────────────────────────────────

CONSENT_GIVEN = "urn:griffel:verb:consent-given"
CONSENT_WITHDRAWN = "urn:griffel:verb:consent-withdrawn"
CONSENT_VERBS = frozenset({CONSENT_GIVEN, CONSENT_WITHDRAWN})
PURPOSE_PREFIX = "urn:griffel:purpose:"
"""In front of a purpose's id: the activity that stands for it."""
PURPOSE_TYPE = "urn:griffel:activity-type:purpose"
POLICY_VERSION = "urn:griffel:extension:policy-version"
"""The context extension that names the version of the policy that was shown."""


class ConsentStatement(NamedTuple):
    """What a statement says of a purpose. policy_version, language: of the text shown, None where it does not say."""

    purpose: str
    given: bool
    policy_version: str | None
    language: str | None


def read_consent_statement(statement: Json) -> ConsentStatement | None:
    """Read a checked statement whose verb is one of ours; None for any other.

    Raises InvalidInput, pointing at the place, when its actor is not one person or its object is no purpose.
    """
    verb = statement["verb"]["id"]
    if verb not in CONSENT_VERBS:
        return None
    if statement["actor"].get("objectType", "Agent") != "Agent":
        raise InvalidInput("Consent is one person's: the actor must be an Agent.", "/actor")
    target = statement["object"]
    named = target.get("id", "") if target.get("objectType", "Activity") == "Activity" else ""
    purpose = named.removeprefix(PURPOSE_PREFIX)
    if purpose == named or purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise InvalidInput(f"The object must be the activity {PURPOSE_PREFIX}… with one of {known}.", "/object/id")
    context = statement.get("context", {})
    version = context.get("extensions", {}).get(POLICY_VERSION)
    if version is not None:
        try:
            check_string(version)
        except InvalidInput as problem:
            problem.pointer = "/context/extensions"
            raise
    return ConsentStatement(purpose, verb == CONSENT_GIVEN, version, context.get("language"))
