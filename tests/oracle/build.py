"""Short ways to write events and expectations in cases: days are counted from Monday 2024-01-01 (D0)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from tests.oracle.oracle import Change
from tests.oracle.records import DAY, iso, us

D0 = dt.date(2024, 1, 1)
RUN_START = us("2030-01-01T00:00:00Z")
ACCOUNT = "acme"

Events = list[dict[str, Any]]


def date(day: int) -> str:
    """The calendar date of a day."""
    return (D0 + dt.timedelta(days=day)).isoformat()


def at(day: int, clock: str = "10:00:00") -> str:
    """An instant of a day; ten in the morning unless told."""
    return f"{date(day)}T{clock}Z"


def event(kind: str, time: str, account: str = ACCOUNT, /, **data: Any) -> dict[str, Any]:
    """One event. It gets its id from its place in the file (`numbered`)."""
    return {"specversion": "1.0", "source": "case", "type": kind, "subject": account, "time": time, "data": data}


def numbered(events: Iterable[dict[str, Any]]) -> Events:
    """The events with an id each, where they have none."""
    return [{"id": f"e{place}", **e} for place, e in enumerate(events)]


def use(time: str, count: int = 1, account: str = ACCOUNT, **data: Any) -> dict[str, Any]:
    """A feature used `count` times."""
    return event("usage.feature_used", time, account, feature="reports", count=count, **data)


def users(time: str, first: int, last: int, account: str = ACCOUNT) -> Events:
    """One use by each of the users `first` to `last`."""
    return [use(time, account=account, user=f"u{n}") for n in range(first, last + 1)]


def login(time: str, user: str = "ann") -> dict[str, Any]:
    """A user logged in."""
    return event("usage.logged_in", time, user=user)


def view(time: str, user: str = "ann") -> dict[str, Any]:
    """A user viewed a page."""
    return event("usage.page_viewed", time, user=user)


def profile(time: str, account: str = ACCOUNT, **fields: Any) -> dict[str, Any]:
    """The profile, in part."""
    return event("account.updated", time, account, **fields)


def opened(time: str, ticket: str, priority: str = "P3", account: str = ACCOUNT) -> dict[str, Any]:
    """A ticket was opened."""
    return event("ticket.opened", time, account, ticket_id=ticket, priority=priority)


def prioritised(time: str, ticket: str, priority: str) -> dict[str, Any]:
    """A ticket's priority was set."""
    return event("ticket.updated", time, ticket_id=ticket, priority=priority)


def step(what: str, time: str, ticket: str, account: str = ACCOUNT) -> dict[str, Any]:
    """A ticket was resolved, closed, reopened and so on."""
    return event(f"ticket.{what}", time, account, ticket_id=ticket)


def invoice(time: str, number: str, due: int, account: str = ACCOUNT, **data: Any) -> dict[str, Any]:
    """An invoice of 100 EUR, due on a day."""
    fields = {"invoice_id": number, "amount": "100.00", "currency": "EUR", "due": date(due), **data}
    return event("invoice.issued", time, account, **fields)


def payment(what: str, time: str, number: str, amount: str | None = "100.00") -> dict[str, Any]:
    """An invoice was paid, partly paid, credited or voided."""
    return event(f"invoice.{what}", time, invoice_id=number, **({"amount": amount} if amount else {}))


def nps(time: str, score: int, user: str | None = "ann", survey: str | None = None) -> dict[str, Any]:
    """An answer to an NPS survey; each has a survey of its own unless told."""
    fields: dict[str, Any] = {"survey_id": survey or f"nps {time}", "kind": "nps", "score": score}
    return event("survey.answered", time, **fields, **({"user": user} if user else {}))


def contact(time: str, who: str, roles: list[str] | None = None, **data: Any) -> dict[str, Any]:
    """A contact changed."""
    return event(
        "account.contact_changed", time, contact_id=who, **({"roles": roles} if roles is not None else {}), **data
    )


def left(time: str, who: str) -> dict[str, Any]:
    """A contact left."""
    return event("account.contact_left", time, contact_id=who)


def told(change: Change) -> str:
    """A change as cases write it: `D10 10:00 raised critical`, with user, opening and reason where they say more."""
    parts = [day(change.time), change.type, change.severity]
    if change.subject:
        parts.insert(1, f"({change.subject})")
    if change.type == "raised" and change.opened_at != change.time:
        parts.append(f"opened {day(change.opened_at)}")
    if change.because:
        parts.append(change.because)
    return " ".join(parts)


def day(t: int) -> str:
    """An instant as `D34`, `D34 10:00` or, off the minute, `D34 10:00:00.000001`."""
    number = t // DAY - us(at(0, "00:00:00")) // DAY
    clock = iso(t)[11:-1].removesuffix(":00")
    return f"D{number}" if clock == "00:00" else f"D{number} {clock}"
