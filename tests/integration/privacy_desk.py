"""The privacy desk as tests ask it, and what they look for in what is left."""

from __future__ import annotations

import time
from typing import Any

import requests

from schemas.people import ERASED_HOME_PAGE
from tests.conformance.client import Json, must
from tests.services import Griffel

BOUND_S = 60


def privacy(server: Griffel, method: str, path: str, **body: Any) -> requests.Response:
    """Ask the desk."""
    return requests.request(
        method,
        f"{server.base}/privacy/{path}",
        json=body or None,
        auth=(server.key, server.secret),
        timeout=BOUND_S,
    )


def identity_of(someone: Json) -> Json:
    """An agent without its name."""
    return {name: value for name, value in someone.items() if name != "name"}


def erase(server: Griffel, someone: Json) -> Json:
    """Erase over HTTP, and give the certificate."""
    return certificate_of(server, begin_erasure(server, someone))


def begin_erasure(server: Griffel, someone: Json) -> str:
    """Ask for an erasure over HTTP, and give its id: from then on they are fenced."""
    begun = privacy(server, "POST", "erasures", agent=identity_of(someone))
    assert begun.status_code == 202, begun.text
    return str(begun.json()["erasure"])


def certificate_of(server: Griffel, erasure: str) -> Json:
    """Wait for the end of an erasure."""
    deadline = time.monotonic() + BOUND_S
    while True:
        told = must(200, privacy(server, "GET", f"erasures/{erasure}")).json()
        if told["state"] == "done":
            return told["certificate"]
        assert told["state"] == "under way", told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def restrict(server: Griffel, someone: Json, *, restricted: bool) -> bool:
    told = must(200, privacy(server, "POST", "restrictions", agent=identity_of(someone), restricted=restricted)).json()
    assert told["restricted"] is restricted
    return told["changed"]


def consent(server: Griffel, someone: Json, purpose: str, *, given: bool, **more: Any) -> Json:
    asked = {"agent": identity_of(someone), "purpose": purpose, "given": given, **more}
    return must(200, privacy(server, "POST", "consents", **asked)).json()


def is_placeholder(someone: Json) -> bool:
    return someone.get("account", {}).get("homePage") == ERASED_HOME_PAGE and "name" not in someone


def place(server: Griffel) -> list[str]:
    """The option that says where an embedded installation is."""
    return ["--data", str(server.data_dir)] if server.mode == "embedded" else []
