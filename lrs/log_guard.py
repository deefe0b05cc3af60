"""The guard of a cluster's log: is this database behind what was once in it (decision 27)?

A database that was restored from an older backup, or taken over by a copy that lagged, has lost its newest events. They
are on Kafka. Whoever went on there would give their positions to other events, and every copy would contradict the log.
So the log is compared whenever a connection to its database is new, and nothing is taken or given before that:

    with Kafka itself     everything that it has since the relay's place must be in the log
    with the witness      up to where the relay was, which the vault keeps; alone when Kafka is silent

What is missing is read back from Kafka here, where Kafka is known. When Kafka was silent and the witness saw nothing
wrong, the log serves, and is compared again from there once Kafka answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from consumers.kafka_feed import KafkaSilent, read_since
from consumers.kafka_partition import FeedGap
from lrs.errors import GriffelError, LogBehind
from lrs.guarded_log import GuardedLog
from lrs.kafka_access import KafkaAccess
from lrs.log_place import LogEnd, LogPlace
from lrs.witness import Testimony
from schemas.records import EventRecord, HeadMarker

LOOK_S = 0.1
"""Between two looks at whether the writer is another one."""
FOLLOW_S = 1.0
"""Between two looks at the database: is it still the same connection, and how far is the relay?"""
AGAIN_S = 5.0
"""Between two comparisons while the log may not serve, or Kafka was silent."""

log = logging.getLogger("griffel.guard")


class Finding(Enum):
    """What a comparison came to. The value is its name for pages; `serves`: the log may be read and written."""

    UNKNOWN = "not-compared"
    WHOLE = "whole"
    UNPROVED = "not-proved"
    """Kafka is silent; the witness knows of nothing that the log lacks."""
    BEHIND = "behind"
    """Kafka has events that the log lacks."""
    AWAY = "behind-and-kafka-silent"
    """The witness knows of events that the log lacks; Kafka has not been asked."""
    LOST = "lost"
    """The witness knows of events that neither log nor Kafka has."""
    CATCHING_UP = "catching-up"
    OTHER = "other-log"
    FORKED = "forked"

    @property
    def serves(self) -> bool:
        return self in (Finding.WHOLE, Finding.UNPROVED)


TOLD = {
    Finding.BEHIND: "the log ends before what Kafka has: griffel restore --from-kafka brings it back",
    Finding.AWAY: "the log ends before what was on Kafka, which was not asked: griffel restore --from-kafka",
    Finding.LOST: "the log ends before what was once on Kafka, and Kafka has no more: put a newer backup in place, "
    "or accept the loss by griffel restore --from-kafka --accept-loss",
    Finding.CATCHING_UP: "the log ends before what its copy has; reading it back from Kafka",
    Finding.OTHER: "the topic on Kafka, or the vault, belongs to another log than this database",
    Finding.FORKED: "log and Kafka have different events in one position: two databases have both been written",
    Finding.UNPROVED: "Kafka does not answer; the log serves, as it has everything that the vault knows of",
    Finding.WHOLE: "the log has everything that its copy has",
}


class Witnessing(Protocol):
    """What is asked of the witness."""

    async def read(self) -> Testimony | None: ...
    async def follow(self, seen: Testimony) -> None: ...


class LogGuard:
    """Guards one log in one process. restore reads back what is missing, where this process may."""

    def __init__(
        self,
        log: GuardedLog,
        place: LogPlace,
        witness: Witnessing,
        kafka: KafkaAccess | None,
        restore: Callable[[], Awaitable[object]] | None = None,
        settle: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Take what has to be done before the log serves, each time that it was compared, as settle."""
        self._settle = settle
        self._log = log
        self._place = place
        self._witness = witness
        self._kafka = kafka
        self._restore = restore
        self._keeping: asyncio.Task[None] | None = None
        self._connections = 0
        self._compared_s = self._followed_s = -AGAIN_S
        self._anchor_us: int | None = None
        self._followed: Testimony | None = None
        self.finding = Finding.UNKNOWN
        self.opened = asyncio.Event()
        """Set once the log has served."""

    @property
    def open(self) -> bool:
        """Say whether the log may be read. It may be written where the writer is vouched for, too."""
        return self.finding.serves

    async def start(self) -> None:
        """Begin to compare; what comes of it is in `finding`."""
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Guard no more; the log stays as it is."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await asyncio.to_thread(self._place.close)

    def admit(self) -> None:
        """Raise LogBehind while nothing may be read or written."""
        if not self.open:
            raise LogBehind

    @property
    def told(self) -> str:
        """Give how it is in a sentence."""
        return TOLD.get(self.finding, "the log has not been compared with its copy yet")

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        failed = False
        while True:
            try:
                await self._look()
                failed = False
            except Exception as error:  # noqa: BLE001  whatever keeps it from being compared, it is tried again
                if not failed:
                    log.warning("the log could not be compared with its copy: %s", type(error).__name__)
                failed = True
                self._conclude(Finding.UNKNOWN)
                await asyncio.sleep(LOOK_S)
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        """Compare where something is new or nothing was settled; else follow the relay."""
        now_s = time.monotonic()
        is_due = now_s - self._compared_s >= AGAIN_S
        may_serve = self.open or self.finding is Finding.UNKNOWN
        if self._log.writer is not None and (
            (may_serve and not self._log.vouched) or (self.finding is not Finding.WHOLE and is_due)
        ):
            await self._compare()
        elif now_s - self._followed_s >= FOLLOW_S:
            self._followed_s = now_s
            await self._follow()

    async def _follow(self) -> None:
        """Look whether it is still the same database; move the witness on to where the relay is."""
        end = await asyncio.to_thread(self._place.look)
        if self._place.connections != self._connections:
            self._conclude(Finding.UNKNOWN)
        elif self.open and end.relayed is not None and end.relayed != self._followed:
            await self._witness.follow(end.relayed)
            self._followed = end.relayed

    def _conclude(self, finding: Finding, writer: object = None) -> None:
        if finding is not self.finding and finding in TOLD:
            log.log(logging.INFO if finding.serves else logging.ERROR, "%s", TOLD[finding])
        self.finding = finding
        self._log.vouch(writer if finding.serves else None)
        if finding.serves:
            self.opened.set()

    # ── one comparison ────────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self) -> None:
        """Compare, read back what is missing where this process may, and compare again."""
        writer = self._log.writer
        finding = await self._judge()
        if finding is Finding.BEHIND and self._restore is not None and await asyncio.to_thread(self._place.take_turn):
            self._conclude(Finding.CATCHING_UP)
            try:
                await self._restore()
            except GriffelError as error:
                log.error("the log could not be brought up to its copy: %s", error.detail)  # noqa: TRY400
            else:
                finding = await self._judge()
        if finding.serves and self._settle is not None:
            await self._settle()
        self._compared_s = time.monotonic()
        self._conclude(finding, writer)

    async def _judge(self) -> Finding:
        """Say how the log and what is known of it compare. Raises Busy when a database does not answer."""
        # The witness first: the log grows meanwhile, and what other servers then testify to may be newer than our look.
        known = await self._witness.read()
        # A new connection, made after the writer's: it sees what that one sees, or something newer.
        end = await asyncio.to_thread(self._place.look, anew=True)
        self._connections = self._place.connections
        if known is not None and known.incarnation != end.incarnation and end.position:
            return Finding.OTHER
        # Where the relay was, Kafka and this log were the same. While Kafka is silent, the relay goes on after that.
        since_us = end.relayed_us if self._anchor_us is None else min(self._anchor_us, end.relayed_us)
        finding = await self._ask_kafka(since_us, end, known)
        if finding.serves and known is not None and known.position > end.position:
            return Finding.LOST if finding is Finding.WHOLE and self._kafka is not None else Finding.AWAY
        if finding is Finding.UNPROVED:
            self._anchor_us = since_us
        elif finding is Finding.WHOLE:
            self._anchor_us = None
        return finding

    async def _ask_kafka(self, since_us: int, end: LogEnd, known: Testimony | None) -> Finding:
        if self._kafka is None:
            return Finding.WHOLE
        comparison = Comparison(self._place, end, known)
        try:
            await asyncio.to_thread(comparison.run, self._kafka, since_us)
        except KafkaSilent:
            return Finding.UNPROVED
        except FeedGap:
            return Finding.OTHER
        return comparison.finding


class Comparison:
    """Compares a log with what Kafka has since a moment. It blocks."""

    def __init__(self, place: LogPlace, end: LogEnd, known: Testimony | None) -> None:
        self._place = place
        self._end = end
        self._known = known
        self.finding = Finding.WHOLE

    def run(self, kafka: KafkaAccess, since_us: int) -> None:
        """Compare; the finding is WHOLE, BEHIND, OTHER or FORKED. Raises KafkaSilent, FeedGap and Busy."""
        read_since(kafka.brokers, kafka.security, since_us // 1000, self._seen)

    def _seen(self, records: list[EventRecord | HeadMarker]) -> bool:
        incarnations = {one.incarnation for one in records}
        if incarnations != {self._end.incarnation}:
            # An empty log takes on the name of the copy that the vault knows as its own.
            lost = not self._end.position and self._known is not None and incarnations == {self._known.incarnation}
            self.finding = Finding.BEHIND if lost else Finding.OTHER
            return False
        newest = max(one.position if isinstance(one, EventRecord) else one.through for one in records)
        if newest > self._end.position:
            self._end = self._place.look()  # the log may have grown meanwhile
        if newest > self._end.position:
            self.finding = Finding.BEHIND
        elif self._place.differs([one for one in records if isinstance(one, EventRecord)]):
            self.finding = Finding.FORKED
        return self.finding is Finding.WHOLE
