"""The policy and the register of purposes, for everyone: what is promised, since when, and what data is kept for.

Nothing here is secret or about anybody, so nobody needs a credential, content on any site may read it, and it is told
while a cluster's log is still being compared. The policy is JSON, and a page to whoever asks for one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from lrs.errors import GriffelError, NotFound
from lrs.http.pages import (
    PAGE_HEADERS,
    PAGE_STATE,
    POLICY_PATH,
    only_read,
    page_language,
    render_page,
    wish_for,
)
from lrs.http.problem import problem
from lrs.policy import Policy
from lrs.purposes import Register
from schemas.activities import preferred_languages
from schemas.errors import InvalidInput
from schemas.policy import PolicyVersion
from schemas.times import parse_timestamp

NOTICES_PATH = "/privacy/notices"
PURPOSES_PATH = "/privacy/purposes"
WELL_KNOWN_PATH = "/.well-known/privacy"
HEADING_CHARACTERS = 80
"""A line of a text that is no longer than this, and ends like no sentence, is a heading."""

Json = dict[str, Any]
Answer = Callable[[web.Request], web.Response]


def setup_privacy_policy(app: web.Application, policy: Policy, register: Register) -> None:
    """Add the addresses of policy and purposes. Goes before setup_pages, which takes what is left."""
    pages = PolicyPages(policy, register)
    for path, answer in (
        (POLICY_PATH, pages.current),
        (POLICY_PATH + "/{version}", pages.version),
        (NOTICES_PATH, pages.notices),
        (PURPOSES_PATH, pages.purposes),
        (WELL_KNOWN_PATH, pages.well_known),
    ):
        app.router.add_route("*", path, pages.guarded(answer))


class PolicyPages:
    """Handlers of these addresses."""

    def __init__(self, policy: Policy, register: Register) -> None:
        self._policy = policy
        self._register = register

    def guarded(self, answer: Answer) -> Callable[[web.Request], Any]:
        """Give the handler of a route: it answers GET and HEAD, and says what is wrong with a question."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if refused := only_read(request):
                return refused
            try:
                response = answer(request)
            except (InvalidInput, GriffelError) as error:
                response = _refusal(request, error)
            response.headers["Access-Control-Allow-Origin"] = "*"
            return response

        return handle

    # ── the policy ───────────────────────────────────────────────────────────────────────────────────────────────

    def current(self, request: web.Request) -> web.Response:
        """Give the version in effect now, or at the instant in `at`."""
        now = _now(request)
        at = read_instant(request, "at") or now
        return self._one(request, self._policy.policy_at(at, known_at=now), at)

    def version(self, request: web.Request) -> web.Response:
        """Give a version by its name."""
        now = _now(request)
        return self._one(request, self._policy.version(request.match_info["version"], now), now)

    def _one(self, request: web.Request, version: PolicyVersion, at: datetime) -> web.Response:
        now = _now(request)
        if wants_page(request):
            return self._page(request, version, now)
        listed = [self._listed(request, one) for one in reversed(self._policy.published(now))]
        return _json({"policy": self._whole(request, version), "at": _instant(at), "versions": listed})

    def _page(self, request: web.Request, version: PolicyVersion, now: datetime) -> web.Response:
        language = page_language(request)
        wanted = preferred_languages(request.headers.get("Accept-Language", ""))
        text = version.text_in(*filter(None, [request.query.get("lang")]), *wanted, language.code)
        published = self._policy.published(now)
        later = [one for one in published if version.effective_from < one.effective_from <= now]
        tag = text.language.partition("-")[0].lower()
        content = {
            "shown": version,
            "text": text,
            "text_language": None if tag == language.code else language.locale.languages.get(tag, text.language),
            "blocks": text_blocks(text.text),
            "announced": version.effective_from > now,
            "replaced": later[0] if later else None,
            "coming": [one for one in self._policy.notices(now) if one.effective_from > now and one != version],
            "is_new": version in self._policy.notices(now) and version.effective_from <= now,
            "purposes": [*self._register],
            "versions": [*reversed(published)],
            "kept_query": f"?lang={language.code}" if "lang" in request.query else "",
            "version_path": lambda one: f"{POLICY_PATH}/{quote(one.version)}",
            "purposes_path": PURPOSES_PATH,
        }
        return render_page(request, "policy.html.j2", content)

    def _whole(self, request: web.Request, version: PolicyVersion) -> Json:
        texts = [
            {"language": one.language, "title": one.title, "sha256": one.sha256, "text": one.text}
            for one in version.texts
        ]
        found = self._listed(request, version) | {
            "id": version.id,
            "controller": version.controller.as_json(),
            "notice_period": version.notice_period,
            "supersedes": version.supersedes,
            "texts": texts,
        }
        return found if version.source is None else found | {"source": version.source}

    def _listed(self, request: web.Request, version: PolicyVersion) -> Json:
        return {
            "version": version.version,
            "published_at": _instant(version.published_at),
            "effective_from": _instant(version.effective_from),
            "material": version.material,
            "href": _address(request, f"{POLICY_PATH}/{quote(version.version)}"),
        }

    # ── what is derived from it ──────────────────────────────────────────────────────────────────────────────────

    def notices(self, request: web.Request) -> web.Response:
        """Give what a banner shows now: versions that are announced, and those that took effect lately."""
        now = _now(request)
        found = [
            self._listed(request, one)
            | {
                "state": "announced" if one.effective_from > now else "in_effect",
                "titles": {text.language: text.title for text in one.texts},
                "shown_until": _instant(one.period.after(one.effective_from)),
            }
            for one in self._policy.notices(now)
        ]
        return _json({"notices": found, "at": _instant(now)})

    def purposes(self, request: web.Request) -> web.Response:
        """Give the register."""
        return _json({"purposes": self._register.as_json()})

    def well_known(self, request: web.Request) -> web.Response:
        """Say who answers for the data, and where the rest is."""
        now = _now(request)
        controller = self._policy.policy_at(now).controller
        return _json(
            {
                "controller": controller.as_json(),
                "contact": controller.contact,
                "policy": _address(request, POLICY_PATH),
                "notices": _address(request, NOTICES_PATH),
                "purposes": _address(request, PURPOSES_PATH),
            }
        )


def text_blocks(text: str) -> list[tuple[bool, str]]:
    """Give the paragraphs of a plain text, and of each whether it is a heading.

    Every line is a paragraph. A short line between empty ones that does not end as a sentence or a list does is a
    heading.
    """
    lines = [line.strip() for line in text.splitlines()]
    blocks = []
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if line:
            stands_alone = not before and not after
            blocks.append((stands_alone and len(line) <= HEADING_CHARACTERS and line[-1] not in ".,:;", line))
    return blocks


def read_instant(request: web.Request, name: str) -> datetime | None:
    """Give the instant in a parameter, None where it is not there. Raises InvalidInput where it is none, or twice."""
    given = request.query.getall(name, [])
    if not given:
        return None
    rule = f"`{name}` must be one instant as in RFC 3339, such as 2026-09-01T00:00:00Z"
    if len(given) > 1:
        raise InvalidInput(rule)
    try:
        return parse_timestamp(given[0], "2.0.0")
    except InvalidInput:
        raise InvalidInput(rule) from None


def wants_page(request: web.Request) -> bool:
    """Say whether a page is wanted more than JSON, as browsers do; to whoever does not care, JSON."""
    accept = ",".join(request.headers.getall("Accept", []))
    return wish_for(accept, "text/html") > wish_for(accept, "application/json", "application/problem+json")


def _refusal(request: web.Request, error: Exception) -> web.Response:
    """Say to a browser in a page, to others as a problem, why there is nothing."""
    if not wants_page(request) or not request.path.startswith(POLICY_PATH):
        response = problem(error)
        response.headers.update(PAGE_HEADERS)
        return response
    status = HTTPStatus(problem(error).status)
    kind = "instant" if isinstance(error, InvalidInput) else "version" if "version" in request.match_info else "none"
    assert isinstance(error, (InvalidInput, NotFound))
    return render_page(request, "policy_refusal.html.j2", {"kind": kind, "status": status.value}, status)


def _json(content: Json) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json", headers=PAGE_HEADERS)


def _now(request: web.Request) -> datetime:
    return request.app[PAGE_STATE].clock()


def _address(request: web.Request, path: str) -> str:
    return request.app[PAGE_STATE].public_url(request) + path


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
