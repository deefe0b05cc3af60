"""The floor: an aiohttp server that parses the body and answers, and does nothing else."""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Parse and answer with as many ids as there are statements."""
    content = orjson.loads(await request.read())
    ids = [one["id"] for one in content] if isinstance(content, list) else [content["id"]]
    return web.Response(body=orjson.dumps(ids), content_type="application/json")


async def main() -> None:
    """Serve on the port given until killed."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/xapi/statements", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
