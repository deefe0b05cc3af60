"""What the event log owes a server: append, find, read and wait, over a writer that may be slow, stopped or dead."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from consumers.feed import EventFeed, FeedEvent
from lrs import event_log, writer_process
from lrs.appending import AppendRequest
from lrs.changed import Changed
from lrs.document_writing import DocumentPut, DocumentRequest, DocumentsChanged
from lrs.errors import Busy, QueueFull, WriterGone
from lrs.event_log import Event, EventLog
from lrs.log_reader import StatementQuery
from lrs.postgres_reader import PostgresReader

from .log_places import EVERYTHING, STATE, LogPlace, appended, event, name, request, statement

BOUND_S = 30


@asynccontextmanager
async def running(log: EventLog) -> AsyncIterator[EventLog]:
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture
async def log(place: LogPlace) -> AsyncIterator[EventLog]:
    """A started log on each database."""
    async with running(place.log()) as started:
        yield started


def writer_pids() -> list[int]:
    """The writers that this process has started and that are alive."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    return [
        int(pid)
        for pid, parent, state, command in rows
        if int(parent) == os.getpid() and "lrs.writer" in command and not state.startswith("Z")
    ]


def writer_pid() -> int:
    [pid] = writer_pids()
    return pid


@contextmanager
def held_writer() -> Iterator[int]:
    """The one writer does nothing meanwhile, as on a disk that hangs."""
    pid = writer_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens in other processes too
            await asyncio.sleep(0.01)


async def repeated(log: EventLog, asked: AppendRequest) -> Any:
    """Append as a client does that repeats what a restart of the writer interrupted."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                return await log.append(asked)
            except WriterGone:
                await asyncio.sleep(0.02)


async def everything(log: EventLog) -> list[Event]:
    return await log.read(0, 1_000_000)


# --------------------------------------------------------------------------------------------------- append, find, read


async def test_what_was_appended_is_read_back_as_it_was(log: EventLog) -> None:
    outcome = appended(await log.append(request(event(name("a")), event(name("a"), 2), event(name("b")))))
    first, second, third = await everything(log)
    assert first == Event(1, name("a"), 1, "something_happened", name("a"), outcome.stored_us[0], STATE)
    assert (second.position, second.version, third.originator_id) == (2, 2, name("b"))
    assert [one.stored_us for one in (first, second, third)] == list(outcome.stored_us)


async def test_events_are_read_in_pieces_without_a_gap(log: EventLog) -> None:
    await log.append(request(*[event(name(f"{number}")) for number in range(10)]))
    read: list[Event] = []
    while piece := await log.read(read[-1].position if read else 0, 3):
        assert len(piece) <= 3
        read += piece
    assert [one.position for one in read] == list(range(1, 11))


async def test_a_statement_is_found_by_id_by_position_and_by_stream(log: EventLog) -> None:
    done = appended(await log.append(request(statement("a", 1), statement("b", 1), event(name("b"), 2))))
    row = (2, name("b"), done.stored_us[1], STATE)
    assert await log.find_statements([name("b"), name("nobody's")]) == [(*row, False)]
    assert await log.statements_at([2, 99]) == {2: row}
    assert await log.newest_of_streams([name("b"), name("nobody's")]) == {name("b"): (2, STATE)}
    assert await log.find_statements([]) == []


async def test_the_position_stored_by_a_time_is_the_newest_at_or_before_it(log: EventLog) -> None:
    done = appended(await log.append(request(event(name("a")), event(name("b")))))
    first, second = done.stored_us
    asked = [first - 1, first, second, second + 60_000_000]
    assert [await log.position_stored_by(one) for one in asked] == [0, 1, 2, 2]


async def test_a_known_stream_is_handed_back_and_the_same_request_elsewhere_goes_in(log: EventLog) -> None:
    await log.append(request(event(name("a"))))
    outcomes = await asyncio.gather(*[log.append(request(event(name(one)), event(name(one), 2))) for one in "abc"])
    assert outcomes[0] == Changed((0,), ())
    assert sorted(appended(one).position for one in outcomes[1:]) == [2, 4]


async def test_a_document_is_written_through_the_same_writer(log: EventLog) -> None:
    put = DocumentPut(name("d"), name("scope"), None, name("ann"), 0, b"sealed")
    done = await log.write_documents(DocumentRequest((put,)))
    assert isinstance(done, DocumentsChanged)
    [(owner, revision, updated_us, sealed)] = await log.document_rows("document", name("d"))
    assert (owner, updated_us, sealed) == (name("ann"), done.updated_us, b"sealed")
    assert revision > 0
    assert await log.write_documents(DocumentRequest((put,))) == Changed((0,), ())


async def test_a_log_is_a_feed_of_events(log: EventLog) -> None:
    feed: EventFeed = log
    await log.append(request(event(name("a"))))
    [one] = await feed.read(0, 10)
    promised = [key for key, value in vars(FeedEvent).items() if isinstance(value, property)]
    assert sorted(promised) == sorted(Event._fields)
    assert {key: getattr(one, key) for key in promised} == one._asdict()


# ----------------------------------------------------------------------------------------------------------------- wait


async def test_waiting_ends_at_once_when_there_is_something(log: EventLog) -> None:
    await log.append(request(event(name("a"))))
    assert await log.wait(0, 0) is True
    assert await log.wait(1, 0) is False


async def test_waiting_ends_when_something_is_appended(log: EventLog) -> None:
    waiting = [asyncio.create_task(log.wait(after, BOUND_S)) for after in (0, 0, 1)]
    await log.append(request(event(name("a"))))
    assert await waiting[0] is True
    assert await waiting[1] is True
    await log.append(request(event(name("b"))))
    assert await waiting[2] is True


async def test_waiting_for_nothing_ends_in_time(log: EventLog) -> None:
    started = time.monotonic()
    assert await log.wait(0, 0.3) is False
    assert 0.3 <= time.monotonic() - started < 5


async def test_waiting_ends_when_another_process_appends(place: LogPlace, log: EventLog) -> None:
    waiting = asyncio.create_task(log.wait(0, BOUND_S))
    async with running(place.log()) as other:
        await other.append(request(event(name("a"))))
    assert await waiting is True
    assert [one.originator_id for one in await everything(log)] == [name("a")]


# -------------------------------------------------------------------------------------------------------- bounded queue


async def test_a_full_queue_refuses_and_does_nothing(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_process, "QUEUE_EVENTS_MAX", 10)
    with held_writer():
        waiting = [asyncio.create_task(log.append(request(*events_of(number, 5)))) for number in range(2)]
        await until(lambda: log.queued_events == 10)
        with pytest.raises(QueueFull):
            await log.append(request(event(name("too many"))))
    for task in waiting:
        appended(await task)
    assert log.queued_events == 0
    appended(await log.append(request(event(name("later")))))
    assert len(await log.find_statements([name("too many")])) == 0
    assert len(await everything(log)) == 11


async def test_the_queue_is_bounded_in_bytes_too(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_process, "QUEUE_BYTES_MAX", 1_000)
    with held_writer():
        large = asyncio.create_task(log.append(request(*events_of(1, 20))))  # a lone request may be as large as it is
        await until(lambda: log.queued_events == 20)
        with pytest.raises(QueueFull):
            await log.append(request(event(name("one more"))))
    assert len(appended(await large).stored_us) == 20


async def test_a_caller_that_goes_away_leaves_its_request_to_the_writer(log: EventLog) -> None:
    with held_writer():
        task = asyncio.create_task(log.append(request(event(name("a")))))
        await until(lambda: log.queued_events == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    appended(await log.append(request(event(name("b")))))
    assert log.queued_events == 0
    assert [one.originator_id for one in await everything(log)] == [name("a"), name("b")]


# --------------------------------------------------------------------------------------------------------- writer death


async def test_a_dead_writer_is_told_to_all_who_wait_and_started_again(log: EventLog) -> None:
    first = request(event(name("before")))
    appended(await log.append(first))
    asked = [request(*events_of(number, 3)) for number in range(5)]
    with held_writer() as pid:
        waiting = [asyncio.create_task(log.append(one)) for one in asked]
        await until(lambda: log.queued_events == 15)
        os.kill(pid, signal.SIGKILL)
        for task in waiting:
            with pytest.raises(WriterGone):
                await task
    assert WriterGone.retry_helps
    for one in asked:
        await repeated(log, one)
    assert writer_pid() != pid
    assert await repeated(log, first) == Changed((0,), ())
    streams = [one.originator_id for one in await everything(log)]
    assert len(streams) == len(set(streams)) == 16


async def test_nothing_answered_is_lost_and_nothing_is_there_twice_however_often_the_writer_dies(log: EventLog) -> None:
    done: list[bytes] = []
    stopping = asyncio.Event()
    numbers = itertools.count()

    async def client() -> None:
        while not stopping.is_set():
            asked = request(*events_of(next(numbers), 2))
            outcome = await repeated(log, asked)
            assert not isinstance(outcome, Changed) or outcome.known == (0, 1)
            done.extend(one.originator_id for one in asked.events)

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for _ in range(3):
        goal = len(done) + 40
        await until(lambda: len(done) > goal)  # noqa: B023
        killed = writer_pid()
        os.kill(killed, signal.SIGKILL)
        await until(lambda: log.writable and writer_pids() not in ([], [killed]))  # noqa: B023
    stopping.set()
    await asyncio.gather(*clients)
    read = await everything(log)
    assert [one.position for one in read] == list(range(1, len(read) + 1))
    assert sorted(one.originator_id for one in read) == sorted(done)


async def test_reading_goes_on_while_there_is_no_writer(log: EventLog) -> None:
    appended(await log.append(request(statement("a", 1))))
    with held_writer() as pid:
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not log.writable)
        found, head = await log.positions(StatementQuery((), 0, EVERYTHING, False, 10))
    assert (found, head.position) == ([(1, True)], 1)
    await until(lambda: log.writable)


async def test_a_log_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    for path in (tmp_path / "file" / "log.db", tmp_path / "log.db"):
        with pytest.raises(WriterGone):
            await LogPlace("sqlite", str(path)).log().start()


async def test_a_database_that_does_not_answer_is_said_at_the_start() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    with pytest.raises(WriterGone):
        await EventLog(nowhere, lambda: PostgresReader(nowhere)).start()


async def test_stopping_lets_what_is_queued_be_written(place: LogPlace) -> None:
    log = place.log()
    await log.start()
    with held_writer():
        waiting = [asyncio.create_task(log.append(request(*events_of(number, 4)))) for number in range(3)]
        await until(lambda: log.queued_events == 12)
        stopping = asyncio.create_task(log.stop())
    await stopping
    for task in waiting:
        appended(await task)
    assert place.sql("SELECT count(*) FROM events") == [(12,)]


async def test_a_stopped_log_refuses(place: LogPlace) -> None:
    log = place.log()
    async with running(log):
        assert len(writer_pids()) == 1
    with pytest.raises(WriterGone):
        await log.append(request(event(name("a"))))
    assert not log.writable
    assert writer_pids() == []


async def test_stopping_while_the_writer_is_started_again_leaves_no_process(place: LogPlace) -> None:
    async with running(place.log()) as log:
        os.kill(writer_pid(), signal.SIGKILL)
        await until(lambda: not log.writable and writer_pids())
    left = writer_pids()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


async def test_a_group_that_fails_is_busy_and_leaves_the_log_as_it_was(place: LogPlace, log: EventLog) -> None:
    place.sql("ALTER TABLE voiding RENAME TO voiding_elsewhere")
    with pytest.raises(Busy) as refused:
        await log.append(request(statement("a", 1)))
    assert not isinstance(refused.value, WriterGone)
    place.sql("ALTER TABLE voiding_elsewhere RENAME TO voiding")
    assert appended(await log.append(request(statement("a", 1)))).position == 1


# ------------------------------------------------------------------------------------------------------------ watermark


async def test_no_watermark_is_ever_contradicted(place: LogPlace, log: EventLog) -> None:
    """Whatever a watermark covers was there when it was said: nothing stored at or before it comes later."""
    async with running(place.log() if place.many_writers else log) if place.many_writers else nothing(log) as other:
        stopping = asyncio.Event()
        promises: list[tuple[int, set[int]]] = []

        async def append(writer: EventLog, who: int) -> None:
            for number in itertools.count():
                if stopping.is_set():
                    return
                appended(await writer.append(request(statement(f"{who}-{number}", 1), event(name(f"{who}+{number}")))))

        async def poll(reader: EventLog) -> None:
            while not stopping.is_set():
                watermark_us = await reader.watermark()
                seen = await everything(reader)
                promises.append((watermark_us, {one.position for one in seen if one.stored_us <= watermark_us}))
                _, head = await reader.positions(StatementQuery((), 0, EVERYTHING, False, 1))
                seen = await everything(reader)
                promises.append((head.stored_us, {one.position for one in seen if one.stored_us <= head.stored_us}))

        writers = [asyncio.create_task(append(one, who)) for who, one in enumerate([log, other, log, other])]
        pollers = [asyncio.create_task(poll(one)) for one in (log, other)]
        await until(lambda: len(promises) > 60)
        stopping.set()
        await asyncio.gather(*writers, *pollers)
        final = {one.position: one.stored_us for one in await everything(log)}
    for watermark_us, seen in promises:
        assert {position for position, stored_us in final.items() if stored_us <= watermark_us} == seen


@asynccontextmanager
async def nothing(log: EventLog) -> AsyncIterator[EventLog]:
    yield log


async def test_a_quiet_logs_watermark_is_moved_on(place: LogPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "ADVANCE_AGAIN_S", 0)
    async with running(place.log(clock_us=lambda: time.time_ns() // 1000 + 5_000_000)) as log:  # always finds it old
        done = appended(await log.append(request(event(name("a")))))
        first = await log.watermark()
        second = await log.watermark()
        assert done.head_us < first < second
        assert appended(await log.append(request(event(name("b"))))).stored_us[0] > second


async def test_a_database_whose_clock_is_behind_is_not_asked_to_move_on_by_every_reader(place: LogPlace) -> None:
    async with running(place.log(clock_us=lambda: time.time_ns() // 1000 + 5_000_000)) as log:
        appended(await log.append(request(event(name("a")))))
        first = await log.watermark()
        assert [await log.watermark() for _ in range(5)] == [first] * 5


async def test_watermarks_never_go_back_after_a_restart_with_a_clock_that_stepped_back(place: LogPlace) -> None:
    async with running(place.log()) as log:
        appended(await log.append(request(event(name("a")))))
        ahead = await log.watermark() + 3_600_000_000
    place.sql("UPDATE log_head SET stored_us = ?", ahead)  # said before the clock was set an hour back
    async with running(place.log()) as log:
        assert await log.watermark() == ahead
        assert appended(await log.append(request(event(name("b"))))).stored_us[0] > ahead
        assert await log.watermark() > ahead


async def test_without_a_writer_the_watermark_is_old_and_true(log: EventLog) -> None:
    done = appended(await log.append(request(event(name("a")))))
    with held_writer() as pid:
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not log.writable)
        log._clock_us = lambda: done.head_us + 60_000_000
        assert await log.watermark() == done.head_us
    await until(lambda: log.writable)


def events_of(number: int, size: int) -> list[Any]:
    return [event(name(f"{number}/{one}")) for one in range(size)]
