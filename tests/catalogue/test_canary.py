"""The canary rests on one signal of the catalogue: raised at once by a word, cleared by the next one, a day apart."""

from __future__ import annotations

import datetime as dt

import msgspec

from services.delivery.canary import SIGNAL, probe
from services.signals.catalogue import load
from tests.oracle import engine

FIRST = dt.datetime(2026, 5, 1, 23, 59, 59, 250_000, tzinfo=dt.UTC)
DAYS = [FIRST + dt.timedelta(days=n) for n in (0, 1, 2, 3, 10, 11, 200)]
STEP = dt.timedelta(microseconds=1)


def test_each_days_probe_raises_and_clears_at_once_and_nothing_else_is_ever_true_of_its_account() -> None:
    lines = [msgspec.to_builtins(event) for at in DAYS for event in probe("_canary-1439", at)]
    found = engine.transitions(lines, until="2027-12-31", run_start=engine.microseconds(DAYS[-1]), catalogue=load())
    assert [(t.time, t.data.signal, t.type) for t in found] == [
        (at + n * STEP, SIGNAL, type_) for at in DAYS for n, type_ in enumerate(("signal.raised", "signal.cleared"))
    ]
    assert {t.data.pages for t in found} == {False}


def test_twice_on_one_day_it_would_not_be_raised() -> None:
    """Why each slot of the day has an account of its own."""
    at = FIRST.replace(hour=1)
    lines = [msgspec.to_builtins(event) for when in (at, FIRST) for event in probe("_canary-0000", when)]
    found = engine.transitions(lines, until="2026-05-01", run_start=engine.microseconds(DAYS[-1]), catalogue=load())
    assert [t.time for t in found] == [at, at + STEP]
