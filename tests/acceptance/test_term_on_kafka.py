"""The same term in a cluster: two servers, the relay, two processes for each view; the views equal the ground truth.

So does the page that an instructor sees, and it changes at once when content posts to another server.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.cluster import await_view, command
from tests.acceptance.truth import assert_equals_truth, courses_of, views_of
from tests.conformance.builders import agent, statement
from tests.conformance.client import Api
from tests.integration.test_courses_page import (
    CHANGE_BOUND_MS,
    REGISTERED,
    assert_accessible,
    fill_in,
    tiles_of,
)
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, running

pytestmark = pytest.mark.slow

COURSE_TYPE = "http://adlnet.gov/expapi/activities/course"


def test_views_equal_the_truth_after_two_servers_a_relay_and_two_consumers(
    make_lrs: Any, kafka: ExternalKafka, tmp_path: Path, browser: Browser
) -> None:
    truth = tmp_path / "truth.json"
    first: Griffel = replace(make_lrs("cluster"), settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(first) as server:
        server.command("topics", "create", "--partitions", "4", "--replication", "1")
        second = server.sibling(tmp_path / "second").start()
        try:
            with (
                command(server, "relay"),
                command(server, "consume", "progress"),
                command(server, "consume", "progress"),
            ):
                for one, learners in ((server, "20"), (second, "20")):
                    options = ["--to", one.url, "--key", server.key, "--secret", server.secret, "--quiet"]
                    seed = "24" if one is server else "25"
                    written = truth if one is server else tmp_path / "other.json"
                    one.command(
                        "demo",
                        *options,
                        "--seed",
                        seed,
                        "--learners",
                        learners,
                        "--weeks",
                        "4",
                        "--truth",
                        str(written),
                    )
                await_view(server)
                courses = (
                    json.loads(truth.read_text())["courses"]
                    | json.loads((tmp_path / "other.json").read_text())["courses"]
                )
                assert_equals_truth(server, courses)
                assert_page_is_live(browser, server, second, courses)
                await_view(server)
                before = server.command("views", "dump", "progress").stdout
            for source in ("log", "kafka"):
                [old] = views_of(server)
                server.command("views", "rebuild", "progress", "--from", source, "--quiet")
                [new] = views_of(server)
                assert new["generation"] > old["generation"]
                positions = [{part: one["position"] for part, one in view["partitions"].items()} for view in (old, new)]
                assert positions[0] == positions[1]
                assert server.command("views", "dump", "progress").stdout == before, source
        finally:
            second.stop()


def assert_page_is_live(browser: Browser, server: Griffel, other: Griffel, courses: dict[str, Any]) -> None:
    """See a course as an instructor does, and somebody enrolling meanwhile by way of another server."""
    iri, course = next(iter(courses.items()))
    context = browser.new_context(locale="en")
    try:
        page = context.new_page()
        page.goto(f"{server.base}/courses/{courses_of(server)[iri]['summary']['id']}")
        fill_in(page, server.key, server.secret)
        expect(page.locator("html")).to_have_attribute("data-stream", "open")
        shown = tiles_of(page)
        assert int(shown["Enrolled"]) == course["enrolled"]
        assert_accessible(page)
        newcomer = statement(
            actor=agent(), verb={"id": REGISTERED}, object={"id": iri, "definition": {"type": COURSE_TYPE}}
        )
        Api(other.url, server.key, server.secret, "2.0.0").store(newcomer)
        more = str(course["enrolled"] + 1)
        expect(page.locator("#numbers .tile").first).to_contain_text(more, timeout=CHANGE_BOUND_MS)
    finally:
        context.close()
