"""Portfolio arithmetic against the numbers that the source texts work out."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.api.portfolio.load import Book, mean
from services.api.portfolio.money import lifetime_multiple, renewal_bases, share, text, yearly, yearly_of_contract
from services.api.portfolio.period import PeriodError, resolve
from services.api.portfolio.retention import Customers, RollForward, revenue
from services.api.portfolio.sheet import Scores, compare
from services.api.portfolio.terms import Expected, LookAlikes
from services.api.portfolio.time_to_value import Quarter, trend
from services.api.portfolio_answers import GROUPS_SHOWN, largest, parted, retention_targets
from services.api.portfolio_queries import Sections, Standing
from services.common.settings import Settings

D = Decimal
MILLION = D(1_000_000)


def test_31_look_alikes_of_which_18_left() -> None:
    """Customer Success (Mehta, Steinman, Murphy), law 1."""
    alike = LookAlikes(left_at_first=14, left_at_second=4, not_yet_due=8, renewed=5, renewed_change=-0.14)
    assert (alike.accounts, alike.lost, alike.remaining) == (31, 18, 13)
    assert alike.lost_share == pytest.approx(0.58, abs=0.005)
    assert alike.first_due == 23
    assert alike.first_lost_share == pytest.approx(0.61, abs=0.005)


def test_yearly_revenue_of_months_and_of_contracts_over_years() -> None:
    """Customer Success, chapter 1: 20 × $1,000 a month; 6 × $2 M for two years."""
    assert yearly(20 * D("1000")) == D("240000")
    assert 6 * yearly_of_contract(2 * MILLION, 2) == 6 * MILLION
    with pytest.raises(ValueError, match="years"):
        yearly_of_contract(MILLION, 0)


def test_what_a_growing_customer_pays_over_the_years() -> None:
    """Customer Success, chapter 1 and law 4: +7 % for 8 years, +5 % for 10 years."""
    assert round(lifetime_multiple(D(7), 8), 2) == D("10.26")
    assert round(lifetime_multiple(D(5), 10), 2) == D("12.58")


def test_cmrr_rolls_forward_and_carries_over() -> None:
    """Customer Success, law 8: $25 M − 10 %; + $1.76 M; a month of $1.5 M and $225 k carried over."""
    churned = RollForward(opening=25 * MILLION, cancelled=D("-2500000"))
    assert churned.closing == D("22500000")
    assert RollForward(opening=churned.closing, upsell=D("1760000")).closing == D("24260000")
    assert Expected(due=D("1500000"), carried_over=D("225000")).total == D("1725000")


def test_net_retention_of_ten_percent_net_upsell() -> None:
    """Customer Success, chapter 2: $132 M with 10 % net upsell."""
    found = revenue([(132 * MILLION, D("145200000"))])
    assert found.kept == D("145200000")
    assert found.net == 1.1
    assert found.gross == 1.0


def test_the_base_of_renewals_grows_by_what_is_sold_and_by_what_is_kept() -> None:
    """Customer Success, chapter 2: ARR 15 M, new 15 M then 22.5 M, net retention 110 %."""
    assert renewal_bases(15 * MILLION, [15 * MILLION, D("22500000")], D("1.10")) == [D("16500000"), D("34650000")]


def test_books_of_accounts() -> None:
    """Customer Success, chapter 17: 1,600 accounts, $40 M; by 2, by 11, by a pool of 4, and by one."""
    assert mean(40 * MILLION, 1600) == D("25000.00")
    books = [
        Book({"high": 25}, 2),
        Book({"low": 550}, 11),
        Book({"tech": 600}, 4),
        Book({"tech": 425}, 1),
    ]
    assert sum(book.accounts for book in books) == 1600
    assert [book.each for book in books] == [D("12.5"), D(50), D(150), D(425)]
    assert [book.state(most=50) for book in books] == ["usual"] * 4
    assert mean(MILLION, 0) is None


@pytest.mark.parametrize(
    ("by_tier", "state"),
    [
        ({"high": 4}, "under"),
        ({"high": 5}, "usual"),
        ({"high": 15}, "usual"),
        ({"high": 16}, "over"),
        ({"low": 19}, "under"),
        ({"low": 20}, "usual"),
        ({"low": 40}, "usual"),
        ({"low": 41}, "over"),
        ({"high": 5, "low": 36}, "over"),
        ({"high": 4, "low": 20}, "usual"),
        ({"tech": 1000}, "usual"),
    ],
)
def test_a_manager_is_over_or_under(by_tier: dict[str, int], state: str) -> None:
    assert Book(by_tier).state() == state


def test_a_managers_sheet_says_just_that() -> None:
    """Customer Success, law 9: six points below the team, the executive component lowest."""
    own = Scores(66.0, {"adoption": 74.0, "executive_relationship": 31.0, "support": 70.0})
    team = Scores(72.0, {"adoption": 75.0, "executive_relationship": 62.0, "support": 68.0})
    found = compare(own, team)
    assert (found.score, found.team, found.gap) == (66.0, 72.0, -6.0)
    assert found.dragging_down is not None
    assert (found.dragging_down.name, found.dragging_down.gap) == ("executive_relationship", -31.0)
    assert [entry.name for entry in found.components] == ["executive_relationship", "adoption", "support"]


def test_nothing_drags_down_who_leads_and_missing_data_is_no_gap() -> None:
    found = compare(Scores(80.0, {"adoption": 80.0, "survey": None}), Scores(70.0, {"adoption": 70.0, "survey": 50.0}))
    assert found.dragging_down is None
    assert [entry.name for entry in found.components] == ["adoption"]
    alone = compare(Scores(80.0, {"adoption": 80.0}), Scores(None, {}))
    assert (alone.gap, alone.components) == (None, [])


def test_time_to_value_falls_and_saves_days() -> None:
    """Customer Success, law 7: 97, 89, 83 days by quarter."""
    quarters = [
        Quarter("2025-Q3", 10, D(970)),
        Quarter("2026-Q1", 30, D(2490)),
        Quarter("2025-Q4", 20, D(1780)),
        Quarter("2026-Q2", 0, D(0)),
    ]
    found = trend(quarters)
    assert [(step.quarter, step.mean_days) for step in found] == [("2025-Q3", 97), ("2025-Q4", 89), ("2026-Q1", 83)]
    assert [step.change for step in found] == [None, -8, -6]
    assert [step.days_saved for step in found] == [None, 8 * 20, 6 * 30]


def test_avoidable_and_unavoidable_churn_are_the_whole() -> None:
    found = Customers(opening=50, new=7, lost=5, lost_avoidable=3)
    assert (found.closing, found.churn) == (52, 0.1)
    assert (found.avoidable_churn, found.unavoidable_churn) == (0.06, 0.04)
    assert Customers(opening=0, new=1, lost=0, lost_avoidable=0).churn is None


@pytest.mark.parametrize(
    ("setting", "targets"),
    [("high=1.0", {"high": 1.0}), ("", {}), ("high=1,low=0.9,tech=0", {"high": 1.0, "low": 0.9, "tech": 0.0})],
)
def test_retention_targets_are_set_by_tier(setting: str, targets: dict[str, float]) -> None:
    assert retention_targets(Settings(retention_targets=setting).retention_targets) == targets


@pytest.mark.parametrize("setting", ["high", "high=2", "gold=1", "high=1.0,", "high=1;low=1", "high=-1"])
def test_what_is_no_retention_target_is_refused(setting: str) -> None:
    with pytest.raises(ValidationError, match="retention_targets"):
        Settings(retention_targets=setting)


def test_an_answer_has_room_for_the_largest_groups() -> None:
    def standing(group: str | None, accounts: int, *, whole: bool = False) -> Standing:
        return Standing(whole, group, accounts, *[0] * 8, None, *[0] * 5)

    cells = [standing(f"g{n:04}", n) for n in range(GROUPS_SHOWN + 2)]
    found = Sections([standing(None, 9, whole=True), standing(None, 3000), *cells], *[[] for _ in range(9)])
    whole, groups = parted(found)
    assert (whole.standing[0].accounts, len(groups), next(iter(groups))) == (9, GROUPS_SHOWN + 3, "g0000")
    shown = list(largest(groups))
    assert (len(shown), shown[0], shown[-1]) == (GROUPS_SHOWN, "g0003", None)


AMOUNTS = st.decimals(min_value=0, max_value=10**12, places=2)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=20))
def test_gross_retention_is_never_above_net_or_one(accounts: list[tuple[Decimal, Decimal]]) -> None:
    found = revenue([(before, after) for before, after in accounts if before])
    if found.gross is not None and found.net is not None:
        assert 0 <= found.gross <= min(1.0, found.net)


def test_amounts_are_exact_and_plain() -> None:
    assert text(yearly(D("2416.67"))) == "29000.04"
    assert text(yearly(D("999999999999999.999999999"))) == "11999999999999999.999999988"
    assert text(D("1E+6")) == "1000000"
    assert share(1, 3) == 0.333333
    assert share(1, 0) is None


NOW = dt.datetime(2026, 5, 20, 12, tzinfo=dt.UTC)
TICK = dt.timedelta(microseconds=1)


def test_a_period_is_the_quarter_so_far_unless_asked_otherwise() -> None:
    found = resolve(NOW, None, None, None)
    assert (found.first, found.last, found.day) == (dt.date(2026, 4, 1), dt.date(2026, 5, 20), dt.date(2026, 5, 20))
    assert (found.start, found.end) == (dt.datetime(2026, 4, 1, tzinfo=dt.UTC), NOW + TICK)
    assert not found.past


def test_a_period_that_is_over_ends_with_its_last_day() -> None:
    found = resolve(NOW, None, dt.date(2026, 1, 1), dt.date(2026, 3, 31))
    assert found.end == dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    assert (found.day, found.past) == (dt.date(2026, 3, 31), True)
    running = resolve(NOW, dt.datetime(2026, 2, 1, tzinfo=dt.UTC), dt.date(2026, 1, 1), dt.date(2026, 3, 31))
    assert (running.day, running.last) == (dt.date(2026, 2, 1), dt.date(2026, 3, 31))
    assert running.end == dt.datetime(2026, 2, 1, tzinfo=dt.UTC) + TICK


@pytest.mark.parametrize(
    ("as_of", "first", "last", "field"),
    [
        (dt.datetime(2026, 5, 22, tzinfo=dt.UTC), None, None, "as_of"),
        (dt.datetime(1950, 1, 1, tzinfo=dt.UTC), None, None, "as_of"),
        (None, dt.date(2026, 5, 2), dt.date(2026, 5, 1), "from"),
        (None, dt.date(2026, 6, 1), dt.date(2026, 6, 30), "from"),
        (None, dt.date(2000, 1, 1), None, "from"),
        (None, dt.date(1950, 1, 1), dt.date(1951, 1, 1), "from"),
    ],
)
def test_what_gives_no_period_is_named(
    as_of: dt.datetime | None, first: dt.date | None, last: dt.date | None, field: str
) -> None:
    with pytest.raises(PeriodError) as refused:
        resolve(NOW, as_of, first, last)
    assert refused.value.field == field
