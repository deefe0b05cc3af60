"""Bad input: refused with 4xx as problem+json that names the place and never repeats what was sent.

Every text that is sent here begins with CANARY; none may come back, and none may stand in the server's log.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import gzip
import hashlib
import json
import re
import socket
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
import requests

from tests.conformance.builders import GONE, attachment, new_id
from tests.conformance.client import Api, Json, multipart, must
from tests.conformance.signing import Signer, signed_request
from tests.services import Griffel

CANARY = "canary"
MULTIPART = {"Content-Type": "multipart/mixed; boundary=griffel-part"}
JSON_TYPE = {"Content-Type": "application/json"}
ANSWER_WAIT_S = 10


def canary(kind: str = "word") -> str:
    return f"{CANARY}-{kind}-{new_id()}"


def statement(**parts: Any) -> Json:
    return {
        "actor": {"name": canary("name"), "mbox": f"mailto:{canary()}@school.example"},
        "verb": {"id": f"https://school.example/verb/{canary()}"},
        "object": {"id": f"https://school.example/activity/{canary()}"},
    } | parts


@pytest.fixture(scope="module", params=["2.0.0", "1.0.3"])
def api(request: pytest.FixtureRequest, lrs: Griffel) -> Iterator[Api]:
    api = Api(lrs.url, lrs.key, lrs.secret, request.param)
    with api.session:
        yield api


@pytest.fixture(scope="module")
def any_api(lrs: Griffel) -> Iterator[Api]:
    """For tests below xAPI, which know no version."""
    api = Api(lrs.url, lrs.key, lrs.secret, "2.0.0")
    with api.session:
        yield api


@pytest.fixture(scope="module", autouse=True)
def _nothing_of_it_is_logged(lrs: Griffel) -> Iterator[None]:
    before = len(lrs.log())
    yield
    assert CANARY not in lrs.log()[before:]


class Refusal(NamedTuple):
    """A refusal that kept the rules: its status, its JSON pointer, its detail."""

    status: int
    pointer: str
    detail: str


def refusal(response: requests.Response) -> Refusal:
    """What a refusal says, which must be problem+json with nothing in it of what was sent."""
    return checked_refusal(response.status_code, response.headers, response.content)


def checked_refusal(status: int, headers: Mapping[str, str], content: bytes) -> Refusal:
    assert 400 <= status < 500, f"{status}: {content[:300]!r}"
    assert CANARY.encode() not in content
    assert CANARY not in repr(headers)
    assert headers["Content-Type"] == "application/problem+json"
    told = json.loads(content)
    assert told["status"] == status
    assert told["type"].startswith("urn:griffel:problem:")
    assert told["title"]
    return Refusal(status, told.get("pointer", ""), told["detail"])


# ----------------------------------------------------------------------------------------------------------------- JSON


def with_raw(place: str, raw: str) -> bytes:
    """A statement as JSON in which a text stands as it is, which Python would not write."""
    marked = (
        statement(result={"response": "@here@"})
        if place == "response"
        else statement(result={"score": {"raw": "@here@"}})
    )
    return json.dumps(marked).replace('"@here@"', raw).encode()


def deep(levels: int) -> bytes:
    """An extension in which arrays stand so deep."""
    nested = "[" * levels + "]" * levels
    return (
        json.dumps(statement(result={"extensions": {"https://school.example/deep": "@here@"}}))
        .replace('"@here@"', nested)
        .encode()
    )


def twice(key: str, inside: str = "") -> bytes:
    """A statement in which a key stands twice, with different values."""
    base = statement()
    target = base[inside] if inside else base
    text = json.dumps(base)
    return text.replace(f'"{key}": ', f'"{key}": {json.dumps(target[key])}, "{key}": ', 1).encode()


JSON_BODIES = {
    "nothing": (b"", 400, ""),
    "no JSON": (f"{{{canary()}".encode(), 400, ""),
    "cut off": (json.dumps(statement()).encode()[:-1], 400, ""),
    "two documents": (json.dumps(statement()).encode() * 2, 400, ""),
    "NaN": (with_raw("raw", "NaN"), 400, ""),
    "Infinity": (with_raw("raw", "-Infinity"), 400, ""),
    "a lone surrogate": (with_raw("response", rf'"{CANARY} \ud800"'), 400, ""),
    "half a pair of surrogates": (with_raw("response", rf'"\udc00{CANARY}"'), 400, ""),
    "a number beyond a float": (with_raw("raw", "1e400"), 400, ""),
    "a number that vanishes": (with_raw("raw", "1e-400"), 400, "/result/score/raw"),
    "an integer beyond 64 bits": (with_raw("raw", "18446744073709551616"), 400, "/result/score/raw"),
    "an integer of a thousand digits": (with_raw("raw", "1" * 1000), 400, ""),
    "a number with a leading zero": (with_raw("raw", "01"), 400, ""),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(statement()).encode(), 400, ""),
    "UTF-16": (json.dumps(statement()).encode("utf-16"), 400, ""),
    "Latin-1": (
        json.dumps(statement(result={"response": f"{CANARY} é"}), ensure_ascii=False).encode("latin-1"),
        400,
        "",
    ),
    "an overlong encoding": (with_raw("response", '"@@"').replace(b"@@", CANARY.encode() + b"\xc0\xaf"), 400, ""),
    "a control character": (with_raw("response", f'"{CANARY}\x01"'), 400, ""),
    "a key twice": (twice("actor"), 400, "/actor"),
    "a key twice, inside": (twice("mbox", "actor"), 400, "/actor/mbox"),
    "too deep": (deep(80), 413, "/result/extensions"),
    "far too deep": (deep(100_000), 413, ""),
    "brackets alone": (b"[" * 200_000, 413, ""),
    "too many members": (
        json.dumps(
            statement(result={"extensions": {f"https://school.example/{n}": n for n in range(10_001)}})
        ).encode(),
        413,
        "/result/extensions",
    ),
    "too many items": (
        json.dumps(statement(result={"extensions": {"https://school.example/x": [0] * 10_001}})).encode(),
        413,
        "/result/extensions",
    ),
    "too many statements": (json.dumps([{}] * 5_001).encode(), 413, ""),
    "null": (b"null", 400, ""),
    "a text": (json.dumps(canary()).encode(), 400, ""),
    "an array of arrays": (b"[[]]", 400, "/0"),
}


@pytest.mark.parametrize("case", JSON_BODIES)
@pytest.mark.before_storage
def test_bad_json_is_refused_with_its_place(api: Api, case: str) -> None:
    body, status, pointer = JSON_BODIES[case]
    told = refusal(api.call("POST", "statements", data=body, headers=JSON_TYPE))
    assert told.status == status
    assert told.detail
    assert told.pointer == pointer


@pytest.mark.parametrize("case", JSON_BODIES)
@pytest.mark.before_storage
def test_bad_json_is_refused_as_a_document_that_is_said_to_be_json(api: Api, case: str) -> None:
    body, status, _ = JSON_BODIES[case]
    if case in {"null", "a text", "an array of arrays", "too many statements"}:
        return  # is JSON
    place = {"activityId": "https://school.example/a", "agent": {"mbox": "mailto:a@b.example"}, "stateId": new_id()}
    response = api.call("PUT", "activities/state", place, data=body, headers={**JSON_TYPE, "If-None-Match": "*"})
    assert refusal(response).status == status
    assert api.call("GET", "activities/state", place).status_code == 404


STATEMENTS = {
    "no actor": ({"actor": GONE}, ""),
    "an unknown property": ({canary(): 1}, ""),
    "null": ({"result": None}, "/result"),
    "no mailbox": ({"actor": {"mbox": canary()}}, "/actor/mbox"),
    "two identifiers": ({"actor": {"mbox": f"mailto:{canary()}@b.example", "openid": f"https://{canary()}"}}, "/actor"),
    "no IRI": ({"verb": {"id": canary()}}, "/verb/id"),
    "a display that is no map": ({"verb": {"id": "https://v.example", "display": canary()}}, "/verb/display"),
    "a wrong language": ({"verb": {"id": "https://v.example", "display": {"@": canary()}}}, "/verb/display"),
    "no UUID": ({"id": canary()}, "/id"),
    "no timestamp": ({"timestamp": canary()}, "/timestamp"),
    "no duration": ({"result": {"duration": canary()}}, "/result/duration"),
    "a score out of bounds": ({"result": {"score": {"scaled": 2}}}, "/result/score/scaled"),
    "an extension without IRI": ({"result": {"extensions": {"@": canary()}}}, "/result/extensions"),
    "an unknown objectType": ({"object": {"objectType": canary()}}, "/object/objectType"),
    "a long IRI": ({"verb": {"id": "https://v.example/" + CANARY * 3_000}}, "/verb/id"),
    "a slot": ({"actor": 0}, "/actor"),
}


@pytest.mark.parametrize("case", STATEMENTS)
@pytest.mark.before_storage
def test_a_bad_statement_is_refused_with_its_place(api: Api, case: str) -> None:
    changes, pointer = STATEMENTS[case]
    bad = {key: value for key, value in statement(**changes).items() if value is not GONE}
    told = refusal(api.post(bad))
    assert (told.status, told.pointer) == (400, pointer)
    told = refusal(api.post([statement(), bad]))
    assert (told.status, told.pointer) == (400, f"/1{pointer}")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_nothing_of_a_batch_is_recorded_when_one_of_it_is_bad(api: Api, at: int) -> None:
    batch = [statement(id=new_id()) for _ in range(3)]
    batch[at]["verb"] = {"id": canary()}
    assert refusal(api.post(batch)).pointer == f"/{at}/verb/id"
    for one in batch:
        assert api.get(statementId=one["id"]).status_code == 404
        assert api.get(activity=one["object"]["id"]).json()["statements"] == []


def test_an_id_twice_in_a_batch_is_refused(api: Api) -> None:
    one = new_id()
    told = refusal(api.post([statement(id=one), statement(), statement(id=one.upper())]))
    assert (told.status, told.pointer) == (400, "/2/id")
    assert api.get(statementId=one).status_code == 404


def test_an_id_that_is_taken_refuses_its_whole_batch(api: Api) -> None:
    taken = new_id()
    api.store(statement(id=taken))
    batch = [statement(id=new_id()), statement(id=taken), statement()]
    told = refusal(api.post(batch))
    assert (told.status, told.pointer) == (409, "/1/id")
    assert api.get(statementId=batch[0]["id"]).status_code == 404
    assert refusal(api.post(batch[1])).pointer == "/id"


# ------------------------------------------------------------------------------------------------- size, type, encoding


@pytest.mark.parametrize("charset", ["latin1", "utf-16", "UTF-7", '"iso-8859-1"', CANARY])
def test_json_in_another_charset_is_refused(api: Api, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    assert refusal(api.call("POST", "statements", data=json.dumps(statement()), headers=headers)).status == 415


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"'])
def test_utf_8_may_be_said(api: Api, charset: str) -> None:
    headers = {"Content-Type": f"application/json;charset={charset}"}
    must(200, api.call("POST", "statements", data=json.dumps(statement()), headers=headers))


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data; boundary=a", CANARY, ""])
def test_statements_of_another_type_are_refused(api: Api, media_type: str) -> None:
    response = api.call("POST", "statements", data=json.dumps(statement()), headers={"Content-Type": media_type})
    assert refusal(response).status in {400, 415}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity", CANARY])
def test_a_compressed_body_is_refused(api: Api, coding: str) -> None:
    plain = json.dumps(statement()).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(coding.lower(), bytes)(plain)
    for resource, media_type in (("statements", "application/json"), ("activities/state", "text/plain")):
        headers = {"Content-Type": media_type, "Content-Encoding": coding}
        assert refusal(api.call("POST", resource, data=packed, headers=headers)).status == 415


def test_a_body_that_says_it_is_too_large_is_refused_at_once(lrs: Griffel) -> None:
    answer = raw(
        lrs,
        "POST",
        "/xapi/statements",
        [*credential(lrs), "Content-Type: application/json", "Content-Length: 99999999"],
    )
    assert refused_raw(answer).status == 413


def test_a_body_that_turns_out_too_large_is_refused(lrs: Griffel) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    headers = [*credential(lrs), "Content-Type: application/json", "Transfer-Encoding: chunked"]
    answer = raw(lrs, "POST", "/xapi/statements", headers, chunk * 260 + b"0\r\n\r\n")
    assert refused_raw(answer).status == 413


# ----------------------------------------------------------------------------------------------------------- parameters

AGENTS = {
    "nothing": "",
    "no JSON": canary(),
    "null": "null",
    "an array": "[]",
    "no identifier": json.dumps({"name": canary()}),
    "two identifiers": json.dumps({"mbox": f"mailto:{canary()}@b.example", "openid": f"https://{canary()}.example"}),
    "a wrong mailbox": json.dumps({"mbox": canary()}),
    "an unknown property": json.dumps({"mbox": "mailto:a@b.example", canary(): 1}),
    "an anonymous group": json.dumps({"objectType": "Group", "member": [{"mbox": f"mailto:{canary()}@b.example"}]}),
    "an activity": json.dumps({"objectType": "Activity", "id": f"https://{canary()}.example"}),
    "a key twice": '{"mbox":"mailto:a@b.example","mbox":"mailto:canary@b.example"}',
    "a lone surrogate": '{"mbox":"mailto:a@b.example","name":"\\ud800"}',
    "deep": "[" * 3_000,
}


@pytest.mark.parametrize("case", AGENTS)
@pytest.mark.before_storage
def test_a_bad_agent_parameter_is_refused(api: Api, case: str) -> None:
    agent = AGENTS[case]
    activity = "https://school.example/a"
    asked = {
        "statements": {"agent": agent},
        "agents": {"agent": agent},
        "agents/profile": {"agent": agent},
        "activities/state": {"agent": agent, "activityId": activity},
    }
    for resource, params in asked.items():
        assert refusal(api.call("GET", resource, params)).status in {400, 413}, resource
    place = {"agent": agent, "activityId": activity, "stateId": "s"}
    for method in ("PUT", "POST", "DELETE"):
        assert refusal(api.call(method, "activities/state", place, data=b"{}", headers=JSON_TYPE)).status in {400, 413}


WORD = f"{CANARY}-word"
"""The same each time: it is part of tests' names."""

PARAMETERS = {
    "statementId": [WORD, "", "6690e6c9-3ef0-4ed3-8b37-7f3964730be", "{6690e6c9-3ef0-4ed3-8b37-7f3964730bee}"],
    "voidedStatementId": [WORD, ""],
    "registration": [WORD, ""],
    "verb": [WORD, "", "http://"],
    "activity": [WORD, "", " https://school.example"],
    "since": [WORD, "", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00-00:00"],
    "until": [WORD, ""],
    "limit": [WORD, "", "-1", "1.5", "1e3", "٣", "9" * 40],
    "format": [WORD, "", "IDS"],
    "ascending": [WORD, "", "1"],
    "attachments": [WORD],
    "related_agents": [WORD],
    "related_activities": [WORD],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in PARAMETERS.items() for value in values])
@pytest.mark.before_storage
def test_a_bad_parameter_is_refused_by_its_name(api: Api, name: str, value: str) -> None:
    told = refusal(api.call("GET", "statements", {name: value}))
    assert told.status == 400
    assert name in told.detail


@pytest.mark.parametrize(
    ("resource", "params"),
    [
        ("statements", {CANARY: "x"}),
        ("statements", {"Agent": "{}"}),
        ("statements", {"statementId": new_id(), "limit": "1"}),
        ("statements", {"statementId": new_id(), "voidedStatementId": new_id()}),
        ("about", {CANARY: "x"}),
        ("activities", {"activityId": "https://school.example/a", CANARY: "x"}),
        ("activities", {}),
        ("activities", {"activityId": canary()}),
        ("agents", {}),
        ("agents/profile", {"profileId": "p"}),
        ("activities/profile", {"profileId": "p"}),
        ("activities/state", {"stateId": "s"}),
        ("activities/profile", {"activityId": "https://school.example/a", "profileId": ""}),
        ("activities/profile", {"activityId": "https://school.example/a", "profileId": CANARY * 700}),
        ("activities/profile", {"activityId": "https://school.example/a", "since": canary()}),
        (
            "activities/profile",
            {"activityId": "https://school.example/a", "profileId": "p", "since": "2024-01-01T00:00:00Z"},
        ),
    ],
)
@pytest.mark.before_storage
def test_parameters_that_are_unknown_missing_or_do_not_go_together_are_refused(
    api: Api, resource: str, params: Json
) -> None:
    assert refusal(api.call("GET", resource, params)).status == 400


@pytest.mark.parametrize("name", ["limit", "agent", "statementId", CANARY])
def test_a_parameter_that_stands_twice_is_refused(lrs: Griffel, name: str) -> None:
    answer = raw(lrs, "GET", f"/xapi/statements?{name}=1&{name}=2", credential(lrs))
    assert refused_raw(answer).status == 400


@pytest.mark.parametrize(
    "query", ["statementId=%ff%fe", "verb=%ed%a0%80", "agent=%7B%22mbox%22%3A%22%ff%22%7D", "%ff=1", "%"]
)
def test_a_query_that_is_no_text_is_answered(lrs: Griffel, query: str) -> None:
    answer = raw(lrs, "GET", f"/xapi/statements?{query}", credential(lrs))
    assert answer.status in {200, 400}


@pytest.mark.parametrize("token", [CANARY, "A" * 100, "%ff", "%00", "..", "é", "A" * 7_000])
def test_a_more_that_is_none_of_ours_is_refused(lrs: Griffel, token: str) -> None:
    answer = raw(lrs, "GET", f"/xapi/statements/more/{quote(token, safe='%')}", credential(lrs))
    assert refused_raw(answer).status in {400, 404}


def test_a_more_of_another_credential_is_refused(lrs: Griffel, api: Api) -> None:
    activity = f"https://school.example/activity/{canary()}"
    api.store(*[statement(object={"id": activity}) for _ in range(3)])
    more = must(200, api.get(activity=activity, limit=2)).json()["more"]
    assert CANARY not in more
    own = lrs.key, lrs.secret
    other = Api(lrs.url, *lrs.credential("all"), api.version)
    lrs.key, lrs.secret = own
    assert refusal(other.more(more)).status == 400
    assert len(must(200, api.more(more)).json()["statements"]) == 1


@pytest.mark.parametrize("version", ["", "3.0.0", "1.1.0", "2", "2.0.0.0", "0.9", CANARY, "2.0.0, 2.0.0"])
def test_a_version_that_is_none_of_ours_is_refused(api: Api, version: str) -> None:
    assert refusal(api.call("GET", "statements", version=version)).status == 400


# ---------------------------------------------------------------------------------------------------------- credentials

AUTHORIZATIONS = {
    "nothing": None,
    "another scheme": b"Digest username=" + CANARY.encode(),
    "a scheme alone": b"Basic",
    "no base64": b"Basic !" + CANARY.encode(),
    "base64 without its end": b"Basic Zm9vOmJhc",
    "no colon": b"Basic " + base64.b64encode(CANARY.encode()),
    "no UTF-8": b"Basic " + base64.b64encode(b"\xff\xfe:\xff"),
    "wrong": b"Basic " + base64.b64encode(f"{CANARY}:{CANARY}".encode()),
    "letters beyond ASCII": "Basic é".encode(),
    "bytes that are no text": b"Basic \xff\xfe",
    "a token": b"Bearer " + CANARY.encode(),
    "a token beyond ASCII": b"Bearer \xff\xfe",
    "very long": b"Basic " + b"A" * 10_000,
}


@pytest.mark.parametrize("case", AUTHORIZATIONS)
def test_a_bad_authorization_is_refused(lrs: Griffel, case: str) -> None:
    value = AUTHORIZATIONS[case]
    headers = [b"X-Experience-API-Version: 2.0.0"] + ([b"Authorization: " + value] if value is not None else [])
    answer = raw(lrs, "GET", "/xapi/statements", headers)
    assert refused_raw(answer).status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_key_and_secret_may_not_be_mixed(lrs: Griffel) -> None:
    for pair in ((lrs.key, lrs.secret[:-1]), (lrs.key, ""), ("", lrs.secret), (lrs.secret, lrs.key)):
        with requests.Session() as session:
            session.trust_env = False
            response = session.get(f"{lrs.url}/statements", auth=pair, headers={"X-Experience-API-Version": "2.0.0"})
            assert refusal(response).status == 401


# ------------------------------------------------------------------------------------------------------------ multipart

CONTENT = f"{CANARY} attached".encode()
SHA2 = hashlib.sha256(CONTENT).hexdigest()
BINARY = {"Content-Type": "text/plain", "Content-Transfer-Encoding": "binary", "X-Experience-API-Hash": SHA2}


def with_attachment(**more: Any) -> Json:
    return statement(id=new_id(), attachments=[attachment(CONTENT, fileUrl=GONE, **more)])


def parts(*further: tuple[Mapping[str, str], bytes], first: Json | None = None) -> bytes:
    return multipart([(JSON_TYPE, json.dumps(first or with_attachment()).encode()), *further])


def lines(*found: bytes) -> bytes:
    return b"\r\n".join(found) + b"\r\n"


MULTIPARTS = {
    "nothing": b"",
    "no boundary in it": CONTENT,
    "a boundary alone": b"--griffel-part\r\n",
    "an end alone": b"--griffel-part--\r\n",
    "cut off in a header": b"--griffel-part\r\nContent-Type: applica",
    "cut off in the statements": parts()[:60],
    "without its end": parts((BINARY, CONTENT))[:-30],
    "a header without colon": lines(b"--griffel-part", b"Content-Type", b"", b"{}", b"--griffel-part--"),
    "a header without name": lines(b"--griffel-part", b": application/json", b"", b"{}", b"--griffel-part--"),
    "a header that is too long": lines(b"--griffel-part", b"X-A: " + b"a" * 100_000, b"", b"{}", b"--griffel-part--"),
    "too many headers": lines(
        b"--griffel-part", *[b"X-%d: a" % n for n in range(5_000)], b"", b"{}", b"--griffel-part--"
    ),
    "a header beyond ASCII": lines(b"--griffel-part", b"Content-Type: \xff\xfe", b"", b"{}", b"--griffel-part--"),
    "statements of another type": multipart([({"Content-Type": "text/plain"}, json.dumps(with_attachment()).encode())]),
    "statements without a type": multipart([({}, json.dumps(with_attachment()).encode())]),
    "statements that are no JSON": multipart([(JSON_TYPE, CANARY.encode())]),
    "an attachment first": multipart([(BINARY, CONTENT), (JSON_TYPE, json.dumps(with_attachment()).encode())]),
    "no attachment": parts(),
    "one that nobody speaks of": parts((BINARY, CONTENT), (BINARY | {"X-Experience-API-Hash": "a" * 64}, b"x")),
    "the same twice": parts((BINARY, CONTENT), (BINARY, CONTENT)),
    "without its hash": parts(({k: v for k, v in BINARY.items() if "Hash" not in k}, CONTENT)),
    "without its encoding": parts(({k: v for k, v in BINARY.items() if "Encoding" not in k}, CONTENT)),
    "in base64": parts((BINARY | {"Content-Transfer-Encoding": "base64"}, base64.b64encode(CONTENT))),
    "other bytes than its hash": parts((BINARY, CONTENT + b"!")),
    "fewer bytes than it says": parts((BINARY | {"Content-Length": "500"}, CONTENT)),
    "more bytes than it says": parts((BINARY | {"Content-Length": "3"}, CONTENT)),
    "a negative length": parts((BINARY | {"Content-Length": "-5"}, CONTENT)),
    "a length that is none": parts((BINARY | {"Content-Length": CANARY}, CONTENT)),
    "a part with parts": parts(({"Content-Type": "multipart/mixed; boundary=inner"}, b"--inner--")),
    "a part with parts and no boundary": parts(({"Content-Type": "multipart/mixed"}, b"--inner--")),
}


@pytest.mark.parametrize("case", MULTIPARTS)
@pytest.mark.before_storage
def test_bad_multipart_is_refused(api: Api, case: str) -> None:
    told = refusal(api.call("POST", "statements", data=MULTIPARTS[case], headers=MULTIPART))
    assert told.status in {400, 413}


@pytest.mark.parametrize(
    "parameters",
    ["", "; boundary=", '; boundary="', "; boundary=" + "x" * 200, "; xboundary=griffel-part", "; boundary=é"],
)
def test_a_multipart_without_a_boundary_that_is_one_is_refused(api: Api, parameters: str) -> None:
    headers = {"Content-Type": ("multipart/mixed" + parameters).encode()}
    assert refusal(api.call("POST", "statements", data=parts((BINARY, CONTENT)), headers=headers)).status == 400  # type: ignore[arg-type]


def test_the_statements_of_a_multipart_are_utf_8_too(api: Api) -> None:
    first = {"Content-Type": "application/json; charset=utf-16"}
    body = multipart([(first, json.dumps(statement()).encode())])
    assert refusal(api.call("POST", "statements", data=body, headers=MULTIPART)).status in {400, 415}


def test_a_bad_statement_in_a_multipart_has_its_place(api: Api) -> None:
    bad = with_attachment()
    bad["verb"] = {"id": canary()}
    told = refusal(api.call("POST", "statements", data=parts((BINARY, CONTENT), first=bad), headers=MULTIPART))
    assert (told.status, told.pointer) == (400, "/verb/id")
    other = with_attachment()
    told = refusal(api.call("POST", "statements", data=parts((BINARY, b"other bytes"), first=other), headers=MULTIPART))
    assert (told.status, told.pointer) == (400, "/attachments/0")
    assert api.get(statementId=other["id"]).status_code == 404


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def base64url(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


SIGNATURES = {
    "nothing": b"",
    "no JWS": CANARY.encode(),
    "two parts": b"a.b",
    "empty parts": b"..",
    "no base64": b"!.!.!",
    "bytes": b"\xff\xfe.\xff.\xff",
    "a header that is a number": f"{base64url(5)}.{base64url({})}.AA".encode(),
    "a header that is null": f"{base64url(None)}.{base64url({})}.AA".encode(),
    "a header that is a list": f"{base64url([])}.{base64url({})}.AA".encode(),
    "no algorithm": f"{base64url({})}.{base64url({})}.AA".encode(),
    "an algorithm that is a list": f"{base64url({'alg': []})}.{base64url({})}.AA".encode(),
    "no payload": f"{base64url({'alg': 'RS256'})}..AA".encode(),
    "a certificate that is null": f"{base64url({'alg': 'RS256', 'x5c': None})}.{base64url({})}.AA".encode(),
    "a certificate that is none": f"{base64url({'alg': 'RS256', 'x5c': ['AAAA']})}.{base64url({})}.AA".encode(),
    "a certificate beyond ASCII": f"{base64url({'alg': 'RS256', 'x5c': ['é']})}.{base64url({})}.AA".encode(),
}


@pytest.mark.parametrize("case", SIGNATURES)
@pytest.mark.before_storage
def test_a_bad_signature_is_refused(api: Api, case: str) -> None:
    told = refusal(api.call("POST", "statements", **signed_request(statement(), SIGNATURES[case])))
    assert (told.status, told.pointer) == (400, "/attachments/0")


PAYLOADS: dict[str, Json] = {
    "a timestamp that is none": {"timestamp": "x" * 20 + "Z"},
    "a timestamp beyond the years": {"timestamp": "9999-12-31T23:59:60-14:00"},
    "a timestamp that is a number": {"timestamp": 5},
    "an object that is a number": {"object": 5},
    "an actor that is a list": {"actor": []},
    "an account that is a number": {"actor": {"account": 5}},
    "a hash that is a number": {"actor": {"mbox_sha1sum": 5}},
    "members that are numbers": {"actor": {"objectType": "Group", "member": [1, 2]}},
    "a context that is a list": {"context": []},
    "context activities that are a number": {"context": {"contextActivities": 5}},
    "context agents that are numbers": {"context": {"contextAgents": [5]}},
    "attachments that are a number": {"attachments": 5},
    "another statement": {"verb": {"id": "https://school.example/verb/other"}},
    "an authority that is a list": {"authority": []},
    "an authority whose mailbox is a number": {"authority": {"mbox": 5}},
}


@pytest.mark.parametrize("case", PAYLOADS)
@pytest.mark.before_storage
def test_a_signature_over_something_that_is_not_the_statement_is_refused(api: Api, signer: Signer, case: str) -> None:
    sent = statement(id=new_id())
    payload = json.dumps(sent | PAYLOADS[case]).encode()
    told = refusal(api.call("POST", "statements", **signed_request(sent, signer.jws(payload))))
    assert (told.status, told.pointer) == (400, "/attachments/0")
    assert api.get(statementId=sent["id"]).status_code == 404


@pytest.mark.parametrize("change", ["authority", "case of the mailbox's domain", "identifier's hash in capitals"])
def test_a_signature_that_names_people_in_another_form_holds(api: Api, signer: Signer, change: str) -> None:
    """What a comparison passes over (decision 12) may differ between the statement and what was signed."""
    sent = statement(id=new_id())
    signed = copy.deepcopy(sent)
    if change == "authority":
        signed["authority"] = {"objectType": "Agent", "mbox": f"mailto:{canary()}@school.example"}
    elif change == "case of the mailbox's domain":
        signed["actor"]["mbox"] = signed["actor"]["mbox"].replace("school.example", "SCHOOL.example")
    else:
        sent["actor"] = {"mbox_sha1sum": hashlib.sha1(new_id().encode(), usedforsecurity=False).hexdigest()}
        signed["actor"] = {"mbox_sha1sum": sent["actor"]["mbox_sha1sum"].upper()}
    must(200, api.call("POST", "statements", **signed_request(sent, signer.jws(json.dumps(signed).encode()))))
    assert "attachments" in api.fetch(sent["id"])


# ------------------------------------------------------------------------------------------------------------ documents


def place(**more: str) -> Json:
    return {
        "activityId": "https://school.example/a",
        "agent": {"mbox": f"mailto:{new_id()}@b.example"},
        "stateId": new_id(),
    } | more


@pytest.mark.parametrize("media_type", [b"text/\xff\xfe", "text/é".encode(), b"canary", b"text/plain;" + b"x" * 5_000])
def test_a_document_of_an_odd_type_is_refused_or_comes_back(api: Api, media_type: bytes) -> None:
    where = place()
    headers: Any = {"Content-Type": media_type, "If-None-Match": "*"}
    put = api.call("PUT", "activities/state", where, data=b"content", headers=headers)
    assert put.status_code in {204, 400, 415}, put.text
    got = api.call("GET", "activities/state", where)
    assert got.status_code == (200 if put.ok else 404)
    assert got.content == b"content" or not put.ok


@pytest.mark.parametrize("body", [b"[]", b"1", b'"canary"', b"null"])
def test_what_is_no_object_is_not_merged(api: Api, body: bytes) -> None:
    where = place()
    assert refusal(api.call("POST", "activities/state", where, data=body, headers=JSON_TYPE)).status == 400
    must(
        204,
        api.call(
            "PUT",
            "activities/state",
            where,
            data=b"canary text",
            headers={"Content-Type": "text/plain", "If-None-Match": "*"},
        ),
    )
    assert refusal(api.call("POST", "activities/state", where, data=b"{}", headers=JSON_TYPE)).status == 400
    assert api.call("GET", "activities/state", where).content == b"canary text"


# --------------------------------------------------------------------------------------------- alternate request syntax

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FORMS = {
    "nothing": b"",
    "no content": urlencode({"stateId": CANARY}).encode(),
    "not a form": CANARY.encode(),
    "a field twice": b"content=1&content=2",
    "a broken escape": b"content=%zz&agent=%ff",
    "bytes": b"\xff\xfe=\xff",
    "too many fields": b"&".join(b"f%d=1" % n for n in range(500)),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_bad_form_is_refused(lrs: Griffel, case: str) -> None:
    api = Api(lrs.url, lrs.key, lrs.secret, "1.0.3")
    response = api.call("POST", "activities/state", {"method": "PUT"}, data=FORMS[case], headers=FORM)
    assert refusal(response).status == 400


@pytest.mark.parametrize("method", [CANARY, "", "PATCH", "CONNECT"])
def test_a_form_for_an_unknown_method_is_refused(lrs: Griffel, method: str) -> None:
    api = Api(lrs.url, lrs.key, lrs.secret, "1.0.3")
    assert refusal(api.call("POST", "statements", {"method": method}, data=b"content=1", headers=FORM)).status == 400


@pytest.mark.parametrize(
    "media_type", ["text/plain\r\nX-Canary: 1", "text/plain\n", "text/plain\0", "text/plain\x7f", "\ttext/plain"]
)
def test_a_header_in_a_form_is_held_to_the_rules_of_headers(lrs: Griffel, media_type: str) -> None:
    api = Api(lrs.url, lrs.key, lrs.secret, "1.0.3")
    where = place()
    fields = {"stateId": where["stateId"], "activityId": where["activityId"], "agent": json.dumps(where["agent"])}
    body = urlencode({**fields, "content": "content", "Content-Type": media_type})
    put = api.call("POST", "activities/state", {"method": "PUT"}, data=body, headers=FORM)
    got = api.call("GET", "activities/state", where)
    assert "X-Canary" not in got.headers
    if put.ok:
        assert (got.status_code, got.content) == (200, b"content")
    else:
        assert (refusal(put).status, got.status_code) == (400, 404)


# ---------------------------------------------------------------------------------------------------------- raw sockets


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes
    rest: bytes
    """What came after the answer, which nothing should."""


def credential(lrs: Griffel) -> list[str]:
    return [f"Authorization: {lrs.authorization}", "X-Experience-API-Version: 2.0.0"]


def raw(lrs: Griffel, method: str, target: str, headers: list[Any], body: bytes = b"") -> Answer:
    """Send a request byte for byte, and read what comes until the server closes or one answer is whole."""
    fields = [field if isinstance(field, bytes) else field.encode() for field in ("Host: localhost", *headers)]
    return send(lrs, b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), *fields, b"", b""]) + body)


def send(lrs: Griffel, data: bytes, answers: int = 1) -> Answer:
    with socket.create_connection(("127.0.0.1", lrs.port), timeout=ANSWER_WAIT_S) as connection:
        received = b""
        with contextlib.suppress(
            ConnectionError
        ):  # refused before all of it was sent; the answer is there all the same
            connection.sendall(data)
        while not _whole(received, answers):
            try:
                piece = connection.recv(65_536)
            except ConnectionResetError:
                break
            if not piece:
                break
            received += piece
    assert received, "closed without an answer"
    return _parsed(received)


def _whole(received: bytes, answers: int) -> bool:
    for _ in range(answers):
        head, separator, content = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        if not separator or length is None or len(content) < int(length[1]):
            return False
        received = content[int(length[1]) :]
    return True


def _parsed(received: bytes) -> Answer:
    head, _, content = received.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    named = requests.structures.CaseInsensitiveDict(field.split(": ", 1) for field in fields)
    length = int(named.get("Content-Length", len(content)))
    return Answer(int(first.split()[1]), named, content[:length], content[length:])


def refused_raw(answer: Answer) -> Refusal:
    assert CANARY.encode() not in answer.rest
    return checked_refusal(answer.status, answer.headers, answer.content)


def body_of(one: Json) -> bytes:
    return json.dumps(one).encode()


def smuggled(lrs: Griffel) -> tuple[bytes, str]:
    """A whole request that records a statement, hidden in another's body; the activity by which it would be found."""
    activity = f"https://school.example/activity/{canary('smuggled')}"
    body = body_of(statement(object={"id": activity}))
    head = [*credential(lrs), "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(["POST /xapi/statements HTTP/1.1", *head, "", ""]).encode() + body, activity


LENGTHS = {
    "length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunks and length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "two lengths": ["Content-Length: 5", "Content-Length: 6"],
    "a list of lengths": ["Content-Length: 5, 6"],
    "a signed length": ["Content-Length: +5"],
    "a negative length": ["Content-Length: -5"],
    "a length in hexadecimal": ["Content-Length: 0x5"],
    "a length that is none": [f"Content-Length: {CANARY}"],
    "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunks that are none": [f"Transfer-Encoding: {CANARY}"],
    "chunks not last": ["Transfer-Encoding: chunked, gzip"],
    "a blank before the colon": ["Content-Length : 5"],
    "a vertical tab": ["Transfer-Encoding: \x0bchunked", "Content-Length: 5"],
}


@pytest.mark.parametrize("case", LENGTHS)
def test_a_request_whose_end_is_in_doubt_is_refused_and_hides_no_other(lrs: Griffel, any_api: Api, case: str) -> None:
    hidden, activity = smuggled(lrs)
    answer = raw(
        lrs,
        "POST",
        "/xapi/statements",
        [*credential(lrs), "Content-Type: application/json", *LENGTHS[case]],
        b"0\r\n\r\n" + hidden,
    )
    assert refused_raw(answer).status in {400, 413, 415, 501}
    assert b"HTTP/1" not in answer.rest
    assert any_api.get(activity=activity).json()["statements"] == []


HEADERS = {
    "a bare CR": b"X-Custom: canary\rX-Other: canary",
    "a bare LF": b"X-Custom: canary\nX-Other: canary",
    "a NUL": b"X-Custom: canary\0",
    "a folded line": b"X-Custom: canary\r\n canary",
    "no colon": b"canary",
    "no name": b": canary",
    "a blank in the name": b"X Custom: canary",
    "a long value": b"X-Custom: " + b"canary" * 5_000,
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_broken_header_is_refused(lrs: Griffel, case: str) -> None:
    answer = raw(lrs, "GET", "/xapi/statements", [*credential(lrs), HEADERS[case]])
    assert refused_raw(answer).status in {400, 431}


def test_too_many_headers_are_refused(lrs: Griffel) -> None:
    answer = raw(lrs, "GET", "/xapi/statements", [*credential(lrs), *[f"X-{n}: {CANARY}" for n in range(2_000)]])
    assert refused_raw(answer).status in {400, 431}


LINES = {
    "no HTTP": b"canary canary canary\r\n\r\n",
    "an unknown version": b"GET /canary HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "an unknown method": b"CANARY /xapi/statements HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a bare LF": b"GET /xapi/canary HTTP/1.1\nHost: localhost\n\n",
    "two blanks": b"GET  /canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL in the path": b"GET /canary\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the path": b"GET /xapi/statements/more/canary\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bytes in the query": b"GET /xapi/statements?verb=canary\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path too long": b"GET /xapi/statements?verb=" + b"canary" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown address": b"GET /xapi/canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address outside": b"GET /canary/canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an expectation": (
        b"POST /xapi/statements HTTP/1.1\r\nHost: localhost\r\nExpect: canary\r\nContent-Length: 2\r\n\r\n{}"
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_a_broken_request_is_refused(lrs: Griffel, case: str) -> None:
    assert refused_raw(send(lrs, LINES[case])).status in {400, 401, 404, 405, 414, 417}


CHUNKS = {
    "no number": b"canary\r\n{}\r\n0\r\n\r\n",
    "a bad one after a good one": b'5\r\n{"act\r\ncanary\r\n0\r\n\r\n',
    "too long for its number": b"1\r\ncanary\r\n0\r\n\r\n",
    "a huge number": b"fffffffffffffffff\r\ncanary\r\n0\r\n\r\n",
    "a bare LF": b"2\n{}\n0\n\n",
}


@pytest.mark.parametrize("case", CHUNKS)
def test_broken_chunks_are_refused(lrs: Griffel, case: str) -> None:
    headers = [*credential(lrs), "Content-Type: application/json", "Transfer-Encoding: chunked"]
    assert refused_raw(raw(lrs, "POST", "/xapi/statements", headers, CHUNKS[case])).status in {400, 413}


def test_a_body_that_breaks_off_records_nothing(lrs: Griffel, any_api: Api) -> None:
    one = statement(id=new_id())
    body = body_of(one)
    head = [*credential(lrs), "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body) + 1}"]
    with socket.create_connection(("127.0.0.1", lrs.port), timeout=ANSWER_WAIT_S) as connection:
        connection.sendall("\r\n".join(["POST /xapi/statements HTTP/1.1", *head, "", ""]).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    assert any_api.get(statementId=one["id"]).status_code == 404


def test_requests_sent_together_are_answered_each(lrs: Griffel) -> None:
    head = "\r\n".join(["GET /xapi/about HTTP/1.1", "Host: localhost", "", ""]).encode()
    answer = send(lrs, head * 3, answers=3)
    assert answer.status == 200
    assert answer.rest.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("language", [b"\xff\xfe", "é".encode(), b"nl;q=" + b"9" * 500, b"," * 5_000, b"*;q=nan"])
def test_any_accept_language_gives_pages_that_go_on(api: Api, language: bytes) -> None:
    activity = f"https://school.example/activity/{canary()}"
    api.store(*[statement(object={"id": activity}) for _ in range(3)])
    params = {"activity": activity, "limit": 2, "format": "canonical"}
    page = must(200, api.call("GET", "statements", params, headers={"Accept-Language": language}))  # type: ignore[dict-item]
    assert len(must(200, api.more(page.json()["more"])).json()["statements"]) == 1
