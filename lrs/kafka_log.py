"""The way to Kafka: records in order, acknowledged or thrown away. The one module that uses the producer. It blocks.

A producer here lives until its first error. kafka-python drops a batch that failed and goes on with the next one, which
would leave a hole: so a batch never fails by time (the relay has bounds of its own), and the first error of any other
kind closes the sender from its own thread, before it sends anything else. What was sent and not acknowledged is sent
again by the next producer, from the position that is stored.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition

from lrs.errors import Busy, Misconfigured
from lrs.kafka_access import Kafka, access_to
from lrs.kafka_topics import kafka_error
from schemas import topics
from schemas.records import Headers

CONNECT_S = 5.0
"""How long a broker may take to answer the first time."""
BATCH_BYTES_MAX = 1024 * 1024
LINGER_S = 0.005
"""How long a batch that is not full waits for more; a full one goes at once."""
RECORD_VALUE_BYTES_MAX = topics.RECORD_BYTES_MAX - 4096
"""The largest event: its key and headers, and what a batch adds, have room beside it."""
ACK_WAIT_S = 30.0
"""How long anything may go without an acknowledgement before the producer is thrown away."""
ACK_LOOK_S = 0.05
CLOSE_WAIT_S = 5.0
NEVER_MS = 2**31 - 1


class SendFailed(Busy):
    """Kafka did not take a record. Everything not acknowledged must be sent again, by another producer."""


class Record(NamedTuple):
    """What is to be sent: to which partition, under which key, and with which headers."""

    partition: int
    key: bytes | None
    value: bytes
    headers: Headers
    time_ms: int


def check_speed() -> None:
    """Refuse to go without the compiled checksum. Raises Misconfigured."""
    if importlib.util.find_spec("crc32c") is None:
        raise Misconfigured("the package crc32c is missing, without which Kafka is far too slow: install griffel anew")


class KafkaLog:
    """An open producer. One thread uses it; after SendFailed only `abandon` is left."""

    def __init__(self, kafka: Kafka) -> None:
        """Connect. Raises Busy when no broker answers within CONNECT_S."""
        self._failed: str | None = None
        self._pages: deque[tuple[list[Any], Any]] = deque()
        self._heard_s = time.monotonic()
        self._producer: Any = None
        try:
            self._producer = KafkaProducer(
                **access_to(kafka).options,
                client_id="griffel-relay",
                acks="all",
                enable_idempotence=True,
                allow_auto_create_topics=False,
                batch_size=BATCH_BYTES_MAX,
                linger_ms=int(LINGER_S * 1000),
                max_request_size=topics.RECORD_BYTES_MAX,
                delivery_timeout_ms=NEVER_MS,
                request_timeout_ms=int(ACK_WAIT_S * 1000),
                max_block_ms=int(CONNECT_S * 1000),
                bootstrap_timeout_ms=int(CONNECT_S * 1000),
                reconnect_backoff_ms=50,
                reconnect_backoff_max_ms=1000,
                metrics_enabled=False,
            )
        except kafka_error("KafkaError") as error:
            raise Busy(f"Kafka does not answer ({type(error).__name__})") from error
        try:
            found = self._producer.partitions_for(topics.EVENTS)
        except kafka_error("KafkaError") as error:
            self.abandon()
            raise Busy(f"Kafka does not say where the partitions are ({type(error).__name__})") from error
        self._places = {one: TopicPartition(topics.EVENTS, one) for one in found}

    def send(self, page: Sequence[Record], mark: Any) -> None:
        """Put records on their way, in order. `acknowledged` gives mark when all of them are safe.

        Raises SendFailed; Misconfigured when a record is larger than Kafka takes.
        """
        # The accumulator is what the producer's own send() ends in; what that does before (looking at types, sizes and
        # metadata, choosing a partition) is settled here, and costs as much again for each record.
        producer = self._producer
        append, wake = producer._accumulator.append, producer._sender.wakeup  # noqa: SLF001
        last: dict[int, Any] = {}
        try:
            for record in page:
                if self._failed:
                    raise SendFailed(f"Kafka did not take a record ({self._failed})")
                partition, key, value, headers, time_ms = record
                if len(value) > RECORD_VALUE_BYTES_MAX:
                    raise Misconfigured("an event is larger than a record on Kafka may be")
                future, full, begun, _ = append(self._places[partition], time_ms, key, value, headers)
                future.add_errback(self._fail)
                if full or begun:
                    wake()
                last[partition] = future
        except (kafka_error("KafkaError"), AssertionError) as error:
            raise SendFailed(f"Kafka did not take a record ({type(error).__name__})") from error
        if not self._pages:
            self._heard_s = time.monotonic()
        self._pages.append((list(last.values()), mark))

    def acknowledged(self, wait_s: float = 0.0) -> list[Any]:
        """Give the marks of the pages that are safe on Kafka, in order; wait a while for the first of them.

        Raises SendFailed when anything failed, or nothing was acknowledged for ACK_WAIT_S.
        """
        if self._pages and wait_s:
            for future in self._pages[0][0]:
                ends = time.monotonic() + wait_s
                while not future.is_done and not self._failed and time.monotonic() < ends:
                    # The library's own wait does not say whether it waited in vain, so it is kept short.
                    future._produce_future.wait(ACK_LOOK_S)  # noqa: SLF001  there is no public wait that cannot raise
        marks = []
        while self._pages and all(future.succeeded() for future in self._pages[0][0]):
            marks.append(self._pages.popleft()[1])
            self._heard_s = time.monotonic()
        if self._failed:
            raise SendFailed(f"Kafka did not take a record ({self._failed})")
        if self._pages and time.monotonic() - self._heard_s > ACK_WAIT_S:
            raise SendFailed("Kafka acknowledges nothing")
        return marks

    @property
    def pages_in_flight(self) -> int:
        """Give how many pages wait for their acknowledgement."""
        return len(self._pages)

    def abandon(self) -> None:
        """Throw the producer away, unflushed."""
        if self._producer is None:
            return
        sender = self._producer._sender  # noqa: SLF001  its close() flushes first, which is what must not happen
        sender.force_close()
        if threading.current_thread() is not sender:
            sender.join(CLOSE_WAIT_S)
        try:
            self._producer.close(timeout=0)
        except kafka_error("KafkaError"):
            # The flush that cannot be left out found what was not sent: that is the purpose here.
            pass
        self._producer = None

    def _fail(self, error: BaseException) -> None:
        """Stop the sender from its own thread, before it can send what comes after a record that failed."""
        self._failed = self._failed or type(error).__name__
        producer = self._producer
        if producer is not None:
            producer._sender.force_close()  # noqa: SLF001  as above
