"""The documentation is whole and true: what exists is described, and what is described exists."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import click
import pytest

import lrs.errors
import schemas.errors
from lrs.__main__ import COMMANDS, main
from lrs.config import Settings, variable
from lrs.http import problem
from lrs.http.call import Limits
from lrs.http.statements import FILTERS, ONE_STATEMENT
from lrs.scopes import Scope
from lrs.server import application
from schemas import events
from schemas.json_input import JsonLimits

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
SHELLS = ("sh", "console")

# Variables that belong to docker-compose.yml, not to Griffel.
OTHERS_VARIABLES = {"GRIFFEL_EVENTS_PASSWORD", "GRIFFEL_KEYS_PASSWORD"}
MACHINE_PATHS = re.compile(r"/(?:work|root|home/\w+|tmp)/")
BOUND = re.compile(r"[A-Z]\w*_(?:MAX|MIN|S|MAX_US|S_MAX|MAX_S|AT_ONCE)")
PROOFS = {
    *("T-ENC-1", "T-CONS", "T-MEM-1", "T-LOG", "T-RESIDUE-1", "T-RACE-1"),
    *(f"T-ERASE-{number}" for number in range(1, 15)),
    *(f"T-{kind}-{number}" for kind in ("EPOCH", "RESTORE", "CRYPTO") for number in range(1, 4)),
    *("T-CRYPTO-4", "T-LEG-2", "T-LEG-3", "T-RET-1"),
}
UNITS = {"KiB": 2**10, "MiB": 2**20, "s": 1, "µs": 1}


# ── reading pages ─────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def reference(name: str) -> str:
    return text_of(f"docs/reference/{name}.md")


class Fence(NamedTuple):
    """A fenced block: its language, its content, and the line it begins on."""

    language: str
    content: str
    line: int


def split_fences(text: str) -> tuple[list[Fence], str]:
    """Give the fenced blocks of a page, and the page without them (its lines keep their numbers)."""
    fences: list[Fence] = []
    rest: list[str] = []
    inside: list[str] | None = None
    language, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside, language, began = [], line[3:].strip(), number
            else:
                fences.append(Fence(language, "\n".join(inside), began))
                inside = None
            rest.append("")
        elif inside is None:
            rest.append(line)
        else:
            inside.append(line)
            rest.append("")
    assert inside is None, "a fenced block does not end"
    return fences, "\n".join(rest)


def sections(text: str) -> dict[str, str]:
    """Give a page's sections by heading, each with its subsections."""
    found: dict[str, str] = {}
    headings = list(re.finditer(r"^(#+) (.+)$", split_fences(text)[1], re.MULTILINE))
    lines = text.splitlines()
    for at, heading in enumerate(headings):
        begins = text_line(text, heading.start())
        ends = len(lines)
        for later in headings[at + 1 :]:
            if len(later[1]) <= len(heading[1]):
                ends = text_line(text, later.start())
                break
        found[heading[2]] = "\n".join(lines[begins:ends])
    return found


def text_line(text: str, offset: int) -> int:
    return split_fences(text)[1][:offset].count("\n")


def rows(text: str) -> list[list[str]]:
    """Give the cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def row_with(text: str, first: str) -> list[str] | None:
    return next((row for row in rows(text) if row[0] == first), None)


def slug(heading: str) -> str:
    """Give the anchor of a heading as GitHub makes it."""
    bare = re.sub(r"[`*]", "", heading).lower()
    return re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", bare))


# ── pages are sound ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", split_fences(text_of(name))[1]):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        if not page.exists():
            broken.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", split_fences(page.read_text(encoding="utf-8"))[1], re.MULTILINE)
            if anchor not in {slug(one) for one in headings}:
                broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", text_of("docs/index.md"))
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in targets} | {DOCS / "index.md"}
    assert [path.name for path in PAGES if path.parent != ROOT and path not in linked] == []


@pytest.mark.parametrize("name", NAMES)
def test_json_in_the_pages_is_json(name: str) -> None:
    for fence in split_fences(text_of(name))[0]:
        if fence.language == "json":
            json.loads(fence.content)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_no_machines_own_paths(name: str) -> None:
    assert MACHINE_PATHS.findall(text_of(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_files_named_in_a_page_exist(name: str) -> None:
    named = set(re.findall(r"\b(?:lrs|schemas|projections|consumers|tests|docs)/[\w./-]*\w", text_of(name)))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("name", NAMES)
def test_tests_named_in_a_page_exist(name: str) -> None:
    for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(name)):
        written = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        functions = {one.name for one in written if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert test in functions, f"{path} has no {test}"


def test_each_proof_of_forgetting_is_named_with_its_test() -> None:
    told = {row[0] for row in rows(text_of("docs/explanation/forgetting.md")) if "::test_" in row[-1]}
    assert told >= PROOFS


@pytest.mark.parametrize("name", NAMES)
def test_variables_named_in_a_page_exist(name: str) -> None:
    known = {variable(one.name) for one in dataclasses.fields(Settings)} | OTHERS_VARIABLES
    known |= {one.envvar for _, command in all_commands() for one in command.params if isinstance(one.envvar, str)}
    assert sorted(set(re.findall(r"\bGRIFFEL_[A-Z_]*[A-Z]\b", text_of(name))) - known) == []


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = text_of("CHANGELOG.md").partition("\n## ")[2].partition("\n## ")[0]
    assert project["version"] in newest


def test_the_glossary_has_each_word_once_in_order() -> None:
    words = [row[0].strip("*") for row in rows(text_of("docs/glossary.md"))[1:]]
    assert words == sorted(set(words), key=str.lower)


# ── what exists is described ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("setting", dataclasses.fields(Settings), ids=lambda one: one.name)
def test_each_setting_is_described_with_its_default(setting: dataclasses.Field[Any]) -> None:
    row = row_with(reference("settings"), f"`--{setting.name.replace('_', '-')}`")
    assert row is not None, "no row"
    assert row[1] == f"`{variable(setting.name)}`"
    if setting.default:
        assert row[2] == f"`{getattr(setting.default, 'value', setting.default)}`"
    else:
        assert row[2] in ("none", "see below")
    assert row[3]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Give each command and subcommand by its full name."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield f"griffel {name}", command
        if isinstance(command, click.Group):
            yield from ((f"griffel {name} {one}", inner) for one, inner in command.commands.items())


def test_each_command_is_described() -> None:
    described = sections(reference("cli"))
    assert [name for name, _ in all_commands() if name not in described] == []


def test_each_option_is_described_with_its_variable() -> None:
    described = sections(reference("cli"))
    settings = {one.name for one in dataclasses.fields(Settings)}
    missing = []
    for name, command in all_commands():
        table = rows(described[name])
        for option in command.params:
            if not isinstance(option, click.Option) or option.name in settings:
                continue
            flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
            row = next((one for one in table if one[0] == flags), None)
            if row is None or (option.envvar and row[1] != f"`{option.envvar}`"):
                missing.append(f"{name} {flags} {option.envvar}")
    assert missing == []


def test_each_kind_of_event_is_described() -> None:
    described = sections(reference("events"))
    assert [kind for kind in events.KINDS if f"`{kind}`" not in described] == []


def test_each_scope_is_described() -> None:
    assert [scope.value for scope in Scope if row_with(reference("scopes"), f"`{scope}`") is None] == []


def test_each_error_is_described() -> None:
    page = reference("http-api")
    kinds = [
        kind
        for module in (lrs.errors, schemas.errors, problem)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
    ]
    assert len(kinds) > 10, "the errors were not found"
    assert [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in page] == []


def test_each_problem_type_is_described_with_its_status() -> None:
    table = rows(sections(reference("http-api"))["Problems"])
    answers = [(name, str(status.value), kind.__name__) for kind, status, name in problem.STATUS_BY_ERROR]
    assert [one for one in answers if [f"`{one[0]}`", one[1], f"`{one[2]}`"] not in [row[:3] for row in table]] == []
    assert ["`server-fault`", "500"] in [row[:2] for row in table]


@cache
def routes() -> dict[str, Any]:
    """Give every route of the whole application: path and handler."""
    services: Any = SimpleNamespace(
        limits=Limits(), cors_origin="*", views=SimpleNamespace(courses=None), guard=None, policy=None, purposes=None
    )
    app = application(services, Settings())
    return {route.resource.canonical: route.handler for route in app.router.routes() if route.resource is not None}


def test_each_route_is_described() -> None:
    described = sections(reference("http-api"))
    # What no route takes ends at the last one, which answers that there is nothing.
    assert [path for path in routes() if path != "/{path}" and f"`{path}`" not in described] == []


def test_each_method_of_a_resource_is_described() -> None:
    described = sections(reference("http-api"))
    methods = [
        (path, method)
        for path, handler in routes().items()
        for method in set(getattr(getattr(handler, "__self__", None), "_handlers", ())) - {"HEAD"}
    ]
    assert len(methods) > 20, "the resources were not found"
    assert [one for one in methods if row_with(described[f"`{one[0]}`"], f"`{one[1]}`") is None] == []


def test_each_parameter_of_statements_is_described() -> None:
    described = sections(reference("http-api"))["`/xapi/statements`"]
    assert [name for name in (*ONE_STATEMENT, *FILTERS) if row_with(described, f"`{name}`") is None] == []


def test_each_table_is_on_the_data_map() -> None:
    scripts = [path.read_text(encoding="utf-8") for path in (ROOT / "lrs/sql").glob("*.sql")]
    tables = set(re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "\n".join(scripts), re.MULTILINE))
    assert len(tables) > 10, "the tables were not found"
    mapped = sections(text_of("docs/explanation/privacy-model.md"))["The data map"]
    assert [table for table in sorted(tables) if row_with(mapped, f"`{table}`") is None] == []


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bounds() -> Iterator[tuple[str, str, float]]:
    """Give every named bound: its module's path, its name, its value. The invented school has none that matter."""
    packages = ("consumers", "lrs", "projections", "schemas")
    for path in [one for package in packages for one in sorted((ROOT / package).rglob("*.py"))]:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("lrs/demo/"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and BOUND.fullmatch(target.id):
                module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
                yield name, target.id, getattr(module, target.id)
    for kind, where in ((Limits, "lrs/http/call.py"), (JsonLimits, "schemas/json_input.py")):
        for one in dataclasses.fields(kind):
            yield where, f"{kind.__name__}.{one.name}", one.default


def value_of(text: str) -> float:
    """Read a value as the page writes it: 5,000 or 16 MiB or 0.5 s."""
    number, _, unit = text.partition(" ")
    return float(number.replace(",", "")) * UNITS.get(unit, 1)


def test_each_bound_is_described_with_its_value() -> None:
    described = {(row[1].strip("`"), row[0].strip("`")): row[2] for row in rows(reference("limits")) if len(row) == 4}
    found = {(where, name): value for where, name, value in bounds()}
    assert len(found) > 50, "the bounds were not found"
    assert sorted(found.keys() - described.keys()) == []
    wrong = [(key, described[key], value) for key, value in found.items() if value_of(described[key]) != float(value)]
    assert wrong == []


def test_each_described_bound_exists() -> None:
    described = [row for row in rows(reference("limits")) if len(row) == 4 and row[0] != "name"]
    found = {(where, name) for where, name, _ in bounds()}
    assert [row[0] for row in described if (row[1].strip("`"), row[0].strip("`")) not in found] == []


# ── commands in the pages work as they stand ──────────────────────────────────────────────────────────────────────────


def simple_commands(script: str) -> Iterator[list[str]]:
    """Give the words of each simple command of a shell script, without comments and variables set in front."""
    bare = re.sub(r"(?:^|(?<=\s))# .*$", "", script.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(bare, posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if word[0] in "|&;<>\n":
            yield words
            words = []
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)


def command_lines(name: str) -> Iterator[list[str]]:
    """Give the words after `griffel` of every such command in the shell blocks of a page."""
    for fence in split_fences(text_of(name))[0]:
        if fence.language not in SHELLS:
            continue
        for words in simple_commands(fence.content):
            if words[:4] == ["docker", "compose", "exec", "griffel"]:
                words = words[4:]  # noqa: PLW2901  what runs inside
            if words and words[0].rpartition("/")[2] == "griffel":
                yield words[1:]


def find_command(words: list[str]) -> tuple[click.Context, list[str]]:
    """Go from `griffel` to the command that the words name; give its context and the words that are left."""
    context = click.Context(main, info_name="griffel")
    while words and isinstance(context.command, click.Group) and not words[0].startswith("-"):
        command = context.command.get_command(context, words[0])
        assert command is not None, f"there is no command {words[0]}"
        context = click.Context(command, parent=context, info_name=words[0])
        words = words[1:]
    return context, words


def parse(words: list[str]) -> None:
    """Read a command line as click would, without asking whether the files it names exist."""
    context, left = find_command(words)
    given, rest, order = context.command.make_parser(context).parse_args(list(left))
    assert rest == [], f"{rest} is too much"
    assert order or left == [], f"nothing of {left} was understood"
    for parameter in context.command.params:
        value = given.get(parameter.name)
        if parameter.required:
            assert value, f"{parameter.name} is missing"
        if value is not None and not isinstance(parameter.type, click.Path):
            parameter.process_value(context, value)


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_the_pages_can_be_typed(name: str) -> None:
    for words in command_lines(name):
        try:
            parse(words)
        except (click.ClickException, AssertionError) as error:
            pytest.fail(f"griffel {shlex.join(words)}: {error}")


def test_the_pages_hold_commands() -> None:
    assert sum(1 for name in NAMES for _ in command_lines(name)) > 30


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_the_text_exist(name: str) -> None:
    for found in re.findall(r"`(griffel [^`]*)`", split_fences(text_of(name))[1]):
        context, words = find_command(shlex.split(found)[1:])
        known = {flag for one in context.command.params for flag in (*one.opts, *one.secondary_opts)}
        known |= {"--help", "--version"}
        assert [word for word in words if word.startswith("--") and word not in known] == [], found


def test_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", text_of("Makefile"), re.MULTILINE))
    named = {one for name in NAMES for one in re.findall(r"(?:`|^)make ([a-z]+)", text_of(name), re.MULTILINE)}
    assert named
    assert named <= targets
