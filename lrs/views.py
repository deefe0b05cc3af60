"""The views of this installation: where they lie, who computes them, who reads them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from consumers.completion_stream import NAME as STREAM
from consumers.completion_stream import CompletionStream, Sequencer
from consumers.consumer import Consumer, LogFeed, rebuild
from consumers.dead_letters import drop, event_of, redrive
from consumers.feed import FeedEvent
from lrs.completions import Completions
from lrs.errors import Busy, Conflict, Misconfigured, NotFound
from lrs.event_log import EventLog
from lrs.hiding import hidden_from
from lrs.index_builder import IndexBuilder
from projections.course_report import CourseReport, CourseSummary
from projections.courses import CourseReader
from projections.progress import NAME as PROGRESS
from projections.progress import Progress
from projections.projection import Opener, Projection
from projections.readings import COMPLETIONS, READINGS, source_of
from projections.statement_index import NAME as INDEX
from projections.view_store import SERVING, Behind, DeadLetter, Overtaken, StoreBusy, ViewStore
from schemas.envelope import Purpose

CONSUMER_THREADS_MAX = 2
LOG_WAIT_S = 10.0
"""How long a redriven dead letter waits to be told whether its statement has been voided."""
OVERTAKEN_TRIES_MAX = 20
"""How often redriving begins again because the view moves on meanwhile."""

REBUILD_POLL_S = 0.2
PROJECTIONS: tuple[Projection, ...] = (Progress(),)
"""Every projection that a consumer computes; `enrolments` and `completions` are readings of `progress`.

`statement_index` is computed in the append's own transaction."""
WITH_VIEW: dict[str, tuple[str, ...]] = {COMPLETIONS: (STREAM,)}
"""What is computed together with a view: whoever computes completions tells institutions of them."""

log = logging.getLogger("griffel.views")
T = TypeVar("T")


def projection_named(name: str) -> Projection:
    """Give the projection in which the view of this name lies. Raises NotFound."""
    for one in PROJECTIONS:
        if one.name == source_of(name):
            return one
    names = ", ".join([*(one.name for one in PROJECTIONS), *READINGS, INDEX])
    raise NotFound(f"there is no view {name}; there are: {names}")


def consumers_of(names: Iterable[str]) -> list[str]:
    """Give the consumers that compute views of these names. Raises NotFound, and Misconfigured where none is needed."""
    found = [one for name in names if name != INDEX for one in (source_of(name), *WITH_VIEW.get(name, ()))]
    if not found:
        raise Misconfigured(f"the view {INDEX} is written with each statement, so it needs no consumer")
    for one in found:
        if one != STREAM:
            projection_named(one)
    return list(dict.fromkeys(found))


class Courses:
    """projections.courses.CourseReader with this program's errors."""

    def __init__(self, store: ViewStore, opener: Opener, log: EventLog) -> None:
        self._reader = CourseReader(store, opener, log.head)
        self._log = log

    async def courses(self, purpose: Purpose = Purpose.LEARNING) -> list[CourseSummary]:
        """Give every course as a reader with this purpose sees it. Raises Busy."""
        return await _busy(self._reader.courses(await hidden_from(self._log, purpose)))

    async def course(self, course_id: str, purpose: Purpose = Purpose.LEARNING) -> CourseReport | None:
        """Give a course by its id (32 hex digits), as a reader with this purpose sees it. Raises Busy.

        None where there is none, or where everybody in it is hidden.
        """
        return await _busy(self._reader.course(course_id, await hidden_from(self._log, purpose)))

    async def data_through_us(self) -> int:
        """Give the time (µs) up to which everything stored is in the answers; 0 before anything is. Raises Busy."""
        return await _busy(self._reader.data_through_us())

    async def wait(self, after_us: int, timeout_s: float) -> int:
        """Wait until events newer than `after_us` have been applied; give how far the views are. Raises Busy."""
        return await _busy(self._reader.wait(after_us, timeout_s))


async def build_anew(commands: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]]) -> None:
    """Build every view but the index anew, by the commands of `Views`, and wait for it. Raises Busy, Conflict."""
    for projection in PROJECTIONS:
        status = await commands["views/rebuild"]({"name": projection.name})
        while not status["done"]:
            await asyncio.sleep(REBUILD_POLL_S)
            status = await commands["views/rebuild-status"]({"name": projection.name})
        if status["error"]:
            raise Busy(f"a view could not be built anew ({status['error']}); the old one serves")


async def _busy(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except StoreBusy as error:
        raise Busy("the views do not answer; try again") from error


class Views:
    """The views with all that moves them.

    partitioning finds out in which partition an event is, where views follow Kafka; None: they follow the log.
    """

    def __init__(
        self,
        store: ViewStore,
        opener: Opener,
        log: EventLog,
        completions: Completions,
        index: IndexBuilder,
        *,
        partitioning: Callable[[], Callable[[FeedEvent], int]] | None = None,
        projections: Sequence[Projection] = PROJECTIONS,
    ) -> None:
        self.store = store
        self.opener = opener
        self.courses = Courses(store, opener, log)
        self.completions = completions
        self._index = index
        self.consumers: list[Consumer] = []
        self._log = log
        self._partitioning = partitioning
        self._projections = projections
        self._threads = ThreadPoolExecutor(CONSUMER_THREADS_MAX, thread_name_prefix="views")
        self._rebuilding: dict[str, asyncio.Task[None]] = {}
        self._rebuilt_to: dict[str, int] = {}

    def follow_log(self) -> None:
        """Begin to compute every view from the log itself, in this process (embedded)."""
        for projection in self._projections:
            consumer = self.consumer(projection)
            consumer.start(0, LogFeed(self._log))
        self.sequencer().start(0, LogFeed(self._log))

    def consumer(self, projection: Projection) -> Consumer:
        """Make a consumer in this process; its partitions are the caller's to give."""
        made = Consumer(projection, self.store, self.opener, self._threads)
        self.consumers.append(made)
        return made

    def consumer_named(self, name: str) -> Consumer:
        """Make the consumer of this name. Raises NotFound."""
        return self.sequencer() if name == STREAM else self.consumer(projection_named(name))

    def sequencer(self) -> Sequencer:
        """Make the consumer that numbers completions, in this process; its partitions are the caller's to give."""
        made = self._sequencer()
        self.consumers.append(made)
        return made

    def _sequencer(self) -> Sequencer:
        return Sequencer(self.completions, self.store, self.opener, self._threads)

    async def stop(self) -> None:
        """Stop what moves the views, let batches under way finish, and close the store."""
        for task in self._rebuilding.values():
            task.cancel()
        await asyncio.gather(*self._rebuilding.values(), return_exceptions=True)
        await asyncio.gather(*[one.close() for one in self.consumers])
        await asyncio.to_thread(self._threads.shutdown)
        self.store.close()

    # ── building anew ─────────────────────────────────────────────────────────────────────────────────────────────

    async def rebuild(self, name: str, tell: Callable[[int], None]) -> None:
        """Build a view anew beside the one that serves and let it serve. Raises NotFound, Conflict, Busy."""
        if name == INDEX:
            await self._index.rebuild(tell)
            return
        projection = projection_named(name)
        partition_of = await asyncio.to_thread(self._partitioning) if self._partitioning is not None else None
        try:
            await rebuild(
                projection,
                self.store,
                self.opener,
                self._log,
                self._threads,
                partition_of=partition_of,
                tell=tell,
            )
        except Overtaken as error:
            raise Conflict("another rebuild of this view began meanwhile; this one was given up") from error
        except (StoreBusy, Behind) as error:
            raise Busy("the views do not answer; the one that served goes on serving") from error

    async def builder(self, name: str) -> Consumer:
        """Begin a generation and make the consumer that builds it. Raises NotFound, Conflict, Busy."""
        projection = projection_named(name)
        generation = await _busy(asyncio.to_thread(self.store.begin, projection))
        made = Consumer(projection, self.store, self.opener, self._threads, generation)
        if generation.state == SERVING:
            raise Conflict("this view has never been computed; its consumers do that, from the beginning")
        self.consumers.append(made)
        return made

    async def has(self, consumer: Consumer) -> bool:
        """Say whether the generation that a consumer builds is still there. Raises Busy."""
        known = await _busy(asyncio.to_thread(self.store.generations, consumer.projection.name))
        return any(one.number == consumer.generation.number for one in known if consumer.generation is not None)

    def begin_rebuild(self, name: str) -> None:
        """Begin to build a view anew, in the background. Raises NotFound, and Conflict while one is under way."""
        if name != INDEX:
            projection_named(name)
        under_way = self._rebuilding.get(name)
        if under_way is not None and not under_way.done():
            raise Conflict(f"the view {name} is being built anew already")
        self._rebuilt_to[name] = 0

        def tell(position: int) -> None:
            self._rebuilt_to[name] = position

        self._rebuilding[name] = asyncio.create_task(self.rebuild(name, tell))

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        """Give what the command line may ask of the server that has the views."""

        async def begin(asked: dict[str, Any]) -> dict[str, Any]:
            self.begin_rebuild(asked["name"])
            return await self.rebuild_status(asked["name"])

        async def status(asked: dict[str, Any]) -> dict[str, Any]:
            return await self.rebuild_status(asked["name"])

        async def again(asked: dict[str, Any]) -> list[dict[str, Any]]:
            return await self.redrive(asked["numbers"])

        return {"views/rebuild": begin, "views/rebuild-status": status, "dead-letters/redrive": again}

    async def rebuild_status(self, name: str) -> dict[str, Any]:
        """Say how far a rebuild is: position, of how many (head), done, and the error it ended with ('' for none)."""
        task = self._rebuilding.get(name)
        if task is None:
            raise NotFound(f"the view {name} is not being built anew")
        failed = task.exception() if task.done() and not task.cancelled() else None
        return {
            "position": self._rebuilt_to[name],
            "head": (await self._log.head()).position,
            "done": task.done(),
            "error": "" if failed is None else type(failed).__name__,
        }

    # ── dead letters ──────────────────────────────────────────────────────────────────────────────────────────────

    async def redrive(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Apply dead letters once more, of all when none is named; give for each its number and error ('' for none).

        Raises NotFound when a number is none.
        """
        loop = asyncio.get_running_loop()
        letters = await loop.run_in_executor(self._threads, self.store.dead_letters)
        missing = set(numbers) - {letter.number for letter in letters}
        if missing:
            raise NotFound(f"there is no dead letter {min(missing)}")
        chosen = [letter for letter in letters if not numbers or letter.number in numbers]
        # What follows from a view comes after the view.
        chosen.sort(key=lambda letter: (letter.name == STREAM, letter.number))
        errors = {letter.number: await self._redrive(letter) for letter in chosen}
        return [{"number": number, "error": error} for number, error in sorted(errors.items())]

    async def _redrive(self, letter: DeadLetter) -> str:
        if letter.name == STREAM:
            return await self._compare_again(letter)
        error = await self._apply_again(letter)
        if letter.name == PROGRESS and not error:
            mine = await asyncio.to_thread(self.store.dead_letters, STREAM)
            for one in mine:
                if one.position == letter.position:
                    error = error or await self._compare_again(one)
        return error

    async def _compare_again(self, letter: DeadLetter) -> str:
        """Have the completion stream look at a dead letter's event once more; say what that failed with."""
        generation = await asyncio.to_thread(self.store.target, CompletionStream())
        try:
            if any(
                one.position == letter.position for one in await asyncio.to_thread(self.store.dead_letters, PROGRESS)
            ):
                return "ViewFirst"
            await self._sequencer().compare_again(letter.partition, event_of(letter))
            for _ in range(OVERTAKEN_TRIES_MAX):
                with contextlib.suppress(Overtaken):
                    await asyncio.to_thread(drop, letter, generation, self.store)
                    return ""
        except Exception as error:  # noqa: BLE001  the letter stays, and whoever asked is told why
            return type(error).__name__
        return Overtaken.__name__

    async def _apply_again(self, letter: DeadLetter) -> str:
        loop = asyncio.get_running_loop()

        def voided(originator_id: bytes) -> bool:
            asked = asyncio.run_coroutine_threadsafe(self._log.find_statements([originator_id]), loop)
            return any(row[-1] for row in asked.result(LOG_WAIT_S))

        projection = projection_named(letter.name)

        def work() -> None:
            then = None
            if letter.name == PROGRESS:
                # Kept until the stream has looked at it, whatever happens between.
                stream = self.store.target(CompletionStream())
                then = letter._replace(name=STREAM, generation=stream.number)
            for generation in self.store.generations(letter.name):
                if generation.number == letter.generation:
                    redrive(letter, generation, projection, self.store, self.opener, voided=voided, then=then)

        for _ in range(OVERTAKEN_TRIES_MAX):
            try:
                await loop.run_in_executor(self._threads, work)
            except Overtaken:
                # The view was moved on between the look and the transaction.
                continue
            except Exception as error:  # noqa: BLE001  the letter stays, and whoever asked is told why
                return type(error).__name__
            else:
                return ""
        return Overtaken.__name__
