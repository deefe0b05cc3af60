"""The process beside an embedded server that computes its views: killed, left alone, and ended with its server."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.client import Api
from tests.faults import workload
from tests.services import Griffel, running

BOUND_S = 30
LOOK_S = 0.05
KILLS = 5
COURSE = {
    "id": "https://school.example/course",
    "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
}


@pytest.fixture
def server(make_lrs: Callable[..., Griffel]) -> Iterator[Griffel]:
    with running(make_lrs("embedded")) as server:
        yield server


def enrolled(name: str) -> dict[str, Any]:
    actor = {"account": {"homePage": "https://school.example", "name": name}}
    return {"actor": actor, "verb": {"id": "http://adlnet.gov/expapi/verbs/registered"}, "object": COURSE}


def process_of(server: Griffel) -> int:
    [process] = eventually(lambda: workload.view_processes(server))
    return process


def gone(process: int) -> bool:
    """Whether a process has ended, also when its parent has yet to notice."""
    with contextlib.suppress(FileNotFoundError):
        return "State:\tZ" in Path(f"/proc/{process}/status").read_text()
    return True


def post(server: Griffel, *names: str) -> None:
    api = Api(server.url, server.key, server.secret, "2.0.0")
    with api.session:
        api.store(*[enrolled(name) for name in names])


def enrolments(server: Griffel) -> int:
    answer = requests.get(
        f"{server.url.removesuffix('/xapi')}/courses",
        headers={"Accept": "application/json"},
        auth=(server.key, server.secret),
        timeout=BOUND_S,
    )
    return sum(one["enrolled"] for one in answer.json()["courses"])


def waiting(server: Griffel) -> list[str]:
    answer = requests.get(f"{server.url.removesuffix('/xapi')}/health/ready", timeout=BOUND_S)
    assert answer.status_code == requests.codes.ok
    return list(answer.json().get("waiting", []))


def eventually(fact: Callable[[], Any]) -> Any:
    ends = time.monotonic() + BOUND_S
    while not (found := fact()):
        assert time.monotonic() < ends, "it does not come true"
        time.sleep(LOOK_S)
    return found


def test_views_go_on_after_kills_and_posts_do_not_notice(server: Griffel) -> None:
    for number in range(KILLS):
        process = process_of(server)
        post(server, f"before {number}")
        os.kill(process, signal.SIGKILL)
        eventually(partial(gone, process))
        post(server, f"after {number}")
    eventually(lambda: enrolments(server) == 2 * KILLS)


def test_one_that_hangs_is_told_and_what_it_missed_is_there_when_it_wakes(server: Griffel) -> None:
    post(server, "ann")
    eventually(lambda: enrolments(server) == 1)
    process = process_of(server)
    os.kill(process, signal.SIGSTOP)
    try:
        post(server, "bea")
        assert eventually(lambda: waiting(server))
        assert enrolments(server) == 1
    finally:
        os.kill(process, signal.SIGCONT)
    eventually(lambda: enrolments(server) == 2)
    eventually(lambda: not waiting(server))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_server(server: Griffel, end: signal.Signals) -> None:
    process = process_of(server)
    post(server, "ann")
    assert server.process is not None
    os.kill(server.process.pid, end)
    server.process.wait(BOUND_S)
    eventually(partial(gone, process))


def test_a_server_that_is_told_to_stop_complains_of_nothing(server: Griffel) -> None:
    process = process_of(server)
    post(server, "ann")
    eventually(lambda: enrolments(server) == 1)
    assert server.stop() == 0
    eventually(partial(gone, process))
    assert [line for line in server.log().splitlines() if '"level": "error"' in line] == []
