"""Views of a running server: what they show at once, what they leave aside, and what happens to people who are gone."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from lrs.keys import KeyState
from tests.conformance.client import Api
from tests.services import Griffel, running

BOUND_S = 20
POLL_S = 0.1
VIEWS = 2
"""Those that consumers compute, and the completion stream."""
COURSE = {
    "id": "https://school.example/views/course",
    "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
}
MODULE = {
    "id": "https://school.example/views/course/1",
    "definition": {"type": "http://adlnet.gov/expapi/activities/module"},
}
ADL = "http://adlnet.gov/expapi/verbs/"


def agent(name: str) -> dict[str, Any]:
    return {"account": {"homePage": "https://school.example", "name": name}}


def about_course(name: str, verb: str) -> dict[str, Any]:
    return {"actor": agent(name), "verb": {"id": ADL + verb}, "object": COURSE}


def about_module(name: str, verb: str) -> dict[str, Any]:
    context = {"contextActivities": {"parent": [COURSE]}}
    return {"actor": agent(name), "verb": {"id": ADL + verb}, "object": MODULE, "context": context}


def voiding(target: str) -> dict[str, Any]:
    reference = {"objectType": "StatementRef", "id": target}
    return {"actor": agent("teacher"), "verb": {"id": ADL + "voided"}, "object": reference}


@pytest.fixture
def server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with running(make_lrs("embedded")) as server:
        yield server


def post(server: Griffel, *statements: dict[str, Any]) -> list[str]:
    api = Api(server.url, server.key, server.secret, "2.0.0")
    with api.session:
        return api.store(*statements)


def ask(server: Griffel, *arguments: str, check: bool = True) -> Any:
    said = server.command(*arguments, "--data", str(server.data_dir), check=check)
    return json.loads(said.stdout) if "--json" in arguments else said


def learners(server: Griffel) -> dict[str, dict[str, Any]]:
    said = ask(server, "courses", "show", COURSE["id"], "--json", "--agents", check=False)
    return {one["agent"]["account"]["name"]: one for one in said["learners"] if one["agent"]}


def rows(server: Griffel, view: str, table: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ask(server, "views", "dump", view, "--table", table).stdout.splitlines()]


def eventually(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < ends, "it does not come true"
        time.sleep(POLL_S)


def applied(server: Griffel) -> int:
    """How far the slowest view is, read beside the server: a command for each look would take most of the time."""
    views = sqlite3.connect(server.data_dir / "views" / "views.db", isolation_level=None, timeout=10)
    try:
        found = views.execute("SELECT position FROM view_position").fetchall()
    finally:
        views.close()
    return min(position for (position,) in found) if len(found) == VIEWS else 0


def log_of(server: Griffel) -> sqlite3.Connection:
    return sqlite3.connect(server.data_dir / "log" / "log.db", isolation_level=None, timeout=10)


def await_all(server: Griffel) -> None:
    with closing(log_of(server)) as log:
        [head] = log.execute("SELECT position FROM log_head").fetchone()
    eventually(lambda: applied(server) >= head)


def test_a_statement_is_in_the_view_a_moment_later_and_is_taken_out_when_it_is_voided(server: Griffel) -> None:
    _, completed = post(server, about_course("ann", "registered"), about_module("ann", "completed"))
    await_all(server)
    ann = learners(server)["ann"]
    assert (ann["enrolled"], ann["progress"]) == (True, 100)
    post(server, voiding(completed))
    await_all(server)
    ann = learners(server)["ann"]
    assert (ann["enrolled"], ann["progress"], ann["modules"]) == (True, 0, {})


def test_who_is_enrolled_and_who_has_completed_what_are_views_of_their_own(server: Griffel) -> None:
    registered, done = post(
        server,
        about_course("ann", "registered"),
        about_course("ann", "completed") | {"timestamp": "2026-11-02T10:00:00.000Z"},
    )
    await_all(server)
    ann = learners(server)["ann"]
    [enrolment] = rows(server, "enrolments", "enrolments")
    assert enrolment["key"].keys() == {"course", "learner"}
    told = {"course": COURSE["id"], "enrolled": True, "enrolled_at": ann["enrolled_at"]}
    assert enrolment["content"].items() >= told.items()
    [completion] = rows(server, "completions", "completions")
    assert completion["content"]["completed_at"] == "2026-11-02T10:00:00.000Z"
    assert enrolment["key"] == completion["key"]
    for name in ("completions", "enrolments"):
        before = ask(server, "views", "dump", name).stdout
        ask(server, "views", "rebuild", name, "--quiet")
        assert ask(server, "views", "dump", name).stdout == before
    post(server, voiding(done))
    await_all(server)
    assert rows(server, "completions", "completions") == []
    post(server, voiding(registered))
    await_all(server)
    assert rows(server, "enrolments", "enrolments") == []


def test_every_view_is_listed_with_how_far_and_how_large_it_is(server: Griffel) -> None:
    post(server, about_course("ann", "registered"), about_course("ben", "registered"))
    await_all(server)
    listed = {one["view"]: one for one in ask(server, "views", "list", "--rows", "--json")}
    assert set(listed) == {"statement_index", "progress", "completions", "enrolments", "completion_stream"}
    assert {one["state"] for one in listed.values()} == {"serving"}
    assert {one["lag_events"] for one in listed.values()} == {0}
    assert {one["position"] for one in listed.values()} == {listed["statement_index"]["position"]}
    assert {name: one["of"] for name, one in listed.items() if one["of"]} == dict.fromkeys(
        ("completions", "enrolments"), "progress"
    )
    assert listed["progress"]["rows"] == {"fact": 2, "standing": 2}
    assert listed["statement_index"]["rows"]["statement"] == 2
    printed = ask(server, "views", "list").stdout
    assert all(name in printed for name in listed)


def test_a_learner_with_several_registrations_is_one_row_and_counts_once(server: Griffel) -> None:
    def under(registration: str, statement: dict[str, Any]) -> dict[str, Any]:
        return statement | {"context": statement.get("context", {}) | {"registration": registration}}

    first, second = (str(uuid.uuid4()) for _ in range(2))
    post(
        server,
        about_course("ann", "registered"),
        under(first, about_course("ann", "registered") | {"timestamp": "2025-01-01T10:00:00Z"}),
        under(first, about_course("ann", "completed") | {"timestamp": "2025-02-01T10:00:00Z"}),
        under(second, about_module("ann", "completed")),
        about_course("ben", "registered"),
        about_course("ben", "completed"),
        about_course("cas", "experienced"),
    )
    await_all(server)
    shown = ask(server, "courses", "show", COURSE["id"], "--json")
    assert len(shown["learners"]) == 3
    assert learners(server)["ann"].items() >= {"registration": second, "enrolled": True, "completed_at": None}.items()
    [listed] = ask(server, "courses", "list", "--json")
    assert (listed["enrolled"], listed["completed"]) == (2, 1)


def test_a_damaged_event_is_left_aside_and_everything_else_goes_on(server: Griffel) -> None:
    post(server, about_course("ann", "registered"))
    await_all(server)
    server.stop()
    # A statement of Bea's comes while the server is up, and is damaged before the view has seen it.
    views = server.data_dir / "views"
    kept = {path: path.read_bytes() for path in views.iterdir()}
    server.start()
    post(server, about_course("bea", "registered"), about_course("cas", "registered"))
    await_all(server)
    server.stop()
    for path in views.iterdir():
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    with closing(log_of(server)) as log:
        rows = log.execute("SELECT position, state FROM events WHERE topic = 'statement_recorded' ORDER BY position")
        _, (position, state), _ = rows.fetchall()
        damaged = state[:-1] + bytes([state[-1] ^ 1])
        log.execute("UPDATE events SET state = ? WHERE position = ?", (damaged, position))
    server.start()
    await_all(server)
    assert set(learners(server)) == {"ann", "cas"}
    letters = {one["view"]: one for one in ask(server, "dead-letters", "list", "--json")}
    # Of a statement that cannot be opened, nobody can say what it changes.
    assert set(letters) == {"progress", "completion_stream"}
    assert {(one["position"], one["error"]) for one in letters.values()} == {(position, "Damaged")}
    letter = letters["progress"]
    listed = {one["view"]: one["dead_letters"] for one in ask(server, "views", "list", "--json")}
    assert listed == dict.fromkeys((*letters, "completions", "enrolments"), 1) | {"statement_index": 0}
    shown = json.loads(ask(server, "dead-letters", "show", str(letter["number"])).stdout)
    assert (shown["statement"], shown["opening"]) == (None, "Damaged")
    again = ask(server, "dead-letters", "redrive", str(letter["number"]), check=False)
    assert (again.returncode, again.stdout.strip()) == (1, f"{letter['number']}: Damaged")
    again = ask(server, "dead-letters", "redrive", "--all", check=False)
    assert (again.returncode, len(again.stdout.splitlines())) == (1, len(letters))
    # What was mended in the log is applied by a view that is built anew.
    with closing(log_of(server)) as log:
        log.execute("UPDATE events SET state = ? WHERE position = ?", (state, position))
    ask(server, "views", "rebuild", "progress", "--quiet")
    assert set(learners(server)) == {"ann", "bea", "cas"}
    left = {one["view"] for one in ask(server, "dead-letters", "list", "--json")}
    assert left == {"completion_stream"}


def test_a_learner_whose_keys_are_destroyed_is_in_no_answer_and_no_rebuilt_view(server: Griffel) -> None:
    post(server, about_course("ann", "registered"), about_course("bea", "registered"))
    await_all(server)
    ann = bytes.fromhex(learners(server)["ann"]["learner"])
    server.stop()
    vault = sqlite3.connect(server.data_dir / "vault" / "vault.db", isolation_level=None)
    vault.execute("UPDATE key SET state = ?, wrapped = NULL WHERE owner = ?", (int(KeyState.DESTROYED), ann))
    vault.close()
    assert set(learners(server)) == {"bea"}
    before = ask(server, "views", "dump", "progress").stdout
    ask(server, "views", "rebuild", "progress", "--quiet")
    assert ask(server, "views", "dump", "progress").stdout == before
    assert ann.hex() not in before
    assert ask(server, "dead-letters", "list", "--json") == [], "an erased learner is no failure"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("views", "rebuild", "nothing"), "there is no view nothing; there are: progress, enrolments, completions"),
        (("views", "dump", "statement_index", "--table", "nothing"), "the view statement_index has no table nothing"),
        (("views", "dump", "progress", "--table", "nothing"), "the view progress has no table nothing"),
        (("courses", "show", "0" * 32), "there is no such course"),
        (("dead-letters", "redrive", "7"), "there is no dead letter 7"),
        (("dead-letters", "show", "7"), "there is no dead letter 7"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(lrs: Griffel, arguments: tuple[str, ...], said: str) -> None:
    if lrs.mode == "cluster":
        lrs.command("views", "rebuild", "progress", "--quiet")
    ended = ask(lrs, *arguments, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
