"""Every record of the topic as it lies there, whoever wrote it: its bytes, unjudged, once from beginning to end.

For whoever checks what is on Kafka; those who compute from the log read kafka_feed.py, which proves what it gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers.kafka_feed import CONNECT_S, FETCH_BYTES_MAX, POLL_RECORDS_MAX, POLL_S, KafkaSilent
from schemas.topics import EVENTS

RECORDS_SILENT_S = 10.0
"""How long Kafka may give nothing of what it says that it has."""


def read_records(
    brokers: Sequence[str], security: Mapping[str, Any], seen: Callable[[int, list[Any], float], None]
) -> bool:
    """Show every record of the topic up to its end as of now: (partition, records, how much that is of the whole).

    Gives False where there is no such topic. Blocks. Raises KafkaSilent, whose text names the kind of trouble: Kafka
    does not answer, or has records that are packed as this client cannot unpack.
    """
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=list(brokers),
            **security,
            client_id="griffel-doctor",
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            max_poll_records=POLL_RECORDS_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            bootstrap_timeout_ms=int(CONNECT_S * 1000),
            metrics_enabled=False,
        )
    except Exception as error:
        raise KafkaSilent(type(error).__name__) from error
    try:
        return _read(consumer, seen)
    except KafkaError as error:
        raise KafkaSilent(type(error).__name__) from error
    finally:
        consumer.close(autocommit=False, timeout_ms=int(CONNECT_S * 1000))


def _read(consumer: Any, seen: Callable[[int, list[Any], float], None]) -> bool:
    places = [TopicPartition(EVENTS, one) for one in sorted(consumer.partitions_for_topic(EVENTS) or ())]
    if not places:
        return False
    consumer.assign(places)
    begins, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
    whole = max(1, sum(ends[one] - begins[one] for one in places))
    came_s = time.monotonic()
    while any(consumer.position(one) < ends[one] for one in places):
        for place, records in consumer.poll(timeout_ms=int(POLL_S * 1000)).items():
            came_s = time.monotonic()
            left = sum(max(0, ends[one] - consumer.position(one)) for one in places)
            seen(place.partition, records, 1 - left / whole)
        if time.monotonic() - came_s > RECORDS_SILENT_S:
            raise KafkaSilent("no answer")
    return True
