"""What people of an account do beyond using the product: training, community, references, reviews, referrals."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from services.signals.core.days import DAY_US, NEVER, midnight

TRAINING_DAYS: Final = 200
COMMUNITY_DAYS: Final = 100
KEPT_ACTS: Final = 12
KEPT_MOVES: Final = 20


class Moved(Struct, array_like=True):
    """A champion who left for another company, named where it is known. `at` in µs."""

    name: str
    where: str
    at: int
    event_id: str


class Advocacy(Struct, array_like=True):
    """Training and community per day; the latest references, reviews and referrals by time (µs); champions who moved."""

    training: dict[int, int] = {}
    community: dict[int, int] = {}
    references: list[int] = []
    reviews: list[int] = []
    referrals: list[int] = []
    moved: dict[str, Moved] = {}  # by contact id

    def acts(self, now: int, days: int) -> list[int]:
        """When references, reviews and referrals were given in the trailing `days`: of each the latest `KEPT_ACTS`."""
        since = now - days * DAY_US
        return [at for at in (*self.references, *self.reviews, *self.referrals) if since < at <= now]

    def move(self, contact: str, moved: Moved) -> None:
        """A champion moved; the latest word on each counts, and the latest `KEPT_MOVES` are kept."""
        known = self.moved.get(contact)
        if known is not None and known.at > moved.at:
            return
        self.moved[contact] = moved
        if len(self.moved) > KEPT_MOVES:
            del self.moved[min(self.moved, key=lambda who: (self.moved[who].at, who))]


def count_day(days: dict[int, int], day: int, today: int, kept: int) -> None:
    """Count one on its day; only the last `kept` days are held."""
    if day <= today - kept:
        return
    days[day] = days.get(day, 0) + 1
    if len(days) > kept:
        for old in [known for known in days if known <= today - kept]:
            del days[old]


def sum_days(days: dict[int, int], today: int, last: int) -> int:
    """The sum over the last `last` days including today."""
    return sum(count for day, count in days.items() if today - last < day <= today)


def first_leaving(days: Iterable[int], today: int, last: int) -> int:
    """The midnight (µs) at which the oldest of these days leaves the last `last` days, NEVER where none is in them."""
    oldest = min((day for day in days if today - last < day <= today), default=-1)
    return NEVER if oldest < 0 else midnight(oldest + last)


def note_act(acts: list[int], at: int) -> None:
    """A reference, review or referral was given."""
    insort(acts, at)
    del acts[:-KEPT_ACTS]
