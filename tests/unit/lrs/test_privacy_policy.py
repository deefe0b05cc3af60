"""What everyone may read of policy and purposes: which version when, in which language, as JSON and as a page."""

from __future__ import annotations

import hashlib
import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from lrs.http.gate import gate
from lrs.http.health import Health
from lrs.http.pages import PAGE_HEADERS, PageState, setup_pages
from lrs.http.privacy_policy import setup_privacy_policy, text_blocks
from lrs.http.translations import LOCALES
from lrs.policy import SHIPPED, load_policy
from lrs.purposes import load_purposes

REGISTER = load_purposes()
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FIRST = {
    "id": "school-privacy",
    "version": "1",
    "controller": {
        "id": "school",
        "name": "The School",
        "contact": "privacy@school.example",
        "dpo": {"contact": "dpo@school.example"},
    },
    "texts": [
        {"language": "nl", "title": "Privacybeleid", "file": "1.nl.txt"},
        {"language": "en", "title": "Privacy policy", "file": "1.en.txt"},
    ],
    "published_at": "2026-01-01T00:00:00+01:00",
    "effective_from": "2026-01-01T00:00:00+01:00",
    "notice_period": "P30D",
    "material": False,
}
SECOND = FIRST | {
    "version": "2",
    "texts": [{"language": "nl", "title": "Nieuw privacybeleid", "file": "2.nl.txt"}],
    "published_at": "2026-03-01T00:00:00Z",
    "effective_from": "2026-04-01T00:00:00Z",
    "material": True,
    "supersedes": "1",
}
TEXTS = {
    "1.nl.txt": "Doel\n\nWij bewaren <wat> nodig is.\n",
    "1.en.txt": "Aim\n\nWe keep what is needed.\n",
    "2.nl.txt": "Doel\n\nWij bewaren minder.\n",
}


class Site:
    """An application with these addresses; its clock may be set between requests."""

    def __init__(self, folder: Path, middlewares: tuple = ()) -> None:
        self.now = datetime(2026, 2, 15, tzinfo=UTC)
        self.app = web.Application(middlewares=middlewares)
        setup_privacy_policy(self.app, load_policy(folder), REGISTER)

        async def health() -> Health:
            return Health(True, (), None)

        state = PageState("1", "embedded", lambda _: "https://lrs.school.example/base", health, lambda: self.now)
        setup_pages(self.app, state)

    async def get(self, path: str = "/privacy/policy", method: str = "GET", **headers: str) -> SimpleNamespace:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with TestClient(TestServer(self.app)) as client:
            answer = await client.request(method, path, headers=named)
            text = await answer.text()
            told = json.loads(text) if text and "json" in answer.headers["Content-Type"] else None
            return SimpleNamespace(status=answer.status, headers=answer.headers, text=text, json=told)


def written(folder: Path, *versions: dict) -> Path:
    for one in versions:
        (folder / f"{one['version']}.json").write_text(json.dumps(one))
        for text in one["texts"]:
            (folder / text["file"]).write_text(TEXTS[text["file"]])
    return folder


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(written(tmp_path, FIRST, SECOND))


@pytest.fixture
def shipped() -> Site:
    return Site(SHIPPED)


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


# ── as JSON ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_does_not_ask_for_a_page_gets_the_version_in_effect_as_json(site) -> None:
    answer = await site.get()
    assert answer.status == 200
    policy = answer.json["policy"]
    assert (policy["version"], policy["effective_from"]) == ("1", "2026-01-01T00:00:00+01:00")
    assert policy["controller"]["dpo"] == {"contact": "dpo@school.example"}
    assert {one["language"]: one["text"] for one in policy["texts"]} == {
        "nl": TEXTS["1.nl.txt"],
        "en": TEXTS["1.en.txt"],
    }
    for one in policy["texts"]:
        assert one["sha256"] == hashlib.sha256(one["text"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("at", "version"),
    [
        ("2026-03-31T23:59:59.999Z", "1"),
        ("2026-04-01T00:00:00Z", "2"),
        ("2026-04-01T01:00:00%2B02:00", "1"),
        ("2030-01-01T00:00:00Z", "2"),
        ("2026-01-01T00:00:00%2B01:00", "1"),
    ],
)
async def test_at_an_instant_the_version_effective_then_is_told(site, at, version) -> None:
    site.now = datetime(2026, 6, 1, tzinfo=UTC)
    assert (await site.get(f"/privacy/policy?at={at}")).json["policy"]["version"] == version


async def test_what_is_not_published_yet_is_not_told_of(site) -> None:
    answer = await site.get("/privacy/policy?at=2030-01-01T00:00:00Z")
    assert answer.json["policy"]["version"] == "1"
    assert [one["version"] for one in answer.json["versions"]] == ["1"]
    assert (await site.get("/privacy/policy/2")).status == 404
    assert (await site.get("/privacy/notices")).json["notices"] == []


async def test_all_published_versions_are_listed_with_links_that_lead_to_them(site) -> None:
    site.now = datetime(2026, 3, 2, tzinfo=UTC)
    listed = (await site.get()).json["versions"]
    assert [one["version"] for one in listed] == ["2", "1"]
    for one in listed:
        assert one["href"] == f"https://lrs.school.example/base/privacy/policy/{one['version']}"
        assert (await site.get(one["href"].removeprefix("https://lrs.school.example/base"))).json["policy"] == {
            **(await site.get(f"/privacy/policy/{one['version']}")).json["policy"],
            **one,
        }


@pytest.mark.parametrize("query", ["at=yesterday", "at=2026-01-01", "at=", "at=2026-01-01T00:00:00Z&at=x"])
async def test_an_instant_that_is_none_is_refused_and_not_repeated(site, query) -> None:
    answer = await site.get(f"/privacy/policy?{query}")
    assert answer.status == 400
    assert "RFC 3339" in answer.json["detail"]
    assert "yesterday" not in answer.text


async def test_before_the_first_version_there_is_none(site) -> None:
    assert (await site.get("/privacy/policy?at=2025-12-31T00:00:00Z")).status == 404


async def test_a_version_that_is_not_there_is_not_found_and_those_there_are_are_named(site) -> None:
    answer = await site.get("/privacy/policy/ann%40school.example")
    assert answer.status == 404
    assert answer.json["detail"].endswith("there are 1")
    assert "ann" not in answer.text


async def test_a_banner_shows_a_version_from_its_publication_until_its_notice_period_is_over(site) -> None:
    shown = {}
    for day in ((2026, 1, 30), (2026, 2, 15), (2026, 3, 2), (2026, 4, 2), (2026, 5, 2)):
        site.now = datetime(*day, tzinfo=UTC)
        told = (await site.get("/privacy/notices")).json["notices"]
        shown[day[1:]] = [(one["version"], one["state"]) for one in told]
    assert shown == {
        (1, 30): [("1", "in_effect")],
        (2, 15): [],
        (3, 2): [("2", "announced")],
        (4, 2): [("2", "in_effect")],
        (5, 2): [],
    }


async def test_the_register_is_public(site) -> None:
    told = (await site.get("/privacy/purposes")).json["purposes"]
    assert [one["id"] for one in told] == [one.id for one in REGISTER]
    survey = next(one for one in told if one["id"] == "survey")
    assert (survey["legal_basis"], survey["on_withdrawal"], survey["key"]) == (
        "eu-gdpr:A6-1-a",
        "destroy_keys",
        "survey",
    )


async def test_the_well_known_address_says_who_answers_and_where_the_rest_is(site) -> None:
    told = (await site.get("/.well-known/privacy")).json
    assert told["contact"] == told["controller"]["contact"] == "privacy@school.example"
    for name in ("policy", "notices", "purposes"):
        assert (await site.get(told[name].removeprefix("https://lrs.school.example/base"))).status == 200


PATHS = ("/privacy/policy", "/privacy/policy/1", "/privacy/notices", "/privacy/purposes", "/.well-known/privacy")


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_only_read_and_content_of_any_site_may_read_it(site, path) -> None:
    answer = await site.get(path)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    head = await site.get(path, "HEAD")
    assert (head.status, head.text) == (200, "")
    refused = await site.get(path, "POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


@pytest.fixture
def comparing(tmp_path) -> Site:
    """A site of a cluster whose log is being compared with its copy."""
    return Site(written(tmp_path, FIRST), (gate(SimpleNamespace(open=False), "*"),))


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_told_while_a_log_is_being_compared(comparing, path) -> None:
    assert (await comparing.get(path)).status == 200
    assert (await comparing.get("/privacy/erasures")).status == 503


# ── as a page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_browser_gets_the_text_in_its_language_with_who_answers_and_since_when(site) -> None:
    answer = await site.get(Accept=BROWSER, Accept_Language="en")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert '<h1 lang="en">Privacy policy</h1>' in answer.text
    for said in (
        "Version 1. It has been in effect since 1 January 2026.",
        "We keep what is needed.",
        "The School",
        "dpo@school.example",
        "Giving your courses a public task 5 years",
        "Preventing misuse a public task 90 days",
    ):
        assert said in words(answer.text)
    assert "The text is in" not in answer.text


async def test_the_text_is_in_the_language_asked_for_and_escaped(site) -> None:
    answer = await site.get("/privacy/policy?lang=nl", Accept=BROWSER, Accept_Language="en")
    assert '<article class="prose" lang="nl">' in answer.text
    assert "Wij bewaren &lt;wat&gt; nodig is." in answer.text
    assert "Deze geldt sinds 1 januari 2026." in words(answer.text)
    assert 'href="/base/privacy/policy/1?lang=nl"' in answer.text


async def test_a_text_that_is_not_in_the_readers_language_says_which_it_is_in(site) -> None:
    site.now = datetime(2026, 4, 2, tzinfo=UTC)
    answer = await site.get(Accept=BROWSER, Accept_Language="en")
    assert '<html lang="en">' in answer.text
    assert '<h1 lang="nl">Nieuw privacybeleid</h1>' in answer.text
    assert "The text is in Dutch." in words(answer.text)
    assert "This version is new since 1 April 2026" in words(answer.text)


async def test_a_page_of_another_version_says_so_and_leads_to_the_one_in_effect(site) -> None:
    site.now = datetime(2026, 3, 2, tzinfo=UTC)
    now = words((await site.get(Accept=BROWSER)).text)
    assert "A new version takes effect on 1 April 2026" in now
    assert "is not the one in effect" not in now
    coming = words((await site.get("/privacy/policy/2", Accept=BROWSER)).text)
    assert "It takes effect on 1 April 2026" in coming
    assert "is not the one in effect" in coming
    site.now = datetime(2026, 6, 1, tzinfo=UTC)
    old = words((await site.get("/privacy/policy?at=2026-02-01T00:00:00Z", Accept=BROWSER)).text)
    assert "It was in effect from 1 January 2026 until 1 April 2026." in old
    assert "is not the one in effect" in old


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize(
    ("path", "status"),
    [("/privacy/policy?at=x", 400), ("/privacy/policy/none", 404), ("/privacy/policy?at=1999-01-01T00:00:00Z", 404)],
)
async def test_a_browser_is_told_what_is_wrong_in_a_page_that_leads_on(site, path, status, language) -> None:
    answer = await site.get(path, Accept=BROWSER, Accept_Language=language)
    assert answer.status == status
    assert answer.text.count("<h1>") == 1
    assert 'class="button button--main" href="/base/privacy/policy"' in answer.text


@pytest.mark.parametrize("language", LOCALES)
async def test_the_shipped_policy_is_a_page_with_every_paragraph_of_its_text(shipped, language) -> None:
    answer = await shipped.get(f"/privacy/policy?lang={language}", Accept=BROWSER)
    assert answer.status == 200
    assert answer.text.count("<h1") == 1
    shown = words(answer.text)
    for line in (SHIPPED / "2017-01-01.nl.txt").read_text(encoding="utf-8").splitlines():
        assert " ".join(line.split()) in shown
    assert ("1 januari 2017" if language == "nl" else "1 January 2017") in shown


def test_a_short_line_by_itself_is_a_heading_and_no_sentence_is() -> None:
    text = "Doel\n\nEen zin.\n\nWat is dit?\nNiet alleen\n\nDit is een lijst:\n\n" + "lang " * 20 + "\n"
    assert text_blocks(text) == [
        (True, "Doel"),
        (False, "Een zin."),
        (False, "Wat is dit?"),
        (False, "Niet alleen"),
        (False, "Dit is een lijst:"),
        (False, ("lang " * 20).strip()),
    ]
