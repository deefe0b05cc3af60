"""Asking a running server over its control socket (lrs/control.py), with nothing that takes long to import."""

from __future__ import annotations

import asyncio
import http.client
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from lrs.errors import Misconfigured


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("griffel")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


async def ask_server(path: Path, command: str, asked: dict[str, Any]) -> Any:
    """Have the running server carry out a command. Raises Misconfigured with what it said, OSError where none is."""
    return await asyncio.to_thread(_ask, path, command, asked)


def _ask(path: Path, command: str, asked: dict[str, Any]) -> Any:
    connection = _Connection(path)
    try:
        connection.request("POST", f"/{command}", body=orjson.dumps(asked))
        response = connection.getresponse()
        told = orjson.loads(response.read())
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise Misconfigured(told["error"])
    return told
