"""`griffel restore --from-kafka`: a log that is lost, or older than Kafka's, comes back as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import requests

from lrs.config import Mode, Settings
from tests.benchmarks.statements import statements
from tests.copied_log import relay_process, relayed, wait_until
from tests.integration.test_restoring import linked_statements, tables
from tests.kafka_services import ExternalKafka
from tests.services import Griffel

PARTITIONS = 3
BATCH = 200


def post(server: Griffel, *batches: list[dict[str, Any]]) -> None:
    for batch in batches:
        answer = requests.post(f"{server.url}/statements", json=batch, headers=server.headers(), timeout=60)
        assert answer.status_code == 200, answer.text


def head(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT position FROM log_head").fetchone()
    assert row is not None
    return int(row[0])


def test_a_lost_log_comes_back_from_kafka_and_the_vault_and_goes_on(
    make_lrs: Callable[..., Griffel], kafka: ExternalKafka, postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    server = make_lrs("cluster").start()
    server.credential("all")
    made = statements(3 * BATCH)
    post(server, *[[one] for one in linked_statements()], made[:BATCH])
    lost, older = postgres_url(), postgres_url()
    with relay_process(tmp_path / "relay", server.database_url, kafka.bootstrap) as relay:
        relay.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
        relay.start()
        wait_until(lambda: relayed(server.database_url) == head(server.database_url))
        restored = restore(server, kafka, older)
        assert restored.returncode == 0, restored.stderr
        backed_up = head(older)
        post(server, made[BATCH : 2 * BATCH], made[2 * BATCH :])
        wait_until(lambda: relayed(server.database_url) == head(server.database_url))
    server.stop()
    assert head(server.database_url) > backed_up > BATCH
    was = tables(settings(server.database_url))
    # From nothing; and from a database that is a backup of an earlier day.
    for database in (lost, older):
        restored = restore(server, kafka, database)
        assert restored.returncode == 0, restored.stderr
        came_out = tables(settings(database))
        for name, rows in was.items():
            assert came_out[name] == rows, name
        assert relayed(database) == head(database)
        again = restore(server, kafka, database)
        assert again.returncode == 0, again.stderr
        assert "all that Kafka has" in again.stdout
        assert tables(settings(database)) == came_out


def settings(database: str) -> Settings:
    return Settings(mode=Mode.CLUSTER, database_url=database)


def restore(server: Griffel, kafka: ExternalKafka, database: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lrs", "restore", "--from-kafka"],
        env={**server.environment, "GRIFFEL_DATABASE_URL": database, "GRIFFEL_KAFKA": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
