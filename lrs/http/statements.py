"""The statement resource: PUT, POST and GET /xapi/statements (xAPI Communication 2.1)."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from lrs.errors import GriffelError, NotFound, WriterGone
from lrs.http.app import Services, add_common_headers
from lrs.http.call import CONSISTENT_HEADER, VERSION_HEADER, Call
from lrs.http.multipart import MULTIPART, StatementParts, answer_with_attachments
from lrs.privacy_desk import Told
from lrs.reading import Page, StatementFilter, timestamp
from lrs.recording import Attached
from lrs.scopes import Scope
from lrs.signatures import SIGNATURE_BYTES_MAX, SIGNATURE_TYPE, SIGNATURE_USAGE, verify_signature
from schemas.activities import preferred_languages
from schemas.consent import CONSENT_VERBS
from schemas.errors import InvalidInput, TooLarge
from schemas.iri import check_iri
from schemas.json_input import parse_json
from schemas.people import Json
from schemas.statement import Version, check_agent, check_statement, check_uuid, normalise_statement, parse_timestamp

MORE_PATH = "/xapi/statements/more/"
CHECKED_AT_ONCE = 100
"""How many statements are checked before the event loop gets a turn."""
SHA2_BY_DIGITS = {56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
"""Which of the SHA-2 sums an attachment's `sha2` is, by its hexadecimal digits (xAPI Data 2.4.11)."""
FORMATS = ("ids", "exact", "canonical")
ONE_STATEMENT = ("statementId", "voidedStatementId")
WITH_ONE = ("format", "attachments")
FILTERS = (
    "agent",
    "verb",
    "activity",
    "registration",
    "related_activities",
    "related_agents",
    "since",
    "until",
    "limit",
    "format",
    "attachments",
    "ascending",
)
DEFAULT_STATEMENT_VERSION = {"1.0.3": "1.0.0", "2.0.0": "2.0.0"}
_WHOLE_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


class StatementResource:
    """Handlers of /xapi/statements."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def post(self, call: Call) -> web.Response:
        """Record one statement or a batch; the answer is their ids, in order."""
        call.only()
        ids = await self._record(call, None)
        return web.Response(body=orjson.dumps(ids), content_type="application/json")

    async def put(self, call: Call) -> web.Response:
        """Record one statement under the id in `statementId`."""
        call.only("statementId")
        call.required("statementId")
        statement_id = _uuid(call, "statementId")
        await self._record(call, statement_id)
        return web.Response(status=204)

    async def _record(self, call: Call, put_id: str | None) -> list[str]:
        call.caller.must(Scope.STATEMENTS_WRITE)
        # What arrived together goes on together, step by step: its code and data are in the processor's caches then.
        await asyncio.sleep(0)
        if call.media_type == "application/json":
            content = await call.json()
            statements, prefix = await self._checked(call, content, put_id)
            _refuse_missing(statements, {}, prefix)
            return await self._append(call, statements, Attached(), single=prefix == "")
        if call.media_type != MULTIPART:
            raise InvalidInput("statements come as application/json or multipart/mixed", "")
        parts = StatementParts(call)
        statements, prefix = await self._checked(call, parse_json(await parts.statements()), put_id)
        blobs: dict[str, Json] = {}
        try:
            attached = await self._take_attachments(call.version, parts, statements, prefix, blobs)
            return await self._append(call, statements, attached, single=prefix == "")
        except WriterGone:
            # The statements may be in the log: what they do not hold is swept away later (lrs/attachments.py).
            raise
        except (InvalidInput, GriffelError):
            for blob in blobs.values():
                await self._services.attachments.discard(blob)
            raise

    async def _checked(self, call: Call, content: Any, put_id: str | None) -> tuple[list[Json], str]:
        """Check every statement of a request; give them, and what pointers into them begin with."""
        if put_id is not None or not isinstance(content, list):
            statements, prefix = [content], ""
        else:
            statements, prefix = content, "/"
        if len(statements) > call.limits.statements_max:
            raise TooLarge(f"a batch may have {call.limits.statements_max} statements", "")
        for index, statement in enumerate(statements):
            check_statement(statement, call.version, f"/{index}" if prefix else "")
            normalise_statement(statement)
            if index % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
        if put_id is not None:
            given = statements[0].setdefault("id", put_id)
            if given.lower() != put_id.lower():
                raise InvalidInput("the statement's id is not the one in `statementId`", "/id")
        return statements, prefix

    async def _append(self, call: Call, statements: list[Json], attached: Attached, *, single: bool) -> list[str]:
        if not statements:
            return []
        try:
            decisions = self._decisions(call, statements)
            for told, statement_id in decisions:
                if told.given:
                    await self._services.desk.decide(told, statement_id)
            ids = await self._services.recorder.record_statements(
                statements,
                call.caller.authority,
                DEFAULT_STATEMENT_VERSION[call.version],
                attached=attached,
                may_define=call.caller.may(Scope.DEFINE),
            )
            for told, statement_id in decisions:
                # What is withdrawn is recorded first: after it nothing may be recorded any more.
                if not told.given:
                    await self._services.desk.decide(told, statement_id)
            return ids
        except (InvalidInput, GriffelError) as error:
            if single and error.pointer:
                error.pointer = error.pointer.removeprefix("/0")
            raise

    def _decisions(self, call: Call, statements: Sequence[Json]) -> list[tuple[Told, str]]:
        """Give what statements of a trusted credential decide about consent, each with the statement's id.

        Raises InvalidInput, before anything is done.
        """
        found: list[tuple[Told, str]] = []
        if not call.caller.may(Scope.PRIVACY):
            return found
        for index, statement in enumerate(statements):
            if statement["verb"]["id"] not in CONSENT_VERBS:
                continue
            try:
                told = self._services.desk.told_by(statement)
            except InvalidInput as error:
                error.pointer = f"/{index}{error.pointer}"
                raise
            if told is not None:
                found.append((told, statement.setdefault("id", str(uuid.uuid4()))))
        return found

    async def _take_attachments(
        self, version: Version, parts: StatementParts, statements: Sequence[Json], prefix: str, blobs: dict[str, Json]
    ) -> Attached:
        """Store what follows the statements; blobs holds what was stored, also when this raises."""
        wanted: dict[str, tuple[Json, Json, str]] = {}
        for index, statement in enumerate(statements):
            for place, attachment in enumerate(statement.get("attachments", ())):
                pointer = f"/{index}/attachments/{place}" if prefix else f"/attachments/{place}"
                wanted.setdefault(attachment["sha2"].lower(), (statement, attachment, pointer))
        signed: dict[str, frozenset[str]] = {}
        async for declared, pieces in parts.attachments():
            if declared not in wanted or declared in blobs:
                raise InvalidInput("a part's X-Experience-API-Hash is none of the attachments' sha2", "")
            statement, attachment, pointer = wanted[declared]
            signature = bytearray()
            is_signature = attachment["usageType"] == SIGNATURE_USAGE
            store = self._services.attachments
            kept = _kept(pieces, signature) if is_signature else pieces
            sha2, blob = await store.save(kept, algorithm=SHA2_BY_DIGITS[len(declared)])
            blobs[attachment["sha2"]] = blob
            if sha2 != declared:
                raise InvalidInput("an attachment's bytes do not have the SHA-2 sum that they came with", pointer)
            if is_signature:
                if attachment["contentType"].partition(";")[0].strip().lower() != SIGNATURE_TYPE:
                    raise InvalidInput(f"a signature's contentType must be {SIGNATURE_TYPE}", pointer + "/contentType")
                signed[attachment["sha2"]] = verify_signature(bytes(signature), statement, version, pointer)
        _refuse_missing(statements, blobs, prefix)
        return Attached(blobs, signed)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, call: Call) -> web.StreamResponse:
        """Give one statement by id, or a page of those that a filter asks for."""
        call.caller.must(Scope.STATEMENTS_READ, Scope.STATEMENTS_READ_MINE, reading=True)
        named = [name for name in ONE_STATEMENT if name in call.params]
        if named:
            return await self._get_one(call, named)
        call.only(*ONE_STATEMENT, *FILTERS)
        page = await self._services.reader.first_page(self._filter(call), call.caller)
        return await self._page(call, page)

    async def more(self, call: Call) -> web.StreamResponse:
        """Give the page that a `more` leads to."""
        call.caller.must(Scope.STATEMENTS_READ, Scope.STATEMENTS_READ_MINE, reading=True)
        call.only()
        page = await self._services.reader.next_page(call.request.match_info["token"], call.caller)
        return await self._page(call, page)

    async def _get_one(self, call: Call, named: Sequence[str]) -> web.StreamResponse:
        if len(named) > 1:
            raise InvalidInput("ask by statementId or by voidedStatementId, not by both", "")
        call.only(*named, *WITH_ONE)
        statement_id = _uuid(call, named[0])
        assert statement_id is not None
        shape, attachments = _format(call), _boolean(call, "attachments")
        watermark_us = await self._services.log.watermark()
        opened = await self._services.reader.statement(
            statement_id,
            call.caller,
            voided=named[0] == "voidedStatementId",
            shape=shape,
            languages=preferred_languages(call.headers.get("Accept-Language", "")),
        )
        if opened is None:
            raise NotFound("there is no such statement")
        marks = {CONSISTENT_HEADER: timestamp(watermark_us), "Last-Modified": http_date(opened.stored_us)}
        if attachments:
            return await self._with_attachments(call, opened.statement, [opened.statement], opened.blobs, marks)
        return web.Response(body=orjson.dumps(opened.statement), content_type="application/json", headers=marks)

    async def _page(self, call: Call, page: Page) -> web.StreamResponse:
        content = {"statements": page.statements, "more": MORE_PATH + page.more if page.more else ""}
        marks = {CONSISTENT_HEADER: timestamp(page.watermark_us)}
        if page.statements:
            marks["Last-Modified"] = http_date(page.newest_us)
        if page.attachments:
            return await self._with_attachments(call, content, page.statements, page.blobs, marks)
        return web.Response(body=orjson.dumps(content), content_type="application/json", headers=marks)

    async def _with_attachments(
        self, call: Call, content: object, statements: Sequence[Json], blobs: dict[str, Json], marks: dict[str, str]
    ) -> web.StreamResponse:
        holder = web.Response(headers={**marks, VERSION_HEADER: call.version})
        add_common_headers(holder, self._services.cors_origin)
        store = self._services.attachments
        headers = {name: value for name, value in holder.headers.items() if name != "Content-Type"}
        return await answer_with_attachments(call, content, statements, blobs, store, headers)

    def _filter(self, call: Call) -> StatementFilter:
        params = call.params
        asked = StatementFilter(
            agent=read_agent(call) if "agent" in params else None,
            verb=_iri(call, "verb"),
            activity=_iri(call, "activity"),
            registration=_uuid(call, "registration"),
            related_agents=_boolean(call, "related_agents"),
            related_activities=_boolean(call, "related_activities"),
            ascending=_boolean(call, "ascending"),
            attachments=_boolean(call, "attachments"),
            format=_format(call),
            limit=_limit(call),
            languages=preferred_languages(call.headers.get("Accept-Language", "")),
        )
        if "since" in params:
            asked.since = read_timestamp(call, "since")
        if "until" in params:
            asked.until = read_timestamp(call, "until")
        return asked


async def _kept(pieces: Any, kept: bytearray) -> Any:
    """Pass a stream on and keep a copy of it, up to a signature's size."""
    async for piece in pieces:
        kept += piece
        if len(kept) > SIGNATURE_BYTES_MAX:
            raise TooLarge(f"a signature may have {SIGNATURE_BYTES_MAX} bytes", "")
        yield piece


def _refuse_missing(statements: Sequence[Json], blobs: dict[str, Json], prefix: str) -> None:
    for index, statement in enumerate(statements):
        for place, attachment in enumerate(statement.get("attachments", ())):
            if "fileUrl" not in attachment and attachment["sha2"] not in blobs:
                pointer = f"/{index}/attachments/{place}" if prefix else f"/attachments/{place}"
                raise InvalidInput("an attachment without a fileUrl must come as a part of its own", pointer)


def read_agent(call: Call, name: str = "agent") -> Json:
    """Read a parameter that holds an agent or identified group as JSON."""
    try:
        agent = parse_json(call.required(name).encode())
        check_agent(agent, call.version, "")
    except InvalidInput as error:
        raise InvalidInput(f"the parameter `{name}` is not an agent: {error.detail}", "") from error
    if not any(key in agent for key in ("account", "mbox", "mbox_sha1sum", "openid")):
        raise InvalidInput(f"the parameter `{name}` needs an inverse functional identifier", "")
    checked: Json = agent
    return checked


def read_timestamp(call: Call, name: str) -> Any:
    """Read a parameter that holds an instant."""
    try:
        return parse_timestamp(call.params[name], call.version)
    except InvalidInput as error:
        raise InvalidInput(f"the parameter `{name}` is not a timestamp: {error.detail}", "") from error


def _uuid(call: Call, name: str) -> str | None:
    value = call.params.get(name)
    if value is None:
        return None
    try:
        check_uuid(value)
    except InvalidInput as error:
        raise InvalidInput(f"the parameter `{name}` is not a UUID", "") from error
    return value


def _iri(call: Call, name: str) -> str | None:
    value = call.params.get(name)
    if value is not None:
        try:
            check_iri(value)
        except InvalidInput as error:
            raise InvalidInput(f"the parameter `{name}` is not an IRI", "") from error
    return value


def _boolean(call: Call, name: str) -> bool:
    value = call.params.get(name, "false").lower()
    if value not in _BOOLEANS:
        raise InvalidInput(f"the parameter `{name}` must be true or false", "")
    return _BOOLEANS[value]


def _limit(call: Call) -> int:
    value = call.params.get("limit", "0")
    if not _WHOLE_NUMBER.fullmatch(value):
        raise InvalidInput("the parameter `limit` must be a whole number of 0 or more", "")
    return int(value)


def _format(call: Call) -> str:
    value = call.params.get("format", "exact")
    if value not in FORMATS:
        raise InvalidInput("the parameter `format` must be ids, exact or canonical", "")
    return value


def http_date(us: int) -> str:
    """Give an instant (µs since 1970) as HTTP headers write it."""
    return formatdate(us // 1_000_000, usegmt=True)
