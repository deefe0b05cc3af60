"""What only a cluster has, and what only its programs load: Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from consumers.completion_stream import NAME as STREAM
from lrs.config import Settings
from lrs.consuming import Consuming, following
from lrs.garbage import spare_the_collector
from lrs.guarded_log import GuardedLog
from lrs.kafka_access import kafka_access
from lrs.kafka_log import KafkaLog, check_speed
from lrs.kafka_restore import KafkaRestore
from lrs.kafka_topics import partitions_of
from lrs.key_vault import KeyVault
from lrs.log_guard import LogGuard
from lrs.log_place import LogPlace
from lrs.places import cluster_log, log_reader, open_vault, open_views, relay_position
from lrs.purposes import load_purposes
from lrs.relay import Relay
from lrs.relay_store import RelayStore
from lrs.restore_gate import end_again
from lrs.restoring import LogRestorer
from lrs.status import ReaderLog, read_status
from lrs.views import consumers_of
from lrs.witness import Witness


def relay(settings: Settings) -> Relay:
    """Give the relay of a cluster. Raises Misconfigured when the topic is missing, Busy when Kafka does not answer."""
    check_speed()
    access = kafka_access(settings)
    return Relay(
        lambda: RelayStore(settings.database_url),
        lambda: KafkaLog(access),
        partitions=partitions_of(access),
    )


@asynccontextmanager
async def guarding(settings: Settings, log: GuardedLog, vault: KeyVault, *, restores: bool) -> AsyncIterator[LogGuard]:
    """Guard the log of a cluster; restores: what it lacks is read back from Kafka here."""
    access = kafka_access(settings) if settings.kafka else None
    restore = None
    if access is not None and restores:
        restore = KafkaRestore(settings.database_url, access, LogRestorer(log, vault)).run
    settle = partial(end_again, log, vault, load_purposes(settings.purposes).destroyed_with())
    guard = LogGuard(log, LogPlace(settings.database_url), Witness(vault), access, restore, settle)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.stop()


@asynccontextmanager
async def consuming(settings: Settings, names: Sequence[str]) -> AsyncIterator[Consuming]:
    """Open what computes views from Kafka, and have it begin.

    Raises NotFound for a name that is no view's, Misconfigured without a topic, Busy when something does not answer.
    """
    names = consumers_of(names)
    access = kafka_access(settings)
    await asyncio.to_thread(partitions_of, access)
    async with open_vault(settings) as vault:
        log = cluster_log(settings)
        appends = STREAM in names
        if appends:
            await log.start()
        try:
            async with guarding(settings, log, vault, restores=False), open_views(settings, vault, log) as views:
                consumers = {name: views.consumer_named(name) for name in names}
                reader = ReaderLog(log_reader(settings))
                status = partial(read_status, reader, views.store, relay_position(settings))
                try:
                    async with following(access, consumers, vault, status) as working:
                        spare_the_collector()
                        yield working
                finally:
                    reader.close()
        finally:
            if appends:
                await log.stop()


@asynccontextmanager
async def restoring(settings: Settings) -> AsyncIterator[tuple[KafkaRestore, Witness]]:
    """Open what brings a log back from Kafka, and the witness of what was there.

    Raises Misconfigured without a topic, Busy when something does not answer.
    """
    access = kafka_access(settings)
    await asyncio.to_thread(partitions_of, access)
    async with open_vault(settings) as vault:
        log = cluster_log(settings)
        await log.start()
        try:
            yield KafkaRestore(settings.database_url, access, LogRestorer(log, vault)), Witness(vault)
        finally:
            await log.stop()
