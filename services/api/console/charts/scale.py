"""From values to places, and round numbers between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct


class Scale(Struct, frozen=True):
    """A straight scale: `low` is at `start` and `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is. Values beyond the ends are at the ends."""
        span = self.high - self.low
        share = 0.0 if span <= 0 else (value - self.low) / span
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def spanning(values: Sequence[float], start: float, end: float, *, room: float = 0.06) -> Scale:
    """A scale from nothing to the furthest of these values, with some room beyond it; both ways where any is negative."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    beyond = (high - low or 1.0) * room
    return Scale(low - beyond if low < 0 else 0.0, high + beyond if high > 0 or low == 0 else 0.0, start, end)


def steps(high: float, about: int = 3) -> list[float]:
    """Round numbers from 0 up to the first that is not under `high`: 1, 2 or 5 times a power of ten apart."""
    if high <= 0 or not math.isfinite(high):
        return [0.0, 1.0]
    rough = high / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9))
    count = math.ceil(high / step - 1e-9)
    return [round(step * n, 10) for n in range(count + 1)]
