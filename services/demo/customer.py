"""One invented customer: what kind it is to be, and what its whole life rests on.

Everything follows from the plan (what kind of customer, from when in trouble) and the customer's own random numbers.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import Final, Literal

Archetype = Literal[
    "healthy",
    "growing",
    "booming",
    "declining",
    "silent",
    "core_erosion",
    "narrowing",
    "key_user_gone",
    "one_user",
    "shelfware",
    "outages",
    "support_burst",
    "same_topic",
    "aged_critical",
    "recovered",
    "misfit",
    "late_payer",
    "paying_later",
    "card_failing",
    "contracting",
    "slow_growth",
    "buyer",
    "support_and_billing",
    "detractor",
    "sponsor_lost",
    "neglected",
    "evaluating",
    "broken_promises",
    "power_users",
    "stuck_users",
    "churned",
    "tiny",
    "late_onboarding",
    "never_started",
    "slack",
    "stuck_pilot",
    "hidden_pilot",
]
Tier = Literal["high", "low", "tech"]

APP, HELPDESK, BILLING, CRM = "demo/app", "demo/helpdesk", "demo/billing", "demo/crm"

WELL: Final[tuple[Archetype, ...]] = ("healthy", "growing", "booming", "tiny", "power_users")
"""Kinds of customers that are never in trouble."""
NEW: Final[tuple[Archetype, ...]] = ("late_onboarding", "never_started", "slack", "stuck_pilot", "hidden_pilot")
"""Kinds of customers whose trouble is how they begin."""
PILOTS: Final[tuple[Archetype, ...]] = ("stuck_pilot", "hidden_pilot")

SEATS: Final[dict[Tier, tuple[int, ...]]] = {"high": (20, 25, 30, 40), "low": (8, 10, 12, 15, 20), "tech": (6, 8, 10)}
FAST_INDUSTRY: Final = "software"
"""In it customers pay a third more from year to year, in the others little."""
INDUSTRIES: Final = (FAST_INDUSTRY, "financial services", "retail", "logistics", "health", "manufacturing", "media")
FIRST_HOUR: Final = {"EMEA": 7, "AMER": 13, "APAC": 1}
TERM_DAYS: Final = 365
ACTIVE_SHARE: Final = (0.6, 0.7)
"""Licences in use by a customer as most are: over half, under the 80 % at which more are sold."""


@dataclass(frozen=True)
class Plan:
    """What a customer is to be. Days count from the first day of the simulation; `starts` is 0 for one already there.

    `users` begins the ids of its people. `trouble` is the day on which the archetype's story begins, `churns` the day
    on which the customer leaves, if so. `renewal` is a day on which a term of the contract ends.
    """

    account: str
    name: str
    users: str
    archetype: Archetype
    tier: Tier
    starts: int
    trouble: int
    churns: int | None
    renewal: int


class Customer:
    """Who one customer is. `first` is the simulation's first day, `days` its length.

    `last` is the day on which its life ends: the simulation's end, or when it leaves.
    """

    def __init__(self, plan: Plan, first: dt.date, days: int, rng: random.Random) -> None:
        self.plan = plan
        self.first = first
        self.last = days if plan.churns is None else min(days, plan.churns)
        self.rng = rng
        self.region = rng.choice(tuple(FIRST_HOUR))
        self.industry = FAST_INDUSTRY if plan.archetype == "slow_growth" else rng.choice(INDUSTRIES)
        self.seats = rng.choice(SEATS[plan.tier])
        share = rng.uniform(*ACTIVE_SHARE)
        fixed: dict[Archetype, tuple[int, int]] = {
            "stuck_users": (25, 16),  # room for newcomers, without filling the licences
            "tiny": (4, 3),
            "one_user": (3, 1),
            "stuck_pilot": (60, 9),
            "hidden_pilot": (12, 8),
        }
        self.seats, self.pool = fixed.get(plan.archetype, (self.seats, round(share * self.seats)))
        self.monthly = plan.tier == "tech" or plan.archetype in ("paying_later", "card_failing")
        self.mrr = self.seats * rng.choice((35, 45, 60)) * (2 if plan.tier == "high" else 1)
        # A little growth every year: what a customer that stays has.
        self.growth = rng.uniform(0.04, 0.16)
        self.saturday = rng.random() < 0.1
        terms = [plan.renewal + TERM_DAYS * number for number in range(-2, 3)]
        self.renewals = [day for day in terms if day > plan.starts]
        """The days on which a term ends, from the first after the beginning on."""
        # The history that is imported says what was paid in the term before, where there was one.
        self.contract_start = self.renewals[0] - TERM_DAYS * (1 if plan.starts else rng.choice((1, 2, 3)))

    @property
    def fast(self) -> bool:
        """Whether what it pays rises as its industry's fast growers' does."""
        return self.industry == FAST_INDUSTRY and not self.is_a("slow_growth")

    def at(self, day: int, hour: float | None = None) -> dt.datetime:
        """An instant on a day of the simulation: at `hour` UTC, or somewhere in the customer's working hours."""
        if hour is None:
            hour = FIRST_HOUR[self.region] + self.rng.random() * 9
        midnight = dt.datetime.combine(self.first, dt.time(), dt.UTC) + dt.timedelta(days=day)
        return midnight + dt.timedelta(seconds=round(hour * 3600))

    def date(self, day: int) -> str:
        """A day of the simulation as a date."""
        return (self.first + dt.timedelta(days=day)).isoformat()

    def working_day(self, day: int) -> int:
        """`day`, or the Monday after it where it falls on a weekend."""
        weekday = (self.first + dt.timedelta(days=day)).weekday()
        return day + (7 - weekday if weekday > 4 else 0)

    def is_a(self, *archetypes: Archetype) -> bool:
        """Whether it is of one of these kinds."""
        return self.plan.archetype in archetypes

    def in_trouble(self, day: int, *archetypes: Archetype) -> bool:
        """Whether it is of one of these kinds, and the kind's story has begun by `day`."""
        return day >= self.plan.trouble and self.plan.archetype in archetypes

    def user(self, slot: int, generation: int = 0) -> str:
        """The id of the person in a slot; those who took the slot over have generations from 1 on."""
        first = user_id(self.plan.users, slot)
        return f"{first}.{generation}" if generation else first


def user_id(users: str, slot: int) -> str:
    """The id of the person in a slot, 0 and up; `users` is the customer's own beginning of ids."""
    return f"{users}-{slot + 1:02d}"
