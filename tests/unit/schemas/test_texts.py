"""IRIs, mail addresses, media types, language tags, timestamps and durations: one form each."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from schemas import iri, languages
from schemas.errors import InvalidInput
from schemas.iri import IRI_LENGTH_MAX, check_iri, check_known_iri, check_mailbox, check_media_type
from schemas.languages import check_language_map, check_language_tag
from schemas.times import check_duration, comparable_duration, in_utc, parse_timestamp

from .builders import VERSIONS
from .timing import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.times import Version


def accepts(check: Callable[..., Any], *arguments: Any) -> bool:
    try:
        check(*arguments)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "http://school.example",
        "https://school.example/a?b[0]=1&c=%20#d",
        "https://école.example/é/日本",
        "https://user@school.example:8080/",
        "urn:isbn:9789000000000",
        "urn:uuid:6690e6c9-3ef0-4ed3-8b37-7f3964730bee",
        "tag:school.example,2024:unité",
        "mailto:ann@school.example",
        "x-app+v1.2:id",
        "HTTPS://SCHOOL.EXAMPLE/",
        "x:" + "y" * (IRI_LENGTH_MAX - 2),
    ],
)
def test_an_iri_is_accepted(text: str) -> None:
    assert accepts(check_iri, text)
    assert accepts(check_known_iri, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "school.example/course",
        "should fail",
        "ab=c://should.fail.com",
        "1a:b",
        ":b",
        "//school.example",
        "http:",
        "http:school.example",
        "http://",
        "https:///path",
        "HTTP:/x",
        "https://?query",
        "urn:",
        "https://school.example/a b",
        "https://school.example/a\n",
        "https://school.example/<a>",
        "https://school.example/{a}",
        'https://school.example/"a"',
        "https://school.example/a\\b",
        "https://school.example/\x7f",
        "https://school.example/\x85",
        "https://school.example/\ud800",
        "é:b",
        "x:" + "y" * IRI_LENGTH_MAX,
        None,
        1,
        ["urn:a:b"],
        {"urn:a:b": 1},
    ],
)
def test_what_is_no_iri_is_refused(text: Any) -> None:
    assert not accepts(check_iri, text)
    assert not accepts(check_known_iri, text)


@pytest.mark.parametrize(
    "text",
    [
        "mailto:ann@school.example",
        "mailto:o'neil+courses@mail.school.example",
        "mailto:zoë@école.example",
        "mailto:a%20b@school.example",
        "mailto:ann@[192.0.2.1]",
        "mailto:1@localhost",
    ],
)
def test_a_mailbox_is_accepted(text: str) -> None:
    assert accepts(check_mailbox, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mailto:",
        "mailto:@",
        "mailto:ann",
        "mailto:ann@",
        "mailto:@school.example",
        "ann@school.example",
        "MAILTO:ann@school.example",
        "mailto:ann@school.example,bea@school.example",
        "mailto:a@b@c",
        "mailto:ann@school.example?subject=hello",
        "mailto:Ann <ann@school.example>",
        "mailto:ann b@school.example",
        "mailto:ann@school.example\n",
        "mailto:" + "a" * 2_000 + "@b",
        1,
        None,
        {},
    ],
)
def test_what_is_no_mailbox_is_refused(text: Any) -> None:
    assert not accepts(check_mailbox, text)


@pytest.mark.parametrize(
    "text", ["text/plain", "text/plain; charset=ascii", "application/vnd.school+json;v=1", 'image/svg+xml ; a="é"']
)
def test_a_media_type_is_accepted(text: str) -> None:
    assert accepts(check_media_type, text)


@pytest.mark.parametrize(
    "text", ["", "text", "text/", "/plain", "text/pl ain", "text/plain\n", "text/plain;a=\n", "é/é", 1, {}]
)
def test_what_is_no_media_type_is_refused(text: Any) -> None:
    assert not accepts(check_media_type, text)


TAGS = (
    *("nl", "en-GB", "cmn", "ase", "zh-Hant", "zh-cmn-Hans-CN", "sr-Latn-RS", "es-419", "de-CH-1996", "EN-us"),
    *("sl-rozaj-biske-1994", "hy-Latn-IT-arevela", "en-a-bbb-x-a-ccc", "de-DE-u-co-phonebk", "x-pig", "x-a-b"),
    *("i-klingon", "en-GB-oed", "sgn-BE-FR", "art-lojban", "zh-min-nan", "qaa-Qaaa-QM-x-southern", "und", "abcde"),
)
NO_TAGS = (
    *("", "e", "something", "a12345678", "en_US", "en-", "-en", "en--GB", "english language", "s-something", "x"),
    *(
        "zh-z-aaa-z-bbb-c-ccc",
        "de-1996-1996",
        "en-a",
        "en-a-x",
        "de-419-DE",
        "a-DE",
        "en-GB-GB",
        "nl-",
        "én",
        "\u212aa",
    ),
    *("ſv", "en\n", "en-" + "-".join(["abcde"] * 50), "i-nothing"),
)


@pytest.mark.parametrize("tag", TAGS)
def test_a_language_tag_is_accepted(tag: str) -> None:
    assert accepts(check_language_tag, tag)
    assert accepts(check_language_map, {tag: ""})


@pytest.mark.parametrize("tag", NO_TAGS)
def test_what_is_no_language_tag_is_refused(tag: str) -> None:
    assert not accepts(check_language_tag, tag)
    with pytest.raises(InvalidInput) as caught:
        check_language_map({"en": "fine", tag: "wrong"})
    assert caught.value.pointer == (f"/{tag}" if len(tag) <= 128 else "")


@pytest.mark.parametrize("value", [None, "text", 1, ["en"], {"en": 1}, {"en": None}, {"en": {}}, {"en": ["a"]}])
def test_what_is_no_language_map_is_refused(value: Any) -> None:
    assert not accepts(check_language_map, value)


INSTANTS = [
    ("2008-09-15T15:53:00Z", "2008-09-15T15:53:00+00:00"),
    ("2008-09-15T15:53:00.601+00:00", "2008-09-15T15:53:00.601+00:00"),
    ("2008-09-15T15:53:00.601437999-08:00", "2008-09-15T23:53:00.601437+00:00"),
    ("2024-02-29T23:59:59+05:30", "2024-02-29T18:29:59+00:00"),
    ("2008-09-15t15:53:00z", "2008-09-15T15:53:00+00:00"),
    ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
    ("2016-12-31T18:59:60.5-05:00", "2017-01-01T00:00:00.5+00:00"),
    ("2008-09-15T15:53:00-00:01", "2008-09-15T15:54:00+00:00"),
]
ONLY_ISO_8601 = [
    ("2008-09-15T15:53:00", "2008-09-15T15:53:00+00:00"),
    ("2008-09-15T15:53", "2008-09-15T15:53:00+00:00"),
    ("2008-09-15T15Z", "2008-09-15T15:00:00+00:00"),
    ("2008-09-15T15:53:00,25Z", "2008-09-15T15:53:00.25+00:00"),
    ("2008-09-15T15:53:00+02", "2008-09-15T13:53:00+00:00"),
    ("2008-09-15T15:53:00+0230", "2008-09-15T13:23:00+00:00"),
    ("20080915T155300Z", "2008-09-15T15:53:00+00:00"),
    ("20080915T155300.25+0100", "2008-09-15T14:53:00.25+00:00"),
]
NO_TIMESTAMPS = [
    *(
        "should fail",
        "01/011/2015",
        "",
        "2008",
        "2008-09-15",
        "20080915",
        "T15:53:00Z",
        "15:53:00Z",
        "2008-09T15:53:00Z",
    ),
    *("2008-09-15T15:53:00.601-00", "2008-09-15T15:53:00.601-0000", "2008-09-15T15:53:00.601-00:00"),
    *("2008-13-15T15:53:00Z", "2008-02-30T15:53:00Z", "2023-02-29T15:53:00Z", "2008-09-15T25:53:00Z"),
    *("2008-09-15T24:00:00Z", "2008-09-15T15:61:00Z", "2008-09-15T15:53:61Z", "2008-09-15T15:53:60Z"),
    *("2008-09-15 15:53:00Z", "2008-09-15  T15:53:00Z", "2008-09-15T15:53:00 Z", "2008-09-15T15:53:00Z "),
    *("2008-09-15T15:53:00Z\n", "2008-09-15T15:53:00.Z", "2008-09-15T155300Z", "20080915T15:53:00Z"),
    *("2008-09-15T15:53:00+24:00", "2008-09-15T15:53:00+05:60", "2008-09-15T15:53:00+5:00", "２008-09-15T15:53:00Z"),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z"),
    *("-2008-09-15T15:53:00Z", "12008-09-15T15:53:00Z", "2008-W38-1T15:53:00Z", "2008-259T15:53:00Z"),
    *("2008-09-15T15:53:00." + "1" * 64 + "Z", 1221493980, None, True, {"key": "2008-09-15T15:53:00Z"}, []),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("text", "instant"), INSTANTS)
def test_a_timestamp_names_an_instant(text: str, instant: str, version: Version) -> None:
    moment = parse_timestamp(text, version)
    assert moment == datetime.fromisoformat(instant)
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(("text", "instant"), ONLY_ISO_8601)
def test_other_forms_of_iso_8601_belong_to_version_one(text: str, instant: str) -> None:
    assert parse_timestamp(text, "1.0.3") == datetime.fromisoformat(instant)
    assert not accepts(parse_timestamp, text, "2.0.0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", NO_TIMESTAMPS, ids=str)
def test_what_is_no_timestamp_is_refused(text: Any, version: Version) -> None:
    assert not accepts(parse_timestamp, text, version)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2008-09-15T15:53:00Z", "2008-09-15T15:53:00Z"),
        ("2008-09-15T15:53:00.6010Z", "2008-09-15T15:53:00.6010Z"),
        ("2008-09-15T15:53:00.123456789-08:00", "2008-09-15T23:53:00.123456789Z"),
        ("2008-09-15T15:53:00+00:00", "2008-09-15T15:53:00Z"),
        ("2008-09-15t15:53:00z", "2008-09-15T15:53:00Z"),
        ("20080915T155300,25+0100", "2008-09-15T14:53:00.25Z"),
        ("2008-09-15T15+01", "2008-09-15T14:00:00Z"),
        ("2008-09-15T15:53:00", "2008-09-15T15:53:00"),
        ("2008-09-15T15", "2008-09-15T15"),
    ],
)
def test_a_timestamp_with_a_zone_is_kept_in_utc_with_all_its_digits(text: str, kept: str) -> None:
    assert in_utc(text) == kept


@given(
    st.datetimes(),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_any_instant_survives_being_kept_in_utc(moment: datetime, offset_minutes: int, timespec: str) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    text = moment.replace(tzinfo=zone).isoformat(timespec=timespec)
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        assume(False)
    for version in VERSIONS:
        assert parse_timestamp(text, version) == instant
        assert parse_timestamp(in_utc(text), version) == instant
    assert in_utc(text).endswith("Z")


DURATIONS = (
    *("PT4H35M59.14S", "PT16559.14S", "P3Y1M29DT4H35M59.14S", "P3Y", "P4W", "PT0S", "PT0.5S", "P1DT12H", "P1M", "PT1M"),
    *("P1Y2D", "PT1,5H", "P0.5Y", "P1.5W", "P1DT0.5M", "PT0.123456789S", "P00000001D"),
)
NO_DURATIONS = (
    *("", "P", "PT", "P1DT", "1Y", "p1D", "PT1D", "P1H", "PT1S1M", "P1D1Y", "P-1Y", "-P1Y", "+P1Y", "P4W1D", "P1Y4W"),
    *("P0003-06-04T12:30:05", "PA1H0M0S", "PT1H1H", "P0.5Y1M", "PT1.5H30M", "PT1.S", "PT.5S", "PT1..5S", "P1", "PT1H "),
    *("P1Y\n", "P１Y", "PT" + "1" * 200 + "S", 12345, None, {"key": "P3Y"}, ["P3Y"]),
)


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_accepted(text: str) -> None:
    assert accepts(check_duration, text)


@pytest.mark.parametrize("text", NO_DURATIONS, ids=str)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    assert not accepts(check_duration, text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("P1DT12H36M0.1237S", "P1DT12H36M0.12S", True),
        ("PT1.001S", "PT1S", True),
        ("PT1.20S", "PT1.2S", True),
        ("PT1.12S", "PT1.13S", False),
        ("PT60S", "PT1M", False),
        ("PT100S", "PT1S", False),
        ("PT0.125H", "PT0.12H", False),
        ("P7D", "P1W", False),
    ],
)
def test_durations_are_compared_as_texts_to_a_hundredth_of_a_second(one: str, other: str, *, same: bool) -> None:
    assert (comparable_duration(one) == comparable_duration(other)) is same


LONG = 100_000
PATTERNS = [
    "a",
    "a-",
    "-a",
    "aaaaa-",
    "1",
    "P1Y",
    "PT1.",
    "1.1",
    "1,",
    "a:",
    "a@",
    "@",
    "/",
    ";",
    "a/",
    "0",
    "é",
    "T",
    "%",
    "\ud800",
]
HEADS = [
    "",
    "P",
    "PT",
    "PT1.",
    "http://",
    "urn:",
    "mailto:",
    "mailto:a@",
    "a/b;",
    "x-",
    "en-a-",
    "2008-09-15T15:53:00.",
]
CHECKS = [check_iri, check_known_iri, check_mailbox, check_media_type, check_language_tag, check_duration]


@pytest.mark.parametrize("head", HEADS)
def test_a_text_made_to_be_slow_is_not(head: str) -> None:
    for pattern in PATTERNS:
        text = head + pattern * (LONG // len(pattern))
        # As long as it is, and as long as the longest that is looked at.
        for made in (text, text[:IRI_LENGTH_MAX], text[:1_024], text[:128], text[:64]):
            for check in CHECKS:
                with suppress(InvalidInput):
                    assert seconds_of(lambda check=check, made=made: accepts(check, made)) < 0.05
            for version in VERSIONS:
                assert seconds_of(lambda version=version, made=made: accepts(parse_timestamp, made, version)) < 0.05
        assert seconds_of(lambda text=text: comparable_duration(text)) < 0.05


@given(st.text(max_size=40))
@example("PT1.0" + "S" * 3)
def test_any_text_may_be_compared_as_a_duration(text: str) -> None:
    assert comparable_duration(comparable_duration(text)) == comparable_duration(text)


def test_what_is_remembered_is_bounded() -> None:
    for number in range(iri.KNOWN_IRIS_MAX + 500):
        check_known_iri(f"https://school.example/words/{number}")
    for number in range(languages.KNOWN_TAGS_MAX + 500):
        check_language_tag(f"en-x-{number}")
    check_known_iri("x:" + "y" * iri.KNOWN_IRI_LENGTH_MAX)
    assert 0 < len(iri._known) <= iri.KNOWN_IRIS_MAX
    assert 0 < len(languages._known) <= languages.KNOWN_TAGS_MAX
    assert max(map(len, iri._known)) <= iri.KNOWN_IRI_LENGTH_MAX


def test_what_was_refused_is_not_remembered() -> None:
    for check, text in ((check_known_iri, "no iri at all"), (check_language_tag, "nonsensical")):
        assert not accepts(check, text)
        assert not accepts(check, text)
