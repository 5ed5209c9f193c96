"""Facts of one account at one instant, each recounted from the whole list of its applied records."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from tests.oracle.records import DAY, Record, day_of, day_of_date, months_later, week_of_day

SPONSOR_ROLES = ("champion", "executive_sponsor")


@dataclass
class Ticket:
    """A ticket as its events left it. `since` is when it was opened or last became P1 or P2 from P3 or P4."""

    id: str
    opened: int
    priority: str
    since: int
    open: bool = True
    priority_order: tuple[int, int] = (0, 0)
    state_order: tuple[int, int] = (0, 0)


@dataclass
class Invoice:
    """An invoice and what reduced it."""

    id: str
    due: int
    amount: Decimal
    recurring: bool
    settled: bool = False
    reduced: Decimal = field(default_factory=Decimal)

    @property
    def unpaid(self) -> bool:
        """Whether something is still owed."""
        return not self.settled and self.reduced < self.amount


class Facts:
    """What is known of an account at `now`, from `records` in order of arrival."""

    def __init__(self, records: list[Record], now: int) -> None:
        self.records = records
        self.now = now
        self.today = day_of(now)

    def of(self, *types: str) -> list[Record]:
        """The records of these types, in order of arrival."""
        return [r for r in self.records if r.type in types]

    # Usage

    @cached_property
    def usage_events(self) -> list[Record]:
        """Usage events: `usage.*` in production or without environment, errors excepted."""
        return [
            r
            for r in self.records
            if r.type.startswith("usage.")
            and r.type != "usage.error_seen"
            and r.data.get("environment") in (None, "production")
        ]

    @cached_property
    def feature_uses(self) -> list[Record]:
        """Uses of features in production."""
        return [r for r in self.usage_events if r.type == "usage.feature_used"]

    def usage_between(self, first: int, last: int) -> int:
        """Uses of features in production on the days `first` to `last`, both included."""
        return sum(r.data.get("count", 1) for r in self.feature_uses if r.in_days and first <= day_of(r.t) <= last)

    def core_usage_in_weeks(self, first: int, last: int) -> int:
        """Uses of core features in the ISO weeks `first` to `last`, both included."""
        return sum(
            r.data.get("count", 1)
            for r in self.feature_uses
            if r.data.get("core") and first <= week_of_day(day_of(r.t)) <= last
        )

    @cached_property
    def week(self) -> int:
        """The running ISO week."""
        return week_of_day(self.today)

    @cached_property
    def last_usage(self) -> int | None:
        """Time of the latest usage event."""
        return max((r.t for r in self.usage_events), default=None)

    @cached_property
    def distinct_usage_days(self) -> int:
        """Days with a usage event, ever."""
        return len({day_of(r.t) for r in self.usage_events})

    @cached_property
    def last_active(self) -> dict[str, int]:
        """Day of each user's latest usage event."""
        days: dict[str, int] = {}
        for r in self.usage_events:
            user = r.data.get("user")
            if user is not None:
                days[user] = max(day_of(r.t), days.get(user, -(10**9)))
        return days

    def active_users(self, first: int, last: int) -> int:
        """Users whose latest activity known so far is on the days `first` to `last`, both included."""
        return sum(first <= day <= last for day in self.last_active.values())

    @cached_property
    def active_users_28d(self) -> int:
        """Active users over the 28 days that end with today."""
        return self.active_users(self.today - 27, self.today)

    @cached_property
    def logins(self) -> dict[str, list[int]]:
        """Times of each user's logins."""
        return self._by_user("usage.logged_in")

    @cached_property
    def views(self) -> dict[str, list[int]]:
        """Times of each user's page views."""
        return self._by_user("usage.page_viewed")

    def views_after(self, user: str, seq: int) -> list[int]:
        """Times of the user's page views that arrived after the record at place `seq`."""
        return [r.t for r in self.of("usage.page_viewed") if r.data["user"] == user and r.seq > seq]

    def _by_user(self, kind: str) -> dict[str, list[int]]:
        times: dict[str, list[int]] = {}
        for r in self.of(kind):
            times.setdefault(r.data["user"], []).append(r.t)
        return times

    @cached_property
    def value_wanted_and_missing(self) -> bool:
        """Goals are tracked, and neither a value event nor an achieved goal was ever seen."""
        return bool(self.of("account.goal_set")) and not self.of("usage.value_reached", "account.goal_achieved")

    # Profile

    def profile(self, name: str) -> Any:
        """A field of the profile: the statement with the latest event time wins, a null clears it."""
        told = [r for r in self.of("account.updated") if name in r.data]
        return max(told, key=lambda r: r.order).data[name] if told else None

    @cached_property
    def tier(self) -> str:
        """The tier; low where none is known."""
        return self.profile("tier") or "low"

    @cached_property
    def seats(self) -> int:
        """Seats bought; 0 where unknown."""
        return self.profile("seats") or 0

    @cached_property
    def per_seat(self) -> bool:
        """Whether the account pays per seat; so it is where nothing is known."""
        return self.profile("pricing") in (None, "per_seat")

    @cached_property
    def tenure_start(self) -> int:
        """The instant from which tenure counts."""
        start = self.profile("contract_start")
        return day_of_date(start) * DAY if start else min(r.t for r in self.records)

    @cached_property
    def days_to_renewal(self) -> int | None:
        """Days from today to the renewal, negative when it is past, None when no date is known."""
        renewal = end = None
        for r in sorted(self.of("account.updated", "account.renewed"), key=lambda r: r.order):
            if r.type == "account.updated":
                renewal = r.data.get("renewal_date", renewal)
                end = r.data.get("contract_end", end)
            elif before := renewal or end:
                renewal = months_later(before, r.data.get("term_months") or 12)
        date = renewal or end
        return day_of_date(date) - self.today if date else None

    @cached_property
    def churned(self) -> bool:
        """Whether the account left and was not renewed since."""
        told = self.of("account.churned", "account.renewed")
        return bool(told) and max(told, key=lambda r: r.order).type == "account.churned"

    # Tickets

    @cached_property
    def tickets(self) -> dict[str, Ticket]:
        """Every ticket by id. What is said of a ticket that is not known (yet) does nothing."""
        tickets: dict[str, Ticket] = {}
        for r in self.records:
            if not r.type.startswith("ticket."):
                continue
            ticket = tickets.get(r.data["ticket_id"])
            if r.type == "ticket.opened":
                if ticket is None:
                    new = Ticket(r.data["ticket_id"], r.t, r.data["priority"], r.t)
                    new.priority_order = new.state_order = r.order
                    tickets[new.id] = new
            elif ticket is None:
                continue
            elif r.type == "ticket.updated" and r.data.get("priority") and r.order >= ticket.priority_order:
                if ticket.priority in ("P3", "P4") and r.data["priority"] in ("P1", "P2"):
                    ticket.since = r.t
                ticket.priority, ticket.priority_order = r.data["priority"], r.order
            elif r.type in ("ticket.resolved", "ticket.closed", "ticket.reopened") and r.order >= ticket.state_order:
                ticket.open, ticket.state_order = r.type == "ticket.reopened", r.order
        return tickets

    def opened_within(self, days: int) -> set[str]:
        """Tickets opened in the trailing window of `days` × 24 h; one exactly that old is outside."""
        return {t.id for t in self.tickets.values() if self.now - days * DAY < t.opened <= self.now}

    @cached_property
    def aged_critical(self) -> bool:
        """Whether a P1 or P2 has been open for 10 × 24 h."""
        return any(
            t.open and t.priority in ("P1", "P2") and self.now >= t.since + 10 * DAY for t in self.tickets.values()
        )

    # Invoices

    @cached_property
    def invoices(self) -> dict[str, Invoice]:
        """Every invoice by id, with what settled or reduced it."""
        invoices: dict[str, Invoice] = {}
        for r in self.of("invoice.issued"):
            if r.data["invoice_id"] not in invoices:
                due, owed = day_of_date(r.data["due"]), Decimal(r.data["amount"])
                invoices[r.data["invoice_id"]] = Invoice(r.data["invoice_id"], due, owed, r.data.get("recurring", True))
        for r in self.records:
            invoice = invoices.get(r.data.get("invoice_id", ""))
            if invoice is None:
                continue
            amount = r.data.get("amount")
            if r.type in ("invoice.paid", "invoice.voided") or (r.type == "invoice.credited" and amount is None):
                invoice.settled = True
            elif r.type in ("invoice.partly_paid", "invoice.credited"):
                invoice.reduced += Decimal(r.data["amount"])
        return invoices

    @cached_property
    def overdue_days(self) -> list[int]:
        """Days past due of each unpaid recurring invoice that is past due, the latest due date first."""
        late = (self.today - i.due for i in self.invoices.values() if i.recurring and i.unpaid)
        return sorted(days for days in late if days >= 1)

    # Surveys and contacts

    @cached_property
    def detractors(self) -> dict[str, int]:
        """By user ("" without one): when the first answer was given of the detraction that holds now."""
        first_answers: dict[tuple[str, str], Record] = {}
        for r in self.of("survey.answered"):
            if r.data["kind"] == "nps" and r.data.get("score") is not None:
                first_answers.setdefault((r.data["survey_id"], r.data.get("user") or ""), r)
        began: dict[str, int | None] = {}
        for r in sorted(first_answers.values(), key=lambda r: r.order):
            user = r.data.get("user") or ""
            since = began.get(user)
            if r.data["score"] >= 7:
                began[user] = None
            elif since is None or r.t >= since + 90 * DAY:
                began[user] = r.t
        return {user: since for user, since in began.items() if since is not None and self.now < since + 90 * DAY}

    @cached_property
    def lost_roles(self) -> set[str]:
        """Sponsor roles that somebody held and nobody holds now."""
        held: dict[str, tuple[tuple[int, int], list[str]]] = {}
        known: set[str] = set()
        ever: set[str] = set()
        for r in self.of("account.contact_changed", "account.contact_left"):
            contact = r.data["contact_id"]
            if r.type == "account.contact_left" and contact not in known:
                continue
            known.add(contact)
            if r.type == "account.contact_left" or r.data.get("moved_to"):
                roles: list[str] | None = []
            else:
                roles = r.data.get("roles")
            if roles is not None and (contact not in held or r.order >= held[contact][0]):
                held[contact] = (r.order, roles)
                ever.update(roles)
        now = {role for _, roles in held.values() for role in roles}
        return {role for role in SPONSOR_ROLES if role in ever and role not in now}


def windows(facts: Facts) -> dict[str, int | None]:
    """The headline numbers of an account at `facts.now`; `last_seen` in microseconds."""
    today = facts.today
    return {
        "usage_7d": facts.usage_between(today - 6, today),
        "usage_28d": facts.usage_between(today - 27, today),
        "usage_prev_28d": facts.usage_between(today - 55, today - 28),
        "usage_90d": facts.usage_between(today - 89, today),
        "active_users_28d": facts.active_users_28d,
        "open_tickets": sum(t.open for t in facts.tickets.values()),
        "tickets_opened_7d": len(facts.opened_within(7)),
        "oldest_overdue_days": max(facts.overdue_days, default=None),
        "last_seen": facts.last_usage,
    }
