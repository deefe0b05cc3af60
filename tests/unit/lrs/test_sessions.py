"""Counting failed attempts to sign in: when there is a pause, when it is over, and that memory is bounded."""

from __future__ import annotations

import pytest

from lrs.http import sessions
from lrs.http.sessions import LOCKED_S, Failures


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_pause_begins_with_the_last_failure_that_is_allowed_and_ends(clock) -> None:
    failures = Failures(3, clock)
    for _ in range(2):
        failures.note(b"who")
        assert failures.wait_s(b"who") == 0
    failures.note(b"who")
    assert failures.wait_s(b"who") == LOCKED_S
    assert failures.wait_s(b"another") == 0
    clock.now += LOCKED_S
    assert failures.wait_s(b"who") == 0


def test_failures_from_before_a_pause_that_is_over_are_forgotten(clock) -> None:
    failures = Failures(3, clock)
    for _ in range(3):
        failures.note(b"who")
    clock.now += LOCKED_S + 1
    failures.note(b"who")
    failures.note(b"who")
    assert failures.wait_s(b"who") == 0


def test_whoever_succeeds_begins_anew(clock) -> None:
    failures = Failures(2, clock)
    failures.note(b"who")
    failures.forget(b"who")
    failures.note(b"who")
    assert failures.wait_s(b"who") == 0


def test_no_more_are_remembered_than_the_bound(clock, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "FAILURES_KEPT_MAX", 10)
    failures = Failures(1, clock)
    for number in range(1_000):
        failures.note(b"%d" % number)
    assert len(failures._known) == 10
    assert failures.wait_s(b"999") == LOCKED_S
