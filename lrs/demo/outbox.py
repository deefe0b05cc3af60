"""Statements on their way to the store, in the order in which they are sent, and how many of each there were."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from operator import itemgetter
from typing import Any

from lrs.demo.school_time import Calendar

Json = dict[str, Any]


class Outbox:
    """Keeps what is to be sent until its day has come.

    Args:
        calendar: the days of the term. What is sent before it goes with the first day; what is sent after, last.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._ends = [calendar.day_start_ms(day + 1) for day in range(calendar.days)]
        self._today = 0
        self._waiting: list[list[tuple[int, int, bytes]]] = [[] for _ in range(calendar.days + 1)]
        self.distinct = 0
        self.resent = 0
        self.late = 0
        self.voided = 0
        self.verbs: Counter[str] = Counter()
        """Statements by verb, without those that were voided."""

    def put(self, body: bytes, sent_at: int, verb: str, *, late: bool) -> None:
        """Send a statement at this instant."""
        self._put(body, sent_at)
        self.distinct += 1
        self.late += late
        self.verbs[verb] += 1

    def put_again(self, body: bytes, sent_at: int) -> None:
        """Send a statement once more, as a program does that missed the answer."""
        self._put(body, sent_at)
        self.resent += 1

    def voided_one(self, verb: str) -> None:
        """Count a statement, with this verb, that another one has voided."""
        self.voided += 1
        self.verbs[verb] -= 1

    def _put(self, body: bytes, sent_at: int) -> None:
        day = max(self._today, bisect_right(self._ends, sent_at))
        self._waiting[day].append((sent_at, self.distinct + self.resent, body))

    def day(self, day: int) -> list[tuple[int, bytes]]:
        """Take what is sent on a day, in order: (instant, statement). The day after the last has all the rest."""
        waiting, self._waiting[day] = self._waiting[day], []
        self._today = day + 1
        waiting.sort(key=itemgetter(0, 1))
        return [(sent_at, body) for sent_at, _, body in waiting]

    def told(self) -> Json:
        """Say how many statements there were."""
        return {
            "posted": self.distinct + self.resent,
            "distinct": self.distinct,
            "resent": self.resent,
            "late": self.late,
            "voided": self.voided,
            "visible": self.distinct - self.voided,
            "by_verb": {verb: count for verb, count in sorted(self.verbs.items()) if count},
        }
