"""Data 2.6: signed statements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .builders import agent, full, new_id, statement
from .client import Api, must, only, parts_of, requirement, row
from .signing import USAGE, Signer, base64url, signed_request


def send(api: Api, sent: dict[str, Any], jws: bytes | None, **more: Any) -> int:
    return api.call("POST", "statements", **signed_request(sent, jws, **more)).status_code


def signable(**more: Any) -> dict[str, Any]:
    return statement(id=new_id(), timestamp="2024-02-29T08:30:00.123Z", **more)


def as_json(sent: dict[str, Any]) -> bytes:
    return json.dumps(sent).encode()


@requirement("XAPI-00115", "XAPI-00117")
@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_each_algorithm_is_accepted_and_the_signature_kept(api: Api, signer: Signer, algorithm: str) -> None:
    sent = signable()
    jws = signer.jws(as_json(sent), algorithm)
    assert send(api, sent, jws) == 200
    [(_, body), (headers, content)] = parts_of(must(200, api.get(statementId=sent["id"], attachments=True)))
    assert content == jws
    assert headers["content-type"] == "application/octet-stream"
    assert json.loads(body)["attachments"][0]["usageType"] == USAGE


@requirement("XAPI-00115")
def test_a_signature_needs_no_certificate(api: Api, signer: Signer) -> None:
    sent = signable()
    assert send(api, sent, signer.jws(as_json(sent), x5c=None)) == 200


@requirement("XAPI-00116")
def test_any_serialization_of_the_same_statement_may_be_signed(api: Api, signer: Signer) -> None:
    sent = full() | {"id": new_id()}
    payload = json.dumps(dict(reversed(sent.items())), indent=2, ensure_ascii=False).encode()
    assert send(api, sent, signer.jws(payload)) == 200


@requirement("XAPI-00116")
def test_a_long_statement_may_be_signed(api: Api, signer: Signer) -> None:
    sent = signable(result={"response": "word " * 20_000})
    assert send(api, sent, signer.jws(as_json(sent))) == 200


@requirement("XAPI-00117")
@pytest.mark.parametrize("algorithm", ["HS256", "none", "ES256", "PS256", "rs256", ""])
def test_another_algorithm_is_refused(api: Api, signer: Signer, algorithm: str) -> None:
    sent = signable()
    assert send(api, sent, signer.jws(as_json(sent), algorithm)) == 400


@requirement("XAPI-00115")
def test_another_content_type_is_refused(api: Api, signer: Signer) -> None:
    sent = signable()
    jws = signer.jws(as_json(sent))
    assert send(api, sent, jws, content_type="text/plain; charset=ascii") == 400


@requirement("XAPI-00115")
def test_an_announced_signature_must_be_sent(api: Api) -> None:
    assert send(api, signable(), None) == 400


NO_JWS = [
    row("XAPI-00115", "empty", b""),
    row("XAPI-00115", "no JWS", b"this is no signature"),
    row("XAPI-00115", "two parts", b"e30.e30"),
    row("XAPI-00115", "no base64", b"!!!.???.###"),
    row("XAPI-00115", "a header that is no JSON", f"{base64url(b'{')}.e30.e30".encode()),
    row("XAPI-00115", "a header that is a list", f"{base64url(b'[]')}.e30.e30".encode()),
    row("XAPI-00115", "a header without algorithm", b"e30.e30.e30"),
]


@pytest.mark.parametrize("jws", NO_JWS)
def test_what_is_no_jws_is_refused(api: Api, jws: bytes) -> None:
    assert send(api, signable(), jws) == 400


@requirement("XAPI-00116")
@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"statement"', b"{}", b"\xff\xfe"], ids=repr)
def test_a_payload_that_is_no_statement_is_refused(api: Api, signer: Signer, payload: bytes) -> None:
    assert send(api, signable(), signer.jws(payload)) == 400


@requirement("XAPI-00116")
@pytest.mark.parametrize(
    "more",
    [
        {"actor": agent()},
        {"verb": {"id": "https://school.example/verb/other"}},
        {"result": {"success": True}},
        {"timestamp": "2024-02-29T08:30:01.123Z"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_payload_of_another_statement_is_refused(api: Api, signer: Signer, more: dict[str, Any]) -> None:
    sent = signable()
    assert send(api, sent, signer.jws(as_json(sent | more))) == 400
    must(404, api.get(statementId=sent["id"]))


@requirement("XAPI-00115", "XAPI-00117")
def test_a_signature_that_does_not_fit_the_certificate_is_refused(api: Api, signer: Signer) -> None:
    sent = signable()
    head, payload, signature = signer.jws(as_json(sent)).decode().split(".")
    broken = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert send(api, sent, f"{head}.{payload}.{broken}".encode()) == 400
    assert send(api, sent, signer.jws(as_json(sent), x5c=Signer().x5c)) == 400


@requirement("XAPI-00115")
@pytest.mark.parametrize("x5c", ["no list", [], ["no certificate"], [1]], ids=str)
def test_a_certificate_that_is_none_is_refused(api: Api, signer: Signer, x5c: Any) -> None:
    sent = signable()
    assert send(api, sent, signer.jws(as_json(sent), x5c=x5c)) == 400


@only("2.0.0")
@requirement("IEEE-durations")
def test_durations_are_compared_to_a_hundredth_of_a_second(api: Api, signer: Signer) -> None:
    sent = signable(result={"duration": "P1DT12H36M0.1237S"})
    signed = sent | {"result": {"duration": "P1DT12H36M0.12S"}}
    assert send(api, sent, signer.jws(as_json(signed))) == 200
