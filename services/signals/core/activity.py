"""Distinct users, exact and cheap: a histogram of each user's last active day. A window's users are a sum over it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

KEPT_DAYS: Final = 92
WINDOW: Final = 28
LOW_ADOPTION: Final = 0.5
"""Share of licences active in 28 days below which a day counts as low."""
EARLY_US: Final = 7 * 86_400_000_000
KEPT_VIEWS: Final = 8
WEEKS_SETTLED: Final = 9


class Activity(Struct, array_like=True):
    """How many users were last active on a day, by day. `in_28` counts those of the last 28 days including today.

    `settled` is what `in_28` was as each of the last ISO weeks ended, the latest last: later news of them changes nothing.
    """

    today: int = 0
    last_active: dict[int, int] = {}
    in_28: int = 0
    settled: list[int] = []

    def advance(self, today: int) -> None:
        """Move to a later day. Days older than 92 are forgotten."""
        if today <= self.today:
            return
        days = self.last_active
        if (today + 3) // 7 != (self.today + 3) // 7 and (days or self.settled):
            self._settle(today)
        if days:
            if self.in_28:
                for day in range(self.today + 1, today + 1) if today - self.today < WINDOW else ():
                    self.in_28 -= days.get(day - WINDOW, 0)
                if today - self.today >= WINDOW:
                    self.in_28 = 0
            if len(days) > KEPT_DAYS:
                self.last_active = {day: users for day, users in days.items() if today - day < KEPT_DAYS}
        self.today = today

    def _settle(self, today: int) -> None:
        """Keep the counts of the weeks that end before a later day."""
        sunday = self.today + 6 - (self.today + 3) % 7
        ends = range(max(sunday, today - 7 * WEEKS_SETTLED - 7), today, 7)
        counts = [self.in_28_ahead(end - self.today) for end in ends] if self.in_28 else [0] * len(ends)
        self.settled = [*self.settled, *counts][-WEEKS_SETTLED:]

    def settled_ago(self, weeks: int) -> int:
        """What `in_28` was as a week ended, 0 for the last complete one, up to 8 weeks before it; 0 where none is known."""
        return self.settled[-1 - weeks] if weeks < len(self.settled) else 0

    def move(self, before: int, day: int) -> bool:
        """A user last active on day `before` (-1: never) is now last active on `day`, which is later and not in the future.

        True when this changed how many were active in the last 28 days.
        """
        days, today = self.last_active, self.today
        change = 0
        if before >= 0 and today - before < KEPT_DAYS:
            left = days[before] - 1
            if left:
                days[before] = left
            else:
                del days[before]
            if today - before < WINDOW:
                change = -1
        if today - day < KEPT_DAYS:
            days[day] = days.get(day, 0) + 1
            if today - day < WINDOW:
                change += 1
        self.in_28 += change
        return change != 0

    def next_change(self) -> int:
        """In how many days a midnight first changes `in_28`, 0 if none does."""
        if not self.in_28:
            return 0
        oldest = self.today - WINDOW
        return min([day for day in self.last_active if day > oldest]) - oldest

    def in_28_ahead(self, ahead: int) -> int:
        """What `in_28` will be `ahead` days from today if nobody is active any more."""
        first = self.today + ahead - WINDOW
        return sum(users for day, users in self.last_active.items() if day > first)
