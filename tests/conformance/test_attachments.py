"""Data 2.4.11 and Communication 1.5: attachments, and the multipart/mixed requests that carry them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import requests

from .builders import GONE, attachment, identifiers, new_id, statement
from .client import Api, accepted, multipart, must, parts_of, refused, requirement, row

MIXED = {"Content-Type": "multipart/mixed; boundary=griffel-part"}
JSON = {"Content-Type": "application/json"}
BINARY = b"\x00\xff report \r\n--griffel\r\n\x80"

WRONG = [
    row("XAPI-00107", "no usageType", {"usageType": GONE}),
    *(row("XAPI-00107", f"usageType {value}", {"usageType": value}) for value in ["should fail", 123]),
    row("XAPI-00106", "no display", {"display": GONE}),
    *(row("XAPI-00106", f"display {value}", {"display": value}) for value in ["text", 123, {"en": 1}]),
    *(row("XAPI-00106", f"description {value}", {"description": value}) for value in ["text", 123]),
    row("XAPI-00105", "no contentType", {"contentType": GONE}),
    *(row("XAPI-00105", f"contentType {value}", {"contentType": value}) for value in [123, {"key": "text/plain"}]),
    row("XAPI-00102", "no length", {"length": GONE}),
    *(row("XAPI-00102", f"length {value!r}", {"length": value}) for value in ["27", "many", 1.5, -1, True]),
    row("XAPI-00103", "no sha2", {"sha2": GONE}),
    *(row("XAPI-00103", f"sha2 {value}", {"sha2": value}) for value in [123, {"key": "a"}]),
    *(row("XAPI-00104", f"fileUrl {value}", {"fileUrl": value}) for value in ["should fail", 123]),
]


@pytest.mark.parametrize("more", WRONG)
def test_a_wrong_attachment_is_refused(api: Api, more: dict[str, Any]) -> None:
    refused(api, statement(attachments=[attachment(**more)]))


@pytest.mark.parametrize("value", [row("XAPI-00025", "an object", attachment()), row("XAPI-00025", "a string", "a")])
def test_attachments_that_are_no_list_are_refused(api: Api, value: Any) -> None:
    refused(api, statement(attachments=value))


@requirement("XAPI-00025")
@pytest.mark.parametrize("value", [123, "report", ["report"]], ids=str)
def test_an_attachment_that_is_no_object_is_refused(api: Api, value: Any) -> None:
    refused(api, statement(attachments=[value]))


@requirement("XAPI-00025", "XAPI-00104", "XAPI-00127")
def test_an_attachment_that_lies_elsewhere_needs_no_part(api: Api) -> None:
    sent = statement(attachments=[attachment(), attachment(description=GONE)])
    accepted(api, sent)
    must(200, api.call("POST", "statements", data=multipart([(JSON, json.dumps(sent).encode())]), headers=MIXED))


def part_headers(content: bytes, **more: Any) -> dict[str, str]:
    headers = {
        "Content-Type": "text/plain",
        "Content-Transfer-Encoding": "binary",
        "X-Experience-API-Hash": hashlib.sha256(content).hexdigest(),
    }
    return {name: value for name, value in (headers | more).items() if value is not GONE}


def sent_along(*contents: bytes) -> dict[str, Any]:
    return statement(id=new_id(), attachments=[attachment(content, fileUrl=GONE) for content in contents])


def body_of(sent: Any, *contents: bytes) -> list[tuple[dict[str, str], bytes]]:
    return [(dict(JSON), json.dumps(sent).encode()), *((part_headers(content), content) for content in contents)]


def send(api: Api, parts: list[tuple[dict[str, str], bytes]], **headers: str) -> requests.Response:
    return api.call("POST", "statements", data=multipart(parts), headers=MIXED | headers)


@requirement("XAPI-00127", "XAPI-00161", "XAPI-00167")
@pytest.mark.parametrize("content", [b"a report", b"", BINARY, b"x" * 300_000], ids=["text", "empty", "binary", "long"])
def test_an_attachment_comes_back_byte_for_byte(api: Api, content: bytes) -> None:
    sent = sent_along(content)
    assert must(200, send(api, body_of(sent, content))).json() == [sent["id"]]
    answer = must(200, api.get(statementId=sent["id"], attachments=True))
    assert answer.headers["Content-Type"].startswith("multipart/mixed")
    [(first, body), (headers, received)] = parts_of(answer)
    assert first["content-type"].startswith("application/json")
    assert json.loads(body)["attachments"] == sent["attachments"]
    assert received == content
    assert headers["x-experience-api-hash"] == hashlib.sha256(content).hexdigest()
    assert headers["content-transfer-encoding"] == "binary"
    assert headers["content-type"] == "text/plain"


@requirement("XAPI-00103")
@pytest.mark.parametrize("algorithm", ["sha224", "sha384", "sha512"])
def test_an_attachment_may_come_with_any_sha_2_sum(api: Api, algorithm: str) -> None:
    content = b"what was handed in"
    sha2 = hashlib.new(algorithm, content).hexdigest()

    def parts_for(sent: Any, handed_in: bytes) -> list[tuple[dict[str, str], bytes]]:
        return [*body_of(sent), (part_headers(content, **{"X-Experience-API-Hash": sha2}), handed_in)]

    sent, other = (statement(id=new_id(), attachments=[attachment(content, fileUrl=GONE, sha2=sha2)]) for _ in range(2))
    must(200, send(api, parts_for(sent, content)))
    _, (headers, given) = parts_of(must(200, api.get(statementId=sent["id"], attachments=True)))
    assert (headers["x-experience-api-hash"], given) == (sha2, content)
    must(400, send(api, parts_for(other, b"another")))


@requirement("XAPI-00167", "XAPI-00161")
def test_a_query_brings_the_attachments_of_all_it_finds(api: Api) -> None:
    actor = {"mbox": identifiers()["mbox"]}
    batch = [sent_along(content) | {"actor": actor} for content in (b"one", b"two")]
    must(200, send(api, body_of(batch, b"one", b"two")))
    [(_, body), *others] = parts_of(must(200, api.get(agent=actor, attachments=True)))
    assert {found["id"] for found in json.loads(body)["statements"]} == {sent["id"] for sent in batch}
    assert {content for _, content in others} == {b"one", b"two"}


@requirement("XAPI-00161", "XAPI-00165")
@pytest.mark.parametrize("more", [{}, {"attachments": False}], ids=["absent", "false"])
def test_no_attachment_comes_unasked(api: Api, more: dict[str, bool]) -> None:
    sent = sent_along(b"a report")
    must(200, send(api, body_of(sent, b"a report")))
    for params in ({"statementId": sent["id"]}, {"agent": sent["actor"]}):
        answer = must(200, api.get(**params, **more))
        assert answer.headers["Content-Type"].split(";")[0] == "application/json"
        assert answer.json()


@requirement("XAPI-00127")
def test_a_multipart_request_without_attachments_is_accepted(api: Api) -> None:
    must(200, send(api, body_of(statement())))
    sent = statement(id=new_id())
    params = {"statementId": sent["id"]}
    must(204, api.call("PUT", "statements", params, data=multipart(body_of(sent)), headers=MIXED))


@requirement("XAPI-00127")
def test_two_statements_may_share_an_attachment(api: Api) -> None:
    batch = [sent_along(b"shared"), sent_along(b"shared")]
    must(200, send(api, body_of(batch, b"shared")))
    for sent in batch:
        assert parts_of(api.get(statementId=sent["id"], attachments=True))[1][1] == b"shared"


@requirement("XAPI-00127")
@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=griffel-part", "text/plain", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_refused(api: Api, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    must(400, send(api, body_of(sent_along(b"a report"), b"a report"), **headers))
    elsewhere = json.dumps(statement(attachments=[attachment()]))
    must(400, api.call("POST", "statements", data=elsewhere, headers=headers))


def first_part(headers: dict[str, str]) -> list[tuple[dict[str, str], bytes]]:
    [(_, body), *others] = body_of(sent_along(b"a report"), b"a report")
    return [(headers, body), *others]


def second_part(**more: Any) -> list[tuple[dict[str, str], bytes]]:
    [first, (_, content)] = body_of(sent_along(b"a report"), b"a report")
    return [first, (part_headers(content, **more), content)]


BAD_PARTS = [
    row("XAPI-00128", "a part too many", body_of(sent_along(b"one"), b"one", b"two")),
    row("XAPI-00128", "a part where none is announced", body_of(statement(), b"one")),
    row("XAPI-00129", "a part that is missing", body_of(sent_along(b"one", b"two"), b"one")),
    row("XAPI-00129", "no part at all", body_of(sent_along(b"one"))),
    row("XAPI-00134", "statements as text", first_part({"Content-Type": "text/plain"})),
    row("XAPI-00134", "statements without a type", first_part({})),
    row("XAPI-00134", "the statements last", list(reversed(body_of(sent_along(b"one"), b"one")))),
    row("XAPI-00133", "statements in two parts", body_of(sent_along(b"one")) + body_of(sent_along(b"one"), b"one")),
    row("XAPI-00132", "no hash", second_part(**{"X-Experience-API-Hash": GONE})),
    row("XAPI-00132", "the hash of something else", second_part(**{"X-Experience-API-Hash": "b0" * 32})),
    row("XAPI-00132", "a content of another hash", [*body_of(sent_along(b"one")), (part_headers(b"one"), b"two")]),
    row("XAPI-00135", "no transfer encoding", second_part(**{"Content-Transfer-Encoding": GONE})),
    row("XAPI-00135", "another transfer encoding", second_part(**{"Content-Transfer-Encoding": "base64"})),
]


@pytest.mark.parametrize("parts", BAD_PARTS)
def test_bad_parts_are_refused(api: Api, parts: list[tuple[dict[str, str], bytes]]) -> None:
    must(400, send(api, parts))


def without_boundary_between() -> bytes:
    first, second = multipart(body_of(sent_along(b"one"), b"one")).split(b"--griffel-part\r\n")[1:]
    return b"--griffel-part\r\n" + first + second


GOOD = multipart(body_of(sent_along(b"one"), b"one"))
BAD_BOUNDARIES = [
    row("XAPI-00131", "no boundary in the body", MIXED, GOOD.replace(b"--griffel-part", b"")),
    row("XAPI-00131", "another boundary in the body", MIXED, GOOD.replace(b"griffel-part", b"other")),
    row("XAPI-00130", "no boundary between the parts", MIXED, without_boundary_between()),
    row("XAPI-00130", "no boundary in the header", {"Content-Type": "multipart/mixed"}, GOOD),
    row("XAPI-00130", "an empty boundary in the header", {"Content-Type": "multipart/mixed; boundary="}, GOOD),
    row("XAPI-00131", "no last boundary", MIXED, GOOD.removesuffix(b"--griffel-part--\r\n")),
    row("XAPI-00131", "an empty body", MIXED, b""),
]


@pytest.mark.parametrize(("headers", "body"), BAD_BOUNDARIES)
def test_bad_boundaries_are_refused(api: Api, headers: dict[str, str], body: bytes) -> None:
    must(400, api.call("POST", "statements", data=body, headers=headers))


@requirement("XAPI-00129")
def test_json_alone_cannot_carry_an_attachment(api: Api) -> None:
    refused(api, sent_along(b"a report"))


@requirement("XAPI-00128", "XAPI-00182")
def test_a_refused_multipart_request_stores_nothing(api: Api) -> None:
    sent = sent_along(b"one")
    must(400, send(api, body_of(sent, b"one", b"two")))
    must(404, api.get(statementId=sent["id"]))
