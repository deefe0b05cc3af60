"""Receipts: what is signed can be checked by anyone with the public key, with any library, and not be changed."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from lrs.receipts import CONSENT_RECEIPT, RECEIPT_BYTES_MAX, public_jwk, sign, verify
from schemas.errors import InvalidInput

Json = dict[str, Any]
# RFC 8037, appendix A: a key, its public half, its thumbprint.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
PAYLOAD = {"purpose": "updates", "state": "dpv:ConsentGiven", "name": "Zoë"}


def test_the_public_key_is_the_one_of_rfc_8037_and_its_id_the_thumbprint() -> None:
    jwk = public_jwk(SEED)
    assert jwk == {"kty": "OKP", "crv": "Ed25519", "x": X, "kid": THUMBPRINT, "use": "sig", "alg": "EdDSA"}
    assert OKPKey.import_key({name: jwk[name] for name in ("kty", "crv", "x")}).thumbprint() == THUMBPRINT


def test_what_is_signed_comes_back() -> None:
    assert verify(public_jwk(SEED), sign(SEED, PAYLOAD, CONSENT_RECEIPT), CONSENT_RECEIPT) == PAYLOAD


def test_the_seed_may_be_overwritten_afterwards() -> None:
    seed = bytearray(SEED)
    receipt = sign(seed, PAYLOAD, CONSENT_RECEIPT)
    seed[:] = bytes(len(seed))
    assert receipt == sign(SEED, PAYLOAD, CONSENT_RECEIPT)


def test_another_library_takes_our_signatures_and_we_take_its() -> None:
    receipt = sign(SEED, PAYLOAD, CONSENT_RECEIPT)
    key = OKPKey.import_key(public_jwk(SEED))
    private = OKPKey.import_key(public_jwk(SEED) | {"d": base64.urlsafe_b64encode(SEED).rstrip(b"=").decode()})
    header = {"alg": "EdDSA", "kid": THUMBPRINT, "typ": CONSENT_RECEIPT}
    with warnings.catch_warnings():
        # The library prefers the newer name of the algorithm (RFC 9864), which older ones do not know.
        warnings.simplefilter("ignore", SecurityWarning)
        found = jws.deserialize_compact(receipt, key, algorithms=["EdDSA"])
        theirs = jws.serialize_compact(header, json.dumps(PAYLOAD).encode(), private, algorithms=["EdDSA"])
    assert found.headers() == header
    assert json.loads(found.payload) == PAYLOAD
    assert verify(public_jwk(SEED), theirs, CONSENT_RECEIPT) == PAYLOAD


def test_what_is_signed_as_one_thing_does_not_pass_for_another() -> None:
    with pytest.raises(InvalidInput, match="not signed as"):
        verify(public_jwk(SEED), sign(SEED, PAYLOAD, "erasure-certificate"), CONSENT_RECEIPT)


def test_another_key_is_refused_also_where_it_takes_our_name() -> None:
    receipt = sign(SEED[::-1], PAYLOAD, CONSENT_RECEIPT)
    with pytest.raises(InvalidInput, match="another key"):
        verify(public_jwk(SEED), receipt, CONSENT_RECEIPT)
    header = part({"alg": "EdDSA", "kid": THUMBPRINT, "typ": CONSENT_RECEIPT})
    with pytest.raises(InvalidInput, match="does not fit"):
        verify(public_jwk(SEED), ".".join([header, *receipt.split(".")[1:]]), CONSENT_RECEIPT)


@given(st.data())
def test_a_receipt_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    receipt = sign(SEED, PAYLOAD, CONSENT_RECEIPT)
    at = data.draw(st.integers(0, len(receipt) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.=+/ é").filter(lambda one: one != receipt[at]))
    with pytest.raises(InvalidInput):
        verify(public_jwk(SEED), receipt[:at] + other + receipt[at + 1 :], CONSENT_RECEIPT)


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


HEADERS: list[object] = [
    {"alg": "none", "kid": THUMBPRINT, "typ": CONSENT_RECEIPT},
    {"alg": "HS256", "kid": THUMBPRINT, "typ": CONSENT_RECEIPT},
    {"alg": "EdDSA", "kid": THUMBPRINT, "typ": CONSENT_RECEIPT, "crit": ["b64"], "b64": False},
    {"alg": "EdDSA", "kid": THUMBPRINT},
    [],
    "x",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_is_ours_or_refused(header: object) -> None:
    _, payload, signature = sign(SEED, PAYLOAD, CONSENT_RECEIPT).split(".")
    for one in (signature, ""):
        with pytest.raises(InvalidInput, match="header must have alg"):
            verify(public_jwk(SEED), f"{part(header)}.{payload}.{one}", CONSENT_RECEIPT)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "....", "\0", "{}", "ünïcode.x.y"])
def test_what_is_no_jws_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a JSON web signature"):
        verify(public_jwk(SEED), text, CONSENT_RECEIPT)


def test_a_receipt_has_a_bound() -> None:
    with pytest.raises(InvalidInput, match="at most"):
        verify(public_jwk(SEED), "x" * (RECEIPT_BYTES_MAX + 1), CONSENT_RECEIPT)


@pytest.mark.parametrize("change", [{"kty": "EC"}, {"crv": "X25519"}, {"x": "AA"}, {"x": None}, {"x": "é"}])
def test_a_public_key_is_one_for_ed25519(change: Json) -> None:
    with pytest.raises(InvalidInput, match="kty OKP, crv Ed25519 and x"):
        verify(public_jwk(SEED) | change, sign(SEED, PAYLOAD, CONSENT_RECEIPT), CONSENT_RECEIPT)
