"""Every requirement has a test, in each version where it holds."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .client import VERSIONS

HERE = Path(__file__).parent
REQUIREMENTS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "requirements.toml").read_text())


def every_test() -> Iterator[Any]:
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f".{path.stem}", __package__)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                yield module, function


def marks_of(module: Any, function: Any) -> list[pytest.Mark]:
    of_module = getattr(module, "pytestmark", [])
    of_module = of_module if isinstance(of_module, list) else [of_module]
    return [getattr(mark, "mark", mark) for mark in [*of_module, *getattr(function, "pytestmark", [])]]


def proved() -> dict[str, set[str]]:
    """The versions in which each requirement has a test: from the marks of tests, and of the rows of their tables."""
    found = defaultdict(set)
    for module, function in every_test():
        versions, numbers = set(VERSIONS), set()
        for mark in marks_of(module, function):
            if mark.name == "requirement":
                numbers.update(mark.args)
            if mark.name == "parametrize" and mark.args[0] == "api":
                versions = set(mark.args[1])
            if mark.name == "parametrize":
                rows = [each for each in mark.args[1] if hasattr(each, "marks")]
                numbers.update(number for each in rows for inner in each.marks for number in inner.args)
        for number in numbers:
            found[number] |= versions
    return found


@pytest.fixture(scope="module")
def covered() -> dict[str, set[str]]:
    return proved()


def test_every_requirement_has_a_test_in_its_versions(covered: dict[str, set[str]]) -> None:
    missing = {
        number: sorted(lacking)
        for number, said in REQUIREMENTS.items()
        if "why" not in said and (lacking := set(said.get("versions", VERSIONS)) - covered.get(number, set()))
    }
    assert missing == {}


def test_every_number_on_a_test_is_listed(covered: dict[str, set[str]]) -> None:
    assert set(covered) - set(REQUIREMENTS) == set()


def test_what_is_said_to_have_no_test_has_none(covered: dict[str, set[str]]) -> None:
    assert {number for number in covered if "why" in REQUIREMENTS.get(number, {})} == set()


def test_the_list_is_complete() -> None:
    numbers = {number for number in REQUIREMENTS if number.startswith("XAPI-")}
    assert numbers == {f"XAPI-{number:05}" for number in range(1, 337)}
    assert all(said["section"] and said["title"] for said in REQUIREMENTS.values())
    assert all(set(said) <= {"section", "title", "versions", "why"} for said in REQUIREMENTS.values())


def test_every_test_proves_something() -> None:
    without = []
    for module, function in every_test():
        marks = marks_of(module, function)
        in_rows = any(hasattr(each, "marks") for mark in marks if mark.name == "parametrize" for each in mark.args[1])
        if module.__name__ != __name__ and not in_rows and all(mark.name != "requirement" for mark in marks):
            without.append(f"{module.__name__}.{function.__name__}")
    assert without == []
