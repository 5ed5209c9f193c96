"""What an entry of the catalogue is made of: the signal, and cases that fire and cases that must stay silent.

A file of this folder defines `SIGNAL` and `CASES` and nothing is registered by hand: the folder is the catalogue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from schemas.envelope import from_us
from schemas.signals import Action, Evidence
from services.signals.core.days import date_of, midnight
from services.signals.core.signal import Context, Fact, Finding, Signal

__all__ = ["Action", "Case", "Context", "Evidence", "Fact", "Finding", "Signal", "day_start", "evidence", "times"]


class Case(Struct, kw_only=True):
    """Events of one account and the transitions that they must give.

    `events` are (time, type, data) or (time, type, data, id); `until` ends the run with the midnight that ends that
    day. `expect` lists (time, what, severity) of this signal in order, with the user appended where the scope is user.
    An empty list is a case that must stay silent.
    """

    name: str
    events: list[tuple[Any, ...]]
    until: str
    expect: list[tuple[str, ...]]


def evidence(
    measure: str,
    value: float | int | str | None,
    unit: str,
    *,
    baseline: float | int | str | None = None,
    threshold: float | int | str | None = None,
    days: tuple[int, int] | None = None,
    window: tuple[int, int] | None = None,
    event_ids: list[str] | None = None,
) -> Evidence:
    """One number. The window is given as whole days [first, last] or as instants in µs [start, end)."""
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    if days is not None:
        start, end = day_start(days[0]), day_start(days[1] + 1)
    elif window is not None:
        start, end = from_us(window[0]), from_us(window[1])
    return Evidence(
        measure=measure,
        value=value,
        unit=unit,
        baseline=baseline,
        threshold=threshold,
        window_start=start,
        window_end=end,
        event_ids=event_ids or None,
    )


def remembered(*limits: tuple[int, *tuple[str, ...]]) -> Callable[[Mapping[str, Any]], str]:
    """`refuses` of a signal whose state reaches back so far only: each limit is for a threshold, or for a sum of some."""

    def refuses(p: Mapping[str, Any]) -> str:
        asked = ((most, " + ".join(names), sum(p[name] for name in names)) for most, *names in limits)
        found = [
            f"{names} is {value}, and no more than {most} is remembered" for most, names, value in asked if value > most
        ]
        return "; ".join(found)

    return refuses


def day_start(day: int) -> dt.datetime:
    """Midnight UTC at the start of a day number."""
    return from_us(midnight(day))


def times(count: int, noun: str) -> str:
    """A count with its noun: `1 ticket`, `3 tickets`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def on(day: int) -> str:
    """A day number as an ISO date."""
    return date_of(day).isoformat()
