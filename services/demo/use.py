"""How an invented customer's people use the product, day by day."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from services.demo.beginnings import LAUNCH_DAY
from services.demo.customer import APP, TERM_DAYS, Customer
from services.demo.events import Draft

CORE_FEATURES: Final = ("planning", "forecast")
OTHER_FEATURES: Final = ("dashboards", "export", "comments", "search", "integrations")
ADVANCED_FEATURES: Final = ("scenarios", "simulation")
TEAMS: Final = ("operations", "finance")
NEW_TEAM: Final = "sales"
UNUSED_DAYS: Final = 55
"""After how many days a customer begins that was slow to."""
AWAY_DAYS: Final = 35
"""How long somebody who matters is away, or use is slack after the launch."""

HOLIDAYS: Final = ((12, 25), (1, 1))

Person = tuple[int, int]
"""A slot and its generation."""


class Use:
    """The events of use of one customer. `releases` are days and names of the features released to everybody."""

    def __init__(self, customer: Customer, releases: Sequence[tuple[int, str]]) -> None:
        self.customer = customer
        rng, plan = customer.rng, customer.plan
        tried = ((day + rng.randrange(2, 50), name) for day, name in releases if day >= plan.starts)
        self._to_try = sorted(trial for trial in tried if rng.random() < 0.85)
        self._advanced: dict[int, str] = {}
        if customer.is_a("narrowing"):
            self._advanced = {1: ADVANCED_FEATURES[0], 3: ADVANCED_FEATURES[1]}
        elif rng.random() < 0.15:
            self._advanced = {1: ADVANCED_FEATURES[0]}
        self._advanced_from = plan.starts if customer.is_a("narrowing") else plan.starts + rng.randrange(300)
        self._by_team = plan.tier == "high" or customer.is_a("booming", "hidden_pilot")

    def events(self) -> Iterator[Draft]:
        """Everything its people do, in order of days."""
        customer, seen = self.customer, set[str]()
        begins = customer.plan.starts + (UNUSED_DAYS if customer.is_a("never_started") else 0)
        for day in range(begins, customer.last):
            date = customer.first + dt.timedelta(days=day)
            factor = _rhythm(date, customer.saturday)
            volume, core_share, presence = self._course(day)
            people = self._present(day, presence) if factor and presence else []
            total = customer.pool * 6 * volume * factor * customer.rng.gauss(1, 0.1)
            if customer.is_a("tiny"):
                total = customer.rng.choice((0, 0, 0, 1)) if date.weekday() else 1
            if not people or total <= 0:
                continue
            if (date.month, date.day) in HOLIDAYS:
                people = people[:2]
            core = round(total * 0.5 * core_share)
            for user in (customer.user(*person) for person in people):
                if user not in seen:
                    seen.add(user)
                    yield from self._first_visit(day, user, pages=4)
            yield from self._uses(day, date.weekday(), people, core, round(total) - core)
            if customer.is_a("power_users") and 0 <= day - customer.plan.trouble < 100:
                yield from self._first_visit(day, customer.user(0), pages=10 + day % 2)
            if customer.rng.random() < 0.01:
                yield Draft(customer.at(day), "usage.error_seen", {"kind": "error", "message": "timeout"}, APP)
        yield from self._newcomers()
        yield from self._outages()

    def _course(self, day: int) -> tuple[float, float, float]:
        """Volume of use, share of it that is core, and share of people present, on a day; 1 is as ever."""
        customer, plan = self.customer, self.customer.plan
        since, age = day - plan.trouble, day - plan.starts
        volume = 1 + customer.growth * day / TERM_DAYS
        if plan.starts and age < 28:
            volume *= 0.3 + 0.7 * age / 28
        if since < 0:
            return volume, 1.0, 1.0
        match plan.archetype:
            case "declining" | "churned":
                left = max(0.4, 1 - since / 60)
                return volume * left, 1.0, left
            case "silent":
                return (volume, 1.0, 1.0) if since < 1 else (0.0, 1.0, 0.0)
            case "core_erosion":
                return volume, max(0.45, 1 - since / 250), 1.0
            case "booming":
                return volume * 1.36 ** (min(since, 84) / 28), 1.0, 1.0
            case "recovered":
                return volume * (0.45 if since < 18 else min(1.06, 0.45 + (since - 17) / 10)), 1.0, 1.0
            case "slack":
                slack = LAUNCH_DAY < age <= LAUNCH_DAY + AWAY_DAYS
                return volume * (0.5 if slack else 1.0), 1.0, 1.0
            case "stuck_pilot":
                return volume * 0.3, 0.3, 1.0
        return volume, 1.0, 1.0

    def _present(self, day: int, presence: float) -> list[Person]:
        """Who uses the product on a day: one every day, others weekly or every other week."""
        customer, plan = self.customer, self.customer.plan
        date = customer.first + dt.timedelta(days=day)
        pool, since = customer.pool, day - plan.trouble
        if since >= 0 and customer.is_a("growing"):
            # One more every fortnight, until nine of ten licences are in use.
            pool = min(math.ceil(0.9 * customer.seats), pool + since // 14)
        elif since >= 0 and customer.is_a("booming"):
            pool = min(math.ceil(1.2 * customer.seats), pool + since // 6)
        away = customer.is_a("key_user_gone") and 0 <= since < AWAY_DAYS
        people = []
        for slot in range(pool):
            every_day = slot == 0
            weekday, week = slot * 3 % 5, date.toordinal() // 7
            if not every_day and (date.weekday() != weekday or (slot % 2 and (week + slot // 2) % 2)):
                continue
            # Where people leave, it is those at the end of the list; a skipped turn now and then is nothing.
            if slot >= max(1, math.ceil(pool * presence)) or (not every_day and customer.rng.random() < 0.04):
                continue
            if not (every_day and away):
                people.append((slot, self._generation(slot, day)))
        return people

    def _generation(self, slot: int, day: int) -> int:
        """Some people are replaced in the course of a year, where a licence more for a month does not matter."""
        if slot % 4 != 3 or self.customer.seats < 15:
            return 0
        return (day + slot * 37) // 240

    def _uses(self, day: int, weekday: int, people: list[Person], core: int, other: int) -> Iterator[Draft]:
        """The day's use: one of the people does the core work, the others (or the same one) share the rest."""
        rng = self.customer.rng
        first = rng.randrange(len(people))
        if rng.random() < 0.5:
            first = 0  # the one who is there every day
        rest = [person for index, person in enumerate(people) if index != first] or people
        if core > 0:
            feature = rng.choice(CORE_FEATURES)
            yield self._use(day, people[first], feature, core, core=True)
        special = self._special(day, weekday)
        for index, person in enumerate(rest):
            count = other // len(rest) + (index < other % len(rest))
            if count or rest is not people:
                ordinary = rng.choice(OTHER_FEATURES), dict[str, bool]()
                feature, marks = special if special and not index else ordinary
                yield self._use(day, person, feature, max(1, count), **marks)

    def _special(self, day: int, weekday: int) -> tuple[str, dict[str, bool]] | None:
        """A feature that is not everybody's and every day's: an advanced one, or a new one that is tried."""
        narrowed = self.customer.in_trouble(day, "narrowing")
        if weekday in self._advanced and day >= self._advanced_from and not narrowed:
            return self._advanced[weekday], {"advanced": True}
        if self._to_try and self._to_try[0][0] <= day:
            return self._to_try.pop(0)[1], {}
        return None

    def _use(self, day: int, person: Person, feature: str, count: int, **marks: bool) -> Draft:
        customer = self.customer
        data: dict[str, Any] = {"feature": feature, "user": customer.user(*person), "count": count} | marks
        if self._by_team:
            data["team"] = self._team(day, person[0])
        return Draft(customer.at(day), "usage.feature_used", data, APP)

    def _team(self, day: int, slot: int) -> str:
        customer = self.customer
        if customer.is_a("hidden_pilot"):
            return TEAMS[0]
        if customer.in_trouble(day - 30, "booming") and slot >= customer.pool:
            return NEW_TEAM
        return TEAMS[slot % 2]

    def _first_visit(self, day: int, user: str, pages: int) -> Iterator[Draft]:
        begin = self.customer.at(day)
        yield Draft(begin, "usage.logged_in", {"user": user}, APP)
        for page in range(pages):
            at = begin + dt.timedelta(seconds=40 + 45 * page)
            yield Draft(at, "usage.page_viewed", {"user": user, "page": f"/start/{page + 1}"}, APP)

    def _newcomers(self) -> Iterator[Draft]:
        """New users who get stuck: hardly a page in their first week; most come back in the second."""
        customer = self.customer
        if not customer.is_a("stuck_users"):
            return
        for number in range(customer.rng.randrange(1, 4)):
            day = customer.working_day(customer.plan.trouble + 9 * number)
            user = f"{customer.plan.users}-new{number + 1}"
            yield from self._first_visit(day, user, pages=customer.rng.randrange(3))
            if customer.rng.random() < 0.7:
                yield from self._first_visit(customer.working_day(day + 8), user, pages=5)

    def _outages(self) -> Iterator[Draft]:
        """Twice or three times in a fortnight nothing works for them."""
        customer = self.customer
        if customer.is_a("outages"):
            for number in range(customer.rng.randrange(2, 4)):
                day = customer.working_day(customer.plan.trouble + 6 * number)
                outage = {"kind": "outage", "message": "no answer", "user": customer.user(0)}
                yield Draft(customer.at(day), "usage.error_seen", outage, APP)


def _rhythm(date: dt.date, saturday: bool) -> float:
    """How much is done on a day: nothing on Sundays, a little on some Saturdays and on holidays, less at the year's end."""
    if date.weekday() == 6:
        return 0.0
    if date.weekday() == 5:
        return 0.3 if saturday else 0.0
    if (date.month, date.day) in HOLIDAYS:
        return 0.12
    if (date.month, date.day) >= (12, 24):
        return 0.75 if date.day in (24, 26, 31) else 0.9
    return (1.05, 1.1, 1.05, 1.0, 0.8)[date.weekday()]
