"""Financiality's first year by the whole catalogue: each dated line of the book, every other change worked out, no more."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from schemas.health import Health
from schemas.signals import Transition
from services.demo import story
from services.demo.story_results import SCORED
from services.signals.catalogue import load
from services.signals.recorder.revenue import DECODERS, Fact, derive
from tests.oracle import engine
from tests.oracle.build import RUN_START

CATALOGUE = load()
Line = dict[str, Any]


def text(value: object) -> str | None:
    return value if isinstance(value, str) else None


@cache
def year(shift_weeks: int = 0) -> tuple[Transition, ...]:
    """What backtest says about the story moved by whole weeks."""
    until = story.LAST_DAY + dt.timedelta(weeks=shift_weeks)
    lines = [line for _, line in story.events(shift_weeks)]
    found = engine.transitions(lines, until=until.isoformat(), run_start=RUN_START, catalogue=CATALOGUE)
    assert engine.broken_laws(found) == []
    return tuple(found)


def changes(found: tuple[Transition, ...]) -> list[story.Change]:
    return [
        story.Change(t.time, t.data.signal, t.type.removeprefix("signal."), text(t.data.user), text(t.data.about))  # type: ignore[arg-type]
        for t in found
    ]


@pytest.mark.parametrize("shift_weeks", [0, 594])
def test_first_year(shift_weeks: int) -> None:
    """At the story's dates, and moved as the demo moves it."""
    told = [change for change in changes(year(shift_weeks)) if change.signal not in SCORED]
    assert len(set(told)) == len(told)
    assert set(told) == set(story.expected(shift_weeks))


# (day, signal, what happens on it), as the source text dates them.
BOOK = [
    ("2014-07-02", "onboarding.sla_at_risk", "raised"),
    ("2014-09-08", "onboarding.sla_at_risk", "cleared"),
    ("2014-09-18", "adoption.user_stuck", "raised"),
    ("2014-09-23", "advocacy.power_user", "raised"),
    ("2014-09-30", "lifecycle.nps_3_months", "raised"),
    ("2014-10-07", "survey.detractor", "raised"),
    ("2014-11-03", "adoption.user_stuck", "raised"),
    ("2014-11-17", "support.burst", "raised"),
    ("2014-11-20", "support.burst", "cleared"),
    ("2014-12-04", "lifecycle.business_review", "raised"),
    ("2014-12-08", "lifecycle.business_review", "cleared"),
    ("2015-02-16", "expansion.seats", "raised"),
    ("2015-04-01", "lifecycle.nps_before_renewal", "raised"),
]


@pytest.mark.parametrize(("day", "signal", "what"), BOOK)
def test_dates_of_the_book(day: str, signal: str, what: str) -> None:
    assert (day, signal, what) in {(c.time.date().isoformat(), c.signal, c.change) for c in changes(year())}


def test_who_it_is_about() -> None:
    """Three users get stuck and each comes out of it, one is unhappy, each power user is told once; nobody is paged."""
    told = changes(year())
    for signal, what, users in (
        ("adoption.user_stuck", "raised", ["hana", "ivan", "jana"]),
        ("adoption.user_stuck", "cleared", ["hana", "ivan", "jana"]),
        ("survey.detractor", "raised", ["dmitri"]),
        ("advocacy.power_user", "raised", sorted(person.name for person in story.PEOPLE)),
    ):
        assert sorted(c.user or "" for c in told if (c.signal, c.change) == (signal, what)) == users
    assert not [t for t in year() if t.data.pages]


def open_at(instant: dt.datetime) -> dict[str, Transition]:
    """The raise of each episode that is open once everything at an instant is said."""
    found: dict[str, Transition] = {}
    for t in year():
        if t.time <= instant:
            if t.type == "signal.cleared":
                del found[t.data.episode_id]
            elif t.type == "signal.raised":
                found[t.data.episode_id] = t
    return found


def test_onboarding_is_at_risk_until_the_survey_and_nothing_else_is_on_the_way() -> None:
    """The third of five milestones on 2014-08-14 brings no new risk; the launch, late, does not end the old one."""
    for day in ("2014-07-16T23:00:00Z", "2014-08-14T23:00:00Z", "2014-08-26T00:00:00Z", "2014-09-05T23:00:00Z"):
        found = open_at(dt.datetime.fromisoformat(day)).values()
        assert [t.data.signal for t in found if t.data.kind == "risk" and t.data.severity != "info"] == [
            "onboarding.sla_at_risk"
        ]
    (cleared,) = [t for t in year() if (t.data.signal, t.type) == ("onboarding.sla_at_risk", "signal.cleared")]
    by_measure = {proof.measure: proof for proof in cleared.data.evidence}
    assert by_measure["days_to_launch"].value == 67
    assert by_measure["days_to_launch"].threshold == 56
    assert (by_measure["milestones_done"].value, by_measure["milestones_done"].baseline) == (5, 5)


def test_progress_counts_three_of_five_on_the_day_of_the_third() -> None:
    """Moved past the eight weeks' end by a launch planned on that day, the risk tells how far the onboarding is."""
    lines = [json.loads(line) for _, line in story.events()]
    until = "2014-08-14"
    asked = {"milestone": "kickoff", "due": "2014-07-02", "kind": "kickoff"}
    kept = [line for line in lines if line["data"] != asked]  # only one date of the kickoff is known: no slip
    planned = [line for line in kept if line["data"].get("kind") == "launch" and "due" in line["data"]]
    for line in planned:
        line["time"] = "2014-08-14T16:00:00Z"
    kept.sort(key=lambda line: str(line["time"]))
    found = engine.transitions(kept, until=until, run_start=RUN_START, catalogue=CATALOGUE)
    (raised,) = [t for t in found if t.data.signal == "onboarding.sla_at_risk"]
    by_measure = {proof.measure: proof for proof in raised.data.evidence}
    assert (by_measure["milestones_done"].value, by_measure["milestones_done"].baseline) == (3, 5)


def test_nothing_is_unsecured_when_the_renewal_window_opens() -> None:
    found = open_at(dt.datetime(2015, 4, 1, tzinfo=dt.UTC)).values()
    assert not [t.data.signal for t in found if t.data.kind == "risk" and t.data.severity != "info"]
    assert not [t for t in year() if t.data.signal == "renewal.unsecured"]


def test_what_follows_the_score_says_nothing_bad() -> None:
    """The score never drops, and nobody is asked for a review while a ticket is open."""
    scored = [t for t in year() if t.data.signal in SCORED]
    assert not [t for t in scored if t.data.kind == "risk"]
    tickets: dict[str, list[dt.datetime]] = {}
    for _, line in story.events():
        event = json.loads(line)
        if event["type"] in ("ticket.opened", "ticket.resolved"):
            tickets.setdefault(event["data"]["ticket_id"], []).append(dt.datetime.fromisoformat(event["time"]))
    asked = [t.time for t in scored if (t.data.signal, t.type) == ("advocacy.review_candidate", "signal.raised")]
    assert asked
    assert not [at for at in asked for opened, resolved in tickets.values() if opened <= at < resolved]


def health(until: str) -> Health:
    """Health as of the midnight that ends a day."""
    lines = [line for _, line in story.events()]
    (found,) = engine.drive(lines, until=until, run_start=RUN_START).health.values()
    return found


def test_health_rises_with_the_survey() -> None:
    before, after = health("2014-09-07"), health("2014-09-08")
    assert before.score is not None
    assert after.score is not None
    assert after.score > before.score
    assert after.score >= 78  # the story's own figure
    assert round(sum(part.contribution for part in after.components), 1) == after.score
    assert after.change_30d is not None
    assert after.change_30d > 0


def thinned(keep: Callable[[Line], bool]) -> list[Transition]:
    lines = [line for line in (json.loads(line) for _, line in story.events()) if keep(line)]
    until = story.LAST_DAY.isoformat()
    return engine.transitions(lines, until=until, run_start=RUN_START, catalogue=CATALOGUE)


def test_a_quarter_less_usage_at_any_time_is_a_decline() -> None:
    """Of the usage from 2015-03-02 on, two days a week are left."""

    def keep(line: Line) -> bool:
        day = dt.date.fromisoformat(line["time"][:10])
        return line["type"] != "usage.feature_used" or day < dt.date(2015, 3, 2) or day.weekday() in (1, 2)

    declines = [t.time for t in thinned(keep) if (t.data.signal, t.type) == ("usage.decline", "signal.raised")]
    assert declines[0].date() <= dt.date(2015, 3, 30)
    assert declines[0].date() > dt.date(2015, 3, 2)


def test_the_onboarding_fee_stays_out_of_revenue() -> None:
    """15,000 USD as a one-off invoice; ARR is twelve times the MRR of the contract."""
    events = [json.loads(line) for _, line in story.events()]
    fees = [e["data"] for e in events if e["type"] == "invoice.issued" and not e["data"].get("recurring", True)]
    assert [(fee["amount"], fee["currency"]) for fee in fees] == [("15000.00", "USD")]
    stated = [event for event in events if event["type"] in DECODERS]
    spans = derive([Fact(dt.datetime.fromisoformat(e["time"]), e["type"], json.dumps(e["data"])) for e in stated]).spans
    day = dt.datetime(2014, 9, 1, tzinfo=dt.UTC)
    (mrr,) = {span.mrr for span in spans if span.since <= day and (span.until is None or day < span.until)}
    assert mrr is not None
    assert round(12 * mrr, -1) == Decimal(29_000)
