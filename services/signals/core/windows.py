"""Windows as sums of buckets: 92 day buckets and 56 ISO-week buckets per measure, with running sums, so that a read is O(1).

Ages count back from `today`: age 0 is the running day or week. A day leaves the day ring at age 92 and lives on in its week.
"""

from __future__ import annotations

from typing import Final

from services.signals.core.days import week_of

MEASURES: Final = ("usage", "core")
"""What is counted: feature uses in production, and those of core features. Append only: the order is in stored state."""
USAGE: Final = 0
CORE: Final = 1

UNCHANGING: Final = 1 << 40
"""A number of days that never pass."""

EDGES: Final = (1, 7, 28, 29, 56, 57, 90)
"""Ages at which a day enters or leaves a window that is compared or shown."""

LAST_AGES: Final = tuple(edge - 1 for edge in EDGES)

DAYS: Final = 92
WEEKS: Final = 56

STEPS: Final = tuple(next((edge - age for edge in EDGES if edge > age), UNCHANGING) for age in range(DAYS))
"""By age, in how many days a bucket of that age next enters or leaves a window."""


class Windows:
    """Buckets and running sums of every measure of one account.

    `sums[m]` holds, for measure m, the sums over ages [0,7), [0,28), [28,56) and [0,90).
    """

    __slots__ = ("days", "stale_history", "sums", "today", "weeks")

    def __init__(self, today: int = 0) -> None:
        self.today = today
        self.days = [[0] * DAYS for _ in MEASURES]
        self.weeks = [[0] * WEEKS for _ in MEASURES]
        self.sums = [[0, 0, 0, 0] for _ in MEASURES]
        self.stale_history = False  # the stored history lacks something other than today's and this week's bucket

    def advance(self, today: int) -> None:
        """Move to a later day: buckets age, windows lose what leaves them. An earlier day changes nothing."""
        step = today - self.today
        if step <= 0:
            return
        if not any(any(ring) for ring in self.weeks):
            self.today = today  # nothing to age, and nothing in the stored history either
            return
        self.stale_history = True
        if step >= DAYS:
            for m in range(len(MEASURES)):
                self.days[m] = [0] * DAYS
                self.sums[m] = [0, 0, 0, 0]
        else:
            for ring, sums in zip(self.days, self.sums, strict=True):
                for new in range(self.today + 1, today + 1):
                    sums[0] -= ring[(new - 7) % DAYS]
                    leaves_28 = ring[(new - 28) % DAYS]
                    sums[1] -= leaves_28
                    sums[2] += leaves_28 - ring[(new - 56) % DAYS]
                    sums[3] -= ring[(new - 90) % DAYS]
                    ring[new % DAYS] = 0
        first, last = week_of(self.today) + 1, week_of(today)
        for week in range(max(first, last - WEEKS + 1), last + 1):
            for ring in self.weeks:
                ring[week % WEEKS] = 0
        self.today = today

    def add(self, measure: int, day: int, amount: int) -> None:
        """Count `amount` on a day that is not after today. Older than the buckets reach: in weeks only, or nowhere."""
        age = self.today - day
        if age < DAYS:
            self.days[measure][day % DAYS] += amount
            sums = self.sums[measure]
            if age < 28:
                sums[1] += amount
                if age < 7:
                    sums[0] += amount
            elif age < 56:
                sums[2] += amount
            if age < 90:
                sums[3] += amount
        week = week_of(day)
        if week_of(self.today) - week < WEEKS:
            self.weeks[measure][week % WEEKS] += amount
        if age:
            self.stale_history = True

    def on_age(self, measure: int, age: int) -> int:
        """The bucket of the day `age` days ago."""
        return self.days[measure][(self.today - age) % DAYS] if age < DAYS else 0

    def last_7(self, measure: int) -> int:
        """Sum over the last 7 days including today."""
        return self.sums[measure][0]

    def last_28(self, measure: int) -> int:
        """Sum over the last 28 days including today."""
        return self.sums[measure][1]

    def previous_28(self, measure: int) -> int:
        """Sum over the 28 days before the last 28."""
        return self.sums[measure][2]

    def last_90(self, measure: int) -> int:
        """Sum over the last 90 days including today."""
        return self.sums[measure][3]

    def complete_28(self, measure: int) -> int:
        """Sum over the 28 complete days before today."""
        return self.sums[measure][1] - self.on_age(measure, 0) + self.on_age(measure, 28)

    def complete_previous_28(self, measure: int) -> int:
        """Sum over the 28 complete days before those of `complete_28`."""
        return self.sums[measure][2] - self.on_age(measure, 28) + self.on_age(measure, 56)

    def complete_weeks(self, measure: int, newest: int, oldest: int) -> int:
        """Sum over the ISO weeks from `newest` to `oldest` weeks ago, both included; 1 is the last complete week."""
        week, ring = week_of(self.today), self.weeks[measure]
        return sum(ring[(week - age) % WEEKS] for age in range(newest, oldest + 1))

    def next_change(self) -> int:
        """In how many days a midnight first changes something that is compared or shown, `UNCHANGING` if none does."""
        today, ring = self.today, self.days[USAGE]  # no measure counts a day on which usage counts nothing
        if any(ring[(today - age) % DAYS] for age in LAST_AGES):
            return 1
        nearest = min((STEPS[age] for age in range(DAYS) if ring[(today - age) % DAYS]), default=UNCHANGING)
        return min(nearest, 7 - (today + 3) % 7) if any(self.weeks[CORE]) else nearest
