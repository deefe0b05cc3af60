"""Where the marks of a chart stand: across in percent of its width, down in pixels, so that texts keep their size."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from lrs.http.course_view import Chart

HEIGHT_PX = 180
HEAD_PX = 24
"""Above the highest mark, for its label."""
FOOT_PX = 24
"""Below the axis, for its labels."""
BAR_SHARE = 0.72
NARROW_BARS = 6
"""How few periods still have a bar's full width; one lonely bar shall not fill the chart."""
LABELLED_MAX = 12
TICKS_MAX = 6


class Bar(NamedTuple):
    """A period: what was before in pale, what is new above it in full colour."""

    begins: date
    new: int
    total: int
    middle: float
    left: float
    width: float
    old_top: float
    old_height: float
    new_top: float
    new_height: float
    has_label: bool
    has_tick: bool


class Line(NamedTuple):
    """A line across, with its value."""

    value: int
    top: float


class Drawing(NamedTuple):
    """A chart as it is drawn."""

    unit: str
    height: int
    base: float
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]


def draw_completions(chart: Chart) -> Drawing:
    """Draw completions over time: bars that grow to the total, the axis from zero."""
    base = HEAD_PX + HEIGHT_PX
    step = 100 / max(len(chart.periods), NARROW_BARS)
    ticks = -(-len(chart.periods) // TICKS_MAX)
    bars = []
    for number, period in enumerate(chart.periods):
        middle = step * (number + 0.5)
        old = HEIGHT_PX * (period.total - period.new) / chart.top
        new = HEIGHT_PX * period.new / chart.top
        last = number == len(chart.periods) - 1
        bars.append(
            Bar(
                period.begins,
                period.new,
                period.total,
                round(middle, 3),
                round(middle - step * BAR_SHARE / 2, 3),
                round(step * BAR_SHARE, 3),
                round(base - old, 2),
                round(old, 2),
                round(base - old - new, 2),
                round(new, 2),
                last or len(chart.periods) <= LABELLED_MAX,
                (len(chart.periods) - 1 - number) % ticks == 0,
            )
        )
    values = sorted({0, chart.top // 2, chart.top})
    lines = tuple(Line(value, round(base - HEIGHT_PX * value / chart.top, 2)) for value in values)
    return Drawing(chart.unit, base + FOOT_PX, base, tuple(bars), lines)
