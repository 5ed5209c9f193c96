"""Slots of the day: each instant is in one, and the next begins when it is said to."""

from __future__ import annotations

import datetime as dt

import pytest

from services.delivery.canary import slot


@pytest.mark.parametrize(
    ("at", "interval_s", "expected"),
    [
        ("00:00:00", 60, (0, 60.0)),
        ("00:00:59.5", 60, (0, 0.5)),
        ("00:01:00", 60, (1, 60.0)),
        ("23:59:59", 60, (1439, 1.0)),
        # The last one is cut off by midnight, so that the next day begins with the first.
        ("23:58:19", 3500, (24, 101.0)),
    ],
)
def test_slots(at: str, interval_s: float, expected: tuple[int, float]) -> None:
    assert slot(dt.datetime.fromisoformat(f"2026-05-01T{at}+00:00"), interval_s) == pytest.approx(expected)
