"""What is measured, as Prometheus reads it. Names, kinds and counts only: nothing that a client sent is a label."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consumers.consumer import ConsumerStatus
from lrs.status import Status

COLLECT_WAIT_S = 2.0
"""How long the databases are waited for; what they do not tell by then is left out."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GROUP_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)
_MICROSECONDS = 1_000_000

log = logging.getLogger("griffel.metrics")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Sources = Mapping[str, Callable[[], float]]
"""Numbers that are there without asking a database, by name."""


class Metrics:
    """Counts requests and commits as they happen; asks for everything else when it is read."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "griffel_requests", "Requests answered.", ("resource", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "griffel_request_seconds",
            "Time until a request was answered; not of those that wait for something to happen.",
            ("resource", "method"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._groups = Histogram(
            "griffel_commit_group_events",
            "Events whose commits the writer reported together.",
            buckets=GROUP_EVENTS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram | None]] = {}

    def note_group(self, events: int) -> None:
        """Count events that were committed together."""
        self._groups.observe(events)

    def note_request(self, resource: str, method: str, status: int, seconds: float) -> None:
        """Count a request. resource is the route's pattern, never the path that was asked for."""
        key = (resource, method if method in METHODS else "other", status)
        known = self._children.get(key)
        if known is None:
            histogram = None if _waits(resource) else self._seconds.labels(*key[:2])
            known = self._children[key] = (self._requests.labels(*key[:2], str(status)), histogram)
        known[0].inc()
        if known[1] is not None:
            known[1].observe(seconds)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request of an application."""
        began = time.perf_counter()
        status = web.HTTPInternalServerError.status_code
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            resource = request.match_info.route.resource
            name = resource.canonical if resource is not None else "none"
            self.note_request(name, request.method, status, time.perf_counter() - began)

    async def text(
        self, status: Callable[[], Awaitable[Status]], consumers: Iterable[ConsumerStatus], sources: Sources
    ) -> bytes:
        """Give everything in Prometheus's text format. What does not answer in time is left out, and said so."""
        return generate_latest(self.registry) + await moment_text(status, consumers, sources)


def _waits(resource: str) -> bool:
    """Say whether a resource waits until something happens, so that its time says nothing about the server."""
    return resource.startswith("/streams/") or resource.endswith("/live")


class _Moment(Collector):
    """What is true at the moment in which it is asked."""

    def __init__(
        self, status: Status | None, consumers: list[ConsumerStatus], sources: Sources, *, asked: bool
    ) -> None:
        self._status = status
        self._asked = asked
        self._consumers = consumers
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        if self._asked:
            yield GaugeMetricFamily(
                "griffel_positions_known", "1 when log and views said how far they are.", int(self._status is not None)
            )
        for name, (text, is_counter) in SOURCES.items():
            if name in self._sources:
                family = CounterMetricFamily if is_counter else GaugeMetricFamily
                yield family(name, text, self._sources[name]())
        yield from self._of_consumers()
        if self._status is not None:
            yield from _of_status(self._status)

    def _of_consumers(self) -> Iterable[Metric]:
        running = GaugeMetricFamily(
            "griffel_consumer_running",
            "1 while a consumer in this process applies what comes, 0 while it waits for something or has stopped.",
            labels=("consumer", "partition"),
        )
        applied = CounterMetricFamily(
            "griffel_consumer_events",
            "Events that a consumer in this process applied.",
            labels=("consumer", "partition"),
        )
        batches = CounterMetricFamily(
            "griffel_consumer_batches", "Batches in which it did.", labels=("consumer", "partition")
        )
        dead = CounterMetricFamily(
            "griffel_consumer_dead_letters", "Events that it could not apply.", labels=("consumer", "partition")
        )
        for consumer in self._consumers:
            for partition, one in sorted(consumer.partitions.items()):
                labels = (consumer.name, str(partition))
                running.add_metric(labels, one.state == "running")
                applied.add_metric(labels, one.applied)
                batches.add_metric(labels, one.batches)
                dead.add_metric(labels, one.dead)
        return running, applied, batches, dead


async def moment_text(
    status: Callable[[], Awaitable[Status]] | None, consumers: Iterable[ConsumerStatus], sources: Sources
) -> bytes:
    """Give what is true now; status asks the databases, where they are to be asked."""
    found: Status | None = None
    if status is not None:
        try:
            async with asyncio.timeout(COLLECT_WAIT_S):
                found = await status()
        except Exception as error:  # noqa: BLE001  whatever it is, the rest is told
            log.warning("positions could not be read: %s", type(error).__name__)
    moment = CollectorRegistry()
    moment.register(_Moment(found, list(consumers), sources, asked=status is not None))
    return generate_latest(moment)


SOURCES = {
    "griffel_log_writable": ("1 while the writer takes events.", False),
    "griffel_key_vault_ready": ("1 while keys in memory may be used.", False),
    "griffel_queued_events": ("Events that wait for the writer.", False),
    "griffel_stream_entries": ("Entries of the completion stream, as far as this process has seen.", False),
    "griffel_kafka_connected": ("1 while every consumer of this process is connected to Kafka.", False),
    "griffel_relay_running": ("1 while this relay copies.", False),
    "griffel_relay_standby": ("1 while another relay copies and this one waits for its turn.", False),
    "griffel_relay_position": ("Up to where the log is on Kafka.", False),
    "griffel_relay_lag_events": ("Events of the log not yet on Kafka.", False),
    "griffel_relay_lag_seconds": ("Age of the newest event that was copied, while there are others to copy.", False),
    "griffel_relay_events": ("Events that this relay copied.", True),
    "griffel_relay_failures": ("How often this relay had to begin again.", True),
    "griffel_completions_left_out": ("Changes of completions left out: learners erased or withdrawn.", True),
}
"""Each with what it says, and whether it only grows."""


def _of_status(status: Status) -> Iterable[Metric]:
    yield GaugeMetricFamily("griffel_log_position", "The newest position of the log.", status.position)
    yield GaugeMetricFamily(
        "griffel_log_watermark_seconds", "The log's watermark, in seconds since 1970.", status.stored_us / _MICROSECONDS
    )
    if (relay := status.relay) is not None:
        yield GaugeMetricFamily("griffel_relay_position", "Up to where the log is on Kafka.", relay.position)
        yield GaugeMetricFamily("griffel_relay_lag_events", "Events of the log not yet on Kafka.", relay.lag_events)
        yield GaugeMetricFamily("griffel_relay_lag_seconds", "Age of the oldest event not yet on Kafka.", relay.lag_s)
    labels = ("view", "generation", "state")
    position = GaugeMetricFamily(
        "griffel_view_position", "The newest position applied, by partition.", labels=(*labels, "partition")
    )
    lag_events = GaugeMetricFamily("griffel_view_lag_events", "Events of the log not yet applied.", labels=labels)
    lag_s = GaugeMetricFamily("griffel_view_lag_seconds", "Age of the oldest event not yet applied.", labels=labels)
    dead = GaugeMetricFamily("griffel_dead_letters", "Events that could not be applied and are kept.", labels=labels)
    for one in status.views:
        values = (one.name, str(one.generation), one.state)
        for partition, place in sorted(one.partitions.items()):
            position.add_metric((*values, str(partition)), place.position)
        lag_events.add_metric(values, one.lag_events)
        lag_s.add_metric(values, one.lag_s)
        dead.add_metric(values, one.dead_letters)
    yield from (position, lag_events, lag_s, dead)
