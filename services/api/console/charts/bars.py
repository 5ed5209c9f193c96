"""What a score is made of, and by what it changed: bars on one shared scale."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from services.api.console.charts.scale import Scale
from services.api.console.charts.svg import (
    NARROW,
    WIDE,
    Drawing,
    Table,
    figure,
    joined,
    line,
    rect,
    shortened,
    tag,
    text,
    width_of,
)
from services.api.console.charts.words import number, signed

PART_WIDTH, PART_TALL = 150.0, 16.0
ROW_TALL = 24.0
LABEL_MOST = 0.52
"""The most of a drawing's width that the names of steps take."""
WORTH = 0.05
"""A change of a smaller share of the value is not blown up: it looks as small as it is."""
NEAR = 1.2
"""How far below the lowest of near values their scale begins, as a share of their spread."""


class Step(Struct, frozen=True):
    """One step of a waterfall; `said` is its change in words where it is no plain number."""

    name: str
    change: float
    said: str | None = None

    @property
    def words(self) -> str:
        """The change as it is read."""
        return self.said or signed(self.change)


class Level(Struct, frozen=True):
    """Where a waterfall begins or ends."""

    name: str
    value: float
    said: str | None = None

    @property
    def words(self) -> str:
        """The value as it is read."""
        return self.said or number(self.value)


def parts_bar(points: float | None, possible: float, most: float) -> Markup:
    """Points of possible points, on a scale that ends at `most`; without data the possible ones stand empty.

    It is decoration beside its numbers, and hidden from readers of the screen.
    """
    scale = Scale(0.0, max(most, 0.1), 0.5, PART_WIDTH - 0.5)
    kind = "missing" if points is None else "possible"
    inner = [rect(scale(0.0), 1.0, scale(possible) - scale(0.0), PART_TALL - 2, f"part {kind}")]
    if points is not None:
        inner.append(rect(scale(0.0), 1.0, scale(points) - scale(0.0), PART_TALL - 2, "part points"))
    box = f"0 0 {PART_WIDTH:g} {PART_TALL:g}"
    return tag(
        "svg", joined(inner), class_="part-bar", viewBox=box, width=PART_WIDTH, height=PART_TALL, aria_hidden="true"
    )


def waterfall(
    key: str,
    begin: Level,
    steps: Sequence[Step],
    end: Level,
    *,
    about: str = "Health",
    unit: str = "Points",
    caption: str | None = None,
) -> Markup:
    """From one value to another by steps that sum to the difference, each a bar where it begins and ends."""
    title = f"{about} from {begin.name} to {end.name}"
    rows = [
        (begin.name, begin.words),
        *((step.name, step.words) for step in steps),
        (end.name, end.words),
    ]
    said = "; ".join(f"{name} {value}" for name, value in rows) + "."
    drawings = [_waterfall(begin, steps, end, width) for width in (WIDE, NARROW)]
    return figure(key, title, said, drawings, Table(("Step", unit), rows), caption=caption)


def _waterfall(begin: Level, steps: Sequence[Step], end: Level, width: float) -> Drawing:
    levels = [begin.value]
    for step in steps:
        levels.append(levels[-1] + step.change)
    names = [begin.name, *(step.name for step in steps), end.name]
    label = min(max(width_of(name, bold=True) for name in names) + 10, width * LABEL_MOST)
    figures = max(width_of(said, bold=True) for said in (begin.words, end.words, *(step.words for step in steps))) + 8
    low, high = min(*levels, end.value), max(*levels, end.value)
    # Small steps between high values are seen: the scale begins near them, which the two whole bars show as broken.
    spread = high - low
    floor = low - NEAR * spread if WORTH * high <= spread < low / 2 else 0.0
    scale = Scale(floor, high if high > floor else floor + 1, label, max(width - figures, label + 40))
    parts: list[Markup] = []

    def row(n: int, name: str, look: str, a: float, b: float, said: str) -> None:
        y = 4 + n * ROW_TALL
        left, right = min(scale(a), scale(b)), max(scale(a), scale(b))
        strong = "strong" if look == "whole" else ""
        parts.append(text(0.0, y + 13, shortened(name, label - 8), look=strong))
        parts.append(rect(left, y, max(right - left, 1.5), ROW_TALL - 7, f"fall {look}"))
        parts.append(text(right + 5, y + 13, said, look=strong))
        if look == "whole" and scale.low > 0:
            cut = f"M{left + 9:.1f} {y - 2:.1f} l-4 {ROW_TALL - 3:.1f}"
            parts.append(tag("path", d=cut, class_="broken"))

    def joint(n: int, value: float) -> None:
        parts.append(line(scale(value), 4 + n * ROW_TALL - 7, scale(value), 4 + n * ROW_TALL, "joint"))

    row(0, begin.name, "whole", scale.low, begin.value, begin.words)
    for n, step in enumerate(steps, 1):
        look = "up" if step.change > 0 else "down" if step.change < 0 else "same"
        row(n, step.name, look, levels[n - 1], levels[n], step.words)
        joint(n, levels[n - 1])
    row(len(steps) + 1, end.name, "whole", scale.low, end.value, end.words)
    joint(len(steps) + 1, levels[-1])
    return Drawing(width, (len(steps) + 2) * ROW_TALL + 2, joined(parts))
