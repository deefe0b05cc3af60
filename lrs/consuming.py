"""Consumers of a cluster: each view's consumer with the partitions that Kafka deals out to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from consumers.consumer import Consumer
from consumers.kafka_feed import KafkaSource
from lrs.errors import Busy, Conflict
from lrs.views import Views
from schemas.topics import group_of

TELL_S = 0.2
"""Between two looks at how far a rebuild from Kafka is."""
LOG_S = 10.0
"""Between two lines in the log about how far the consumers are, when anything moved."""

log = logging.getLogger("griffel.consumer")


class Consuming:
    """Consumers at work."""

    def __init__(self, consumers: Mapping[str, Consumer]) -> None:
        self._consumers = consumers

    async def report(self) -> None:
        """Say now and then how far each consumer is, until cancelled."""
        before: dict[str, int] = {}
        while True:
            await asyncio.sleep(LOG_S)
            for name, consumer in self._consumers.items():
                partitions = list(consumer.partitions.values())
                applied = sum(one.applied for one in partitions)
                if applied != before.get(name, 0):
                    log.info(
                        "%s: %d partitions, %d events applied by this process, %d dead letters",
                        name,
                        len(partitions),
                        applied,
                        sum(one.dead for one in partitions),
                    )
                before[name] = applied


async def rebuild_from_kafka(brokers: Sequence[str], views: Views, name: str, tell: Callable[[int], None]) -> None:
    """Build a view anew from Kafka's copy of the log, beside the one that serves, and let it serve.

    tell is told the sum of events applied. Raises NotFound; Busy when reading stopped, and Conflict when another
    rebuild of the view began meanwhile: then what served goes on serving.
    """
    consumer = await views.builder(name)
    source = KafkaSource(brokers, None, assigned=consumer.start, revoked=consumer.stop)
    await source.start()
    try:
        while not consumer.served.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(consumer.served.wait(), TELL_S)
            tell(sum(one.applied for one in consumer.partitions.values()))
            stopped = [one.reason for one in consumer.partitions.values() if one.state == "stopped"]
            if stopped:
                raise Busy(f"reading stopped ({stopped[0]}); the view that served goes on serving")
            if not consumer.served.is_set() and not await views.has(consumer):
                raise Conflict("another rebuild of this view began meanwhile; this one was given up")
    finally:
        await source.stop()


@asynccontextmanager
async def following(brokers: Sequence[str], consumers: Mapping[str, Consumer]) -> AsyncIterator[Consuming]:
    """Have consumers follow Kafka, each in the group of its name; at the end each gives its partitions back."""
    sources = [
        KafkaSource(brokers, group_of(name), assigned=consumer.start, revoked=consumer.stop)
        for name, consumer in consumers.items()
    ]
    for source in sources:
        await source.start()
    try:
        yield Consuming(consumers)
    finally:
        await asyncio.gather(*[source.stop() for source in sources])
