"""The same term in a cluster: two servers, the relay, two processes for each view; the views equal the ground truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import await_view, command
from tests.acceptance.truth import assert_equals_truth, views_of
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, running

pytestmark = pytest.mark.slow


def test_views_equal_the_truth_after_two_servers_a_relay_and_two_consumers(
    make_lrs: Any, kafka: ExternalKafka, tmp_path: Path
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
