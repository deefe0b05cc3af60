"""The pages to sign in and out."""

from __future__ import annotations

import math
import re
import secrets as random
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from lrs.credentials import Caller
from lrs.errors import GriffelError, NotAuthenticated
from lrs.http.call import in_time
from lrs.http.pages import PAGE_HEADERS, PAGE_STATE, render_page
from lrs.http.problem import UnsupportedType, WrongMethod, problem
from lrs.http.sessions import FORM_COOKIE, SESSION_COOKIE, Sessions
from schemas.errors import InvalidInput, TooLarge

SIGN_IN_PATH = "/sign-in"
SIGN_OUT_PATH = "/sign-out"
SIGN_IN_PURPOSE = b"sign in"
SIGN_OUT_PURPOSE = b"sign out"
FORM_BYTES_MAX = 8 * 1024
FORM_FIELDS_MAX = 10
FORM_COOKIE_BYTES = 16
_NEXT = re.compile(r"/courses(/[0-9a-f]{32})?(\?[\w=&%.~+-]*)?", re.ASCII)
_FORM_COOKIE = re.compile(r"[0-9a-f]{32}", re.ASCII)
DEFAULT_NEXT = "/courses"
_TROUBLES: tuple[tuple[type[Exception], str, HTTPStatus], ...] = (
    (InvalidInput, "stale", HTTPStatus.FORBIDDEN),
    (NotAuthenticated, "wrong", HTTPStatus.UNAUTHORIZED),
    (GriffelError, "busy", HTTPStatus.SERVICE_UNAVAILABLE),
)
"""What is said where a form does not let in."""


def setup_sign_in(app: web.Application, sessions: Sessions) -> None:
    """Add the pages to sign in and out."""
    pages = SignInPages(sessions)
    app.router.add_route("*", SIGN_IN_PATH, pages.sign_in)
    app.router.add_route("*", SIGN_OUT_PATH, pages.sign_out)


def site_path(request: web.Request) -> tuple[str, bool]:
    """Give the path of the site's root as a cookie has it, and whether the site is reached by https."""
    address = urlsplit(request.app[PAGE_STATE].public_url(request))
    return address.path.rstrip("/") or "/", address.scheme == "https"


class SignInPages:
    """Handlers of the two pages."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Show the form, or take it: begin a session and go where the visitor wanted to be."""
        if request.method in ("GET", "HEAD"):
            return await self._offer(request)
        if request.method != "POST":
            return self._wrong_method("GET, HEAD, POST")
        try:
            found = await self._take(request)
        except (InvalidInput, GriffelError) as error:
            kind, status = next((kind, status) for one, kind, status in _TROUBLES if isinstance(error, one))
            return self._form(request, kind, status)
        if isinstance(found, Caller):
            response = self._go(request, self._next(request))
            path, secure = site_path(request)
            self._sessions.write_cookie(response, self._sessions.begin(found), path, secure=secure)
            response.del_cookie(FORM_COOKIE, path=path)
        else:
            wait_s = math.ceil(found)
            response = self._form(request, "locked", HTTPStatus.TOO_MANY_REQUESTS, wait_s=wait_s)
            response.headers["Retry-After"] = str(wait_s)
        return response

    async def _offer(self, request: web.Request) -> web.Response:
        try:
            await self._sessions.visitor(request)
        except GriffelError:
            return self._form(request, None)
        return self._go(request, self._next(request))

    async def _take(self, request: web.Request) -> Caller | float:
        """Read the form and give who it lets in, or the seconds to wait.

        Raises InvalidInput where it is not the form that this browser was given, NotAuthenticated, Busy.
        """
        fields = await read_form(request)
        secret = request.cookies.get(FORM_COOKIE, "")
        if self._is_foreign(request) or not secret:
            raise InvalidInput("this form was not given out here", "")
        if not self._sessions.fits(fields.get("form", ""), SIGN_IN_PURPOSE, secret.encode()):
            raise InvalidInput("this form was not given out here", "")
        key, secret = (fields.get(name, "").strip() for name in ("key", "secret"))
        return await self._sessions.sign_in(key, secret, request.remote or "")

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        """End the session; only by a form of ours."""
        if request.method != "POST":
            return self._wrong_method("POST")
        try:
            fields = await read_form(request)
        except InvalidInput:
            fields = {}
        try:
            session = (await self._sessions.visitor(request)).session
        except GriffelError:
            session = None
        response = self._go(request, f"{SIGN_IN_PATH}?signed-out=1")
        if session is not None:
            ours = self._sessions.fits(fields.get("form", ""), SIGN_OUT_PURPOSE, session.id)
            if self._is_foreign(request) or not ours:
                return self._go(request, DEFAULT_NEXT)
            self._sessions.end(session)
        path, _ = site_path(request)
        response.del_cookie(SESSION_COOKIE, path=path)
        return response

    def _form(
        self, request: web.Request, trouble: str | None, status: HTTPStatus = HTTPStatus.OK, wait_s: int = 0
    ) -> web.Response:
        known = request.cookies.get(FORM_COOKIE, "")
        secret = known if _FORM_COOKIE.fullmatch(known) else random.token_hex(FORM_COOKIE_BYTES)
        path, secure = site_path(request)
        asked = {name: request.query[name] for name in ("next", "lang") if name in request.query}
        content: dict[str, Any] = {
            "action": f"{path.rstrip('/')}{SIGN_IN_PATH}{'?' if asked else ''}{urlencode(asked)}",
            "token": self._sessions.form_token(SIGN_IN_PURPOSE, secret.encode()),
            "trouble": trouble,
            "wait_s": wait_s,
            "signed_out": trouble is None and "signed-out" in request.query,
        }
        response = render_page(request, "sign_in.html.j2", content, status)
        response.headers["Cache-Control"] = "no-store"
        if secret != known:
            response.set_cookie(FORM_COOKIE, secret, path=path, httponly=True, secure=secure, samesite="Strict")
        return response

    def _next(self, request: web.Request) -> str:
        """Give where the visitor wanted to be, if that is a page of ours behind this sign-in."""
        wanted = request.query.get("next", "")
        return wanted if _NEXT.fullmatch(wanted) else DEFAULT_NEXT

    def _go(self, request: web.Request, target: str) -> web.Response:
        path, _ = site_path(request)
        if "lang" in request.query and "lang=" not in target:
            target += ("&" if "?" in target else "?") + urlencode({"lang": request.query["lang"]})
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path.rstrip("/") + target})
        response.headers.update(PAGE_HEADERS | {"Cache-Control": "no-store"})
        return response

    def _is_foreign(self, request: web.Request) -> bool:
        """Say whether the browser tells that a page of another site sent this form."""
        return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")

    def _wrong_method(self, allowed: str) -> web.Response:
        response = problem(WrongMethod(f"this address has {allowed}", ""))
        response.headers.update(PAGE_HEADERS | {"Allow": allowed})
        return response


async def read_form(request: web.Request) -> dict[str, str]:
    """Read the fields of a small form. Raises InvalidInput where it is none."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise UnsupportedType("send a form", "")
    body = b""
    while piece := await in_time(request.content.readany()):
        body += piece
        if len(body) > FORM_BYTES_MAX:
            raise TooLarge(f"a form may have {FORM_BYTES_MAX} bytes", "")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise InvalidInput("the form cannot be read", "") from None
