"""Courses in a real browser: signing in and out, what the pages say, who may not see them, what moves by itself.

The pages stand over courses that are made up here (tests/integration/course_site.py), so that what they must say is
known to the letter. Screenshots are left in screenshots/, for people to look at.
"""

from __future__ import annotations

import base64
import csv
import http.client
import io
import json
import re
import urllib.error
import urllib.request
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Page, expect

from lrs.http.sessions import FAILURES_MAX, LOCKED_S, SESSION_COOKIE, SESSION_IDLE_S, SESSION_S
from tests.integration.course_site import (
    COURSE,
    MODULES,
    NAMES,
    CourseSite,
    ago,
    course,
    course_id,
    invented_learners,
    learner,
)
from tests.integration.pages import SIZES, assert_accessible, in_every_form, keep
from tests.services import Griffel, running

PAGE_BYTES_MAX = 100_000
PATIENCE_S = 20
CHANGE_BOUND_MS = 2_000
SOMEBODY = "ada_1815"
"""A name that is in no id and in none of the names that Griffel makes up."""
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SMALL = (
    learner(101),
    learner(102, progress=50.0, last_seen_at=ago(1)),
    learner(103, progress=40.0, last_seen_at=ago(20)),
    learner(104, progress=100.0, last_seen_at=ago(2), completed_at=ago(2), outcome="passed", score=0.87),
    learner(105, enrolled=False, unenrolled_at=ago(3), progress=10.0, last_seen_at=ago(3)),
)
LARGE, SMALL_ONE, EMPTY = 1, 2, 3


@pytest.fixture
def site(tmp_path):
    """The pages over three courses: a large one, a small one, one with nobody in it."""
    made = CourseSite(tmp_path)
    made.names |= {
        "https://school.example/courses/writing": {"en": "Writing that is read", "nl": "Schrijven dat gelezen wordt"},
        "https://school.example/courses/safety": {"en": "Working safely", "nl": "Veilig werken"},
    }
    made.views.put(course(LARGE, *invented_learners(63, 5)))
    made.views.put(course(SMALL_ONE, *SMALL, activity_id="https://school.example/courses/writing"))
    made.views.put(course(EMPTY, activity_id="https://school.example/courses/safety", modules=()))
    made.start()
    yield made
    made.stop()


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


@pytest.fixture
def signed_in(site, open_page):
    """Opens a page of the site as somebody who has signed in through the form."""

    def open_(path: str, scopes: str = "courses/read", **options) -> Page:
        page = open_page(site.base + path, **options)
        fill_in(page, *site.credential(scopes))
        return page

    return open_


def fill_in(page: Page, key: str, secret: str) -> None:
    page.locator("#key").fill(key)
    page.locator("#secret").fill(secret)
    page.locator("main form button").click()


def fetch(address: str, data: dict[str, str] | None = None, **headers: str):
    """Give status, headers and text of an answer; redirects are not followed."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None
    if data is not None:
        body = urlencode(data)
        named["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET" if data is None else "POST", path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def basic(key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


def session_of(site: CourseSite, scopes: str = "courses/read") -> str:
    """Sign in as a browser would, by hand; give the Cookie header."""
    key, secret = site.credential(scopes)
    status, headers, _ = post_form(site, {"key": key, "secret": secret})
    assert status == 303
    return next(one.partition(";")[0] for one in headers.get_all("Set-Cookie") if SESSION_COOKIE in one)


def post_form(site: CourseSite, fields: dict[str, str], path: str = "/sign-in", **headers: str):
    _, given, text = fetch(site.base + "/sign-in", Accept=BROWSER)
    cookie = given["Set-Cookie"].partition(";")[0]
    token = re.search(r'name="form" value="([0-9a-f]+)"', text)[1]
    return fetch(site.base + path, {"form": token, **fields}, **{"Cookie": cookie, **headers})


# ── what the pages look like and do not do ────────────────────────────────────────────────────────────────────────────

PAGES = {
    "sign-in": ("/sign-in", "Sign in", "Inloggen"),
    "courses": ("/courses", "Courses", "Cursussen"),
    "course": (f"/courses/{course_id(LARGE)}", NAMES[COURSE]["en"], NAMES[COURSE]["nl"]),
    "course-empty": (f"/courses/{course_id(EMPTY)}", "Working safely", "Veilig werken"),
    "course-missing": (f"/courses/{course_id(99)}", "There is no such course", "Deze cursus is er niet"),
}


@in_every_form
def test_every_page_is_accessible_and_quiet_in_every_form(site, open_page, language, scheme, size) -> None:
    page = open_page(site.base + "/courses", locale=language, color_scheme=scheme, viewport=SIZES[size])
    for name, (path, english, dutch) in PAGES.items():
        if name != "sign-in":
            page.goto(site.base + path)
        assert page.get_by_role("heading", level=1).inner_text() == (english if language == "en" else dutch)
        assert page.locator("html").get_attribute("lang") == language
        assert_accessible(page)
        keep(page, f"{name}-{language}-{scheme}-{size}")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
        if name == "sign-in":
            fill_in(page, *site.credential())
    # The one thing a browser says is that a page is not there, where none is.
    assert [one for one in page.complaints if "404" not in one] == []
    assert {urlsplit(address).netloc for address in page.asked} == {urlsplit(site.base).netloc}


@pytest.mark.parametrize("language", ["en", "nl"])
def test_the_pages_for_trouble_are_accessible(site, open_page, signed_in, language) -> None:
    page = signed_in("/courses", "statements/read", locale=language, viewport=SIZES["phone"])
    assert_accessible(page)
    keep(page, f"course-not-allowed-{language}-light-phone")
    page = open_page(site.base + "/sign-in", locale=language, viewport=SIZES["phone"])
    for _ in range(FAILURES_MAX):
        fill_in(page, "wrong", "wrong")
    assert_accessible(page)
    keep(page, f"sign-in-wrong-{language}-light-phone")
    fill_in(page, "wrong", "wrong")
    assert_accessible(page)
    keep(page, f"sign-in-locked-{language}-light-phone")
    page = signed_in("/courses", locale=language, viewport=SIZES["phone"])
    site.views.busy = True
    page.goto(site.base + f"/courses/{course_id(LARGE)}")
    assert_accessible(page)
    keep(page, f"course-busy-{language}-light-phone")


def test_the_page_of_a_course_weighs_less_than_100_kb_and_nothing_in_it_moves(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(LARGE)}", viewport=SIZES["desktop"])
    shift = """() => new Promise(done => {
      let total = 0;
      new PerformanceObserver(list => { for (const entry of list.getEntries()) total += entry.value; })
        .observe({type: "layout-shift", buffered: true});
      requestAnimationFrame(() => requestAnimationFrame(() => done(total)));
    })"""
    assert page.evaluate(shift) < 0.01
    loaded = page.evaluate(
        "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
        ".reduce((sum, one) => sum + one.decodedBodySize, 0)"
    )
    assert 10_000 < loaded < PAGE_BYTES_MAX


def test_what_is_clicked_is_at_least_24_pixels_high(signed_in) -> None:
    page = signed_in(f"/courses/{course_id(LARGE)}", viewport=SIZES["phone"])
    heights = page.locator("a:visible, button:visible, summary:visible").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert len(heights) > 15
    assert min(heights) >= 24


def test_on_paper_there_is_the_report_and_nothing_to_click(signed_in) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}", viewport=SIZES["desktop"])
    page.emulate_media(media="print")
    keep(page, "course-print")
    assert page.get_by_role("button").count() == 0
    assert page.get_by_role("navigation").count() == 0
    assert page.get_by_role("table").count() >= 2


# ── what the page says ────────────────────────────────────────────────────────────────────────────────────────────────


def table_of(page: Page, section: str) -> list[list[str]]:
    rows = page.locator(f"#{section} tbody tr").all()
    cells = [[one.strip() for one in row.locator("th, td").all_inner_texts()] for row in rows]
    return [[re.sub(r"\s+", " ", one) for one in row if one] for row in cells]


def tiles_of(page: Page) -> dict[str, str]:
    terms = page.locator("#numbers .tile")
    return {
        one.locator("dt").inner_text(): re.sub(r"\D", "", one.locator(".tile__value").inner_text())
        for one in terms.all()
    }


@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_of_a_course_equals_its_report(site, signed_in, scripts) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}", locale="en", java_script_enabled=scripts)
    assert page.get_by_role("heading", level=1).inner_text() == "Writing that is read"
    assert tiles_of(page) == {"Enrolled": "4", "Active this week": "2", "Completed": "1", "At risk": "1"}
    assert "1 learner who has left is not counted." in page.locator("#numbers").inner_text()
    assert table_of(page, "far") == [
        ["In the course", "4", "100%"],
        ["Started", "3", "75%"],
        ["A quarter done", "3", "75%"],
        ["Half done", "2", "50%"],
        ["Three quarters done", "1", "25%"],
        ["Completed", "1", "25%"],
        ["Passed", "1", "25%"],
    ]
    assert [row[1:] for row in table_of(page, "learners")] == [
        ["100%", "2 days ago", "Passed 87% 2 Mar"],
        ["50%", "1 day ago", "Under way"],
        ["40%", "3 wk ago", "At risk"],
        ["0%", "never", "Not started"],
    ]
    assert "14:03:19" in page.locator(".through").inner_text()
    for one in SMALL:
        assert one.learner not in page.content()


def test_a_tile_leads_to_the_list_of_what_it_counts(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(LARGE)}", locale="en")
    for label in ("Active this week", "At risk", "Completed"):
        number = int(tiles_of(page)[label])
        page.locator("#numbers").get_by_role("link", name=label).click()
        chosen = page.locator("#learners .choices a[aria-current]")
        assert chosen.inner_text().split("\n") == [label, str(number)]
        assert len(table_of(page, "learners")) == min(number, 25)


def test_a_heading_sorts_the_list_and_the_address_keeps_it(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(LARGE)}", locale="en")
    page.get_by_role("columnheader", name="Learner", exact=True).get_by_role("link").click()
    assert "sort=name" in page.url
    names = [row[0] for row in table_of(page, "learners")]
    assert names == sorted(names)
    assert page.get_by_role("columnheader", name="Learner", exact=True).get_attribute("aria-sort") == "ascending"
    page.get_by_role("link", name="Next").click()
    assert table_of(page, "learners")[0][0] > names[-1]
    page.get_by_role("link", name="Nederlands").click()
    assert "sort=name" in page.url
    assert "page=2" in page.url


def test_the_chart_has_its_numbers_as_a_table(signed_in) -> None:
    page = signed_in(f"/courses/{course_id(LARGE)}", locale="en")
    page.get_by_text("As a table").click()
    rows = table_of(page, "completions")
    assert sum(int(new) for _, new, _ in rows) == int(rows[-1][2]) == int(tiles_of(page)["Completed"])


def test_the_list_of_courses_equals_the_views(site, signed_in) -> None:
    page = signed_in("/courses", locale="nl")
    rows = [
        [re.sub(r"\s+", " ", one).strip() for one in row.all_inner_texts()]
        for row in [row.locator("th, td") for row in page.locator("tbody tr").all()]
    ]
    assert [row[0] for row in rows] == ["Schrijven dat gelezen wordt", "Veilig werken", "Werken met rekenbladen"]
    assert [row[1:3] for row in rows[:2]] == [["4", "1 25%"], ["0", "0"]]
    page.get_by_role("link", name="Werken met rekenbladen").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Werken met rekenbladen"


def test_an_activity_that_nobody_named_is_called_by_its_id(site, signed_in) -> None:
    site.views.put(course(7, learner(1), activity_id="https://school.example/<unnamed>&'\"", modules=()))
    page = signed_in(f"/courses/{course_id(7)}")
    assert page.get_by_role("heading", level=1).inner_text() == "https://school.example/<unnamed>&'\""


def test_views_that_are_behind_say_so(site, signed_in) -> None:
    report = course(8, learner(1))
    object.__setattr__(report, "data_through_us", report.data_through_us - 60_000_000)
    site.views.put(report)
    page = signed_in(f"/courses/{course_id(8)}", locale="en")
    assert "These numbers are behind" in page.get_by_role("main").inner_text()
    assert "14:02:19" in page.locator(".through").inner_text()


# ── what changes by itself ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_changes_in_the_views_changes_on_the_page_within_two_seconds(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}", locale="en")
    expect(page.locator("html")).to_have_attribute("data-stream", "open")
    page.get_by_role("link", name="CSV").focus()
    site.views.add(course_id(SMALL_ONE), learner(9, progress=80.0, last_seen_at=ago(0.001)))
    expect(page.locator("#numbers .tile").first).to_contain_text("5", timeout=CHANGE_BOUND_MS)
    assert page.get_by_role("link", name="CSV").evaluate("link => link === document.activeElement")
    assert page.complaints == []


def test_the_first_learner_turns_the_empty_page_into_a_full_one(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(EMPTY)}", locale="en")
    expect(page.locator("html")).to_have_attribute("data-stream", "open")
    assert "No one is enrolled yet" in page.get_by_role("main").inner_text()
    site.views.add(course_id(EMPTY), learner(1))
    expect(page.locator("#numbers")).to_be_visible(timeout=CHANGE_BOUND_MS)


def test_the_stream_says_what_changed_and_nothing_of_whom(site) -> None:
    request = urllib.request.Request(
        f"{site.base}/courses/{course_id(SMALL_ONE)}/live", headers={"Authorization": basic(*site.credential())}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        lines = [stream.readline().decode().strip() for _ in range(6)]
        assert lines[2] == "event: through"
        site.views.add(course_id(SMALL_ONE), learner(9))
        lines = [stream.readline().decode().strip() for _ in range(4)]
    assert lines[0] == "event: changed"
    told = json.loads(lines[2].removeprefix("data: "))
    assert set(told) == {"id", "data_through"}
    assert told["id"] == course_id(SMALL_ONE)


def test_an_open_stream_does_not_keep_the_server_from_stopping(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}")
    expect(page.locator("html")).to_have_attribute("data-stream", "open")
    site.stop()
    assert not site._thread.is_alive()


REGISTERED = "http://adlnet.gov/expapi/verbs/registered"
COMPLETED = "http://adlnet.gov/expapi/verbs/completed"


def post(server: Griffel, person: str, verb: str) -> None:
    statement = {
        "actor": {"account": {"homePage": "https://school.example", "name": person}},
        "verb": {"id": verb},
        "object": {
            "id": "https://school.example/courses/of-the-page",
            "definition": {
                "type": "http://adlnet.gov/expapi/activities/course",
                "name": {"en": "A course on the page", "nl": "Een cursus op de pagina"},
            },
        },
    }
    headers = {**server.headers(), "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/statements", json.dumps(statement).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S):
        pass


def test_a_statement_posted_meanwhile_changes_the_page_of_a_running_server(make_lrs, open_page) -> None:
    with running(make_lrs("embedded")) as server:
        page = open_page(server.base + "/courses", locale="en")
        fill_in(page, server.key, server.secret)
        assert "There are no courses yet" in page.get_by_role("main").inner_text()
        assert_accessible(page)
        keep(page, "courses-none-en-light-desktop")
        post(server, SOMEBODY, REGISTERED)
        # The first course comes on its own way into the views; from then on the page is what is watched.
        for _ in range(100):
            page.reload()
            if page.get_by_role("link", name="A course on the page").count():
                break
        page.get_by_role("link", name="A course on the page").click()
        expect(page.locator("html")).to_have_attribute("data-stream", "open")
        assert tiles_of(page)["Enrolled"] == "1"
        post(server, "grace", REGISTERED)
        expect(page.locator("#numbers .tile").first).to_contain_text("2", timeout=CHANGE_BOUND_MS)
        post(server, SOMEBODY, COMPLETED)
        expect(page.locator("#numbers .tile").nth(2)).to_contain_text("50%", timeout=CHANGE_BOUND_MS)
        assert SOMEBODY not in page.content()
        assert_accessible(page)


# ── signing in and out ────────────────────────────────────────────────────────────────────────────────────────────────


def test_whoever_signs_in_comes_where_they_wanted_to_be(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}?sort=seen", locale="en")
    assert page.url == f"{site.base}/courses/{course_id(SMALL_ONE)}?sort=seen"
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (SESSION_COOKIE, True, "Lax")


def test_behind_https_the_cookie_is_for_https_alone(site) -> None:
    site.secure_url = "https://lrs.school.example/records"
    _, headers, _ = fetch(site.base + "/sign-in", Accept=BROWSER)
    assert "Secure" in headers["Set-Cookie"]
    assert "Path=/records" in headers["Set-Cookie"]


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/courses/../x", "/xapi", "/courses?a=\r\nX: y", "/sign-out"]
)
def test_signing_in_leads_to_no_other_place(site, target) -> None:
    key, secret = site.credential()
    status, headers, _ = post_form(site, {"key": key, "secret": secret}, f"/sign-in?{urlencode({'next': target})}")
    assert (status, headers["Location"]) == (303, "/courses")


def test_a_wrong_secret_is_refused_and_nothing_typed_comes_back(site, open_page) -> None:
    key, _ = site.credential()
    page = open_page(site.base + "/courses", locale="en")
    fill_in(page, key, "a wrong secret")
    assert page.get_by_role("alert").inner_text().startswith("That key and secret do not go together")
    assert key not in page.content()
    assert "a wrong secret" not in page.content()
    assert page.context.cookies()[0]["name"] != SESSION_COOKIE


def test_after_repeated_failures_there_is_a_pause_even_for_the_right_secret(site) -> None:
    key, secret = site.credential()
    for _ in range(FAILURES_MAX):
        assert post_form(site, {"key": key, "secret": "wrong"})[0] == 401
    status, headers, _ = post_form(site, {"key": key, "secret": secret})
    assert (status, headers["Retry-After"]) == (429, str(LOCKED_S))
    other = site.credential()
    assert post_form(site, {"key": other[0], "secret": other[1]})[0] == 303
    site.lock_clock_s += LOCKED_S + 1
    assert post_form(site, {"key": key, "secret": secret})[0] == 303


def test_a_form_of_another_site_signs_nobody_in_or_out(site) -> None:
    key, secret = site.credential()
    assert fetch(site.base + "/sign-in", {"key": key, "secret": secret})[0] == 403
    assert fetch(site.base + "/sign-in", {"key": key, "secret": secret, "form": "0" * 64})[0] == 403
    assert post_form(site, {"key": key, "secret": secret, "form": "0" * 64})[0] == 403
    assert post_form(site, {"key": key, "secret": secret}, Sec_Fetch_Site="cross-site")[0] == 403
    cookie = session_of(site)
    assert fetch(site.base + "/sign-out", {}, Cookie=cookie)[0] == 303
    assert fetch(site.base + "/sign-out", {"form": "0" * 64}, Cookie=cookie)[0] == 303
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 200, "still signed in"


def test_signing_out_ends_the_session_and_every_copy_of_its_cookie(site, signed_in) -> None:
    page = signed_in("/courses", locale="en")
    (cookie,) = page.context.cookies()
    header = f"{cookie['name']}={cookie['value']}"
    assert fetch(site.base + "/courses", Cookie=header, Accept=BROWSER)[0] == 200
    page.get_by_role("button", name="Sign out").click()
    assert "You are signed out" in page.get_by_role("main").inner_text()
    assert SESSION_COOKIE not in [one["name"] for one in page.context.cookies()]
    assert fetch(site.base + "/courses", Cookie=header, Accept=BROWSER)[0] == 303
    page.goto(site.base + "/courses")
    assert urlsplit(page.url).path == "/sign-in"


def test_a_session_ends_when_it_is_idle_and_lasts_while_it_is_used_up_to_a_bound(site) -> None:
    cookie = session_of(site)
    site.session_clock_s += SESSION_IDLE_S + 1
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 303
    cookie = session_of(site)
    used = 0
    while used + SESSION_IDLE_S // 2 < SESSION_S:
        used += SESSION_IDLE_S // 2
        site.session_clock_s += SESSION_IDLE_S // 2
        status, headers, _ = fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)
        assert status == 200
        cookie = headers["Set-Cookie"].partition(";")[0]
    site.session_clock_s += SESSION_IDLE_S // 2 + 1
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 303


def test_a_session_ends_with_its_credential(site) -> None:
    key, secret = site.credential()
    _, headers, _ = post_form(site, {"key": key, "secret": secret})
    cookie = next(one.partition(";")[0] for one in headers.get_all("Set-Cookie") if SESSION_COOKIE in one)
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 200
    site.revoke(key)
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 303


def test_a_cookie_that_was_changed_is_nobodys(site) -> None:
    cookie = session_of(site)
    for other in (cookie[:-3] + "abc", cookie + "A", f"{SESSION_COOKIE}=", f"{SESSION_COOKIE}=x", cookie[:40]):
        assert fetch(site.base + "/courses", Cookie=other, Accept=BROWSER)[0] == 303


def test_a_session_opens_pages_and_nothing_of_xapi(site) -> None:
    cookie = session_of(site, "all")
    assert fetch(site.base + "/xapi/statements", Cookie=cookie)[0] == 404, "these pages have no such resource"
    assert fetch(site.base + "/courses", Cookie=cookie, Accept=BROWSER)[0] == 200


# ── JSON, CSV, and who may have them ──────────────────────────────────────────────────────────────────────────────────


def test_json_has_the_whole_report_and_up_to_when_it_is_true(site) -> None:
    header = basic(*site.credential())
    for path, accept in ((course_id(SMALL_ONE), "application/json"), (course_id(SMALL_ONE) + ".json", BROWSER)):
        status, _, text = fetch(f"{site.base}/courses/{path}", Authorization=header, Accept=accept)
        assert status == 200
        told = json.loads(text)
        assert told["data_through"] == "2026-03-04T14:03:19.000000Z"
        assert told["modules"] == list(MODULES)
        assert [one["learner"] for one in told["learners"]] == [one.learner for one in SMALL]
        assert told["learners"][3]["score"] == 0.87
    status, _, text = fetch(site.base + "/courses", Authorization=header, Accept="application/json")
    listed = json.loads(text)
    assert {one["id"] for one in listed["courses"]} == {course_id(one) for one in (LARGE, SMALL_ONE, EMPTY)}
    assert listed["data_through"] == "2026-03-04T14:03:19.000000Z"


def test_csv_has_a_line_for_everyone_by_the_names_of_the_page(site, signed_in) -> None:
    page = signed_in(f"/courses/{course_id(SMALL_ONE)}")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert len(lines) == len(SMALL)
    shown = {row[0] for row in table_of(page, "learners")}
    assert shown == {line["learner"] for line in lines if line["enrolled"] == "yes"}
    status, headers, text = fetch(
        site.base + "/courses", Authorization=basic(*site.credential()), Accept="text/csv", Accept_Language="nl"
    )
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert "Werken met rekenbladen" in text


def test_what_has_not_changed_is_not_sent_again(site) -> None:
    header = basic(*site.credential())
    address = f"{site.base}/courses/{course_id(SMALL_ONE)}"
    _, headers, _ = fetch(address, Authorization=header, Accept="application/json")
    again = {"Authorization": header, "Accept": "application/json", "If_None_Match": headers["ETag"]}
    status, _, text = fetch(address, **again)
    assert (status, text) == (304, "")
    site.views.add(course_id(SMALL_ONE), learner(9))
    assert fetch(address, **again)[0] == 200


@pytest.mark.parametrize("path", ["/courses", f"/courses/{course_id(LARGE)}", f"/courses/{course_id(LARGE)}/live"])
def test_only_who_may_read_courses_does(site, path) -> None:
    status, headers, text = fetch(site.base + path, Accept="application/json")
    assert (status, json.loads(text)["type"]) == (401, "urn:griffel:problem:not-authenticated")
    assert headers["WWW-Authenticate"].startswith("Basic")
    status, headers, _ = fetch(site.base + path, Accept="application/json", Sec_Fetch_Mode="cors")
    assert (status, headers["WWW-Authenticate"]) == (401, None), "a browser must not ask for a name and a password"
    header = basic(*site.credential("statements/read,state,profile"))
    status, _, text = fetch(site.base + path, Accept="application/json", Authorization=header)
    assert (status, json.loads(text)["type"]) == (403, "urn:griffel:problem:not-allowed")
    assert fetch(site.base + path, Accept="application/json", Authorization=basic("nobody", "x"))[0] == 401


@pytest.mark.parametrize("scope", ["courses/read", "all/read", "all"])
def test_three_scopes_open_courses(site, scope) -> None:
    header = basic(*site.credential(scope))
    assert fetch(site.base + "/courses", Accept="application/json", Authorization=header)[0] == 200


def test_who_is_signed_in_and_may_not_is_told_what_to_ask_for(signed_in) -> None:
    page = signed_in("/courses", "statements/read", locale="en")
    assert page.get_by_role("heading", level=1).inner_text() == "You may not see courses"
    assert "courses/read" in page.get_by_role("main").inner_text()
    assert page.get_by_role("button", name="Sign out").is_visible()


@pytest.mark.parametrize("name", [course_id(99), "nothing", "A" * 32, "..", "%00"])
def test_a_course_that_is_not_there_is_404(site, name) -> None:
    header = basic(*site.credential())
    status, _, text = fetch(f"{site.base}/courses/{name}", Accept="application/json", Authorization=header)
    assert (status, json.loads(text)["type"]) == (404, "urn:griffel:problem:not-found")


def test_views_that_do_not_answer_are_503(site) -> None:
    site.views.busy = True
    header = basic(*site.credential())
    status, headers, _ = fetch(f"{site.base}/courses", Accept="application/json", Authorization=header)
    assert (status, headers["Retry-After"]) == (503, "1")


def test_courses_are_only_read(site) -> None:
    header = basic(*site.credential())
    for path in ("/courses", f"/courses/{course_id(LARGE)}"):
        status, headers, _ = fetch(site.base + path, {}, Authorization=header)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_page_holds_to_its_policy(site) -> None:
    cookie = session_of(site)
    for path in ("/courses", f"/courses/{course_id(LARGE)}", "/sign-in", f"/courses/{course_id(99)}"):
        _, headers, text = fetch(site.base + path, Cookie=cookie, Accept=BROWSER)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert " style=" not in text
        assert not re.search(r"<style|<script(?! src=)| on\w+=", text)
