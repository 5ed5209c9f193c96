"""A burst: each ticket as a dot where it was opened, under a bracket over the window that counts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts.evidence import Proof
from services.api.console.charts.labels import ROW, Mark, above, arrange, rows_of
from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import NARROW, WIDE, Drawing, joined, line, tag
from services.api.console.charts.time_axis import seconds, ticks
from services.api.console.charts.words import days, number

DOT = 4.0
MOST_SHOWN = 400


class Moment(Struct, frozen=True):
    """Something that happened: when, and what it is called."""

    at: dt.datetime
    said: str


def burst(proof: Proof, moments: Sequence[Moment]) -> list[Drawing]:
    """The drawings of a burst; none where its window or its moments are not known."""
    if proof.start is None or proof.end is None or proof.value is None or proof.end <= proof.start:
        return []
    if not any(proof.start <= one.at <= proof.end for one in moments):
        return []
    return [_drawn(proof, proof.start, proof.end, moments, width) for width in (WIDE, NARROW)]


def _drawn(proof: Proof, start: dt.datetime, end: dt.datetime, moments: Sequence[Moment], width: float) -> Drawing:
    span = end - start
    begin, until = start - span * 2, end + span * 0.15
    scale = Scale(seconds(begin), seconds(until), 1.0, width - 1.0)
    left, right = scale(seconds(start)), scale(seconds(end))
    limit = "" if proof.threshold is None else f", limit {number(proof.threshold)}"
    said = f"{number(proof.value or 0.0)} {proof.unit} in {days(max(span.days, 1))}{limit}"
    top = arrange([Mark((left + right) / 2, said, "strong", bold=True)], 0.0, width)
    y = 4 + rows_of(top) * ROW + 4
    bracket = tag("path", d=f"M{left:.1f} {y + 7:.1f} V{y:.1f} H{right:.1f} V{y + 7:.1f}", class_="bracket")
    dots, deepest = _dots(scale, [one for one in moments if begin <= one.at <= until][:MOST_SHOWN], start, end, y + 16)
    floor = deepest + DOT + 6
    parts = [
        above(top, y),
        bracket,
        dots,
        line(scale.start, floor, scale.end, floor, "axis"),
        ticks(scale, floor),
    ]
    return Drawing(width, floor + 22, joined(parts), readable=True)


def _dots(scale: Scale, moments: list[Moment], start: dt.datetime, end: dt.datetime, y: float) -> tuple[Markup, float]:
    """Dots side by side where they would lie on each other, and how far down they reach."""
    parts, columns, deepest = [], dict[int, int](), y
    for one in sorted(moments, key=lambda m: m.at):
        x = scale(seconds(one.at))
        column = round(x / (2 * DOT + 1))
        place = columns.get(column, 0)
        columns[column] = place + 1
        cy = y + place * (2 * DOT + 1.5)
        deepest = max(deepest, cy)
        look = "dot now" if start <= one.at <= end else "dot"
        says = f"{one.said}, {one.at:%-d %b %H:%M} UTC"
        parts.append(tag("circle", cx=x, cy=cy, r=DOT, class_=look, data_says=says))
    return joined(parts), deepest
