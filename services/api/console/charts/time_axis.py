"""Instants along a line: months and days under it."""

from __future__ import annotations

import datetime as dt

from markupsafe import Markup

from services.api.console.charts.labels import GAP
from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import joined, line, text, width_of
from services.api.console.charts.words import day

_STEPS = (1, 2, 7, 14, 28, 91, 182, 364)


def seconds(at: dt.datetime) -> float:
    """An instant as a number."""
    return at.timestamp()


def midnight(on: dt.date) -> dt.datetime:
    """The instant at which a UTC day begins."""
    return dt.datetime.combine(on, dt.time(), dt.UTC)


def ticks(scale: Scale, y: float) -> Markup:
    """Days under a line at `y`, as many as there is room for. The scale is of seconds."""
    first = dt.datetime.fromtimestamp(scale.low, dt.UTC).date()
    last = dt.datetime.fromtimestamp(scale.high, dt.UTC).date()
    room = max(scale.end - scale.start, 1.0)
    widest = width_of("30 Nov 2026" if first.year != last.year else "30 Nov") + 3 * GAP
    step = next((n for n in _STEPS if (last - first).days / n * widest <= room), _STEPS[-1])
    parts: list[Markup] = []
    right = scale.start - GAP
    for n in range(0, (last - first).days + 1, step):
        at = first + dt.timedelta(days=n)
        x = scale(seconds(midnight(at)))
        said = day(at, last)
        left = max(scale.start, min(x - width_of(said) / 2, scale.end - width_of(said)))
        if seconds(midnight(at)) < scale.low or left < right + GAP:
            continue
        right = left + width_of(said)
        parts += [line(x, y, x, y + 4, "axis"), text(left, y + 16, said, look="quiet")]
    return joined(parts)
