"""What the page of a course shows, worked out from its report: counts, steps, charts, lists. No words and no markup.

Who is enrolled is *in the course* and counts. Who was enrolled and has left, and who takes part without ever having
been enrolled (a teacher who tries things out), is in no count; the page says how many those are. Where nobody was ever
enrolled, as with content that has no learning platform, everyone who takes part is in the course.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from projections.course_report import CourseReport, LearnerStanding

ACTIVE_DAYS = 7
"""Whoever was seen within so many days is active; whoever was not is perhaps at risk."""
QUARTERS = (25, 50, 75)
PAGE_LEARNERS_MAX = 25
CHART_PERIODS_MAX = 24
DAYS_CHART_MAX = 14
WEEKS_CHART_MAX = 24
DONE = 100
MONTHS = 12
WEEK_DAYS = 7
_AXIS_ENDS = (2, 4, 6, 8, 10, 12, 14, 16, 18)
"""These, and these times a power of ten."""


class State(StrEnum):
    """Where a learner stands; each stands in one."""

    PASSED = "passed"
    COMPLETED = "completed"
    FAILED = "failed"
    AT_RISK = "at-risk"
    UNDER_WAY = "under-way"
    NOT_STARTED = "not-started"
    LEFT = "left"
    GUEST = "guest"


OUTSIDE = frozenset({State.LEFT, State.GUEST})


class Status(StrEnum):
    """Which learners the list shows."""

    ALL = "all"
    ACTIVE = "active"
    COMPLETED = "completed"
    AT_RISK = "at-risk"
    NOT_STARTED = "not-started"
    LEFT = "left"
    GUEST = "guest"


class Sort(StrEnum):
    """In which order; each also the other way round."""

    NAME = "name"
    PROGRESS = "progress"
    SEEN = "seen"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Learner:
    """A line of the list."""

    name: str
    standing: LearnerStanding
    state: State
    seen: datetime | None
    completed: datetime | None
    active: bool

    @property
    def is_done(self) -> bool:
        """Say whether they have completed or passed the course."""
        return self.completed is not None or self.standing.outcome == "passed"

    @property
    def rank(self) -> tuple[int, float]:
        """Give by what results are ordered: the state, then the score."""
        return list(State).index(self.state), -(self.standing.score or 0)


class Step(NamedTuple):
    """A step on the way through the course, how many have come so far, and their share of all."""

    kind: str
    people: int
    share: float


class Period(NamedTuple):
    """A day, week or month: its first day, completions in it, completions up to its end."""

    begins: date
    new: int
    total: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Completions over time. unit: day, week or month; top: what the axis ends at."""

    unit: str
    periods: tuple[Period, ...]
    top: int


class ModuleStep(NamedTuple):
    """A module: how many have finished it, their share of all, and how far all are on average, in percent."""

    activity_id: str
    people: int
    share: float
    mean: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address asks of the list."""

    status: Status = Status.ALL
    sort: Sort = Sort.PROGRESS
    descending: bool = True
    page: int = 1

    @property
    def sort_text(self) -> str:
        """Give the order as it stands in the address."""
        return f"-{self.sort}" if self.descending else str(self.sort)


@dataclass(frozen=True, slots=True)
class CourseView:
    """All that the page of a course shows."""

    counts: dict[Status, int]
    enrolled: int
    passed: int
    mean_progress: float
    funnel: tuple[Step, ...]
    modules: tuple[ModuleStep, ...]
    chart: Chart | None
    learners: tuple[Learner, ...]
    """Those on this page of the list."""
    choice: Choice
    pages: int

    @property
    def people(self) -> int:
        """Give how many are in the course."""
        return self.counts[Status.ALL]


def moment(text: str | None) -> datetime | None:
    """Read a time of a report."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def list_learners(report: CourseReport, name: Callable[[str], str], now: datetime) -> list[Learner]:
    """Give everyone in a report. name: gives the name to show, by the pseudonym."""
    is_open = all(one.enrolled_at is None for one in report.learners)
    return [_learner(one, name(one.learner), now, is_open=is_open) for one in report.learners]


def _learner(standing: LearnerStanding, name: str, now: datetime, *, is_open: bool) -> Learner:
    seen, completed = moment(standing.last_seen_at), moment(standing.completed_at)
    active = seen is not None and now - seen < timedelta(days=ACTIVE_DAYS)
    state = _state(standing, active=active, started=_started(standing))
    if not standing.enrolled and not is_open:
        state = State.GUEST if standing.enrolled_at is None else State.LEFT
    return Learner(name, standing, state, seen, completed, active)


def _started(standing: LearnerStanding) -> bool:
    """Say whether a learner did more than be enrolled."""
    if standing.progress > 0 or standing.completed_at is not None or standing.outcome is not None:
        return True
    seen, enrolled = moment(standing.last_seen_at), moment(standing.enrolled_at)
    return seen is not None and (enrolled is None or seen > enrolled)


def _state(standing: LearnerStanding, *, active: bool, started: bool) -> State:
    if standing.outcome == "passed":
        return State.PASSED
    if standing.completed_at is not None:
        return State.COMPLETED
    if not started:
        return State.NOT_STARTED
    if not active:
        return State.AT_RISK
    return State.FAILED if standing.outcome == "failed" else State.UNDER_WAY


def view_course(report: CourseReport, everyone: Sequence[Learner], choice: Choice) -> CourseView:
    """Work out what the page shows of a report, of whose learners `everyone` is the list."""
    inside = [one for one in everyone if one.state not in OUTSIDE]
    chosen = sorted((one for one in everyone if _is_shown(one, choice.status)), key=lambda one: one.name)
    # A second sort keeps the first where it finds no difference, so that every order is a whole one.
    chosen.sort(key=_SORTS[choice.sort], reverse=choice.descending)
    pages = max(1, -(-len(chosen) // PAGE_LEARNERS_MAX))
    page = min(choice.page, pages)
    return CourseView(
        counts={status: sum(_is_shown(one, status) for one in everyone) for status in Status},
        enrolled=sum(one.standing.enrolled for one in inside),
        passed=sum(one.standing.outcome == "passed" for one in inside),
        mean_progress=sum(one.standing.progress for one in inside) / len(inside) if inside else 0.0,
        funnel=_funnel(inside),
        modules=tuple(_module(activity_id, inside) for activity_id in report.modules) if inside else (),
        chart=completions_over_time([one.completed.date() for one in inside if one.completed is not None]),
        learners=tuple(chosen[(page - 1) * PAGE_LEARNERS_MAX : page * PAGE_LEARNERS_MAX]),
        choice=Choice(choice.status, choice.sort, choice.descending, page),
        pages=pages,
    )


def _is_shown(learner: Learner, status: Status) -> bool:
    if learner.state in OUTSIDE or status.value in OUTSIDE:
        return status.value == learner.state.value
    return {
        Status.ALL: True,
        Status.ACTIVE: learner.active,
        Status.COMPLETED: learner.completed is not None,
        Status.AT_RISK: learner.state is State.AT_RISK,
        Status.NOT_STARTED: learner.state is State.NOT_STARTED,
    }[status]


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_SORTS: dict[Sort, Callable[[Learner], Any]] = {
    Sort.NAME: lambda one: one.name,
    Sort.PROGRESS: lambda one: one.standing.progress,
    Sort.SEEN: lambda one: one.seen or _LONG_AGO,
    Sort.RESULT: lambda one: one.rank,
}


def _funnel(inside: Sequence[Learner]) -> tuple[Step, ...]:
    """Give the steps, each with those who have come at least so far. Passing is a step where anyone can pass."""
    if not inside:
        return ()
    started = [one for one in inside if one.state is not State.NOT_STARTED]
    steps = [("in", len(inside)), ("started", len(started))]
    steps += [
        (str(quarter), sum(one.is_done or one.standing.progress >= quarter for one in started)) for quarter in QUARTERS
    ]
    steps.append(("completed", sum(one.completed is not None for one in started)))
    if any(one.standing.outcome is not None for one in inside):
        steps.append(("passed", sum(one.standing.outcome == "passed" for one in started)))
    return tuple(Step(kind, people, people / len(inside)) for kind, people in steps)


def _module(activity_id: str, inside: Sequence[Learner]) -> ModuleStep:
    progress = [one.standing.modules[activity_id].progress for one in inside if activity_id in one.standing.modules]
    people = sum(one >= DONE for one in progress)
    return ModuleStep(activity_id, people, people / len(inside), sum(progress) / len(inside))


def completions_over_time(days: Iterable[date]) -> Chart | None:
    """Count completions by day, week or month, whichever gives few enough; the newest where there are more still."""
    ordered = sorted(days)
    if not ordered:
        return None
    span = (ordered[-1] - ordered[0]).days
    if span < DAYS_CHART_MAX:
        unit = "day"
    elif span < (WEEKS_CHART_MAX - 1) * WEEK_DAYS:
        unit = "week"
    else:
        unit = "month"
    periods: list[Period] = []
    begins = _first(unit, ordered[0])
    while begins <= ordered[-1]:
        ends = _next(unit, begins)
        new = sum(begins <= day < ends for day in ordered)
        periods.append(Period(begins, new, sum(day < ends for day in ordered)))
        begins = ends
    return Chart(unit, tuple(periods[-CHART_PERIODS_MAX:]), round_up(len(ordered)))


def _first(unit: str, day: date) -> date:
    if unit == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if unit == "week" else day


def _next(unit: str, begins: date) -> date:
    if unit == "month":
        return date(begins.year + begins.month // MONTHS, begins.month % MONTHS + 1, 1)
    return begins + timedelta(days=1 if unit == "day" else WEEK_DAYS)


def round_up(number: int) -> int:
    """Give the next number that is fit to end an axis: one whose half is a number that is easy to read as well."""
    if number <= 1:
        return 1
    power = 1
    while True:
        for factor in _AXIS_ENDS:
            if factor * power >= number:
                return factor * power
        power *= 10
