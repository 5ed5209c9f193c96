"""What is remembered of plans: the same whatever the order of arrival, and never more than it has room for."""

from __future__ import annotations

from itertools import permutations

from services.signals.core.days import DAY_US
from services.signals.core.onboarding import (
    MAX_MILESTONES,
    Goal,
    Onboarding,
    Promise,
    kickoff_at,
    launched_at,
    make_room,
)


def test_plans_come_to_the_same_in_any_order() -> None:
    """The latest plan decides, the earliest date is kept, the first end counts."""
    plans = [(20, 1, "a"), (12, 2, "b"), (30, 3, "c")]
    for order in permutations(plans):
        promise = Promise()
        for due, at, event in order:
            promise.plan(due, at, event)
        assert (promise.due, promise.earliest, promise.event_id) == (30, 12, "c")
        assert promise.days_late(15) == 18  # planned for day 30, once for day 12
        assert promise.days_late(33) == 21  # and day 30 has passed
        for at in (9 * DAY_US, 8 * DAY_US):
            promise.finish(at)
        assert promise.done_at == 8 * DAY_US
        assert promise.days_late(33) == 0


def test_a_date_that_is_taken_away() -> None:
    promise = Promise()
    promise.plan(-1, 1, "a")
    assert not promise.called_off  # it never had one
    promise.plan(20, 2, "b")
    promise.plan(-1, 3, "c")
    assert promise.called_off
    promise.plan(25, 2, "late")
    assert promise.called_off
    promise.finish(4)
    assert not promise.called_off


def test_a_goal_is_put_together_from_what_was_said_of_it() -> None:
    parts = [
        (1, {"metric": "days", "target": 3.0}),
        (2, {"baseline": 8.0, "due": 90}),
        (3, {"target": 4.0}),
    ]
    for order in permutations(parts):
        goal = Goal()
        for at, said in order:
            goal.agree(at, f"e{at}", **said)
        assert goal.whole
        assert (goal.set_at, goal.target, goal.baseline) == (1, (3, 4.0), (2, 8.0))
    assert not Goal(metric=(1, "days"), baseline=(1, 8.0), due=(1, 90)).whole


def test_the_first_launch_and_kickoff_count_and_a_name_is_enough() -> None:
    onboarding = Onboarding(
        milestones={
            "Launch": Promise(done_at=7),
            "phase two": Promise(done_at=5, kind="launch"),
            "launch": Promise(done_at=1, kind="other"),
            "kickoff ": Promise(done_at=2),
        }
    )
    assert launched_at(onboarding) == 5
    assert kickoff_at(onboarding) == 2
    assert launched_at(Onboarding(milestones={"launch": Promise(due=9)})) == -1


def test_room_is_made_by_what_ended_first_and_never_by_the_launch() -> None:
    open_ones = {f"step {n}": Promise(due=n) for n in range(MAX_MILESTONES - 3)}
    full = {"launch": Promise(done_at=1), "b": Promise(done_at=3), "a": Promise(done_at=2), **open_ones}
    assert make_room(full)
    assert "a" not in full
    assert make_room(full)
    assert not make_room(full)
    assert launched_at(Onboarding(milestones=full)) == 1
    goals = {"reached": Goal(achieved_at=1), "open": Goal()}
    assert make_room(goals)
    assert list(goals) == ["open"]
