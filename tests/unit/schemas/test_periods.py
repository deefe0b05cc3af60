"""Periods: what is one, and when it ends on the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.periods import FOREVER, Period, parse_period


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("P2Y", Period(24, 0)),
        ("P1Y6M", Period(18, 0)),
        ("P90D", Period(0, 90)),
        ("P4W", Period(0, 28)),
        ("P1M1D", Period(1, 1)),
        ("P0D", Period(0, 0)),
    ],
)
def test_a_period_is_months_and_days(text: str, period: Period) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize(
    "text", ["", "P", "2Y", "P2", "PT1H", "P1DT1H", "P1.5Y", "P-1D", "P1D2Y", "P1000Y", "p1y", None, 5]
)
def test_anything_else_is_none(text: object) -> None:
    with pytest.raises(InvalidInput, match="such as P2Y or P90D"):
        parse_period(text)


def test_a_day_that_a_month_lacks_is_its_last() -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert Period(1, 0).after(moment) == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert Period(13, 1).after(moment) == datetime(2025, 3, 1, 12, tzinfo=UTC)


def test_what_the_calendar_cannot_name_is_forever() -> None:
    assert parse_period("P999Y").after(datetime(9500, 1, 1, tzinfo=UTC)) == FOREVER
    assert Period(0, 99_999).after(datetime(9999, 1, 1, tzinfo=UTC)) == FOREVER


LATEST = datetime.fromisoformat("2500-01-01")


@given(st.integers(0, 12_000), st.integers(0, 99_999), st.datetimes(timezones=st.just(UTC), max_value=LATEST))
def test_a_period_never_ends_before_it_begins_and_a_longer_one_not_before_a_shorter(
    months: int, days: int, moment: datetime
) -> None:
    ends = Period(months, days).after(moment)
    assert moment <= ends <= Period(months, days + 1).after(moment)
    assert ends <= Period(months + 1, days).after(moment)
    assert Period(0, days).after(moment) - moment == timedelta(days)
