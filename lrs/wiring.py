"""What is made of what: the only module that knows both modes. Constructors only; read it from top to bottom."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from consumers.completion_stream import NAME as STREAM
from lrs.activities import ActivityCatalogue
from lrs.attachments import Attachments, BlobFolder, BlobStore, BlobTable
from lrs.completions import Completions
from lrs.config import Mode, Settings
from lrs.consistency import check_vault_fits
from lrs.consuming import Consuming, following
from lrs.credentials import Credentials
from lrs.documents import Documents
from lrs.event_log import EventLog
from lrs.garbage import spare_the_collector
from lrs.guarded_log import GuardedLog
from lrs.http.app import Services
from lrs.http.call import Limits
from lrs.kafka_access import kafka_access
from lrs.kafka_log import KafkaLog, check_speed
from lrs.kafka_restore import KafkaRestore
from lrs.kafka_topics import partitions_of
from lrs.key_providers import EnvironmentKey, FileKeys, KeyProvider
from lrs.key_vault import KeyVault
from lrs.log_guard import LogGuard
from lrs.log_place import LogPlace
from lrs.log_reader import LogReader, PostgresReader, SQLiteReader
from lrs.opening import VaultOpener
from lrs.partitions import partitioning_of
from lrs.reading import StatementReader
from lrs.recording import StatementRecorder
from lrs.relay import Relay
from lrs.relay_store import RelayStore
from lrs.restoring import LogRestorer
from lrs.status import ReaderLog, RelayPosition, read_relay_position, read_status
from lrs.tokens import TokenVerifier
from lrs.vault_store import PostgresVault, SQLiteVault, VaultStore
from lrs.view_process import ProcessPlace, ViewProcess
from lrs.views import Views
from lrs.witness import Witness
from lrs.writer_process import OpenWriter
from projections.postgres_views import PostgresViews
from projections.projection import Opener
from projections.readings import source_of
from projections.sqlite_views import SQLiteViews
from projections.view_store import ViewStore


def key_provider(settings: Settings) -> KeyProvider:
    """Give who holds the root keys."""
    if settings.master_key:
        return EnvironmentKey(settings.master_key)
    return FileKeys(keys_folder(settings))


def keys_folder(settings: Settings) -> Path:
    """Give the folder of the root keys.

    In cluster mode every server needs the same one, whatever its data folder is, and two clusters of one user need two:
    so it is the user's own, by the place of the vault's database.
    """
    if settings.keys_dir is not None:
        return settings.keys_dir
    if settings.mode is Mode.EMBEDDED:
        return settings.data / "keys"
    given = conninfo_to_dict(settings.keys_url)
    database = "\0".join(str(given.get(name, "")) for name in ("host", "port", "dbname"))
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "griffel" / "keys" / hashlib.sha256(database.encode()).hexdigest()[:16]


def vault_store(settings: Settings) -> VaultStore:
    """Give the vault's tables."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteVault(settings.data / "vault" / "vault.db")
    return PostgresVault(settings.keys_url)


def event_log(settings: Settings) -> EventLog:
    """Give the log."""
    if settings.mode is Mode.EMBEDDED:
        path = settings.data / "log" / "log.db"
        return EventLog(str(path), lambda: SQLiteReader(path))
    return GuardedLog(settings.database_url, lambda: PostgresReader(settings.database_url))


@asynccontextmanager
async def guarding(
    settings: Settings, log: EventLog, vault: KeyVault, *, restores: bool
) -> AsyncIterator[LogGuard | None]:
    """Guard the log of a cluster (None in embedded mode); restores: what it lacks is read back from Kafka here."""
    if not isinstance(log, GuardedLog):
        yield None
        return
    access = kafka_access(settings) if settings.kafka else None
    restore = None
    if access is not None and restores:
        restore = KafkaRestore(settings.database_url, access, LogRestorer(log, vault)).run
    guard = LogGuard(log, LogPlace(settings.database_url), Witness(vault), access, restore)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.stop()


def log_reader(settings: Settings) -> LogReader:
    """Give a reader of the log, beside whoever writes it."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteReader(settings.data / "log" / "log.db")
    return PostgresReader(settings.database_url)


def relay_position(settings: Settings) -> RelayPosition | None:
    """Give what says how far the relay is, None where there is no relay."""
    if settings.mode is Mode.EMBEDDED:
        return None
    return partial(read_relay_position, settings.database_url)


def blob_store(settings: Settings) -> BlobStore:
    """Give where attachments lie."""
    if settings.mode is Mode.EMBEDDED:
        return BlobFolder(settings.data / "attachments")
    return BlobTable(settings.database_url)


def view_store(settings: Settings, opener: Opener, *, read_only: bool = False) -> ViewStore:
    """Give where the views lie; read_only makes nothing that is not there."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteViews(settings.data / "views" / "views.db", opener, read_only=read_only)
    return PostgresViews(settings.database_url, opener, read_only=read_only)


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
async def open_views(settings: Settings, vault: KeyVault, log: EventLog) -> AsyncIterator[Views]:
    """Open the views of a log. Computing them is for `consuming`, or for `computing_views`."""
    opener = VaultOpener(vault)
    store = await asyncio.to_thread(view_store, settings, opener)
    partitioning = None
    if settings.mode is Mode.CLUSTER:
        partitioning = partial(partitioning_of, settings.database_url)
    views = Views(store, opener, log, Completions(log, vault), partitioning=partitioning)
    try:
        yield views
    finally:
        await views.stop()


def view_process(settings: Settings, log: EventLog) -> ViewProcess | None:
    """Give the process that computes views beside a server, None where `griffel consume` does that."""
    if settings.mode is Mode.CLUSTER:
        return None
    keys_dir = str(settings.keys_dir) if settings.keys_dir is not None else None
    return ViewProcess(ProcessPlace(str(settings.data), keys_dir, settings.master_key, settings.log_level), log)


@asynccontextmanager
async def computing_views(settings: Settings, open_writer: OpenWriter) -> AsyncIterator[Views]:
    """Open what computes the views of an embedded installation from its log, beside the server whose writer is lent."""
    path = settings.data / "log" / "log.db"
    async with open_vault(settings) as vault:
        log = EventLog(str(path), lambda: SQLiteReader(path), open_writer=open_writer)
        await log.start()
        try:
            async with open_views(settings, vault, log) as views:
                views.follow_log()
                spare_the_collector()
                yield views
        finally:
            await log.stop()


@asynccontextmanager
async def consuming(settings: Settings, names: Sequence[str]) -> AsyncIterator[Consuming]:
    """Open what computes views from Kafka, and have it begin.

    Raises NotFound for a name that is no view's, Misconfigured without a topic, Busy when something does not answer.
    """
    access = kafka_access(settings)
    await asyncio.to_thread(partitions_of, access)
    async with open_vault(settings) as vault:
        log = event_log(settings)
        appends = STREAM in names
        if appends:
            await log.start()
        try:
            async with guarding(settings, log, vault, restores=False), open_views(settings, vault, log) as views:
                consumers = {name: views.consumer_named(name) for name in dict.fromkeys(map(source_of, names))}
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
        log = event_log(settings)
        await log.start()
        try:
            yield KafkaRestore(settings.database_url, access, LogRestorer(log, vault)), Witness(vault)
        finally:
            await log.stop()


@asynccontextmanager
async def open_vault(settings: Settings) -> AsyncIterator[KeyVault]:
    """Open the key vault alone, as the command line needs it."""
    vault = KeyVault(vault_store(settings), key_provider(settings))
    await vault.start()
    try:
        yield vault
    finally:
        await vault.stop()


@asynccontextmanager
async def sweeping(attachments: Attachments, log: EventLog, guard: LogGuard | None) -> AsyncIterator[None]:
    """Sweep away what no statement holds: now, or once it is known that the log lacks no statement."""
    if guard is None:
        await attachments.sweep(log.known_blobs)
        yield
        return

    async def sweep() -> None:
        await guard.opened.wait()
        await attachments.sweep(log.known_blobs)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything a server is made of; close it in the opposite order."""
    async with open_vault(settings) as vault:
        log = event_log(settings)
        await log.start()
        attachments = Attachments(blob_store(settings))
        tokens = TokenVerifier(settings.oidc_issuer, settings.oidc_audience) if settings.oidc_issuer else None
        catalogue = ActivityCatalogue(log, vault)
        try:
            await check_vault_fits(log, vault)
            async with (
                guarding(settings, log, vault, restores=True) as guard,
                sweeping(attachments, log, guard),
                open_views(settings, vault, log) as views,
            ):
                yield Services(
                    log=log,
                    vault=vault,
                    recorder=StatementRecorder(log, vault, catalogue),
                    reader=StatementReader(log, vault, catalogue),
                    documents=Documents(log, vault),
                    attachments=attachments,
                    catalogue=catalogue,
                    credentials=Credentials(vault),
                    views=views,
                    guard=guard,
                    bearer=tokens.caller if tokens else None,
                    limits=Limits(
                        body_bytes_max=settings.body_bytes_max,
                        statements_max=settings.statements_max,
                        attachments_bytes_max=settings.attachments_bytes_max,
                    ),
                    cors_origin=settings.cors_origin,
                )
        finally:
            if tokens is not None:
                await tokens.stop()
            await attachments.stop()
            await log.stop()
