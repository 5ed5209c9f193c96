"""Time since something: a silence and the day on which it is too long, or a fact and the day until which it counts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from services.api.console.charts.evidence import Proof
from services.api.console.charts.labels import ROW, Mark, above, arrange, rows_of
from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import NARROW, WIDE, Drawing, hatch, joined, line, rect, text, width_of
from services.api.console.charts.time_axis import midnight, seconds, ticks
from services.api.console.charts.words import day, days, measure, number

BAND = 26.0
BEFORE = 0.4
"""How much time before the silence is shown, as a share of it."""


def gap(key: str, proof: Proof, usage: Mapping[dt.date, int], *, fades: bool = False) -> list[Drawing]:
    """The drawings of a time; none where the evidence does not say since when, or for how long it may last.

    `fades`: the limit is not when it is too long, but when what happened no longer counts.
    """
    if proof.start is None or proof.value is None or proof.threshold is None or proof.threshold <= 0:
        return []
    return [
        _drawn(f"{key}-{width:.0f}", proof, proof.start, proof.value, proof.threshold, usage, width, fades=fades)
        for width in (WIDE, NARROW)
    ]


def _drawn(
    key: str,
    proof: Proof,
    last: dt.datetime,
    value: float,
    limit: float,
    usage: Mapping[dt.date, int],
    width: float,
    *,
    fades: bool,
) -> Drawing:
    now = last + dt.timedelta(days=value)
    due = last + dt.timedelta(days=limit)
    shown = max(value, limit, 1.0)
    begin, end = last - dt.timedelta(days=BEFORE * shown), last + dt.timedelta(days=1.08 * shown)
    scale = Scale(seconds(begin), seconds(end), 1.0, width - 1.0)
    until = "counts for" if fades else "limit"
    marks = [
        Mark(scale(seconds(last)), f"{'on' if fades else 'since'} {day(last.date(), now.date())}"),
        Mark(scale(seconds(due)), f"{until} {days(round(limit))}, {day(due.date(), now.date())}"),
    ]
    if now - due > dt.timedelta(hours=12):
        marks.append(Mark(scale(seconds(now)), f"judged {day(now.date(), now.date())}"))
    top = arrange(marks, 0.0, width)
    y = 6 + rows_of(top) * ROW + 6
    from_x, to_x = scale(seconds(last)), scale(seconds(now))
    parts = [
        hatch(key, "hatch"),
        rect(scale.start, y, scale.end - scale.start, BAND, "track"),
        rect(from_x, y, to_x - from_x, BAND, "value" if fades else "silence", fill=None if fades else f"url(#{key})"),
    ]
    most = max((count for on, count in usage.items() if begin <= midnight(on) <= last), default=0)
    for on, count in sorted(usage.items()):
        if most and count and begin <= midnight(on) and on <= last.date():
            left = scale(seconds(midnight(on)))
            tall = BAND * count / most
            wide = max(1.0, min(scale(seconds(midnight(on) + dt.timedelta(days=1))), from_x + 2) - left - 0.5)
            parts.append(rect(left, y + BAND - tall, wide, tall, "bar"))
    said = f"{number(value)} {measure(proof.measure)}"
    if width_of(said, bold=True) > to_x - from_x - 12:
        said = f"{number(value)} {proof.unit}"
    if not fades and width_of(said, bold=True) < to_x - from_x - 12:
        parts.append(text((from_x + to_x) / 2, y + BAND / 2 + 4, said, at="middle", look="strong halo"))
    parts += [
        line(from_x, y - 6, from_x, y + BAND, "baseline-line"),
        line(scale(seconds(due)), y - 6, scale(seconds(due)), y + BAND + 4, "limit raise"),
        line(to_x, y - 6, to_x, y + BAND, "now-line"),
        above(top, y - 6),
        line(scale.start, y + BAND, scale.end, y + BAND, "axis"),
        ticks(scale, y + BAND),
    ]
    return Drawing(width, y + BAND + 22, joined(parts))
