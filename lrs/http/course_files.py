"""Courses as files: CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from lrs.http.course_view import Learner
from projections.course_report import CourseSummary

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
LEARNER_COLUMNS = (
    "learner",
    "enrolled",
    "enrolled_at",
    "unenrolled_at",
    "state",
    "progress",
    "completed_at",
    "outcome",
    "score",
    "last_seen_at",
)
COURSE_COLUMNS = ("id", "activity_id", "name", "enrolled", "completed")


def course_csv(learners: Iterable[Learner]) -> bytes:
    """Give the learners of a course, one on a line, by the names that its page shows."""
    lines = []
    for one in sorted(learners, key=lambda learner: learner.name):
        told = one.standing
        facts = {name: getattr(told, name) for name in LEARNER_COLUMNS if name not in ("learner", "state", "enrolled")}
        facts |= {"learner": one.name, "state": one.state.value, "enrolled": "yes" if told.enrolled else "no"}
        lines.append([facts[name] for name in LEARNER_COLUMNS])
    return _write(LEARNER_COLUMNS, lines)


def courses_csv(courses: Iterable[CourseSummary], names: Mapping[str, str]) -> bytes:
    """Give courses, one on a line."""
    return _write(
        COURSE_COLUMNS,
        [[one.id, one.activity_id, names[one.activity_id], one.enrolled, one.completed] for one in courses],
    )


def through_text(through_us: int) -> str | None:
    """Write how far views have come in RFC 3339, None where nothing was seen."""
    if not through_us:
        return None
    return datetime.fromtimestamp(through_us / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _write(head: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    """Write CSV (RFC 4180) with the mark by which spreadsheets know UTF-8."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(head)
    writer.writerows([[_harmless(cell) for cell in line] for line in lines])
    return written.getvalue().encode("utf-8-sig")


def _harmless(cell: object) -> object:
    """Keep a text from being read as a formula by a spreadsheet."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
