"""Numbers, days and measures as they are read."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation

VAST = 10**12
"""From here on a number is written with its power of ten."""
MEASURES = {
    "nps": "NPS",
    "mrr": "MRR",
    "csat_mean": "CSAT mean",
    "usage_28d": "uses in 28 days",
    "usage_2w": "uses in two weeks",
    "usage_7d": "uses in 7 days",
}
"""Measures whose name does not read by itself."""


def number(value: float | int | Decimal) -> str:
    """1,204 · 43.2 · 0.057: groups of three, and as many places as a small number needs."""
    if abs(float(value)) >= VAST:
        return f"{value:.3g}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    size = abs(float(value))
    places = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    shown = f"{value:,.{places}f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown).replace("-", "−")


def signed(value: float, places: int = 1) -> str:
    """+3.2 · −9 · 0: with its sign, and a real minus."""
    shown = f"{round(value, places) + 0.0:.{places}f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return f"+{shown}" if value > 0 and shown != "0" else shown.replace("-", "−")


def measured(value: object) -> float | None:
    """A value of the contract as a number; None for a text that is none, and for nothing."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return float(found) if found.is_finite() else None


def said(value: object) -> str:
    """A value of the contract in words: a number grouped, a text as it is, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    found = measured(value)
    return str(value) if found is None else number(Decimal(str(value)))


def measure(name: str) -> str:
    """`days_since_usage` as words."""
    return MEASURES.get(name, name.replace("_", " "))


def day(at: dt.date, beside: dt.date | None = None) -> str:
    """3 Nov, with the year where it is not that of `beside`."""
    shown = f"{at.day} {at:%b}"
    return shown if beside is not None and beside.year == at.year else f"{shown} {at.year}"


def days(count: int) -> str:
    """`1 day`, `28 days`."""
    return "1 day" if count == 1 else f"{number(count)} days"
