"""Seeded streams of nasty events: every family of signals, instants on every edge, late, shuffled and repeated lines."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.oracle.build import Events
from tests.oracle.records import DAY, HOUR, SECOND, day_of, iso, us

START = us("2024-01-01T00:00:00Z")
MINUTE = 60 * SECOND


@dataclass(frozen=True)
class Stream:
    """One file: its lines in order, the last day to judge (None: the last event's), and the run's start."""

    seed: int
    lines: list[bytes | dict[str, Any]]
    until: str | None
    run_start: int


class Writer:
    """Writes the events of one account, in no particular order of time."""

    def __init__(self, rng: random.Random, account: str, days: int) -> None:
        self.rng = rng
        self.account = account
        self.days = days
        self.events: Events = []

    def write(self, kind: str, t: int, /, **data: Any) -> None:
        """One event."""
        zone = self.rng.choice(["Z", "Z", "Z", "+02:00"])
        time = iso(t) if zone == "Z" else iso(t + 2 * HOUR).removesuffix("Z") + zone
        event = {"specversion": "1.0", "source": self.rng.choice(["app", "crm"]), "type": kind}
        self.events.append({**event, "subject": self.account, "time": time, "data": data})

    def some_time(self) -> int:
        """An instant: often midnight, or to the microsecond a deadline's distance from an event written before."""
        rng = self.rng
        t = START + rng.randrange(self.days) * DAY
        dice = rng.random()
        if dice < 0.15:
            return t
        if dice < 0.2:
            return t - 1
        if dice < 0.45 and self.events:
            near = us(rng.choice(self.events[-12:])["time"])
            t = near + rng.choice([1, 7, 7, 10, 14, 30, 60, 90, -7, -10]) * DAY + rng.choice([0, 0, -1, 1])
            return min(max(t, START), START + self.days * DAY - 1)
        return t + rng.randrange(24 * 60) * MINUTE

    def person(self) -> str:
        return f"u{self.rng.randrange(8)}"


def usage(w: Writer) -> None:
    """Two or three levels of use, with totals on the edges of decline and erosion."""
    rng = w.rng
    first = rng.randrange(max(1, w.days - 30))
    for phase in range(rng.randint(1, 4)):
        start = first + phase * rng.choice([14, 28, 28, 45])
        for _ in range(rng.randint(1, 6)):
            day = min(start + rng.choice([0, 0, 1, 6, 7, 13, 20, 27]), w.days - 1)
            t = START + day * DAY + rng.choice([0, rng.randrange(DAY // MINUTE) * MINUTE, DAY - 1])
            fields: dict[str, Any] = {"feature": "reports", "count": rng.choice([0, 1, 1, 2, 5, 10, 15, 16, 17, 20])}
            if rng.random() < 0.7:
                fields["user"] = w.person()
            if rng.random() < 0.4:
                fields["core"] = True
            if rng.random() < 0.2:
                fields["environment"] = rng.choice(["production", "trial"])
            w.write("usage.feature_used", t, **fields)
    if rng.random() < 0.3:
        w.write("usage.error_seen", w.some_time(), user=w.person())


def erosion(w: Writer) -> None:
    """Core use now, and half a year later about four fifths of it."""
    rng = w.rng
    first = rng.randrange(28)
    for day, counts in ((first, [20, 100]), (first + 182, [16, 17, 18, 79, 80, 81, 90]), (first + 189, [1, 2, 9, 10])):
        for _ in range(rng.randint(1, 2)):
            t = START + (day + rng.choice([0, 0, 1, 6, 7])) * DAY + rng.choice([0, 8 * HOUR, DAY - 1])
            w.write("usage.feature_used", t, feature="core", core=True, count=rng.choice(counts))


def seats(w: Writer) -> None:
    """Seats, users in waves, goals."""
    rng = w.rng
    bought = rng.choice([4, 5, 5, 8, 10])
    fields: dict[str, Any] = {"seats": bought}
    if rng.random() < 0.6:
        fields["contract_start"] = dt.date(2023, 12, rng.randint(1, 31)).isoformat()
    w.write("account.updated", START + rng.randrange(10) * DAY + rng.choice([0, HOUR]), **fields)
    for _ in range(rng.randint(1, 4)):
        t = w.some_time()
        for n in range(round(bought * rng.choice([0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0]))):
            kind = rng.choice(["usage.logged_in", "usage.page_viewed", "usage.feature_used"])
            more = {"feature": "reports"} if kind == "usage.feature_used" else {}
            w.write(kind, t + n * MINUTE, user=f"u{n}", **more)
    for _ in range(rng.randint(0, 3)):
        w.write("account.updated", w.some_time(), seats=rng.choice([None, 0, 4, 5, 8, 10]))
    if rng.random() < 0.3:
        w.write("account.updated", w.some_time(), pricing=rng.choice([None, "per_seat", "value", "usage"]))
    if rng.random() < 0.4:
        w.write("account.goal_set", w.some_time(), goal="g")
        if rng.random() < 0.6:
            w.write(rng.choice(["usage.value_reached", "account.goal_achieved"]), w.some_time(), goal="g")


def newcomers(w: Writer) -> None:
    """First logins, and views on the edges of the first seven days and of the seven days after them."""
    rng = w.rng
    for n in range(rng.randint(1, 3)):
        user, first = f"n{n}", w.some_time()
        w.write("usage.logged_in", first, user=user)
        for _ in range(rng.randint(0, 7)):
            t = first + rng.choice([0, 1, 3, 6, 7, 7, 8, 9, 14, 14, 15, 40, 67]) * DAY
            w.write("usage.page_viewed", t + rng.choice([0, 0, -1, 1, HOUR]), user=user)
        if rng.random() < 0.3:
            w.write("usage.logged_in", first + rng.randrange(20) * DAY, user=user)


def tickets(w: Writer) -> None:
    """Tickets alone and in bursts, their priorities, resolutions and returns; some of tickets nobody opened."""
    rng = w.rng
    number = 0
    for _ in range(rng.randint(1, 3)):
        t = w.some_time()
        for _ in range(rng.choice([1, 1, 3, 5, 6, 10])):
            number += 1
            ticket = f"t{number}"
            w.write("ticket.opened", t, ticket_id=ticket, priority=rng.choice(["P1", "P2", "P3", "P4"]))
            t += rng.choice([0, HOUR, DAY, 2 * DAY, 7 * DAY])
            for _ in range(rng.randint(0, 3)):
                step_at = t + rng.choice([1, 2, 7, 10, 10, 12, 20]) * DAY + rng.choice([0, 0, -1, HOUR])
                kind = rng.choice(["resolved", "closed", "reopened", "updated", "updated", "escalated", "opened"])
                more: dict[str, Any] = {}
                if kind in ("updated", "opened"):
                    more = {"priority": rng.choice(["P1", "P2", "P3"])}
                w.write(f"ticket.{kind}", step_at, ticket_id=rng.choice([ticket, ticket, ticket, "unknown"]), **more)


def many_tickets(w: Writer) -> None:
    """About twenty tickets in a month, most of them resolved."""
    first = w.some_time()
    for n in range(w.rng.randint(8, 24)):
        t = first + w.rng.choice([0, 7, 14, 21, 28, 30]) * DAY + w.rng.choice([0, 0, HOUR])
        w.write("ticket.opened", t, ticket_id=f"m{n}", priority="P4")
        if w.rng.random() < 0.8:
            w.write("ticket.resolved", t + w.rng.randint(1, 30) * DAY, ticket_id=f"m{n}")


def invoices(w: Writer) -> None:
    """Invoices due here and there, paid in every way or not at all."""
    rng = w.rng
    for n in range(rng.randint(1, 4)):
        issued = w.some_time()
        due = dt.date(1970, 1, 1) + dt.timedelta(days=day_of(issued) + rng.choice([-40, -1, 0, 14, 30]))
        fields: dict[str, Any] = {"invoice_id": f"i{n}", "amount": "100.00", "currency": "EUR", "due": due.isoformat()}
        if rng.random() < 0.15:
            fields["recurring"] = False
        w.write("invoice.issued", issued, **fields)
        if rng.random() < 0.15:
            w.write("invoice.issued", issued + DAY, **{**fields, "due": "2024-12-31"})
        for _ in range(rng.randint(0, 3)):
            t = issued + rng.choice([0, 1, 15, 30, 31, 45, 60, 75, 91]) * DAY + rng.choice([0, 0, HOUR])
            if rng.random() < 0.3:
                t = t // DAY * DAY
            kind = rng.choice(["paid", "partly_paid", "partly_paid", "credited", "voided", "payment_failed"])
            more: dict[str, Any] = {}
            if kind in ("paid", "partly_paid") or (kind == "credited" and rng.random() < 0.7):
                more = {"amount": rng.choice(["40.00", "50", "60.00", "99.99", "100.00"])}
            w.write(f"invoice.{kind}", t, invoice_id=f"i{n}", **more)


def surveys(w: Writer) -> None:
    """NPS answers around six and seven, of one or two users or nobody."""
    rng = w.rng
    for n in range(rng.randint(1, 5)):
        user = rng.choice([None, "u0", "u0", "u1"])
        survey = rng.choice([f"s{n}", f"s{n}", "s0"])
        who = {"user": user} if user else {}
        w.write(
            "survey.answered", w.some_time(), survey_id=survey, kind="nps", score=rng.choice([0, 5, 6, 6, 7, 10]), **who
        )
    if rng.random() < 0.3:
        w.write("survey.answered", w.some_time(), survey_id="c", kind="csat", score=1, user="u0")
        w.write("survey.sent", w.some_time(), survey_id="s9", kind="nps", user="u0")


def contacts(w: Writer) -> None:
    """Contacts who take roles, lose them, move and come back."""
    rng = w.rng
    roles = ["executive_sponsor", "champion", "admin"]
    for _ in range(rng.randint(2, 7)):
        who = rng.choice(["c1", "c2", "c3"])
        dice = rng.random()
        if dice < 0.25:
            w.write("account.contact_left", w.some_time(), contact_id=who)
        elif dice < 0.35:
            w.write("account.contact_changed", w.some_time(), contact_id=who, moved_to="Globex")
        elif dice < 0.45:
            w.write("account.contact_changed", w.some_time(), contact_id=who, name="Sam")
        else:
            held = [role for role in roles if rng.random() < 0.5]
            w.write("account.contact_changed", w.some_time(), contact_id=who, roles=held)


def contract(w: Writer) -> None:
    """A renewal coming up; renewed, moved, churned and won back."""
    rng = w.rng
    for _ in range(rng.randint(1, 3)):
        ahead = dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(w.days + 60))
        date = rng.choice([ahead.isoformat(), ahead.isoformat(), None, "2024-01-31", "2024-02-29"])
        w.write(
            "account.updated", w.some_time(), **{rng.choice(["renewal_date", "renewal_date", "contract_end"]): date}
        )
    if rng.random() < 0.4:
        term = {"term_months": rng.choice([1, 3, 6, 12])} if rng.random() < 0.6 else {}
        w.write("account.renewed", w.some_time(), **term)
    if rng.random() < 0.3:
        left = w.some_time()
        w.write("account.churned", left, reason="no ROI")
        if rng.random() < 0.7:
            w.write("account.renewed", left + rng.choice([0, HOUR, DAY, 7 * DAY, 30 * DAY]))
    if rng.random() < 0.08:
        w.write("account.erased", w.some_time())


def tiers(w: Writer) -> None:
    """The tier is told, and changes."""
    for _ in range(w.rng.randint(1, 3)):
        w.write("account.updated", w.some_time(), tier=w.rng.choice(["high", "high", "low", "tech", None]))


FAMILIES: dict[str, Callable[[Writer], None]] = {
    family.__name__: family
    for family in (
        usage,
        erosion,
        seats,
        newcomers,
        tickets,
        many_tickets,
        invoices,
        surveys,
        contacts,
        contract,
        tiers,
    )
}


def power(seed: int) -> Stream:
    """One account with a user on the edge of 50 logins and 500 views; too long to be among the others."""
    rng = random.Random(seed)
    w = Writer(rng, "acme", 20)
    for kind, least in (("usage.logged_in", 50), ("usage.page_viewed", 500)):
        for _ in range(least + rng.choice([-1, 0, 0, 1])):
            w.write(kind, START + rng.randrange(8 * DAY // HOUR) * HOUR, user="u1")
    return arrange(seed, rng, w.events, lateness=rng.choice([0.0, 0.2]), days=20)


def stream(seed: int, *, in_order: bool = False) -> Stream:
    """A file of one to four accounts. `in_order` gives it without a late or repeated line."""
    rng = random.Random(seed)
    days = rng.choice([60, 120, 120, 200, 260, 430])
    events: Events = []
    for n in range(rng.choice([1, 1, 2, 4])):
        w = Writer(rng, f"account-{n}", days)
        for family in rng.sample(sorted(FAMILIES), rng.randint(1, 5)):
            FAMILIES[family](w)
        events += w.events
    return arrange(seed, rng, events, lateness=0.0 if in_order else rng.choice([0.0, 0.1, 0.3, 1.0]), days=days)


def arrange(seed: int, rng: random.Random, events: Events, *, lateness: float, days: int) -> Stream:
    """Give events their ids and their order of arrival: by time, but for a share `lateness` of them that come later."""
    timed: list[tuple[int, int, bytes | dict[str, Any]]] = []
    for place, bare in enumerate(events):
        event = {"id": f"e{place}", **bare}
        t = us(event["time"])
        arrival = t
        if rng.random() < lateness:
            arrival += rng.choice([MINUTE, HOUR, DAY, 3 * DAY, 20 * DAY, 100 * DAY, 400 * DAY])
        timed.append((arrival, place, event))
        if lateness and rng.random() < 0.1:
            timed.append((arrival + rng.choice([0, MINUTE, HOUR, DAY, DAY + 1, 9 * DAY]), place, event))
        if lateness and rng.random() < 0.02:
            timed.append((arrival, place, b'{"specversion": "1.0", "id'))
    timed.sort(key=lambda entry: entry[:2])
    run_start = START + 10_000 * DAY
    if rng.random() < 0.1:
        run_start = START + rng.randrange(days // 2, days) * DAY
    until = None
    if rng.random() < 0.5:
        last = dt.date(2024, 1, 1) + dt.timedelta(days=rng.randrange(days // 2, days + 100))
        until = last.isoformat()
    return Stream(seed, [line for _, _, line in timed], until, run_start)
