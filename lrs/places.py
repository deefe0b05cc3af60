"""Where everything of an installation lies, in either mode: keys, vault, log, attachments, views.

PostgreSQL's client takes as long to import as all the rest that a command needs, so a cluster imports it where it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lrs.attachments import BlobFolder, BlobStore
from lrs.completions import Completions
from lrs.config import Mode, Settings, variable
from lrs.errors import Misconfigured
from lrs.event_log import EventLog
from lrs.garbage import spare_the_collector
from lrs.guarded_log import GuardedLog
from lrs.hygiene import keep_keys_in
from lrs.index_builder import IndexBuilder
from lrs.journal import NAME as JOURNAL
from lrs.journal import Journal
from lrs.key_providers import EnvironmentKey, FileKeys, KeyProvider, OpenBaoKeys, Pkcs11Keys
from lrs.key_vault import KeyVault
from lrs.log_reader import LogReader, SQLiteReader
from lrs.opening import VaultOpener
from lrs.restoring import LogRestorer
from lrs.rotation import Rotation, Schedule
from lrs.status import RelayPosition
from lrs.vault_store import SQLiteVault, VaultStore
from lrs.views import Views
from lrs.writer_process import OpenWriter
from projections.projection import Opener
from projections.sqlite_views import SQLiteViews
from projections.view_store import ViewStore

_OWN_SETTINGS = {
    "environment": ("master_key",),
    "openbao": ("openbao_url", "openbao_token", "openbao_token_file", "openbao_ca_file"),
    "pkcs11": ("pkcs11_module", "pkcs11_token", "pkcs11_pin", "pkcs11_pin_file"),
}
"""What says of itself which provider is meant."""


def key_provider(settings: Settings) -> KeyProvider:
    """Give who holds the root keys. Raises Misconfigured, naming the setting that is missing or one too many."""
    chosen = settings.key_provider or ("environment" if settings.master_key else "file")
    for provider, names in _OWN_SETTINGS.items():
        needless = [variable(name) for name in names if getattr(settings, name)]
        # Keys that are made in files when OpenBao was meant would be noticed too late.
        if needless and provider != chosen:
            raise Misconfigured(
                f"{needless[0]} is set, but root keys come from {chosen}: set {variable('key_provider')}={provider}, "
                "or leave it out"
            )
    match chosen:
        case "environment":
            return EnvironmentKey(settings.master_key)
        case "openbao":
            token = _either(settings, "openbao_token", "openbao_token_file")
            url = _needed(settings, "openbao_url")
            return OpenBaoKeys(
                url, token, settings.openbao_mount, settings.keys_prefix, ca_file=settings.openbao_ca_file
            )
        case "pkcs11":
            module, token = _needed(settings, "pkcs11_module"), _needed(settings, "pkcs11_token")
            return Pkcs11Keys(module, token, _either(settings, "pkcs11_pin", "pkcs11_pin_file"), settings.keys_prefix)
        case _:
            return FileKeys(keys_folder(settings))


def _needed(settings: Settings, name: str) -> Any:
    given = getattr(settings, name)
    if not given:
        raise Misconfigured(f"{variable(name)} is missing: root keys from {settings.key_provider} need it")
    return given


def _either(settings: Settings, name: str, file_name: str) -> str | Path:
    """Give a secret, or the file that holds it: the one of the two that is set."""
    secret: str = getattr(settings, name)
    file: Path | None = getattr(settings, file_name)
    if bool(secret) == (file is not None):
        raise Misconfigured(f"give one of {variable(name)} and {variable(file_name)}")
    return secret if file is None else file


def keys_folder(settings: Settings) -> Path:
    """Give the folder of the root keys.

    In cluster mode every server needs the same one, whatever its data folder is, and two clusters of one user need two:
    so it is the user's own, by the place of the vault's database.
    """
    if settings.keys_dir is not None:
        return settings.keys_dir
    if settings.mode is Mode.EMBEDDED:
        return settings.data / "keys"
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    given = conninfo_to_dict(settings.keys_url)
    database = "\0".join(str(given.get(name, "")) for name in ("host", "port", "dbname"))
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "griffel" / "keys" / hashlib.sha256(database.encode()).hexdigest()[:16]


def key_rotation(settings: Settings, vault: KeyVault) -> Rotation:
    """Give what rotates the keys of a vault."""
    return Rotation(vault, Schedule(settings.epoch_days, settings.epochs_kept))


def journal_path(settings: Settings) -> Path:
    """Give where the journal of an embedded installation is."""
    return settings.data / "journal" / JOURNAL


def journal_of(settings: Settings, vault: KeyVault) -> Journal | None:
    """Give the journal of what was ended; None in a cluster, where Kafka is it."""
    return Journal(journal_path(settings), vault) if settings.mode is Mode.EMBEDDED else None


def vault_store(settings: Settings) -> VaultStore:
    """Give the vault's tables."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteVault(settings.data / "vault" / "vault.db")
    from lrs.postgres_vault import PostgresVault  # noqa: PLC0415

    return PostgresVault(settings.keys_url)


def event_log(settings: Settings) -> EventLog:
    """Give the log."""
    if settings.mode is Mode.EMBEDDED:
        path = settings.data / "log" / "log.db"
        return EventLog(str(path), lambda: SQLiteReader(path))
    return cluster_log(settings)


def cluster_log(settings: Settings) -> GuardedLog:
    """Give the log of a cluster."""
    from lrs.postgres_reader import PostgresReader  # noqa: PLC0415

    return GuardedLog(settings.database_url, lambda: PostgresReader(settings.database_url))


def log_reader(settings: Settings) -> LogReader:
    """Give a reader of the log, beside whoever writes it."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteReader(settings.data / "log" / "log.db")
    from lrs.postgres_reader import PostgresReader  # noqa: PLC0415

    return PostgresReader(settings.database_url)


def relay_position(settings: Settings) -> RelayPosition | None:
    """Give what says how far the relay is, None where there is no relay."""
    if settings.mode is Mode.EMBEDDED:
        return None
    from lrs.relayed import read_relay_position  # noqa: PLC0415

    return partial(read_relay_position, settings.database_url)


def blob_store(settings: Settings) -> BlobStore:
    """Give where attachments lie."""
    if settings.mode is Mode.EMBEDDED:
        return BlobFolder(settings.data / "attachments")
    from lrs.postgres_blobs import BlobTable  # noqa: PLC0415

    return BlobTable(settings.database_url)


def view_store(settings: Settings, opener: Opener, *, read_only: bool = False) -> ViewStore:
    """Give where the views lie; read_only makes nothing that is not there."""
    if settings.mode is Mode.EMBEDDED:
        return SQLiteViews(settings.data / "views" / "views.db", opener, read_only=read_only)
    from projections.postgres_views import PostgresViews  # noqa: PLC0415

    return PostgresViews(settings.database_url, opener, read_only=read_only)


@asynccontextmanager
async def open_vault(settings: Settings) -> AsyncIterator[KeyVault]:
    """Open the key vault alone, as the command line needs it. From here on this process has keys to keep in."""
    keep_keys_in()
    vault = KeyVault(vault_store(settings), key_provider(settings))
    try:
        await vault.start()
        yield vault
    finally:
        await vault.stop()


@asynccontextmanager
async def open_views(settings: Settings, vault: KeyVault, log: EventLog) -> AsyncIterator[Views]:
    """Open the views of a log. Computing them is for `consuming`, or for `computing_views`."""
    opener = VaultOpener(vault)
    store = await asyncio.to_thread(view_store, settings, opener)
    partitioning = None
    if settings.mode is Mode.CLUSTER:
        from lrs.relayed import partitioning_of  # noqa: PLC0415

        partitioning = partial(partitioning_of, settings.database_url)
    index = IndexBuilder(log, LogRestorer(log, vault))
    views = Views(store, opener, log, Completions(log, vault), index, partitioning=partitioning)
    try:
        yield views
    finally:
        await views.stop()


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
