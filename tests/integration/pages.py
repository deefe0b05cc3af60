"""What tests of pages share: the forms a page is looked at in, whether axe finds anything, and a picture of it."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.services import ROOT

SCREENSHOTS = ROOT / "screenshots"
SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 900}}
FORMS = [("en", "light", "phone"), ("nl", "dark", "phone"), ("en", "dark", "desktop"), ("nl", "light", "desktop")]
"""Language, colours and size, each with each of the others once."""

in_every_form = pytest.mark.parametrize(("language", "scheme", "size"), FORMS, ids=["-".join(form) for form in FORMS])


def assert_accessible(page: Page) -> None:
    """Have axe look at a page as it is shown now."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def keep(page: Page, name: str) -> None:
    """Keep a picture of a whole page, for whoever wants to look."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
