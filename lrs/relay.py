"""The relay: copies the log to Kafka, in order, from where it was to where the log ends, for ever.

    take the lease        one relay works, others stand by
    read a page           after what was sent last
    send it               each event to the partition of its key, with the position before it there
    wait for the acks     of the oldest page; a few pages are on their way at once
    store the place       if it is still where we left it

Whatever goes wrong, everything is thrown away and begins again at the stored place: an event may be on Kafka twice, and
who reads skips what is not above what they have. The lease saves work; it is not what keeps the order. So a relay that
was paused and wakes beside another one can only repeat.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lrs.errors import Busy
from lrs.kafka_log import KafkaLog, Record
from lrs.relay_store import DatabaseAway, EventRow, Overtaken, RelayPlace, RelayStore
from schemas.records import RecordWriter
from schemas.topics import partition_of

PAGES_IN_FLIGHT_MAX = 4
IDLE_POLL_S = 0.02
"""Between two looks at a log that has nothing new."""
LEASE_POLL_S = 1.0
TOUCH_S = 3.0
"""A database that is asked nothing else is asked something so often, so that the lease stays."""
HEAD_S = 1.0
"""Between two head markers, while anything is sent."""
STATUS_S = 10.0
RETRY_WAIT_S = 0.2
RETRY_WAIT_MAX_S = 5.0
STOP_WAIT_S = 20.0
"""How long stopping waits for what is on its way."""

log = logging.getLogger("griffel.relay")


@dataclass(slots=True)
class RelayStatus:
    """How the relay is: `starting`, `standby` (another has the lease), `running`, `waiting` (something is away).

    waits_for says for what: `kafka` or `database`. position is acknowledged and stored, head is where the log ended at
    the last look; lag_s is how old the newest event is that was copied, while there are others to copy.
    """

    state: str = "starting"
    position: int = 0
    head: int = 0
    lag_s: float = 0.0
    rate: float = 0.0
    sent: int = 0
    failures: int = 0
    waits_for: str = ""

    @property
    def lag_events(self) -> int:
        """Give how many events are in the log and not yet on Kafka."""
        return max(0, self.head - self.position)


class Relay:
    """Copies one log. open_store and open_kafka connect, and raise Busy when that fails."""

    def __init__(
        self,
        open_store: Callable[[], RelayStore],
        open_kafka: Callable[[], KafkaLog],
        *,
        partitions: int,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._open_store = open_store
        self._open_kafka = open_kafka
        self._partitions = partitions
        self._clock_us = clock_us
        self._stop = threading.Event()
        self._touched_s = self._marked_s = self._told_s = 0.0
        self._told_position = -1
        self.status = RelayStatus()

    def stop(self) -> None:
        """Ask the relay to finish what is on its way and end. Any thread or signal may."""
        self._stop.set()

    def run(self) -> None:
        """Copy until `stop`. Raises Damaged and Misconfigured, which no repetition mends."""
        wait_s = RETRY_WAIT_S
        while not self._stop.is_set():
            sent = self.status.sent
            try:
                self._session()
            except Overtaken:
                log.info("another relay went ahead; looking again")
                self._stop.wait(RETRY_WAIT_S)
            except Busy as error:
                self.status.failures += 1
                if self.status.state != "waiting":
                    log.warning("the relay waits: %s", error.detail)
                self.status.state = "waiting"
                self.status.waits_for = "database" if isinstance(error, DatabaseAway) else "kafka"
                wait_s = RETRY_WAIT_S if self.status.sent > sent else min(2 * wait_s, RETRY_WAIT_MAX_S)
                self._stop.wait(wait_s)

    def _session(self) -> None:
        """Work until something fails or we are stopped."""
        store = self._open_store()
        try:
            if not self._wait_for_lease(store):
                return
            kafka = self._open_kafka()
            try:
                self._copy(store, kafka)
            finally:
                kafka.abandon()
        finally:
            store.close()

    def _wait_for_lease(self, store: RelayStore) -> bool:
        while not store.take_lease():
            if self.status.state != "standby":
                log.info("another relay has the lease; standing by")
            self.status.state = "standby"
            if self._stop.wait(LEASE_POLL_S):
                return False
        return True

    def _copy(self, store: RelayStore, kafka: KafkaLog) -> None:
        place = sent = store.place(self._partitions)
        writer = RecordWriter(place.incarnation)
        marked = 0
        stop_by_s = float("inf")
        self._touched_s = 0.0
        while True:
            now_s = time.monotonic()
            if self._stop.is_set():
                stop_by_s = min(stop_by_s, now_s + STOP_WAIT_S)
            rows: list[EventRow] = []
            if kafka.pages_in_flight < PAGES_IN_FLIGHT_MAX and not self._stop.is_set():
                rows = store.page(sent.position)
                if rows:
                    sent = self._send(kafka, writer, rows, sent)
            # Looked at between two pages; waited for where there is nothing else to do.
            marks = kafka.acknowledged(0.0 if rows else IDLE_POLL_S)
            reached = [one for one in marks if one is not None]
            if reached:
                store.move(place, reached[-1])
                self.status.sent += reached[-1].position - place.position
                place = reached[-1]
            self._look(store, place, now_s)
            last = self._stop.is_set() and place == sent
            if marked < place.position and (last or now_s - self._marked_s >= HEAD_S):
                self._mark(kafka, writer, place)
                marked, self._marked_s = place.position, now_s
            if (last and not kafka.pages_in_flight) or now_s > stop_by_s:
                return
            if not rows and not kafka.pages_in_flight:
                self._stop.wait(IDLE_POLL_S)

    def _send(self, kafka: KafkaLog, writer: RecordWriter, rows: Sequence[EventRow], after: RelayPlace) -> RelayPlace:
        """Put a page on its way; give the place that is reached once it is acknowledged."""
        prevs = list(after.prevs)
        records = []
        for position, originator_id, version, topic, record_key, stored_us, state in rows:
            partition = partition_of(record_key, self._partitions)
            headers = writer.headers(position, originator_id.bytes, version, topic, stored_us, prevs[partition])
            records.append(Record(partition, record_key, state, headers, stored_us // 1000))
            prevs[partition] = position
        reached = RelayPlace(after.incarnation, rows[-1][0], rows[-1][5], tuple(prevs))
        kafka.send(records, reached)
        return reached

    def _mark(self, kafka: KafkaLog, writer: RecordWriter, place: RelayPlace) -> None:
        """Say in every partition how far the log has been sent and acknowledged."""
        headers = writer.head_headers(place.position, place.stored_us)
        # The client refuses a record with neither key nor value, so the value is there and empty.
        kafka.send([Record(one, None, b"", headers, place.stored_us // 1000) for one in range(self._partitions)], None)

    def _look(self, store: RelayStore, place: RelayPlace, now_s: float) -> None:
        """Keep the status, and tell it now and then."""
        status = self.status
        status.position = place.position
        if status.state != "running":
            log.info("the relay runs")
            status.state = "running"
        if now_s - self._touched_s < TOUCH_S:
            return
        self._touched_s = now_s
        status.head = store.head()
        status.lag_s = max(0, self._clock_us() - place.stored_us) / 1e6 if status.lag_events and place.position else 0.0
        if now_s - self._told_s >= STATUS_S:
            moved = place.position - self._told_position
            if self._told_position >= 0 and moved:
                status.rate = moved / (now_s - self._told_s)
                told = "copied to position %d; %d events behind; %.0f/s"
                log.info(told, place.position, status.lag_events, status.rate)
            self._told_s, self._told_position = now_s, place.position
