"""Consumers of a cluster: each view's consumer with the partitions that Kafka deals out to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from consumers.consumer import Consumer, ConsumerStatus
from consumers.kafka_feed import KafkaSource
from lrs.errors import Busy, Conflict
from lrs.http.health import Check, Health, health_of
from lrs.kafka_access import KafkaAccess
from lrs.key_vault import KeyVault
from lrs.metrics import moment_text
from lrs.status import Status
from lrs.views import Views
from schemas.topics import group_of

TELL_S = 0.2
"""Between two looks at how far a rebuild from Kafka is."""
LOG_S = 10.0
"""Between two lines in the log about how far the consumers are, when anything moved."""

log = logging.getLogger("griffel.consumer")


class Consuming:
    """Consumers at work."""

    def __init__(
        self,
        consumers: Mapping[str, Consumer],
        sources: Sequence[KafkaSource],
        vault: KeyVault,
        status: Callable[[], Awaitable[Status]],
    ) -> None:
        self._consumers = consumers
        self._sources = sources
        self._vault = vault
        self._status = status

    @property
    def connected(self) -> bool:
        """Say whether every consumer is connected to Kafka."""
        return all(one.connected for one in self._sources)

    @property
    def statuses(self) -> list[ConsumerStatus]:
        """Give how each consumer is."""
        return [one.status for one in self._consumers.values()]

    async def health(self) -> Health:
        """Say what these consumers need, and how each of them is."""
        return health_of(
            [
                Check("kafka", self.connected, "connected" if self.connected else "silent"),
                Check("key-vault", self._vault.ready, "leased" if self._vault.ready else "lease-lost"),
                *[
                    Check(f"consumer {one.name}", one.healthy, "running" if one.healthy else "waiting")
                    for one in self.statuses
                ],
            ]
        )

    async def text(self) -> bytes:
        """Give what is measured, for Prometheus: of these consumers, and how far everything is."""
        sources = {
            "griffel_kafka_connected": lambda: float(self.connected),
            "griffel_key_vault_ready": lambda: float(self._vault.ready),
        }
        return await moment_text(self._status, self.statuses, sources)

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


async def rebuild_from_kafka(kafka: KafkaAccess, views: Views, name: str, tell: Callable[[int], None]) -> None:
    """Build a view anew from Kafka's copy of the log, beside the one that serves, and let it serve.

    tell is told the sum of events applied. Raises NotFound; Busy when reading stopped, and Conflict when another
    rebuild of the view began meanwhile: then what served goes on serving.
    """
    consumer = await views.builder(name)
    source = KafkaSource(kafka.brokers, None, assigned=consumer.start, revoked=consumer.stop, security=kafka.security)
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
async def following(
    kafka: KafkaAccess, consumers: Mapping[str, Consumer], vault: KeyVault, status: Callable[[], Awaitable[Status]]
) -> AsyncIterator[Consuming]:
    """Have consumers follow Kafka, each in the group of its name; at the end each gives its partitions back.

    status says how far everything is.
    """
    sources = [
        KafkaSource(
            kafka.brokers, group_of(name), assigned=consumer.start, revoked=consumer.stop, security=kafka.security
        )
        for name, consumer in consumers.items()
    ]
    for source in sources:
        await source.start()
    try:
        yield Consuming(consumers, sources, vault, status)
    finally:
        await asyncio.gather(*[source.stop() for source in sources])
