"""The period that measures are taken over, and the instant that they are taken at."""

from __future__ import annotations

import datetime as dt
from typing import Final

from msgspec import Struct

FIRST_DAY: Final = dt.date(1970, 1, 1)
LONGEST_DAYS: Final = 3700
FUTURE: Final = dt.timedelta(hours=24)
TICK: Final = dt.timedelta(microseconds=1)


class PeriodError(Exception):
    """A parameter that gives no period: which one, why, and what to do."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


class Period(Struct, frozen=True, kw_only=True):
    """From `start` up to but not including `end`: what happened before the one is held at the opening, before the other
    at the close.

    `first` and `last` are its days; `last` may be after `day`, the one that it is at the end, for terms that end later
    in a period that still runs. `past`: `end` is before now, so that the latest of anything may be later.
    """

    start: dt.datetime
    end: dt.datetime
    first: dt.date
    last: dt.date
    day: dt.date
    past: bool


def resolve(now: dt.datetime, as_of: dt.datetime | None, first: dt.date | None, last: dt.date | None) -> Period:
    """The period of what was asked. Without `as_of`: up to now; `last`: that day; `first`: the start of its quarter.

    What happened at the instant `as_of` itself counts. Raises PeriodError.
    """
    at = (as_of or now).astimezone(dt.UTC)
    if at > now + FUTURE:
        raise PeriodError("as_of", f"{at.isoformat()} is in the future; nothing is known of it yet")
    if at.date() < FIRST_DAY:
        raise PeriodError("as_of", f"nothing is recorded before {FIRST_DAY}")
    last = last or at.date()
    first = first or quarter_start(min(last, at.date()))
    if first < FIRST_DAY:
        raise PeriodError("from", f"nothing is recorded before {FIRST_DAY}")
    if first > last:
        raise PeriodError("from", f"{first} is after the last day of the period, {last}")
    if first > at.date():
        raise PeriodError("from", f"{first} is after the day of as_of, {at.date()}")
    if (last - first).days > LONGEST_DAYS:
        raise PeriodError("from", f"a period is at most {LONGEST_DAYS} days; the last day is {last}")
    end = min(at + TICK, _midnight(last + dt.timedelta(days=1)))
    return Period(start=_midnight(first), end=end, first=first, last=last, day=(end - TICK).date(), past=end <= now)


def quarter_start(day: dt.date) -> dt.date:
    """The first day of the calendar quarter that holds a day."""
    return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
