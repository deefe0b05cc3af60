"""What a server is made of. Constructors only; where things lie is in lrs/places.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from lrs import receipts
from lrs.activities import ActivityCatalogue
from lrs.attachments import Attachments
from lrs.certificates import Certifier
from lrs.config import Mode, Settings
from lrs.consistency import check_vault_fits
from lrs.credentials import Credentials
from lrs.documents import Documents
from lrs.erasure import Eraser
from lrs.event_log import EventLog
from lrs.guarded_log import GuardedLog
from lrs.http.app import Services
from lrs.http.call import Limits
from lrs.key_vault import KeyVault
from lrs.person_changes import PersonChanges
from lrs.places import blob_store, event_log, journal_of, key_rotation, open_vault, open_views, relay_position
from lrs.policy import load_policy
from lrs.privacy_desk import PrivacyDesk
from lrs.purposes import load_purposes
from lrs.reading import StatementReader
from lrs.receipts import ERASURE_CERTIFICATE
from lrs.recording import StatementRecorder
from lrs.restore_gate import RestoreGate, end_again
from lrs.retention import Retention
from lrs.tokens import TokenVerifier
from lrs.unused_activities import UnusedActivities
from lrs.view_process import ProcessPlace, ViewProcess
from lrs.views import build_anew

if TYPE_CHECKING:
    from lrs.log_guard import LogGuard


def view_process(settings: Settings, log: EventLog) -> ViewProcess | None:
    """Give the process that computes views beside a server, None where `griffel consume` does that."""
    if settings.mode is Mode.CLUSTER:
        return None
    return ViewProcess(ProcessPlace.of(settings), log)


@asynccontextmanager
async def guarding(settings: Settings, log: EventLog, vault: KeyVault) -> AsyncIterator[LogGuard | None]:
    """Guard the log of a cluster; in embedded mode there is nothing to compare it with, and Kafka is never loaded."""
    if not isinstance(log, GuardedLog):
        yield None
        return
    from lrs import cluster  # noqa: PLC0415

    async with cluster.guarding(settings, log, vault, restores=True) as guard:
        yield guard


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
        sign = partial(receipts.sign, vault.secrets.signing_key)
        policy, register = load_policy(settings.policy), load_purposes(settings.purposes)
        rotation = key_rotation(settings, vault)
        log = event_log(settings)
        await log.start()
        attachments = Attachments(blob_store(settings))
        tokens = TokenVerifier(settings.oidc_issuer, settings.oidc_audience) if settings.oidc_issuer else None
        catalogue = ActivityCatalogue(log, vault)
        try:
            await check_vault_fits(log, vault)
            async with (
                guarding(settings, log, vault) as guard,
                sweeping(attachments, log, guard),
                open_views(settings, vault, log) as views,
                AsyncExitStack() as stack,
            ):
                certifier = Certifier(lambda content: sign(content, ERASURE_CERTIFICATE), rotation.horizon)
                copied = relay_position(settings) if settings.kafka else None
                journal = journal_of(settings, vault)
                note = journal.note if journal is not None else None
                unused = UnusedActivities(log, vault, catalogue)
                eraser = Eraser(
                    log,
                    vault,
                    views.store,
                    attachments,
                    views.completions,
                    certifier,
                    unused,
                    copied=copied,
                    note=note,
                )
                destroyed_with = register.destroyed_with()
                retention = Retention(
                    log,
                    vault,
                    attachments,
                    register,
                    unused,
                    partial(build_anew, views.commands()),
                    copied=copied,
                    note=note,
                    every_h=settings.retention_hours,
                )
                people = PersonChanges(log, vault, destroyed_with=destroyed_with, note=note)
                if journal is not None:
                    await end_again(log, vault, destroyed_with, retention.take_up)
                    await RestoreGate(log, vault, journal, eraser, people).pass_through(await journal.open())
                desk = PrivacyDesk(eraser, people, rotation, policy, register, sign, released=retention.begin)
                stack.push_async_callback(desk.stop)
                stack.push_async_callback(retention.stop)
                yield Services(
                    log=log,
                    vault=vault,
                    desk=desk,
                    rotation=rotation,
                    retention=retention,
                    policy=policy,
                    purposes=register,
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
