"""The policy's page in a real browser: readable by everyone, on a phone too, in both languages, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.services import Griffel, running


@pytest.fixture(scope="module")
def server(make_lrs: Callable[..., Griffel]):
    with running(make_lrs("embedded")) as server:
        yield server


@pytest.mark.parametrize(
    ("language", "heading", "scheme"), [("en", "All versions", "light"), ("nl", "Alle versies", "dark")]
)
@pytest.mark.parametrize(("query", "status"), [("", 200), ("?at=2016-01-01T00:00:00Z", 404)])
def test_the_page_of_the_policy_has_nothing_that_axe_complains_of(
    browser: Browser, server: Griffel, query: str, status: int, language: str, heading: str, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, locale=language)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(server.base + "/privacy/policy" + query)
    assert answer.status == status
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("html").get_attribute("lang") == language
    if status == 200:
        assert page.get_by_role("heading", name=heading).is_visible()
        assert page.get_by_role("article").get_attribute("lang") == "nl"
    assert [one for one in asked if not one.startswith(server.base)] == []
    context.close()
