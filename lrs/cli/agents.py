"""Agents on the command line."""

from __future__ import annotations

from typing import Any

import click


def read_agent(text: str, option: str = "--agent") -> Any:
    """Read an agent from JSON; a usage error, which does not repeat it, where it is none."""
    from schemas.errors import InvalidInput  # noqa: PLC0415  keeps `griffel --help` quick
    from schemas.json_input import parse_json  # noqa: PLC0415
    from schemas.statement import check_agent  # noqa: PLC0415

    try:
        agent = parse_json(text.encode())
        check_agent(agent, "2.0.0", "")
    except InvalidInput as error:
        raise click.UsageError(f"{option} is not an agent: {error.detail} {error.pointer}") from error
    return agent
