"""Kafka with TLS, a client's certificate, a password and rights: each part reaches it with the rights it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from kafka.admin import ACLOperation, ResourceType

from lrs.config import Settings
from lrs.errors import Busy, Misconfigured
from lrs.kafka_access import kafka_access
from lrs.kafka_topics import partitions_of
from schemas.topics import EVENTS, GROUP_PREFIX
from tests.benchmarks.statements import statements
from tests.copied_log import relayed, wait_until
from tests.integration.test_operations import metrics, process, ready
from tests.secured_kafka import PASSWORD, SecuredKafka
from tests.services import Griffel, ServiceMissing

BATCH = 30
TOPIC, GROUP, CLUSTER = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER
DESCRIBE = (TOPIC, EVENTS, ACLOperation.DESCRIBE)
CONFIGS = (TOPIC, EVENTS, ACLOperation.DESCRIBE_CONFIGS)
READ = (TOPIC, EVENTS, ACLOperation.READ)
USERS = {
    "operator": [DESCRIBE, CONFIGS, (TOPIC, EVENTS, ACLOperation.CREATE)],
    "relay": [
        *(DESCRIBE, CONFIGS, (TOPIC, EVENTS, ACLOperation.WRITE)),
        (CLUSTER, "kafka-cluster", ACLOperation.IDEMPOTENT_WRITE),
    ],
    "consumers": [DESCRIBE, READ, (GROUP, GROUP_PREFIX, ACLOperation.READ)],
    "servers": [DESCRIBE, READ],
}


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    try:
        kafka = SecuredKafka(USERS)
    except ServiceMissing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing: {reason}", pytrace=False)
        pytest.skip(f"missing: {reason}")
    kafka.start()
    yield kafka
    kafka.stop()


def typed(server: Griffel, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lrs", *arguments],
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_each_part_does_its_work_with_the_rights_that_topics_check_names(make_lrs, secured: SecuredKafka) -> None:
    server = replace(make_lrs("cluster"), settings=secured.settings("servers"))

    def entering_as(user: str) -> Griffel:
        return replace(server, settings={**server.environment, **secured.settings(user)})

    server.settings = {**server.settings, "GRIFFEL_KEYS_DIR": server.environment["GRIFFEL_KEYS_DIR"]}
    made = typed(entering_as("operator"), "topics", "create", "--partitions", "2", "--replication", "1")
    assert made.returncode == 0, made.stderr
    server.start()
    server.credential("all")
    try:
        checked = typed(entering_as("operator"), "topics", "check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with process(entering_as("relay"), "relay"), process(entering_as("consumers"), "consume", "progress") as one:
            answer = requests.post(
                f"{server.url}/statements", json=statements(BATCH), headers=server.headers(), timeout=60
            )
            assert answer.status_code == 200
            wait_until(lambda: relayed(server.database_url) >= BATCH)
            wait_until(lambda: metrics(one).get("griffel_consumer_events_total", 0) >= BATCH)
            assert ready(one) == {"ready": True, "missing": []}
        restored = typed(server, "restore", "--from-kafka")
        assert restored.returncode == 0, restored.stderr
        refused = typed(entering_as("consumers"), "topics", "create", "--partitions", "2", "--replication", "1")
        assert refused.returncode == 1
        assert PASSWORD not in server.log() + restored.stdout + refused.stderr
    finally:
        server.stop()


def test_a_wrong_password_is_said_and_does_not_stand_in_what_is_said(secured: SecuredKafka, tmp_path: Path) -> None:
    told = secured.settings("operator")
    names = {name.removeprefix("GRIFFEL_").lower(): value for name, value in told.items()}
    del names["kafka_password_file"]
    paths = {name: Path(value) if name.endswith("_file") else value for name, value in names.items()}
    wrong = "wrong, and secret all the same"
    access = kafka_access(Settings(**paths, kafka_password=wrong))
    assert wrong not in repr(access)
    with pytest.raises(Busy) as raised:
        partitions_of(access)
    assert wrong not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kafka_user": "griffel"}, "GRIFFEL_KAFKA_SECURITY=SASL_SSL"),
        ({"kafka_security": "SASL_SSL", "kafka_user": "griffel"}, "GRIFFEL_KAFKA_PASSWORD"),
        ({"kafka_security": "SASL_SSL", "kafka_password": "x"}, "GRIFFEL_KAFKA_USER"),
        (
            {"kafka_security": "SASL_PLAINTEXT", "kafka_user": "a", "kafka_password": "b", "kafka_mechanism": "PLAIN"},
            "for everybody to read",
        ),
        ({"kafka_ca_file": Path("ca.pem")}, "certificates need TLS"),
        ({"kafka_security": "SSL", "kafka_cert_file": Path("c.pem")}, "belong together"),
        ({"kafka_security": "SSL", "kafka_ca_file": Path("not-there.pem")}, "GRIFFEL_KAFKA_CA_FILE names a file"),
        (
            {"kafka_security": "SASL_SSL", "kafka_user": "a", "kafka_password_file": Path("not-there")},
            "GRIFFEL_KAFKA_PASSWORD_FILE names a file",
        ),
        ({"kafka": "broker"}, "host:port"),
    ],
)
def test_what_does_not_fit_together_is_said(settings: dict, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        kafka_access(Settings(**{"kafka": "broker:9092", **settings}))
