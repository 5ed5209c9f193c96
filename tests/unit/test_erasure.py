"""An erased account leaves nothing behind, also when it is used again within the same effect."""

from __future__ import annotations

import json

import pytest

from tests.partition import Partition


def event(number: int, kind: str, time: str, **data: object) -> bytes:
    value = {"specversion": "1.0", "id": f"e{number}", "source": "app", "type": kind, "subject": "acme", "time": time}
    return json.dumps({**value, "data": data}).encode()


BEFORE = {
    "user": event(1, "usage.logged_in", "2026-03-01T10:00:00Z", user="ana"),
    "ticket": event(1, "ticket.opened", "2026-03-01T10:00:00Z", ticket_id="t", priority="P1"),
    "invoice": event(1, "invoice.paid", "2026-03-01T10:00:00Z", invoice_id="i", amount="1.00"),
}
CLOSED = event(2, "ticket.closed", "2026-03-01T11:00:00Z", ticket_id="t")
ERASED = event(3, "account.erased", "2026-03-10T10:00:00Z")
AFTER = {
    "user": event(4, "usage.page_viewed", "2026-03-10T11:00:00Z", user="ana"),
    "ticket": event(4, "ticket.reopened", "2026-03-10T11:00:00Z", ticket_id="t"),
    "invoice": event(
        4, "invoice.issued", "2026-03-10T11:00:00Z", invoice_id="i", amount="1.00", currency="EUR", due="2026-04-01"
    ),
}


@pytest.mark.parametrize("what", BEFORE)
def test_nothing_comes_back(what: str) -> None:
    together, apart = Partition(), Partition()
    for driven in (together, apart):
        driven.put(BEFORE[what])
        if what == "ticket":
            driven.put(CLOSED)
        driven.take()
        driven.put(ERASED)
        if driven is apart:
            driven.take()
        driven.put(AFTER[what])
        driven.take()
    bodies = [
        {key: value[22:] for key, value in driven.store.items() if key[:1] in b"uti"} for driven in (together, apart)
    ]
    assert bodies[0] == bodies[1]
    assert together.engine.state.applied_count == apart.engine.state.applied_count
