"""A whole server whose root keys are held elsewhere: in OpenBao, or on a PKCS#11 token."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tests import services
from tests.key_services import OpenBao, SoftHsm
from tests.services import POLL_S, START_BOUND_S, Griffel

STATEMENT = {
    "actor": {"account": {"homePage": "https://school.example", "name": "canary-of-a-learner"}},
    "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
    "object": {"id": "https://school.example/welcome"},
}


@dataclass
class Elsewhere:
    """A holder of root keys: what a server is told of it, how it goes away, and what must be written nowhere."""

    settings: dict[str, str]
    away: Callable[[], AbstractContextManager[Any]]
    secret: str


@pytest.fixture(params=["openbao", "pkcs11"])
def elsewhere(request: pytest.FixtureRequest) -> Elsewhere:
    prefix = f"g{secrets.token_hex(6)}"
    own = {"GRIFFEL_KEY_PROVIDER": request.param, "GRIFFEL_KEYS_PREFIX": prefix}
    if request.param == "openbao":
        openbao: OpenBao = request.getfixturevalue("openbao")
        token = openbao.token(prefix)
        own |= {"GRIFFEL_OPENBAO_URL": openbao.url, "GRIFFEL_OPENBAO_TOKEN": token}
        return Elsewhere(own, openbao.halted, token)
    softhsm: SoftHsm = request.getfixturevalue("softhsm")
    own |= {
        "GRIFFEL_PKCS11_MODULE": str(softhsm.module),
        "GRIFFEL_PKCS11_TOKEN": "griffel",
        "GRIFFEL_PKCS11_PIN": softhsm.pin,
    }
    return Elsewhere(own | softhsm.environment, softhsm.unplugged, softhsm.pin)


@pytest.fixture
def server(elsewhere: Elsewhere, make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """A running embedded server with its root keys there."""
    with services.running(make_lrs(settings=elsewhere.settings)) as server:
        yield server


def ask(server: Griffel, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {**server.headers(), "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, json.loads(content)
    finally:
        connection.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_BOUND_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(POLL_S)


def answers(server: Griffel, path: str, status: int) -> bool:
    try:
        return ask(server, "GET", path)[0] == status
    except (OSError, http.client.HTTPException):
        return False


def test_a_server_stores_reads_restarts_and_reads_again(server: Griffel, elsewhere: Elsewhere) -> None:
    status, _, (made,) = ask(server, "POST", "/xapi/statements", STATEMENT)
    assert status == 200
    path = f"/xapi/statements?statementId={made}"
    assert ask(server, "GET", path)[2]["actor"]["account"] == STATEMENT["actor"]["account"]
    assert not (server.data_dir / "keys").exists(), "nothing is kept in files beside it"
    assert server.stop() == 0
    server.start()
    assert ask(server, "GET", path)[2]["actor"]["account"] == STATEMENT["actor"]["account"]
    written = [path for path in server.folder.rglob("*") if path.is_file()]
    assert [path.name for path in written if elsewhere.secret.encode() in path.read_bytes()] == []


def test_views_are_computed_and_commands_open_the_vault(server: Griffel) -> None:
    ask(server, "POST", "/xapi/statements", STATEMENT)
    data = ["--data", str(server.data_dir)]
    # The process beside the server, which computes the views, opens the vault by itself, and so does a command.
    until(lambda: all(one["position"] for one in json.loads(server.command("views", "list", *data, "--json").stdout)))
    assert server.key in server.command("credentials", "list", *data).stdout


def test_a_server_whose_keys_are_away_is_alive_and_not_ready_and_goes_on_once_they_are_back(
    server: Griffel, elsewhere: Elsewhere
) -> None:
    (made,) = ask(server, "POST", "/xapi/statements", STATEMENT)[2]
    path = f"/xapi/statements?statementId={made}"
    with elsewhere.away():
        assert answers(server, path, 200), "a server that has started needs them no more"
        assert server.stop() == 0
        server._launch()
        until(lambda: answers(server, "/health/live", 200))
        status, _, ready = ask(server, "GET", "/health/ready")
        assert (status, ready) == (503, {"ready": False, "missing": ["keys"]})
        for method, asked in (("GET", path), ("POST", "/xapi/statements"), ("GET", "/"), ("GET", "/metrics")):
            status, headers, problem = ask(server, method, asked, STATEMENT if method == "POST" else None)
            assert (status, headers["content-type"]) == (503, "application/problem+json")
            assert int(headers["retry-after"]) > 0
            assert problem["type"] == "urn:griffel:problem:busy"
            assert "keys" in problem["detail"]
        assert "Not ready: " in server.log()
    until(lambda: answers(server, "/health/ready", 200))
    assert ask(server, "GET", path)[2]["id"] == made


def test_a_server_that_waits_for_its_keys_stops_when_it_is_told(server: Griffel, elsewhere: Elsewhere) -> None:
    assert server.stop() == 0
    with elsewhere.away():
        server._launch()
        until(lambda: answers(server, "/health/live", 200))
        assert server.stop() == 0


def test_a_command_says_that_the_keys_are_away(server: Griffel, elsewhere: Elsewhere) -> None:
    assert server.stop() == 0
    with elsewhere.away():
        said = server.command("credentials", "list", "--data", str(server.data_dir), check=False)
    assert said.returncode == 1
    assert said.stderr.startswith("Error: ")
    assert elsewhere.secret not in said.stderr
    assert "Traceback" not in said.stderr
