"""Bearer tokens of an OpenID Connect provider: a real one, in a process of its own, whose keys rotate."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from lrs.scopes import Scope
from tests import services
from tests.conformance.builders import iri, new_id, statement
from tests.conformance.client import Json, must
from tests.services import Griffel

PROVIDER = Path(__file__).with_name("oidc_provider.py")
BOUND_S = 30
LONG_CHAIN = [base64.b64encode(bytes(1_200)).decode()]


def _moment(value: Any) -> Any:
    """The time that `now + 20` means when a token is made, which may be long after the tests were collected."""
    if isinstance(value, str) and value.startswith("now "):
        return int(time.time()) + int(value.removeprefix("now ").replace(" ", ""))
    return value


class Provider:
    """The running provider, as a test speaks to it."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.base = issuer.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def token(self, claims: Json | None = None, **more: Any) -> str:
        told = {name: _moment(value) for name, value in (claims or {}).items()}
        return self._ask("POST", "/test/token", {"claims": told, **more}).text

    def rotate(self) -> None:
        self._ask("POST", "/test/rotate")

    def fetches(self) -> int:
        return int(self._ask("GET", "/test/fetches").text)

    def _ask(self, method: str, path: str, content: Any = None) -> requests.Response:
        response = self._session.request(method, self.base + path, json=content, timeout=BOUND_S)
        response.raise_for_status()
        return response

    def is_up(self) -> bool:
        try:
            return self.fetches() >= 0
        except requests.ConnectionError:
            return False

    def close(self) -> None:
        self._session.close()


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


@contextmanager
def running_provider(port: int, trailing: str = "") -> Iterator[Provider]:
    provider = Provider(f"http://127.0.0.1:{port}{trailing}")
    with subprocess.Popen([sys.executable, str(PROVIDER), str(port), trailing]) as process:
        try:
            until(lambda: provider.is_up() or process.poll() is not None)
            yield provider
        finally:
            process.terminate()
            provider.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider(services.free_port()) as provider:
        yield provider


@pytest.fixture(scope="module")
def oidc_lrs(provider: Provider, make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with services.running(make_lrs("embedded", arguments=["--oidc-issuer", provider.issuer])) as server:
        yield server


class Bearer:
    """An xAPI client with a token."""

    def __init__(self, lrs: Griffel, token: str) -> None:
        self._url = lrs.url
        self._headers = {"Authorization": f"Bearer {token}", "X-Experience-API-Version": "2.0.0"}

    def call(self, method: str, resource: str, params: Json | None = None, **more: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            headers = self._headers | more.pop("headers", {})
            return session.request(
                method, f"{self._url}/{resource}", params=params, headers=headers, timeout=BOUND_S, **more
            )

    def post(self, *statements: Json) -> requests.Response:
        return self.call("POST", "statements", json=list(statements))

    def get(self, **params: Any) -> requests.Response:
        return self.call("GET", "statements", params)


def refused(lrs: Griffel, token: str) -> None:
    """The token must be refused with 401, without a word of it coming back."""
    response = must(401, Bearer(lrs, token).get())
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["WWW-Authenticate"]
    for piece in token.split("."):
        assert len(piece) < 8 or piece not in response.text


# -------------------------------------------------------------------------------------------------------- who is let in


def test_a_token_is_a_credential_and_its_subject_the_authority(oidc_lrs: Griffel, provider: Provider) -> None:
    client = Bearer(oidc_lrs, provider.token({"sub": "grace"}))
    [statement_id] = must(200, client.post(statement())).json()
    found = must(200, client.get(statementId=statement_id)).json()
    assert found["authority"] == {"objectType": "Agent", "account": {"homePage": provider.issuer, "name": "grace"}}


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_may_be_signed_in_each_of_these_ways(oidc_lrs: Griffel, provider: Provider, algorithm: str) -> None:
    must(200, Bearer(oidc_lrs, provider.token({"sub": new_id()}, algorithm=algorithm)).get())


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": ["another", "griffel"]}, id="one audience of several"),
        pytest.param({"scope": None, "scp": ["all"]}, id="scopes as a list, in scp"),
        pytest.param({"scope": "openid xapi:all profile-of-the-provider"}, id="scopes of others among them"),
        pytest.param({"iat": None}, id="without a time of issue"),
        pytest.param({"exp": "now - 20"}, id="ended a moment ago: clocks differ"),
        pytest.param({"nbf": "now + 20"}, id="begins in a moment: clocks differ"),
    ],
)
def test_such_a_token_is_taken(oidc_lrs: Griffel, provider: Provider, claims: Json) -> None:
    must(200, Bearer(oidc_lrs, provider.token({"sub": new_id(), **claims})).get())


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"typ": "at+jwt"}, id="a type"),
        pytest.param({"nonce": "of-the-provider"}, id="a parameter of its own"),
        pytest.param({"x5c": LONG_CHAIN}, id="a chain of certificates"),
    ],
)
def test_a_token_whose_header_says_more_or_less_is_taken(oidc_lrs: Griffel, provider: Provider, header: Json) -> None:
    must(200, Bearer(oidc_lrs, provider.token({"sub": new_id()}, header=header)).get())


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("prefix", ["", "xapi:"])
def test_a_tokens_scopes_are_those_of_xapi(oidc_lrs: Griffel, provider: Provider, scope: Scope, prefix: str) -> None:
    client = Bearer(oidc_lrs, provider.token({"sub": new_id(), "scope": prefix + scope}))
    may_write = scope in {Scope.ALL, Scope.STATEMENTS_WRITE}
    may_read = scope in {Scope.ALL, Scope.ALL_READ, Scope.STATEMENTS_READ, Scope.STATEMENTS_READ_MINE}
    assert client.post(statement()).status_code == (200 if may_write else 403)
    assert client.get(limit=1).status_code == (200 if may_read else 403)


@pytest.mark.parametrize("scope", [None, "", "openid", "ALL", "all-of-it", ["x"], 5])
def test_without_a_scope_of_ours_nothing_is_allowed(oidc_lrs: Griffel, provider: Provider, scope: Any) -> None:
    client = Bearer(oidc_lrs, provider.token({"sub": new_id(), "scope": scope}))
    assert client.get().status_code == 403
    assert client.post(statement()).status_code == 403


def test_two_subjects_are_two_authorities(oidc_lrs: Griffel, provider: Provider) -> None:
    scopes = {"scope": "statements/write statements/read/mine"}
    ada, bob = (Bearer(oidc_lrs, provider.token({"sub": name, **scopes})) for name in (new_id(), new_id()))
    activity = iri()
    must(200, ada.post(*[statement(object={"id": activity}) for _ in range(3)]))
    must(200, bob.post(statement(object={"id": activity})))
    page = must(200, ada.get(activity=activity, limit=2)).json()
    assert len(page["statements"]) == 2
    assert len(must(200, bob.get(activity=activity)).json()["statements"]) == 1
    more = page["more"].removeprefix("/xapi/")
    assert bob.call("GET", more).status_code == 400
    assert len(must(200, ada.call("GET", more)).json()["statements"]) == 1


def test_a_subjects_next_token_is_the_same_authority(oidc_lrs: Griffel, provider: Provider) -> None:
    subject = {"sub": new_id(), "scope": "statements/write statements/read/mine"}
    first, second = (Bearer(oidc_lrs, provider.token({**subject, "jti": new_id()})) for _ in range(2))
    [statement_id] = must(200, first.post(statement())).json()
    must(200, second.get(statementId=statement_id))


# --------------------------------------------------------------------------------------------------- who is turned away


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": "now - 3_600"}, id="ended"),
        pytest.param({"nbf": "now + 3_600"}, id="not yet"),
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"exp": "tomorrow"}, id="with an end that is no time"),
        pytest.param({"iss": "https://issuer.example"}, id="of another issuer"),
        pytest.param({"iss": None}, id="without issuer"),
        pytest.param({"aud": "another"}, id="for another"),
        pytest.param({"aud": []}, id="for nobody"),
        pytest.param({"aud": None}, id="without audience"),
        pytest.param({"sub": None}, id="without subject"),
        pytest.param({"sub": ""}, id="with an empty subject"),
    ],
)
def test_a_token_with_wrong_claims_is_refused(oidc_lrs: Griffel, provider: Provider, claims: Json) -> None:
    refused(oidc_lrs, provider.token(claims))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"key": "another"}, id="by another key of the same name"),
        pytest.param({"key": "public as secret"}, id="by the public key as a secret"),
        pytest.param({"header": {"kid": "unheard-of"}}, id="by a key unheard of"),
        pytest.param({"header": {"crit": ["b64"], "b64": False}}, id="with something critical"),
    ],
)
def test_a_token_signed_otherwise_is_refused(oidc_lrs: Griffel, provider: Provider, more: Json) -> None:
    refused(oidc_lrs, provider.token({"sub": new_id()}, **more))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_without_signature_is_refused(oidc_lrs: Griffel, provider: Provider) -> None:
    header, claims, signature = provider.token({"sub": new_id()}).split(".")
    refused(oidc_lrs, f"{part({'alg': 'none'})}.{claims}.")
    refused(oidc_lrs, f"{header}.{claims}.")
    refused(oidc_lrs, f"{header}.{part({'sub': 'root', 'scope': 'all'})}.{signature}")


NO_TOKENS = [
    *(b"", b"canary", b"a.b", b"a.b.c", b"a.b.c.d.e", b"..", b"\xff\xfe.\xff.\xff", "é.é.é".encode(), b"a" * 10_000),
    *(f"{part(value)}.{part(value)}.AA".encode() for value in (None, [], 5, {"alg": []}, {"alg": "RS256", "kid": 5})),
]


@pytest.mark.parametrize("token", NO_TOKENS)
def test_what_is_no_token_is_refused(oidc_lrs: Griffel, token: bytes) -> None:
    headers: Any = {"Authorization": b"Bearer " + token, "X-Experience-API-Version": "2.0.0"}
    response = requests.get(f"{oidc_lrs.url}/statements", headers=headers, timeout=BOUND_S)
    assert must(401, response).json()["type"] == "urn:griffel:problem:not-authenticated"


def test_basic_goes_on_beside_tokens(oidc_lrs: Griffel) -> None:
    must(200, requests.get(f"{oidc_lrs.url}/statements", headers=oidc_lrs.headers(), timeout=BOUND_S))


def test_without_an_issuer_no_token_is_taken(lrs: Griffel, provider: Provider) -> None:
    refused(lrs, provider.token())


# ------------------------------------------------------------------------------------------------------------- rotation


def test_tokens_of_keys_unheard_of_do_not_flood_the_issuer(oidc_lrs: Griffel, provider: Provider) -> None:
    must(200, Bearer(oidc_lrs, provider.token({"sub": new_id()})).get())
    before = provider.fetches()
    for number in range(25):
        refused(oidc_lrs, provider.token(header={"kid": f"unheard-of-{number}"}))
    assert provider.fetches() - before <= 1


@pytest.mark.slow
def test_rotated_keys_are_found_and_the_old_ones_end(oidc_lrs: Griffel, provider: Provider) -> None:
    old = provider.token({"sub": new_id()})
    provider.rotate()
    new = Bearer(oidc_lrs, provider.token({"sub": new_id()}))
    until(lambda: new.get().status_code == 200)
    refused(oidc_lrs, old)


# ----------------------------------------------------------------------------------------------------- issuers that are


def test_while_the_issuer_is_away_tokens_wait_and_credentials_go_on(make_lrs: Callable[..., Griffel]) -> None:
    port = services.free_port()
    with services.running(make_lrs("embedded", arguments=["--oidc-issuer", f"http://127.0.0.1:{port}"])) as lrs:
        response = must(503, Bearer(lrs, "a.b.c").get())
        assert int(response.headers["Retry-After"]) >= 1
        must(200, requests.get(f"{lrs.url}/statements", headers=lrs.headers(), timeout=BOUND_S))
        with running_provider(port) as provider:
            token = provider.token()
            must(200, Bearer(lrs, token).get())
            other = provider.token({"sub": new_id()})
        must(200, Bearer(lrs, token).get())
        must(200, Bearer(lrs, other).get())


def test_an_issuer_whose_name_ends_with_a_slash_is_itself(make_lrs: Callable[..., Griffel]) -> None:
    port = services.free_port()
    with (
        running_provider(port, "/") as provider,
        services.running(make_lrs("embedded", arguments=["--oidc-issuer", provider.issuer])) as lrs,
    ):
        must(200, Bearer(lrs, provider.token()).get())


def test_an_issuer_that_calls_itself_otherwise_is_not_trusted(make_lrs: Callable[..., Griffel]) -> None:
    port = services.free_port()
    issuer = f"http://localhost:{port}"  # the provider says 127.0.0.1
    with (
        running_provider(port) as provider,
        services.running(make_lrs("embedded", arguments=["--oidc-issuer", issuer])) as lrs,
    ):
        for claims in ({}, {"iss": issuer}):
            assert Bearer(lrs, provider.token(claims)).get().status_code in {401, 503}
