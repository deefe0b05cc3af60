"""Several pieces of work at once, outcomes in order; reading ahead in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from lrs.cli.in_flight import in_order, read_ahead


async def each(items: range) -> AsyncIterator[int]:
    for item in items:
        yield item


def test_outcomes_come_in_the_order_of_the_items_whichever_is_done_first():
    async def main() -> list[tuple[int, int]]:
        done = [asyncio.Event() for _ in range(6)]

        async def work(item: int) -> int:
            if item % 3 != 2:
                await done[item + 1].wait()
            done[item].set()
            return item * 10

        return [pair async for pair in in_order(each(range(6)), work, 3)]

    assert asyncio.run(main()) == [(item, item * 10) for item in range(6)]


@pytest.mark.parametrize("in_flight_max", [1, 2, 5])
def test_never_more_than_so_many_are_under_way(in_flight_max):
    async def main() -> int:
        under_way = most = 0

        async def work(_: int) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1

        async for _ in in_order(each(range(30)), work, in_flight_max):
            pass
        return most

    assert asyncio.run(main()) == in_flight_max


def test_a_failure_ends_it_with_what_is_before_it_done_and_nothing_left_running():
    async def main() -> tuple[list[int], int]:
        seen = []

        async def work(item: int) -> None:
            if item == 2:
                raise ValueError
            if item > 2:
                await asyncio.Event().wait()

        failed = False
        try:
            async for item, _ in in_order(each(range(10)), work, 4):
                seen.append(item)
        except ValueError:
            failed = True
        assert failed
        return seen, len(asyncio.all_tasks())

    assert asyncio.run(main()) == ([0, 1], 1)


def test_reading_ahead_yields_all_in_order():
    async def main() -> list[int]:
        return [item async for item in read_ahead(iter(range(1000)), 3)]

    assert asyncio.run(main()) == list(range(1000))


def test_reading_ahead_is_never_further_ahead_than_its_bound():
    drawn = []

    def source() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    async def main() -> int:
        most, taken = 0, 0
        async for _ in read_ahead(source(), 3):
            taken += 1
            await asyncio.sleep(0)
            most = max(most, len(drawn) - taken)
        return most

    # One more than the bound is drawn and held, while its reader waits for room.
    assert asyncio.run(main()) <= 4


def test_what_the_source_raises_is_raised_behind_what_it_gave():
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    seen: list[int] = []

    async def main() -> None:
        async for item in read_ahead(source()):
            seen.append(item)  # noqa: PERF401 - what was yielded before the failure counts

    with pytest.raises(ValueError, match="no more"):
        asyncio.run(main())
    assert seen == [1]


def test_a_reader_that_stops_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    async def main() -> None:
        ahead = read_ahead(source(), 2)
        async for _ in ahead:
            break
        await ahead.aclose()

    asyncio.run(main())
    assert closed.wait(10)


def test_a_source_that_waits_for_ever_does_not_keep_the_program_from_ending():
    never = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        never.wait()

    async def main() -> int:
        async for item in read_ahead(source()):
            return item
        return 0

    assert asyncio.run(main()) == 1
    never.set()
