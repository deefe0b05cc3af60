"""An institution receives: the completion stream over HTTP, and what an operator sees of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from schemas.streams import TYPES
from tests import services
from tests.conformance.client import Api, must
from tests.integration import stream_reader
from tests.integration.stream_tools import came_to, expected
from tests.services import ROOT, Griffel

Json = dict[str, Any]
SCHEMA = json.loads((ROOT / "schemas/completion-stream.schema.json").read_text())
VALID = jsonschema_rs.validator_for(SCHEMA)
EVENTS, LIVE = "/streams/completions/events", "/streams/completions/live"
BOUND_S = 60
SEED = 4
KILLS = 6
COURSE = {
    "id": "https://school.example/courses/streams",
    "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
}


@pytest.fixture(scope="module")
def server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    """One embedded server for the tests here that only add to it."""
    with services.running(make_lrs("embedded")) as server:
        yield server


@pytest.fixture
def own_server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with services.running(make_lrs("embedded")) as server:
        yield server


def get(server: Griffel, path: str = EVENTS, timeout: float = BOUND_S, **asked: Any) -> requests.Response:
    return requests.get(server.base + path, asked, auth=(server.key, server.secret), timeout=timeout)


def complete(server: Griffel, name: str) -> str:
    """Post that somebody has completed the course; give the statement's id."""
    api = Api(server.url, server.key, server.secret, "2.0.0")
    made = {
        "actor": {"account": {"homePage": "https://school.example", "name": name}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},
        "object": COURSE,
        "timestamp": "2026-11-02T10:15:30.250Z",
    }
    with api.session:
        return str(must(200, api.post(made)).json()[0])


def void(server: Griffel, statement_id: str) -> None:
    api = Api(server.url, server.key, server.secret, "2.0.0")
    made = {
        "actor": {"account": {"homePage": "https://school.example", "name": "platform"}},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/voided"},
        "object": {"objectType": "StatementRef", "id": statement_id},
    }
    with api.session:
        must(200, api.post(made))


def end_of(server: Griffel) -> str:
    """The cursor behind everything that is in the stream now."""
    cursor = ""
    while True:
        told = get(server, after=cursor, limit=500).json()
        if not told["events"]:
            return str(told["next"])
        cursor = told["next"]


def after(server: Griffel, cursor: str, count: int) -> list[Json]:
    """The entries after a cursor, as soon as there are so many."""
    ends = time.monotonic() + BOUND_S
    found: list[Json] = []
    while len(found) < count:
        assert time.monotonic() < ends, f"{len(found)} of {count} entries came"
        told = get(server, after=cursor, wait_s=2).json()
        found += told["events"]
        cursor = told["next"]
    for one in found:
        VALID.validate(one)
    return found


def test_a_completion_reaches_whoever_waits(server: Griffel) -> None:
    cursor = end_of(server)
    complete(server, "waited-for")
    [entry] = after(server, cursor, 1)
    assert entry["type"] == "griffel.course.completed"
    assert entry["data"]["actor"]["account"]["name"] == "waited-for"
    assert entry["data"]["completed_at"] == "2026-11-02T10:15:30.250Z"


def test_a_voided_completion_is_taken_back(server: Griffel) -> None:
    cursor = end_of(server)
    statement_id = complete(server, "taken-back")
    [entry] = after(server, cursor, 1)
    void(server, statement_id)
    [back] = after(server, entry["id"], 1)
    assert back["type"] == "griffel.course.completed.revoked"
    assert {**back["data"], "completed_at": None} == {**entry["data"], "completed_at": None}


def test_the_course_of_an_entry_is_found_under_its_subject(server: Griffel) -> None:
    cursor = end_of(server)
    complete(server, "subject")
    [entry] = after(server, cursor, 1)
    answer = requests.get(
        f"{server.base}/courses/{entry['subject']}",
        headers={"Accept": "application/json"},
        auth=(server.key, server.secret),
        timeout=BOUND_S,
    )
    assert answer.json()["activity_id"] == COURSE["id"]


def test_a_quiet_poll_ends_with_the_same_cursor(server: Griffel) -> None:
    cursor = end_of(server)
    began_s = time.monotonic()
    told = get(server, after=cursor, wait_s=0.5).json()
    assert told == {"events": [], "next": cursor}
    assert time.monotonic() - began_s >= 0.5


@pytest.mark.parametrize(
    "asked",
    [
        {"after": "nonsense"},
        {"after": "c01"},
        {"after": "c99999999"},
        {"limit": 0},
        {"limit": 501},
        {"limit": "ten"},
        {"wait_s": -1},
        {"wait_s": 31},
        {"wait_s": "nan"},
        {"before": "c1"},
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_refused(server: Griffel, asked: Json) -> None:
    answer = get(server, **asked)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("path", [EVENTS, LIVE])
def test_only_who_has_the_scope_may_read(server: Griffel, path: str) -> None:
    kept = server.key, server.secret
    try:
        statuses = {}
        for scope in ("statements/read", "courses/read"):
            server.credential(scope)
            statuses[scope] = get(server, path).status_code
        server.credential("streams/read")
        allowed = requests.head(server.base + path, auth=(server.key, server.secret), timeout=BOUND_S)
        server.credential("all/read")
        reader = requests.head(server.base + path, auth=(server.key, server.secret), timeout=BOUND_S)
    finally:
        server.key, server.secret = kept
    assert statuses == {"statements/read": 403, "courses/read": 403}
    assert (allowed.status_code, reader.status_code) == (200, 200)
    assert requests.get(server.base + path, timeout=BOUND_S).status_code == 401
    assert requests.post(server.base + path, auth=kept, timeout=BOUND_S).status_code == 405


def test_a_live_stream_goes_on_where_the_reader_was(server: Griffel) -> None:
    cursor = end_of(server)
    complete(server, "live-1")
    [first] = after(server, cursor, 1)
    complete(server, "live-2")
    # What the reader says that it has is what counts, not what its address says.
    sent = live(server, {"Last-Event-ID": first["id"]}, 1, after="c0")
    assert [one["data"]["actor"]["account"]["name"] for _, _, one in sent] == ["live-2"]
    [(event_id, kind, entry)] = sent
    assert (event_id, kind) == (entry["id"], entry["type"])
    VALID.validate(entry)


def test_a_live_stream_sends_what_comes(server: Griffel) -> None:
    cursor = end_of(server)
    answers = requests.get(
        server.base + LIVE, {"after": cursor}, auth=(server.key, server.secret), stream=True, timeout=BOUND_S
    )
    with answers:
        complete(server, "came")
        [(_, _, entry)] = read_events(answers, 1)
    assert entry["data"]["actor"]["account"]["name"] == "came"


def live(server: Griffel, headers: dict[str, str], count: int, **asked: Any) -> list[tuple[str, str, Json]]:
    with requests.get(
        server.base + LIVE,
        asked,
        headers=headers,
        auth=(server.key, server.secret),
        stream=True,
        timeout=BOUND_S,
    ) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return read_events(answer, count)


def read_events(answer: requests.Response, count: int) -> list[tuple[str, str, Json]]:
    found: list[tuple[str, str, Json]] = []
    fields: dict[str, str] = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
        fields = {}
        if len(found) == count:
            return found
    raise AssertionError("the stream ended")


def test_stopping_answers_whoever_waits(own_server: Griffel) -> None:
    told: list[Json] = []

    def wait() -> None:
        told.append(get(own_server, wait_s=30).json())

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: 'resource="/health/ready"' in metrics(own_server))
    began_s = time.monotonic()
    assert own_server.stop() == 0
    waiting.join(BOUND_S)
    assert time.monotonic() - began_s < 15
    assert told in ([{"events": [], "next": "c0"}], [])


@pytest.mark.slow
def test_a_killed_reader_has_every_completion_of_a_term_once(own_server: Griffel, tmp_path: Path) -> None:
    """The reader is killed at random, the server once; at the end, what was received is the ground truth."""
    chance = random.Random(SEED)
    file = tmp_path / "kept.db"
    command = [sys.executable, stream_reader.__file__, own_server.base, own_server.key, own_server.secret, str(file)]
    truth_file = tmp_path / "truth.json"
    playing = subprocess.Popen(
        [
            *(sys.executable, "-m", "lrs", "demo", "--to", own_server.url),
            *("--learners", "40", "--weeks", "6", "--truth", str(truth_file), "--json"),
        ],
        env=own_server.environment | {"GRIFFEL_KEY": own_server.key, "GRIFFEL_SECRET": own_server.secret},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for number in range(KILLS):
        reader = subprocess.Popen(command)
        time.sleep(chance.uniform(0.3, 1.2))  # the moment of the kill is what varies
        reader.send_signal(signal.SIGKILL)
        reader.wait(BOUND_S)
        if number == KILLS // 2:
            own_server.kill()
            own_server.start()
    assert playing.wait(BOUND_S) == 0
    truth = expected(json.loads(truth_file.read_text()))
    reader = subprocess.Popen(command)
    try:
        until(lambda: came_to(kept_entries(file)) == truth)
    finally:
        reader.kill()
        reader.wait(BOUND_S)
    assert len(truth) > 5
    everything = after(own_server, "c0", len(kept_entries(file)))
    assert everything == kept_entries(file)
    assert {one["type"] for one in everything} <= set(TYPES)


def kept_entries(file: Path) -> list[Json]:
    kept = stream_reader.open_kept(file)
    try:
        found = [json.loads(content) for (content,) in kept.execute("SELECT content FROM entry")]
    finally:
        kept.close()
    return sorted(found, key=lambda one: one["sequence"])


def until(fact: Callable[[], bool]) -> None:
    ends = time.monotonic() + BOUND_S
    while not fact():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.05)


# ── what an operator sees ─────────────────────────────────────────────────────────────────────────────────────────────


def metrics(server: Griffel) -> str:
    answer = requests.get(f"{server.base}/metrics", timeout=BOUND_S)
    assert answer.status_code == 200
    return answer.text


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return found


def test_metrics_tell_positions_and_lag(server: Griffel) -> None:
    cursor = end_of(server)
    complete(server, "measured")
    after(server, cursor, 1)

    def caught_up() -> bool:
        found = samples(metrics(server))
        head = found["griffel_log_position"][()]
        positions = found["griffel_view_position"].values()
        return head > 0 and set(positions) == {head} and not any(found["griffel_view_lag_events"].values())

    until(caught_up)
    found = samples(metrics(server))
    posted = (("method", "POST"), ("resource", "/xapi/statements"), ("status", "200"))
    assert found["griffel_requests_total"][posted] >= 1
    assert found["griffel_request_seconds_count"][posted[:2]] >= 1
    assert found["griffel_commit_group_events_count"][()] >= 1
    assert set(found["griffel_consumer_running"].values()) == {1.0}
    assert set(found["griffel_dead_letters"].values()) == {0.0}


def test_metrics_hold_nothing_that_a_client_sent(server: Griffel) -> None:
    requests.request("ADA", f"{server.base}/xapi/statements?agent=ada-lovelace", timeout=BOUND_S)
    requests.get(f"{server.base}/ada-lovelace", timeout=BOUND_S)
    assert "ada" not in metrics(server).lower()


def test_metrics_are_for_this_machine_and_for_who_may_read_everything(server: Griffel) -> None:
    elsewhere = {"X-Forwarded-For": "203.0.113.7"}
    url = f"{server.base}/metrics"
    kept = server.key, server.secret
    try:
        server.credential("statements/read")
        other = requests.get(url, headers=elsewhere, auth=(server.key, server.secret), timeout=BOUND_S)
    finally:
        server.key, server.secret = kept
    assert requests.get(url, headers=elsewhere, timeout=BOUND_S).status_code == 401
    assert other.status_code == 403
    assert requests.get(url, headers=elsewhere, auth=kept, timeout=BOUND_S).status_code == 200
    assert requests.post(url, timeout=BOUND_S).status_code == 405


@pytest.mark.parametrize(("readers", "status"), [("off", 404), ("open", 200)])
def test_metrics_can_be_closed_and_opened(make_lrs: Callable[..., Griffel], readers: str, status: int) -> None:
    with services.running(make_lrs("embedded", settings={"GRIFFEL_METRICS": readers})) as server:
        answer = requests.get(f"{server.base}/metrics", headers={"Via": "1.1 proxy"}, timeout=BOUND_S)
        assert answer.status_code == status


def test_status_tells_how_far_everything_is(server: Griffel) -> None:
    arguments = ("status", "--data", str(server.data_dir), "--seconds", "0.1")
    told = json.loads(server.command(*arguments, "--json").stdout)
    assert told["server_runs"] is True
    assert told["position"] >= max(one["position"] for one in told["views"])
    names = {one["name"] for one in told["views"]}
    assert names == {"statement_index", "progress", "completion_stream"}
    printed = server.command(*arguments).stdout
    assert all(name in printed for name in names)


def test_status_works_without_a_server(own_server: Griffel) -> None:
    complete(own_server, "ada")
    after(own_server, "", 1)
    own_server.stop()
    told = json.loads(own_server.command("status", "--data", str(own_server.data_dir), "--json").stdout)
    assert told["server_runs"] is False
    assert told["position"] >= 3
