"""What the page of a course is worked out to show: who counts, where each stands, steps, charts, order, names."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrs.blinding import Blinding
from lrs.http.charts import HEIGHT_PX, draw_completions
from lrs.http.course_files import course_csv
from lrs.http.course_view import (
    PAGE_LEARNERS_MAX,
    Choice,
    Sort,
    State,
    Status,
    completions_over_time,
    list_learners,
    round_up,
    view_course,
)
from lrs.http.readable import readable_name
from tests.integration.course_site import NOW, ago, course, invented_learners, learner

MONDAY = date(2026, 1, 5)


def listed(*learners):
    report = course(1, *learners)
    return report, list_learners(report, lambda pseudonym: f"learner {int(pseudonym, 16):03}", NOW)


def viewed(*learners, choice=None):
    report, everyone = listed(*learners)
    return view_course(report, everyone, choice or Choice())


# ── where somebody stands ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, State.NOT_STARTED),
        ({"last_seen_at": ago(90)}, State.NOT_STARTED),
        ({"last_seen_at": ago(1)}, State.UNDER_WAY),
        ({"last_seen_at": ago(1), "progress": 40.0}, State.UNDER_WAY),
        ({"last_seen_at": ago(6.99), "progress": 40.0}, State.UNDER_WAY),
        ({"last_seen_at": ago(7), "progress": 40.0}, State.AT_RISK),
        ({"last_seen_at": ago(1), "outcome": "failed"}, State.FAILED),
        ({"last_seen_at": ago(8), "outcome": "failed"}, State.AT_RISK),
        ({"last_seen_at": ago(80), "outcome": "passed"}, State.PASSED),
        ({"last_seen_at": ago(80), "progress": 100.0, "completed_at": ago(80)}, State.COMPLETED),
        ({"enrolled": False, "unenrolled_at": ago(2), "completed_at": ago(3)}, State.LEFT),
        ({"enrolled": False, "enrolled_at": None, "last_seen_at": ago(1)}, State.GUEST),
    ],
)
def test_everyone_stands_in_one_state(facts, state) -> None:
    _, (one, _) = listed(learner(1, **facts), learner(2))
    assert one.state is state


def test_who_has_left_counts_nowhere_but_among_those_who_left() -> None:
    gone = learner(1, enrolled=False, unenrolled_at=ago(1), completed_at=ago(2), progress=100.0, last_seen_at=ago(1))
    view = viewed(gone, learner(2))
    assert view.counts == dict.fromkeys(Status, 0) | {Status.ALL: 1, Status.NOT_STARTED: 1, Status.LEFT: 1}
    assert [(step.kind, step.people) for step in view.funnel][:2] == [("in", 1), ("started", 0)]
    assert view.chart is None


def test_who_takes_part_without_enrolment_counts_only_where_nobody_was_ever_enrolled() -> None:
    guest = learner(1, enrolled=False, enrolled_at=None, last_seen_at=ago(1), progress=50.0)
    view = viewed(guest, learner(2))
    assert (view.people, view.enrolled, view.counts[Status.GUEST]) == (1, 1, 1)
    view = viewed(guest)
    assert (view.people, view.enrolled, view.counts[Status.GUEST]) == (1, 0, 0)
    assert view.learners[0].state is State.UNDER_WAY


def test_the_funnel_counts_who_has_come_at_least_so_far() -> None:
    view = viewed(
        learner(1),
        learner(2, progress=10.0, last_seen_at=ago(1)),
        learner(3, progress=50.0, last_seen_at=ago(1)),
        learner(4, progress=100.0, last_seen_at=ago(1), completed_at=ago(1), outcome="passed"),
    )
    assert [(step.kind, step.people) for step in view.funnel] == [
        ("in", 4),
        ("started", 3),
        ("25", 2),
        ("50", 2),
        ("75", 1),
        ("completed", 1),
        ("passed", 1),
    ]
    assert [step.share for step in view.funnel][:2] == [1, 0.75]


def test_passing_is_a_step_only_where_someone_passes_or_fails() -> None:
    assert "passed" not in [step.kind for step in viewed(learner(1, completed_at=ago(1), progress=100.0)).funnel]
    assert "passed" in [step.kind for step in viewed(learner(1, outcome="failed", last_seen_at=ago(1))).funnel]


def test_nobody_in_the_course_is_no_funnel_and_no_division() -> None:
    view = viewed()
    assert (view.people, view.mean_progress, view.funnel, view.modules) == (0, 0, (), ())


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_is_paged_and_a_page_beyond_the_last_is_the_last() -> None:
    people = [learner(number) for number in range(PAGE_LEARNERS_MAX + 2)]
    first = viewed(*people, choice=Choice(sort=Sort.NAME, descending=False))
    assert (first.pages, len(first.learners)) == (2, PAGE_LEARNERS_MAX)
    last = viewed(*people, choice=Choice(sort=Sort.NAME, descending=False, page=99))
    assert [one.name for one in last.learners] == ["learner 025", "learner 026"]
    assert last.choice.page == 2


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("descending", [True, False])
def test_every_order_shows_everyone_once(sort, descending) -> None:
    people = invented_learners(60, 3)
    shown = []
    for page in (1, 2, 3):
        shown += viewed(*people, choice=Choice(sort=sort, descending=descending, page=page)).learners
    inside = [one.learner for one in people if one.enrolled]
    assert sorted(one.standing.learner for one in shown) == sorted(inside)


def test_the_list_is_ordered_as_it_says() -> None:
    people = (learner(1, last_seen_at=ago(3)), learner(2), learner(3, last_seen_at=ago(1)))
    names = [one.name[-1] for one in viewed(*people, choice=Choice(sort=Sort.SEEN)).learners]
    assert names == ["3", "1", "2"]
    names = [one.name[-1] for one in viewed(*people, choice=Choice(sort=Sort.SEEN, descending=False)).learners]
    assert names == ["2", "1", "3"]


@given(st.integers(0, 10_000))
def test_the_counts_are_those_of_the_lists_they_lead_to(seed) -> None:
    people = invented_learners(12, seed)
    counts = viewed(*people).counts
    for status, number in counts.items():
        assert len(viewed(*people, choice=Choice(status=status)).learners) == number


# ── charts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("days", "unit", "periods"),
    [([0], "day", 1), ([0, 13], "day", 14), ([0, 14], "week", 3), ([0, 160], "week", 23), ([0, 161], "month", 6)],
)
def test_the_chart_is_by_day_week_or_month(days, unit, periods) -> None:
    chart = completions_over_time([MONDAY + timedelta(days=day) for day in days])
    assert chart is not None
    assert (chart.unit, len(chart.periods)) == (unit, periods)


@given(st.lists(st.dates(date(2015, 1, 1), date(2026, 1, 1)), min_size=1, max_size=40))
def test_a_chart_counts_every_completion_once_and_ends_at_all(days) -> None:
    chart = completions_over_time(days)
    assert chart is not None
    assert chart.periods[-1].total == len(days)
    before = chart.periods[0].total - chart.periods[0].new
    assert before + sum(period.new for period in chart.periods) == len(days)
    assert chart.top >= len(days)
    for bar in draw_completions(chart).bars:
        assert bar.left >= 0
        assert bar.left + bar.width <= 100
        assert bar.old_height + bar.new_height <= HEIGHT_PX + 0.01


@given(st.integers(1, 10**7))
def test_an_axis_ends_at_or_little_above_its_highest_value(number) -> None:
    assert number <= round_up(number) <= 2 * number


# ── names and files ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_the_same_throughout_a_course_and_another_elsewhere() -> None:
    blind = Blinding(b"i" * 32, b"p" * 32).id
    course_a, course_b, person = "0a" * 16, "0b" * 16, "01" * 16
    name = readable_name(blind, course_a, person)
    assert name == readable_name(blind, course_a, person)
    assert name != readable_name(blind, course_b, person)
    assert name != readable_name(Blinding(b"j" * 32, b"p" * 32).id, course_a, person)
    assert [len(word) for word in name.split()] == [6, 6]


def test_names_of_a_large_course_are_told_apart() -> None:
    blind = Blinding(b"i" * 32, b"p" * 32).id
    names = {readable_name(blind, "0a" * 16, f"{number:032x}") for number in range(5_000)}
    assert len(names) == 5_000


def test_a_file_has_everyone_under_the_names_of_the_page_and_no_formula() -> None:
    report = course(
        1, learner(1, progress=33.33, registration="=1+1"), learner(2, enrolled=False, unenrolled_at=ago(1))
    )
    text = course_csv(list_learners(report, lambda pseudonym: f"=name {pseudonym[-1]}", NOW)).decode("utf-8-sig")
    head, *lines = text.splitlines()
    assert head.startswith("learner,enrolled,enrolled_at")
    assert [line.split(",")[:2] for line in lines] == [["'=name 1", "yes"], ["'=name 2", "no"]]
    assert report.learners[0].learner not in text
