"""docker-compose.yml: what it tells Griffel exists, everything says whether it is well, nothing runs as root."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from lrs.__main__ import main
from lrs.config import Settings, variable

ROOT = Path(__file__).resolve().parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = [name for name, one in SERVICES.items() if one.get("image") == "griffel"]


def command_of(name: str) -> tuple[click.Command, list[str]]:
    words = SERVICES[name].get("command", ["serve"])
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    left = words[1:]
    if isinstance(command, click.Group):
        command, left = command.commands[left[0]], left[1:]
    return command, left


def test_the_services_are_there() -> None:
    assert {"postgres", "kafka", "topics", "griffel", "relay", "consumers"} <= SERVICES.keys()


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_is_told_its_command_takes(name: str) -> None:
    command, words = command_of(name)
    takes = {one.envvar for one in command.params if isinstance(one.envvar, str)}
    told = {one for one in SERVICES[name].get("environment", {}) if one.startswith("GRIFFEL_")}
    assert told - takes == set()
    flags = {flag for one in command.params for flag in one.opts}
    assert {word for word in words if word.startswith("--")} <= flags
    assert {variable(one.name) for one in dataclasses.fields(Settings)} >= told - {"GRIFFEL_LISTEN"}


@pytest.mark.parametrize("name", SERVICES)
def test_everything_that_stays_says_whether_it_is_well_and_nothing_is_root(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] not in ("root", "0", "0:0")
    assert service["cap_drop"] == ["ALL"]
    check = service.get("healthcheck", {})
    if name == "topics":
        assert check == {"disable": True}
    elif name == "griffel":
        assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    else:
        assert check["test"]
        assert "disable" not in check


@pytest.mark.parametrize("name", ["relay", "consumers"])
def test_relay_and_consumers_are_asked_where_they_listen(name: str) -> None:
    port = SERVICES[name]["environment"]["GRIFFEL_LISTEN"].rpartition(":")[2]
    assert f"127.0.0.1:{port}/health/ready" in SERVICES[name]["healthcheck"]["test"][-1]
