"""Communication 2.8 and 3.3: what the server says of itself, and which version is spoken."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .builders import agent, full, iri, new_id, statement
from .client import Api, must, requirement

READS = [
    ("statements", {"limit": 1}),
    ("activities", {"activityId": iri()}),
    ("activities/profile", {"activityId": iri()}),
    ("activities/state", {"activityId": iri(), "agent": agent()}),
    ("agents", {"agent": agent()}),
    ("agents/profile", {"agent": agent()}),
]


@requirement("XAPI-00315", "XAPI-00316", "XAPI-00317", "XAPI-00318", "XAPI-00319")
@pytest.mark.parametrize("own", [True, False], ids=["with a version header", "without"])
def test_about_lists_the_versions(api: Api, *, own: bool) -> None:
    answer = must(200, api.call("GET", "about", version=api.version if own else None))
    versions = answer.json()["version"]
    assert isinstance(versions, list)
    assert api.version in versions
    assert all(re.fullmatch(r"0\.9|0\.95|1\.0\.\d+|2\.0\.\d+", version) for version in versions)


@requirement("XAPI-00320")
def test_extensions_of_about_are_keyed_by_iris(api: Api) -> None:
    about = must(200, api.call("GET", "about")).json()
    assert set(about) <= {"version", "extensions"}
    assert all(":" in key for key in about.get("extensions", {}))


@requirement("XAPI-00333")
@pytest.mark.parametrize(("resource", "params"), [*READS, ("about", {})])
def test_every_answer_names_its_version(api: Api, resource: str, params: dict[str, Any]) -> None:
    assert api.call("GET", resource, params).headers["X-Experience-API-Version"] == api.version
    bad = api.call("GET", resource, params | {"foo": "bar"})
    assert bad.headers["X-Experience-API-Version"] == api.version


@requirement("XAPI-00321", "XAPI-00331")
@pytest.mark.parametrize(("resource", "params"), READS)
def test_a_request_without_version_is_refused(api: Api, resource: str, params: dict[str, Any]) -> None:
    answer = must(400, api.call("GET", resource, params, version=None))
    assert answer.headers["X-Experience-API-Version"]


@requirement("XAPI-00331")
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_statement_without_version_header_is_not_stored(api: Api, method: str) -> None:
    sent = statement(id=new_id())
    params = {"statementId": sent["id"]} if method == "PUT" else {}
    must(400, api.call(method, "statements", params, json=sent, version=None))
    must(404, api.get(statementId=sent["id"]))


@requirement("XAPI-00331")
@pytest.mark.parametrize("version", ["0.9", "0.95", "1.1.0", "2.1.0", "3.0.0", "BAD", "", "1", "2", "11.0.0", "1.0.x"])
def test_another_version_is_refused(api: Api, version: str) -> None:
    answer = must(400, api.call("GET", "statements", {"limit": 1}, version=version))
    assert answer.headers["X-Experience-API-Version"]


@requirement("XAPI-00331", "XAPI-00333")
def test_any_patch_of_a_version_is_spoken(api: Api) -> None:
    minor = api.version.rsplit(".", 1)[0]
    for version in (f"{minor}.0", f"{minor}.1", f"{minor}.7", *(["1.0"] if minor == "1.0" else [])):
        answer = must(200, api.call("GET", "statements", {"limit": 1}, version=version))
        assert answer.headers["X-Experience-API-Version"] == api.version


@requirement("XAPI-00330")
def test_a_statement_is_not_rewritten_for_an_older_client(api: Api) -> None:
    sent = full()
    [given] = api.store(sent)
    older = "1.0.0" if api.version == "1.0.3" else "2.0.0"
    found = must(200, api.call("GET", "statements", {"statementId": given}, version=older)).json()
    for name in ("actor", "verb", "object", "result", "context"):
        assert found[name] == sent[name]
