"""A number beside what it is compared to: a bar, its baseline as a tick, and where it raises (solid) and clears (dashed)."""

from __future__ import annotations

from collections.abc import Sequence

from services.api.console.charts.evidence import Line, Proof
from services.api.console.charts.labels import ROW, Mark, above, arrange, below, rows_of
from services.api.console.charts.scale import spanning
from services.api.console.charts.svg import NARROW, WIDE, Drawing, joined, line, rect, shortened, text
from services.api.console.charts.words import measure, number, said

BAR = 20.0
OVER = 6.0
WORDS = {"raise": "raises at", "critical": "critical at", "clear": "clears at"}


def bullet(proof: Proof, lines: Sequence[Line], beside: str = "baseline") -> list[Drawing]:
    """The drawings of one number; none where it has nothing to be compared with. `beside` is what its baseline is."""
    if not any((proof.value, proof.baseline, *(one.value for one in lines))):
        return []
    if proof.value is None or (proof.baseline is None and not lines):
        return []
    return [_drawn(proof, lines, beside, width) for width in (WIDE, NARROW)]


def _drawn(proof: Proof, lines: Sequence[Line], beside: str, width: float) -> Drawing:
    value, baseline = proof.value or 0.0, proof.baseline
    known = [value, *(one.value for one in lines), *([] if baseline is None else [baseline])]
    scale = spanning(known, 1.0, width - 1.0)
    over = [Mark(scale(value), f"now {said(proof.said)}", "strong", bold=True)]
    if baseline is not None:
        over.append(Mark(scale(baseline), f"{beside} {said(proof.said_baseline)}"))
    top = arrange(over, 0.0, width)
    under = arrange([Mark(scale(one.value), f"{WORDS[one.kind]} {number(one.value)}") for one in lines], 0.0, width)
    heading = 18.0
    bar_y = heading + rows_of(top) * ROW + OVER + 4
    end_y = bar_y + BAR
    zero = scale(0.0)
    parts = [
        text(0.0, 12.0, shortened(_heading(proof), width), look="quiet"),
        rect(scale(scale.low), bar_y, scale(scale.high) - scale(scale.low), BAR, "track"),
        rect(min(zero, scale(value)), bar_y + 3, abs(scale(value) - zero), BAR - 6, "value"),
    ]
    if baseline is not None:
        parts.append(rect(scale(baseline) - 1.5, bar_y - OVER, 3.0, BAR + OVER, "baseline"))
    parts += [line(scale(one.value), bar_y, scale(one.value), end_y + OVER, f"limit {one.kind}") for one in lines]
    parts.append(above(top, bar_y - OVER))
    parts.append(below(under, end_y + OVER))
    height = end_y + OVER + rows_of(under) * ROW + 4
    return Drawing(width, height, joined(parts))


def _heading(proof: Proof) -> str:
    name = measure(proof.measure)
    shown = name[:1].upper() + name[1:]
    return shown if proof.unit.lower() in name.lower() else f"{shown} ({proof.unit})"
