"""Financiality's first year at the story's own dates: every transition of the fourteen signals, and no other."""

from __future__ import annotations

import datetime as dt

import pytest

from services.demo import story
from tests.oracle import engine
from tests.oracle.build import RUN_START


def told(shift_weeks: int) -> set[tuple[dt.datetime, str, str, str | None]]:
    """What backtest says about the story moved by whole weeks."""
    until = story.LAST_DAY + dt.timedelta(weeks=shift_weeks)
    lines = [line for _, line in story.events(shift_weeks)]
    found = engine.transitions(lines, until=until.isoformat(), run_start=RUN_START)
    assert engine.broken_laws(found) == []
    changes = [
        (t.time, t.data.signal, t.type.removeprefix("signal."), t.data.user if isinstance(t.data.user, str) else None)
        for t in found
    ]
    assert len(set(changes)) == len(changes)
    return set(changes)


@pytest.mark.parametrize("shift_weeks", [0, 594])
def test_first_year(shift_weeks: int) -> None:
    """At the story's dates, and moved as the demo moves it."""
    expected = {(change.time, change.signal, change.change, change.user) for change in story.expected(shift_weeks)}
    assert told(shift_weeks) == expected


def test_dates_of_the_book() -> None:
    """The dates that the source text itself gives, said apart from the demo's table."""
    days = {(time.date().isoformat(), signal, change) for time, signal, change, _ in told(0)}
    assert ("2014-10-07", "survey.detractor", "raised") in days
    assert ("2014-11-17", "support.burst", "raised") in days
    stuck = sorted(day for day, signal, change in days if (signal, change) == ("adoption.user_stuck", "raised"))
    assert len(stuck) == 3
    assert stuck[-1] == "2014-11-03"
    powerful = sorted(day for day, signal, change in days if (signal, change) == ("advocacy.power_user", "raised"))
    assert powerful[0] == "2014-09-23"
    assert not any(signal == "renewal.unsecured" for _, signal, _ in days)
