"""Whatever is sent, the answer is one that schemas/openapi.json describes, and never a server error."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lrs.http.streams import POLL_WAIT_S_MAX
from tests.conformance.client import Api, must
from tests.services import Griffel
from tests.unit.schemas.builders import full, minimal, nested, resolve
from tests.unit.schemas.statements import STATEMENTS

DOCUMENT = json.loads((Path(__file__).parents[2] / "schemas" / "openapi.json").read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
METHODS = ("get", "head", "put", "post", "delete", "options")
# Streams of server-sent events do not end; tests/integration/test_descriptions.py reads their beginnings.
ENDLESS = {(path, "get") for path in ("/courses/{id}/live", "/streams/completions/live")}
OPERATIONS = [
    (path, method)
    for path, operations in DOCUMENT["paths"].items()
    for method in METHODS
    if method in operations and (path, method) not in ENDLESS
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 6
WAIT_S_MAX = 0.1
"""A long poll that is asked to wait does so; here for this long at the most."""


def can_be_violated(path: str, method: str) -> bool:
    """Whether a request can break the description.

    A browser's preflight is answered whatever stands in it, and whoever signs out is led on. Pages take any query: what
    cannot be read there is as if it were not there.
    """
    operation = DOCUMENT["paths"][path][method]
    if method == "options" or path == "/sign-out" or not (operation["parameters"] or "requestBody" in operation):
        return False
    return path.startswith(("/xapi/", "/streams/")) or "{" in path or "requestBody" in operation


def media_types(path: str, method: str) -> list[str]:
    """What the answer may be, by the description; a client asks for one of these."""
    return [*DOCUMENT["paths"][path][method]["responses"].get("200", {}).get("content", {"*/*": {}})]


fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def session(lrs: Griffel) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (lrs.key, lrs.secret)
        yield session


@pytest.mark.parametrize(
    ("path", "method", "generation"),
    [
        (path, method, generation)
        for path, method in OPERATIONS
        for generation in GenerationMode
        if generation is GenerationMode.POSITIVE or can_be_violated(path, method)
    ],
    ids=lambda one: getattr(one, "value", one),
)
def test_every_answer_is_one_that_is_described(
    lrs: Griffel, session: requests.Session, path: str, method: str, generation: GenerationMode
) -> None:
    operation = SCHEMA[path][method]

    @fuzzed
    @given(operation.as_strategy(generation), st.sampled_from(media_types(path, method)))
    def holds(case: schemathesis.Case, wanted: str) -> None:
        case.headers["Accept"] = wanted
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if WAIT_S_MAX < float(case.query["wait_s"]) <= POLL_WAIT_S_MAX:
                case.query["wait_s"] = WAIT_S_MAX
        case.call_and_validate(base_url=lrs.base, session=session, checks=CHECKS)

    holds()


# ------------------------------------------------------------------------------------------------ statements, mutilated

ODD: list[Any] = [
    *(None, True, False, 0, -1, 0.5, 1e300, 2**64 - 1, -(2**63), "", " ", "\0", "\ud7ff", "\U0010ffff", "x" * 5_000),
    *(
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": ""},
        {"objectType": "Group"},
        {"objectType": []},
        {"objectType": "SubStatement"},
    ),
    *("http://", "mailto:", "urn:griffel:erased", "2024-02-30T00:00:00Z", "9999-12-31T23:59:60Z", "P", "PT0S", "../.."),
]
KEYS = [
    "id",
    "objectType",
    "actor",
    "member",
    "mbox",
    "account",
    "slot",
    "definition",
    "context",
    "a/b~c",
    "",
    "é" * 200,
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid statement, or a batch of it and another, changed in a few places."""
    base = draw(st.one_of(st.sampled_from([full("2.0.0"), nested(), minimal()]), STATEMENTS))
    statement: Any = copy.deepcopy(base)
    statement.pop("id", None)
    for _ in range(draw(st.integers(1, 3))):
        statement = draw(st.sampled_from([replace_one, remove_one, add_one, move_one]))(draw, statement)
    return draw(st.sampled_from([statement, [statement], [minimal(), statement]]))


def places(node: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to every value inside."""
    children: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    found = [(*way, key) for key, _ in children]
    return found + [one for key, child in children for one in places(child, (*way, key))]


def at(root: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        root = root[key]
    return root


def some_place(draw: st.DrawFn, root: Any) -> tuple[Any, Any] | None:
    """A container inside, and a key of it."""
    found = places(root)
    if not found:
        return None
    way = draw(st.sampled_from(found))
    return at(root, way[:-1]), way[-1]


def replace_one(draw: st.DrawFn, root: Any) -> Any:
    if (place := some_place(draw, root)) is None:
        return draw(st.sampled_from(ODD))
    place[0][place[1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return root


def remove_one(draw: st.DrawFn, root: Any) -> Any:
    if (place := some_place(draw, root)) is not None:
        del place[0][place[1]]
    return root


def add_one(draw: st.DrawFn, root: Any) -> Any:
    holders = [root, *[at(root, way) for way in places(root)]]
    holders = [one for one in holders if isinstance(one, (dict, list))]
    if holders:
        holder, value = draw(st.sampled_from(holders)), copy.deepcopy(draw(st.sampled_from(ODD)))
        if isinstance(holder, dict):
            holder[draw(st.sampled_from(KEYS))] = value
        else:
            holder.append(value)
    return root


def move_one(draw: st.DrawFn, root: Any) -> Any:
    """Copy what stands in one place to another."""
    source, target = some_place(draw, root), some_place(draw, root)
    if source is not None and target is not None:
        target[0][target[1]] = copy.deepcopy(source[0][source[1]])
    return root


@pytest.fixture(scope="module", params=["2.0.0", "1.0.3"])
def api(request: pytest.FixtureRequest, lrs: Griffel) -> Iterator[Api]:
    api = Api(lrs.url, lrs.key, lrs.secret, request.param)
    with api.session:
        yield api


def test_a_mutilated_statement_is_recorded_whole_or_refused_with_its_place(api: Api) -> None:
    @settings(fuzzed, max_examples=90)
    @given(mutated())
    def holds(content: Any) -> None:
        head = api.get(limit=1).json()["statements"][:1]
        response = api.post(content)
        assert response.status_code in {200, 400, 409, 413}, response.text
        if response.ok:
            for statement_id in response.json():
                must(200, api.get(statementId=statement_id))
            return
        told = response.json()
        assert response.headers["Content-Type"] == "application/problem+json"
        assert told["status"] == response.status_code
        resolve(content, told.get("pointer", ""))  # leads to a place in what was sent
        assert api.get(limit=1).json()["statements"][:1] == head, "nothing of a refused batch is there"

    must(200, api.post(minimal()))
    holds()


def test_raw_bytes_are_refused_or_recorded_but_never_a_server_error(api: Api) -> None:
    valid = json.dumps([minimal(), full("1.0.3")]).encode()

    @settings(fuzzed, max_examples=90)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(valid)))
        end = data.draw(st.integers(start, min(len(valid), start + 20)))
        body = valid[:start] + data.draw(st.binary(max_size=6)) + valid[end:]
        response = api.call("POST", "statements", data=body, headers={"Content-Type": "application/json"})
        assert response.status_code in {200, 400, 409, 413}, response.text

    holds()


QUERIES = st.dictionaries(
    st.sampled_from(
        ["agent", "verb", "activity", "since", "until", "limit", "format", "ascending", "statementId", "x"]
    ),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            ["true", "0", "-1", "1e3", "ids", '{"mbox":"mailto:a@b.example"}', "{", "null", "[]", "2024-01-01"]
        ),
    ),
    max_size=3,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Accept-Language", "Content-Type", "If-Match", "If-None-Match", "Content-Encoding", "Range", "Accept"]
    ),
    st.binary(max_size=12).filter(lambda raw: not any(byte in b"\r\n\0" for byte in raw)),
    max_size=3,
)


@pytest.mark.parametrize(
    "resource", ["statements", "activities/state", "agents/profile", "activities", "agents", "about"]
)
def test_any_query_and_headers_are_answered(api: Api, resource: str) -> None:
    methods: Callable[..., Any] = st.sampled_from(["GET", "PUT", "POST", "DELETE"])

    @settings(fuzzed, max_examples=25)
    @given(methods, QUERIES, HEADERS, st.binary(max_size=10))
    def holds(method: str, params: dict[str, str], headers: dict[str, bytes], body: bytes) -> None:
        prepared = {name: value.strip() for name, value in headers.items()}
        response = api.call(method, resource, params, data=body, headers=prepared)  # type: ignore[arg-type]
        assert response.status_code < 500, response.text

    holds()
