"""Communication 1.3: any request as a form in a POST, which 1.0.3 demands and 2.0 has dropped."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from .builders import identifiers, new_id, statement
from .client import Api, must, only, parts_of, requirement
from .documents import RESOURCES, Resource

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def as_form(api: Api, method: str, resource: str, form: dict[str, Any], **params: str) -> requests.Response:
    """A request as a form. Values that are no text are written as JSON."""
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in form.items()}
    return api.call("POST", resource, {"method": method} | params, data=urlencode(fields), headers=FORM)


@only("1.0.3")
@requirement("XAPI-00148", "XAPI-00336")
def test_a_form_may_get_statements(api: Api) -> None:
    actor = {"mbox": identifiers()["mbox"]}
    stored = api.store(statement(actor=actor), statement(actor=actor))
    result = must(200, as_form(api, "GET", "statements", {"agent": actor, "limit": 1})).json()
    assert [each["id"] for each in result["statements"]] == stored[1:]
    assert result["more"]
    assert must(200, as_form(api, "GET", "statements", {"statementId": stored[0]})).json()["id"] == stored[0]
    parts_of(must(200, as_form(api, "GET", "statements", {"agent": actor, "attachments": "true"})))


@only("1.0.3")
@requirement("XAPI-00336")
def test_a_form_may_put_and_post_statements(api: Api) -> None:
    first, second = statement(id=new_id()), statement(id=new_id())
    must(204, as_form(api, "PUT", "statements", {"statementId": first["id"], "content": first}))
    assert must(200, as_form(api, "POST", "statements", {"content": [second]})).json() == [second["id"]]
    for sent in (first, second):
        assert api.fetch(sent["id"])["actor"] == sent["actor"]


@only("1.0.3")
@requirement("XAPI-00336")
@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_a_form_may_handle_documents(api: Api, resource: Resource) -> None:
    params = resource.new()
    text = {"content": "words & more = words", "Content-Type": "text/plain", "If-None-Match": "*"}
    must(204, as_form(api, "PUT", resource.path, params | text))
    answer = must(200, as_form(api, "GET", resource.path, params))
    assert answer.text == "words & more = words"
    assert answer.headers["Content-Type"].split(";")[0] == "text/plain"
    tag = answer.headers["ETag"]
    must(412, as_form(api, "PUT", resource.path, params | text))
    must(412, as_form(api, "DELETE", resource.path, params | {"If-Match": '"1234"'}))
    must(204, as_form(api, "DELETE", resource.path, params | {"If-Match": tag}))
    must(404, as_form(api, "GET", resource.path, params))


@only("1.0.3")
@requirement("XAPI-00336")
def test_the_headers_may_stand_in_the_form(api: Api) -> None:
    sent = statement(id=new_id())
    token = base64.b64encode(":".join(api.credential).encode()).decode()
    form = {
        "statementId": sent["id"],
        "content": json.dumps(sent),
        "Authorization": f"Basic {token}",
        "X-Experience-API-Version": "1.0.3",
        "Content-Type": "application/json",
    }
    url = f"{api.url}/statements"
    with requests.Session() as browser:
        browser.trust_env = False
        must(204, browser.post(url, params={"method": "PUT"}, data=form, timeout=30))
        form["Authorization"] = "Basic bm9ib2R5OnNlY3JldA=="
        must(401, browser.post(url, params={"method": "PUT"}, data=form, timeout=30))
    assert api.fetch(sent["id"])["actor"] == sent["actor"]


@only("1.0.3")
@requirement("XAPI-00336", "XAPI-00331")
def test_the_version_in_the_form_counts(api: Api) -> None:
    sent = statement(id=new_id())
    form = {"statementId": sent["id"], "content": sent, "X-Experience-API-Version": "0.8"}
    must(400, as_form(api, "PUT", "statements", form))
    must(404, api.get(statementId=sent["id"]))


@only("1.0.3")
@requirement("XAPI-00336")
def test_a_form_that_is_not_whole_is_refused(api: Api) -> None:
    sent = statement(id=new_id())
    form = {"statementId": sent["id"], "content": sent}
    must(400, as_form(api, "PUT", "statements", form, statementId=sent["id"]))
    must(400, as_form(api, "PUT", "statements", {"statementId": sent["id"]}))
    must(400, as_form(api, "PUT", "statements", {"content": sent}))
    must(400, as_form(api, "PUT", "statements", form | {"colour": "blue"}))
    must(400, api.call("POST", "statements", {"method": "PUT"}, data=json.dumps(form), headers=FORM))
    must(400, api.call("POST", "statements", {"method": "PUT"}, data=b"", headers=FORM))
    must(
        400,
        api.call("PUT", "statements", {"method": "POST"}, data=urlencode({"content": json.dumps(sent)}), headers=FORM),
    )
    must(404, api.get(statementId=sent["id"]))


@only("2.0.0")
@requirement("IEEE-no-alternate-request")
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
def test_a_form_is_refused_in_version_two(api: Api, method: str) -> None:
    sent = statement(id=new_id())
    form = {"statementId": sent["id"], "content": json.dumps(sent), "X-Experience-API-Version": "2.0.0"}
    assert 400 <= as_form(api, method, "statements", form).status_code < 500
    must(404, api.get(statementId=sent["id"]))


@only("2.0.0")
@requirement("IEEE-no-alternate-request")
def test_the_parameter_method_is_unknown_in_version_two(api: Api) -> None:
    must(400, api.call("POST", "statements", {"method": "GET"}, json=statement()))
    must(400, api.call("PUT", "statements", {"method": "POST", "statementId": new_id()}, json=statement()))
