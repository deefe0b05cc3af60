"""A consumer that is killed in the middle of its work loses nothing and does nothing twice."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import await_view, command
from tests.acceptance.truth import assert_equals_truth
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, running

pytestmark = pytest.mark.slow
KILLS = 4


def test_views_are_equal_after_consumers_were_killed_while_the_term_was_posted(
    make_lrs: Any, kafka: ExternalKafka, tmp_path: Path
) -> None:
    chance = random.Random(11)
    server: Griffel = replace(make_lrs("cluster"), settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(server):
        server.command("topics", "create", "--partitions", "4", "--replication", "1")
        truth = tmp_path / "truth.json"
        options = ["--to", server.url, "--key", server.key, "--secret", server.secret, "--quiet"]
        server.command("demo", *options, "--seed", "26", "--learners", "30", "--weeks", "5", "--truth", str(truth))
        with command(server, "relay"):
            for _ in range(KILLS):
                with command(server, "consume", "progress", ended=-9) as consumer:
                    # Somewhere between its start, its first batches and its catching up.
                    time.sleep(chance.uniform(1.5, 4.0))
                    consumer.kill()
            with command(server, "consume", "progress"):
                await_view(server)
                assert_equals_truth(server, json.loads(truth.read_text())["courses"])
                before = server.command("views", "dump", "progress").stdout
        server.command("views", "rebuild", "progress", "--quiet")
        assert server.command("views", "dump", "progress").stdout == before
