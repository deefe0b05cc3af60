"""schemas/openapi.json in itself: valid, whole, without anything that nothing refers to, with examples that fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from lrs.errors import GriffelError
from lrs.http.problem import STATUS_BY_ERROR, TYPE_PREFIX
from lrs.scopes import Scope
from tests.descriptions import METHODS, OPENAPI, Json, follow, read, validator

OPERATIONS = [
    (path, method, item[method]) for path, item in OPENAPI["paths"].items() for method in METHODS if method in item
]
NAMES = [f"{method} {path}" for path, method, _ in OPERATIONS]


def test_the_description_is_valid_openapi():
    assert [error.message for error in OpenAPIV31SpecValidator(OPENAPI).iter_errors()] == []


def test_every_kind_of_refusal_is_described():
    described = OPENAPI["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    known = {TYPE_PREFIX + name for _, _, name in STATUS_BY_ERROR}
    assert set(described) == known | {TYPE_PREFIX + "server-fault"}
    assert all(any(issubclass(one, kind) for kind, _, _ in STATUS_BY_ERROR) for one in subclasses(GriffelError))


def subclasses(kind: type) -> list[type]:
    direct = kind.__subclasses__()
    return direct + [further for one in direct for further in subclasses(one)]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere_and_everything_is_referred_to():
    defined = {f"#/components/{kind}/{name}" for kind, named in OPENAPI["components"].items() for name in named}
    schemes = {one for one in defined if "/securitySchemes/" in one}
    assert set(references(OPENAPI)) == defined - schemes


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_an_operation_says_who_may_ask(path: str, method: str, operation: Json):
    schemes = {name for one in operation.get("security", OPENAPI["security"]) for name in one}
    assert schemes <= set(OPENAPI["components"]["securitySchemes"])
    scopes = {scope.value for scope in Scope}
    if path.startswith(("/courses", "/streams")) and method == "get":
        named = operation["description"].removeprefix("Scopes: ").partition(".")[0].partition(";")[0].split(", ")
        assert set(named) <= scopes
        assert "all" in named


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_refusal_with_content_is_a_problem(path: str, method: str, operation: Json):
    # The form to sign in comes again with the reason, and readiness is told in full.
    if (path, method) in {("/sign-in", "post"), ("/health/ready", "get")}:
        return
    for status, told in operation["responses"].items():
        content = follow(told, OPENAPI)[0].get("content")
        if status >= "400" and content is not None:
            assert "application/problem+json" in content, status


def examples() -> Iterator[Any]:
    """Each example of an answer, with its schema's pointer."""
    for path, method, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            told, _ = follow(response, OPENAPI)
            for media_type, content in told.get("content", {}).items():
                if "example" in content and "$ref" in content["schema"]:
                    yield pytest.param(
                        content["schema"]["$ref"], content["example"], id=f"{method} {path} {status} {media_type}"
                    )


@pytest.mark.parametrize(("pointer", "example"), [*examples()])
def test_an_example_fits_its_schema(pointer: str, example: Any):
    validator(OPENAPI, pointer).validate(example)


def test_every_schema_is_one():
    for schema in OPENAPI["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_an_entry_of_the_completion_stream_is_described_as_in_its_own_file():
    places = {"#/$defs/instant": "EntryInstant", "#/$defs/completion": "Completion", "#/$defs/erasure": "Erasure"}

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                name: f"#/components/schemas/{places[value]}" if name == "$ref" else moved(value)
                for name, value in node.items()
                if name not in ("$schema", "$id", "$defs", "title")
            }
        return [moved(one) for one in node] if isinstance(node, list) else node

    alone, here = read("completion-stream.schema.json"), OPENAPI["components"]["schemas"]
    assert moved(alone) == here["CompletionEntry"]
    assert {name: here[name] for name in places.values()} == {
        places[f"#/$defs/{name}"]: moved(schema) for name, schema in alone["$defs"].items()
    }
