"""Communication 2.2, 2.3, 2.6 and 2.7: state, agent profile and activity profile documents."""

from __future__ import annotations

import email.utils
import json
from typing import Any

import pytest

from .builders import new_id, statement
from .client import Api, must, only, requirement, row
from .documents import ACTIVITY_PROFILE, AGENT_PROFILE, RESOURCES, STATE, Document, Resource, each

CONTENT = {"bookmark": 12, "pages": ["one", "two"], "inner": {"a": 1, "b": None}}


@each(
    "XAPI-00140",
    state="XAPI-00189 XAPI-00230 XAPI-00231 XAPI-00233",
    agent="XAPI-00272 XAPI-00280 XAPI-00282 XAPI-00283",
    activity="XAPI-00286 XAPI-00292 XAPI-00310 XAPI-00311 XAPI-00312",
)
def test_post_makes_a_new_document(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    assert must(204, document.write("POST", CONTENT)).content == b""
    assert must(200, document.get()).json() == CONTENT


@each(state="XAPI-00190", agent="XAPI-00273", activity="XAPI-00287 XAPI-00293")
def test_put_makes_a_new_document(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    assert must(204, document.make("PUT", CONTENT)).content == b""
    assert must(200, document.get()).json() == CONTENT


@each(
    state="XAPI-00188 XAPI-00192 XAPI-00217",
    agent="XAPI-00259 XAPI-00269 XAPI-00274",
    activity="XAPI-00288 XAPI-00290",
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x00\xff\r\n{", b"y" * 200_000], ids=["empty", "text", "octets", "long"]
)
def test_get_brings_the_document_as_it_was_sent(api: Api, resource: Resource, method: str, content: bytes) -> None:
    document = Document(api, resource)
    must(204, document.make(method, content, Content_Type="image/x-drawing; colours=2"))
    answer = must(200, document.get())
    assert answer.content == content
    assert answer.headers["Content-Type"] == "image/x-drawing; colours=2"


@each(state="XAPI-00192", agent="XAPI-00269", activity="XAPI-00288")
def test_a_document_that_is_not_there_is_not_found(api: Api, resource: Resource) -> None:
    must(404, Document(api, resource).get())


@each(state="XAPI-00187 XAPI-00191 XAPI-00216", agent="XAPI-00271", activity="XAPI-00285 XAPI-00291")
def test_delete_takes_one_document_away(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    other = Document(api, resource, **resource.whole(document.params))
    for each_one in (document, other):
        must(204, each_one.write("POST", CONTENT))
    assert must(204, document.call("DELETE")).content == b""
    must(404, document.get())
    must(200, other.get())


@each(state="XAPI-00193", agent="XAPI-00270", activity="XAPI-00289")
def test_without_a_name_get_brings_the_names(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    assert document.names() == []
    other = Document(api, resource, **resource.whole(document.params))
    for each_one in (document, other, Document(api, resource)):
        must(204, each_one.write("POST", CONTENT))
    assert sorted(document.names()) == sorted([document.name, other.name])


@each(
    "XAPI-00141",
    state="XAPI-00195 XAPI-00221 XAPI-00222",
    agent="XAPI-00268 XAPI-00275",
    activity="XAPI-00294 XAPI-00303",
)
def test_since_brings_the_names_of_later_documents(api: Api, resource: Resource) -> None:
    earlier = Document(api, resource)
    later = Document(api, resource, **resource.whole(earlier.params))
    must(204, earlier.write("POST", CONTENT))
    between = api.fetch(api.store(statement())[0])["stored"]
    must(204, later.write("POST", CONTENT))
    assert earlier.names(since=between) == [later.name]
    assert sorted(earlier.names(since="2012-06-01T19:09:13.245Z")) == sorted([earlier.name, later.name])
    must(204, earlier.write("POST", {"more": 1}))
    assert sorted(earlier.names(since=between)) == sorted([earlier.name, later.name])


@each(state="XAPI-00204", agent="XAPI-00260", activity="XAPI-00295")
def test_a_since_that_is_no_timestamp_is_refused(api: Api, resource: Resource) -> None:
    for value in ("not a timestamp", "", "2024-13-01T00:00:00Z"):
        must(400, api.call("GET", resource.path, resource.whole(resource.new()) | {"since": value}))


MISSING = [
    ("activityId", STATE, {"PUT": "00210", "POST": "00209", "GET": "00208", "DELETE": "00207"}),
    ("agent", STATE, {"PUT": "00215", "POST": "00214", "GET": "00213", "DELETE": "00212"}),
    ("stateId", STATE, {"PUT": "00206", "POST": "00211"}),
    ("agent", AGENT_PROFILE, {"PUT": "00264", "POST": "00263", "GET": "00261", "DELETE": "00262"}),
    ("profileId", AGENT_PROFILE, {"PUT": "00267", "POST": "00266", "DELETE": "00265"}),
    ("activityId", ACTIVITY_PROFILE, {"PUT": "00299", "POST": "00298", "GET": "00296", "DELETE": "00297"}),
    ("profileId", ACTIVITY_PROFILE, {"PUT": "00302", "POST": "00301", "DELETE": "00300"}),
]


@pytest.mark.parametrize(
    ("resource", "method", "name"),
    [
        row(f"XAPI-{number}", f"{method} {resource.path} without {name}", resource, method, name)
        for name, resource, numbers in MISSING
        for method, number in numbers.items()
    ],
)
@pytest.mark.before_storage
def test_a_missing_parameter_is_refused(api: Api, resource: Resource, method: str, name: str) -> None:
    params = {key: value for key, value in resource.new().items() if key != name}
    body = {"json": CONTENT} if method in {"PUT", "POST"} else {}
    must(400, api.call(method, resource.path, params, **body))


NO_AGENTS = [
    "not JSON",
    "{",
    "true",
    {"name": "Ann"},
    {"mbox": "ann"},
    [],
    {"mbox": "mailto:a@b.example", "openid": "u:a"},
]
BAD_VALUES = [
    ("agent", STATE, NO_AGENTS, {"PUT": "00199", "POST": "00198", "GET": "00197", "DELETE": "00196"}),
    (
        "registration",
        STATE,
        ["true", "no uuid", ""],
        {"PUT": "00203", "POST": "00202", "GET": "00201", "DELETE": "00200"},
    ),
    ("agent", AGENT_PROFILE, NO_AGENTS, {"PUT": "00257", "POST": "00256", "GET": "00258", "DELETE": "00255"}),
]


@pytest.mark.parametrize(
    ("resource", "method", "name", "values"),
    [
        row(f"XAPI-{number}", f"{method} {resource.path} with a bad {name}", resource, method, name, values)
        for name, resource, values, numbers in BAD_VALUES
        for method, number in numbers.items()
    ],
)
@pytest.mark.before_storage
def test_a_bad_parameter_is_refused(api: Api, resource: Resource, method: str, name: str, values: list[Any]) -> None:
    body = {"json": CONTENT} if method in {"PUT", "POST"} else {}
    for value in values:
        must(400, api.call(method, resource.path, resource.new() | {name: value}, **body))


@requirement("XAPI-00207", "XAPI-00208", "XAPI-00209", "XAPI-00210", "XAPI-00296")
@pytest.mark.parametrize("resource", [STATE, ACTIVITY_PROFILE], ids=lambda resource: resource.path)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.before_storage
def test_an_activity_id_that_is_no_iri_is_refused(api: Api, resource: Resource, method: str) -> None:
    body = {"json": CONTENT} if method in {"PUT", "POST"} else {}
    for value in ("no iri", "true", "1", ""):
        must(400, api.call(method, resource.path, resource.new() | {"activityId": value}, **body))


@requirement("XAPI-00304")
def test_an_activity_profile_has_no_agent(api: Api) -> None:
    must(400, api.call("GET", ACTIVITY_PROFILE.path, ACTIVITY_PROFILE.new() | {"agent": "not JSON"}))


@requirement("XAPI-00205")
def test_delete_of_states_knows_no_bad_since(api: Api) -> None:
    document = Document(api, STATE)
    must(204, document.write("POST", CONTENT))
    must(400, api.call("DELETE", STATE.path, STATE.whole(document.params) | {"since": "not a timestamp"}))
    must(200, document.get())


@requirement("XAPI-00218", "XAPI-00219", "XAPI-00220", "XAPI-00227")
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_state_of_a_registration_is_its_own(api: Api, method: str) -> None:
    plain = Document(api, STATE)
    registered = Document(api, STATE, **plain.params, registration=new_id())
    must(204, plain.write(method, {"whose": "none"}))
    must(204, registered.write(method, {"whose": "registration"}))
    assert must(200, plain.get()).json() == {"whose": "none"}
    assert must(200, registered.get()).json() == {"whose": "registration"}
    must(204, registered.call("DELETE"))
    must(404, registered.get())
    must(200, plain.get())


@requirement("XAPI-00194")
def test_without_a_name_delete_takes_all_states_of_the_scope(api: Api) -> None:
    document = Document(api, STATE)
    beside = Document(api, STATE, activityId=document.params["activityId"])
    for each_one in (document, Document(api, STATE, **STATE.whole(document.params)), beside):
        must(204, each_one.write("POST", CONTENT))
    must(204, api.call("DELETE", STATE.path, STATE.whole(document.params)))
    assert document.names() == []
    assert beside.names() == [beside.name]
    must(204, api.call("DELETE", STATE.path, STATE.whole(document.params)))


@each(
    "XAPI-00183",
    "XAPI-00184",
    "XAPI-00185",
    "XAPI-00186",
    state="XAPI-00234",
    agent="XAPI-00279",
    activity="XAPI-00308",
)
def test_post_merges_the_first_level(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(204, document.make("PUT", CONTENT | {"car": "Honda"}))
    must(204, document.write("POST", {"type": "Civic", "inner": {"c": 3}, "bookmark": "none"}))
    answer = must(200, document.get())
    assert answer.json() == {
        "bookmark": "none",
        "pages": ["one", "two"],
        "inner": {"c": 3},
        "car": "Honda",
        "type": "Civic",
    }
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"


@each("XAPI-00182", state="XAPI-00229 XAPI-00232", agent="XAPI-00278 XAPI-00281", activity="XAPI-00309 XAPI-00313")
def test_post_of_something_else_does_not_touch_json(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(204, document.write("POST", CONTENT))
    for content_type in ("not/json", "text/plain", "application/octet-stream"):
        must(400, document.write("POST", json.dumps({"more": 1}).encode(), Content_Type=content_type))
    assert must(200, document.get()).json() == CONTENT


@each("XAPI-00182", state="XAPI-00229 XAPI-00232", agent="XAPI-00278 XAPI-00281", activity="XAPI-00309 XAPI-00313")
def test_post_of_json_does_not_touch_something_else(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(204, document.make("PUT", b"/ asdf / undefined"))
    must(400, document.write("POST", CONTENT))
    assert must(200, document.get()).content == b"/ asdf / undefined"


@each(
    "XAPI-00182",
    state="XAPI-00229 XAPI-00235",
    agent="XAPI-00281 XAPI-00284",
    activity="XAPI-00313 XAPI-00314",
)
@pytest.mark.parametrize("body", [b'{"a": 1}{', b"{'a': 1}", b"{", b"[1]", b'"text"', b"null", b"\xff"], ids=repr)
@pytest.mark.before_storage
def test_post_of_bad_json_is_refused(api: Api, resource: Resource, body: bytes) -> None:
    document = Document(api, resource)
    must(204, document.write("POST", CONTENT))
    must(400, document.write("POST", body, Content_Type="application/json"))
    assert must(200, document.get()).json() == CONTENT


@each("XAPI-00182", state="XAPI-00235", agent="XAPI-00284", activity="XAPI-00314")
def test_post_of_bad_json_makes_no_new_document(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(400, document.write("POST", b'{"a":', Content_Type="application/json"))
    must(404, document.get())


@requirement("IEEE-last-modified")
@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_last_modified_is_told_for_one_and_for_all(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(204, document.write("POST", CONTENT))
    first = must(200, document.get())
    changed = email.utils.parsedate_to_datetime(first.headers["Last-Modified"])
    answered = email.utils.parsedate_to_datetime(first.headers["Date"])
    assert -1 <= (answered - changed).total_seconds() < 10
    listed = must(200, api.call("GET", resource.path, resource.whole(document.params)))
    assert listed.headers["Last-Modified"] == first.headers["Last-Modified"]
    must(204, document.write("POST", {"more": 1}))
    again = email.utils.parsedate_to_datetime(must(200, document.get()).headers["Last-Modified"])
    assert again >= changed


@only("2.0.0")
@requirement("IEEE-last-modified")
@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
def test_reading_does_not_change_last_modified(api: Api, resource: Resource) -> None:
    document = Document(api, resource)
    must(204, document.write("PUT", CONTENT))
    assert document.get().headers["Last-Modified"] == document.get().headers["Last-Modified"]
