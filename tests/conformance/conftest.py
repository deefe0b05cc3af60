"""Fixtures of the conformance tests: a client for each version of xAPI, and a signer of statements."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .client import VERSIONS, Api
from .signing import Signer


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*numbers): the xAPI requirements that a test proves")


@pytest.fixture(scope="session", params=VERSIONS)
def api(request: pytest.FixtureRequest, lrs: Any) -> Iterator[Api]:
    """The running server, spoken to in one version of xAPI."""
    api = Api(lrs.url, lrs.key, lrs.secret, request.param)
    with api.session:
        yield api


@pytest.fixture(scope="session")
def limited(lrs: Any) -> Callable[[str, str], Api]:
    """Makes clients with a credential of one narrow scope: `limited(scope, version)`."""

    @functools.cache
    def credential(scope: str) -> dict[str, str]:
        arguments = ("--data", str(lrs.data_dir), "--scope", scope, "--json")
        return json.loads(lrs.command("credentials", "create", *arguments).stdout)

    def client(scope: str, version: str) -> Api:
        made = credential(scope)
        return Api(lrs.url, made["key"], made["secret"], version)

    return client


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()
