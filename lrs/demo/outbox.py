"""Statements on their way to the store, in the order in which they are sent, and how many of each there were."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import Any

from lrs.demo.school_time import Calendar

Json = dict[str, Any]


class Outbox:
    """Keeps what is to be sent until its week has come.

    Args:
        calendar: the weeks of the term. What is sent before it goes with the first week; what is sent after, last.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._ends = [calendar.week_start_ms(week + 1) for week in range(calendar.weeks)]
        self._week = 0
        self._waiting: list[list[tuple[int, int, bytes]]] = [[] for _ in range(calendar.weeks + 1)]
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
        week = self._week
        while week < len(self._ends) and sent_at >= self._ends[week]:
            week += 1
        self._waiting[week].append((sent_at, self.distinct + self.resent, body))

    def week(self, week: int) -> list[tuple[int, bytes]]:
        """Take what is sent in a week, in order: (instant, statement). The week after the last has all the rest."""
        waiting, self._waiting[week] = self._waiting[week], []
        self._week = week + 1
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
