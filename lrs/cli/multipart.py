"""Statements and the data of their attachments as one multipart/mixed body (xAPI Communication 1.5.2, RFC 2046)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attachment:
    """The data of an attachment, as a part of a multipart body (xAPI Communication 1.5.2)."""

    sha2: str
    content_type: str
    data: bytes = field(repr=False)


def multipart_body(statements: bytes, attachments: Iterable[Attachment]) -> tuple[bytes, str]:
    """Build a multipart/mixed body and its content type: statements first, then each attachment once."""
    boundary = secrets.token_hex(24)
    parts = [b"--%b\r\nContent-Type: application/json\r\n\r\n%b\r\n" % (boundary.encode(), statements)]
    for sha2, attachment in {one.sha2: one for one in attachments}.items():
        head = (
            f"--{boundary}\r\nContent-Type: {_header_value(attachment.content_type)}\r\n"
            f"Content-Transfer-Encoding: binary\r\nX-Experience-API-Hash: {_header_value(sha2)}\r\n\r\n"
        )
        parts.append(head.encode("utf-8") + attachment.data + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/mixed; boundary={boundary}"


def _header_value(text: str) -> str:
    """Keep a value from ending its header early."""
    return "".join(character for character in text if character.isprintable())


def read_page(content_type: str, body: bytes) -> tuple[Json, dict[str, Attachment]]:
    """Read a statement result, plain or multipart/mixed; a ValueError where it is neither."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "multipart/mixed":
        return _object(body), {}
    first, *others = _multipart_parts(body, _boundary(parameters))
    attachments = {}
    for headers, data in others:
        sha2 = headers.get("x-experience-api-hash")
        if sha2:
            attachments[sha2] = Attachment(sha2, headers.get("content-type", "application/octet-stream"), data)
    return _object(first[1]), attachments


def _object(body: bytes) -> Json:
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("a statement result is an object")  # noqa: TRY004 - one error for all that cannot be read
    return document


def _boundary(parameters: str) -> bytes:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "boundary" and value:
            return value.strip('"').encode("latin-1")
    raise ValueError("a multipart answer names its boundary")


def _multipart_parts(body: bytes, boundary: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Split a multipart body (RFC 2046, 5.1.1) into headers, by lower-case name, and data of each part."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - before, one part, after
        raise ValueError("a multipart answer was cut short")
    parts = []
    for piece in pieces[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        parts.append((headers, data))
    return parts
