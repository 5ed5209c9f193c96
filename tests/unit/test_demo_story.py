"""Financiality's year: valid events, dates as the story has them, and nothing left to chance."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict

from schemas.codec import decode_any
from schemas.envelope import Event
from services.demo import story
from services.signals.catalogue import load

DAY = dt.timedelta(days=1)


def decoded(shift_weeks: int = 0) -> list[Event]:
    events = [decode_any(line) for _, line in story.events(shift_weeks)]
    assert all(isinstance(event, Event) for event in events)
    return [event for event in events if isinstance(event, Event)]


def test_events_are_valid_in_order_and_the_same_every_time() -> None:
    events = decoded()
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert [event.time_us for event in events] == [us for us, _ in story.events()]
    assert len({event.id for event in events}) == len(events)
    assert {event.subject for event in events} == {story.ACCOUNT}
    assert story.events() == story.events()
    assert events[0].time.date() == story.FIRST_DAY
    assert events[-1].time.date() <= story.LAST_DAY


def test_moved_by_weeks_everything_moves_together() -> None:
    weeks = story.weeks_to_end_before(dt.date(2026, 11, 22))
    assert story.LAST_DAY + weeks * 7 * DAY == dt.date(2026, 11, 20)  # the last Friday before that Sunday
    assert story.weeks_to_end_before(story.LAST_DAY + DAY) == 0
    assert story.weeks_to_end_before(story.LAST_DAY) == -1
    here, there = decoded(), decoded(weeks)
    assert {after.time - before.time for before, after in zip(here, there, strict=True)} == {weeks * 7 * DAY}
    renewals = [event.data.renewal_date for event in (here[0], there[0])]
    assert renewals[1] - renewals[0] == weeks * 7 * DAY
    shifted = [change.time for change in story.expected(weeks)]
    assert shifted == [change.time + weeks * 7 * DAY for change in story.EXPECTED]


def test_expected_changes_are_in_order_and_risks_are_closed_before_the_renewal_window() -> None:
    times = [change.time for change in story.EXPECTED]
    assert times == sorted(times)
    window_opens = dt.datetime(2015, 4, 1, tzinfo=dt.UTC)
    signals = load().by_id
    open_then: set[tuple[str, str | None, str | None]] = set()
    for change in story.EXPECTED:
        if change.time < window_opens:
            subject = (change.signal, change.user, change.about)
            (open_then.add if change.change == "raised" else open_then.discard)(subject)
    assert ("expansion.seats", None, None) in open_then
    assert not [signal for signal, _, _ in open_then if signals[signal].kind == "risk"]


def test_usage_never_falls_as_far_as_a_decline_and_the_core_never_erodes() -> None:
    use: Counter[dt.date] = Counter()
    core: Counter[dt.date] = Counter()
    for event in decoded():
        if event.type == "usage.feature_used":
            use[event.time.date()] += event.data.count
            core[event.time.date()] += event.data.count * event.data.core

    def total(of: Counter[dt.date], before: dt.date) -> int:
        return sum(of[before - DAY * number] for number in range(1, 29))

    day = story.FIRST_DAY
    while day <= story.LAST_DAY + DAY:
        previous = total(use, day - DAY * 28)
        assert previous < 20 or total(use, day) > 0.8 * previous, day
        monday = day - DAY * day.weekday()
        base = total(core, monday - DAY * 182)
        assert base < 20 or total(core, monday) > 0.9 * base, day
        day += DAY


def test_licences_in_use() -> None:
    seen: dict[dt.date, set[str]] = defaultdict(set)
    for event in decoded():
        if event.type.startswith("usage."):
            seen[event.time.date()].add(event.data.user)

    def active(day: dt.date) -> int:
        return len(set().union(*(seen[day - DAY * number] for number in range(28))))

    # From 60 days into the contract at least half of the licences; over 80 % from the eleventh user on.
    assert min(active(dt.date(2014, 8, 15) + DAY * n) for n in range(300)) * 2 > 13
    assert max(active(dt.date(2014, 8, 15) + DAY * n) for n in range(185)) == 10  # until 2015-02-15
    assert min(active(dt.date(2015, 2, 16) + DAY * n) for n in range(130)) == 11
