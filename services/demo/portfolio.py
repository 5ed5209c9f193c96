"""A vendor's portfolio of customers over months: most of them well, some in every kind of trouble, and who they are.

Everything is a function of the number of accounts, the days, the seed and the last day: the same bytes every time.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.demo.beginnings import LEAVES_DAYS
from services.demo.customer import CRM, HELPDESK, NEW, TERM_DAYS, WELL, Archetype, Customer, Plan, Tier
from services.demo.events import Draft, encode, us
from services.demo.life import life

PER_MILLE: Final[dict[Archetype, int]] = {
    "healthy": 465,
    "growing": 45,
    "booming": 15,
    "declining": 30,
    "silent": 25,
    "core_erosion": 20,
    "narrowing": 10,
    "key_user_gone": 10,
    "one_user": 10,
    "shelfware": 20,
    "outages": 10,
    "support_burst": 25,
    "same_topic": 15,
    "aged_critical": 15,
    "recovered": 10,
    "misfit": 10,
    "late_payer": 25,
    "paying_later": 10,
    "card_failing": 10,
    "contracting": 20,
    "slow_growth": 10,
    "buyer": 10,
    "support_and_billing": 10,
    "detractor": 30,
    "sponsor_lost": 20,
    "neglected": 15,
    "evaluating": 10,
    "broken_promises": 10,
    "power_users": 15,
    "stuck_users": 20,
    "churned": 10,
    "tiny": 10,
    "late_onboarding": 10,
    "never_started": 5,
    "slack": 5,
    "stuck_pilot": 5,
    "hidden_pilot": 5,
}
"""How many of a thousand customers are of which kind. Of each kind there is one, where there are accounts enough."""

TOUCHED: Final[tuple[Archetype, ...]] = (
    "support_burst",
    "same_topic",
    "neglected",
    "evaluating",
    "broken_promises",
    "booming",
    "stuck_pilot",
    "hidden_pilot",
)
"""Kinds that the tech tier does not have: its thresholds are far away, or nobody there talks to people."""
TIERS: Final[tuple[Tier, ...]] = ("high", "low", "tech")
LATE_SHARE, REPEATED_SHARE = 0.015, 0.005
"""Events of use that arrive up to a day and a half late; events that their producer sends twice."""

RELEASE_EVERY_DAYS: Final = 120
HISTORY_DAY: Final = 5
"""The day on which the contracts of customers that were there already are imported, with their history."""
STOP_AT, STOP_DAYS = 0.4, 5
"""After what part of the simulation the helpdesk sends nothing, from a Wednesday on for how many days; then all of it."""

UNUSUAL_IDS: Final = ("Åkerström & Söner AB", "東京データ株式会社", "acme corp / EMEA", "naïve.co?ref=1#2", "🚀 launch")
FIRST_NAMES: Final = ("Nord", "Blue", "Quick", "Bright", "Stone", "River", "Silver", "Open", "Prime", "Clear")
LAST_NAMES: Final = ("bank", "works", "cart", "lane", "field", "grid", "press", "yard", "port", "mill", "labs", "care")


class Label(NamedTuple):
    """What a customer was made to be: the truth that signals can be judged by. `trouble_from` None: never."""

    account: str
    archetype: Archetype
    tier: Tier
    trouble_from: dt.date | None
    churned_on: dt.date | None


@dataclass(frozen=True)
class Simulation:
    """Events as (arrival in µs, line of JSON) in order of arrival, and the labels by account.

    Late events arrive after their time: in the file they stand where they arrived. What customers of long ago paid
    before the first day is imported in the first week.
    """

    events: list[tuple[int, bytes]]
    labels: list[Label]


def simulate(accounts: int, days: int, seed: int, end_day: dt.date) -> Simulation:
    """A portfolio of `accounts` customers over `days` days, of which `end_day` (UTC) is the last.

    Raises ValueError, naming the argument, unless there are 1-100,000 accounts, 1-3,650 days and the last day is of
    the years 1990-2900.
    """
    if not 1990 <= end_day.year <= 2900:
        raise ValueError(f"end_day: {end_day} is not in the years 1990 to 2900")
    if not 1 <= accounts <= 100_000:
        raise ValueError(f"accounts: {accounts} is not between 1 and 100000")
    if not 1 <= days <= 3650:
        raise ValueError(f"days: {days} is not between 1 and 3650")
    first = end_day - dt.timedelta(days=days - 1)
    end = us(dt.datetime.combine(end_day, dt.time(), dt.UTC)) + 86_400_000_000
    span = _Span(us(dt.datetime.combine(first, dt.time(), dt.UTC)), end, _stop(first, days))
    releases = [(day, f"release-{number}") for number, day in enumerate(range(60, days, RELEASE_EVERY_DAYS), 1)]
    arrivals: list[tuple[int, int, bytes]] = []
    labels: list[Label] = []
    for index, (plan, rng) in enumerate(_plans(accounts, days, seed)):
        drafts = life(Customer(plan, first, days, rng), releases)
        arrivals.extend(_arrive(index, plan.account, drafts, span, rng))
        labels.append(_label(plan, first, days))
    arrivals.extend(_released(releases, first, end))
    arrivals.sort(key=lambda arrival: arrival[:2])
    return Simulation([(at, line) for at, _, line in arrivals], labels)


def simulate_labels(accounts: int, days: int, seed: int, end_day: dt.date) -> list[Label]:
    """Only the labels of the portfolio that `simulate` makes of the same arguments."""
    first = end_day - dt.timedelta(days=days - 1)
    return [_label(plan, first, days) for plan, _ in _plans(accounts, days, seed)]


def _plans(accounts: int, days: int, seed: int) -> Iterator[tuple[Plan, random.Random]]:
    """Every customer's plan, with the random numbers that the rest of its life is made of."""
    for index, archetype in enumerate(_archetypes(accounts, random.Random(f"{seed}/archetypes"))):
        rng = random.Random(f"{seed}/{index}")
        yield _plan(index, archetype, days, rng), rng


def users_of(index: int) -> str:
    """The beginning of the user ids of the customer in this place of the labels."""
    return f"u{index + 1:04d}"


def _archetypes(accounts: int, rng: random.Random) -> list[Archetype]:
    """The kinds of all accounts in random order, in the shares of `PER_MILLE`; of few accounts half are of a kind each."""
    special = {archetype: share for archetype, share in PER_MILLE.items() if archetype != "healthy"}
    chosen: list[Archetype]
    if accounts >= 2 * len(special):
        chosen = [kind for kind, share in special.items() for _ in range(max(1, accounts * share // 1000))]
    else:
        chosen = rng.sample(list(special), accounts // 2)
    chosen.extend(["healthy"] * (accounts - len(chosen)))
    rng.shuffle(chosen)
    return chosen


def _plan(index: int, archetype: Archetype, days: int, rng: random.Random) -> Plan:
    tier = rng.choices(TIERS, (15, 55, 30))[0]
    if archetype in TOUCHED and tier == "tech":
        tier = "low"
    if archetype == "tiny":
        tier = "tech"
    starts = rng.randrange(1, max(2, days - 60)) if archetype == "healthy" and rng.random() < 0.14 else 0
    # Late enough for a baseline, early enough for the consequences.
    early, late = (70, days - 45) if archetype != "core_erosion" else (40, days - 190)
    if archetype == "buyer":
        early, late = 240, days - 90  # five orders tell what is usual
    elif archetype == "paying_later":
        early = 130  # and three invoices
    trouble = rng.randrange(early, late) if late > early else max(1, days // 2)
    if archetype in NEW:
        starts = trouble = rng.randrange(1, max(2, days - 130))
    if starts:
        renewal = starts + TERM_DAYS
    elif archetype in WELL:
        renewal = rng.randrange(20, 20 + TERM_DAYS)
    else:  # what goes wrong before a renewal matters most
        renewal = trouble + rng.randrange(25, 260)
    churns = None
    if archetype == "churned":
        churns = trouble + rng.randrange(75, 120)
    elif archetype == "silent" and rng.random() < 0.5:
        churns = max(renewal, trouble + 65)
    elif archetype == "stuck_pilot":
        churns = starts + LEAVES_DAYS
    name = f"{rng.choice(FIRST_NAMES)}{rng.choice(LAST_NAMES)}"
    account = (
        UNUSUAL_IDS[index // 17] if index % 17 == 5 and index // 17 < len(UNUSUAL_IDS) else f"acct-{index + 1:04d}"
    )
    return Plan(
        account=account,
        name=f"{name.capitalize()} {index + 1}",
        users=users_of(index),
        archetype=archetype,
        tier=tier,
        starts=starts,
        trouble=trouble,
        churns=churns if churns is not None and churns < days else None,
        renewal=renewal,
    )


def _label(plan: Plan, first: dt.date, days: int) -> Label:
    return Label(
        plan.account,
        plan.archetype,
        plan.tier,
        None if plan.archetype in WELL or plan.trouble >= days else first + dt.timedelta(days=plan.trouble),
        None if plan.churns is None else first + dt.timedelta(days=plan.churns),
    )


class _Span(NamedTuple):
    """The simulation's time in µs: its first instant, its end, and from when to when the helpdesk sends nothing."""

    first: int
    end: int
    stop: tuple[int, int]


def _stop(first: dt.date, days: int) -> tuple[int, int]:
    """From when to when (µs) the helpdesk sends nothing: from a Wednesday to a Monday."""
    day = first + dt.timedelta(days=round(STOP_AT * days))
    day += dt.timedelta(days=(2 - day.weekday()) % 7)
    begins = us(dt.datetime.combine(day, dt.time(), dt.UTC))
    return begins, begins + STOP_DAYS * 86_400_000_000


def _arrive(
    index: int, account: str, drafts: list[Draft], span: _Span, rng: random.Random
) -> Iterator[tuple[int, int, bytes]]:
    """The events as they arrive: (instant, customer's number, line). What would arrive after the end has not happened."""
    for number, draft in enumerate(drafts, 1):
        at = us(draft.time)
        line = encode(draft, f"sim-{index + 1}-{number}", account)
        if at < span.first:
            at = span.first + HISTORY_DAY * 86_400_000_000 + index * 1_000_000 + number * 1_000
        elif draft.source == HELPDESK and span.stop[0] <= at < span.stop[1]:
            at = span.stop[1] + (at - span.stop[0]) // 1000
        elif draft.type == "usage.feature_used" and rng.random() < LATE_SHARE:
            at += round(min(36.0, rng.expovariate(1 / 3)) * 3_600_000_000)
        if at >= span.end:
            continue
        yield at, index, line
        if rng.random() < REPEATED_SHARE:
            again = at + rng.randrange(1, 900) * 1_000_000
            if again < span.end:
                yield again, index, line


def _released(releases: list[tuple[int, str]], first: dt.date, end: int) -> Iterator[tuple[int, int, bytes]]:
    """The news of each new feature, for everybody."""
    for day, feature in releases:
        at = dt.datetime.combine(first, dt.time(6), dt.UTC) + dt.timedelta(days=day)
        if us(at) < end:
            yield us(at), -1, encode(Draft(at, "feature.released", {"feature": feature}, CRM), f"sim-{feature}", None)
