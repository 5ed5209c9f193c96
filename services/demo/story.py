"""Financiality's first year with its vendor Wingtip, as events, and the results that they must have.

After *Customer Success* (Mehta, Steinman, Murphy, 2016), chapter 17: a low-touch customer of 29,000 USD a year whose
kickoff slips, who launches on time, has three users who get stuck, one who is unhappy, a burst of tickets, a goal
reached, and licences that fill up. Everything here is written down, nothing is drawn by lot.

Financiality has 13 licences. Seven people work with the product from July 2014 (7 of 13: over half), three more join
in autumn and get stuck first (10 of 13: under 80 %), an eleventh joins on 2015-02-16 (11 of 13: over 80 %). At the
renewal in June 2015 they buy 16 (11 of 16: under 70 %).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from services.demo.events import Draft, encode, us
from services.demo.story_results import EXPECTED, Change

ACCOUNT = "financiality"
FIRST_DAY = dt.date(2014, 6, 30)
LAST_DAY = dt.date(2015, 7, 3)

APP, HELPDESK, BILLING, CRM = "wingtip/app", "wingtip/helpdesk", "wingtip/billing", "wingtip/crm"

HOLIDAYS = frozenset((dt.date(2014, 12, 25), dt.date(2014, 12, 26), dt.date(2015, 1, 1)))
STUDY_SESSIONS, STUDY_PAGES, ROUTINE_PAGES = 50, 10, 3
"""Everybody explores at first: fifty sessions of ten pages, which together make a power user; then three pages do."""


@dataclass(frozen=True)
class Person:
    """One of Financiality's people: weekdays (Monday is 0) of their sessions, when these begin, and the hour in UTC.

    A stuck person logs in once at `first_visit`, views `first_pages` pages, and comes back only at `begins`.
    """

    name: str
    team: str
    begins: dt.date
    weekdays: tuple[int, ...]
    hour: dt.time
    away: dt.date | None = None  # Monday of a week's holiday
    first_visit: dt.date | None = None
    first_pages: int = 0


EVERY_DAY = (0, 1, 2, 3, 4)


def _d(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def _t(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


PEOPLE = (
    Person("ana", "finance", _d("2014-07-16"), EVERY_DAY, dt.time(8, 30), away=_d("2015-01-19")),
    Person("ben", "finance", _d("2014-07-17"), EVERY_DAY, dt.time(8, 45), away=_d("2015-02-02")),
    Person("carla", "finance", _d("2014-07-21"), EVERY_DAY, dt.time(8, 50), away=_d("2014-10-20")),
    Person("dmitri", "operations", _d("2014-07-21"), (0, 1, 2, 3), dt.time(9, 10), away=_d("2015-03-16")),
    Person("eva", "operations", _d("2014-07-21"), (1, 2, 3), dt.time(9, 50), away=_d("2015-05-04")),
    Person("filip", "operations", _d("2014-07-28"), (0, 2, 4), dt.time(10, 0), away=_d("2015-04-20")),
    Person("greta", "finance", _d("2014-07-28"), EVERY_DAY, dt.time(10, 15), away=_d("2014-11-24")),
    Person("hana", "finance", _d("2014-09-22"), EVERY_DAY, dt.time(9, 5), first_visit=_d("2014-09-11"), first_pages=2),
    Person(
        "ivan",
        "operations",
        _d("2014-10-14"),
        (0, 1, 2, 3),
        dt.time(9, 20),
        first_visit=_d("2014-10-06"),
        first_pages=1,
    ),
    Person("jana", "finance", _d("2014-11-05"), (0, 2, 4), dt.time(9, 35), first_visit=_d("2014-10-27")),
    Person("kofi", "operations", _d("2015-02-16"), EVERY_DAY, dt.time(10, 30)),
)


def events(shift_weeks: int = 0) -> list[tuple[int, bytes]]:
    """The story as (time in µs, line of JSON), by time; moved later by whole weeks, so that weekdays stay weekdays."""
    shift = dt.timedelta(weeks=shift_weeks)
    drafts = sorted((*_contract(shift), *_service(), *_support(), *_sessions()), key=lambda draft: draft.time)
    return [
        (us(draft.time + shift), encode(draft._replace(time=draft.time + shift), f"{ACCOUNT}-{number:05d}", ACCOUNT))
        for number, draft in enumerate(drafts, 1)
    ]


def expected(shift_weeks: int = 0) -> tuple[Change, ...]:
    """`EXPECTED`, moved with the story."""
    shift = dt.timedelta(weeks=shift_weeks)
    return tuple(change._replace(time=change.time + shift) for change in EXPECTED)


def weeks_to_end_before(midnight: dt.date) -> int:
    """The whole weeks by which to move the story so that its last day is the latest possible before `midnight`."""
    return ((midnight - LAST_DAY).days - 1) // 7


def _contract(shift: dt.timedelta) -> Iterator[Draft]:
    """The account, its people, goals, milestones, invoices and renewal. Dates inside the data move with the story."""

    def day(text: str) -> str:
        return (_d(text) + shift).isoformat()

    def crm(at: str, what: str, /, **data: object) -> Draft:
        return Draft(_t(at), f"account.{what}", data, CRM)

    def billing(at: str, what: str, /, **data: object) -> Draft:
        return Draft(_t(at), f"invoice.{what}", data, BILLING)

    yield crm(
        "2014-06-30T09:00",
        "updated",
        name="Financiality",
        tier="low",
        industry="financial services",
        region="EMEA",
        size="mid-market",
        plan="business",
        seats=13,
        mrr="2416.67",
        currency="USD",
        contract_start=day("2014-06-30"),
        contract_end=day("2015-06-30"),
        renewal_date=day("2015-06-30"),
        auto_renew=False,
        pricing="per_seat",
        use_case="financial close",
        stage="live",
        sales_owner="sam.reed",
        handover={
            "goal": "close the books in three days",
            "pain_point": "eight days of spreadsheets every month",
            "scope": "finance and operations, 13 licences",
            "notes": "the controller is the sponsor; audit in spring",
        },
    )
    yield crm(
        "2014-06-30T09:05",
        "contact_changed",
        contact_id="oskar",
        name="Oskar Lind",
        roles=["executive_sponsor", "buyer"],
    )
    yield crm("2014-06-30T09:06", "contact_changed", contact_id="nora", name="Nora Falk", roles=["champion", "admin"])
    yield crm(
        "2014-06-30T09:10",
        "subscription_changed",
        subscription_id="financiality-1",
        product="Wingtip Close",
        mrr="2416.67",
        quantity=13,
        kind="new",
    )
    yield billing(
        "2014-06-30T09:30",
        "issued",
        invoice_id="FIN-2014-1",
        amount="29000.00",
        currency="USD",
        due=day("2014-07-30"),
        period_start=day("2014-06-30"),
        period_end=day("2015-06-29"),
        lines=[{"product": "Wingtip Close", "quantity": 13}],
    )
    yield billing(
        "2014-06-30T09:31",
        "issued",
        invoice_id="FIN-2014-2",
        amount="15000.00",
        currency="USD",
        due=day("2014-07-30"),
        recurring=False,
        lines=[{"product": "Onboarding", "quantity": 1}],
    )
    yield billing("2014-07-25T13:00", "paid", invoice_id="FIN-2014-1", amount="29000.00", currency="USD")
    yield billing("2014-07-25T13:01", "paid", invoice_id="FIN-2014-2", amount="15000.00", currency="USD")
    yield crm("2014-07-01T08:00", "updated", csm="mia.torres")
    yield crm("2014-07-01T08:30", "milestone_planned", milestone="kickoff", due=day("2014-07-02"), kind="kickoff")
    yield crm("2014-07-02T08:20", "milestone_planned", milestone="kickoff", due=day("2014-07-16"), kind="kickoff")
    yield crm(
        "2014-07-16T08:00",
        "goal_set",
        goal="close in three days",
        metric="days to close",
        baseline=8,
        target=3,
        due=day("2015-03-31"),
    )
    yield crm("2014-07-16T13:00", "milestone_done", milestone="kickoff", kind="kickoff")
    for number, (milestone, due, kind) in enumerate(
        (
            ("data connected", "2014-07-31", "onboarding"),
            ("administrators trained", "2014-08-14", "onboarding"),
            ("first close", "2014-08-28", "onboarding"),
            ("launch", "2014-09-05", "launch"),
        )
    ):
        yield crm(f"2014-07-16T13:{10 + number}", "milestone_planned", milestone=milestone, due=day(due), kind=kind)
        yield crm(f"{due}T15:00", "milestone_done", milestone=milestone, kind=kind)
    yield Draft(_t("2014-08-28T15:05"), "usage.value_reached", {"goal": "first close with Wingtip", "user": "ana"}, APP)
    for on, value in (("2014-10-31", 6), ("2014-11-28", 4), ("2014-12-15", 3)):
        yield crm(f"{on}T16:00", "goal_measured", goal="close in three days", value=value)
    yield Draft(_t("2014-12-15T16:05"), "usage.value_reached", {"goal": "close in three days", "user": "ana"}, APP)
    yield crm("2014-12-15T16:10", "goal_achieved", goal="close in three days", value=3)
    yield crm(
        "2014-12-15T16:15",
        "goal_set",
        goal="automatic reconciliation",
        metric="percent of reconciliations",
        baseline=20,
        target=80,
        due=day("2015-06-15"),
    )
    for on, value in (("2015-02-27", 45), ("2015-04-30", 66), ("2015-06-10", 81)):
        yield crm(f"{on}T16:00", "goal_measured", goal="automatic reconciliation", value=value)
    yield Draft(_t("2015-06-10T16:05"), "usage.value_reached", {"goal": "automatic reconciliation", "user": "ben"}, APP)
    yield crm("2015-06-10T16:10", "goal_achieved", goal="automatic reconciliation", value=81)
    yield crm(
        "2015-06-10T16:15",
        "goal_set",
        goal="one close for the group",
        metric="companies closed in Wingtip",
        baseline=1,
        target=4,
        due=day("2016-03-31"),
    )
    yield crm("2015-06-26T10:00", "updated", seats=16, mrr="2966.67")
    yield crm("2015-06-26T10:05", "renewed", mrr="2966.67", term_months=12)
    yield crm(
        "2015-06-26T10:06",
        "subscription_changed",
        subscription_id="financiality-1",
        product="Wingtip Close",
        mrr="2966.67",
        quantity=16,
        kind="upsell",
    )
    yield billing(
        "2015-06-26T11:00",
        "issued",
        invoice_id="FIN-2015-1",
        amount="35600.00",
        currency="USD",
        due=day("2015-07-26"),
        period_start=day("2015-06-30"),
        period_end=day("2016-06-29"),
        lines=[{"product": "Wingtip Close", "quantity": 16}],
    )
    yield billing("2015-07-02T09:00", "paid", invoice_id="FIN-2015-1", amount="35600.00", currency="USD")
    yield Draft(_t("2014-07-02T08:15"), "contact.away", {"contact_id": "nora", "until": day("2014-07-14")}, CRM)
    yield Draft(_t("2014-12-01T09:00"), "touchpoint.planned", _review(due=day("2014-12-08")), CRM)
    yield Draft(_t("2015-02-26T09:00"), "touchpoint.planned", _review(due=day("2015-03-05")), CRM)
    yield Draft(_t("2015-05-20T09:00"), "touchpoint.planned", _review(due=day("2015-06-03")), CRM)


def _review(**more: object) -> dict[str, object]:
    return {"kind": "business_review", "direction": "outbound", "contact_id": "oskar", "by": "mia.torres"} | more


def _service() -> Iterator[Draft]:
    """What the vendor does: calls, reviews, trainings, surveys and their answers."""

    def held(on: str, at: str = "14:00", /, **data: object) -> Draft:
        return Draft(_t(f"{on}T{at}"), "touchpoint.held", data, CRM)

    def survey(at: str, kind: str, user: str, survey_id: str, name: str, **data: object) -> Draft:
        return Draft(_t(at), f"survey.{name}", {"survey_id": survey_id, "kind": kind, "user": user} | data, CRM)

    yield held("2014-07-16", kind="meeting", direction="outbound", contact_id="nora", by="mia.torres")
    yield held("2014-08-14", kind="event", direction="outbound", contact_id="nora", by="mia.torres")
    # Never more than 30 days apart: 2014-10-08 is the thirtieth day after 2014-09-08, so it is the morning.
    for on, at in (
        *(("2014-08-28", "10:00"), ("2014-09-08", "14:00"), ("2014-10-08", "10:00"), ("2014-11-06", "14:00")),
        *(("2014-11-20", "14:00"), ("2015-01-07", "10:00"), ("2015-02-04", "14:00"), ("2015-04-01", "14:00")),
        *(("2015-04-29", "14:00"), ("2015-05-27", "14:00"), ("2015-06-24", "14:00")),
    ):
        yield held(on, at, kind="call", direction="outbound", contact_id="nora", by="mia.torres", answered=True)
    for on in ("2014-12-08", "2015-03-05", "2015-06-03"):
        yield held(on, **_review())
        yield survey(f"{on}T15:00", "goals", "nora", f"goals-{on[:7]}", "sent")
        yield survey(f"{on}T16:30", "goals", "nora", f"goals-{on[:7]}", "answered", score=4)
    for number, name in enumerate(("ana", "ben", "carla")):
        yield Draft(_t(f"2014-08-14T11:0{number}"), "training.attended", {"user": name}, CRM)

    yield survey("2014-09-05T16:00", "onboarding", "ana", "onboarding-2014", "sent")
    yield survey("2014-09-08T10:20", "onboarding", "ana", "onboarding-2014", "answered", score=5)
    for survey_id, sent, answers in (
        (
            "nps-2014-09",
            "2014-09-30T09:00",
            (("ana", "2014-10-01T10:00", 9), ("ben", "2014-10-02T11:00", 8), ("carla", "2014-10-06T09:30", 9)),
        ),
        (
            "nps-2015-04",
            "2015-04-01T09:00",
            (("ana", "2015-04-02T10:00", 9), ("eva", "2015-04-02T15:00", 8), ("hana", "2015-04-07T09:30", 9)),
        ),
    ):
        for name, at, score in answers:
            yield survey(sent, "nps", name, survey_id, "sent")
            yield survey(at, "nps", name, survey_id, "answered", score=score)
    yield survey("2014-09-30T09:00", "nps", "dmitri", "nps-2014-09", "sent")
    yield survey(
        "2014-10-07T14:05",
        "nps",
        "dmitri",
        "nps-2014-09",
        "answered",
        score=4,
        comment="exports to the warehouse system take an afternoon",
    )


def _support() -> Iterator[Draft]:
    """Eleven tickets; five of them within the week before 2014-11-17."""
    for ticket, opened, resolved, user, topic, category, priority in (
        ("T-101", "2014-07-22T10:05", "2014-07-23T09:00", "ana", "import", "how_to", "P3"),
        ("T-102", "2014-08-20T13:40", "2014-08-21T10:30", "ben", "permissions", "how_to", "P4"),
        ("T-103", "2014-10-15T09:25", "2014-10-17T15:00", "carla", "rounding", "bug", "P3"),
        ("T-104", "2014-11-11T09:40", "2014-11-13T16:00", "ana", "export", "bug", "P3"),
        ("T-105", "2014-11-12T11:15", "2014-11-14T10:00", "eva", "approvals", "how_to", "P4"),
        ("T-106", "2014-11-13T14:20", "2014-11-18T09:00", "greta", "slow reports", "performance", "P3"),
        ("T-107", "2014-11-14T10:05", "2014-11-18T15:00", "ben", "bank feed", "bug", "P2"),
        ("T-108", "2014-11-17T10:12", "2014-11-20T14:30", "filip", "audit trail", "how_to", "P3"),
        ("T-109", "2015-01-14T09:50", "2015-01-15T11:00", "hana", "year end", "how_to", "P3"),
        ("T-110", "2015-03-11T15:10", "2015-03-12T12:00", "ivan", "currencies", "bug", "P3"),
        ("T-111", "2015-05-13T08:55", "2015-05-13T16:40", "jana", "permissions", "how_to", "P4"),
    ):
        opening = {"ticket_id": ticket, "priority": priority, "user": user, "topic": topic, "category": category}
        yield Draft(_t(opened), "ticket.opened", opening, HELPDESK)
        yield Draft(_t(opened) + dt.timedelta(minutes=35), "ticket.responded", {"ticket_id": ticket}, HELPDESK)
        yield Draft(_t(resolved), "ticket.resolved", {"ticket_id": ticket}, HELPDESK)
        yield Draft(_t(resolved) + dt.timedelta(days=2), "ticket.closed", {"ticket_id": ticket}, HELPDESK)
        rating = {"ticket_id": ticket, "score": 4 if category == "bug" else 5}
        yield Draft(_t(resolved) + dt.timedelta(days=2, hours=1), "ticket.rated", rating, HELPDESK)


def _sessions() -> Iterator[Draft]:
    """Logins, pages and feature use of everybody, on their weekdays."""
    for index, person in enumerate(PEOPLE):
        if person.first_visit is not None:
            yield from _visit(person, person.first_visit, person.first_pages)
        sessions = 0
        for number in range((LAST_DAY - person.begins).days + 1):
            day = person.begins + dt.timedelta(days=number)
            resting = person.away is not None and 0 <= (day - person.away).days < 7
            if day.weekday() not in person.weekdays or day in HOLIDAYS or resting:
                continue
            sessions += 1
            yield from _visit(person, day, STUDY_PAGES if sessions <= STUDY_SESSIONS else ROUTINE_PAGES)
            # Four to six of the core feature a session: alive, and never a trend.
            core = {"feature": "reconciliation", "count": 4 + (number + index) % 3, "core": True}
            yield _use(person, day, 14, core)
            if number % 2 == index % 2:
                yield _use(person, day, 19, {"feature": "reports", "count": 2})


def _visit(person: Person, day: dt.date, pages: int) -> Iterator[Draft]:
    login = dt.datetime.combine(day, person.hour, dt.UTC)
    yield Draft(login, "usage.logged_in", {"user": person.name}, APP)
    for page in range(1, pages + 1):
        at = login + dt.timedelta(minutes=page)
        yield Draft(at, "usage.page_viewed", {"user": person.name, "page": f"/p/{page}"}, APP)


def _use(person: Person, day: dt.date, minute: int, data: dict[str, object]) -> Draft:
    at = dt.datetime.combine(day, person.hour, dt.UTC) + dt.timedelta(minutes=minute)
    common = {"user": person.name, "environment": "production", "channel": "web", "team": person.team}
    return Draft(at, "usage.feature_used", data | common, APP)
