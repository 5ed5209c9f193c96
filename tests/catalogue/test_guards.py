"""A fall that all share, and a source that stops: said once, and no account is blamed for it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from schemas.signals import Transition
from services.signals.backtest.run import run

DAY_0 = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)  # a Monday
RUN_START = int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp() * 1e6)

Said = tuple[str, str, str, float]
"""Account, signal, what, and the day (from `DAY_0`, as a fraction) on which."""


def at(day: float) -> str:
    return (DAY_0 + dt.timedelta(days=day)).isoformat()


def line(account: str, day: float, count: int, source: str = "app", type_: str = "usage.feature_used") -> bytes:
    data: dict[str, Any] = {"feature": "report", "count": count} if type_ == "usage.feature_used" else {}
    event = {"specversion": "1.0", "id": f"{account}/{type_}/{day}", "source": source, "type": type_}
    return json.dumps({**event, "subject": account, "time": at(day), "data": data}).encode()


def event(account: str | None, type_: str, day: float, **data: Any) -> bytes:
    head = {"specversion": "1.0", "id": f"{account}/{type_}/{day}", "source": "app", "type": type_, "time": at(day)}
    return json.dumps({**head, **({"subject": account} if account else {}), "data": data}).encode()


def profile(account: str, **fields: Any) -> bytes:
    event = {"specversion": "1.0", "id": f"{account}/profile", "source": "crm", "type": "account.updated"}
    return json.dumps({**event, "subject": account, "time": at(0), "data": fields}).encode()


def told(lines: Iterable[bytes], days: int) -> list[Said]:
    """Which risks were raised, escalated and cleared up to the end of day number `days`."""
    until = (DAY_0 + dt.timedelta(days=days)).date()
    return [said(change) for change in run(lines, until=until, run_start_us=RUN_START) if change.data.kind == "risk"]


def said(change: Transition) -> Said:
    day = (change.time - DAY_0) / dt.timedelta(days=1)
    return change.subject, change.data.signal, change.type.removeprefix("signal."), round(day, 4)


def of(changes: list[Said], *signals: str) -> list[Said]:
    return [change for change in changes if change[1] in signals]


def everybody(accounts: int, days: int, uses: Callable[[int, int], int]) -> list[bytes]:
    """Uses of each account (by number) on each day, at ten in the morning."""
    return [
        line(f"a{account:02d}", day + 10 / 24, uses(account, day))
        for day in range(days)
        for account in range(accounts)
        if uses(account, day)
    ]


# -- the portfolio ---------------------------------------------------------------------------------------------------


def test_a_holiday_is_said_once_and_the_one_that_really_fell_is_raised() -> None:
    """60 % less for everybody from day 70 to day 73; account 0 has half its use from day 60 on."""
    changes = told(everybody(25, 100, lambda a, day: (10 if a or day < 60 else 5) if not 70 <= day < 74 else 4), 99)
    # The day is 40 % of its weekdays before; afterwards the weekday's mean has one such day in it and use is back.
    assert of(changes, "portfolio.usage_drop") == [
        ("_portfolio", "portfolio.usage_drop", "raised", 71.0),
        ("_portfolio", "portfolio.usage_drop", "cleared", 75.0),
    ]
    # Ten days with 5 less and four with 6 less: 206 of 280 at the midnight of day 74, and 212 one day sooner.
    declined = of(changes, "usage.decline")
    assert [change[:3] for change in declined[:1]] == [("a00", "usage.decline", "raised")]
    assert declined[0][3] == 74.0
    assert {change[0] for change in declined} == {"a00"}


def test_a_lasting_fall_of_all_is_the_portfolios_and_not_theirs() -> None:
    """40 % less for everybody from day 60 on; account 0 has 80 % less."""
    uses = lambda a, day: 20 if day < 60 else (12 if a else 4)  # noqa: E731
    changes = told(everybody(25, 130, uses), 129)
    drop = of(changes, "portfolio.usage_drop")
    assert [change[2] for change in drop] == ["raised", "cleared"]
    assert drop[0][3] == 61.0  # the first day alone is 40 % below its weekdays
    declined = of(changes, "usage.decline")
    assert {change[0] for change in declined} == {"a00"}
    # After n days the portfolio has 560 - 8n uses in 28 days and account 0 has 560 - 16n: three quarters of it at n = 14.
    assert declined[0] == ("a00", "usage.decline", "raised", 74.0)


def test_before_the_portfolio_fell_by_an_eighth_an_account_stands_for_itself() -> None:
    """As above, but account 0 stops at once: a quarter less after seven days, when the others have 40 % x 7/28 less."""
    uses = lambda a, day: 20 if day < 60 else (12 if a else 0)  # noqa: E731
    changes = told(everybody(25, 75, uses), 74)
    assert of(changes, "usage.decline")[0] == ("a00", "usage.decline", "raised", 67.0)


def fallen(accounts: int, outage: float) -> list[bytes]:
    """20 uses a day; account 0 has 12 from day 60 on, and everybody `outage` of theirs from day 90 to day 97."""

    def uses(account: int, day: int) -> int:
        own = 12 if account == 0 and day >= 60 else 20
        return round(own * outage) if 90 <= day < 98 else own

    return everybody(accounts, 120, uses)


def test_what_all_share_makes_no_open_decline_critical() -> None:
    """It is open from day 78 on (18 days of 12 are 416 of 560). Five days with nothing leave 276, less than 280, on day 95.

    With as much more as the others lost, 17.9 % then and 28.6 % in the end, it keeps 60 %.
    """
    held = of(told(fallen(25, 0.0), 119), "usage.decline")
    assert [change for change in held if change[0] == "a00"] == [("a00", "usage.decline", "raised", 78.0)]
    alone = of(told(fallen(19, 0.0), 119), "usage.decline")
    assert [change[2:] for change in alone if change[0] == "a00"] == [("raised", 78.0), ("escalated", 95.0)]


def test_an_escalation_waits_for_the_measure_and_is_that_of_the_midnight() -> None:
    days = [measured(day, day + 1 + 30 / 1440, usage_change=0.0) for day in range(90, 110)]
    changes = of(told(by_time([*fallen(1, 0.0), *days]), 119), "usage.decline")
    assert [change[2:] for change in changes] == [("raised", 78.0), ("escalated", 95.0)]
    days = [measured(day, day + 1 + 30 / 1440, usage_change=-0.179) for day in range(90, 111)]
    changes = of(told(by_time([*fallen(1, 0.0), *days]), 110), "usage.decline")
    # Of the last midnight nothing is told.
    assert [change[2:] for change in changes if change[3] < 111] == [("raised", 78.0)]


def test_an_open_decline_ends_while_it_waits_for_the_measure() -> None:
    """On day 95 it would be critical; ten minutes later 300 more uses of the day before are told."""
    lines = by_time([*fallen(1, 0.0), line("b", 95.005, 1), measured(94, 95 + 30 / 1440, usage_change=0.0)])
    lines.insert(next(n for n, raw in enumerate(lines) if b"m94" in raw), line("a00", 94.5, 300))
    assert [change[2:] for change in of(told(lines, 95), "usage.decline")] == [("raised", 78.0), ("cleared", 95.0)]


def test_a_small_portfolio_is_never_guarded() -> None:
    uses = lambda a, day: 20 if day < 60 else 12  # noqa: E731
    changes = told(everybody(19, 100, uses), 99)
    assert len([change for change in of(changes, "usage.decline") if change[2] == "raised"]) == 19
    assert not of(changes, "portfolio.usage_drop")


def test_a_tier_is_held_against_itself() -> None:
    """Of 20 high and 30 low accounts the high ones have 40 % less: they share it, and one of the low ones does not."""
    tiers = [profile(f"a{n:02d}", tier="high" if n < 20 else "low") for n in range(50)]
    uses = lambda a, day: 20 if day < 60 or 20 <= a < 49 else 12  # noqa: E731
    changes = told([*tiers, *everybody(50, 100, uses)], 99)
    assert {change[0] for change in of(changes, "usage.decline")} == {"a49"}
    assert [change[2] for change in of(changes, "portfolio.usage_drop")][:1] == ["raised"]


# -- recorded measures -----------------------------------------------------------------------------------------------


def measured(day: int, when: float, **data: Any) -> bytes:
    event = {"specversion": "1.0", "id": f"m{day}", "source": "live", "type": "portfolio.measured"}
    told_of = (DAY_0 + dt.timedelta(days=day)).date().isoformat()
    return json.dumps({**event, "time": at(when), "data": {"day": told_of, "accounts": 500, **data}}).encode()


def by_time(lines: list[bytes]) -> list[bytes]:
    return sorted(lines, key=lambda raw: json.loads(raw)["time"])


HALVED = everybody(1, 75, lambda _, day: 20 if day < 60 else 4)
"""Of 20 uses a day 4 are left from day 60 on: 75 % of 28 days at the midnight of day 69 (9 days x 16 = 144 of 560)."""


def test_without_a_measure_worth_the_name_it_is_raised_at_the_midnight() -> None:
    assert of(told(HALVED, 75), "usage.decline")[0] == ("a00", "usage.decline", "raised", 69.0)


@pytest.mark.parametrize("minutes", [0, 5, 59])
def test_what_the_recording_measured_counts_though_it_comes_after_the_midnight(minutes: int) -> None:
    shared = [measured(day, day + 1 + minutes / 1440, usage_change=-0.3, usage_change_day=0.0) for day in range(55, 70)]
    changes = told(by_time([*HALVED, *shared]), 69)
    # At the midnight of day 69 it has 25.7 % less, where everybody has 30 % less. (Of the last midnight nothing is told.)
    assert [change[3] for change in of(changes, "usage.decline")] == [70.0]
    assert of(changes, "portfolio.usage_drop")[0] == (
        "_portfolio",
        "portfolio.usage_drop",
        "raised",
        round(56 + minutes / 1440, 4),
    )


def test_a_decision_waits_an_hour_for_its_measure_and_is_that_of_the_midnight() -> None:
    shared = [measured(day, day + 1 + 30 / 1440, usage_change=-0.05) for day in range(55, 75)]
    changes = told(by_time([*HALVED, *shared]), 74)
    assert of(changes, "usage.decline")[0] == ("a00", "usage.decline", "raised", 69.0)


def test_after_an_hour_it_waits_no_longer() -> None:
    late = measured(68, 69 + 61 / 1440, usage_change=-0.3)
    changes = told(by_time([*HALVED, late]), 74)
    assert of(changes, "usage.decline")[0] == ("a00", "usage.decline", "raised", 69.0)


FIRST_LOGIN = event("stuck", "usage.logged_in", 0, user="ana")
"""At midnight: her first week ends with a midnight."""
IGNORANT = [line("ignorant", 0, 1), event(None, "feature.released", 0, feature="forecast"), line("ignorant", 50, 1)]


@pytest.mark.parametrize(
    ("lines", "signal", "day"),
    [([FIRST_LOGIN], "adoption.user_stuck", 7), (IGNORANT, "adoption.release_ignored", 60)],
)
def test_signals_of_users_and_of_subjects_wait_for_the_measure_too(lines: list[bytes], signal: str, day: int) -> None:
    """Its measure comes half an hour after the midnight: the source of usage was late as the day ended, or nothing was."""
    late = [{"source": "app", "topic": "usage", "since": at(day - 1)}]
    was_late = measured(day - 1, day + 30 / 1440, late_sources=late)
    assert of(told([*lines, was_late], day + 1), signal)[0][3] == day + 1
    nothing_late = measured(day - 1, day + 30 / 1440, usage_change=0.0)
    assert of(told([*lines, nothing_late], day + 1), signal)[0][3] == day
    too_late = measured(day - 1, day + 61 / 1440, late_sources=late)
    assert of(told([*lines, too_late], day + 1), signal)[0][3] == day


# -- what reads usage by way of something else -----------------------------------------------------------------------


def paying(account: str) -> bytes:
    """An invoice that is not due: payment is worth 100 and has 15 of the known 50 weights."""
    data = {"invoice_id": "I1", "amount": "1", "currency": "EUR", "due": "2030-01-01"}
    return event(account, "invoice.issued", 0, **data)


def outage(accounts: int, left: float, alone: float = 1.0) -> list[bytes]:
    """100 uses a day; `left` of them from day 63 (a Monday) to day 69; account 0 keeps only `alone` of its own from then on."""

    def uses(account: int, day: int) -> int:
        return round(100 * (left if 63 <= day < 70 else 1.0) * (alone if account == 0 and day >= 63 else 1.0))

    return [*(paying(f"a{n:02d}") for n in range(accounts)), *everybody(accounts, 100, uses)]


def test_an_outage_of_all_takes_nobodys_health() -> None:
    """A week with nothing is a fourth of 28 days: a trend of 50 instead of 100, and a score of 65, out of two bands."""
    assert not of(told(outage(20, 0.0), 99), "health.drop")
    assert {said[0] for said in of(told(outage(19, 0.0), 99), "health.drop")} == {f"a{n:02d}" for n in range(19)}


def test_nor_does_it_hide_who_fell_alone() -> None:
    """Account 0 has four fifths of its use from day 63 on, in and after an outage that leaves everybody half a week.

    At the midnight of day 70 + n it has 2,380 - 20 n uses where 2,800 become 2,450. Ten points are 14.3 of the trend, a fall
    of 7.14 %: (80 + 22.86 n) / 2,800 against the others, from n = 6 on. For itself it would be that on the fourth day.
    """
    drops = of(told(outage(20, 0.5, alone=0.8), 99), "health.drop")
    assert drops[0] == ("a00", "health.drop", "raised", 76.0)
    assert {said[0] for said in drops} == {"a00"}
    assert of(told(outage(19, 0.5, alone=0.8), 99), "health.drop")[0][3] == 67.0


@pytest.mark.parametrize(("shared", "days"), [(-0.05, [75.0]), (-0.0499, [70.0])])
def test_a_twentieth_less_for_all_explains_a_drop(shared: float, days: list[float]) -> None:
    """9.96 % less from the midnight of day 70 on are 14 points; against 95 % they are 5.2 %, and 7 points.

    Of the last midnight nothing is told.
    """
    lines = everybody(1, 75, lambda _, day: 100 if not 67 <= day < 70 else 7)
    tellings = [measured(day, day + 1, usage_change=shared) for day in range(60, 74)]
    assert [said[3] for said in of(told(by_time([paying("a00"), *lines, *tellings]), 74), "health.drop")] == days


def weekly(accounts: int, uses: Callable[[int, int], int], weeks: int) -> list[bytes]:
    """Core uses of each account (by number) in each week, on its Monday."""
    return [
        event(
            f"a{account:02d}", "usage.feature_used", 7 * week + 0.4, feature="f", core=True, count=uses(account, week)
        )
        for week in range(weeks)
        for account in range(accounts)
    ]


def test_a_week_without_anybody_erodes_no_core() -> None:
    """A fifth of the use in week 30, and for account 0 half of that, and half from then on."""
    uses = lambda a, week: (100 if week != 30 else 20) // (2 if a == 0 and week >= 30 else 1)  # noqa: E731
    erosion = of(told(weekly(20, uses, 36), 251), "usage.core_erosion")
    # At week 32 it has 260 of 400, which is 81 % of the others' 320; a week later 66 %.
    assert erosion == [("a00", "usage.core_erosion", "raised", 7 * 33.0)]
    small = of(told(weekly(19, uses, 36), 251), "usage.core_erosion")
    assert {said[0] for said in small if said[2:] == ("raised", 7 * 31.0)} == {f"a{n:02d}" for n in range(19)}


@pytest.mark.parametrize(("shared", "raised"), [(-0.1, False), (-0.0999, True)])
def test_a_tenth_less_for_all_explains_an_erosion(shared: float, raised: bool) -> None:
    """320 of 400 at the Monday of week 31, which is 89 % against the portfolio: the measure is that of the Sunday before."""
    lines = weekly(1, lambda _, week: 20 if week == 30 else 100, 31)
    on_sunday = measured(216, 217, usage_change=shared)
    later = measured(217, 218, usage_change=0.0)
    assert bool(of(told(by_time([*lines, on_sunday, later]), 218), "usage.core_erosion")) == raised


def growing(accounts: int) -> list[tuple[str, float]]:
    """80, 100, 125 uses a week over four weeks each; account 0 has 80, 125, 196. Who is growing, and since when."""

    def uses(account: int, week: int) -> int:
        return ((80, 100, 125) if account else (80, 125, 196))[min(week // 4, 2)]

    until = (DAY_0 + dt.timedelta(days=83)).date()
    changes = map(said, run(weekly(accounts, uses, 12), until=until, run_start_us=RUN_START))
    return [(account, day) for account, signal, _, day in changes if signal == "expansion.growth"]


def test_growth_of_all_is_nobodys() -> None:
    assert growing(20) == [("a00", 84.0)], "1.5625 times, where all have 1.25 times"
    assert dict(growing(19)) == {f"a{n:02d}": 63.0 for n in range(19)}


# -- sources ---------------------------------------------------------------------------------------------------------

STOPS, RETURNS = 45, 48


def feed(accounts: int = 12, days: int = 110, now: int = 21) -> list[tuple[float, bytes]]:
    """Uses at four hours of each day, a sixth less from day 31 on, and a high touch account that is used every 9 days.

    At the end of the hole 28 days of the first have 83 % x 25/28 = 74 % of the 28 days before.
    """
    found = [
        (day + hour / 24, line(f"a{account:02d}", day + hour / 24, 25 if day < 31 else now))
        for day in range(days)
        for hour in (8, 11, 14, 17)
        for account in range(accounts)
    ]
    found += [(day + 0.5, line("rare", day + 0.5, 1)) for day in range(1, days, 9)]
    return sorted(found)


def silent_before(lines: list[tuple[float, bytes]], stops: int = STOPS) -> list[bytes]:
    return [raw for day, raw in lines if not stops <= day < stops + 3]


def with_backlog(lines: list[tuple[float, bytes]], stops: int = STOPS) -> list[bytes]:
    """What the source could not send comes after the first thing that it sends again."""
    first = next(place for place, (day, _) in enumerate(lines) if day >= stops + 3)
    hole = [raw for day, raw in lines if stops <= day < stops + 3]
    before = [raw for day, raw in lines[: first + 1] if not stops <= day < stops + 3]
    return [*before, *hole, *(raw for _, raw in lines[first + 1 :])]


@pytest.mark.parametrize("comes_back", [silent_before, with_backlog])
def test_a_feed_that_stops_for_three_days_blames_no_account(
    comes_back: Callable[..., list[bytes]],
) -> None:
    changes = told([profile("rare", tier="high"), *comes_back(feed())], 109)
    assert [change for change in changes if change[0] != "_portfolio"] == []
    # The last at 17 on day 44, usually followed at 8 the next day, and 42 hours more.
    stale, fresh = changes
    assert stale == ("_portfolio", "pipeline.source_stale", "raised", round(44 + (17 + 15 + 42) / 24, 4))
    assert fresh == ("_portfolio", "pipeline.source_stale", "cleared", round(RETURNS + 8 / 24, 4))


@pytest.mark.parametrize("comes_back", [silent_before, with_backlog])
def test_nor_before_it_is_said_that_it_stopped(comes_back: Callable[..., list[bytes]]) -> None:
    """76 % of what it was on every day since day 31: at the midnight of day 60 one lost day makes it 73 %."""
    changes = told(comes_back(feed(now=19), 59), 109)
    assert [change[:3] for change in changes] == [
        ("_portfolio", "pipeline.source_stale", "raised"),
        ("_portfolio", "pipeline.source_stale", "cleared"),
    ]


def test_the_same_hole_in_one_accounts_use_is_its_own() -> None:
    """The source goes on for others: these accounts fell, and the rarely used one is silent."""
    others = [
        (day + h / 24, line(f"b{n}", day + h / 24, 9)) for day in range(110) for h in (8, 12, 16) for n in range(3)
    ]
    lines = sorted([*others, *((day, raw) for day, raw in feed() if not STOPS <= day < RETURNS)])
    changes = told([profile("rare", tier="high"), *(raw for _, raw in lines)], 80)
    assert {change[0] for change in of(changes, "usage.decline")} == {f"a{n:02d}" for n in range(12)}
    assert ("rare", "usage.silence", "raised", 37.5 + 14) in changes


def test_an_account_that_another_source_feeds_is_not_held() -> None:
    lines = [(day, raw) for day, raw in feed() if not STOPS <= day < RETURNS]
    own = [(day + 0.4, line("web", day + 0.4, 20, source="web")) for day in range(110) if day < 30]
    lively = [(day + 0.6, line("lively", day + 0.6, 20, source="web")) for day in range(110)]
    changes = told([raw for _, raw in sorted([*lines, *own, *lively])], 80)
    # Used from day 0 to day 29: at the midnight of day 46 the last 28 days have 12 days of it, those before 18.
    assert ("web", "usage.decline", "raised", 46.0) in changes
    assert ("web", "usage.silence", "raised", 59.4) in changes


def test_who_is_silent_for_good_is_silent_from_when_the_feed_was_back() -> None:
    """Used last on day 40, 30 days would end on day 70; the feed was back on day 48, at eight."""
    gone = [(day + 0.5, line("gone", day + 0.5, 1)) for day in range(30, 41)]
    lines = [(day, raw) for day, raw in feed() if not STOPS <= day < RETURNS]
    changes = told([raw for _, raw in sorted([*lines, *gone])], 100)
    assert of(changes, "usage.silence") == [("gone", "usage.silence", "raised", round(48 + 8 / 24 + 30, 4))]


def test_a_source_of_few_accounts_is_their_silence() -> None:
    lines = [raw for day, raw in feed(accounts=8) if not STOPS <= day < RETURNS]
    assert not of(told(lines, 60), "pipeline.source_stale")


def test_the_recordings_own_word_on_a_source_counts() -> None:
    """`fresh` is never said of the feed that came back, by whoever watched it live: the watch here says nothing of it."""
    word = {"specversion": "1.0", "id": "w", "source": "live", "type": "source.stale", "time": at(46)}
    data = {"source": "app", "topic": "usage", "since": at(45)}
    lines = [(day, raw) for day, raw in feed() if not STOPS <= day < RETURNS]
    lines.append((46.0, json.dumps({**word, "data": data}).encode()))
    changes = told([raw for _, raw in sorted(lines)], 60)
    assert of(changes, "pipeline.source_stale") == [("_portfolio", "pipeline.source_stale", "raised", 46.0)]
