"""Worked examples with numbers from the source texts that concern the fourteen signals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.catalogue.test_exact_meanings import by_engine, by_oracle
from tests.oracle.build import Events, at, date, invoice, numbered, opened, profile, step
from tests.oracle.oracle import Change
from tests.oracle.records import us

Judge = Callable[[Events, str], list[Change]]

judges = pytest.mark.parametrize("judge", [by_oracle, by_engine])


@judges
def test_seven_accounts_in_critical_state(judge: Judge) -> None:
    """P1 or P2 open for 10 days and the latest invoice 30 days overdue: exactly seven, not those at 9 and at 29 days."""
    events: Events = []
    for n in range(7):
        account = f"critical-{n}"
        events += [invoice(at(0), "i", 10, account), opened(at(30), "t", "P1" if n % 2 else "P2", account)]
    # As of D40 at the hour of the tickets' opening.
    events += [invoice(at(0), "i", 10, "young ticket"), opened(at(31), "t", "P1", "young ticket")]
    events += [invoice(at(0), "i", 11, "young invoice"), opened(at(30), "t", "P1", "young invoice")]
    events += [invoice(at(0), "i", 10, "low priority"), opened(at(30), "t", "P3", "low priority")]
    events += [invoice(at(0), "i", 10, "newer invoice"), opened(at(30), "t", "P1", "newer invoice")]
    events += [invoice(at(1), "j", 20, "newer invoice")]
    events += [invoice(at(0), "i", 10, "solved"), opened(at(30), "t", "P1", "solved")]
    events += [step("resolved", at(40, "09:00:00"), "t", "solved")]
    events.sort(key=lambda e: str(e["time"]))
    changes = judge(numbered(events), date(39))
    assert [c for c in changes if c.signal == "critical.support_and_billing"] == []
    changes = judge(numbered([*events, profile(at(40, "12:00:00"), "clock", name="Clock")]), date(40))
    raised = {c.account for c in changes if c.signal == "critical.support_and_billing" and c.time < at_us(41)}
    assert raised == {f"critical-{n}" for n in range(7)}


def at_us(day: int) -> int:
    """Microseconds of a day's midnight."""
    return us(at(day, "00:00:00"))


@judges
@pytest.mark.parametrize(
    ("tier", "tickets", "bursts"), [("high", 9, 0), ("high", 10, 1), ("low", 10, 0), ("low", 19, 0), ("low", 20, 1)]
)
def test_tickets_in_thirty_days(judge: Judge, tier: str, tickets: int, bursts: int) -> None:
    """Ten, then twenty tickets in 30 days: high touch fires at ten, low touch only at twenty.

    They are spread so that the limits for seven days are never met: an equal number on each of five days, a week apart.
    """
    events = [profile(at(0, "00:00:00"), tier=tier)]
    on_a_day = 2 if tier == "high" or tickets <= 10 else 4
    events += [opened(at(7 * (n // on_a_day)), f"t{n}") for n in range(tickets)]
    changes = judge(numbered(events), date(60))
    raised = [c for c in changes if c.signal == "support.burst" and c.type == "raised"]
    assert len(raised) == bursts
    assert all(c.time > at_us(28) for c in raised)
