"""Overdue: the ladder of days on which it gets worse, and how far up it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.api.console.charts.evidence import Proof
from services.api.console.charts.labels import ROW, Mark, above, arrange, below, rows_of
from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import NARROW, WIDE, Drawing, joined, line, rect
from services.api.console.charts.words import days, measured, number

STEP = 15.0


def ladder(proof: Proof, given: object) -> list[Drawing]:
    """The drawings of a ladder from `thresholds.steps` (`[[days, severity], …]`); none where there are none."""
    steps = steps_of(given)
    if proof.value is None or not steps:
        return []
    return [_drawn(proof.value, steps, width) for width in (WIDE, NARROW)]


def steps_of(given: object) -> list[tuple[float, str]]:
    """Steps in their order."""
    found: list[tuple[float, str]] = []
    for one in given if isinstance(given, Sequence) and not isinstance(given, str) else ():
        pair: Any = one
        if isinstance(pair, Sequence) and len(pair) == 2 and (at := measured(pair[0])) is not None:
            found.append((at, str(pair[1])))
    return sorted(found)


def _drawn(value: float, steps: list[tuple[float, str]], width: float) -> Drawing:
    high = max(value, steps[-1][0]) * 1.12
    scale = Scale(0.0, high, 1.0, width - 1.0)
    top = arrange([Mark(scale(value), f"now {days(round(value))} overdue", "strong", bold=True)], 0.0, width)
    y = 4 + rows_of(top) * ROW + 6
    floor = y + STEP * len(steps) + 6
    parts = []
    ends = [*(at for at, _ in steps[1:]), high]
    for n, ((at, severity), until) in enumerate(zip(steps, ends, strict=True)):
        tall = STEP * (n + 1)
        reached = "reached" if value >= at else "ahead"
        parts.append(rect(scale(at), floor - tall, scale(until) - scale(at), tall, f"step {severity} {reached}"))
    marks = [Mark(scale(at), f"{number(at)} d {severity}") for at, severity in steps]
    under = arrange(marks, 0.0, width)
    parts += [
        line(scale.start, floor, scale.end, floor, "axis"),
        line(scale(value), y - 4, scale(value), floor, "now-line"),
        above(top, y - 4),
        below(under, floor + 4),
    ]
    return Drawing(width, floor + 4 + rows_of(under) * ROW + 4, joined(parts))
