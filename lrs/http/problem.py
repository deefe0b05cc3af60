"""Errors as HTTP answers: the one place where a kind of error meets a status (RFC 9457, problem+json).

An answer names the rule and the place, and never repeats what was sent.
"""

from __future__ import annotations

import itertools
import math
from http import HTTPStatus

import orjson
from aiohttp import web

from lrs.errors import (
    Busy,
    Conflict,
    Damaged,
    DiskFull,
    GriffelError,
    LearnerErased,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    PreconditionFailed,
    PurposeWithdrawn,
    Refused,
)
from schemas.errors import InvalidInput, TooLarge
from schemas.statement_rules import PROPERTIES

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:griffel:problem:"


DESK_MEMBERS = frozenset(
    {"agent", "preview", "purpose", "given", "language", "by_learner", "restricted", "held", "ground"}
)
"""What requests to the privacy desk have, besides what xAPI names."""


class UnsupportedType(InvalidInput):
    """The content's type or coding is not one this resource takes (415)."""


class TooSlow(InvalidInput):
    """The content did not arrive in time (408)."""


class WrongMethod(InvalidInput):
    """The resource does not have this method (405)."""


STATUS_BY_ERROR: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"),
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT, "too-slow"),
    (UnsupportedType, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-type"),
    (WrongMethod, HTTPStatus.METHOD_NOT_ALLOWED, "wrong-method"),
    (InvalidInput, HTTPStatus.BAD_REQUEST, "invalid-input"),
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED, "not-authenticated"),
    (NotAllowed, HTTPStatus.FORBIDDEN, "not-allowed"),
    (LearnerErased, HTTPStatus.FORBIDDEN, "learner-erased"),
    (PurposeWithdrawn, HTTPStatus.FORBIDDEN, "consent-required"),
    (Refused, HTTPStatus.FORBIDDEN, "refused"),
    (NotFound, HTTPStatus.NOT_FOUND, "not-found"),
    (Conflict, HTTPStatus.CONFLICT, "conflict"),
    (PreconditionFailed, HTTPStatus.PRECONDITION_FAILED, "precondition-failed"),
    (DiskFull, HTTPStatus.SERVICE_UNAVAILABLE, "disk-full"),
    (Busy, HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    (Misconfigured, HTTPStatus.SERVICE_UNAVAILABLE, "misconfigured"),
    (Damaged, HTTPStatus.INTERNAL_SERVER_ERROR, "damaged"),
    (GriffelError, HTTPStatus.INTERNAL_SERVER_ERROR, "failed"),
)


def problem(error: Exception) -> web.Response:
    """Give the answer to an error of ours."""
    status, name = next((status, name) for kind, status, name in STATUS_BY_ERROR if isinstance(error, kind))
    body: dict[str, object] = {"type": TYPE_PREFIX + name, "title": status.phrase, "status": status.value}
    body["detail"] = error.detail if isinstance(error, (InvalidInput, GriffelError)) else status.phrase
    pointer = _told(getattr(error, "pointer", None) or "")
    if pointer:
        body["pointer"] = pointer
    pointers = [_told(one) for one in getattr(error, "pointers", ())]
    if len(pointers) > 1:
        body["pointers"] = pointers
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="Griffel", charset="UTF-8"'
    answer = web.Response(body=orjson.dumps(body), status=status.value, content_type=PROBLEM_TYPE, headers=headers)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        answer.force_close()  # what is still to come of the content is no next request
    return answer


def _told(pointer: str) -> str:
    """Give a pointer as far as its keys are indexes or names that xAPI gives: others may be anything, a name too."""
    keys = pointer.split("/")[1:]
    known = itertools.takewhile(lambda key: key.isdecimal() or key in PROPERTIES or key in DESK_MEMBERS, keys)
    return "".join(f"/{key}" for key in known)


def server_fault() -> web.Response:
    """Give the answer to what should not happen. It says nothing but that; the log says what kind it was."""
    body = {
        "type": TYPE_PREFIX + "server-fault",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Griffel failed here; nothing about it is in this answer, the operator's log has its kind",
    }
    return web.Response(body=orjson.dumps(body), status=500, content_type=PROBLEM_TYPE)
