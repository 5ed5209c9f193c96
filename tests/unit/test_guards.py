"""The guards that the fault suite takes out are where it looks for them."""

from __future__ import annotations

from tests.faults import guards


def test_every_guard_can_be_taken_out() -> None:
    assert guards.missing() == []


def test_a_guard_that_moved_is_missed() -> None:
    guards.GUARDS["moved"] = (guards.Change("services.signals.core.partition", "no such text", ""),)
    try:
        assert len(guards.missing()) == 1
    finally:
        del guards.GUARDS["moved"]
