"""The first page in a real browser: what a person meets who opens the printed address, with and without scripts.

Screenshots are left in screenshots/ (git passes that folder over), for people to look at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from tests.conftest import without
from tests.integration.pages import SIZES, assert_accessible, in_every_form, keep
from tests.services import Griffel, running

HEADINGS = {"en": "Griffel is running", "nl": "Griffel werkt"}
PAGE_BYTES_MAX = 100_000
PATIENCE_S = 20

# What moved while the page was being shown, as browsers score it.
SHIFT = """() => new Promise(done => {
  let total = 0;
  new PerformanceObserver(list => { for (const entry of list.getEntries()) total += entry.value; })
    .observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => requestAnimationFrame(() => done(total)));
})"""


@pytest.fixture(scope="module")
def any_lrs(make_lrs):
    """A running server for what does not depend on the mode."""
    with running(make_lrs("embedded")) as server:
        yield server


@pytest.fixture
def open_page(browser):
    """Opens an address in a browser context of its own and gives the page; `complaints` is what its console said."""
    contexts = []

    def open_(address: str, **options) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.asked = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()


def fetch(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# ── what it looks like and does not do ────────────────────────────────────────────────────────────────────────────────


@in_every_form
def test_the_first_page_is_accessible_and_quiet_in_every_form(lrs, open_page, language, scheme, size) -> None:
    page = open_page(lrs.base, locale=language, color_scheme=scheme, viewport=SIZES[size])
    # Before the screenshot, which makes the window as high as the page and so moves things itself.
    assert page.evaluate(SHIFT) == 0
    assert page.get_by_role("heading", level=1).inner_text() == HEADINGS[language]
    assert page.locator("html").get_attribute("lang") == language
    assert_accessible(page)
    keep(page, f"first-{lrs.mode}-{language}-{scheme}-{size}")
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]


@pytest.mark.parametrize("path", ["/nowhere", "/xapi"])
@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("nl", "dark")])
def test_a_page_for_a_lost_address_is_accessible_and_leads_to_the_first(
    any_lrs, open_page, path, language, scheme
) -> None:
    page = open_page(any_lrs.base + path, locale=language, color_scheme=scheme, viewport=SIZES["phone"])
    assert_accessible(page)
    keep(page, f"lost{path.replace('/', '-')}-{language}-{scheme}-phone")
    page.get_by_role("main").get_by_role("link").click()
    assert urlsplit(page.url).path == "/"


def test_it_asks_nobody_else_and_weighs_less_than_100_kb(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base)
    assert len(page.asked) > 1
    assert {urlsplit(address).netloc for address in page.asked} == {urlsplit(any_lrs.base).netloc}
    assert sum(len(fetch(address, Accept="text/html")[1].encode()) for address in page.asked) < PAGE_BYTES_MAX


def test_it_shows_nothing_about_credentials_or_people(lrs) -> None:
    name = f"learner-{uuid.uuid4()}"
    statement = {
        "actor": {"account": {"homePage": "https://school.example", "name": name}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/experienced"},
        "object": {"id": "https://school.example/welcome"},
    }
    request = urllib.request.Request(
        f"{lrs.url}/statements",
        json.dumps(statement).encode(),
        {**lrs.headers(), "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S):
        pass
    for accept in ("text/html", "application/json"):
        status, text = fetch(lrs.base, Accept=accept)
        assert status == 200
        for hidden in (lrs.key, lrs.secret, name, str(lrs.folder)):
            assert hidden not in text


# ── what one does with it ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_commands_on_the_page_work_once_key_and_secret_are_filled_in(lrs, open_page) -> None:
    if shutil.which("curl") is None:
        without("curl: type  sudo apt-get install -y curl")
    page = open_page(lrs.base)

    def typed(field: str) -> str:
        command = page.get_by_label(field, exact=True).input_value()
        filled = command.replace("KEY", lrs.key).replace("SECRET", lrs.secret)
        said = subprocess.run(["sh", "-c", filled], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        return said.stdout

    (statement_id,) = json.loads(typed("Send"))
    assert uuid.UUID(statement_id)
    status, text = fetch(f"{lrs.url}/statements?statementId={statement_id}", **lrs.headers())
    assert status == 200
    assert json.loads(text)["actor"]["account"]["name"] == "ada"
    (newest,) = json.loads(typed("Read back"))["statements"]
    assert newest["verb"]["id"] == "http://adlnet.gov/expapi/verbs/experienced"


def test_the_command_on_the_page_makes_a_credential_that_the_endpoint_on_it_takes(lrs, open_page) -> None:
    page = open_page(lrs.base)
    program, *arguments = shlex.split(page.get_by_label("Command", exact=True).input_value())
    assert program == "griffel"
    said = lrs.command(*arguments, "--data", str(lrs.data_dir)).stdout
    key, secret = re.findall(r"^(?:key|secret)\s+(\S+)$", said, re.MULTILINE)
    endpoint = page.get_by_label("Endpoint", exact=True).input_value()
    assert endpoint == lrs.url
    new = Griffel(lrs.folder, port=lrs.port)
    new.key, new.secret = key, secret
    status, _ = fetch(f"{endpoint}/statements?limit=1", **new.headers())
    assert status == 200


def test_a_button_copies_its_field_and_says_so(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy Endpoint").click()
    page.get_by_role("status").filter(has_text="Copied").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == any_lrs.url
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


def test_without_a_clipboard_the_button_copies_the_older_way(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base, permissions=["clipboard-read", "clipboard-write"])
    # As on a plain http address in a school's network, where browsers have no navigator.clipboard.
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy Send").click()
    page.get_by_role("status").filter(has_text="Copied").wait_for(state="attached")
    command = page.get_by_label("Send", exact=True).input_value()
    page.reload()
    assert page.evaluate("navigator.clipboard.readText()").replace("\r\n", "\n") == command


def test_without_scripts_the_page_says_the_same_and_a_field_is_selected_by_keyboard(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base, java_script_enabled=False, viewport=SIZES["desktop"])
    keep(page, f"first-{any_lrs.mode}-en-light-desktop-no-scripts")
    assert page.get_by_role("heading", level=1).inner_text() == "Griffel is running"
    assert page.get_by_role("button").count() == 0
    endpoint = page.get_by_label("Endpoint", exact=True)
    endpoint.focus()
    page.keyboard.press("Control+a")
    selected = endpoint.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)")
    assert selected == any_lrs.url
    assert endpoint.get_attribute("readonly") is not None


def test_the_language_link_turns_the_page_into_the_other_language(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base, locale="en")
    page.get_by_role("link", name="Nederlands").click()
    assert urlsplit(page.url).query == "lang=nl"
    assert page.get_by_role("heading", level=1).inner_text() == "Griffel werkt"
    assert page.get_by_role("link", name="Nederlands").get_attribute("aria-current") == "true"
    page.get_by_role("link", name="English").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Griffel is running"


def test_the_first_tab_leads_past_the_header_and_focus_can_be_seen(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("link => link === document.activeElement")
    assert skip.evaluate("link => link.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    first = page.get_by_role("button", name="Copy Endpoint")
    assert first.evaluate("button => button === document.activeElement")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_what_is_clicked_is_at_least_24_pixels_high(any_lrs, open_page) -> None:
    page = open_page(any_lrs.base, viewport=SIZES["phone"])
    heights = page.locator("a:visible, button:visible, input:visible, textarea:visible").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert len(heights) > 8
    assert min(heights) >= 24


def test_json_has_the_facts_of_the_page(lrs) -> None:
    status, text = fetch(lrs.base, Accept="application/json")
    assert status == 200
    facts = json.loads(text)
    assert facts["mode"] == lrs.mode
    assert facts["endpoint"] == lrs.url
    assert facts["healthy"] is True
    names = ["writer", "log", "key-vault", *(["copy"] if lrs.mode == "cluster" else [])]
    assert [(check["name"], check["ok"]) for check in facts["checks"]] == [(name, True) for name in names]


# ── when something is missing ─────────────────────────────────────────────────────────────────────────────────────────


def writer_of(server: Griffel) -> int:
    """The process of a server's writer (Linux)."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return next(int(one) for one in children if b"lrs.writer" in Path(f"/proc/{one}/cmdline").read_bytes())


def await_ready(server: Griffel, status: int) -> str:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found, text = fetch(f"{server.base}/health/ready")
        if found == status:
            return text
    pytest.fail(f"/health/ready did not answer {status} within {PATIENCE_S} s")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the writer's process as Linux tells it")
def test_a_writer_that_hangs_is_seen_on_the_page_and_so_is_its_return(fresh_lrs, open_page) -> None:
    writer = writer_of(fresh_lrs)
    os.kill(writer, signal.SIGSTOP)
    try:
        assert json.loads(await_ready(fresh_lrs, 503)) == {"ready": False, "missing": ["writer", "log"]}
        assert fetch(f"{fresh_lrs.base}/health/live")[0] == 200
        for language, heading in (
            ("en", "Griffel is running, but not ready"),
            ("nl", "Griffel draait, maar is niet klaar"),
        ):
            page = open_page(fresh_lrs.base, locale=language, viewport=SIZES["phone"])
            assert page.get_by_role("heading", level=1).inner_text() == heading
            assert_accessible(page)
            keep(page, f"not-ready-{fresh_lrs.mode}-{language}-light-phone")
    finally:
        os.kill(writer, signal.SIGCONT)
    assert json.loads(await_ready(fresh_lrs, 200)) == {"ready": True, "missing": []}
    page = open_page(fresh_lrs.base)
    assert page.get_by_role("heading", level=1).inner_text() == "Griffel is running"
