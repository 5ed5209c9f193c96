"""How invented customers begin: one as planned, which no risk is told of; one late; a pilot that gets nowhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from services.demo import beginnings
from services.demo.events import Draft, encode
from services.signals.backtest.run import run
from services.signals.catalogue import load
from services.signals.core.signal import Catalogue

FIRST = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
FAMILIES = ("onboarding", "goal", "commitment", "pilot")
WHOLE = load()
CATALOGUE = Catalogue([signal for signal in WHOLE.signals if signal.family in FAMILIES], WHOLE.digest)
RUN_START = int(dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def at(day: int, hour: float) -> dt.datetime:
    return FIRST + dt.timedelta(days=day, hours=hour)


def date(day: int) -> str:
    return at(day, 0).date().isoformat()


def risks(drafts: Iterable[Draft]) -> set[str]:
    signed = Draft(at(0, 0.1), "account.updated", {"contract_start": date(0), "renewal_date": date(365)}, "crm")
    events = sorted([signed, *drafts], key=lambda draft: draft.time)
    lines = [encode(draft, f"e{number}", "acme") for number, draft in enumerate(events)]
    return {change.data.signal for change in run(lines, run_start_us=RUN_START, catalogue=CATALOGUE)}


def test_an_onboarding_as_planned_is_at_no_risk() -> None:
    assert risks(beginnings.onboarding(0, at, date, "ana", "app", "crm")) == set()


def test_a_late_onboarding_shows_what_goes_wrong() -> None:
    assert risks(beginnings.late_onboarding(0, at, date, "ana", "app", "crm")) == {
        "commitment.slipped",
        "goal.off_track",
        "onboarding.handover_incomplete",
        "onboarding.milestone_slipped",
        "onboarding.no_success_metric",
        "onboarding.sla_at_risk",
        "onboarding.value_not_reached",
    }


def test_a_pilot_that_gets_nowhere() -> None:
    assert risks(beginnings.pilot(0, at, date, "crm")) == {
        "pilot.extended",
        "pilot.no_second_champion",
        "pilot.unpaid",
        "pilot.unready",
    }
