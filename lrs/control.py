"""The control socket: what the command line asks of a running server, over a socket only its owner can open.

Each command is a function on Services; the same functions serve the command line when no server runs. Who asks has
lrs/asking.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from lrs.credentials import Credentials
from lrs.errors import GriffelError
from lrs.scopes import parse_scopes
from schemas.envelope import Purpose
from schemas.errors import InvalidInput

Command = Callable[[Credentials, dict[str, Any]], Awaitable[Any]]


async def create_credential(credentials: Credentials, asked: dict[str, Any]) -> dict[str, str]:
    """Make a credential."""
    key, secret = await credentials.create(
        parse_scopes(asked["scopes"]),
        label=asked.get("label", ""),
        purpose=Purpose[asked.get("purpose", "learning").upper()],
        authority=asked.get("authority"),
    )
    return {"key": key, "secret": secret}


async def list_credentials(credentials: Credentials, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """List credentials, without secrets."""
    del asked
    return [
        {**dataclasses.asdict(one), "scopes": sorted(one.scopes), "purpose": one.purpose.name.lower()}
        for one in await credentials.listed()
    ]


async def revoke_credential(credentials: Credentials, asked: dict[str, Any]) -> dict[str, str]:
    """Revoke a credential."""
    await credentials.revoke(asked["key"])
    return {"key": asked["key"]}


COMMANDS: dict[str, Command] = {
    "credentials/create": create_credential,
    "credentials/list": list_credentials,
    "credentials/revoke": revoke_credential,
}


def control_application(
    credentials: Credentials, more: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]] | None = None
) -> web.Application:
    """Give the application that answers on the control socket; `more` are commands besides those on credentials."""
    commands = {name: partial(command, credentials) for name, command in COMMANDS.items()} | dict(more or {})

    async def answer(request: web.Request) -> web.Response:
        command = commands.get(request.match_info["name"])
        if command is None:
            return web.Response(body=orjson.dumps({"error": "this server does not know that command"}), status=404)
        try:
            told = await command(orjson.loads(await request.read()))
        except (GriffelError, InvalidInput) as error:
            return web.Response(body=orjson.dumps({"error": error.detail}), status=400)
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    app = web.Application()
    app.router.add_post("/{name:.+}", answer)
    return app
