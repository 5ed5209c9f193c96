"""The portfolio's own movement: measured once a day from every account, and held against what one account did.

A fall that most accounts share (a holiday, an outage of ours) says nothing about one of them. `measure` is the only
definition of it: a backtest feeds it from the recording, the recorder from the database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from schemas.events.accounts import PortfolioMeasured, SourceState, TierMeasure
from services.signals.core.days import DAY_US, HOUR_US

MIN_ACCOUNTS: Final = 20
"""Fewer accounts than these are no portfolio: the median of a few is one of them."""
MIN_BASELINE: Final = 20
"""Uses in the 28 days before that an account needs in order to take part."""
MIN_WEEKDAY: Final = 3
"""Mean uses on the same weekday that an account needs in order to take part in a day's change."""
MIN_ANSWERS: Final = 20
"""Answers of the last 90 days that make a mean score: the mean of a few is that of one account."""
MIN_SEGMENT: Final = 2
"""Accounts with a known growth that make a segment's mean."""
AWAITED_US: Final = HOUR_US - 1
"""How long after a midnight the ended day's measure is waited for, in event time. Nothing else is due at that microsecond."""
DAYS_KEPT: Final = 10
SUNDAYS_KEPT: Final = 6
"""Weeks for which a Sunday's measure is kept: who compares weeks in a row asks for that of four weeks before the last."""
SHARE: Final = 0.5
"""The portfolio shares a fall when it fell by at least this part of what is a fall for one account."""
DEFAULT_TIER: Final = "low"


class Row(Struct):
    """One account as a day ended.

    `current` are uses over the 28 days that end with the day, `previous` those over the 28 before. `on_day` are the
    day's own, `weekdays` those of the same weekday one to four weeks earlier. `growth` is the change of MRR over twelve
    months as a ratio minus one. `nps` and `csat` are (sum, number) of the answers of the last 90 days.
    """

    tier: str | None = None
    industry: str | None = None
    current: int = 0
    previous: int = 0
    on_day: int = 0
    weekdays: tuple[int, ...] = ()
    growth: float | None = None
    nps: tuple[int, int] = (0, 0)
    csat: tuple[int, int] = (0, 0)


class Measure(Struct, array_like=True):
    """One day's measure as a partition keeps it: since when it is known (µs), and the changes, of all and by tier.

    A change is (28 days against the 28 before, the day against the same weekday), each a ratio minus one, or None.
    """

    at: int
    accounts: int
    change: tuple[float | None, float | None] = (None, None)
    tiers: dict[str, tuple[float | None, float | None]] = {}
    late: list[int] = []  # numbers of the feeds that were late as the day ended

    def of(self, tier: str) -> tuple[float | None, float | None]:
        """The changes that an account of this tier is held against: its tier's where that was measured, else all."""
        return self.tiers.get(tier, self.change)


class Benchmarks(Struct, array_like=True):
    """What accounts are compared with: the mean scores, and the mean growth by industry."""

    nps_mean: float | None = None
    csat_mean: float | None = None
    growth: dict[str, float] = {}


def measure(rows: Iterable[Row], day: dt.date, late: Sequence[SourceState] = ()) -> PortfolioMeasured:
    """The portfolio's movement as `day` ended. `accounts` says how many took part in `usage_change`, `late` which sources
    were late then.

    Accounts without a baseline are left out; a tier, and a day's change, are measured from `MIN_ACCOUNTS` on, a mean
    score from `MIN_ANSWERS` on, an industry's growth from `MIN_SEGMENT` on.
    """
    changes: dict[str, list[float]] = {}
    days: dict[str, list[float]] = {}
    growth: dict[str, list[float]] = {}
    scores = [0, 0, 0, 0]
    for row in rows:
        tier = row.tier or DEFAULT_TIER
        if row.previous >= MIN_BASELINE:
            changes.setdefault(tier, []).append(row.current / row.previous - 1)
        if len(row.weekdays) == 4 and all(row.weekdays):
            usual = sum(row.weekdays) / 4
            if usual >= MIN_WEEKDAY:
                days.setdefault(tier, []).append(row.on_day / usual - 1)
        if row.growth is not None and row.industry:
            growth.setdefault(row.industry, []).append(row.growth)
        scores[0] += row.nps[0]
        scores[1] += row.nps[1]
        scores[2] += row.csat[0]
        scores[3] += row.csat[1]
    everybody = [change for found in changes.values() for change in found]
    by_tier = {
        tier: TierMeasure(usage_change=_median(found), usage_change_day=_median(days.get(tier, []), MIN_ACCOUNTS))
        for tier, found in sorted(changes.items())
        if len(found) >= MIN_ACCOUNTS
    }
    return PortfolioMeasured(
        day=day,
        accounts=len(everybody),
        usage_change=_median(everybody),
        usage_change_day=_median([change for found in days.values() for change in found], MIN_ACCOUNTS),
        by_tier=by_tier or None,
        nps_mean=round(scores[0] / scores[1], 4) if scores[1] >= MIN_ANSWERS else None,
        csat_mean=round(scores[2] / scores[3], 4) if scores[3] >= MIN_ANSWERS else None,
        growth_mean_by_segment={
            industry: round(sum(found) / len(found), 4)
            for industry, found in sorted(growth.items())
            if len(found) >= MIN_SEGMENT
        }
        or None,
        late_sources=list(late) or None,
    )


def _median(values: list[float], least: int = 1) -> float | None:
    return round(median(values), 4) if len(values) >= least else None


def kept(told: PortfolioMeasured, at: int, late: list[int]) -> Measure:
    """What a partition keeps of a measure that is known from `at` (µs) on; `late` are the numbers of late feeds."""
    tiers = {tier: (one.usage_change, one.usage_change_day) for tier, one in (told.by_tier or {}).items()}
    return Measure(at, told.accounts, (told.usage_change, told.usage_change_day), tiers, late)


def explained(change: float, threshold: float, shared: float, share: float = SHARE, fall: float | None = None) -> bool:
    """Whether the portfolio's own change explains an account's fall. All are ratios minus one: -0.25 is a quarter less.

    It does when the portfolio fell by at least `share` of `fall` (of the threshold, unless given), unless the account is
    past the threshold even against the portfolio: 60 % less where everybody has 30 % less is 43 % less.
    """
    if round(shared, 9) > round(share * (threshold if fall is None else fall), 9):
        return False
    return shared <= -1 or round((1 + change) / (1 + shared), 9) > round(1 + threshold, 9)


def awaited_until(now: int) -> int:
    """The instant up to which a decision of the day roll before `now` waits for the ended day's measure."""
    return now - now % DAY_US + AWAITED_US
