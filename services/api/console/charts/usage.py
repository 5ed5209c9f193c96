"""Use by UTC day (by week in a narrow column and over long times), with the windows that a signal compares drawn in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence, Set

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts.labels import ROW, Mark, above, arrange, below, rows_of
from services.api.console.charts.scale import Scale, steps
from services.api.console.charts.svg import (
    NARROW,
    WIDE,
    Drawing,
    Table,
    figure,
    hatch,
    joined,
    line,
    rect,
    text,
    width_of,
)
from services.api.console.charts.time_axis import midnight, seconds, ticks
from services.api.console.charts.words import day, number

SHOWN_DAYS = 92
DAYS_AS_DAYS = 120
"""The most days that are drawn as days in a wide column."""
WEEK = 7
TALL = 120.0
REVISED = "revised"


class Span(Struct, frozen=True):
    """Days that are summed: from `first` up to `until`, not included, and what they come to by the evidence."""

    first: dt.date
    until: dt.date
    total: float

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.until - self.first).days

    @property
    def a_day(self) -> float:
        """Its mean by day."""
        return self.total / self.days if self.days else 0.0


class Held(Struct, frozen=True):
    """Days, both included, of which a source says nothing: what is missing is not known to be zero."""

    first: dt.date
    last: dt.date


class Event(Struct, frozen=True):
    """A change of the signal, as a mark over its day."""

    day: dt.date
    said: str


class Usage(Struct, kw_only=True):
    """What a usage chart shows. `today` is the UTC day that is not over; before `first` nothing is known.

    `revised` are days whose figure was changed after they were over, by what came late.
    """

    by_day: Mapping[dt.date, int]
    first: dt.date
    today: dt.date
    unit: str = "uses"
    window: Span | None = None
    baseline: Span | None = None
    baseline_a_day: float | None = None
    events: Sequence[Event] = ()
    held: Sequence[Held] = ()
    revised: Set[dt.date] = frozenset()


class _Bar(Struct, frozen=True):
    first: dt.date
    last: dt.date
    count: int
    state: str
    """done, unfinished or held"""
    revised: bool


def usage_chart(key: str, shown: Usage, *, caption: str | None = None) -> Markup:
    """The chart as a figure; nothing where no day is to be shown."""
    drawings = drawn(key, shown)
    if not drawings:
        return Markup("")
    days = list(_bars(shown, 1))
    title = f"{shown.unit[:1].upper()}{shown.unit[1:]} by day"
    rows = [(day(bar.first), _said(bar, shown.unit)) for bar in reversed(days)]
    return figure(key, title, _described(shown), drawings, Table(("Day (UTC)", shown.unit), rows), caption=caption)


def drawn(key: str, shown: Usage) -> list[Drawing]:
    """The two drawings, without the figure around them."""
    if shown.first > shown.today:
        return []
    span = (shown.today - shown.first).days + 1
    wide = 1 if span <= DAYS_AS_DAYS else WEEK
    return [_drawn(f"{key}-w", shown, WIDE, wide), _drawn(f"{key}-n", shown, NARROW, WEEK)]


def _bars(shown: Usage, width: int) -> Iterator[_Bar]:
    """Bars of so many days. A week begins where the window does, so that the window is made of whole weeks."""
    anchor = shown.window.until if shown.window else shown.today + dt.timedelta(days=1)
    offset = (anchor - shown.first).days % width
    at = shown.first - dt.timedelta(days=(width - offset) % width)
    while at <= shown.today:
        last = at + dt.timedelta(days=width - 1)
        days = [at + dt.timedelta(days=n) for n in range(width)]
        count = sum(shown.by_day.get(on, 0) for on in days)
        held = any(one.first <= on <= one.last for one in shown.held for on in days if on <= shown.today)
        state = "held" if held and not count else "unfinished" if last >= shown.today else "done"
        yield _Bar(max(at, shown.first), min(last, shown.today), count, state, not shown.revised.isdisjoint(days))
        at = last + dt.timedelta(days=1)


def _drawn(key: str, shown: Usage, width: float, bar_days: int) -> Drawing:
    bars = list(_bars(shown, bar_days))
    means = [shown.baseline_a_day * bar_days] if shown.baseline_a_day is not None else []
    grid = steps(max([bar.count for bar in bars] + means + [1.0]))
    axis = max(width_of(number(at)) for at in grid) + 8
    begin, end = midnight(bars[0].first), midnight(shown.today + dt.timedelta(days=1))
    x = Scale(seconds(begin), seconds(end), axis, width - 2)
    events = [Mark(x(seconds(midnight(one.day))), one.said) for one in shown.events if one.day >= bars[0].first]
    top = arrange(events, axis, width)
    high = 8 + rows_of(top) * ROW + (6 if top else 0)
    floor = high + TALL
    y = Scale(0.0, grid[-1], floor, high)
    per = "a day" if bar_days == 1 else "a week"
    parts: list[Markup] = [hatch(key, "hatch")]
    for at in grid:
        parts.append(line(x.start, y(at), x.end, y(at), "grid" if at else "axis"))
        parts.append(text(axis - 6, y(at) + 4, number(at), at="end", look="quiet"))
    for one in shown.held:
        left, right = _edges(x, one.first, one.last)
        if right > left:
            parts.append(rect(left, high, right - left, TALL, "held", fill=f"url(#{key})"))
            if right - left > width_of("held") + 4:
                parts.append(text((left + right) / 2, high + 14, "held", at="middle", look="quiet halo"))
    for bar in bars:
        left, right = _edges(x, bar.first, bar.last)
        gap = 1.0 if right - left > 4 else 0.4
        tall = floor - y(bar.count)
        look = " ".join(part for part in ("bar", bar.state, _place(bar, shown), bar.revised and REVISED) if part)
        if bar.state == "unfinished":
            left, right = left + 0.75, right - 0.75
        says = f"{_when(bar)}: {_said(bar, shown.unit)}"
        parts.append(rect(left, floor - tall, right - left - gap, tall, look))
        parts.append(rect(left, high, right - left, TALL, "hit", data_says=says))
    parts.append(line(x.start, floor, x.end, floor, "axis"))
    if shown.baseline_a_day is not None:
        mean = shown.baseline_a_day * bar_days
        start = x(seconds(midnight(shown.baseline.first))) if shown.baseline else x.start
        parts.append(line(max(start, x.start), y(mean), x.end, y(mean), "mean"))
    parts += [line(mark.x, high - 4, mark.x, floor, "event") for mark in events]
    parts.append(above(top, high - 4))
    parts.append(ticks(x, floor))
    strips, height = _strips(key, shown, x, floor + 24, width, bar_days, per)
    return Drawing(width, height, joined([*parts, strips]), readable=True)


def _strips(key: str, shown: Usage, x: Scale, y: float, width: float, bar_days: int, per: str) -> tuple[Markup, float]:
    """The windows as strips under the axis: the baseline hatched, the current one filled, each with what it comes to."""
    parts: list[Markup] = []
    marks: list[Mark] = []
    for span, name, look in ((shown.baseline, "baseline", "strip base"), (shown.window, "now", "strip now")):
        if span is None:
            continue
        left, right = _edges(x, span.first, span.until - dt.timedelta(days=1))
        fill = f"url(#{key})" if name == "baseline" else None
        if right - left >= 1:
            parts.append(rect(left, y, right - left, 9.0, look, fill=fill))
        mean = number(round(span.a_day * bar_days, 1))
        said = f"{name} {number(span.total)} in {span.days} d, {mean} {per}"
        marks.append(Mark((left + right) / 2, said, "strong" if name == "now" else "", bold=name == "now"))
    if shown.baseline is None and shown.baseline_a_day is not None:
        mean = number(round(shown.baseline_a_day * bar_days, 1))
        marks.insert(0, Mark(x.start, f"dashed: baseline, {mean} {per}"))
    late = [on for on in shown.revised if shown.first <= on <= shown.today]
    if late:
        left, right = _edges(x, min(late), max(late))
        marks.append(Mark((left + right) / 2, "dotted: changed by what came late"))
    if not marks:
        return Markup(""), y
    placed = arrange(marks, 0.0, width)
    parts.append(below(placed, y + 11))
    return joined(parts), y + 11 + rows_of(placed) * ROW + 4


def _edges(x: Scale, first: dt.date, last: dt.date) -> tuple[float, float]:
    return x(seconds(midnight(first))), x(seconds(midnight(last + dt.timedelta(days=1))))


def _place(bar: _Bar, shown: Usage) -> str:
    for span, look in ((shown.window, "now"), (shown.baseline, "base")):
        if span is not None and span.first <= bar.first and bar.last < span.until:
            return look
    return ""


def _when(bar: _Bar) -> str:
    if bar.first == bar.last:
        return f"{bar.first:%a} {day(bar.first)}"
    return f"{day(bar.first, bar.last)} to {day(bar.last)}"


def _said(bar: _Bar, unit: str) -> str:
    if bar.state == "held":
        return "held, its source is silent"
    late = ", changed by what came late" if bar.revised else ""
    return f"{number(bar.count)} {unit}{' so far' if bar.state == 'unfinished' else ''}{late}"


def _described(shown: Usage) -> str:
    parts = [f"From {day(shown.first)} to {day(shown.today)}, UTC days; the last one is not over."]
    for span, name in ((shown.baseline, "The baseline"), (shown.window, "The current window")):
        if span is not None:
            last = span.until - dt.timedelta(days=1)
            mean = number(round(span.a_day, 1))
            parts.append(
                f"{name}, {day(span.first)} to {day(last)}, has {number(span.total)} {shown.unit} in {span.days} days, "
                f"{mean} a day."
            )
    parts += [f"{one.said}: {day(one.day)}." for one in shown.events]
    return " ".join(parts)
