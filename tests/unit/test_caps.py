"""What an account may have open at once: told before it is full, counted when it is."""

from __future__ import annotations

import json

from services.signals.core.caps import Near
from services.signals.core.partition import Effects
from services.signals.core.state import MAX_OPEN_INVOICES
from tests.partition import Partition

NEARLY = 400


def say(books: Partition, what: str, first: int, last: int) -> Effects:
    """Issue or pay the invoices from `first` up to but not `last`, as one effect."""
    for number in range(first, last):
        data = {"invoice_id": f"i{number}", "amount": "10.00", "currency": "EUR"}
        data |= {"due": "2026-12-01"} if what == "issued" else {}
        event = {"specversion": "1.0", "id": f"{what}-{number}", "source": "books", "type": f"invoice.{what}"}
        event |= {"subject": "acme", "time": "2026-03-02T09:00:00Z", "data": data}
        books.put(json.dumps(event).encode())
    return books.take()


def test_an_account_is_told_once_when_four_fifths_are_open_and_again_after_it_had_room() -> None:
    books = Partition()
    assert say(books, "issued", 0, NEARLY - 1).near_cap == []
    assert say(books, "issued", NEARLY - 1, NEARLY).near_cap == [Near("acme", "invoices", NEARLY, MAX_OPEN_INVOICES)]
    assert books.engine.near_cap == {"invoices": 1}
    assert say(books, "issued", NEARLY, NEARLY + 1).near_cap == []
    assert say(books, "paid", 0, 2).near_cap == []
    assert books.engine.near_cap == {}
    assert len(say(books, "issued", NEARLY + 1, NEARLY + 2).near_cap) == 1


def test_what_is_passed_over_is_counted_over_restarts() -> None:
    books = Partition()
    say(books, "issued", 0, MAX_OPEN_INVOICES)
    assert books.engine.over_cap == 0
    say(books, "issued", MAX_OPEN_INVOICES, MAX_OPEN_INVOICES + 3)
    assert books.engine.over_cap == 3
    books.restart()
    assert books.engine.over_cap == 3
    assert len(say(books, "issued", MAX_OPEN_INVOICES + 3, MAX_OPEN_INVOICES + 4).near_cap) == 1
    assert books.engine.over_cap == 4
    counters = books.engine.counters
    assert sum(counters["applied"]) == sum(counters["records"]) == MAX_OPEN_INVOICES + 4
