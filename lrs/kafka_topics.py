"""Topics on Kafka: make them and check them. The one module that uses the admin client. Everything here blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import kafka.errors
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from lrs.errors import Busy, Conflict, Misconfigured
from lrs.kafka_access import Kafka, access_to
from schemas import topics

ANSWER_S = 10.0
"""How long Kafka may take to answer."""
REPLICATION_SAFE_MIN = 3
"""Copies of each partition with which one broker may be lost without stopping anything."""


class Finding(NamedTuple):
    """One thing that was looked at: what must be, what is. advice tells what to do where they differ."""

    name: str
    wanted: str
    found: str
    good: bool
    advice: str = ""


def create(kafka: Kafka, *, partitions: int, replication: int, in_sync_min: int) -> None:
    """Make the topic of the events. Raises Conflict when it is there, Busy, Misconfigured."""
    wanted = {
        "num_partitions": partitions,
        "replication_factor": replication,
        "configs": {**topics.SETTINGS, "min.insync.replicas": str(in_sync_min)},
    }
    with _admin(kafka) as admin:
        try:
            admin.create_topics({topics.EVENTS: wanted}, timeout_ms=int(ANSWER_S * 1000), wait_for_metadata=True)
        except kafka_error("TopicAlreadyExistsError") as error:
            raise Conflict(f"the topic {topics.EVENTS} is there already: see griffel topics check") from error
        except (kafka_error("InvalidReplicationFactorError"), kafka_error("InvalidPartitionsError")) as error:
            raise Misconfigured(
                f"Kafka cannot keep {replication} copies of each partition; it has fewer brokers"
            ) from error


def partitions_of(kafka: Kafka) -> int:
    """Give how many partitions the topic has. Raises Misconfigured when it is missing, Busy."""
    with _admin(kafka) as admin:
        return len(_describe(admin)["partitions"])


def check(kafka: Kafka, *, partitions: int | None = None) -> list[Finding]:
    """Compare the topic with what it must be. partitions: how many there must be, where that is known.

    Raises Misconfigured when the topic is missing, Busy when Kafka does not answer.
    """
    with _admin(kafka) as admin:
        described = _describe(admin)["partitions"]
        resource = ConfigResource("topic", topics.EVENTS)
        found = admin.describe_configs([resource], config_filter="all")["topic"][topics.EVENTS]
    settings = {name: str(one["value"]) for name, one in found.items()}
    copies = min(len(one["replica_nodes"]) for one in described)
    in_sync_min = int(settings["min.insync.replicas"])
    behind = sum(len(one["isr_nodes"]) < len(one["replica_nodes"]) for one in described)
    findings = [_partitions_finding(len(described), partitions)]
    findings += [_setting_finding(name, wanted, settings.get(name, "")) for name, wanted in topics.SETTINGS.items()]
    fewest, most = (REPLICATION_SAFE_MIN - 1 if copies >= REPLICATION_SAFE_MIN else 1), max(1, copies - 1)
    findings += [
        Finding(
            "min.insync.replicas",
            f"{fewest}" if fewest == most else f"{fewest} to {most}",
            str(in_sync_min),
            fewest <= in_sync_min <= most,
            "With fewer, an event that was acknowledged can be lost with a broker; with all copies, one broker that is "
            "away stops the relay.",
        ),
        Finding(
            "copies in step",
            f"all of {len(described)} partitions",
            f"all but {behind}" if behind else f"all of {len(described)} partitions",
            not behind,
            "A broker is away or behind; look at the brokers.",
        ),
    ]
    return findings


def names(kafka: Kafka) -> list[tuple[str, str]]:
    """Give the names that Kafka shows us: (what it is the name of, name). Raises Busy when it does not answer."""
    with _admin(kafka) as admin:
        found = [("topic", name) for name in admin.list_topics()]
        groups = [one["group_id"] for one in admin.list_groups()]
        found += [("consumer group", name) for name in groups]
        for described in admin.describe_groups(groups).values() if groups else ():
            for member in described.get("members", ()):
                found += [("client", str(member.get(key) or "")) for key in ("client_id", "client_host", "member_id")]
    return found


def acl_advice() -> list[str]:
    """Give the rights that each part needs on Kafka, a sentence each. Nobody needs more."""
    return [
        f"relay: Describe, DescribeConfigs and Write on the topic {topics.EVENTS}; IdempotentWrite on the cluster",
        f"consumers: Describe and Read on the topic {topics.EVENTS}; Read on groups named {topics.GROUP_PREFIX}…",
        f"servers, griffel restore, griffel doctor: Describe and Read on the topic {topics.EVENTS}",
        f"griffel topics: Describe and DescribeConfigs on the topic {topics.EVENTS}; for create also Create",
        "nobody: Delete, DeleteRecords, AlterConfigs. What is on Kafka is never changed and never removed",
    ]


def kafka_error(name: str) -> type[Exception]:
    """Give one of the client's errors by its name: its classes carry no types."""
    error: type[Exception] = getattr(kafka.errors, name)
    return error


def _partitions_finding(found: int, wanted: int | None) -> Finding:
    return Finding(
        "partitions",
        str(wanted) if wanted else "fixed for life",
        str(found),
        wanted in (None, found),
        "The number of partitions is fixed for the life of a log: with another one, a learner's events would be in two "
        "partitions, out of order. Make the topic anew, with the first number, and let the relay fill it.",
    )


def _setting_finding(name: str, wanted: str, found: str) -> Finding:
    good = found == wanted
    if name == "max.message.bytes":
        good = found.isdigit() and int(found) >= int(wanted)
        wanted = f"{wanted} or more"
    return Finding(name, wanted, found, good, f"Set it with kafka-configs.sh: {name}={wanted.split()[0]}")


def _describe(admin: Any) -> Any:
    described = admin.describe_topics([topics.EVENTS])[0]
    if described["error_code"]:
        raise Misconfigured(f"the topic {topics.EVENTS} is not on Kafka: make it with griffel topics create")
    return described


@contextlib.contextmanager
def _admin(kafka: Kafka) -> Iterator[Any]:
    answer_ms = int(ANSWER_S * 1000)
    try:
        admin = KafkaAdminClient(
            **access_to(kafka).options,
            client_id="griffel-topics",
            request_timeout_ms=answer_ms,
            bootstrap_timeout_ms=answer_ms,
        )
    except kafka_error("KafkaError") as error:
        raise Busy(f"Kafka does not answer ({type(error).__name__})") from error
    try:
        yield admin
    except kafka_error("KafkaError") as error:
        raise Busy(f"Kafka did not do what it was asked ({type(error).__name__})") from error
    finally:
        admin.close()
