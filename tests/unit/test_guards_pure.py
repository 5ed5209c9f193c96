"""The pure parts of the guards: the portfolio's measure, what it explains, a source's cadence, and where both are said."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from schemas.codec import decode, decode_any
from schemas.envelope import Event, from_us
from schemas.events.accounts import PortfolioMeasured, SourceState
from services.common.recording import Line, Midnight, steps
from services.signals.backtest.broadcasts import Said, with_broadcasts
from services.signals.core import announcements
from services.signals.core.days import DAY_US, HOUR_US, NEVER
from services.signals.core.portfolio import MIN_ACCOUNTS, Row, explained, measure
from services.signals.core.sources import Feed, SourceWatch, Told
from services.signals.core.world import MAX_FEEDS, World

DAY = dt.date(2026, 3, 9)
REGULAR = (10, 10, 10, 10)


def row(current: int, previous: int = 100, **more: Any) -> Row:
    return Row(**{"tier": "low", "current": current, "previous": previous, **more})


# -- the measure -----------------------------------------------------------------------------------------------------


def test_the_measure_is_the_median_of_accounts_with_a_baseline() -> None:
    rows = [row(50), row(90), row(100), row(0, previous=19), row(300, previous=0)]
    told = measure(rows, DAY)
    assert (told.accounts, told.usage_change) == (3, -0.1)
    assert told.by_tier is None, "three are no tier"
    assert measure([row(1, previous=20)], DAY).accounts == 1
    assert measure([], DAY).usage_change is None


def test_a_tier_and_a_day_are_measured_from_twenty_accounts_on() -> None:
    some = [row(80, on_day=4, weekdays=REGULAR) for _ in range(MIN_ACCOUNTS - 1)]
    told = measure(some, DAY)
    assert (told.usage_change, told.usage_change_day, told.by_tier) == (-0.2, None, None)
    told = measure([*some, row(80, tier=None, on_day=4, weekdays=REGULAR)], DAY)
    assert told.usage_change_day == -0.6
    assert told.by_tier is not None
    assert told.by_tier["low"].usage_change == -0.2, "no tier is low touch"
    assert told.by_tier["low"].usage_change_day == -0.6


@pytest.mark.parametrize("weekdays", [(10, 10, 10, 0), (2, 3, 3, 3), (10, 10, 10), ()])
def test_an_account_that_is_not_used_on_that_weekday_says_nothing_of_the_day(weekdays: tuple[int, ...]) -> None:
    rows = [row(100, on_day=0, weekdays=weekdays) for _ in range(30)]
    assert measure(rows, DAY).usage_change_day is None


def test_scores_and_growth() -> None:
    rows = [row(0, 0, industry="retail", growth=0.1), row(0, 0, industry="retail", growth=0.3)]
    rows += [row(0, 0, industry="mining", growth=0.5), row(0, 0, growth=9.0), row(0, 0, nps=(150, 20), csat=(19, 5))]
    told = measure(rows, DAY)
    assert told.growth_mean_by_segment == {"retail": 0.2}, (
        "one account is no segment, and none without an industry is in one"
    )
    assert (told.nps_mean, told.csat_mean) == (7.5, None), "five answers are too few"


@pytest.mark.parametrize(
    ("change", "shared", "is_explained"),
    [
        (-0.30, -0.124, False),  # the portfolio hardly fell
        (-0.30, -0.125, True),  # it fell by half of a quarter; against it the account has 80 %
        (-0.343, -0.125, True),
        (-0.344, -0.125, False),  # 74.97 % of the portfolio's
        (-0.475, -0.30, False),  # exactly three quarters of it
        (-0.474, -0.30, True),
        (-1.0, -0.9, False),
        (-1.0, -1.0, True),  # nobody used anything
    ],
)
def test_what_the_portfolio_explains(change: float, shared: float, is_explained: bool) -> None:
    assert explained(change, -0.25, shared) is is_explained


# -- what is said ----------------------------------------------------------------------------------------------------


def test_broadcasts_are_valid_and_the_same_bytes_every_time() -> None:
    raw = announcements.measured(measure([row(50)], DAY))
    event = decode("accounts", None, raw)
    assert isinstance(event, Event)
    assert (event.type, event.time, event.data.day) == (
        "portfolio.measured",
        dt.datetime(2026, 3, 10, tzinfo=dt.UTC),
        DAY,
    )
    assert raw == announcements.measured(measure([row(50)], DAY))
    told = Told("stale", "s" * 512, "usage", 5 * HOUR_US, 60 * HOUR_US)
    event = decode("accounts", None, announcements.source_told(told))
    assert isinstance(event, Event)
    assert (event.type, event.data.source, event.time_us) == ("source.stale", "s" * 512, 60 * HOUR_US)


# -- the watch -------------------------------------------------------------------------------------------------------


def office(day: int) -> list[int]:
    """Hours of a weekday from 8 to 17, counted from the first Monday of 1970 (the 5th of January)."""
    return [(4 + day) * 24 + hour for hour in range(8, 18)] if day % 7 < 5 else []


def watched(hours: list[int], accounts: int = 10, watch: SourceWatch | None = None) -> tuple[SourceWatch, list[Told]]:
    watch = SourceWatch() if watch is None else watch
    told: list[Told] = []
    for hour in hours:
        told += watch.until(hour * HOUR_US)
        for number in range(accounts):
            back = watch.saw("app", "usage", f"a{number}", hour * HOUR_US)
            told += [back] if back else []
    return watch, told


def test_nights_and_weekends_are_usual() -> None:
    _, told = watched([hour for day in range(100) for hour in office(day)])
    assert told == []


def test_a_bank_holiday_is_not_stale_and_three_days_are() -> None:
    monday_off = [hour for day in range(60) if day != 35 for hour in office(day)]
    assert watched(monday_off)[1] == []
    week = [hour for day in range(60) if not 36 <= day < 39 for hour in office(day)]  # Tuesday to Thursday
    _, told = watched(week)
    # Monday at 17, as a rule followed at 8 on Tuesday; then 42 hours. It is back on Friday at 8.
    last, back = ((4 + 35) * 24 + 17) * HOUR_US, ((4 + 39) * 24 + 8) * HOUR_US
    assert told == [
        Told("stale", "app", "usage", last, last + (15 + 42) * HOUR_US),
        Told("fresh", "app", "usage", back, back),
    ]


def test_the_outage_of_last_week_does_not_make_the_next_one_usual() -> None:
    days = [day for day in range(90) if not 36 <= day < 39 and not 43 <= day < 46]
    _, told = watched([hour for day in days for hour in office(day)])
    assert [one.what for one in told] == ["stale", "fresh", "stale", "fresh"]


@pytest.mark.parametrize(
    ("hours", "accounts"),
    [
        (list(range(13 * 24)), 10),  # not two weeks yet
        (list(range(40 * 24)), 9),  # nine customers may well be silent together
        ([day * 24 for day in range(0, 120, 4)], 10),  # seven days of 28
    ],
)
def test_what_it_says_nothing_about(hours: list[int], accounts: int) -> None:
    watch, told = watched(hours, accounts)
    assert told == []
    assert list(watch.until((hours[-1] + 5000) * HOUR_US)) == []


def test_accounts_that_left_long_ago_do_not_count() -> None:
    watch, _ = watched(list(range(20 * 24)))
    watch, _ = watched(list(range(20 * 24, 60 * 24)), 1, watch)
    assert list(watch.until(1000 * 24 * HOUR_US)) == []


def test_a_source_is_late_long_before_it_is_stale() -> None:
    watch, _ = watched([hour for day in range(36) for hour in office(day)])
    monday = ((4 + 35) * 24 + 17) * HOUR_US
    # As a rule the next comes at 8; six hours more are late, and after ninety days there is no source.
    assert watch.late(monday + 21 * HOUR_US - 1) == []
    (late,) = watch.late(monday + 21 * HOUR_US)
    assert (late.source, late.topic, late.since) == ("app", "usage", from_us(monday))
    assert watch.late(monday + 90 * DAY_US) == []


def test_who_is_fed_by_a_late_source_is_held_for_the_day() -> None:
    world = World()
    app = world.feed("usage", "app")
    late = [SourceState(source="app", topic="usage", since=from_us(99 * DAY_US))]
    world.measured(measure([], dt.date(1970, 1, 1) + dt.timedelta(days=99), late), 100 * DAY_US)
    assert world.late({app: 98}, ("usage",), 100 * DAY_US)
    assert not world.late({app: 98}, ("tickets",), 100 * DAY_US)
    assert not world.late({app: 71}, ("usage",), 100 * DAY_US), "it has fed nothing of the account for four weeks"
    assert not world.late({app: 98}, ("usage",), 101 * DAY_US), "of that day nothing is told"


def test_another_process_goes_on_where_one_ended() -> None:
    watch, _ = watched(list(range(20 * 24)))
    kept = {place: msgspec.json.decode(msgspec.json.encode(feed), type=Feed) for place, feed in watch.feeds.items()}
    again = SourceWatch(kept)
    late = 20 * 24 * HOUR_US + 43 * HOUR_US
    assert [one.what for one in again.until(late)] == ["stale"]
    assert list(again.until(late + DAY_US)) == []
    assert again.feeds["app", "usage"].limit < NEVER


# -- in a recording --------------------------------------------------------------------------------------------------

RUN = int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp() * 1e6)


def line(time: str, type_: str = "usage.feature_used", subject: str | None = "acme", **data: Any) -> bytes:
    event = {"specversion": "1.0", "id": time, "source": "app", "type": type_, "time": time}
    if subject is not None:
        event["subject"] = subject
    return json.dumps({**event, "data": data or {"feature": "f"}}).encode()


def walk(*lines: bytes) -> list[str]:
    """What stands where, in words."""
    recorded = steps((Line(raw, decode_any(raw)) for raw in lines), run_start_us=RUN)
    found = list(with_broadcasts(recorded, run_start_us=RUN))
    assert [step.sequence for step in found] == list(range(len(found)))
    words = []
    for step in found:
        if isinstance(step.what, Midnight):
            words.append("midnight")
        else:
            assert isinstance(step.what.event, Event)
            words.append(("said " if isinstance(step.what, Said) else "") + step.what.event.type)
    return words


def test_a_measure_stands_before_the_midnight_that_ends_its_day() -> None:
    assert walk(line("2026-03-01T10:00:00Z"), line("2026-03-02T10:00:00Z")) == [
        "midnight",
        "usage.feature_used",
        "said portfolio.measured",
        "midnight",
        "usage.feature_used",
        "said portfolio.measured",
        "midnight",
    ]


def recorded_measure(time: str, day: str = "2026-03-01") -> bytes:
    return line(time, "portfolio.measured", None, day=day, accounts=40, usage_change=-0.5)


def test_the_recordings_own_measure_counts_within_the_hour() -> None:
    first, last = line("2026-03-01T10:00:00Z"), line("2026-03-02T10:00:00Z")
    own = recorded_measure("2026-03-02T00:59:59Z")
    between = line("2026-03-02T00:30:00Z")
    assert walk(first, between, own, last)[:6] == [
        "midnight",
        "usage.feature_used",
        "midnight",
        "usage.feature_used",
        "portfolio.measured",
        "usage.feature_used",
    ]
    late = recorded_measure("2026-03-02T01:00:00Z")
    assert walk(first, late, last)[:4] == ["midnight", "usage.feature_used", "said portfolio.measured", "midnight"]
    other_day = recorded_measure("2026-03-02T00:30:00Z", day="2026-02-28")
    assert walk(first, other_day, last)[2] == "said portfolio.measured"


# -- as a partition keeps it -----------------------------------------------------------------------------------------


def test_a_day_is_measured_once_and_a_few_days_are_kept() -> None:
    world = World()
    for day in range(1, 60):
        told = PortfolioMeasured(day=dt.date(1970, 1, 1) + dt.timedelta(days=day), accounts=day)
        assert world.measured(told, (day + 1) * DAY_US)[0]
        assert not world.measured(told, (day + 1) * DAY_US)[0]
    sundays = [24, 31, 38, 45]  # 1970-01-25 is one; day 17 is 42 days before the last
    assert sorted(world.measures) == [*sundays, *range(50, 60)]
    assert not world.measured(PortfolioMeasured(day=dt.date(1970, 1, 5), accounts=1), 70 * DAY_US)[0], "long past"
    assert not world.measured(PortfolioMeasured(day=dt.date(1990, 1, 5), accounts=1), 70 * DAY_US)[0], "not yet over"
    measured = world.measure(60 * DAY_US)
    assert measured is not None
    assert measured.accounts == 59
    assert world.measure(60 * DAY_US - 1) == world.measures[58]
    assert world.measure(61 * DAY_US) is None
    assert world.measure_of(24, 60 * DAY_US) == world.measures[24]


def test_a_hole_holds_whom_it_concerns_while_a_window_overlaps_it() -> None:
    world = World()
    app, web = world.feed("usage", "app"), world.feed("usage", "web")
    fed = {app: 98}
    assert world.stale("usage", "app", 100 * DAY_US + 1, 101 * DAY_US)
    assert not world.stale("usage", "app", 100 * DAY_US + 1, 102 * DAY_US)

    def held(now: int, days: int = 0, topics: tuple[str, ...] = ("usage",), by: dict[int, int] = fed) -> bool:
        return world.held(by, 0, topics, days, now)

    assert not held(101 * DAY_US - 1)
    assert held(101 * DAY_US)
    assert held(190 * DAY_US)
    assert not held(191 * DAY_US), "after 90 days it is gone"
    assert not held(102 * DAY_US, topics=("tickets",))
    assert not held(102 * DAY_US, by={web: 98})
    assert held(102 * DAY_US, by={app: 72})
    assert not held(102 * DAY_US, by={app: 71}), "it has fed nothing of the account for four weeks"
    assert world.fresh("usage", "app", 103 * DAY_US + HOUR_US)
    assert not world.fresh("usage", "app", 103 * DAY_US + HOUR_US)
    assert held(104 * DAY_US - 1)
    assert not held(104 * DAY_US)
    assert held(132 * DAY_US - 1, days=28)
    assert not held(132 * DAY_US, days=28)
    assert world.fed_again(fed, "usage", 104 * DAY_US) == 103 * DAY_US + HOUR_US
    assert world.fed_again(fed, "usage", 103 * DAY_US) == 0
    assert not world.held(fed, 104 * DAY_US, ("usage",), 28, 105 * DAY_US), "it was no customer then"


def test_feeds_are_bounded() -> None:
    world = World()
    for number in range(200):
        world.feed("usage", f"host-{number}")
    assert len(world.feeds) == MAX_FEEDS
    assert world.feed("usage", "host-199") == MAX_FEEDS
    assert not world.stale("usage", "host-199", 0, DAY_US)
