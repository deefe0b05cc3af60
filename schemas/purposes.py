"""The register of purposes: for what personal data is kept, on which basis, for how long, and what withdrawing does.

The register is closed: PURPOSES has every purpose there can be and the key that it is sealed under. A file says the
rest (schemas/purposes.json is the one that is shipped), and may leave out what an installation does not do. Terms are
those of the Data Privacy Vocabulary: purposes `dpv:`, bases `eu-gdpr:`, kinds of data `pd:`, places `loc:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from schemas.checks import array_of, check_boolean, check_string, matching, object_of, one_of
from schemas.envelope import Purpose
from schemas.errors import InvalidInput
from schemas.languages import check_language_map
from schemas.periods import FOREVER, Period, parse_period

Json = dict[str, Any]

PURPOSES: Mapping[str, Purpose | None] = MappingProxyType(
    {
        "learning": Purpose.LEARNING,
        "communication": Purpose.COMMUNICATION,
        "updates": Purpose.UPDATES,
        "survey": Purpose.SURVEY,
        "service_mail": Purpose.COMMUNICATION,
        "statistics": None,
        "research": Purpose.RESEARCH,
        "security": Purpose.SECURITY,
        "legal": Purpose.LEGAL,
    }
)
"""Every purpose, with the kind of key that what is kept for it is sealed under; None: nothing personal is kept."""
ALWAYS = ("learning", "survey", "legal")
"""Purposes that Griffel itself keeps something for: every register has them."""
LANGUAGES = ("en", "nl")
"""Languages in which every purpose has a name: those of the pages."""

CONSENT = "eu-gdpr:A6-1-a"
_BASES = frozenset(f"eu-gdpr:A6-1-{letter}" for letter in "abcdef")


class Kept(StrEnum):
    """How long, where it is no period."""

    UNTIL_WITHDRAWN = "until_withdrawn"
    HOLD = "hold"
    """Until somebody decides otherwise: what the law asks for, or a claim."""
    NOTHING = "nothing_kept"
    """Nothing personal is kept at all."""


class Withdrawal(StrEnum):
    """What withdrawing a purpose does."""

    STOP_INGEST = "stop_ingest"
    """No new statements about the learner are taken."""
    DESTROY_KEYS = "destroy_keys"
    """The purpose's own keys of the learner are destroyed."""
    STOP = "stop"
    """It is not done any longer; what is there keeps its term."""


@dataclass(frozen=True, slots=True)
class PurposeEntry:
    """One purpose of the register.

    key_class: what it is sealed under. term: the purpose in DPV. retention: as it is written; see `is_past`.
    on_withdrawal: None where the purpose cannot be withdrawn. needs_consent: whether it waits for consent that is given
    beforehand; a withdrawal counts whatever this says.
    """

    id: str
    key_class: Purpose | None
    names: Mapping[str, str]
    term: str
    legal_basis: str
    needs_consent: bool
    personal_data: tuple[str, ...]
    recipients: tuple[str, ...]
    retention: str
    on_withdrawal: Withdrawal | None
    processing_locations: tuple[str, ...]
    storage_location: str

    @property
    def period(self) -> Period | None:
        """Give the retention as a period, None where it is none."""
        return None if self.retention in set(Kept) else parse_period(self.retention)

    def kept_until(self, year: int) -> datetime:
        """Give when the term ends of what is sealed under a key of this year; FOREVER where time does not end it.

        The period counts from the end of the year after the key's: a course that began in one year is done by then.
        """
        period = self.period
        if period is None or year + 2 > FOREVER.year:
            return FOREVER
        return period.after(datetime(year + 2, 1, 1, tzinfo=UTC))

    def is_past(self, year: int, now: datetime) -> bool:
        """Say whether what this purpose keeps under a key of this year is past its term."""
        return self.kept_until(year) <= now

    def as_json(self) -> Json:
        """Give the entry as the register is published."""
        return {
            "id": self.id,
            "names": dict(self.names),
            "term": self.term,
            "legal_basis": self.legal_basis,
            "needs_consent": self.needs_consent,
            "personal_data": list(self.personal_data),
            "recipients": list(self.recipients),
            "retention": self.retention,
            "on_withdrawal": self.on_withdrawal,
            "processing_locations": list(self.processing_locations),
            "storage_location": self.storage_location,
            "key": None if self.key_class is None else self.key_class.name.lower(),
        }


def read_purposes(document: Any) -> tuple[PurposeEntry, ...]:
    """Read a register, in the order of its file.

    Raises InvalidInput, which says the rule and points at the place (`/purposes/2/retention`).
    """
    _REGISTER(document)
    return tuple(
        PurposeEntry(
            id=one["id"],
            key_class=PURPOSES[one["id"]],
            names=MappingProxyType(one["names"]),
            term=one["term"],
            legal_basis=one["legal_basis"],
            needs_consent=one["needs_consent"],
            personal_data=tuple(one["personal_data"]),
            recipients=tuple(one["recipients"]),
            retention=one["retention"],
            on_withdrawal=None if one["on_withdrawal"] is None else Withdrawal(one["on_withdrawal"]),
            processing_locations=tuple(document["processing_locations"]),
            storage_location=document["storage_location"],
        )
        for one in document["purposes"]
    )


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_id(value: Any) -> None:
    if type(value) is not str or value not in PURPOSES:
        raise InvalidInput(f"The register is closed. This must be one of {', '.join(PURPOSES)}.")


def _check_names(value: Any) -> None:
    check_language_map(value)
    if missing := [language for language in LANGUAGES if not value.get(language)]:
        raise InvalidInput(f"A name in `{missing[0]}` is required here.")


def _check_retention(value: Any) -> None:
    if type(value) is str and value in set(Kept):
        return
    try:
        parse_period(value)
    except InvalidInput as problem:
        raise InvalidInput(f"{problem.detail[:-1]}, or one of {', '.join(Kept)}.") from None


def _check_withdrawal(value: Any) -> None:
    if value is not None:
        one_of(*Withdrawal)(value)


def _check_entry(entry: Json) -> None:
    key = PURPOSES[entry["id"]]
    if (key is None) != (entry["retention"] == Kept.NOTHING):
        rule = "keeps nothing personal: give `nothing_kept`" if key is None else "keeps something: say for how long"
        raise InvalidInput(f"This purpose {rule}.", "/retention")
    if entry["on_withdrawal"] == Withdrawal.DESTROY_KEYS:
        sharing = [one for one, other in PURPOSES.items() if other == key]
        if key is None or len(sharing) > 1:
            raise InvalidInput("This purpose has no keys of its own to destroy: give `stop`.", "/on_withdrawal")
        if entry["id"] in ("learning", "legal"):
            raise InvalidInput(
                "These keys are destroyed by an erasure alone: give `stop_ingest`, `stop` or null.", "/on_withdrawal"
            )
    if entry["on_withdrawal"] == Withdrawal.STOP_INGEST and entry["id"] != "learning":
        raise InvalidInput("Statements are taken for `learning` alone: give `stop`.", "/on_withdrawal")
    if entry["legal_basis"] == CONSENT and entry["on_withdrawal"] is None:
        raise InvalidInput("Consent can be withdrawn: say what that does.", "/on_withdrawal")
    if entry["retention"] == Kept.UNTIL_WITHDRAWN and entry["on_withdrawal"] != Withdrawal.DESTROY_KEYS:
        raise InvalidInput("What is kept until withdrawal needs `on_withdrawal` to be `destroy_keys`.", "/retention")
    if entry["needs_consent"] and entry["legal_basis"] != CONSENT:
        raise InvalidInput(f"Only where the basis is {CONSENT} is consent asked for.", "/needs_consent")


def _check_ids(entries: list[Any]) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if entry["id"] in seen:
            raise InvalidInput("This purpose stands twice: leave one of the two out.", f"/{index}/id")
        seen.add(entry["id"])
    for purpose in ALWAYS:
        if purpose not in seen:
            raise InvalidInput(f"`{purpose}` must be in the register: Griffel keeps something for it.")


def _term(prefix: str, example: str) -> Any:
    return matching(
        re.compile(rf"{prefix}:[A-Za-z][A-Za-z0-9-]{{0,63}}"), f"This must be a term such as {prefix}:{example}."
    )


_LOCATION = matching(re.compile(r"loc:[A-Z]{2}(?:-[A-Z0-9]{1,3})?"), "This must be a place such as loc:NL.")
_RECIPIENT = matching(
    re.compile(r"[a-z][a-z0-9_]{0,39}"), "This must be a word of a-z, 0-9 and _, such as instructors: a kind, no name."
)
_ENTRY = object_of(
    {
        "id": _check_id,
        "names": _check_names,
        "term": _term("dpv", "ServiceProvision"),
        "legal_basis": one_of(*sorted(_BASES)),
        "needs_consent": check_boolean,
        "personal_data": array_of(_term("pd", "EmailAddress")),
        "recipients": array_of(_RECIPIENT),
        "retention": _check_retention,
        "on_withdrawal": _check_withdrawal,
        "comment": check_string,
    },
    "id",
    "names",
    "term",
    "legal_basis",
    "needs_consent",
    "personal_data",
    "recipients",
    "retention",
    "on_withdrawal",
    also=_check_entry,
    named=False,
)
_REGISTER = object_of(
    {
        "processing_locations": array_of(_LOCATION, empty=False),
        "storage_location": _LOCATION,
        "purposes": array_of(_ENTRY, also=_check_ids),
        "comment": check_string,
    },
    "processing_locations",
    "storage_location",
    "purposes",
    named=False,
)
