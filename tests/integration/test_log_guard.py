"""A database that was put back to an earlier day: nothing is taken or told before it has what was once in it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import requests
from psycopg import sql

from lrs.config import Mode, Settings
from tests.benchmarks.statements import statements
from tests.copied_log import RelayProcess, relay_process, relayed, wait_until
from tests.integration.test_restoring import tables
from tests.kafka_services import ExternalKafka
from tests.services import Griffel, PostgresDatabases, free_port

PARTITIONS = 3
BATCH = 40


class Cluster:
    """A server, a relay, and a backup of the log's database from an earlier moment."""

    def __init__(self, server: Griffel, relay: RelayProcess, postgres: PostgresDatabases) -> None:
        self.server = server
        self.relay = relay
        self._postgres = postgres
        self._made = statements(4 * BATCH)
        self._posted = 0
        self._copies: list[str] = []

    def post(self) -> None:
        batch = self._made[self._posted : self._posted + BATCH]
        self._posted += BATCH
        assert post(self.server, batch).status_code == 200

    def copy_to_kafka(self) -> None:
        wait_until(lambda: relayed(self.server.database_url) == head(self.server.database_url))

    def witnessed(self) -> int:
        with psycopg.connect(self.server.keys_url) as connection:
            row = connection.execute("SELECT position FROM witness").fetchone()
        return row[0] if row else 0

    def back_up(self) -> str:
        """The address of a copy of the log's database as it is now."""
        parts = urlsplit(self.server.database_url)
        name = parts.path.strip("/")
        self._copies.append(f"{name}_{len(self._copies)}")
        with psycopg.connect(self._postgres.admin_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    *[sql.Identifier(one) for one in (self._copies[-1], name, name)]
                )
            )
        return urlunsplit(parts._replace(path=f"/{self._copies[-1]}"))

    def fail_over(self, older: str) -> None:
        """Put another database in the place of the server's, as when a copy that lags takes over."""
        own, other = (urlsplit(one).path.strip("/") for one in (self.server.database_url, older))
        renames = ((own, f"{own}_gone"), (other, own), (f"{own}_gone", other))
        with psycopg.connect(self._postgres.admin_url, autocommit=True) as connection:
            for old, new in renames:
                rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
                allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
                connection.execute(allow.format(sql.Identifier(old), sql.SQL("false")))
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (old,)
                )
                connection.execute(rename)
                if new in {own, other}:
                    connection.execute(allow.format(sql.Identifier(new), sql.SQL("true")))

    def drop_copies(self) -> None:
        with psycopg.connect(self._postgres.admin_url, autocommit=True) as connection:
            for one in self._copies:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(one)))


def post(server: Griffel, batch: list[dict[str, Any]]) -> requests.Response:
    return requests.post(f"{server.url}/statements", json=batch, headers=server.headers(), timeout=60)


def head(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT position FROM log_head").fetchone()
    assert row is not None
    return int(row[0])


def log_of(database: str) -> dict[str, Any]:
    return tables(Settings(mode=Mode.CLUSTER, database_url=database))


@contextlib.contextmanager
def running(server: Griffel) -> Iterator[Griffel]:
    """A server that need not become ready."""
    server._launch()
    try:
        wait_until(lambda: health(server) is not None)
        yield server
    finally:
        if server.process is not None:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(30)
            server.process = None


def health(server: Griffel) -> dict[str, Any] | None:
    try:
        return requests.get(f"{server.base}/health/ready", timeout=5).json()
    except requests.ConnectionError:
        return None


def copy_check(server: Griffel) -> str:
    page = requests.get(f"{server.base}/", headers={"Accept": "application/json"}, timeout=10).json()
    return next(one["detail"] for one in page["checks"] if one["name"] == "copy")


@pytest.fixture
def cluster(
    make_lrs: Callable[..., Griffel], kafka: ExternalKafka, postgres: PostgresDatabases, tmp_path: Path
) -> Iterator[Cluster]:
    server = make_lrs("cluster").start()
    server.credential("all")
    with relay_process(tmp_path / "relay", server.database_url, kafka.bootstrap) as relay:
        relay.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
        relay.start()
        made = Cluster(server, relay, postgres)
        yield made
        server.stop()
        made.drop_copies()


def lose_the_newest(cluster: Cluster) -> str:
    """Post, back up, post more, have everything on Kafka and witnessed, stop; the address of the backup."""
    cluster.post()
    cluster.copy_to_kafka()
    cluster.server.stop()
    cluster.relay.stop()
    older = cluster.back_up()
    cluster.server.start()
    cluster.relay.start()
    cluster.post()
    cluster.copy_to_kafka()
    wait_until(lambda: cluster.witnessed() == head(cluster.server.database_url))
    cluster.server.stop()
    cluster.relay.stop()
    return older


def test_a_restored_database_catches_up_by_itself_before_it_serves(cluster: Cluster, kafka: ExternalKafka) -> None:
    older = lose_the_newest(cluster)
    was = log_of(cluster.server.database_url)
    end = head(cluster.server.database_url)
    assert head(older) < end
    server = replace(cluster.server, database_url=older, settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(server):
        refused = post(server, statements(1))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["X-Experience-API-Version"] == "2.0.0"
        read = requests.get(f"{server.url}/statements", headers=server.headers(), timeout=10)
        assert read.status_code == 503
        page = requests.get(f"{server.base}/courses", headers={"Accept": "text/html"}, timeout=10)
        assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert int(page.headers["Retry-After"]) > 0
        listed = requests.get(f"{server.base}/courses", headers={"Accept": "application/json"}, timeout=10)
        assert (listed.status_code, listed.headers["Content-Type"]) == (503, "application/problem+json")
        assert requests.get(f"{server.url}/about", timeout=10).status_code == 200
        wait_until(lambda: health(server) == {"ready": True, "missing": []})
        assert log_of(older) == was
        assert post(server, statements(1, seed=99)).status_code == 200
        assert head(older) == end + 1 or head(older) > end
    with psycopg.connect(older) as connection:
        row = connection.execute("SELECT position FROM events ORDER BY position OFFSET %s LIMIT 1", (end,)).fetchone()
    assert row == (end + 1,)


def test_a_database_that_lags_and_takes_over_catches_up_while_servers_run(
    cluster: Cluster, kafka: ExternalKafka
) -> None:
    older = lose_the_newest(cluster)
    was = log_of(cluster.server.database_url)
    server = replace(cluster.server, settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(server):
        wait_until(lambda: health(server) == {"ready": True, "missing": []})
        cluster.fail_over(older)
        new = statements(40, seed=11)
        taken = []
        for one in new:
            answers: list[int] = []
            wait_until(
                lambda one=one, answers=answers: answers.append(post(server, [one]).status_code) or answers[-1] == 200
            )
            assert set(answers) <= {200, 503}
            taken.append(one["id"])
        now = log_of(server.database_url)
        assert now["events"][: len(was["events"])] == was["events"]
        assert [row[0] for row in now["events"]] == list(range(1, len(now["events"]) + 1))
        for one in taken:
            found = requests.get(
                f"{server.url}/statements", params={"statementId": one}, headers=server.headers(), timeout=10
            )
            assert found.status_code == 200


def test_what_neither_log_nor_kafka_has_keeps_the_log_closed_until_the_loss_is_accepted(
    cluster: Cluster, kafka: ExternalKafka
) -> None:
    older = lose_the_newest(cluster)
    kafka.delete_topics()
    settings = {"GRIFFEL_KAFKA": kafka.bootstrap, "GRIFFEL_KEYS_DIR": cluster.server.environment["GRIFFEL_KEYS_DIR"]}
    server = replace(cluster.server, database_url=older, settings=settings)
    server.command("topics", "create", "--partitions", str(PARTITIONS), "--replication", "1")
    with running(server):
        wait_until(lambda: copy_check(server) == "lost")
        assert post(server, statements(1)).status_code == 503
    server.command("restore", "--from-kafka", "--accept-loss")
    with running(server):
        wait_until(lambda: health(server) == {"ready": True, "missing": []})
        assert post(server, statements(1, seed=7)).status_code == 200


def test_two_databases_that_both_went_on_are_noticed(cluster: Cluster, kafka: ExternalKafka) -> None:
    older = lose_the_newest(cluster)
    with psycopg.connect(cluster.server.keys_url) as connection:
        connection.execute("UPDATE witness SET position = 1")  # as if it had been too late
    away = replace(cluster.server, database_url=older, settings={"GRIFFEL_KAFKA": f"127.0.0.1:{free_port()}"})
    with running(away):
        wait_until(lambda: (health(away) or {}).get("ready") is True)
        assert post(away, statements(3 * BATCH, seed=7)).status_code == 200
    server = replace(away, settings={"GRIFFEL_KAFKA": kafka.bootstrap})
    with running(server):
        wait_until(lambda: copy_check(server) == "forked")
        assert post(server, statements(1)).status_code == 503


def test_without_kafka_a_database_behind_the_witness_does_not_serve_and_one_that_is_not_does(cluster: Cluster) -> None:
    older = lose_the_newest(cluster)
    away = f"127.0.0.1:{free_port()}"
    for settings in ({}, {"GRIFFEL_KAFKA": away}):
        with running(replace(cluster.server, database_url=older, settings=settings)) as server:
            wait_until(lambda: copy_check(server) == "behind-and-kafka-silent")
            assert health(server) == {"ready": False, "missing": ["copy"]}
            assert post(server, statements(1)).status_code == 503
            assert "griffel restore --from-kafka" in server.log()
        with running(replace(cluster.server, settings=settings)) as server:
            wait_until(lambda: (health(server) or {}).get("ready") is True)
            assert copy_check(server) == ("not-proved" if settings else "whole")
            assert post(server, statements(1, seed=len(settings) + 5)).status_code == 200
