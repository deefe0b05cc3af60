"""multipart/mixed in and out: statements in the first part, attachments after it (xAPI Communication 1.5.2)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence

import orjson
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from lrs.attachments import Attachments
from lrs.errors import GriffelError
from lrs.http.call import Call, in_time, refuse_other_charset
from schemas.errors import InvalidInput, TooLarge
from schemas.people import Json

log = logging.getLogger("griffel.http")

PIECE_BYTES = 64 * 1024
HASH_HEADER = "X-Experience-API-Hash"
ENCODING_HEADER = "Content-Transfer-Encoding"
MULTIPART = "multipart/mixed"
_BROKEN = "the multipart body is broken"


class StatementParts:
    """The parts of a request: `statements` first, then each attachment as (its hash header, its bytes)."""

    def __init__(self, call: Call) -> None:
        self._limits = call.limits
        self._attachment_bytes_left = call.limits.attachments_bytes_max
        if "boundary=" not in call.headers.get("Content-Type", ""):
            raise InvalidInput("multipart/mixed needs a `boundary` in its Content-Type", "")
        try:
            self._reader = MultipartReader(call.headers, call.request.content)
        except ValueError as error:
            raise InvalidInput(_BROKEN, "") from error

    async def statements(self) -> bytes:
        """Give the first part's content, which must be JSON."""
        part = await self._next()
        if part is None:
            raise InvalidInput("the first part must be the statements, as application/json", "")
        media_type = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise InvalidInput("the first part must be the statements, as application/json", "")
        refuse_other_charset(part.headers)
        size = 0
        pieces: list[bytes] = []
        async for piece in self._pieces(part):
            size += len(piece)
            if size > self._limits.body_bytes_max:
                raise TooLarge(f"the statements may have {self._limits.body_bytes_max} bytes", "")
            pieces.append(piece)
        return b"".join(pieces)

    async def attachments(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Give each further part: the hash it declares and its bytes, to be read before the next one."""
        count = 0
        while (part := await self._next()) is not None:
            count += 1
            if count > self._limits.attachments_max:
                raise TooLarge(f"a request may carry {self._limits.attachments_max} attachments", "")
            declared = part.headers.get(HASH_HEADER)
            if declared is None:
                raise InvalidInput(f"each part after the first needs the header {HASH_HEADER}", "")
            if part.headers.get(ENCODING_HEADER, "").strip().lower() != "binary":
                raise InvalidInput(f"each part after the first needs the header {ENCODING_HEADER}: binary", "")
            yield declared.strip().lower(), self._attachment(part)

    async def _next(self) -> BodyPartReader | None:
        try:
            part = await in_time(self._reader.next())
        except (ValueError, LookupError, HttpProcessingError) as error:
            raise InvalidInput(_BROKEN, "") from error
        if part is not None and not isinstance(part, BodyPartReader):
            raise InvalidInput("a part may not be multipart itself", "")
        return part

    async def _attachment(self, part: BodyPartReader) -> AsyncIterator[bytes]:
        async for piece in self._pieces(part):
            self._attachment_bytes_left -= len(piece)
            if self._attachment_bytes_left < 0:
                raise TooLarge(f"a request may carry {self._limits.attachments_bytes_max} bytes of attachments", "")
            yield piece

    async def _pieces(self, part: BodyPartReader) -> AsyncIterator[bytes]:
        while True:
            try:
                piece = await in_time(part.read_chunk(PIECE_BYTES))
            except (ValueError, LookupError, AssertionError, HttpProcessingError) as error:
                raise InvalidInput(_BROKEN, "") from error
            if not piece:
                return
            yield bytes(piece)


async def answer_with_attachments(
    call: Call,
    content: object,
    statements: Sequence[Json],
    blobs: dict[str, Json],
    store: Attachments,
    marks: dict[str, str],
) -> web.StreamResponse:
    """Stream an answer: the JSON first, then the bytes of every attachment the store holds, each once."""
    boundary = secrets.token_hex(16)
    response = web.StreamResponse(headers={**marks, "Content-Type": f'{MULTIPART}; boundary="{boundary}"'})
    await response.prepare(call.request)
    if call.method == "HEAD":
        return response
    try:
        await _write_parts(response, boundary, content, statements, blobs, store)
    except GriffelError as error:
        # The status is sent already: breaking off is the only way left to say that this is not the whole answer.
        log.error("an answer with attachments broke off: %s", type(error).__name__)  # noqa: TRY400
        if call.request.transport is not None:
            call.request.transport.abort()
        raise ConnectionResetError from None
    return response


async def _write_parts(
    response: web.StreamResponse,
    boundary: str,
    content: object,
    statements: Sequence[Json],
    blobs: dict[str, Json],
    store: Attachments,
) -> None:
    await response.write(
        b"--%s\r\nContent-Type: application/json\r\n\r\n%s\r\n" % (boundary.encode(), orjson.dumps(content))
    )
    sent: set[str] = set()
    for statement in statements:
        for attachment in statement.get("attachments", ()):
            sha2 = attachment["sha2"]
            if sha2 not in blobs or sha2 in sent:
                continue
            sent.add(sha2)
            head = (
                f"--{boundary}\r\nContent-Type: {attachment['contentType']}\r\n"
                f"{ENCODING_HEADER}: binary\r\n{HASH_HEADER}: {sha2}\r\n\r\n"
            )
            await response.write(head.encode())
            async for piece in store.read(blobs[sha2]):
                await response.write(piece)
            await response.write(b"\r\n")
    await response.write(b"--%s--\r\n" % boundary.encode())
    await response.write_eof()
