"""One xAPI request, whichever way it was sent: version, caller, parameters and content, checked.

1.0.3 lets a POST stand for another method, with parameters, headers and content in a form (alternate request syntax,
Communication 1.3); 2.0 does away with it. Past this module nobody knows the difference.
"""

from __future__ import annotations

import asyncio
import base64
import re
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from multidict import CIMultiDict

from lrs.credentials import Caller, Credentials
from lrs.errors import NotAuthenticated
from lrs.http.problem import TooSlow, UnsupportedType
from schemas.errors import InvalidInput, TooLarge
from schemas.json_input import parse_json
from schemas.statement import Version

VERSION_HEADER = "X-Experience-API-Version"
CONSISTENT_HEADER = "X-Experience-API-Consistent-Through"
OLDEST_VERSION = "0.95"
"""What a request without the header speaks, by 1.0.3 (Communication 3.3); Griffel does not."""
FORM_HEADERS = ("Authorization", VERSION_HEADER, "Content-Type", "Content-Length", "If-Match", "If-None-Match")
_ONE = re.compile(r"1\.0(\.\d{1,3})?", re.ASCII)
_TWO = re.compile(r"2\.0(\.\d{1,3})?", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
CONTENT_WAIT_S = 30.0
"""How long a request may send nothing while its content is waited for."""
BEARER, BASIC = "bearer", "basic"

NOBODY = Caller(b"", {}, frozenset())
"""Who has not been authenticated, and may do nothing."""

T = TypeVar("T")
BearerCaller = Callable[[str], Awaitable[Caller]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request; over one of them the answer is 413."""

    body_bytes_max: int = 16 * 1024 * 1024
    statements_max: int = 5_000
    attachments_max: int = 100
    attachments_bytes_max: int = 256 * 1024 * 1024


@dataclass(slots=True)
class Call:
    """A request as the resources see it."""

    request: web.Request
    method: str
    params: dict[str, str]
    headers: Mapping[str, str]
    limits: Limits
    content: bytes | None = None
    version: Version = "2.0.0"
    caller: Caller = NOBODY

    def only(self, *names: str) -> None:
        """Refuse parameters that the resource does not know (xAPI Communication 2.1.3, 3.2)."""
        for name in self.params:
            if name not in names:
                raise InvalidInput(f"this resource has no such parameter; it has: {', '.join(names)}", "")

    def required(self, name: str) -> str:
        """Give a parameter that must be there."""
        try:
            return self.params[name]
        except KeyError:
            raise InvalidInput(f"the parameter `{name}` is required", "") from None

    @property
    def media_type(self) -> str:
        """Give the content's type in lower case, without its parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def body(self) -> bytes:
        """Read the whole content. Raises TooLarge."""
        if self.content is None:
            stream = self.request.content
            if stream.is_eof() and stream.total_bytes <= self.limits.body_bytes_max:
                # A small body is here already when its request is handled.
                self.content = stream.read_nowait(-1)
            else:
                self.content = b"".join([piece async for piece in self.stream()])
        return self.content

    async def stream(self) -> AsyncIterator[bytes]:
        """Give the content as it arrives, up to the bound for a body. Raises TooLarge."""
        size = 0
        declared = self.request.content_length
        if declared is not None and declared > self.limits.body_bytes_max:
            raise TooLarge(f"a body may have {self.limits.body_bytes_max} bytes", "")
        while piece := await in_time(self.request.content.readany()):
            size += len(piece)
            if size > self.limits.body_bytes_max:
                raise TooLarge(f"a body may have {self.limits.body_bytes_max} bytes", "")
            yield piece

    async def json(self) -> Any:
        """Read the content as strict JSON. Raises InvalidInput, TooLarge."""
        refuse_other_charset(self.headers)
        return parse_json(await self.body())


async def in_time(content: Awaitable[T]) -> T:
    """Wait for the next piece of a request's content. Raises TooSlow."""
    try:
        async with asyncio.timeout(CONTENT_WAIT_S):
            return await content
    except TimeoutError:
        raise TooSlow(f"the content stopped coming for {CONTENT_WAIT_S:.0f} s", "") from None


def refuse_other_charset(headers: Mapping[str, str]) -> None:
    """Refuse JSON in anything but UTF-8 (RFC 8259, 8.1)."""
    content_type = headers.get("Content-Type", "")
    if ";" not in content_type:
        return
    charset = re.search(r";\s*charset\s*=\s*\"?([^\";\s]*)", content_type[:200], re.IGNORECASE)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedType("JSON must be UTF-8", "")


async def open_call(request: web.Request, limits: Limits) -> Call:
    """Read a request's outside: method, parameters, headers. Raises InvalidInput, UnsupportedType."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise UnsupportedType("compressed bodies are not taken; send the content as it is", "")
    if not request.query_string:
        return Call(request, request.method, {}, request.headers, limits)
    query = request.query
    if request.method == "POST" and "method" in query:
        return await _from_form(request, limits)
    params = dict(query)
    if len(params) != len(query):
        raise InvalidInput("a parameter stands twice in the query", "")
    return Call(request, request.method, params, request.headers, limits)


async def _from_form(request: web.Request, limits: Limits) -> Call:
    if _TWO.fullmatch(request.headers.get(VERSION_HEADER, "")):
        raise InvalidInput("xAPI 2.0 has no alternate request syntax; send the method itself", "")
    if len(request.query) != 1:
        raise InvalidInput("with `method`, every other parameter goes into the form", "")
    outer = Call(request, "POST", {}, request.headers, limits)
    if outer.media_type != "application/x-www-form-urlencoded":
        raise InvalidInput("with `method`, the content is a form: application/x-www-form-urlencoded", "")
    try:
        text = (await outer.body()).decode()
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=100)
    except ValueError as error:
        raise InvalidInput("the form cannot be read", "") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("a field stands twice in the form", "")
    headers: CIMultiDict[str] = CIMultiDict(request.headers)
    headers.pop("Content-Type", None)
    lowered = {name.lower(): name for name in FORM_HEADERS}
    for name in list(fields):
        if name.lower() in lowered:
            value = fields.pop(name)
            if not _HEADER_VALUE.fullmatch(value):
                raise InvalidInput("a header in the form has characters that no header can have", "")
            headers[lowered[name.lower()]] = value
    method = request.query["method"].upper()
    if method not in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        raise InvalidInput("`method` must be GET, HEAD, PUT, POST or DELETE", "")
    content = fields.pop("content", None)
    if method in ("PUT", "POST"):
        if content is None:
            raise InvalidInput("with `method` PUT or POST, the form has the body in `content`", "")
        headers.setdefault("Content-Type", "application/json")
    return Call(request, method, fields, headers, limits, (content or "").encode())


def read_version(call: Call) -> Version:
    """Give the version a request speaks. Raises InvalidInput where it is missing or not ours (Communication 3.3)."""
    version = call.headers.get(VERSION_HEADER)
    if version is None:
        raise InvalidInput(f"the header {VERSION_HEADER} is missing; send 2.0.0 or 1.0.3", "")
    if _TWO.fullmatch(version):
        return "2.0.0"
    if _ONE.fullmatch(version):
        return "1.0.3"
    raise InvalidInput(f"the header {VERSION_HEADER} must be 1.0.x or 2.0.x", "")


def answer_version(headers: Mapping[str, str]) -> str:
    """Give the version an answer is marked with: the latest patch of the one asked in."""
    version = headers.get(VERSION_HEADER)
    if version is None:
        return OLDEST_VERSION
    return "1.0.3" if version.startswith("1.") else "2.0.0"


async def authenticate(headers: Mapping[str, str], credentials: Credentials, bearer: BearerCaller | None) -> Caller:
    """Give who is calling. Raises NotAuthenticated (xAPI Communication 4.0)."""
    presented = headers.get("Authorization", "")
    if (known := credentials.remembered(presented)) is not None:
        return known
    kind, _, token = presented.partition(" ")
    kind = kind.lower()
    if kind == BASIC:
        try:
            key, colon, secret = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            raise NotAuthenticated("HTTP Basic needs key:secret in base64") from None
        if colon:
            caller = await credentials.caller(key, secret, presented)
            if caller is not None:
                return caller
        raise NotAuthenticated("key or secret is wrong, or revoked")
    if kind == BEARER and bearer is not None:
        return await bearer(token.strip())
    raise NotAuthenticated
