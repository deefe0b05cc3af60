"""Reading `progress`: courses, and where everyone stands in them, as pages, JSON and the command line show them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from projections.course_report import CourseReport, CourseSummary
from projections.course_rules import Json, learner_standing
from projections.progress import NAME, STANDING, Progress, counted, standing_of, units_of
from projections.projection import Opener
from projections.view_store import Place, StoredView, ViewStore

CHANGE_POLL_S = 0.25
"""How often somebody who waits for a change has the view looked at."""
ID_DIGITS = 32

Head = Callable[[], Awaitable[tuple[int, int]]]
"""Gives the log's newest position, and the stored µs before which nothing can appear any more."""


class CourseReader:
    """Reads courses from what serves. `head` says how far the log is, where the reader can reach it."""

    def __init__(self, store: ViewStore, opener: Opener, head: Head | None = None) -> None:
        self._store = store
        self._opener = opener
        self._head = head
        self._summaries: tuple[Any, list[CourseSummary]] = (None, [])

    async def courses(self, hidden: frozenset[bytes] = frozenset()) -> list[CourseSummary]:
        """Give every course, by activity id, without the learners who are hidden."""
        return await asyncio.to_thread(self._list, hidden)

    async def course(self, id_hex: str, hidden: frozenset[bytes] = frozenset()) -> CourseReport | None:
        """Give one course without the learners who are hidden; None where nobody else is in it, or the id is none."""
        try:
            course = bytes.fromhex(id_hex)
        except ValueError:
            return None
        if len(id_hex) != ID_DIGITS:
            return None
        # Asked before the view is read: what the log had then is in the view that has caught up with it.
        head = await self._head() if self._head is not None else (0, 0)
        return await asyncio.to_thread(self._report, course, head, hidden)

    async def data_through_us(self) -> int:
        """Give the time (µs) up to which everything stored is in the answers; 0 before anything is."""
        head = await self._head() if self._head is not None else (0, 0)
        return through_us(await asyncio.to_thread(self._places), head)

    async def wait(self, after_us: int, timeout_s: float) -> int:
        """Wait until something newer than `after_us` has been applied, at most so long; give how far the view is (µs).

        What counts is the newest event, so that a quiet log wakes nobody.
        """
        ends = time.monotonic() + timeout_s
        while True:
            places = await asyncio.to_thread(self._places)
            newest = max((place.through_us for place in places.values()), default=0)
            left_s = ends - time.monotonic()
            if newest > after_us or left_s <= 0:
                return newest
            await asyncio.sleep(min(CHANGE_POLL_S, left_s))

    def _places(self) -> dict[int, Place]:
        with self._store.reading(NAME) as read:
            return {} if read is None else read[1]

    def _list(self, hidden: frozenset[bytes]) -> list[CourseSummary]:
        with self._store.reading(NAME, Progress.version) as read:
            if read is None:
                return []
            view, places = read
            known, summaries = self._summaries
            if (places, hidden) != known:
                courses = view.distinct(STANDING, "course")
                summaries = [one for course in courses if (one := self._summary(view, course, hidden))]
                summaries.sort(key=lambda one: one.activity_id)
                self._summaries = ((places, hidden), summaries)
            return list(summaries)

    def _summary(self, view: StoredView, course: bytes, hidden: frozenset[bytes]) -> CourseSummary | None:
        """Give a course with its counts; only its name is opened. Whoever is hidden is not counted."""
        row = view.first(STANDING, course=course)
        if row is None:
            return None
        activity_id = row.content["course"]
        labels = Counter(view.counts(STANDING, course))
        labels.subtract(view.carried(STANDING, [(course, learner) for learner in hidden]))
        enrolled, completed = counted(+labels, activity_id, self._opener)
        return CourseSummary(course.hex(), activity_id, enrolled, completed)

    def _report(self, course: bytes, head: tuple[int, int], hidden: frozenset[bytes]) -> CourseReport | None:
        with self._store.reading(NAME, Progress.version) as read:
            if read is None:
                return None
            view, places = read
            rows = [row for row in _rows(view, course) if row[0] not in hidden]
            if not rows:
                return None
            units = units_of([row for _, row in rows])
            learners = [learner_standing(learner, standing_of(row), units) for learner, row in rows]
        return CourseReport(
            id=course.hex(),
            activity_id=rows[0][1]["course"],
            modules=units,
            learners=tuple(learners),
            data_through_us=through_us(places, head),
        )


def through_us(places: Mapping[int, Place], head: tuple[int, int]) -> int:
    """Give the time up to which everything stored has been applied, in every partition.

    A view that has applied all that the log has is as new as the log's own watermark, however long nothing came.
    """
    if not places:
        return 0
    applied = max(place.position for place in places.values())
    least_through = min(place.through_position for place in places.values())
    slowest_us = min(place.through_us for place in places.values())
    position, stored_us = head
    caught_up = least_through >= position if len(places) > 1 else applied >= position
    return max(stored_us, slowest_us) if caught_up and position else slowest_us


def _rows(view: StoredView, course: bytes) -> Iterable[tuple[bytes, Json]]:
    for page in view.pages(STANDING, course=course):
        for row in page:
            yield row.key[1], row.content
