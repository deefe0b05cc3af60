"""What a course looks like to those who read it: the answer that pages, JSON and the command line share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnitStanding:
    """Where a learner stands in one module or unit. progress in percent; times in RFC 3339, UTC."""

    progress: float = 0
    completed_at: str | None = None
    outcome: str | None = None
    score: float | None = None
    met_at: str | None = None


@dataclass(frozen=True, slots=True)
class LearnerStanding:
    """Where a learner stands in a course. learner is the pseudonym (32 hex digits)."""

    learner: str
    registration: str | None
    enrolled: bool
    enrolled_at: str | None
    unenrolled_at: str | None
    progress: float
    completed_at: str | None
    outcome: str | None
    score: float | None
    last_seen_at: str | None
    modules: dict[str, UnitStanding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CourseSummary:
    """A course in the list of courses. id is 32 hex digits, activity_id the course's IRI."""

    id: str
    activity_id: str
    enrolled: int
    completed: int


@dataclass(frozen=True, slots=True)
class CourseReport:
    """A course as its views have it up to `data_through_us` (µs since 1970; 0 before anything was seen).

    modules are the activity ids of its units; learners are everyone who was ever enrolled or seen, enrolled or not.
    """

    id: str
    activity_id: str
    modules: tuple[str, ...]
    learners: tuple[LearnerStanding, ...]
    data_through_us: int
