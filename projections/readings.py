"""The views `enrolments` and `completions`: computed from `progress` whenever they are read.

Whether somebody has completed a course can depend on which units others have been seen in (docs/explanation/views.md),
so a completion is no fact that could be stored with one learner's rows. Both are therefore readings: they are as new as
`progress`, are rebuilt with it, and forget with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from projections.course_report import LearnerStanding
from projections.course_rules import Json, learner_standing
from projections.progress import NAME, STANDING, standing_of, units_of
from projections.view_store import StoredView


def _enrolment(one: LearnerStanding) -> Json | None:
    """Give an enrolment; None for somebody who was only seen in the course."""
    if one.enrolled_at is None:
        return None
    return {"enrolled": one.enrolled, "enrolled_at": one.enrolled_at, "unenrolled_at": one.unenrolled_at}


def _completion(one: LearnerStanding) -> Json | None:
    """Give a completion; None where there is none."""
    if one.completed_at is None:
        return None
    return {"completed_at": one.completed_at, "outcome": one.outcome, "score": one.score}


ENROLMENTS, COMPLETIONS = "enrolments", "completions"
READINGS: Mapping[str, Callable[[LearnerStanding], Json | None]] = {
    ENROLMENTS: _enrolment,
    COMPLETIONS: _completion,
}


def source_of(name: str) -> str:
    """Give the name of the projection in which a view lies: its own, or that of which it is a reading."""
    return NAME if name in READINGS else name


def read(view: StoredView, name: str) -> Iterator[tuple[dict[str, str], Json]]:
    """Give the rows of a reading as (key, content), in the order of keys: course, learner."""
    row_of = READINGS[name]
    for course in sorted(view.distinct(STANDING, "course")):
        rows = [row for page in view.pages(STANDING, course=course) for row in page]
        units = units_of([row.content for row in rows])
        for row in rows:
            standing = learner_standing(row.key[1], standing_of(row.content), units)
            if (content := row_of(standing)) is not None:
                key = {name: value.hex() for name, value in zip(STANDING.key, row.key, strict=True)}
                yield key, {"course": row.content["course"], "registration": standing.registration, **content}
