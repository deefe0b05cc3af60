"""The lease under which a process keeps keys in memory, and how it says that it has dropped those that were destroyed.

Each second a counter is read that every destruction, in whichever process, moves. When it moved, what was destroyed is
dropped; when it cannot be read for LEASE_S, everything is, and nothing is sealed or opened until it can.

Who destroys keys wants to know when nobody has them any more. Every process that keeps keys is a row in the vault,
with the count up to which it has dropped them and has sent every answer that it had begun before. A process that does
not say so in time, because it was killed or stands still, has lost its lease by then; its row is deleted.

The order holds this together. A row stands before a lease begins, so that nobody keeps keys unseen; and a lease that
was lost begins with nothing in memory.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from lrs.keys import changed_since
from lrs.vault_store import VaultStore
from schemas.envelope import OWNER_BYTES

LEASE_S = 5.0
RENEW_S = 1.0
LEASE_MARGIN_S = 0.5
"""Added to what is waited for: how long a process may take from one look to the next, beside the time between them."""

T = TypeVar("T")
Drop = Callable[[Iterable[bytes] | None], None]
"""Forgets what is in memory of some people, of everybody where none are named."""


class WithStore(Protocol):
    """Does some work on the vault's tables in the vault's thread."""

    def __call__(self, work: Callable[[VaultStore], T]) -> Awaitable[T]:
        """Do it. Raises Busy."""
        ...


class Look(NamedTuple):
    """What the vault said: when it was asked (monotonic), the count of changes, and whose keys changed since."""

    asked: float
    changes: int
    changed: list[bytes] | None


@dataclass(slots=True)
class Answering:
    """An answer that was begun: since when the lease was held, and at which count of changes."""

    since: float
    changes: int
    ended: bool = False


class KeyLease:
    """The lease of one process. follow is told the newest epoch at each look, in the vault's thread."""

    def __init__(self, drop: Drop, follow: Callable[[int], None]) -> None:
        self._drop = drop
        self._follow = follow
        self._holder = os.urandom(OWNER_BYTES)
        self._changes = -1
        self._said = -1
        self._until = 0.0
        self._since = 0.0
        self._answering: Counter[int] = Counter()

    @property
    def holds(self) -> bool:
        """Say whether the lease holds: without it nothing is sealed or opened."""
        return time.monotonic() < self._until

    # ── renewing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, store: VaultStore) -> None:
        """Take the lease for the first time, in the vault's thread, before anything is in memory."""
        self._say(store, self._renew(self._look(store)))

    async def keep_renewing(self, with_store: WithStore) -> None:
        """Renew the lease for ever; with_store does some work on the vault's tables in the vault's thread."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                dropped = self._renew(await with_store(self._look))
                if self._said != self._changes:
                    # Again and again while an answer is under way: its row may be gone by now.
                    await with_store(partial(self._say, dropped=dropped))
            except Exception:  # noqa: BLE001, S112  whatever kept the vault from answering, it is asked again
                # The lease runs out by itself when the vault stays away; that is what it is for.
                continue

    def _look(self, store: VaultStore) -> Look:
        """Ask the vault, in its thread. A lease that was lost is made known again first."""
        asked = time.monotonic()
        is_lost = asked >= self._until
        if is_lost:
            self._say(store, self._said)
        changes, epoch = store.rows("changes")[0]
        self._follow(epoch)
        return Look(asked, changes, None if is_lost else changed_since(store, self._changes, changes))

    def _renew(self, look: Look) -> int:
        """Drop what was destroyed and go on, on the event loop, after every read that the vault's thread did before.

        Give the count up to which everything is dropped.
        """
        is_lost = look.asked >= self._until
        if is_lost or look.changes != self._changes:
            self._drop(None if is_lost else look.changed)
            self._changes = look.changes
        if is_lost:
            self._since = time.monotonic()
        self._until = look.asked + LEASE_S
        # What an answer was begun with is not dropped before it is sent.
        return min((*self._answering, self._changes))

    def _say(self, store: VaultStore, dropped: int) -> None:
        """Tell the vault, in its thread, up to which count this process has dropped everything."""
        # Where it cannot be written, because the disk is full, nothing can be destroyed either; it is said again later.
        with suppress(Exception):
            store.run("hold", self._holder, dropped)
            self._said = dropped

    def end(self, store: VaultStore) -> None:
        """Tell the vault, in its thread, that this process keeps nothing any more."""
        with suppress(Exception):
            store.run("let_go", self._holder)

    def keep(self, store: VaultStore) -> None:
        """Renew from the vault's thread, within a transaction that keeps out whoever ends keys.

        For work that keeps that thread longer than a lease: nothing can change meanwhile, unless it had before.
        """
        asked = time.monotonic()
        if asked < self._until and store.rows("changes")[0][0] == self._changes:
            self._until = asked + LEASE_S

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_answer(self) -> Answering:
        """Note that an answer is begun: what was destroyed meanwhile counts as dropped once it has ended."""
        answering = Answering(self._since if self.holds else time.monotonic(), self._changes)
        self._answering[answering.changes] += 1
        return answering

    def end_answer(self, answering: Answering) -> None:
        """Note that an answer was sent, or will not be; a second time does nothing."""
        if answering.ended:
            return
        answering.ended = True
        self._answering[answering.changes] -= 1
        if not self._answering[answering.changes]:
            del self._answering[answering.changes]

    def covers(self, answering: Answering) -> bool:
        """Say whether the lease was held without a gap since an answer was begun."""
        return self.holds and self._since <= answering.since


class Dropped:
    """Says when no process keeps what was destroyed any more; made right after that was done.

    changes is the vault's count then.
    """

    def __init__(self, changes: int) -> None:
        self._changes = changes
        self._began = time.monotonic()

    def look(self, store: VaultStore) -> bool:
        """Say whether it is so, in the vault's thread. Raises Busy."""
        waited = time.monotonic() - self._began
        if waited >= LEASE_S + LEASE_MARGIN_S:
            store.run("forget_holders_before", self._changes)
            return True
        # Whoever was forgotten although it runs is known again after its next look.
        return waited >= RENEW_S + LEASE_MARGIN_S and not store.rows("holders_before", self._changes)
