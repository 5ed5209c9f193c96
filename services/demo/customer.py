"""One invented customer's life as events: who they are, how they use the product, ask for help, pay and answer.

Everything follows from the plan (what kind of customer, from when in trouble) and the customer's own random numbers.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from services.demo import beginnings
from services.demo.events import Draft

Archetype = Literal[
    "healthy",
    "growing",
    "declining",
    "silent",
    "core_erosion",
    "shelfware",
    "support_burst",
    "aged_critical",
    "late_payer",
    "support_and_billing",
    "detractor",
    "sponsor_lost",
    "power_users",
    "stuck_users",
    "churned",
    "tiny",
    "late_onboarding",
    "stuck_pilot",
]
Tier = Literal["high", "low", "tech"]

APP, HELPDESK, BILLING, CRM = "demo/app", "demo/helpdesk", "demo/billing", "demo/crm"

SEATS: Final[dict[Tier, tuple[int, ...]]] = {"high": (20, 25, 30, 40), "low": (8, 10, 12, 15, 20), "tech": (6, 8, 10)}
CSMS: Final[dict[Tier, tuple[str, ...]]] = {
    "high": ("ines.moreau", "tom.becker", "yuki.sato"),
    "low": ("mia.torres", "jon.hale", "priya.nair", "lea.vogt"),
    "tech": ("pool.digital",),
}
INDUSTRIES: Final = ("software", "financial services", "retail", "logistics", "health", "manufacturing", "media")
FIRST_HOUR: Final = {"EMEA": 7, "AMER": 13, "APAC": 1}
CORE_FEATURES: Final = ("planning", "forecast")
OTHER_FEATURES: Final = ("dashboards", "export", "comments", "search", "integrations")
TOPICS: Final = ("import", "export", "permissions", "reports", "billing", "integrations", "mobile", "notifications")
CATEGORIES: Final = ("how_to", "how_to", "bug", "bug", "feature_request", "performance", "other")
TERM_DAYS: Final = 365
ACTIVE_SHARE: Final = 0.66
"""Licences in use by a customer as most are: over half, under the 80 % at which more are sold."""


@dataclass(frozen=True)
class Plan:
    """What a customer is to be. Days count from the first day of the simulation; `starts` is 0 for one already there.

    `users` begins the ids of its people. `trouble` is the day on which the archetype's story begins, `churns` the day
    on which the customer leaves, if so.
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
    """The events of one plan. `first` is the simulation's first day, `days` its length."""

    def __init__(self, plan: Plan, first: dt.date, days: int, rng: random.Random) -> None:
        self.plan = plan
        self.first = first
        self.last = days if plan.churns is None else min(days, plan.churns)
        self.rng = rng
        self.region = rng.choice(tuple(FIRST_HOUR))
        self.seats = rng.choice(SEATS[plan.tier])
        if plan.archetype == "stuck_users":
            self.seats = 25  # room for newcomers, without filling the licences
        elif plan.archetype == "tiny":
            self.seats = 4
        self.pool = round(ACTIVE_SHARE * self.seats)
        self.monthly = plan.tier == "tech"
        self.mrr = self.seats * rng.choice((35, 45, 60)) * (2 if plan.tier == "high" else 1)
        # A little growth every year: what a customer that stays has.
        self.growth = rng.uniform(0.04, 0.16)
        self.saturday = rng.random() < 0.1
        self._tickets = 0

    def life(self) -> list[Draft]:
        """Every event of this customer, in order of time."""
        drafts = [
            *self._profile(),
            *self._usage(),
            *self._newcomers(),
            *self._support(),
            *self._invoices(),
            *self._engagement(),
            *self._beginning(),
        ]
        drafts.sort(key=lambda draft: draft.time)
        return drafts

    # --- helpers

    def _at(self, day: int, hour: float | None = None) -> dt.datetime:
        """An instant on a day of the simulation: at `hour` UTC, or somewhere in the customer's working hours."""
        if hour is None:
            hour = FIRST_HOUR[self.region] + self.rng.random() * 9
        midnight = dt.datetime.combine(self.first, dt.time(), dt.UTC) + dt.timedelta(days=day)
        return midnight + dt.timedelta(seconds=round(hour * 3600))

    def _date(self, day: int) -> str:
        return (self.first + dt.timedelta(days=day)).isoformat()

    def _working_day(self, day: int) -> int:
        """`day`, or the Monday after it where it falls on a weekend."""
        weekday = (self.first + dt.timedelta(days=day)).weekday()
        return day + (7 - weekday if weekday > 4 else 0)

    def _is(self, *archetypes: Archetype) -> bool:
        return self.plan.archetype in archetypes

    def _user(self, slot: int, generation: int = 0) -> str:
        first = user_id(self.plan.users, slot)
        return f"{first}.{generation}" if generation else first

    # --- profile, people, contract

    def _profile(self) -> Iterator[Draft]:
        plan = self.plan
        begins = plan.starts
        contract_start = plan.renewal - TERM_DAYS
        if not begins:
            contract_start -= TERM_DAYS * self.rng.randrange(3)
        seats = self.seats * 2 if self._is("shelfware") and not begins else self.seats
        value_priced = self._is("healthy") and self.rng.random() < 0.12
        yield Draft(
            self._at(begins, 0.1),
            "account.updated",
            {
                "name": plan.name,
                "tier": plan.tier,
                "industry": self.rng.choice(INDUSTRIES),
                "region": self.region,
                "plan": {"high": "enterprise", "low": "business", "tech": "team"}[plan.tier],
                "seats": seats,
                "mrr": f"{self.mrr}.00",
                "currency": "EUR" if self.region == "EMEA" else "USD",
                "contract_start": self._date(contract_start),
                "contract_end": self._date(plan.renewal),
                "renewal_date": self._date(plan.renewal),
                "auto_renew": plan.tier == "tech",
                "pricing": "value" if value_priced else "per_seat",
                "stage": "live",
                "csm": self.rng.choice(CSMS[plan.tier]),
            },
            CRM,
        )
        for minute, (contact, roles) in enumerate(
            (("sponsor", ["executive_sponsor", "buyer"]), ("champion", ["champion", "admin"]))
        ):
            yield Draft(
                self._at(begins, 0.2 + minute / 60),
                "account.contact_changed",
                {"contact_id": contact, "roles": roles},
                CRM,
            )
        if self._is("growing"):
            goal = {"goal": "faster planning", "metric": "days per cycle", "baseline": 12, "target": 5}
            agreed = max(begins, plan.trouble - 45)
            yield Draft(self._at(agreed, 0.3), "account.goal_set", goal | {"due": self._date(plan.trouble + 20)}, CRM)
            halfway = {"goal": "faster planning", "value": 8}
            yield Draft(self._at((agreed + plan.trouble) // 2, 9), "account.goal_measured", halfway, CRM)
            reached = {"goal": "faster planning", "value": 5, "user": self._user(0)}
            value = self._at(self._working_day(plan.trouble))
            yield Draft(value, "usage.value_reached", reached, APP)
            yield Draft(value, "account.goal_achieved", {"goal": "faster planning", "value": 5}, CRM)
        if self._is("sponsor_lost"):
            yield Draft(self._at(plan.trouble, 9), "account.contact_left", {"contact_id": "sponsor"}, CRM)
            if self.rng.random() < 0.5:
                successor = {"contact_id": "sponsor-2", "roles": ["executive_sponsor"]}
                found = plan.trouble + self.rng.randrange(15, 60)
                if found < self.last:
                    yield Draft(self._at(found, 9), "account.contact_changed", successor, CRM)
        if plan.churns is not None and plan.churns < self.last + 1:
            reason = self.rng.choice(("no ROI", "low adoption", "missing feature", "sponsor change", "acquired"))
            left = {"reason": reason, "avoidable": reason != "acquired"}
            yield Draft(self._at(plan.churns, 17), "account.churned", left, CRM)
        elif plan.renewal < self.last:
            renewed = {"mrr": f"{self.mrr}.00", "term_months": 12}
            yield Draft(self._at(plan.renewal, 11), "account.renewed", renewed, CRM)

    def _beginning(self) -> Iterator[Draft]:
        """How a customer that is new began, as far as the simulation goes."""
        begins = self.plan.starts
        if not begins:
            return
        who = (begins, self._at, self._date)
        if self._is("stuck_pilot"):
            drafts = beginnings.pilot(*who, CRM)
        else:
            begin = beginnings.late_onboarding if self._is("late_onboarding") else beginnings.onboarding
            drafts = begin(*who, self._user(0), APP, CRM)
        ends = self._at(self.last, 0)
        yield from (draft for draft in drafts if draft.time < ends)

    # --- usage

    def _course(self, day: int) -> tuple[float, float, float]:
        """Volume of use, share of it that is core, and share of people present, on a day; 1 is as ever."""
        since = day - self.plan.trouble
        volume = 1 + self.growth * day / TERM_DAYS
        age = day - self.plan.starts
        if self.plan.starts and age < 28:
            volume *= 0.3 + 0.7 * age / 28
        if since < 0:
            return volume, 1.0, 1.0
        if self._is("declining", "churned"):
            left = max(0.4, 1 - since / 60)
            return volume * left, 1.0, left
        if self._is("silent"):
            return (volume, 1.0, 1.0) if since < 1 else (0.0, 1.0, 0.0)
        if self._is("core_erosion"):
            return volume, max(0.45, 1 - since / 250), 1.0
        return volume, 1.0, 1.0

    def _present(self, day: int) -> list[tuple[int, int]]:
        """Who uses the product on a day, as (slot, generation): one every day, others weekly or every other week."""
        date = self.first + dt.timedelta(days=day)
        pool = self.pool
        if self._is("growing") and day >= self.plan.trouble:
            # One more every fortnight, until nine of ten licences are in use.
            pool = min(math.ceil(0.9 * self.seats), pool + (day - self.plan.trouble) // 14)
        presence = self._course(day)[2]
        people = []
        for slot in range(pool):
            every_day = slot == 0
            weekday, week = slot * 3 % 5, date.toordinal() // 7
            if not every_day and (date.weekday() != weekday or (slot % 2 and (week + slot // 2) % 2)):
                continue
            # Where people leave, it is those at the end of the list; a skipped turn now and then is nothing.
            if slot >= max(1, math.ceil(pool * presence)) or (not every_day and self.rng.random() < 0.04):
                continue
            people.append((slot, self._generation(slot, day)))
        return people

    def _generation(self, slot: int, day: int) -> int:
        """Some people are replaced in the course of a year, where a licence more for a month does not matter."""
        if slot % 4 != 3 or self.seats < 15:
            return 0
        return (day + slot * 37) // 240

    def _usage(self) -> Iterator[Draft]:
        seen: set[str] = set()
        for day in range(self.plan.starts, self.last):
            date = self.first + dt.timedelta(days=day)
            factor = _rhythm(date, self.saturday)
            if not factor:
                continue
            volume, core_share, presence = self._course(day)
            if not presence:
                continue
            people = self._present(day)
            total = self.pool * 6 * volume * factor * self.rng.gauss(1, 0.1)
            if self._is("tiny"):
                total = self.rng.choice((0, 0, 0, 1)) if date.weekday() else 1
            if not people or total <= 0:
                continue
            core = round(total * 0.5 * core_share)
            for user in (self._user(*person) for person in people):
                if user not in seen:
                    seen.add(user)
                    yield from self._first_visit(day, user, pages=4)
            yield from self._uses(day, people, core, round(total) - core)
            if self._is("power_users") and 0 <= day - self.plan.trouble < 100:
                yield from self._study(day, self._user(0))
            if self.rng.random() < 0.01:
                yield Draft(self._at(day), "usage.error_seen", {"kind": "error", "message": "timeout"}, APP)

    def _uses(self, day: int, people: list[tuple[int, int]], core: int, other: int) -> Iterator[Draft]:
        """The day's use: one of the people does the core work, the others (or the same one) share the rest."""
        first = self.rng.randrange(len(people))
        rest = [person for index, person in enumerate(people) if index != first] or people
        if core > 0:
            data = {"feature": self.rng.choice(CORE_FEATURES), "user": self._user(*people[first]), "count": core}
            yield Draft(self._at(day), "usage.feature_used", data | {"core": True}, APP)
        for index, person in enumerate(rest):
            count = other // len(rest) + (index < other % len(rest))
            if count or rest is not people:
                data = {"feature": self.rng.choice(OTHER_FEATURES), "user": self._user(*person), "count": max(1, count)}
                yield Draft(self._at(day), "usage.feature_used", data, APP)

    def _first_visit(self, day: int, user: str, pages: int) -> Iterator[Draft]:
        begin = self._at(day)
        yield Draft(begin, "usage.logged_in", {"user": user}, APP)
        for page in range(pages):
            at = begin + dt.timedelta(seconds=40 + 45 * page)
            yield Draft(at, "usage.page_viewed", {"user": user, "page": f"/start/{page + 1}"}, APP)

    def _study(self, day: int, user: str) -> Iterator[Draft]:
        """A session of somebody who wants to know it all: 10 or 11 pages."""
        yield from self._first_visit(day, user, pages=10 + day % 2)

    def _newcomers(self) -> Iterator[Draft]:
        """New users who get stuck: hardly a page in their first week; most come back in the second."""
        if not self._is("stuck_users"):
            return
        for number in range(self.rng.randrange(1, 4)):
            day = self._working_day(self.plan.trouble + 9 * number)
            user = f"{self.plan.users}-new{number + 1}"
            if day < self.last:
                yield from self._first_visit(day, user, pages=self.rng.randrange(3))
            back = self._working_day(day + 8)
            if back < self.last and self.rng.random() < 0.7:
                yield from self._first_visit(back, user, pages=5)

    # --- support

    def _support(self) -> Iterator[Draft]:
        plan = self.plan
        day = plan.starts + 2.0
        quiet_from = (
            plan.trouble - 8 if self._is("support_burst", "support_and_billing", "aged_critical") else self.last
        )
        rate = {"high": 25, "low": 45, "tech": 90}[plan.tier]
        while True:
            # At least five days apart: what heaps up is the archetypes' business, not chance's.
            day += 5 + self.rng.expovariate(1 / rate)
            if day >= self.last:
                break
            silent = self._is("silent") and day > plan.trouble
            if not silent and not quiet_from <= day <= quiet_from + 45:
                priority = self.rng.choices(("P1", "P2", "P3", "P4"), (1, 6, 60, 33))[0]
                yield from self._ticket(self._working_day(int(day)), self.rng.uniform(0.1, 4), priority)
        if self._is("support_burst"):
            for number in range(self.rng.randrange(5, 8)):
                yield from self._ticket(plan.trouble + number * 5 // 7, self.rng.uniform(1, 6), "P3")
        if self._is("aged_critical"):
            yield from self._ticket(plan.trouble, self.rng.uniform(12, 30), self.rng.choice(("P1", "P2")))
        if self._is("support_and_billing"):
            yield from self._ticket(plan.trouble + 20, 30, "P1")

    def _ticket(self, day: int, open_days: float, priority: str) -> Iterator[Draft]:
        if day >= self.last:
            return
        self._tickets += 1
        ticket = {"ticket_id": f"{self.plan.account[:40]}-{self._tickets}"}
        opened = self._at(day)
        details = {
            "priority": priority,
            "user": self._user(self.rng.randrange(max(1, min(3, self.pool)))),
            "topic": self.rng.choice(TOPICS),
            "category": self.rng.choice(CATEGORIES),
        }
        yield Draft(opened, "ticket.opened", ticket | details, HELPDESK)
        resolved = opened + dt.timedelta(minutes=round(open_days * 1440))
        ends = self._at(self.last, 0)
        steps: tuple[tuple[dt.datetime, str, dict[str, int]], ...] = (
            (opened + dt.timedelta(minutes=self.rng.randrange(5, 240)), "responded", {}),
            (resolved, "resolved", {}),
            (resolved + dt.timedelta(hours=30), "closed", {}),
            (resolved + dt.timedelta(hours=31), "rated", {"score": self.rng.choice((3, 4, 4, 5, 5))}),
        )
        for at, step, data in steps:
            if at < ends and (step != "rated" or self.rng.random() < 0.4):
                yield Draft(at, f"ticket.{step}", ticket | data, HELPDESK)

    # --- invoices

    def _invoices(self) -> Iterator[Draft]:
        """Monthly or quarterly invoices, due after 30 days and mostly paid before. A pilot that gets nowhere is free."""
        plan = self.plan
        if self._is("stuck_pilot"):
            return
        period = 30 if self.monthly and not self._is("late_payer", "support_and_billing") else 91
        amount = f"{self.mrr * (1 if period == 30 else 3)}.00"
        if self._is("late_payer", "support_and_billing"):
            issued = (plan.trouble - 30) % period  # one falls due on the day the trouble begins
        else:
            issued = plan.starts or self.rng.randrange(period)
        issued += period * math.ceil(max(0, plan.starts - issued) / period)
        for number, day in enumerate(range(issued, self.last, period), 1):
            due = day + 30
            invoice = {"invoice_id": f"INV-{number:03d}"}
            details = {"amount": amount, "currency": "EUR" if self.region == "EMEA" else "USD", "due": self._date(due)}
            lines = [{"product": "platform", "quantity": self.seats}]
            yield Draft(self._at(day, 8), "invoice.issued", invoice | details | {"lines": lines}, BILLING)
            paid = due - self.rng.randrange(1, 21) if self.rng.random() < 0.99 else due + self.rng.randrange(2, 5)
            if self._is("late_payer") and due >= plan.trouble:
                paid = due + self.rng.choice((6, 20, 38, 66))
            if self._is("support_and_billing") and due == plan.trouble:
                paid = due + 50
            if self._is("silent", "churned") and due > plan.trouble + 30:
                paid = due + self.rng.choice((10, 40, 90))
            if paid < self.last:
                settled = invoice | {"amount": amount, "currency": details["currency"]}
                yield Draft(self._at(paid, 12), "invoice.paid", settled, BILLING)

    # --- surveys and contact

    def _engagement(self) -> Iterator[Draft]:
        plan = self.plan
        cadence = {"high": 7, "low": 28, "tech": 91}[plan.tier]
        for day in range(plan.starts + self.rng.randrange(1, cadence + 1), self.last, cadence):
            kind = "email" if plan.tier == "tech" else self.rng.choice(("call", "call", "meeting"))
            data = {"kind": kind, "direction": "outbound", "contact_id": "champion", "answered": True}
            bulk = {"bulk": True} if plan.tier == "tech" else {}
            yield Draft(self._at(self._working_day(day)), "touchpoint.held", data | bulk, CRM)
        for number, day in enumerate(range(plan.starts + self.rng.randrange(20, 180), self.last - 12, 182)):
            yield from self._nps(day, f"nps-{number + 1}", self.rng.choice((7, 8, 8, 9, 9, 10)), slot=number % 2)
        if self._is("detractor"):
            for slot in range(self.rng.randrange(1, 3)):
                yield from self._nps(plan.trouble - 1 + slot, "nps-relationship", self.rng.randrange(1, 7), slot)
        if self._is("core_erosion"):
            yield from self._nps(plan.trouble + 170, "nps-relationship", 5, slot=0)

    def _nps(self, day: int, survey_id: str, score: int, slot: int) -> Iterator[Draft]:
        survey = {"survey_id": survey_id, "kind": "nps", "user": self._user(slot)}
        if day < self.last:
            yield Draft(self._at(day, 9), "survey.sent", survey, CRM)
        answered = self._working_day(day + self.rng.randrange(1, 8))
        gone = self._is("silent") and answered > self.plan.trouble
        if answered < self.last and not gone:
            yield Draft(self._at(answered), "survey.answered", survey | {"score": score}, CRM)


def user_id(users: str, slot: int) -> str:
    """The id of the person in a slot, 0 and up; `users` is the customer's own beginning of ids."""
    return f"{users}-{slot + 1:02d}"


def _rhythm(date: dt.date, saturday: bool) -> float:
    """How much is done on a day: nothing on Sundays and holidays, a little on some Saturdays, less around the year's end."""
    if date.weekday() == 6 or (date.month, date.day) in ((12, 25), (1, 1)):
        return 0.0
    if date.weekday() == 5:
        return 0.3 if saturday else 0.0
    if (date.month, date.day) in ((12, 24), (12, 26), (12, 31)):
        return 0.75
    return (1.05, 1.1, 1.05, 1.0, 0.8)[date.weekday()]
