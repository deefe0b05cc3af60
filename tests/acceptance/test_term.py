"""A term of the invented school, posted to a running server: its views equal the ground truth that the player kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.truth import ask, assert_equals_truth, views_of
from tests.services import Griffel, Mode, running

SETTLE_BOUND_S = 30


@pytest.fixture(scope="module")
def school(
    mode: Mode, make_lrs: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Griffel, dict[str, Any]]]:
    """A server that has been through a term, and the truth about the term.

    An embedded server computes the views by itself. In a cluster, whose consumers follow Kafka, they are built here
    from the log.
    """
    truth = tmp_path_factory.mktemp("term") / "truth.json"
    with running(make_lrs(mode)) as server:
        options = ["--to", server.url, "--key", server.key, "--secret", server.secret, "--quiet"]
        server.command("demo", *options, "--seed", "24", "--learners", "24", "--weeks", "5", "--truth", str(truth))
        if mode == "cluster":
            server.command("views", "rebuild", "progress", "--quiet")
        await_views(server)
        yield server, json.loads(truth.read_text())


def await_views(server: Griffel) -> None:
    """Return when the view has what the log had when this was called."""
    ends = time.monotonic() + SETTLE_BOUND_S
    before = -1
    while time.monotonic() < ends:
        [position] = [sum(place["position"] for place in view["partitions"].values()) for view in views_of(server)]
        if position == before:
            return
        before = position
    pytest.fail("the view does not come to rest")


def test_every_course_equals_the_ground_truth_field_by_field(school: tuple[Griffel, dict[str, Any]]) -> None:
    server, truth = school
    assert sum(len(course["learners"]) for course in truth["courses"].values()) > 40
    assert_equals_truth(server, truth["courses"])


def test_a_view_that_is_built_anew_equals_the_one_that_was_kept(school: tuple[Griffel, dict[str, Any]]) -> None:
    server, _ = school
    before = ask(server, "views", "dump", "progress")
    [old] = views_of(server)
    ask(server, "views", "rebuild", "progress", "--quiet")
    [new] = views_of(server)
    assert (new["generation"], new["state"]) == (old["generation"] + 1, "serving")
    assert new["partitions"] == old["partitions"]
    assert ask(server, "views", "dump", "progress") == before
    assert len(before.splitlines()) > 1_000


def test_a_dump_is_in_the_order_of_keys(school: tuple[Griffel, dict[str, Any]]) -> None:
    server, _ = school
    rows = [json.loads(line) for line in ask(server, "views", "dump", "progress", "--table", "standing").splitlines()]
    keys = [(row["key"]["course"], row["key"]["learner"]) for row in rows]
    assert keys == sorted(set(keys))


def test_nothing_is_left_aside(school: tuple[Griffel, dict[str, Any]]) -> None:
    server, _ = school
    assert json.loads(ask(server, "dead-letters", "list", "--json")) == []


def test_nobody_is_named_in_the_views_file(school: tuple[Griffel, dict[str, Any]]) -> None:
    server, truth = school
    if server.mode == "cluster":
        pytest.skip("the files of PostgreSQL are searched in tests/integration/test_canary.py")
    written = b"".join(path.read_bytes() for path in (server.data_dir / "views").iterdir())
    assert len(written) > 100_000
    found = [
        word for word in (b"school.example", b"@", b"mailto", *map(str.encode, truth["courses"])) if word in written
    ]
    # One character is met by chance in ciphertext; an address never is.
    assert [word for word in found if len(word) > 1] == []


def test_views_go_on_where_they_were_after_a_restart_and_are_shown_without_a_server(
    school: tuple[Griffel, dict[str, Any]], tmp_path: Path
) -> None:
    server, _ = school
    before = ask(server, "views", "dump", "progress")
    server.stop()
    assert ask(server, "views", "dump", "progress") == before
    ask(server, "views", "rebuild", "progress", "--quiet")
    assert ask(server, "views", "dump", "progress") == before
    server.start()
    await_views(server)
    assert ask(server, "views", "dump", "progress") == before


def test_a_folder_without_views_is_said_to_be_one(make_lrs: Any, tmp_path: Path) -> None:
    said = make_lrs("embedded").command("courses", "list", "--data", str(tmp_path / "nothing"), check=False)
    assert said.returncode == 1
    assert "there are no views in" in said.stderr
    assert not (tmp_path / "nothing").exists(), "looking makes nothing"
