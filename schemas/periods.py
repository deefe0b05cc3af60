"""Periods of whole days, weeks, months and years, as ISO 8601 writes them: how long something is kept or announced."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.errors import InvalidInput

_PERIOD = re.compile(
    r"P(?=[0-9])(?:(?P<years>[0-9]{1,3})Y)?(?:(?P<months>[0-9]{1,4})M)?(?:(?P<weeks>[0-9]{1,4})W)?(?:(?P<days>[0-9]{1,5})D)?",
    re.ASCII,
)
FOREVER = datetime.max.replace(tzinfo=UTC)
"""What is after every instant that can be named."""


class Period(NamedTuple):
    """So many months of the calendar, then so many days."""

    months: int
    days: int

    def after(self, moment: datetime) -> datetime:
        """Give the instant this long after one in UTC; FOREVER where the calendar ends before.

        A day that the month does not have becomes its last: a month after 31 January is 28 or 29 February.
        """
        years, month = divmod(moment.month - 1 + self.months, 12)
        year, month = moment.year + years, month + 1
        try:
            day = min(moment.day, calendar.monthrange(year, month)[1])
            return moment.replace(year=year, month=month, day=day) + timedelta(days=self.days)
        except (ValueError, OverflowError):
            return FOREVER


def parse_period(value: Any) -> Period:
    """Read a period such as P2Y, P18M, P4W or P90D. Raises InvalidInput if it is none; hours are not taken."""
    found = _PERIOD.fullmatch(value) if type(value) is str else None
    if found is None:
        raise InvalidInput("This must be a period of whole days, weeks, months or years, such as P2Y or P90D.")
    years, months, weeks, days = (int(number or 0) for number in found.groups())
    return Period(12 * years + months, 7 * weeks + days)


def check_period(value: Any) -> None:
    """Raise InvalidInput if value is not a period."""
    parse_period(value)
