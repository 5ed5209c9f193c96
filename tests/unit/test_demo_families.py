"""A small invented portfolio shows every family of signals, and hardly a signal of the catalogue is left out."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import cache

from services.demo.portfolio import simulate
from services.signals.backtest.run import run
from services.signals.catalogue import load

ACCOUNTS, DAYS = 74, 200
END = dt.date(2026, 3, 31)
"""A period with the year's end in it: the portfolio as a whole uses the product less then."""


@cache
def raised() -> Counter[str]:
    """How often each signal is raised in the portfolio."""
    made = simulate(ACCOUNTS, DAYS, 5, END)
    changes = run((line for _, line in made.events), run_start_us=made.events[-1][0])
    return Counter(change.data.signal for change in changes if change.type == "signal.raised")


def test_every_family_of_signals_is_shown() -> None:
    families = {signal.family for signal in load().by_id.values()}
    assert families - {load().by_id[signal].family for signal in raised()} == set()
    assert set(load().by_id) - set(raised()) < {
        "advocacy.power_user",  # two months of study
        "billing.reorder_overdue",  # several orders, and then months without one
        "lifecycle.executive_contact",  # a year without one
        "support.silence",
        "critical.support_and_billing",
        "pilot.plateau",
        "usage.silence",
    }


def test_no_signal_floods() -> None:
    """A signal that everybody has all the time tells nobody what to do; reminders come to everybody by their nature."""
    months = ACCOUNTS * DAYS / 30
    floods = {signal: count for signal, count in raised().items() if count / months > 0.15}
    assert [signal for signal in floods if not signal.startswith("lifecycle.")] == []
