"""A small invented portfolio shows every family of signals, and hardly a signal of the catalogue is left out."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import cache

from schemas.signals import Transition
from services.demo.customer import Archetype
from services.demo.portfolio import PER_MILLE, Simulation, simulate
from services.signals.backtest.run import run
from services.signals.catalogue import load

ACCOUNTS, DAYS = 74, 200
END = dt.date(2026, 3, 31)
"""A period with the year's end in it: the portfolio as a whole uses the product less then."""


MEANT: dict[Archetype, tuple[str, ...]] = {
    "growing": ("value.reached", "expansion.seats"),
    "booming": ("expansion.growth", "expansion.overage", "expansion.new_team"),
    "declining": ("usage.decline",),
    "silent": ("relationship.unreachable",),
    "narrowing": ("adoption.advanced", "usage.breadth_narrowing"),
    "key_user_gone": ("usage.key_user_silent",),
    "one_user": ("adoption.single_threaded",),
    "shelfware": ("adoption.shelfware",),
    "outages": ("usage.outages",),
    "support_burst": ("support.burst",),
    "same_topic": ("support.same_topic", "support.reopened", "support.escalated"),
    "aged_critical": ("support.aged_critical",),
    "recovered": ("recovery",),
    "misfit": ("fit.out_of_profile",),
    "late_payer": ("billing.overdue",),
    "paying_later": ("billing.paying_later",),
    "card_failing": ("billing.payment_failed",),
    "contracting": ("billing.contraction",),
    "slow_growth": ("growth.gap",),
    "detractor": ("survey.detractor",),
    "sponsor_lost": ("relationship.sponsor_lost",),
    "neglected": ("relationship.touch_overdue", "relationship.unreachable", "relationship.review_missed"),
    "evaluating": (
        "relationship.evaluation",
        "relationship.team_complaint",
        "relationship.champion_unsubscribed",
        "support.feature_requests",
    ),
    "broken_promises": ("commitment.slipped", "goal.off_track"),
    "stuck_users": ("adoption.user_stuck",),
    "late_onboarding": (
        "onboarding.sla_at_risk",
        "onboarding.milestone_slipped",
        "onboarding.handover_incomplete",
        "onboarding.no_success_metric",
        "onboarding.value_not_reached",
    ),
    "never_started": ("usage.never_started", "onboarding.skipped"),
    "slack": ("usage.post_onboarding_slack",),
    "stuck_pilot": (
        "pilot.too_large",
        "pilot.unpaid",
        "pilot.unready",
        "pilot.no_second_champion",
        "pilot.vendor_driven",
        "pilot.extended",
    ),
    "hidden_pilot": ("pilot.hidden_success",),
}
"""What each kind of customer is there to show. The others take longer, or are meant to show nothing."""


@cache
def told() -> tuple[Simulation, list[Transition]]:
    """The portfolio, and all that is raised in it."""
    made = simulate(ACCOUNTS, DAYS, 5, END)
    changes = run((line for _, line in made.events), run_start_us=made.events[-1][0])
    return made, [change for change in changes if change.type == "signal.raised"]


def raised() -> Counter[str]:
    """How often each signal is raised in the portfolio."""
    return Counter(change.data.signal for change in told()[1])


def test_each_kind_of_customer_shows_what_it_is_there_for() -> None:
    made, changes = told()
    shown = {(change.subject, change.data.signal) for change in changes}
    kinds = {label.archetype for label in made.labels}
    assert kinds == set(PER_MILLE)
    for label in made.labels:
        missing = [signal for signal in MEANT.get(label.archetype, ()) if (label.account, signal) not in shown]
        assert not missing, label


def test_every_family_of_signals_is_shown() -> None:
    families = {signal.family for signal in load().by_id.values()}
    assert families - {load().by_id[signal].family for signal in raised()} == set()
    assert set(load().by_id) - set(raised()) <= {
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
