"""When things happen at a school in the Netherlands: instants in milliseconds since 1970, and their texts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY

_EPOCH = date(1970, 1, 1)
_DAYS: Final = (1.0, 0.95, 1.0, 0.9, 0.45, 0.65, 1.25)
"""How much is done on each day of a week, Monday first: little on Friday, most on Sunday."""
_HOURS_SCHOOL_DAY: Final = (
    0.1,
    0,
    0,
    0,
    0,
    0,
    0.1,
    0.4,
    0.9,
    1.3,
    1.4,
    1.2,
    0.7,
    1.1,
    1.2,
    1.0,
    0.9,
    0.8,
    0.9,
    1.8,
    2.1,
    1.8,
    1.0,
    0.4,
)
_HOURS_WEEKEND: Final = (
    0.2,
    0.1,
    0,
    0,
    0,
    0,
    0,
    0.1,
    0.3,
    0.7,
    1.1,
    1.3,
    1.2,
    1.2,
    1.3,
    1.4,
    1.4,
    1.0,
    0.8,
    1.4,
    1.8,
    1.6,
    1.0,
    0.5,
)
_SATURDAY: Final = 5


def _last_sunday(year: int, month: int) -> date:
    last = date(year, month, 31)
    return last - timedelta(days=(last.weekday() + 1) % 7)


def utc_offset_ms(instant_ms: int) -> int:
    """Give how far clocks in the Netherlands are ahead of UTC.

    Summer time runs from 01:00 UTC on the last Sunday of March to 01:00 UTC on that of October. It is computed here, so
    that no time zone database need be installed and the bytes of a term depend on none.
    """
    year = datetime.fromtimestamp(instant_ms / SECOND, UTC).year
    begin, end = ((_last_sunday(year, month) - _EPOCH).days * DAY + HOUR for month in (3, 10))
    return 2 * HOUR if begin <= instant_ms < end else HOUR


def local(day: date, of_day_ms: int) -> int:
    """Give the instant at which clocks in the Netherlands show this time of this day."""
    wall_ms = (day - _EPOCH).days * DAY + of_day_ms
    return wall_ms - utc_offset_ms(wall_ms - HOUR)


def utc_text(instant_ms: int) -> str:
    """Write an instant in UTC: 2026-09-07T18:03:11.482Z."""
    return (
        datetime.fromtimestamp(instant_ms // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{instant_ms % SECOND:03}Z"
    )


def local_text(instant_ms: int) -> str:
    """Write the same instant as clocks in the Netherlands show it: 2026-09-07T20:03:11.482+02:00."""
    zone = timezone(timedelta(milliseconds=utc_offset_ms(instant_ms)))
    wall = datetime.fromtimestamp(instant_ms // SECOND, zone)
    text = wall.isoformat()
    return f"{text[:19]}.{instant_ms % SECOND:03}{text[19:]}"


def duration_text(length_ms: int) -> str:
    """Write a length of time as ISO 8601 does: PT12M30.5S."""
    minutes, rest_ms = divmod(length_ms, MINUTE)
    seconds = f"{rest_ms / SECOND:g}S"
    return f"PT{minutes}M{seconds}" if minutes else f"PT{seconds}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The weeks of a term.

    Attributes:
        start: its first day.
        weeks: how many there are.
    """

    start: date
    weeks: int

    @property
    def start_ms(self) -> int:
        """The first instant of the term."""
        return local(self.start, 0)

    @property
    def end_ms(self) -> int:
        """The first instant after the term."""
        return local(self.start + timedelta(weeks=self.weeks), 0)

    @property
    def break_week(self) -> int | None:
        """The week of the autumn holiday; a short term has none."""
        return self.weeks // 2 if self.weeks >= 8 else None  # noqa: PLR2004 - half a term or more

    @property
    def days(self) -> int:
        """How many days there are."""
        return 7 * self.weeks

    def day_start_ms(self, day: int) -> int:
        """The first instant of a day of the term, counted from 0."""
        return local(self.start + timedelta(days=day), 0)

    def moment_in(self, week: int, rng: random.Random) -> int:
        """Choose a moment in a week at which somebody sits down to learn: evenings, weekends, between lessons."""
        day = self.start + timedelta(weeks=week, days=rng.choices(range(7), self._weights)[0])
        hours = _HOURS_WEEKEND if day.weekday() >= _SATURDAY else _HOURS_SCHOOL_DAY
        return local(day, rng.choices(range(24), hours)[0] * HOUR + rng.randrange(HOUR))

    @property
    def _weights(self) -> tuple[float, ...]:
        first = self.start.weekday()
        return _DAYS[first:] + _DAYS[:first]
