"""A small xAPI endpoint in memory, true to the protocol where a client can tell, with faults that a test asks for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

from lrs.cli.multipart import Attachment, multipart_body, read_page

Json = dict[str, Any]

KEY, SECRET = "a key", "s€cret"


class FakeEndpoint:
    """Runs on a free port in a thread of its own; a context manager.

    Tests set `refuse` (statement → None or (status, pointer, detail)), fill `answers_first` with prepared answers that
    the next requests to /statements get (status and headers), and set `fails_after` to have every POST after so many
    good ones answered 500.
    """

    def __init__(self, versions: tuple[str, ...] = ("1.0.3", "2.0.0")) -> None:
        self.versions = versions
        self.statements: dict[str, Json] = {}
        self.attachments: dict[str, Attachment] = {}
        self.posts: list[list[Json]] = []
        self.queries: list[dict[str, str]] = []
        self.version_headers: set[str] = set()
        self.refuse: Callable[[Json], tuple[int, str | None, str] | None] = lambda _: None
        self.answers_first: list[tuple[int, dict[str, str]]] = []
        self.fails_after: int | None = None
        self.page_max = 1000
        self.more_prefix = ""
        self._now = datetime(2026, 9, 7, 8, 0, tzinfo=UTC)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/xapi"

    @property
    def options(self) -> list[str]:
        return ["--key", KEY, "--secret", SECRET]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/xapi/about", self._about)
        app.router.add_post("/xapi/statements", self._post)
        app.router.add_get("/xapi/statements", self._get)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def store(self, statement: Json, stored: str | None = None) -> None:
        """Put a statement in as if it had been posted."""
        self._now += timedelta(milliseconds=7)
        kept = {**statement, "stored": stored or self._now.isoformat().replace("+00:00", "Z")}
        self.statements[statement["id"]] = {"timestamp": kept["stored"], **kept, "version": "2.0.0"}

    async def _about(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": list(self.versions)})

    def _turned_away(self, request: web.Request) -> web.Response | None:
        self.version_headers.add(request.headers.get("X-Experience-API-Version", ""))
        pair = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {pair}":
            return problem(401, None, "Who are you?")
        if request.headers.get("X-Experience-API-Version") not in self.versions:
            return problem(400, None, "This version is not spoken here.")
        if self.answers_first:
            status, headers = self.answers_first.pop(0)
            return web.Response(status=status, headers=headers)
        return None

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        if (refusal := self._turned_away(request)) is not None:
            return refusal
        if self.fails_after is not None and len(self.posts) >= self.fails_after:
            return web.Response(status=500)
        attachments: dict[str, Attachment] = {}
        if request.content_type == "multipart/mixed":
            statements, attachments = read_list(request.headers["Content-Type"], body)
        else:
            statements = json.loads(body)
        ids = [statement["id"].lower() for statement in statements]
        if len(set(ids)) != len(ids):
            return problem(400, "", "The same id twice in one batch.")
        for index, statement in enumerate(statements):
            if (refused := self.refuse(statement)) is not None:
                status, pointer, detail = refused
                return problem(status, None if pointer is None else f"/{index}{pointer}", detail)
            needed = [one["sha2"] for one in statement.get("attachments", ()) if "fileUrl" not in one]
            if any(sha2 not in attachments for sha2 in needed):
                return problem(400, f"/{index}/attachments", "The data are missing.")
            known = self.statements.get(ids[index])
            if known is not None and meaning(known) != meaning(statement):
                return problem(409, f"/{index}/id", "Another statement has this id.")
        self.posts.append(statements)
        self.attachments |= attachments
        for statement in statements:
            if statement["id"].lower() not in self.statements:
                self.store(statement)
        return web.json_response(ids)

    async def _get(self, request: web.Request) -> web.Response:
        if (refusal := self._turned_away(request)) is not None:
            return refusal
        query = dict(request.query)
        self.queries.append(query)
        since, until = query.get("since"), query.get("until")
        found = sorted(self.statements.values(), key=lambda statement: moment(statement["stored"]))
        found = [one for one in found if since is None or moment(one["stored"]) > moment(since)]
        found = [one for one in found if until is None or moment(one["stored"]) <= moment(until)]
        if query.get("ascending") != "true":
            found.reverse()
        begin, limit = int(query.get("from", "0")), min(int(query.get("limit") or 100), self.page_max)
        page = found[begin : begin + limit]
        more = ""
        if begin + limit < len(found):
            following = request.rel_url.update_query({"from": str(begin + limit)})
            more = f"{self.more_prefix}{following}"
        body, content_type = json.dumps({"statements": page, "more": more}).encode(), "application/json"
        if query.get("attachments") == "true":
            wanted = [entry["sha2"] for one in page for entry in one.get("attachments", ()) if "fileUrl" not in entry]
            body, content_type = multipart_body(body, [self.attachments[sha2] for sha2 in wanted])
        headers = {"Content-Type": content_type, "X-Experience-API-Consistent-Through": "2026-09-07T09:00:00Z"}
        return web.Response(body=body, headers=headers)


def problem(status: int, pointer: str | None, detail: str) -> web.Response:
    document = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
    if pointer is not None:
        document["pointer"] = pointer
    return web.Response(status=status, body=json.dumps(document), content_type="application/problem+json")


def read_list(content_type: str, body: bytes) -> tuple[list[Json], dict[str, Attachment]]:
    """Read a multipart body whose first part is a list: the client's reader wants an object there."""
    head, _, rest = body.partition(b"\r\n\r\n")
    listed, _, tail = rest.partition(b"\r\n--")
    document, attachments = read_page(content_type, head + b'\r\n\r\n{"statements":' + listed + b"}\r\n--" + tail)
    return document["statements"], attachments


def meaning(statement: Json) -> Json:
    return {name: value for name, value in statement.items() if name not in {"stored", "timestamp", "version", "id"}}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def statement(number: int, **more: Any) -> Json:
    """Invent a statement; the same number gives the same one."""
    return {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "actor": {"mbox": f"mailto:person{number}@school.example"},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
        "object": {"id": f"https://school.example/pages/{number}"},
        **more,
    }


def attachment(text: str) -> Attachment:
    data = text.encode()
    return Attachment(hashlib.sha256(data).hexdigest(), "text/plain", data)


def attachment_entry(data: Attachment) -> Json:
    return {
        "usageType": "https://school.example/work",
        "display": {"en": "work"},
        "contentType": data.content_type,
        "length": len(data.data),
        "sha2": data.sha2,
    }
