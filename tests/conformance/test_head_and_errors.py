"""Communication 1.1, 3.2 and 4: HEAD, error codes, authentication."""

from __future__ import annotations

import base64
import contextlib
import http.client
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from .builders import activity, agent, iri, new_id, statement
from .client import Api, must, requirement, row
from .documents import ACTIVITY_PROFILE, AGENT_PROFILE, RESOURCES, STATE, Document

if TYPE_CHECKING:
    from collections.abc import Callable

READS: dict[str, Callable[[Api], tuple[str, dict[str, Any]]]] = {
    "about": lambda _: ("about", {}),
    "statements": lambda _: ("statements", {"limit": 1}),
    "one statement": lambda api: ("statements", {"statementId": api.store(statement())[0]}),
    "no statement": lambda _: ("statements", {"statementId": new_id()}),
    "attachments": lambda api: ("statements", {"statementId": api.store(statement())[0], "attachments": True}),
    "bad request": lambda _: ("statements", {"verb": "no iri"}),
    "agents": lambda _: ("agents", {"agent": agent()}),
    "activities": lambda _: ("activities", {"activityId": iri()}),
    **{
        name: lambda api, resource=resource: (resource.path, kept(Document(api, resource)))
        for name, resource in RESOURCES.items()
    },
    "names of states": lambda api: (STATE.path, STATE.whole(kept(Document(api, STATE)))),
}
VARYING = {"date", "x-experience-api-consistent-through", "connection", "keep-alive", "transfer-encoding"}


def kept(document: Document) -> dict[str, Any]:
    must(204, document.make("PUT", {"name": "kept"}))
    return document.params


def steady(answer: requests.Response) -> dict[str, str]:
    """The headers that two equal requests have in common. The boundary between parts is anyone's choice."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in VARYING}
    return headers | {"content-type": headers["content-type"].split(";")[0]}


@requirement("XAPI-00125", "XAPI-00126")
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_head_is_get_without_a_body(api: Api, read: Callable[[Api], tuple[str, dict[str, Any]]]) -> None:
    resource, params = read(api)
    got, head = api.call("GET", resource, params), api.call("HEAD", resource, params)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert steady(head) == steady(got)
    assert got.content


@requirement("XAPI-00324", "XAPI-00323")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
@pytest.mark.before_storage
def test_an_unknown_parameter_of_a_document_is_refused(api: Api, resource: Any, method: str) -> None:
    body = {"json": {}} if method in {"PUT", "POST"} else {}
    must(400, api.call(method, resource.path, resource.new() | {"foo": "bar"}, **body))


@requirement("XAPI-00324")
@pytest.mark.parametrize(
    ("method", "resource", "params"),
    [
        ("GET", "statements", {}),
        ("POST", "statements", {}),
        ("PUT", "statements", {"statementId": new_id()}),
        ("GET", "agents", {"agent": agent()}),
        ("GET", "activities", {"activityId": iri()}),
    ],
    ids=["GET", "POST", "PUT", "agents", "activities"],
)
def test_an_unknown_parameter_is_refused(api: Api, method: str, resource: str, params: dict[str, Any]) -> None:
    body = {"json": statement()} if method in {"PUT", "POST"} else {}
    must(400, api.call(method, resource, params | {"foo": "bar"}, **body))


IN_ANOTHER_CASE = {
    "StatementId": new_id(),
    "VoidedStatementId": new_id(),
    "Agent": agent(),
    "Verb": iri("verb"),
    "Activity": iri(),
    "Registration": new_id(),
    "Related_Activities": True,
    "Related_Agents": True,
    "Since": "2012-06-01T19:09:13.245Z",
    "Until": "2012-06-01T19:09:13.245Z",
    "Limit": 10,
    "Format": "ids",
    "Attachments": True,
    "Ascending": True,
}


@requirement("XAPI-00325")
@pytest.mark.parametrize("name", IN_ANOTHER_CASE)
@pytest.mark.before_storage
def test_a_parameter_in_another_case_is_refused(api: Api, name: str) -> None:
    must(400, api.get(**{name: IN_ANOTHER_CASE[name]}))


@requirement("XAPI-00325")
def test_put_with_its_parameter_in_another_case_is_refused(api: Api) -> None:
    must(400, api.call("PUT", "statements", {"StatementId": new_id()}, json=statement()))
    for resource, name in ((STATE, "StateId"), (AGENT_PROFILE, "ProfileId"), (ACTIVITY_PROFILE, "ActivityID")):
        must(400, api.call("PUT", resource.path, resource.new() | {name: new_id()}, json={}))


@requirement("XAPI-00324")
def test_a_parameter_that_stands_twice_is_refused(api: Api) -> None:
    must(400, api.call("GET", "statements?limit=1&limit=2"))


ERRORS = [
    row("XAPI-00323", "a bad statement", 400, "POST", "statements", {}),
    row("XAPI-00323", "no such statement", 404, "GET", "statements", {"statementId": new_id()}),
    row("XAPI-00323", "no such resource", 404, "GET", "nothing", {}),
    row("XAPI-00323", "statements are not deleted", 405, "DELETE", "statements", {}),
    row("XAPI-00323", "agents are not written", 405, "POST", "agents", {}),
    row("XAPI-00323", "activities are not written", 405, "PUT", "activities", {"activityId": iri()}),
]


@pytest.mark.parametrize(("status", "method", "resource", "params"), ERRORS)
def test_an_error_has_its_code_and_a_body_that_says_why(
    api: Api, status: int, method: str, resource: str, params: dict[str, Any]
) -> None:
    body = {"json": {"actor": agent(name="Nobody must see this")}} if method in {"PUT", "POST"} else {}
    answer = must(status, api.call(method, resource, params, **body))
    problem = answer.json()
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert problem["status"] == status
    assert problem["title"]
    assert "Nobody" not in answer.text


@requirement("XAPI-00328")
def test_a_request_beyond_the_limit_is_refused_before_it_is_read(api: Api) -> None:
    address = urlsplit(api.url)
    token = base64.b64encode(":".join(api.credential).encode()).decode()
    headers = {
        "Authorization": f"Basic {token}",
        "X-Experience-API-Version": api.version,
        "Content-Type": "application/json",
        "Content-Length": str(1 << 40),
    }
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)) as connection:
        connection.putrequest("POST", f"{address.path}/statements")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 413


@requirement("XAPI-00328")
def test_a_reasonable_statement_is_below_the_limit(api: Api) -> None:
    [given] = api.store(statement(object=activity(description={"en": "word " * 20_000})))
    assert len(api.fetch(given)["object"]["definition"]["description"]["en"]) == 100_000


NOBODY = [
    row("XAPI-00334", "unknown credential", "Basic " + base64.b64encode(b"nobody:secret").decode()),
    row("XAPI-00334", "no password", "Basic " + base64.b64encode(b"nobody").decode()),
    row("XAPI-00334", "no base64", "Basic ???"),
    row("XAPI-00334", "a colon", "Basic:" + base64.b64encode(b"nobody:secret").decode()),
    row("XAPI-00334", "another scheme", "Digest nobody"),
    row("XAPI-00334", "an empty header", ""),
    row("XAPI-00334", "no header", None),
]


@pytest.mark.parametrize("authorization", NOBODY)
def test_without_a_good_credential_nothing_is_done(api: Api, authorization: str | None) -> None:
    headers = {"X-Experience-API-Version": api.version}
    if authorization is not None:
        headers["Authorization"] = authorization
    sent = statement(id=new_id())
    with requests.Session() as stranger:
        stranger.trust_env = False
        url = f"{api.url}/statements"
        written = must(
            401, stranger.put(url, params={"statementId": sent["id"]}, json=sent, headers=headers, timeout=30)
        )
        must(401, stranger.get(url, headers=headers, timeout=30))
        must(401, stranger.post(url, json=sent, headers=headers, timeout=30))
    assert written.headers["WWW-Authenticate"].startswith("Basic")
    must(404, api.get(statementId=sent["id"]))


@requirement("XAPI-00334")
def test_a_wrong_secret_is_refused(api: Api) -> None:
    headers = {"X-Experience-API-Version": api.version}
    key, secret = api.credential
    for auth in ((key, secret[:-1]), (key, secret + "x"), (key, ""), (secret, key)):
        must(401, requests.get(f"{api.url}/statements", auth=auth, headers=headers, timeout=30))


@requirement("XAPI-00335")
def test_basic_authentication_is_supported(api: Api) -> None:
    headers = {"X-Experience-API-Version": api.version}
    sent = statement(id=new_id())
    params = {"statementId": sent["id"]}
    must(
        204,
        requests.put(
            f"{api.url}/statements", params=params, json=sent, auth=api.credential, headers=headers, timeout=30
        ),
    )
    assert api.fetch(sent["id"])["actor"] == sent["actor"]


MAY_NOT = [
    ("statements/write", "GET", "statements", {}),
    ("statements/write", "PUT", "activities/state", STATE.new()),
    ("statements/read", "POST", "statements", {}),
    ("all/read", "POST", "statements", {}),
    ("all/read", "PUT", "agents/profile", AGENT_PROFILE.new()),
    ("all/read", "DELETE", "activities/profile", ACTIVITY_PROFILE.new()),
    ("state", "GET", "statements", {}),
    ("profile", "POST", "statements", {}),
]


@requirement("XAPI-00327")
@pytest.mark.parametrize(("scope", "method", "resource", "params"), MAY_NOT)
def test_what_the_scope_does_not_say_is_refused(
    api: Api, limited: Callable[[str, str], Api], *, scope: str, method: str, resource: str, params: dict[str, Any]
) -> None:
    body = {"json": statement()} if method in {"PUT", "POST"} else {}
    answer = must(403, limited(scope, api.version).call(method, resource, params, **body))
    assert answer.json()["status"] == 403


@requirement("XAPI-00327")
def test_what_the_scope_says_is_done(api: Api, limited: Callable[[str, str], Api]) -> None:
    [given] = limited("statements/write", api.version).store(statement())
    assert limited("statements/read", api.version).fetch(given)["id"] == given
    assert limited("all/read", api.version).fetch(given)["id"] == given
    must(204, Document(limited("state", api.version), STATE).write("PUT", {}))
