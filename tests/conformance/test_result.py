"""Data 2.4.5 and 4.6: results, scores and durations; Data 4.1: extensions."""

from __future__ import annotations

from typing import Any

import pytest

from .builders import EXTENSION, HOSTS, altered, new_id, statement
from .client import Api, accepted, must, only, refused, requirement, row

pytestmark = pytest.mark.before_storage

NO_BOOLEANS = ["true", "false", 1, {"key": True}]
NO_NUMBERS = ["1", "one", True, {"key": 1}]

WRONG = [
    *(row("XAPI-00074", f"success {value}", {"result/success": value}) for value in NO_BOOLEANS),
    *(row("XAPI-00075", f"completion {value}", {"result/completion": value}) for value in NO_BOOLEANS),
    *(row("XAPI-00076", f"response {value}", {"result/response": value}) for value in [12345, {"key": "a"}, True]),
    *(row("XAPI-00078", f"extensions {value}", {"result/extensions": value}) for value in [12345, "text", []]),
    *(row("XAPI-00079", f"score {value}", {"result/score": value}) for value in [12345, "text", [1]]),
    *(row("XAPI-00080", f"max {value}", {"result/score": {"max": value}}) for value in NO_NUMBERS),
    *(row("XAPI-00081", f"min {value}", {"result/score": {"min": value}}) for value in NO_NUMBERS),
    *(row("XAPI-00082", f"raw {value}", {"result/score": {"raw": value}}) for value in NO_NUMBERS),
    *(row("XAPI-00083", f"scaled {value}", {"result/score": {"scaled": value}}) for value in [1.01, -1.00001, "0.5"]),
    row("XAPI-00080 XAPI-00081", "max below min", {"result/score": {"min": 10, "max": 9.5}}),
    row("XAPI-00082", "raw above max", {"result/score": {"raw": 11, "min": 0, "max": 10}}),
    row("XAPI-00082", "raw below min", {"result/score": {"raw": -0.5, "min": 0, "max": 10}}),
    row("XAPI-00082", "raw above max alone", {"result/score": {"raw": 11, "max": 10}}),
    row("XAPI-00082", "raw below min alone", {"result/score": {"raw": -1, "min": 0}}),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("changes", WRONG)
def test_a_wrong_result_is_refused(api: Api, changes: dict[str, Any], host: str) -> None:
    refused(api, altered(host, changes))


SCORES = [
    row("XAPI-00083", "scaled 1.0", {"scaled": 1.0}),
    row("XAPI-00083", "scaled -1.0000", {"scaled": -1.0000}),
    row("XAPI-00083", "scaled 0", {"scaled": 0}),
    row("XAPI-00082", "raw at the ends", {"raw": 10, "min": 10, "max": 10.5}),
    row("XAPI-00082", "raw without bounds", {"raw": -123456.789}),
    row("XAPI-00081", "min alone", {"min": 1e6}),
    row("XAPI-00080", "max alone", {"max": -1e-6}),
    row("XAPI-00080 XAPI-00081 XAPI-00082", "all decimal", {"raw": 1.25, "min": -1.5, "max": 1.5}),
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("score", SCORES)
def test_a_score_within_its_bounds_is_accepted(api: Api, score: dict[str, float], host: str) -> None:
    accepted(api, altered(host, {"result/score": score}))


DURATIONS = ("PT4H35M59.14S", "PT16559.14S", "P3Y1M29DT4H35M59.14S", "P3Y", "P4W", "PT0S", "PT0.5S", "P1DT12H")
NO_DURATIONS = (
    "should fail",
    12345,
    {"key": "P3Y"},
    "P4W1D",
    "P",
    "PT",
    "P1DT",
    "1Y",
    "PT1D",
    "P1H",
    "PT1S1M",
    "P-1Y",
    "P0003-06-04T12:30:05",
)


@requirement("XAPI-00077", "XAPI-00124")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", DURATIONS)
def test_a_duration_is_kept_as_it_is(api: Api, value: str, host: str) -> None:
    accepted(api, altered(host, {"result/duration": value}))


@requirement("XAPI-00077", "XAPI-00124")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", NO_DURATIONS, ids=str)
def test_what_is_no_duration_is_refused(api: Api, value: Any, host: str) -> None:
    refused(api, altered(host, {"result/duration": value}))


@only("2.0.0")
@requirement("IEEE-durations")
def test_a_finer_duration_is_kept_or_cut_never_rounded(api: Api) -> None:
    [given] = api.store(statement(result={"duration": "P1DT12H36M0.12567S"}))
    assert api.fetch(given)["result"]["duration"] in {"P1DT12H36M0.12567S", "P1DT12H36M0.12S"}


PLACES = {
    "activity": ("object/definition/extensions", "XAPI-00057"),
    "result": ("result/extensions", "XAPI-00078"),
    "context": ("context/extensions", "XAPI-00118"),
}


@requirement("XAPI-00120", "XAPI-00119")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("place", PLACES)
def test_an_extension_may_hold_anything(api: Api, place: str, host: str) -> None:
    values = [True, 12345, 1.5, {"key": "valid"}, "valid", None, "", {}, [], [None, {"a": [1]}]]
    extensions = {f"{EXTENSION}/{index}": value for index, value in enumerate(values)}
    accepted(api, altered(host, {PLACES[place][0]: extensions}))


@requirement("XAPI-00119")
@pytest.mark.parametrize("host", HOSTS)
def test_extensions_may_be_empty(api: Api, host: str) -> None:
    for place, _ in PLACES.values():
        accepted(api, altered(host, {place: {}}))


@requirement("XAPI-00119")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", [None, "", {}], ids=["null", "string", "object"])
def test_empty_extension_values_may_be_put(api: Api, value: Any, host: str) -> None:
    sent = altered(host, {place: {EXTENSION: value} for place, _ in PLACES.values()}) | {"id": new_id()}
    must(204, api.call("PUT", "statements", {"statementId": sent["id"]}, json=sent))
    assert api.fetch(sent["id"])["object"] == sent["object"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("place", "key"),
    [
        row(f"XAPI-00118 {number}", f"{place}: {key or 'an empty key'}", path, key)
        for place, (path, number) in PLACES.items()
        for key in ("should fail", "school.example/tempo", "")
    ],
)
def test_an_extension_key_that_is_no_iri_is_refused(api: Api, place: str, key: str, host: str) -> None:
    refused(api, altered(host, {place: {key: True}}))


@requirement("XAPI-00120")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("value", ["text", 12345, [{EXTENSION: 1}], True], ids=str)
@pytest.mark.parametrize("place", PLACES)
def test_extensions_that_are_no_object_are_refused(api: Api, place: str, value: Any, host: str) -> None:
    refused(api, altered(host, {PLACES[place][0]: value}))
