"""The house is tidy: what no linter checks."""

from __future__ import annotations

import ast
import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lrs", "consumers", "projections", "schemas")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_OURS = {"node_modules", "build", "dist", "data", "__pycache__"}
MODULE_LINES_MAX = 450

# Modules that may be longer, each with its reason.
LONGER: dict[str, str] = {}

# Written so that this file does not contain them.
FORBIDDEN_WORDS = re.compile(r"\b(?:TO(?:DO)|FIX(?:ME)|X(?:XX))\b")


def files(*folders: str) -> list[Path]:
    """Every file of the repository (or of these folders of it), without what tools create."""
    found: list[Path] = []
    waiting = [ROOT / folder for folder in folders] or [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name != ".ci"
            if path.is_dir():
                if not (hidden or path.name in NOT_OURS or path.name.endswith(".egg-info")):
                    waiting.append(path)
            else:
                found.append(path)
    return found


def modules(*folders: str) -> list[Path]:
    return [path for path in files(*(folders or PACKAGES)) if path.suffix == ".py"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_nothing_is_left_for_later() -> None:
    found = []
    for path in files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name(path)}:{number}" for number, line in enumerate(lines, 1) if FORBIDDEN_WORDS.search(line)]
    assert found == []


def test_a_module_is_no_longer_than_a_reader_can_hold() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in modules()}
    too_long = {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX and path not in LONGER}
    assert too_long == {}
    assert [path for path in LONGER if lengths.get(path, 0) <= MODULE_LINES_MAX] == [], "no longer needs its exception"


def test_the_distribution_has_every_package() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    folders = {name(path.parent).replace("/", ".") for path in modules()}
    assert sorted(listed) == sorted(folders)
    assert [package for package in listed if not (ROOT / package.replace(".", "/") / "__init__.py").exists()] == []


def test_the_distribution_has_every_file_beside_the_modules() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    packages = [ROOT / package.replace(".", "/") for package in PROJECT["tool"]["setuptools"]["packages"]]
    left_out = []
    for path in files(*PACKAGES):
        inside = [path.relative_to(package).as_posix() for package in packages if package in path.parents]
        # In setuptools **/ may stand for no folder; a leading slash lets fnmatch see it the same way.
        if path.suffix != ".py" and not any(
            fnmatch.fnmatch(f"/{relative}", pattern.replace("**/", "*/")) for relative in inside for pattern in patterns
        ):
            left_out.append(name(path))
    assert left_out == []


def test_only_the_command_line_prints() -> None:
    printing = []
    for path in modules():
        if name(path).startswith("lrs/cli/") or name(path) == "lrs/__main__.py":
            continue
        printing += [
            f"{name(path)}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
    assert printing == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_for(package: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))


def test_the_makefile_explains_each_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())
    explained = set(re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE))
    assert explained == phony
