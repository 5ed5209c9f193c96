"""One account that falls: use halves, tickets come in a burst, an invoice goes unpaid, the sponsor leaves."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, Final

ACCOUNT: Final = "falling <ltd> & sons / EMEA"
"""As odd as ids may be."""
NAME: Final = "Falling <b>Ltd</b> & Sons"
BEFORE_D: Final = 150
FALL_D: Final = 24
"""How many days ago use fell."""

Event = tuple[dt.datetime, str, dict[str, Any]]


def lines(now: dt.datetime) -> list[bytes]:
    """Its events as CloudEvents, in order."""
    events = sorted((event for event in _events(now) if event[0] <= now), key=lambda event: event[0])
    return [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"falling-{number}",
                "source": "test/app",
                "type": type_,
                "subject": ACCOUNT,
                "time": at.isoformat(),
                "data": data,
            }
        ).encode()
        for number, (at, type_, data) in enumerate(events)
    ]


def _events(now: dt.datetime) -> Iterator[Event]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def at(days: float) -> dt.datetime:
        return midnight - dt.timedelta(days=days)

    renewal = (now + dt.timedelta(days=38)).date().isoformat()
    yield (
        at(BEFORE_D),
        "account.updated",
        {
            "name": NAME,
            "tier": "high",
            "csm": "lea.vogt",
            "mrr": "20000.50",
            "currency": "EUR",
            "seats": 40,
            "plan": "enterprise",
            "industry": "logistics",
            "stage": "live",
            "contract_start": at(BEFORE_D).date().isoformat(),
            "renewal_date": renewal,
            "auto_renew": False,
        },
    )
    for contact, name, roles in (("c1", "Ada Sponsor", ["executive_sponsor"]), ("c2", "Cem", ["champion", "admin"])):
        yield at(BEFORE_D - 1), "account.contact_changed", {"contact_id": contact, "name": name, "roles": roles}
    for days in range(BEFORE_D):
        day = at(days)
        people = 20 if days > FALL_D else 8
        for person in range(people if day.weekday() < 5 else 2):
            used = {"feature": f"f{person % 4}", "user": f"u{person}", "core": True, "count": 3}
            yield day + dt.timedelta(hours=9, minutes=person), "usage.feature_used", used
    yield at(60), "survey.sent", {"survey_id": "S1", "kind": "nps", "user": "u1"}
    yield (
        at(58),
        "survey.answered",
        {"survey_id": "S1", "kind": "nps", "user": "u1", "score": 4, "comment": "Slow </q>"},
    )
    yield (
        at(70),
        "touchpoint.held",
        {"kind": "business_review", "direction": "outbound", "contact_id": "c1", "by": "lea"},
    )
    yield at(45), "training.attended", {"user": "u1"}
    yield at(52), "invoice.issued", _invoice("INV-1", at(22).date())
    yield at(90), "invoice.issued", _invoice("INV-0", at(60).date())
    yield at(61), "invoice.paid", {"invoice_id": "INV-0", "amount": "20000.50", "currency": "EUR"}
    for number in range(7):
        opened = {"ticket_id": f"T{number}", "priority": "P2", "topic": "exports", "category": "bug"}
        yield at(6 - number * 0.7), "ticket.opened", opened
    yield at(12), "account.contact_left", {"contact_id": "c1"}


def _invoice(name: str, due: dt.date) -> dict[str, Any]:
    return {"invoice_id": name, "amount": "20000.50", "currency": "EUR", "due": due.isoformat()}
