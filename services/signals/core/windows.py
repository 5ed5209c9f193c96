"""Windows as sums of buckets: 92 day buckets and 56 ISO-week buckets per measure, and today's counts beside them.

Ages count back from `today`: age 0 is the running day or week. A day leaves the day ring at age 92 and lives on in its week.
Counting on the running day, which is nearly every event, is one addition; a window is summed when somebody asks for it,
which is when a deadline has come or a record is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.signals.core.days import week_of

MEASURES: Final = ("usage", "core", "errors")
"""What is counted: feature uses in production, those of core features, and errors seen. Append only: the order is in stored
state."""
USAGE: Final = 0
CORE: Final = 1
ERRORS: Final = 2

DAYS: Final = 92
WEEKS: Final = 56

CHANGED_DAYS: Final = 8
"""Days whose change may wait in the account's own record before the stored buckets are written anew."""


class Windows:
    """Buckets of every measure of one account: the built-in ones, then operators' in the order of their numbers in `own`.

    A ring that never counted anything is None.
    `now` are the running day's counts, in no ring yet. `changed` holds what was counted since the stored buckets were
    written, by day: the stored buckets and these give the rings again. `stale` asks for the buckets to be written anew.
    """

    __slots__ = ("changed", "days", "now", "own", "stale", "today", "weeks")

    def __init__(self, today: int = 0, own: Sequence[int] = ()) -> None:
        measures = len(MEASURES) + len(own)
        self.own = own
        self.today = today
        self.now: list[int] = [0] * measures
        self.days: list[list[int] | None] = [None] * measures
        self.weeks: list[list[int] | None] = [None] * measures
        self.changed: dict[int, list[int]] = {}
        self.stale = False

    def advance(self, today: int) -> None:
        """Move to a later day: today's counts get a bucket, buckets age. An earlier day changes nothing."""
        before = self.today
        if today <= before:
            return
        for measure, amount in enumerate(self.now):
            if amount:
                self._count(measure, before, amount)
                self.now[measure] = 0
        self.age(today)

    def age(self, today: int) -> None:
        """Move the rings to a later day: the buckets of the days and weeks between are empty."""
        before = self.today
        self.today = today
        step = today - before
        last = week_of(today)
        passed = min(last - week_of(before), WEEKS)
        for measure, ring in enumerate(self.days):
            if ring is None:
                continue
            if step == 1:
                ring[today % DAYS] = 0
            elif step >= DAYS:
                self.days[measure] = [0] * DAYS
            else:
                for new in range(before + 1, today + 1):
                    ring[new % DAYS] = 0
        if passed:
            for ring in self.weeks:
                if ring is not None:
                    for week in range(last - passed + 1, last + 1):
                        ring[week % WEEKS] = 0

    def add(self, measure: int, day: int, amount: int) -> None:
        """Count `amount` on a day that is not after today. Older than the buckets reach: in weeks only, or nowhere."""
        if day == self.today:
            self.now[measure] += amount
        else:
            self._count(measure, day, amount)

    def _count(self, measure: int, day: int, amount: int) -> None:
        counts = self.changed.get(day)
        if counts is None:
            counts = self.changed[day] = [0] * len(self.now)
            self.stale = self.stale or len(self.changed) > CHANGED_DAYS
        counts[measure] += amount
        self.put(measure, day, amount)

    def put(self, measure: int, day: int, amount: int) -> None:
        """Count in the rings alone."""
        if self.today - day < DAYS:
            days = self.days[measure]
            if days is None:
                days = self.days[measure] = [0] * DAYS
            days[day % DAYS] += amount
        week = week_of(day)
        if week_of(self.today) - week < WEEKS:
            weeks = self.weeks[measure]
            if weeks is None:
                weeks = self.weeks[measure] = [0] * WEEKS
            weeks[week % WEEKS] += amount

    def on_age(self, measure: int, age: int) -> int:
        """The bucket of the day `age` days ago."""
        if not age:
            return self.now[measure]
        ring = self.days[measure]
        return ring[(self.today - age) % DAYS] if ring is not None and age < DAYS else 0

    def complete(self, measure: int, newest: int, oldest: int) -> int:
        """Sum over the complete days from `newest` (1 is yesterday) to `oldest` days ago, both included."""
        ring = self.days[measure]
        if ring is None:
            return 0
        first, last = (self.today - oldest) % DAYS, (self.today - newest) % DAYS
        return sum(ring[first : last + 1]) if first <= last else sum(ring[first:]) + sum(ring[: last + 1])

    def last_7(self, measure: int) -> int:
        """Sum over the last 7 days including today."""
        return self.now[measure] + self.complete(measure, 1, 6)

    def last_28(self, measure: int) -> int:
        """Sum over the last 28 days including today."""
        return self.now[measure] + self.complete(measure, 1, 27)

    def previous_28(self, measure: int) -> int:
        """Sum over the 28 days before the last 28."""
        return self.complete(measure, 28, 55)

    def complete_28(self, measure: int) -> int:
        """Sum over the 28 complete days before today."""
        return self.complete(measure, 1, 28)

    def complete_previous_28(self, measure: int) -> int:
        """Sum over the 28 complete days before those of `complete_28`."""
        return self.complete(measure, 29, 56)

    def complete_weeks(self, measure: int, newest: int, oldest: int) -> int:
        """Sum over the ISO weeks from `newest` to `oldest` weeks ago, both included; 1 is the last complete week."""
        ring = self.weeks[measure]
        if ring is None:
            return 0
        week = week_of(self.today)
        return sum(ring[(week - age) % WEEKS] for age in range(newest, oldest + 1))

    def by_age(self, measure: int, ages: int) -> list[int]:
        """The buckets of the last `ages` (at most 92) days, today's first."""
        ring = self.days[measure]
        if ring is None:
            return [self.now[measure]] + [0] * (ages - 1)
        today = self.today % DAYS
        uses = (ring[today::-1] + ring[:today:-1])[:ages]
        uses[0] = self.now[measure]
        return uses

    def weeks_by_age(self, measure: int) -> list[int]:
        """The buckets of the last 56 weeks, the running week's first."""
        week, today = week_of(self.today), self.now[measure]
        ring = self.weeks[measure]
        if ring is None:
            return [today] + [0] * (WEEKS - 1)
        return [ring[week % WEEKS] + today] + [ring[(week - age) % WEEKS] for age in range(1, WEEKS)]
