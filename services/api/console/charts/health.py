"""Health day by day over its bands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import NARROW, WIDE, Drawing, Table, figure, joined, line, rect, tag, text
from services.api.console.charts.time_axis import midnight, seconds, ticks
from services.api.console.charts.words import day, number, signed

BANDS = (("thriving", 85.0, 100.0), ("healthy", 70.0, 85.0), ("watch", 40.0, 70.0), ("critical", 0.0, 40.0))
"""Bands with the scores between which they lie."""
TALL = 150.0
SHOWN_DAYS = 92


class ScoredDay(Struct, frozen=True):
    """The score with which a UTC day ended; None where nothing could be scored."""

    day: dt.date
    score: float | None


def health_line(key: str, history: Sequence[ScoredDay], until: dt.date, *, caption: str | None = None) -> Markup:
    """The last 92 days up to `until`; nothing where fewer than two of them have a score."""
    first = until - dt.timedelta(days=SHOWN_DAYS - 1)
    shown = sorted((one for one in history if first <= one.day <= until), key=lambda one: one.day)
    scored = [(one.day, one.score) for one in shown if one.score is not None]
    if len(scored) < 2:
        return Markup("")
    begin = max(first, scored[0][0])
    known = dict(scored)
    drawings = [_drawn(known, begin, until, width) for width in (WIDE, NARROW)]
    lowest, highest = min(known.values()), max(known.values())
    said = (
        f"Health by day from {day(begin)} to {day(until)}: {number(scored[0][1])} at first, {number(scored[-1][1])} at last, "
        f"between {number(lowest)} and {number(highest)}. Bands: thriving from 85, healthy from 70, watch from 40."
    )
    rows = [(day(on), number(score)) for on, score in reversed(scored)]
    return figure(key, "Health by day", said, drawings, Table(("Day (UTC)", "Score"), rows), caption=caption)


def _drawn(known: dict[dt.date, float], begin: dt.date, until: dt.date, width: float) -> Drawing:
    names = 58.0
    x = Scale(seconds(midnight(begin)), seconds(midnight(until)), 4.0, width - names - 6)
    y = Scale(0.0, 100.0, TALL, 8.0)
    parts = []
    for name, low, high in BANDS:
        parts.append(rect(x.start, y(high), x.end - x.start, y(low) - y(high), f"band {name}"))
        parts.append(text(width - names + 2, (y(low) + y(high)) / 2 + 4, name, look="quiet"))
        if low:
            parts.append(line(x.start, y(low), x.end, y(low), "grid"))
    parts += [tag("polyline", points=_points(run, x, y), class_="health") for run in _runs(known)]
    before: float | None = None
    for on, score in sorted(known.items()):
        change = "" if before is None else f", {signed(score - before)} on the day before"
        at = {"cx": x(seconds(midnight(on))), "cy": y(score), "r": 2.0}
        parts.append(tag("circle", class_="point", data_says=f"{day(on, until)}: {number(score)}{change}", **at))
        before = score
    last_day = max(known)
    last = (x(seconds(midnight(last_day))), y(known[last_day]))
    parts.append(tag("circle", cx=last[0], cy=last[1], r=4.5, class_="point last"))
    over = last[1] - 9 if last[1] > 24 else last[1] + 18
    parts.append(text(last[0] - 2, over, number(known[last_day]), at="end", look="strong halo"))
    parts += [line(x.start, TALL, x.end, TALL, "axis"), ticks(x, TALL)]
    return Drawing(width, TALL + 22, joined(parts), readable=True)


def _points(run: list[tuple[dt.date, float]], x: Scale, y: Scale) -> str:
    return " ".join(f"{x(seconds(midnight(on))):.1f},{y(score):.1f}" for on, score in run)


def _runs(known: dict[dt.date, float]) -> list[list[tuple[dt.date, float]]]:
    """Days in a row: a line is never drawn over days without a score."""
    runs: list[list[tuple[dt.date, float]]] = []
    for on, score in sorted(known.items()):
        if runs and (on - runs[-1][-1][0]).days == 1:
            runs[-1].append((on, score))
        else:
            runs.append([(on, score)])
    return runs
