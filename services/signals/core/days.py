"""Time as integers: microseconds since 1970 (`us`), UTC days and ISO weeks counted from 1970."""

from __future__ import annotations

import calendar
import datetime as dt
from functools import lru_cache

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
_ORDINAL_1970 = 719_163
NEVER = 1 << 62
"""An instant after every other: nothing is due."""


def day_of(us: int) -> int:
    """The UTC day (days since 1970-01-01) that holds an instant."""
    return us // DAY_US


def midnight(day: int) -> int:
    """The first instant of a UTC day."""
    return day * DAY_US


def midnight_from(us: int) -> int:
    """The first midnight that is not before an instant."""
    return -(-us // DAY_US) * DAY_US


def week_of(day: int) -> int:
    """The ISO week (Monday to Sunday) of a day, counted from the week of 1970-01-01, a Thursday."""
    return (day + 3) // 7


@lru_cache(4096)
def date_of(day: int) -> dt.date:
    """The calendar date of a day number."""
    return dt.date.fromordinal(day + _ORDINAL_1970)


def day_of_date(date: dt.date) -> int:
    """The day number of a calendar date."""
    return date.toordinal() - _ORDINAL_1970


def add_months(day: int, months: int) -> int:
    """The same day of the month `months` later, or that month's last day where it is shorter."""
    date = date_of(day)
    index = date.year * 12 + date.month - 1 + months
    year, month = divmod(index, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day_of_date(dt.date(year, month + 1, min(date.day, last)))


def day_of_iso(text: str | None) -> int:
    """The day number of a date as text, -1 where there is none."""
    return day_of_date(dt.date.fromisoformat(text)) if text else -1
