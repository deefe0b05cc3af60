"""Styles, scripts and images of the pages, served by names that hold a hash of what is in them.

So a name stands for one content for ever, and browsers may keep it without asking.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

STATIC_FOLDER = Path(__file__).parent / "static"
STATIC_PATH = "/static/"
HASH_CHARACTERS = 16
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """One file: the name it is served by, its media type, its bytes."""

    served_name: str
    content_type: str
    body: bytes


@cache
def assets() -> dict[str, Asset]:
    """Give every asset by the name of its file. Reads the folder once."""
    return {path.name: _read(path) for path in sorted(STATIC_FOLDER.iterdir()) if path.suffix in CONTENT_TYPES}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    mark = hashlib.sha256(body).hexdigest()[:HASH_CHARACTERS]
    return Asset(f"{path.stem}.{mark}{path.suffix}", CONTENT_TYPES[path.suffix], body)


def asset_path(name: str) -> str:
    """Give the path, from the root of the site, by which a file of the static folder is served."""
    return STATIC_PATH + assets()[name].served_name


def asset_response(served_name: str) -> web.Response | None:
    """Give an asset's content, or None where no asset of now has this name."""
    for asset in assets().values():
        if asset.served_name == served_name:
            headers = {
                "Cache-Control": "public, max-age=31536000, immutable",
                "Cross-Origin-Resource-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
            }
            charset = None if asset.content_type == "image/svg+xml" else "utf-8"
            return web.Response(body=asset.body, content_type=asset.content_type, charset=charset, headers=headers)
    return None
