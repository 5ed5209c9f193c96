"""How invented customers begin: one as planned, which no risk is told of; one late; a pilot that gets nowhere."""

from __future__ import annotations

import datetime as dt
import random

from services.demo.beginnings import beginning
from services.demo.customer import CRM, Archetype, Customer, Plan
from services.demo.events import Draft, encode
from services.signals.backtest.run import run
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue

FIRST = dt.date(2026, 1, 5)
FAMILIES = ("onboarding", "goal", "commitment", "pilot")
WHOLE = load()
CATALOGUE = Catalogue([signal for signal in WHOLE.signals if signal.family in FAMILIES], WHOLE.digest)
RUN_START = int(dt.datetime(2027, 6, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def risks(archetype: Archetype) -> set[str]:
    """The risks of these families that the beginning of a customer of this kind shows, by itself."""
    plan = Plan("acme", "Acme", "u1", archetype, "low", starts=1, trouble=1, churns=None, renewal=366)
    customer = Customer(plan, FIRST, 300, random.Random(1))
    dates = {"contract_start": customer.date(1), "renewal_date": customer.date(366)}
    signed = Draft(customer.at(1, 0.1), "account.updated", dates, CRM)
    events = sorted([signed, *beginning(customer)], key=lambda draft: draft.time)
    lines = [encode(draft, f"e{number}", plan.account) for number, draft in enumerate(events)]
    return {change.data.signal for change in run(lines, run_start_us=RUN_START, catalogue=CATALOGUE)}


def test_an_onboarding_as_planned_is_at_no_risk() -> None:
    assert risks("healthy") == set()


def test_a_late_onboarding_shows_what_goes_wrong() -> None:
    assert risks("late_onboarding") == {
        "commitment.slipped",
        "goal.off_track",
        "onboarding.handover_incomplete",
        "onboarding.milestone_slipped",
        "onboarding.no_success_metric",
        "onboarding.sla_at_risk",
        "onboarding.value_not_reached",
    }


def test_a_pilot_that_gets_nowhere() -> None:
    assert risks("stuck_pilot") == {
        "pilot.extended",
        "pilot.no_second_champion",
        "pilot.unpaid",
        "pilot.unready",
    }
