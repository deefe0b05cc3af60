"""Pages: what the first one and the one for lost addresses say, to whom, in which language, and what they never do."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from lrs.errors import Busy, WriterGone
from lrs.http.assets import asset_path, assets
from lrs.http.health import LIVE_PATH, READY_PATH, Check, Health, check_health, setup_health
from lrs.http.pages import DOCS, PAGE_HEADERS, PageState, curl_post, curl_read, setup_pages, wish_for
from lrs.http.translations import LOCALE_FOLDER, LOCALES, choose_language, languages

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 3, 4, 14, 3, 21, tzinfo=UTC)
WELL = (Check("writer", True, "running"), Check("log", True, "writable"), Check("key-vault", True, "leased"))
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


class Site:
    """An application with pages; its health, mode and address may be changed between requests."""

    def __init__(self, mode: str = "embedded") -> None:
        self.health = Health(True, WELL, NOW)
        self.url = "http://lrs.school.example"
        self.app = web.Application()

        async def health() -> Health:
            return self.health

        setup_health(self.app, health)
        setup_pages(self.app, PageState("1.2.3", mode, lambda _: self.url, health, clock=lambda: NOW))

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> SimpleNamespace:
        named = {"Accept": BROWSER} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with TestClient(TestServer(self.app)) as client:
            answer = await client.request(method, path, headers=named)
            return SimpleNamespace(status=answer.status, headers=answer.headers, text=await answer.text())


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.all if name == tag]


def field(text: str, name: str) -> str:
    """What stands in the field of this id."""
    found = re.search(
        rf'<textarea id="{name}"[^>]*>\n(.*?)</textarea>|<input id="{name}"[^>]* value="(.*?)"', text, re.DOTALL
    )
    assert found is not None
    return html.unescape(found[1] or found[2])


def facts(text: str) -> str:
    """The page's words, on one line."""
    return " ".join(" ".join(Tags(text).words).split())


# Fixtures and no helpers of the tests: setting up reads files, which no test in the event loop may do.
@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def cluster_site() -> Site:
    return Site("cluster")


# ── the first page ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_page_says_what_runs_how_it_is_and_up_to_when(site) -> None:
    answer = await site.get()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    words = facts(answer.text)
    for said in ("Griffel is running", "Healthy", "14:03:21 UTC just now", "Version 1.2.3", "Mode Embedded"):
        assert said in words
    assert field(answer.text, "endpoint") == "http://lrs.school.example/xapi"
    assert field(answer.text, "credential") == "griffel credentials create --scope all"


async def test_the_first_page_names_the_cluster_mode(cluster_site) -> None:
    words = facts((await cluster_site.get()).text)
    assert "Mode Cluster several servers" in words
    assert "the settings that the servers have ( GRIFFEL_…" in words
    assert "--data" not in words


async def test_the_commands_on_the_page_are_those_for_its_endpoint(site) -> None:
    text = (await site.get()).text
    assert field(text, "post") == curl_post("http://lrs.school.example/xapi")
    assert field(text, "read") == curl_read("http://lrs.school.example/xapi")


async def test_a_shell_reads_the_command_as_it_is_meant() -> None:
    words = shlex.split(curl_post("https://lrs.example/xapi"))
    assert words[:3] == ["curl", "-u", "KEY:SECRET"]
    assert words[-1] == "https://lrs.example/xapi/statements"
    assert set(json.loads(words[words.index("-d") + 1])) == {"actor", "verb", "object"}


async def test_an_address_that_is_no_plain_one_stays_one_word_of_the_command_and_is_escaped_on_the_page(site) -> None:
    site.url = "http://x';touch\"<script>$(id)"
    text = (await site.get()).text
    assert shlex.split(field(text, "post"))[-1] == site.url + "/xapi/statements"
    assert field(text, "endpoint") == site.url + "/xapi"
    assert len(Tags(text).named("script")) == 1


async def test_time_that_stands_still_is_said_in_words_and_marked(site) -> None:
    assert "tile--late" not in (await site.get()).text
    site.health = Health(True, WELL, NOW - timedelta(minutes=3))
    text = (await site.get()).text
    assert "14:00:21 UTC 3 minutes ago" in facts(text)
    assert "tile--late" in text


async def test_a_time_of_another_day_has_its_date(site) -> None:
    site.health = Health(True, WELL, NOW - timedelta(days=2))
    assert "2 March 2026 14:03:21 UTC 2 days ago" in facts((await site.get()).text)
    assert "2 maart 2026 14:03:21 UTC 2 dagen geleden" in facts((await site.get("/?lang=nl")).text)


async def test_where_no_time_is_known_the_page_says_so(site) -> None:
    site.health = Health(False, (Check("log", False, "silent"),), None)
    assert "Up to not known" in facts((await site.get()).text)


async def test_a_store_that_is_not_ready_says_what_is_missing_and_what_to_do(site) -> None:
    site.health = Health(False, (Check("writer", False, "stopped"), *WELL[1:]), NOW)
    answer = await site.get()
    assert answer.status == 200
    words = facts(answer.text)
    assert "Griffel is running, but not ready" in words
    assert "Writer stopped; it is being started again" in words
    assert "Key vault keys are at hand" in words
    assert "look at the last lines" in words


async def test_whoever_asks_for_json_gets_the_same_facts(site) -> None:
    answer = await site.get(Accept="application/json")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.text) == {
        "name": "Griffel",
        "version": "1.2.3",
        "mode": "embedded",
        "healthy": True,
        "checks": [check._asdict() for check in WELL],
        "data_through": "2026-03-04T14:03:21+00:00",
        "endpoint": "http://lrs.school.example/xapi",
        "make_credential": "griffel credentials create --scope all",
        "post": curl_post("http://lrs.school.example/xapi"),
        "read": curl_read("http://lrs.school.example/xapi"),
        "docs": DOCS,
    }


async def test_head_is_get_without_content_and_anything_else_is_refused(site) -> None:
    head = await site.get(method="HEAD")
    assert (head.status, head.text) == (200, "")
    assert head.headers["Content-Security-Policy"] == PAGE_HEADERS["Content-Security-Policy"]
    for path in ("/", asset_path("tokens.css"), LIVE_PATH, READY_PATH):
        refused = await site.get(path, method="POST")
        assert refused.status == 405
        assert refused.headers["Allow"] == "GET, HEAD"
        assert refused.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("place", DOCS.values())
def test_the_documentation_is_where_the_page_says(place) -> None:
    assert (ROOT / place).exists()


# ── addresses that are not there ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/nothing", "/a/b/c", "/static/tokens.css", "/static/../secret", "/health"])
async def test_a_browser_at_a_lost_address_gets_a_page_that_leads_back(site, path) -> None:
    answer = await site.get(path)
    assert answer.status == 404
    assert "There is nothing at this address" in facts(answer.text)
    assert {"class": "button button--main", "href": "/"} in Tags(answer.text).named("a")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/problem+json"])
async def test_a_program_at_a_lost_address_gets_a_problem(site, accept) -> None:
    answer = await site.get("/nothing", Accept=accept)
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert set(json.loads(answer.text)) == {"type", "title", "status", "detail"}
    assert 'nothing"' not in answer.text


async def test_a_browser_at_the_endpoint_itself_is_told_what_it_is_for(site) -> None:
    for path in ("/xapi", "/xapi/"):
        answer = await site.get(path)
        assert answer.status == 404
        assert "This address is for course content" in facts(answer.text)


async def test_lost_addresses_under_the_endpoint_are_problems_in_the_version_that_was_asked(site) -> None:
    answer = await site.get("/xapi/nothing", X_Experience_API_Version="1.0.1")
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["X-Experience-API-Version"] == "1.0.3"


# ── every page ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/", "/?lang=nl", "/nothing", "/xapi"])
async def test_a_page_holds_to_its_policy(site, path) -> None:
    answer = await site.get(path)
    assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    tags = Tags(answer.text)
    assert tags.named("style") == []
    assert all(script.get("src") for script in tags.named("script"))
    for _, attributes in tags.all:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    loaded = [one.get("src") or one.get("href") for name in ("link", "script", "img") for one in tags.named(name)]
    assert loaded
    for address in loaded:
        assert address.startswith("/static/")
        assert (await site.get(address)).status == 200


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_a_page_has_landmarks_one_heading_and_a_way_past_the_header(site, path) -> None:
    tags = Tags((await site.get(path)).text)
    for name in ("header", "nav", "main", "footer", "h1"):
        assert len(tags.named(name)) == 1
    assert tags.named("a")[0] == {"class": "skip-link", "href": "#main"}


async def test_behind_a_proxy_with_a_path_everything_a_page_links_to_has_that_path(site) -> None:
    site.url = "https://school.example/records"
    for path in ("/", "/nothing"):
        tags = Tags((await site.get(path)).text)
        for name in ("link", "script", "a"):
            for one in tags.named(name):
                assert (one.get("href") or one.get("src")).startswith(("/records/", "?lang=", "#main"))


async def test_the_whole_first_page_is_under_100_kb(site) -> None:
    page = (await site.get()).text.encode()
    assert len(page) + sum(len(asset.body) for asset in assets().values()) < 100_000


async def test_an_asset_has_its_content_in_its_name_and_may_be_kept_for_ever(site) -> None:
    for name, asset in assets().items():
        assert re.fullmatch(rf"/static/{Path(name).stem}\.[0-9a-f]{{16}}{Path(name).suffix}", asset_path(name))
        answer = await site.get(asset_path(name))
        assert answer.text == asset.body.decode()
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"].startswith(asset.content_type)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert {asset.content_type for asset in assets().values()} == {"text/css", "text/javascript", "image/svg+xml"}


@pytest.mark.parametrize(
    ("accept", "wins"),
    [
        ("", "either"),
        ("*/*", "either"),
        (BROWSER, "html"),
        ("application/json", "json"),
        ("application/json, text/plain, */*", "json"),
        ("text/html;q=0.5, application/json;q=0.6", "json"),
        ("text/html, application/json;q=0.9", "html"),
        ("application/*;q=0.4, */*;q=0.2", "json"),
        ("application/json;q=0, */*", "html"),
        ("text/html;q=nonsense, */*;q=0.1", "json"),
    ],
)
def test_accept_is_weighed_by_weight_then_by_exactness(accept, wins) -> None:
    html_wish, json_wish = wish_for(accept, "text/html"), wish_for(accept, "application/json")
    assert wins == ("html" if html_wish > json_wish else "json" if json_wish > html_wish else "either")


# ── languages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "accept", "chosen"),
    [
        (None, "", "en"),
        (None, "nl", "nl"),
        (None, "nl-BE,nl;q=0.9,en;q=0.8", "nl"),
        (None, "fr, en;q=0.5, nl;q=0.7", "nl"),
        (None, "de", "en"),
        ("nl", "en", "nl"),
        ("fr", "nl", "nl"),
        ("../../etc", "", "en"),
    ],
)
def test_the_address_decides_the_language_and_then_the_browser(asked, accept, chosen) -> None:
    assert choose_language(asked, accept).code == chosen


async def test_a_page_is_in_the_readers_language(site) -> None:
    answer = await site.get(Accept_Language="nl-NL,nl;q=0.9,en;q=0.5")
    assert answer.headers["Content-Language"] == "nl"
    assert Tags(answer.text).named("html") == [{"lang": "nl"}]
    assert "Griffel werkt" in facts(answer.text)
    assert "14:03:21 UTC zojuist" in facts(answer.text)


async def test_the_language_links_keep_the_address_and_its_other_parameters(site) -> None:
    tags = Tags((await site.get("/nothing?course=a%26b&lang=nl")).text)
    links = {one["lang"]: one for one in tags.named("a") if "lang" in one}
    assert links["en"]["href"] == "?course=a%26b&lang=en"
    assert links["nl"]["href"] == "?course=a%26b&lang=nl"
    assert [code for code, one in links.items() if "aria-current" in one] == ["nl"]


async def test_a_language_that_was_chosen_stays_chosen_on_the_way_to_the_first_page(site) -> None:
    chosen = Tags((await site.get("/nothing?lang=nl")).text).named("a")
    assert {"class": "button button--main", "href": "/?lang=nl"} in chosen


def test_each_catalogue_has_every_message_of_the_templates_and_no_other() -> None:
    with (ROOT / "babel.cfg").open("rb") as file:
        methods, options = parse_mapping_cfg(file.read().decode().splitlines())
    found = {message for _, _, message, _, _ in extract_from_dir(ROOT / "lrs", methods, options)}
    assert len(found) > 40
    for code in LOCALES:
        assert {message.id for message in catalogue(code) if message.id} == found


def catalogue(code: str):
    with (LOCALE_FOLDER / code / "LC_MESSAGES" / "griffel.po").open("rb") as file:
        return read_po(file, locale=code)


def test_every_language_but_that_of_the_messages_translates_each_with_the_same_placeholders() -> None:
    for code in set(LOCALES) - {"en"}:
        for message in catalogue(code):
            if message.id:
                assert not message.fuzzy
                # One form, or one for one and one for many.
                forms = zip(
                    *(one if isinstance(one, tuple) else (one,) for one in (message.id, message.string)), strict=True
                )
                for original, translated in forms:
                    assert translated
                    assert set(re.findall(r"%\(\w+\)s", translated)) == set(re.findall(r"%\(\w+\)s", original))
    assert set(languages()) == set(LOCALES)


# ── health ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class FakeLog:
    """What health asks of a log, here with the answers of a log that fails in one way."""

    def __init__(self, answer: int | Exception, *, writable: bool = True, known_head_us: int = 0) -> None:
        self.answer = answer
        self.writable = writable
        self.known_head_us = known_head_us

    async def watermark(self) -> int:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


SECOND_US = int(NOW.timestamp()) * 1_000_000
EARLIER_US = SECOND_US - 60_000_000
WAYS = {
    "well": (FakeLog(SECOND_US), True, [], SECOND_US),
    "writer gone": (FakeLog(SECOND_US, writable=False), True, ["writer", "log"], SECOND_US),
    "disk full": (FakeLog(Busy("disk"), known_head_us=EARLIER_US), True, ["log"], EARLIER_US),
    "writer dies": (FakeLog(WriterGone(), writable=False), True, ["writer", "log"], None),
    "database gone": (FakeLog(OSError("no route")), True, ["log"], None),
    "lease lost": (FakeLog(SECOND_US), False, ["key-vault"], SECOND_US),
}


@pytest.mark.parametrize("way", WAYS)
async def test_health_names_what_is_missing_and_keeps_the_last_honest_time(way) -> None:
    log, leased, missing, known_us = WAYS[way]
    found = await check_health(SimpleNamespace(log=log, vault=SimpleNamespace(ready=leased), guard=None))
    assert found.missing == missing
    assert found.ok == (missing == [])
    assert found.watermark == (datetime.fromtimestamp(known_us / 1_000_000, UTC) if known_us else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("language", LOCALES)
async def test_a_page_has_words_for_every_way_to_fail(site, way, language) -> None:
    log, leased, missing, _ = WAYS[way]
    site.health = await check_health(SimpleNamespace(log=log, vault=SimpleNamespace(ready=leased), guard=None))
    text = (await site.get(f"/?lang={language}")).text
    assert text.count("check--bad") == len(missing)
    assert text.count("check--ok") == len(WELL) - len(missing)


async def test_a_log_that_hangs_is_silent_and_does_not_hang_the_answer(monkeypatch) -> None:
    class Hanging(FakeLog):
        async def watermark(self) -> int:
            return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr("lrs.http.health.LOG_ANSWER_WAIT_S", 0.01)
    found = await check_health(SimpleNamespace(log=Hanging(0), vault=SimpleNamespace(ready=True), guard=None))
    assert Check("log", False, "silent") in found.checks


async def test_ready_is_503_with_names_while_something_is_missing_and_live_stays_200(site) -> None:
    ready = await site.get(READY_PATH)
    assert (ready.status, json.loads(ready.text)) == (200, {"ready": True, "missing": []})
    site.health = Health(False, (Check("writer", False, "stopped"), *WELL[1:]), NOW)
    ready = await site.get(READY_PATH)
    assert (ready.status, json.loads(ready.text)) == (503, {"ready": False, "missing": ["writer"]})
    live = await site.get(LIVE_PATH)
    assert (live.status, json.loads(live.text)) == (200, {"live": True})
    assert live.headers["Cache-Control"] == ready.headers["Cache-Control"] == "no-store"
