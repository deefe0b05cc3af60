"""The pages: the first one, the one for an address that is not there, and what every page is made with.

Every page works without scripts, asks no other host for anything, and is in the reader's language. The first page says
what anyone who can reach the server may know: nothing secret, nothing about people.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp_jinja2
import orjson
from aiohttp import web
from jinja2 import DictLoader, StrictUndefined

from lrs.errors import NotFound
from lrs.http.assets import STATIC_PATH, asset_path, asset_response, assets
from lrs.http.call import VERSION_HEADER, answer_version
from lrs.http.health import READY_PATH, Health
from lrs.http.problem import WrongMethod, problem
from lrs.http.translations import Language, choose_language, install_words, languages

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
ENDPOINT_PATH = "/xapi"
ABOUT_PATH = "/xapi/about"
COURSES_PATH = "/courses"
POLICY_PATH = "/privacy/policy"
CREDENTIAL_COMMAND = "griffel credentials create --scope all"
DOCS = {
    "tutorial": "docs/tutorial.md",
    "how-to": "docs/how-to",
    "reference": "docs/reference",
    "why": "docs/explanation",
}
"""Where each kind of documentation stands in the project's own folder."""
LATE_S = 5
"""A quiet log's watermark is moved every second (lrs/event_log.py): one that is older than this has stopped moving."""

PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Server": "Griffel",
    "Vary": "Accept, Accept-Language",
    "X-Content-Type-Options": "nosniff",
}

STATEMENT = """\
{
    "actor": {"account": {"homePage": "https://school.example",
                          "name": "ada"}},
    "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
    "object": {"id": "https://school.example/welcome"}
  }"""


@dataclass(frozen=True, slots=True)
class PageState:
    """What pages are told. `public_url`: the site's address as the browser that asks sees it, without a last slash."""

    version: str
    mode: str
    public_url: Callable[[web.Request], str]
    health: Callable[[], Awaitable[Health]]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


PAGE_STATE = web.AppKey("PAGE_STATE", PageState)


def setup_pages(app: web.Application, state: PageState) -> None:
    """Add the pages and their assets. Goes last: whatever no other route takes is answered here, as not found.

    Every file is read here and now, so that no request waits for a disk; a template is compiled for the page that is
    asked first, because all of them would take a third of the start.
    """
    assets()
    languages()
    environment = aiohttp_jinja2.setup(
        app,
        loader=DictLoader(_template_texts()),
        autoescape=True,
        auto_reload=False,
        default_helpers=False,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    install_words(environment)
    environment.globals["asset_path"] = asset_path
    app[PAGE_STATE] = state
    app.router.add_route("*", "/", _first_page)
    app.router.add_route("*", STATIC_PATH + "{name}", _static)
    app.router.add_route("*", "/{path:.*}", _not_found)


@cache
def _template_texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in TEMPLATE_FOLDER.glob("*.j2")}


# ── every page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def render_page(
    request: web.Request, template: str, content: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    """Render a template of the layout in the reader's language.

    Beside `content` a template has: `language`; `languages`, each with the address of this page in it; `root`, the path
    of the site's root without a last slash; `home`, the first page's; `policy_path`; `version`.
    """
    state = request.app[PAGE_STATE]
    language = page_language(request)
    root = urlsplit(state.public_url(request)).path.rstrip("/")
    context = {
        "language": language,
        "languages": [(one, query_with(request, lang=one.code)) for one in languages().values()],
        "root": root,
        "home": f"{root}/{query_with(request, lang=language.code) if 'lang' in request.query else ''}",
        "policy_path": POLICY_PATH,
        "version": state.version,
        **content,
    }
    response = aiohttp_jinja2.render_template(template, request, context, status=status.value)
    response.headers.update(PAGE_HEADERS)
    response.headers["Content-Language"] = language.code
    return response


def page_language(request: web.Request) -> Language:
    """Give the language of the page that a request asks for."""
    return choose_language(request.query.get("lang"), request.headers.get("Accept-Language", ""))


def query_with(request: web.Request, **changes: str) -> str:
    """Give this page's query with some parameters changed and the others kept, with its question mark."""
    return "?" + urlencode([pair for pair in request.query.items() if pair[0] not in changes] + [*changes.items()])


def wish_for(accept: str, *media_types: str) -> tuple[float, int]:
    """Give how much an Accept header wants the best of some types: its weight, then how exactly it names the type.

    Two wishes are compared with < and >; equal ones leave the choice to the server (RFC 9110, 12.5.1).
    """
    best = (0.0, 0)
    for wanted in media_types:
        ranges = {wanted: 2, wanted.partition("/")[0] + "/*": 1, "*/*": 0}
        named: dict[int, float] = {}
        for piece in (accept[:1_000] or "*/*").split(","):
            name, *parameters = (part.strip().lower() for part in piece.split(";"))
            if name in ranges:
                named[ranges[name]] = _weight(parameters)
        if named:
            # The most exact name counts, whatever a wider one says.
            exact = max(named)
            best = max(best, (named[exact], exact))
    return best


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _wishes(request: web.Request) -> tuple[tuple[float, int], tuple[float, int]]:
    """Give how much a page is wanted, and how much JSON."""
    accept = ",".join(request.headers.getall("Accept", []))
    return wish_for(accept, "text/html"), wish_for(accept, "application/json", "application/problem+json")


def only_read(request: web.Request) -> web.Response | None:
    """Give the answer to whoever wants to do anything but read, None to others."""
    if request.method in ("GET", "HEAD"):
        return None
    response = problem(WrongMethod("this address is only read, by GET or HEAD", ""))
    response.headers["Allow"] = "GET, HEAD"
    return _guarded(response)


def _guarded(response: web.Response) -> web.Response:
    response.headers.update(PAGE_HEADERS)
    return response


# ── each page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _first_page(request: web.Request) -> web.StreamResponse:
    """Say what runs here, how it is, and how to begin; as a page, or as JSON to whoever asks for that."""
    if refused := only_read(request):
        return refused
    state = request.app[PAGE_STATE]
    health = await state.health()
    endpoint = state.public_url(request) + ENDPOINT_PATH
    post, read = curl_post(endpoint), curl_read(endpoint)
    page, json = _wishes(request)
    if json > page:
        checks = [check._asdict() for check in health.checks]
        facts: dict[str, Any] = {"name": "Griffel", "version": state.version, "mode": state.mode}
        facts |= {"healthy": health.ok, "checks": checks, "data_through": health.watermark, "endpoint": endpoint}
        facts |= {"make_credential": CREDENTIAL_COMMAND, "post": post, "read": read, "docs": DOCS}
        return _guarded(web.Response(body=orjson.dumps(facts), content_type="application/json"))
    now = state.clock()
    age_s = (now - health.watermark).total_seconds() if health.watermark else None
    content = {
        "mode": state.mode,
        "health": health,
        "now": now,
        "late": age_s is None or age_s > LATE_S,
        "endpoint": endpoint,
        "credential_command": CREDENTIAL_COMMAND,
        "post": post,
        "read": read,
        "docs": DOCS,
        "ready_path": READY_PATH,
        "about_path": ABOUT_PATH,
        "courses_path": COURSES_PATH,
    }
    return render_page(request, "first.html.j2", content)


async def _not_found(request: web.Request) -> web.StreamResponse:
    """Say that there is nothing here; to a browser at the endpoint itself, what the endpoint is for."""
    page, json = _wishes(request)
    path = request.path
    is_endpoint = path.rstrip("/") == ENDPOINT_PATH
    if page > json and (is_endpoint or not path.startswith(ENDPOINT_PATH + "/")):
        return render_page(request, "not_found.html.j2", {"is_endpoint": is_endpoint}, HTTPStatus.NOT_FOUND)
    response = _guarded(problem(NotFound("there is nothing at this address; what there is begins at /")))
    if path.startswith(ENDPOINT_PATH):
        response.headers[VERSION_HEADER] = answer_version(request.headers)
    return response


async def _static(request: web.Request) -> web.StreamResponse:
    return only_read(request) or asset_response(request.match_info["name"]) or await _not_found(request)


def curl_post(endpoint: str) -> str:
    """Give a command for a shell that sends a statement, once KEY and SECRET are filled in."""
    return (
        "curl -u 'KEY:SECRET' \\\n"
        f"  -H '{VERSION_HEADER}: 2.0.0' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{STATEMENT}' \\\n"
        f"  {shlex.quote(endpoint + '/statements')}"
    )


def curl_read(endpoint: str) -> str:
    """Give a command for a shell that reads the newest statement, once KEY and SECRET are filled in."""
    return (
        f"curl -u 'KEY:SECRET' \\\n  -H '{VERSION_HEADER}: 2.0.0' \\\n  {shlex.quote(endpoint + '/statements?limit=1')}"
    )
