"""Every case of every signal: what must fire does, what must stay silent does."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from schemas.events import EVENT_TYPES
from schemas.signals import Transition
from services.signals.backtest.run import run
from services.signals.catalogue import entries
from services.signals.catalogue.definition import Case, Signal

RUN_START = int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def lines_of(case: Case) -> list[bytes]:
    return [
        json.dumps(
            {
                "specversion": "1.0",
                "id": event[3] if len(event) > 3 else f"e{number}",
                "source": "case",
                "type": event[1],
                **({} if EVENT_TYPES[event[1]].broadcast else {"subject": "acme"}),
                "time": event[0],
                "data": event[2],
            }
        ).encode()
        for number, event in enumerate(case.events)
    ]


def seen(change: Transition, signal: Signal) -> tuple[str, ...]:
    what = (change.time.strftime("%Y-%m-%dT%H:%M:%SZ"), change.type.removeprefix("signal."), change.data.severity)
    user = change.data.user if isinstance(change.data.user, str) else ""
    return (*what, user) if signal.scope == "user" else what


@pytest.mark.parametrize(
    ("signal", "case"),
    [pytest.param(s, case, id=f"{s.id}: {case.name}") for s, cases, _ in entries().values() for case in cases],
)
def test_case(signal: Signal, case: Case) -> None:
    changes = run(lines_of(case), until=dt.date.fromisoformat(case.until), run_start_us=RUN_START)
    assert [seen(change, signal) for change in changes if change.data.signal == signal.id] == case.expect


@pytest.mark.parametrize("signal_id", list(entries()))
def test_every_signal_has_cases_both_ways(signal_id: str) -> None:
    _, cases, _ = entries()[signal_id]
    assert any(case.expect for case in cases), "no case fires"
    assert any(not case.expect for case in cases), "no case stays silent"
