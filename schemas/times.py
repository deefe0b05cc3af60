"""Timestamps and durations (xAPI Data 4.5 and 4.6).

Version 1.0.3 takes ISO 8601 dates with times: extended or basic, calendar dates, to the hour at least, with or without
a zone. Version 2.0.0 takes RFC 3339. Both refuse an offset of minus zero. A time without a zone is read as UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from schemas.errors import InvalidInput

Version = Literal["1.0.3", "2.0.0"]

TIMESTAMP_LENGTH_MAX = 64
DURATION_LENGTH_MAX = 128

_RFC_3339 = re.compile(
    r"""
    [0-9]{4}-[0-9]{2}-[0-9]{2} [Tt] [0-9]{2}:[0-9]{2}:[0-9]{2} (?:\.[0-9]++)?
    (?: [Zz] | (?!-00:00) [+-][0-9]{2}:[0-5][0-9] )
    """,
    re.VERBOSE,
)
_ISO_8601 = re.compile(
    r"""
    (?: [0-9]{4}-[0-9]{2}-[0-9]{2} [Tt] [0-9]{2} (?: :[0-9]{2} (?: :[0-9]{2} (?:[.,][0-9]++)? )? )?
      | [0-9]{8}                   [Tt] [0-9]{2} (?:  [0-9]{2} (?:  [0-9]{2} (?:[.,][0-9]++)? )? )?
    )
    (?: [Zz] | (?!-00(?: :?00 )?\Z) [+-][0-9]{2} (?: :?[0-5][0-9] )? )?
    """,
    re.VERBOSE,
)
_FORMS = {"1.0.3": _ISO_8601, "2.0.0": _RFC_3339}
_RULES = {
    "1.0.3": "This must be a string: a date and time as in ISO 8601, not with an offset of minus zero.",
    "2.0.0": "This must be a string: a date and time as in RFC 3339, not with an offset of minus zero.",
}
_IN_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]++)?Z")
_ZONE = re.compile(r"(?:[Zz]|[+-][0-9:]++)\Z")
_FRACTION = re.compile(r"[.,]([0-9]++)")
_LEAP_SECOND = re.compile(r"([Tt][0-9]{2}:?[0-9]{2}:?)60")

_NUMBER = r"[0-9]++(?:[.,][0-9]++)?"
_DURATION = re.compile(
    rf"P(?:{_NUMBER}W|(?=[0-9T])(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}D)?"
    rf"(?:T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?)"
)
_FRACTION_BEFORE_MORE = re.compile(r"[.,][0-9]++[A-Z].")
_HUNDREDTHS = re.compile(r"([.,][0-9]{1,2})[0-9]*+S\Z")


def parse_timestamp(text: Any, version: Version) -> datetime:
    """Give the instant that a timestamp names, in UTC, to the microsecond (finer digits are cut off).

    Raises InvalidInput if text is not a timestamp of that version, or names no instant between the years 1 and 9999.
    """
    if type(text) is str and len(text) <= TIMESTAMP_LENGTH_MAX and _FORMS[version].fullmatch(text):
        try:
            return _instant(text)
        except (ValueError, OverflowError):
            pass
    raise InvalidInput(_RULES[version])


def check_timestamp_1(value: Any) -> None:
    """Raise InvalidInput if value is not a timestamp of version 1.0.3."""
    parse_timestamp(value, "1.0.3")


def check_timestamp_2(value: Any) -> None:
    """Raise InvalidInput if value is not a timestamp of version 2.0.0."""
    parse_timestamp(value, "2.0.0")


def _instant(text: str) -> datetime:
    """Read a text that has one of the forms. Raises ValueError or OverflowError if it names no instant."""
    try:
        moment = datetime.fromisoformat(text if text[-1] != "z" else text.upper())
    except ValueError:
        return _instant_of_leap_second(text)
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _instant_of_leap_second(text: str) -> datetime:
    """Read a second 60 as the second that follows it; there is one only at the end of a month, in UTC."""
    earlier, replaced = _LEAP_SECOND.subn(r"\g<1>59", text, count=1)
    if not replaced:
        raise ValueError
    moment = _instant(earlier) + timedelta(seconds=1)
    if (moment.day, moment.hour, moment.minute, moment.second) != (1, 0, 0, 0):
        raise ValueError
    return moment


def in_utc(text: str) -> str:
    """Give a checked timestamp as RFC 3339 writes it in UTC, with all its digits.

    One without a zone stays as it is: which instant it means is not ours to say (Data 4.5).
    """
    if _IN_UTC.fullmatch(text) or not _ZONE.search(text, 10):
        return text
    whole = _instant(text).replace(microsecond=0, tzinfo=None).isoformat()
    fraction = _FRACTION.search(text)
    return f"{whole}.{fraction[1]}Z" if fraction else f"{whole}Z"


def check_duration(value: Any) -> None:
    """Raise InvalidInput if value is not a duration with designators (ISO 8601:2004, 4.4.3.2).

    Weeks stand alone, at least one part is there, and only the last has a fraction.
    """
    if (
        type(value) is not str
        or len(value) > DURATION_LENGTH_MAX
        or not _DURATION.fullmatch(value)
        or _FRACTION_BEFORE_MORE.search(value)
    ):
        raise InvalidInput("This must be a string: a duration as in ISO 8601, such as PT1H30M or P4W.")


def comparable_duration(text: str) -> str:
    """Give a duration as what is compared: its text, without what is finer than 0.01 second (Data 4.6)."""
    cut = _HUNDREDTHS.sub(r"\1S", text)
    if cut.endswith("S") and ("." in cut or "," in cut):
        return cut[:-1].rstrip("0").rstrip(".,") + "S"
    return cut
