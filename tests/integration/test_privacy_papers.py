"""Certificates and receipts as pages to print, in a real browser: in both languages, light, dark and on paper."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.conformance.builders import agent, statement
from tests.conformance.client import Api, must
from tests.integration.privacy_desk import BOUND_S, erase, identity_of
from tests.services import Griffel, running

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with running(make_lrs("embedded")) as server:
        yield server


@pytest.fixture(params=[("en", "light"), ("nl", "dark")], ids=["en", "nl"])
def page(request: pytest.FixtureRequest, browser: Browser, server: Griffel) -> Iterator[Page]:
    """A phone whose browser sends the credential with everything."""
    language, scheme = request.param
    told = base64.b64encode(f"{server.key}:{server.secret}".encode()).decode()
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
        locale=language,
        extra_http_headers={"Authorization": f"Basic {told}"},
    )
    yield context.new_page()
    context.close()


def reads_well(page: Page, language: str) -> None:
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("html").get_attribute("lang") == language
    assert page.get_by_role("navigation").count() == 0, "a paper has no address in another language"
    page.emulate_media(media="print")
    assert page.get_by_role("heading", level=1).is_visible()


def language_of(page: Page) -> str:
    return str(page.evaluate("navigator.language"))


def test_a_certificate_is_a_page_that_says_what_was_signed(page: Page, server: Griffel) -> None:
    someone = agent(name="Somebody")
    Api(server.url, server.key, server.secret, "2.0.0").store(*[statement(actor=someone) for _ in range(3)])
    certificate = erase(server, someone)
    answer = page.goto(f"{server.base}/privacy/erasures/{certificate['erasure']}")
    assert answer is not None
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    language = language_of(page)
    heading = {"en": "Erased, and unreadable for good", "nl": "Gewist, en voorgoed onleesbaar"}[language]
    assert page.get_by_role("heading", level=1).inner_text() == heading
    row = {"en": "Statements about the learner alone", "nl": "Statements over alleen deze cursist"}[language]
    assert page.get_by_role("row", name=row).locator("td").first.inner_text() == "3"
    assert page.locator("#jws").input_value() == certificate["jws"]
    assert "Somebody" not in page.content()
    assert someone["mbox"] not in page.content()
    reads_well(page, language)


def test_what_is_not_a_certificate_yet_is_refused_or_said(page: Page, server: Griffel) -> None:
    answer = page.goto(f"{server.base}/privacy/erasures/{'0' * 32}")
    assert answer is not None
    assert answer.status == 404


@pytest.mark.parametrize("given", [True, False])
def test_a_receipt_is_a_page_that_says_what_was_decided(page: Page, server: Griffel, *, given: bool) -> None:
    someone = agent(name="Somebody")
    Api(server.url, server.key, server.secret, "2.0.0").store(statement(actor=someone))
    language = language_of(page)
    told = must(
        200,
        requests.post(
            f"{server.base}/privacy/consents",
            json={"agent": identity_of(someone), "purpose": "survey", "given": given},
            headers={"Accept": BROWSER, "Accept-Language": language},
            auth=(server.key, server.secret),
            timeout=BOUND_S,
        ),
    )
    assert told.headers["Content-Type"] == "text/html; charset=utf-8"
    # Where its sheets of style come from is this server, as if the browser had posted the form itself.
    page.route(f"{server.base}/receipt", lambda route: route.fulfill(body=told.text, content_type="text/html"))
    page.goto(f"{server.base}/receipt")
    heading = page.get_by_role("heading", level=1).inner_text()
    said = {"en": ("Consent given", "Consent withdrawn"), "nl": ("Toestemming gegeven", "Toestemming ingetrokken")}
    assert heading.startswith(said[language][not given] + ": ")
    assert page.locator("#jws").input_value().count(".") == 2
    assert someone["mbox"] not in page.content()
    reads_well(page, language)
