"""Lifecycle reminders: something is due on a day, opens at that day's midnight, and ends when it is done or no longer useful.

Each reminder is two functions over what is known of an account: the days on which it is due, and whether what was due on a
day has been done. What they share is here, so that all reminders open and close alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from services.signals.core.days import day_of, midnight
from services.signals.core.signal import Context, Finding


class Due(NamedTuple):
    """The latest day up to today on which it was due, and the next one after today; -1 for none."""

    last: int = -1
    next: int = -1


def once(day: int, today: int) -> Due:
    """Due on one day, -1 for none."""
    return Due(day, -1) if day <= today else Due(-1, day)


def every(first: int, days: int, today: int) -> Due:
    """Due on a day and every so many days after it; never where the day is -1."""
    if first < 0 or first > today:
        return Due(-1, first)
    last = first + (today - first) // days * days
    return Due(last, last + days)


def next_midnight(at: int) -> int:
    """The day whose midnight is the next after an instant (µs), -1 where the instant is -1."""
    return -1 if at < 0 else day_of(at) + 1


def last_answer(c: Context, kind: str) -> int:
    """When a survey of this kind was last answered by anybody (µs), -1 for never."""
    known = c.dossier.engagement.surveys.known.values()
    return max((survey.answered_at for survey in known if survey.kind == kind), default=-1)


class Reminder(Struct, frozen=True):
    """`due` says when it is due, `done` whether what was due on a day is done, `stays` whether a day is still one of its days.

    The threshold `open_days` is how long after its day a reminder is of use, 0 for as long as it is not done.
    """

    due: Callable[[Context], Due]
    done: Callable[[Context, int], bool]
    stays: Callable[[Context, int], bool] | None = None

    def raises(self, c: Context) -> Finding | None:
        """At a midnight, on its day or while it is still of use."""
        day = self._pending(c) if c.midnight else -1
        return None if day < 0 else Finding("info", frozen={"due": day, "renewals": c.account.hot.renewals})

    def clears(self, c: Context) -> str | None:
        """Done, of no use any more, or no longer due on that day."""
        day = c.open.frozen["due"]
        if self.done(c, day):
            return "done"
        if self._over(c, day):
            return "expired"
        stays = day in self.due(c) if self.stays is None else self.stays(c, day)
        return None if stays else "not_applicable"

    def wakes(self, c: Context) -> int:
        """The next midnight at which time alone may open or close it."""
        if c.episode is not None:
            days = c.p["open_days"]
            return midnight(c.open.frozen["due"] + days) if days else 0
        if self._pending(c) >= 0:
            return midnight(c.today + 1)
        day = self.due(c).next
        return midnight(day) if day >= 0 else 0

    def _pending(self, c: Context) -> int:
        """The day on which something was due that is neither done nor over, -1 for none."""
        day = self.due(c).last
        return -1 if day < 0 or self._over(c, day) or self.done(c, day) else day

    @staticmethod
    def _over(c: Context, day: int) -> bool:
        days = c.p["open_days"]
        return bool(days) and c.today >= day + days
