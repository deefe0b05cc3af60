"""What pages, streams and commands ask of the views of courses."""

from __future__ import annotations

from typing import Protocol

from projections.course_report import CourseReport, CourseSummary
from schemas.envelope import Purpose


class CourseReader(Protocol):
    """Reads courses from the views as they are at this moment. Every method raises Busy where they cannot be read."""

    async def courses(self, purpose: Purpose = Purpose.LEARNING) -> list[CourseSummary]:
        """Give every course, as a reader with this purpose sees it."""
        ...

    async def course(self, course_id: str, /, purpose: Purpose = Purpose.LEARNING) -> CourseReport | None:
        """Give a course by its id (32 hex digits) as a reader with this purpose sees it, None where there is none."""
        ...

    async def data_through_us(self) -> int:
        """Give the time (µs since 1970) up to which everything stored is in the answers; 0 before anything is."""
        ...

    async def wait(self, after_us: int, timeout_s: float) -> int:
        """Wait until an event stored after `after_us` is in the views, for timeout_s at the most.

        Gives when the newest event that is in them was stored (µs since 1970).
        """
        ...
