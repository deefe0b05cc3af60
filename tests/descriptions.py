"""The descriptions for programs in schemas/, and what holds real things against them."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from tests.services import ROOT

Json = dict[str, Any]


def read(name: str) -> Json:
    """A document of the folder schemas."""
    document: Json = json.loads((ROOT / "schemas" / name).read_text())
    return document


OPENAPI = read("openapi.json")
ASYNCAPI = read("asyncapi.json")
OPENED = read("opened-events.schema.json")
METHODS = ("get", "head", "put", "post", "delete", "options", "patch")


def validator(document: Json, pointer: str) -> jsonschema_rs.Validator:
    """What checks against a schema inside a document, which may refer to others in it."""
    kept = {name: document[name] for name in ("components", "$defs") if name in document}
    return jsonschema_rs.validator_for({"$ref": pointer} | kept, validate_formats=True)


def escaped(key: str) -> str:
    """A key as it stands in a pointer inside a URI."""
    for sign, code in (("~", "~0"), ("/", "~1"), ("{", "%7B"), ("}", "%7D")):
        key = key.replace(sign, code)
    return key


def follow(node: Json, document: Json) -> tuple[Json, str | None]:
    """What a reference leads to, and its pointer; a node that is none, as it is."""
    pointer = node.get("$ref")
    if pointer is None:
        return node, None
    for key in pointer.removeprefix("#/").split("/"):
        document = document[key]
    return document, pointer


def header_validator(message: str) -> jsonschema_rs.Validator:
    """What checks the headers of a kind of record."""
    return validator(ASYNCAPI, f"#/components/messages/{message}/headers")
