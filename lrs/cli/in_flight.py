"""Several pieces of work at once, their outcomes in the order in which the work was given."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], in_flight_max: int
) -> AsyncIterator[tuple[T, R]]:
    """Do the work for each item, at most so many at once, and yield (item, outcome) in the items' order.

    What was yielded is done, and so is everything before it: the place to go on from after a stop. The first failure
    ends it; what is then still under way is cancelled, done or not.
    """
    pending: deque[tuple[T, asyncio.Task[R]]] = deque()
    try:
        async for item in items:
            pending.append((item, asyncio.ensure_future(_run(work, item))))
            if len(pending) >= in_flight_max:
                first, task = pending.popleft()
                yield first, await task
        while pending:
            first, task = pending.popleft()
            yield first, await task
    finally:
        for _, task in pending:
            task.cancel()
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)


async def _run(work: Callable[[T], Awaitable[R]], item: T) -> R:
    return await work(item)


async def read_ahead(items: Iterator[T], ahead_max: int = 4) -> AsyncIterator[T]:
    """Draw from a blocking iterator in a thread of its own, at most so many items ahead of who asks.

    The thread is a daemon: one that waits for standard input does not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(ahead_max)
    stopped = threading.Event()

    def hand_over(drawn: tuple[T] | BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits for this any more
            loop.call_soon_threadsafe(ready.put_nowait, drawn)

    def draw() -> None:
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    return
                hand_over((item,))
        except BaseException as error:  # noqa: BLE001 - raised again where the items are asked for
            hand_over(error)
        else:
            hand_over(None)
        finally:
            if isinstance(items, Generator):
                items.close()

    threading.Thread(target=draw, name="read-ahead", daemon=True).start()
    try:
        while (drawn := await ready.get()) is not None:
            if isinstance(drawn, BaseException):
                raise drawn
            yield drawn[0]
            room.release()
    finally:
        stopped.set()
        room.release()
