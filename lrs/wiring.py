"""What is made of what: the only module that knows both modes. Constructors only; read it from top to bottom."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from lrs.activities import ActivityCatalogue
from lrs.attachments import Attachments, BlobFolder, BlobStore, BlobTable
from lrs.config import Mode, Settings
from lrs.consistency import check_vault_fits
from lrs.credentials import Credentials
from lrs.documents import Documents
from lrs.event_log import EventLog
from lrs.http.app import Services
from lrs.http.call import Limits
from lrs.key_providers import EnvironmentKey, FileKeys, KeyProvider
from lrs.key_vault import KeyVault
from lrs.log_reader import PostgresReader, SQLiteReader
from lrs.reading import StatementReader
from lrs.recording import StatementRecorder
from lrs.tokens import TokenVerifier
from lrs.vault_store import PostgresVault, SQLiteVault, VaultStore


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
    return EventLog(settings.database_url, lambda: PostgresReader(settings.database_url))


def blob_store(settings: Settings) -> BlobStore:
    """Give where attachments lie."""
    if settings.mode is Mode.EMBEDDED:
        return BlobFolder(settings.data / "attachments")
    return BlobTable(settings.database_url)


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
            await attachments.sweep(log.known_blobs)
            yield Services(
                log=log,
                vault=vault,
                recorder=StatementRecorder(log, vault, catalogue),
                reader=StatementReader(log, vault, catalogue),
                documents=Documents(log, vault),
                attachments=attachments,
                catalogue=catalogue,
                credentials=Credentials(vault),
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
