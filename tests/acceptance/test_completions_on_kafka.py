"""Completions of a term in a cluster: relay, view and sequencers over Kafka, one of which is killed again and again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.stream_tools import came_to, expected
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, running

BOUND_S = 90
STOP_BOUND_S = 30
SEED = 11
KILLS = 3

pytestmark = pytest.mark.slow


def begin(server: Griffel, *arguments: str) -> subprocess.Popen[bytes]:
    with (server.folder / "commands.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "lrs", *arguments],
            cwd=server.folder,
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@contextmanager
def command(server: Griffel, *arguments: str) -> Iterator[None]:
    """`griffel ARGUMENTS` for as long as the block lasts; it has to end well at SIGTERM."""
    process = begin(server, *arguments)
    try:
        yield
    finally:
        process.terminate()
        try:
            ended = process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert ended == 0, (server.folder / "commands.log").read_text()[-3000:]


def entries(server: Griffel) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        answer = requests.get(
            f"{server.base}/streams/completions/events",
            {"after": cursor, "limit": 500},
            auth=(server.key, server.secret),
            timeout=BOUND_S,
        )
        told = answer.json()
        if not told["events"]:
            break
        found += told["events"]
        cursor = told["next"]
    assert [int(one["sequence"]) for one in found] == list(range(1, len(found) + 1))
    return found


def test_every_completion_of_a_term_once_over_kafka(make_lrs: Any, kafka: ExternalKafka, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    truth_file = tmp_path / "truth.json"
    with running(replace(make_lrs("cluster"), settings={"GRIFFEL_KAFKA": kafka.bootstrap})) as server:
        server.command("topics", "create", "--partitions", "4", "--replication", "1")
        with (
            command(server, "relay"),
            command(server, "consume", "progress"),
            command(server, "consume", "completion_stream"),
        ):
            options = ["--to", server.url, "--key", server.key, "--secret", server.secret, "--quiet"]
            playing = begin(server, "demo", *options, "--learners", "30", "--weeks", "5", "--truth", str(truth_file))
            for _ in range(KILLS):
                other = begin(server, "consume", "completion_stream")
                time.sleep(chance.uniform(2, 5))  # the moment of the kill is what varies
                other.send_signal(signal.SIGKILL)
                other.wait(STOP_BOUND_S)
            assert playing.wait(BOUND_S) == 0
            truth = expected(json.loads(truth_file.read_text()))
            ends = time.monotonic() + BOUND_S
            while came_to(entries(server)) != truth:
                assert time.monotonic() < ends, (server.folder / "commands.log").read_text()[-3000:]
                time.sleep(0.3)
            assert len(truth) > 5
            told = requests.get(f"{server.base}/metrics", timeout=BOUND_S).text
            assert "griffel_relay_position " in told
            status = json.loads(server.command("status", "--json", "--seconds", "0").stdout)
            assert status["relay"]["position"] > 0
            views = {one["name"]: len(one["partitions"]) for one in status["views"]}
            assert views == {"statement_index": 0, "progress": 4, "completion_stream": 4}
