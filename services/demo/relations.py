"""An invented customer and the vendor's people: contacts, reviews, mails, trainings, surveys and what is said of both."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator
from typing import Final

from services.demo.customer import CRM, Customer, Tier
from services.demo.events import Draft

CADENCE: Final[dict[Tier, int]] = {"high": 7, "low": 28, "tech": 28}
"""Days from one contact to the next; tech touch gets mails to all."""
EXECUTIVE_EVERY: Final = 84
"""Days from one meeting with the sponsor to the next: with high touch a business review."""
SURVEY_EVERY: Final = 182
GIVEN: Final = (
    "Amara",
    "Bruno",
    "Chiara",
    "Dan",
    "Elif",
    "Farid",
    "Grete",
    "Hugo",
    "Ivana",
    "Joon",
    "Karim",
    "Linnea",
    "Mona",
)
SURNAMES: Final = (
    "Adeyemi",
    "Berg",
    "Castro",
    "Dubois",
    "Eriksen",
    "Ferrari",
    "Grau",
    "Hoang",
    "Ito",
    "Jansen",
    "Kaya",
)
NEGLECTED_DAYS: Final = 100


class Relations:
    """What the vendor's people and the customer's have to do with each other."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        trouble, rng = customer.plan.trouble, customer.rng
        self.sponsors = [(customer.plan.starts, "sponsor")]
        """(day, id) of the executive sponsors, from when each is; "" is nobody."""
        if customer.is_a("sponsor_lost"):
            self.sponsors.append((trouble, ""))
            if rng.random() < 0.5:
                self.sponsors.append((trouble + rng.randrange(15, 60), "sponsor-2"))

    def events(self) -> Iterator[Draft]:
        """All of it, one kind of thing after the other."""
        yield from self._contacts()
        yield from self._touches()
        yield from self._surveys()
        yield from self._interest()
        yield from self._story()

    def _say(self, day: int, hour: float | None, what: str, /, **data: object) -> Draft:
        return Draft(self.customer.at(day, hour), what, data, CRM)

    def _contacts(self) -> Iterator[Draft]:
        begins = self.customer.plan.starts
        sponsor = ["executive_sponsor", "buyer"]
        yield self._contact(begins, 0.2, "sponsor", sponsor)
        champions = 2 if self.customer.is_a("hidden_pilot") else 1
        for number in range(champions):
            contact = "champion" if not number else f"champion-{number + 1}"
            roles = ["champion", "admin"]
            yield self._contact(begins, 0.22 + number / 60, contact, roles)
        for day, contact in self.sponsors[1:]:
            if contact:
                yield self._contact(day, 9, contact, ["executive_sponsor"])
            elif self.customer.rng.random() < 0.5:
                yield self._say(day, 9, "account.contact_left", contact_id="sponsor")
            else:  # the champion goes as well, and it is known where to
                yield self._say(day, 9, "account.contact_left", contact_id="sponsor")
                moved = {"contact_id": "champion", "moved_to": "a bank in Leeds"}
                yield self._say(day + 3, 9, "account.contact_left", **moved)

    def _contact(self, day: int, hour: float, contact: str, roles: list[str]) -> Draft:
        who = zlib.crc32(f"{self.customer.plan.users} {contact}".encode())
        name = f"{GIVEN[who % len(GIVEN)]} {SURNAMES[who // len(GIVEN) % len(SURNAMES)]}"
        return self._say(day, hour, "account.contact_changed", contact_id=contact, name=name, roles=roles)

    def _sponsor(self, day: int) -> str:
        return [contact for since, contact in self.sponsors if since <= day][-1]

    # --- contact

    def _touches(self) -> Iterator[Draft]:
        """A call or a meeting as often as the tier has it; each quarter the sponsor is met, or the business reviewed."""
        customer, plan, rng = self.customer, self.customer.plan, self.customer.rng
        cadence = CADENCE[plan.tier]
        first = customer.working_day(plan.starts + rng.randrange(1, cadence + 1))
        next_executive = plan.starts + rng.randrange(5, EXECUTIVE_EVERY)
        if customer.is_a("hidden_pilot"):
            next_executive = plan.starts + 90
        for day in range(first, customer.last, cadence):
            neglected = customer.is_a("neglected") and 0 <= day - plan.trouble < NEGLECTED_DAYS
            if neglected or customer.in_trouble(day, "silent"):
                continue
            if plan.tier == "tech":
                mail = {"kind": "email", "direction": "outbound", "contact_id": "champion", "bulk": True}
                yield self._say(day, 10, "touchpoint.held", **mail)
            elif day >= next_executive and self._sponsor(day):
                next_executive = day + EXECUTIVE_EVERY
                kind = "business_review" if plan.tier == "high" else "meeting"
                if kind == "business_review":
                    yield self._say(day - 5, 11, "touchpoint.planned", kind=kind, due=customer.date(day))
                yield self._touch(day, kind, self._sponsor(day))
            else:
                yield self._touch(day, rng.choice(("call", "call", "meeting")), "champion")
        # Whoever leaves the demo alone for a weekend is not told that nobody called in the meantime.
        last = customer.last - 1
        last -= max(0, (customer.first + dt.timedelta(days=last)).weekday() - 4)
        forgotten = customer.is_a("neglected") and 0 <= last - plan.trouble < NEGLECTED_DAYS
        if plan.tier == "high" and plan.churns is None and not forgotten and not customer.in_trouble(last, "silent"):
            called = {"kind": "call", "direction": "outbound", "contact_id": "champion", "answered": True}
            yield self._say(last, 20, "touchpoint.held", **called)

    def _touch(self, day: int, kind: str, contact: str, *, answered: bool = True) -> Draft:
        data = {"kind": kind, "direction": "outbound", "contact_id": contact, "answered": answered}
        return self._say(day, None, "touchpoint.held", **data)

    def _unanswered(self, day: int) -> Iterator[Draft]:
        for number in range(4):
            yield self._touch(self.customer.working_day(day + 6 * number), "call", "champion", answered=False)

    # --- surveys

    def _surveys(self) -> Iterator[Draft]:
        customer, plan, rng = self.customer, self.customer.plan, self.customer.rng
        for number, day in enumerate(range(plan.starts + rng.randrange(20, 180), customer.last - 12, SURVEY_EVERY)):
            yield from self._nps(day, f"nps-{number + 1}", rng.choice((7, 8, 8, 8, 9, 9, 10)), slot=number % 2)
        if customer.is_a("detractor"):
            for slot in range(rng.randrange(1, 3)):
                yield from self._nps(plan.trouble - 1 + slot, "nps-relationship", rng.randrange(1, 7), slot, sure=True)
        if customer.is_a("core_erosion"):
            yield from self._nps(plan.trouble + 170, "nps-relationship", 5, slot=0, sure=True)

    def _nps(self, day: int, survey_id: str, score: int, slot: int, *, sure: bool = False) -> Iterator[Draft]:
        """One survey. One in nine is not answered, where it is not `sure`."""
        customer, rng = self.customer, self.customer.rng
        survey = {"survey_id": survey_id, "kind": "nps", "user": customer.user(slot)}
        yield self._say(day, 9, "survey.sent", **survey)
        answered = customer.working_day(day + rng.randrange(1, 8))
        gone = customer.in_trouble(answered - 1, "silent", "neglected")
        if (sure or rng.random() > 0.11) and not gone:
            yield self._say(answered, None, "survey.answered", **survey, score=score)

    # --- mails, trainings, references

    def _interest(self) -> Iterator[Draft]:
        """What shows that they are interested: mails that are read, trainings, now and then a review or a reference."""
        customer, plan, rng = self.customer, self.customer.plan, self.customer.rng
        for day in range(plan.starts + rng.randrange(30), customer.last, 42):
            if customer.in_trouble(day, "silent", "evaluating"):
                break
            what = rng.choice(("opened", "opened", "clicked"))
            yield self._say(day, None, f"mail.{what}", user="champion", campaign="news")
        if plan.tier != "tech":
            for day in range(plan.starts + rng.randrange(20, 200), customer.last, 170):
                trained = customer.user(rng.randrange(min(3, customer.pool)))
                yield self._say(customer.working_day(day), None, "training.attended", user=trained)
        well = customer.is_a("healthy", "growing", "power_users", "booming")
        if rng.random() < (0.85 if well else 0.5):
            yield self._say(plan.starts + rng.randrange(1, 15), None, "review.given", user=customer.user(0))
        if well and rng.random() < 0.2:
            yield self._say(plan.starts + rng.randrange(60, 330), None, "reference.given", user=customer.user(0))
        if well and rng.random() < 0.2:
            yield self._say(plan.starts + rng.randrange(300), None, "community.active", user=customer.user(1))

    # --- the story

    def _story(self) -> Iterator[Draft]:
        customer, plan = self.customer, self.customer.plan
        begins = plan.trouble
        if customer.is_a("silent"):
            yield from self._unanswered(begins + 16)
        if customer.is_a("neglected"):
            review = customer.working_day(begins + 20)
            planned = {"kind": "business_review", "due": customer.date(review)}
            yield self._say(begins - 3, 11, "touchpoint.planned", **planned)
            yield self._say(review, 16, "touchpoint.missed", kind="business_review")
            yield from self._unanswered(begins + 45)
        if customer.is_a("evaluating"):
            yield self._say(begins, 15, "complaint.made", about="team", user=customer.user(1))
            yield self._say(begins + 4, 10, "mail.unsubscribed", user="champion", campaign="news")
            yield self._say(begins + 16, 14, "evaluation.announced", rival="Planly")
        if customer.is_a("stuck_pilot"):
            # It is the vendor who drives it: three times a week.
            for number in range(16):
                yield self._touch(customer.working_day(begins + 10 + 7 * number // 3), "call", "champion")
