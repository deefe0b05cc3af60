"""What a privacy officer asks for over HTTP: erasures, consent, restriction. For credentials with the scope `privacy`.

    POST /privacy/erasures              {"agent", "with_shared"?, "preview"?}   what it will do, or it begins (202)
    GET  /privacy/erasures/{id}         how it stands; with the certificate when it is done
    POST /privacy/consents              {"agent", "purpose", "given"}   the record and its receipt
    POST /privacy/restrictions          {"agent", "restricted"}
    POST /privacy/holds                 {"agent", "purpose", "held", "ground"?}
    GET  /privacy/keys                  the public key of certificates and receipts; for anybody

Agents come in bodies, never in addresses, which end up in other programs' logs. Certificates and receipts are JSON, and
pages to print to whoever asks for those (lrs/http/privacy_papers.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from lrs.errors import GriffelError
from lrs.http.app import Services, add_common_headers
from lrs.http.call import authenticate, open_call
from lrs.http.privacy_papers import KEYS_PATH, certificate_page, receipt_page
from lrs.http.privacy_policy import wants_page
from lrs.http.problem import WrongMethod, problem, server_fault
from lrs.privacy_desk import DONE
from lrs.receipts import public_jwk
from lrs.scopes import Scope
from schemas.errors import InvalidInput

ERASURES_PATH = "/privacy/erasures"
ERASURE_PATH = "/privacy/erasures/{id}"
CONSENTS_PATH = "/privacy/consents"
RESTRICTIONS_PATH = "/privacy/restrictions"
HOLDS_PATH = "/privacy/holds"
CONSENT_MEMBERS = ("agent", "purpose", "given", "language", "by_learner")

log = logging.getLogger("griffel.http")

Json = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.Response]]


def setup_privacy(app: web.Application, services: Services) -> None:
    """Add the routes of the privacy desk."""
    routes = PrivacyRoutes(services)
    for path, method, answer in (
        (ERASURES_PATH, "POST", routes.erase),
        (ERASURE_PATH, "GET", routes.erasure),
        (CONSENTS_PATH, "POST", routes.consent),
        (RESTRICTIONS_PATH, "POST", routes.restrict),
        (HOLDS_PATH, "POST", routes.hold),
        (KEYS_PATH, "GET", routes.keys),
    ):
        app.router.add_route("*", path, routes.guarded(method, answer))


class PrivacyRoutes:
    """Handlers of the privacy desk."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def guarded(self, method: str, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Give the handler of a route: it lets in who may, and answers whatever happens."""
        allowed = ("GET", "HEAD") if method == "GET" else (method,)

        async def handle(request: web.Request) -> web.StreamResponse:
            response: web.StreamResponse
            try:
                _refuse_other_methods(request, allowed)
                if answer != self.keys:
                    await self._admit(request)
                response = await answer(request)
            except (InvalidInput, GriffelError) as error:
                response = problem(error)
                if isinstance(error, WrongMethod):
                    response.headers["Allow"] = ", ".join(allowed)
            except (asyncio.CancelledError, web.HTTPException, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001  the last line: an answer and a log line without what was sent
                log.error("%s in %s", type(error).__name__, request.match_info.route.resource)  # noqa: TRY400
                response = server_fault()
            add_common_headers(response, self._services.cors_origin)
            return response

        return handle

    async def _admit(self, request: web.Request) -> None:
        caller = await authenticate(request.headers, self._services.credentials, self._services.bearer)
        caller.must(Scope.PRIVACY)
        if request.query_string:
            raise InvalidInput("this resource has no parameters; what is asked stands in the body", "")

    async def _asked(self, request: web.Request, *names: str) -> Json:
        call = await open_call(request, self._services.limits)
        asked = await call.json()
        if not isinstance(asked, dict):
            raise InvalidInput("the body is a JSON object", "")
        for name in asked:
            if name not in names:
                raise InvalidInput(f"the body has: {', '.join(names)}", f"/{name}")
        return asked

    async def erase(self, request: web.Request) -> web.Response:
        """Say what an erasure will do, or begin it."""
        asked = await self._asked(request, "agent", "with_shared", "preview")
        preview = asked.pop("preview", False)
        if not isinstance(preview, bool):
            raise InvalidInput("`preview` is true or false", "/preview")
        if preview:
            return _answer(await self._services.desk.preview(asked))
        begun = await self._services.desk.begin(asked)
        response = _answer(begun, HTTPStatus.ACCEPTED)
        response.headers["Location"] = ERASURE_PATH.format(id=begun["erasure"])
        response.headers["Retry-After"] = "1"
        return response

    async def erasure(self, request: web.Request) -> web.Response:
        """Say how an erasure stands."""
        told = await self._services.desk.show({"erasure": request.match_info["id"]})
        page = certificate_page(request, told, self._services.purposes) if wants_page(request) else None
        response = page or _answer(told)
        if told["state"] != DONE:
            response.headers["Retry-After"] = "1"
        return response

    async def consent(self, request: web.Request) -> web.Response:
        """Record that a learner gave or withdrew consent for a purpose."""
        told = await self._services.desk.consent(await self._asked(request, *CONSENT_MEMBERS))
        if wants_page(request):
            return receipt_page(request, told, self._services.purposes)
        return _answer(told)

    async def restrict(self, request: web.Request) -> web.Response:
        """Hide a learner from everybody else, or show them again."""
        return _answer(await self._services.desk.restrict(await self._asked(request, "agent", "restricted")))

    async def hold(self, request: web.Request) -> web.Response:
        """Hold what is kept of a learner for a purpose, or release it."""
        return _answer(await self._services.desk.hold(await self._asked(request, "agent", "purpose", "held", "ground")))

    async def keys(self, request: web.Request) -> web.Response:
        """Give the public key of certificates and receipts, as a JWK Set (RFC 7517)."""
        del request
        return _answer({"keys": [public_jwk(self._services.vault.secrets.signing_key)]})


def _refuse_other_methods(request: web.Request, allowed: Sequence[str]) -> None:
    if request.method not in allowed:
        raise WrongMethod(f"this resource has {' and '.join(allowed)}", "")


def _answer(told: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=orjson.dumps(told), content_type="application/json", status=status)
