"""Raw records: events as the oracle keeps them, and calendar arithmetic in whole microseconds of UTC."""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import Any

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR


@dataclass(frozen=True)
class Record:
    """One applied event. `seq` is its place in the file; `in_days` is false where it was too late for day windows."""

    seq: int
    account: str
    source: str
    id: str
    type: str
    t: int
    data: dict[str, Any]
    in_days: bool = True

    @property
    def order(self) -> tuple[int, int]:
        """Event time, ties by arrival: the greatest of several statements about one field wins."""
        return self.t, self.seq


def us(time: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time."""
    moment = dt.datetime.fromisoformat(time)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def iso(t: int) -> str:
    """The UTC time of `t` as RFC 3339 with `Z`, seconds only unless there are microseconds."""
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=t)
    return moment.isoformat() + "Z"


def day_of(t: int) -> int:
    """The UTC day that holds `t`, counted from 1970-01-01. Midnight belongs to the day it begins."""
    return t // DAY


def day_of_date(date: str) -> int:
    """The number of a calendar date such as `2024-02-29`."""
    return (dt.date.fromisoformat(date) - dt.date(1970, 1, 1)).days


def week_of_day(day: int) -> int:
    """The ISO week of a day, counted so that neighbours differ by one (1970-01-01 was a Thursday)."""
    return (day + 3) // 7


def months_later(date: str, months: int) -> str:
    """The same day of the month `months` later, or that month's last day where it is shorter."""
    start = dt.date.fromisoformat(date)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return dt.date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1])).isoformat()
