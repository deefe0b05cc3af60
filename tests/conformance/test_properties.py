"""Data 2.4.1 and 2.4.7 to 2.4.10, 4.5: id, timestamp, stored, authority, version."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from .builders import HOSTS, agent, altered, group, identifiers, new_id, reference, statement
from .client import Api, accepted, must, only, refused, requirement, row

pytestmark = pytest.mark.before_storage


def instant(text: str) -> datetime.datetime:
    """A timestamp that a server wrote: RFC 3339, in UTC."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", text), text
    return datetime.datetime.fromisoformat(text)


NO_UUIDS = [
    row("XAPI-00030 XAPI-00027", "too many digits", new_id() + "8"),
    row("XAPI-00030 XAPI-00027", "too few digits", new_id()[:-1]),
    row("XAPI-00030 XAPI-00027", "a letter that is no digit", "g" + new_id()[1:]),
    row("XAPI-00029 XAPI-00028", "a number", 12345),
    row("XAPI-00029 XAPI-00028", "an object", {"key": new_id()}),
    row("XAPI-00029", "braces", "{" + new_id() + "}"),
    row("XAPI-00029", "a URN", "urn:uuid:" + new_id()),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("place", ["object", "context/registration", "context/statement"])
@pytest.mark.parametrize("value", NO_UUIDS)
def test_what_is_no_uuid_is_refused(api: Api, value: Any, place: str, host: str) -> None:
    if place == "object":
        refused(api, statement(object={"objectType": "StatementRef", "id": value}))
    else:
        refused(api, altered(host, {place: value if "registration" in place else reference() | {"id": value}}))


@requirement("XAPI-00007")
@pytest.mark.parametrize("value", NO_UUIDS)
def test_an_id_that_is_no_uuid_is_refused(api: Api, value: Any) -> None:
    refused(api, statement(id=value))


@requirement("XAPI-00026", "XAPI-00146")
def test_a_statement_without_id_gets_one(api: Api) -> None:
    [given] = api.store(statement())
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", given)
    assert api.fetch(given)["id"] == given


NO_TIMESTAMPS = [
    "should fail",
    "01/011/2015",
    "2008-09-15T15:53:00.601-00",
    "2008-09-15T15:53:00.601-0000",
    "2008-09-15T15:53:00.601-00:00",
    "2008-13-15T15:53:00Z",
    "2008-02-30T15:53:00Z",
    "2008-09-15T25:53:00Z",
    "2008-09-15T15:61:00Z",
    "2008-09-15 at noon",
    1221493980,
    {"key": "2008-09-15T15:53:00Z"},
]


@requirement("XAPI-00022", "XAPI-00123")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", NO_TIMESTAMPS, ids=str)
def test_what_is_no_timestamp_is_refused(api: Api, value: Any, host: str) -> None:
    refused(api, altered(host, {"timestamp": value}))


@requirement("XAPI-00022", "XAPI-00123", "XAPI-00122")
@pytest.mark.parametrize(
    "value",
    [
        "2008-09-15T15:53:00Z",
        "2008-09-15T15:53:00.601Z",
        "2008-09-15T15:53:00.601+00:00",
        "2008-09-15T15:53:00.601437Z",
        "2008-09-15T17:53:00.601+02:00",
        "2024-02-29T23:59:59.999-08:00",
    ],
)
def test_a_timestamp_is_kept_to_the_millisecond(api: Api, value: str) -> None:
    stored = accepted(api, statement(timestamp=value))
    difference = instant(stored["timestamp"]) - datetime.datetime.fromisoformat(value)
    assert abs(difference) < datetime.timedelta(milliseconds=1)


@only("2.0.0")
@requirement("IEEE-timestamps")
def test_a_timestamp_comes_back_in_utc(api: Api) -> None:
    stored = accepted(api, statement(timestamp="2023-05-04T12:00:00-05:00"))
    assert instant(stored["timestamp"]) == datetime.datetime(2023, 5, 4, 17, tzinfo=datetime.UTC)


@requirement("IEEE-future-timestamp", "XAPI-00022")
@pytest.mark.parametrize("host", HOSTS)
def test_a_timestamp_in_the_future_is_accepted(api: Api, host: str) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=5 * 365)
    accepted(api, altered(host, {"timestamp": later.strftime("%Y-%m-%dT%H:%M:%S.123Z")}))


@requirement("IEEE-absent-timestamp")
def test_an_absent_timestamp_is_the_time_of_storing(api: Api) -> None:
    stored = api.fetch(api.store(statement())[0])
    assert instant(stored["timestamp"]) == instant(stored["stored"])


@requirement("XAPI-00023", "XAPI-00097", "XAPI-00122")
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_stored_is_always_set_by_the_store(api: Api, method: str) -> None:
    before = datetime.datetime.now(datetime.UTC)
    sent = statement(id=new_id(), stored="2011-07-15T00:00:00.000Z")
    params = {"statementId": sent["id"]} if method == "PUT" else {}
    must(204 if params else 200, api.call(method, "statements", params, json=sent))
    stored = instant(api.fetch(sent["id"])["stored"])
    margin = datetime.timedelta(seconds=5)
    assert before - margin < stored < datetime.datetime.now(datetime.UTC) + margin


@requirement("XAPI-00023", "XAPI-00122")
def test_stored_is_precise_to_the_millisecond_at_least(api: Api) -> None:
    times = [api.fetch(given)["stored"] for given in api.store(*(statement() for _ in range(10)))]
    assert all(re.search(r"\.\d{3,}", time) for time in times)
    assert any(instant(time).microsecond % 10_000 for time in times)


@requirement("XAPI-00099")
@pytest.mark.parametrize("sent", [statement(), statement(authority=agent())], ids=["absent", "another"])
def test_the_authority_is_the_credential(api: Api, sent: dict[str, Any]) -> None:
    [first, second] = (api.fetch(given)["authority"] for given in api.store(statement(), dict(sent)))
    assert first == second
    assert sum(name in first for name in identifiers()) == 1


AUTHORITIES = [
    row("XAPI-00024", "a string", "me"),
    row("XAPI-00024", "a list", [agent()]),
    row("XAPI-00024", "an activity", {"objectType": "Activity", "id": "https://school.example/a"}),
    *(
        row("XAPI-00024 XAPI-00098 XAPI-00100", f"a group with {name}", group(agent(), agent(), **{name: value}))
        for name, value in identifiers().items()
    ),
    row("XAPI-00098", "a group without members", {"objectType": "Group", "name": "None"}),
    row("XAPI-00098", "a group of one", group(agent())),
    row("XAPI-00098 XAPI-00100", "a group of three", group(agent(), agent(), agent())),
]


@pytest.mark.parametrize("value", AUTHORITIES)
def test_what_is_no_authority_is_refused(api: Api, value: Any) -> None:
    refused(api, statement(authority=value))


@requirement("XAPI-00024", "XAPI-00098")
def test_an_anonymous_group_of_two_may_be_authority(api: Api) -> None:
    consumer = {"account": {"homePage": "https://school.example/oauth/token", "name": "consumer"}}
    accepted(api, statement(authority=group(consumer, agent())))


@requirement("XAPI-00101")
@pytest.mark.parametrize("value", ["1.0", "1.0.0", "1.0.9"])
def test_versions_of_one_zero_are_accepted(api: Api, value: str) -> None:
    accepted(api, statement(version=value))


@requirement("XAPI-00101")
@pytest.mark.parametrize("value", ["should fail", "0.9.9", "1.1.0", "3.0.0", "", "10.0", "1", 1.0])
def test_other_versions_are_refused(api: Api, value: Any) -> None:
    refused(api, statement(version=value))


@only("1.0.3")
@requirement("XAPI-00101")
def test_a_statement_of_version_two_is_refused_where_one_is_spoken(api: Api) -> None:
    refused(api, statement(version="2.0.0"))


@requirement("XAPI-00332", "XAPI-00330")
def test_a_statement_keeps_its_version(api: Api) -> None:
    value = "2.0.0" if api.version == "2.0.0" else "1.0.2"
    assert accepted(api, statement(version=value))["version"] == value


@requirement("XAPI-00332")
def test_a_statement_without_version_gets_one(api: Api) -> None:
    assert accepted(api, statement())["version"] == ("2.0.0" if api.version == "2.0.0" else "1.0.0")
