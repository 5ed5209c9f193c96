"""The first month after a source was connected: nothing is known of the past, and no signal may make up for that."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest

from schemas.codec import decode_any
from schemas.envelope import Event
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from services.common.recording import Line
from services.demo import portfolio
from services.signals.backtest.run import Backtest

END = dt.date(2026, 10, 1)
CONNECTED = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
ACCOUNTS = 40
RUN_START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("topics", [("usage",), INPUT_TOPICS], ids=["usage alone", "everything"])
def test_no_signal_is_raised_on_most_accounts_because_their_history_is_missing(topics: tuple[str, ...]) -> None:
    """A portfolio in its ordinary course, of which only what happens from one day on is seen."""
    lines, seen = [], set()
    for _, raw in portfolio.simulate(ACCOUNTS, 120, 3, END).events:
        event = decode_any(raw)
        assert isinstance(event, Event)
        if event.time >= CONNECTED and EVENT_TYPES[event.type].topic in topics:
            lines.append(Line(raw, event))
            seen.add(event.subject)
    run = Backtest(run_start_us=round(RUN_START.timestamp() * 1e6))
    raised = Counter(
        change.data.signal
        for change in run.run(lines)
        if change.type == "signal.raised" and change.time < CONNECTED + dt.timedelta(days=28)
    )
    assert len(seen) > ACCOUNTS * 0.8
    flooded = {signal: count for signal, count in raised.items() if count > ACCOUNTS / 4}
    assert not flooded
