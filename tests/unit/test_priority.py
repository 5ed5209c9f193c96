"""Ranks: the table by hand, and the laws that any table must keep."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import priority
from schemas.priority import Judged, Situation

TODAY = dt.date(2026, 5, 20)
"""In the quarter of April to June."""


def about(**known: Any) -> Situation:
    return Situation(
        **{name: Decimal(value) if name in ("mrr", "step_percent") else value for name, value in known.items()}
    )


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("mrr", "factor"),
    [
        (None, "1"),
        ("833.3333333333333333333333333", "1.00"),  # 10 000 a year
        ("8333.333333333333333333333333", "2.00"),  # tenfold
        ("83333.33333333333333333333333", "4.00"),
        ("83.33333333333333333333333333", "0.50"),
        ("2416.67", "1.38"),  # 29 000 a year: 2 ** log10(2.9)
        ("0", "0.25"),
        ("-10", "0.25"),
        ("0.01", "0.25"),
        ("1" + "0" * 30, "8"),
    ],
)
def test_value_doubles_with_each_tenfold_of_arr(mrr: str | None, factor: str) -> None:
    found = priority.value(about(mrr=mrr) if mrr else Situation())
    assert found.factor == Decimal(factor)
    assert found.words.startswith("ARR")


@pytest.mark.parametrize(
    ("known", "factor", "words"),
    [
        ({}, "1", "not known"),
        ({"renewal": day("2026-05-20")}, "2", "in this quarter"),
        ({"renewal": day("2026-06-30")}, "2", "in this quarter"),
        ({"renewal": day("2026-07-01")}, "1.5", "within 90 days"),
        ({"renewal": day("2026-08-18")}, "1.5", "within 90 days"),
        ({"renewal": day("2026-08-19")}, "1", "renews 2026-08-19"),
        ({"renewal": day("2026-04-01")}, "2", "was to renew 2026-04-01"),
        ({"renewal": day("2025-04-01")}, "2", "and has not"),
        ({"contract_start": day("2024-06-01")}, "2", "anniversary 2026-06-01"),
        ({"contract_start": day("2024-05-20")}, "2", "anniversary 2026-05-20"),
        ({"contract_start": day("2024-05-19")}, "1", "anniversary 2027-05-19"),
        ({"contract_start": day("2026-05-20")}, "1", "anniversary 2027-05-20"),
        ({"contract_start": day("2026-12-24")}, "1", "anniversary 2027-12-24"),
        ({"contract_start": day("2024-02-29")}, "1", "anniversary 2027-02-28"),
        ({"contract_start": day("2024-06-01"), "renewal": day("2027-01-01")}, "1", "renews 2027-01-01"),
    ],
)
def test_renewal_counts_by_the_quarter_and_by_90_days(known: dict[str, Any], factor: str, words: str) -> None:
    found = priority.renewal(Situation(**known), TODAY)
    assert found.factor == Decimal(factor)
    assert words in found.words


@pytest.mark.parametrize(
    ("since", "factor"),
    [
        (None, "1"),
        ("2026-06-01", "1.5"),  # signed, and not begun yet
        ("2026-02-20", "1.5"),  # 89 days
        ("2026-02-19", "1.25"),  # 90
        ("2025-05-21", "1.25"),  # 364
        ("2025-05-20", "1"),
    ],
)
def test_the_first_90_days_and_the_first_year_count_more(since: str | None, factor: str) -> None:
    assert priority.tenure(Situation(since=since and day(since)), TODAY).factor == Decimal(factor)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("date", "percent", "factor"),
    [
        ("2027-02-20", "50", "1.25"),  # + 50 % in 9 months
        ("2026-05-20", "50", "1.25"),
        ("2026-05-19", "50", "1"),  # done
        ("2027-05-21", "50", "1.25"),
        ("2027-05-22", "50", "1"),  # more than a year away
        ("2027-02-20", "7.5", "1.04"),
        ("2027-02-20", "100", "1.5"),
        ("2027-02-20", "900", "1.5"),
        ("2027-02-20", "0", "1"),
        ("2027-02-20", "-20", "1"),
    ],
)
def test_a_rise_of_the_price_within_a_year_adds_half_of_it(date: str, percent: str, factor: str) -> None:
    assert priority.price_step(about(step_date=day(date), step_percent=percent), TODAY).factor == Decimal(factor)
    assert priority.price_step(Situation(step_date=day(date)), TODAY).factor == 1


@pytest.mark.parametrize(
    ("signal", "scope", "families", "factor"),
    [
        ("usage.decline", "account", 1, "0.8"),
        ("usage.decline", "account", 2, "0.9"),
        ("usage.decline", "account", 3, "1"),
        ("critical.usage_and_survey", "account", 0, "1"),
        ("survey.detractor", "user", 3, "0.5"),
        ("adoption.release_ignored", "campaign", 3, "0.5"),
    ],
)
def test_confidence_rises_with_what_agrees(signal: str, scope: str, families: int, factor: str) -> None:
    judged = Judged(signal=signal, kind="risk", severity="warning", scope=scope)
    assert priority.confidence(judged, families).factor == Decimal(factor)


def test_families_are_counted_by_kind_and_what_is_no_evidence_counts_none() -> None:
    names = ("usage.decline", "usage.silence", "billing.overdue", "critical.compound", "critical.support_and_billing")
    judged = [Judged(signal=name, kind="risk", severity="info", scope="account") for name in names]
    judged += [
        Judged(signal="lifecycle.nps_due", kind="risk", severity="info", scope="account"),
        Judged(signal="renewal.unsecured", kind="risk", severity="warning", scope="account"),
        Judged(signal="survey.detractor", kind="risk", severity="warning", scope="user"),
        Judged(signal="adoption.release_ignored", kind="risk", severity="info", scope="campaign"),
    ]
    judged.append(Judged(signal="expansion.seats", kind="opportunity", severity="info", scope="account"))
    assert priority.families_open(judged) == {"risk": 2, "opportunity": 1}


def test_a_rank_is_the_product_of_its_parts() -> None:
    # ARR 100 000, renews this quarter, 200 days old, + 50 % in 9 months, a warning beside one other family.
    known = about(
        mrr="8333.333333333333333333333333",
        currency="EUR",
        renewal=day("2026-06-01"),
        since=day("2025-11-01"),
        step_date=day("2027-02-20"),
        step_percent="50",
    )
    judged = Judged(signal="usage.decline", kind="risk", severity="warning", scope="account")
    parts = priority.parts_of(known, TODAY, judged, 2)
    assert [(part.part, str(part.factor)) for part in parts] == [
        ("severity", "3"),
        ("value", "2.00"),
        ("renewal", "2"),
        ("tenure", "1.25"),
        ("price_step", "1.25"),
        ("confidence", "0.9"),
    ]
    assert priority.product(parts) == Decimal("16.875")  # 3 × 2 × 2 × 1.25 × 1.25 × 0.9
    weight = priority.product(priority.weight_of(known, TODAY))
    assert priority.rank(weight, judged, 2) == Decimal("16.88")
    assert all(part.words for part in parts)


def test_nothing_known_is_neutral() -> None:
    judged = Judged(signal="usage.decline", kind="risk", severity="critical", scope="account")
    parts = priority.parts_of(Situation(), TODAY, judged, 3)
    assert [part.factor for part in parts] == [9, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("known", "place"),
    [
        ({}, 0),
        ({"renewal": day("2026-06-01")}, 2),
        ({"renewal": day("2026-07-01")}, 0),  # within 90 days, and not in this quarter
        ({"since": day("2025-06-01")}, 2),
        ({"since": day("2025-06-01"), "step_date": day("2027-02-20"), "step_percent": Decimal(50)}, 3),
        ({"step_date": day("2027-02-20"), "step_percent": Decimal(50)}, 1),
    ],
)
def test_precedence_puts_near_renewals_and_the_young_first_and_rises_on_top(known: dict[str, Any], place: int) -> None:
    assert priority.precedence(Situation(**known), TODAY) == place


def test_a_situation_is_read_from_a_profile_and_what_is_no_answer_is_unknown() -> None:
    first = dt.datetime(2026, 1, 3, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-1)))
    profile = {
        "mrr": "99.90",
        "currency": "EUR",
        "contract_start": "2026-01-01",
        "contract_end": "2026-12-31",
        "price_step": {"date": "2026-09-01", "percent": 12.5},
    }
    assert priority.situation(profile, first) == about(
        mrr="99.90",
        currency="EUR",
        renewal=day("2026-12-31"),
        contract_start=day("2026-01-01"),
        since=day("2026-01-01"),
        step_date=day("2026-09-01"),
        step_percent="12.5",
    )
    assert priority.situation(profile | {"renewal_date": "2026-11-30"}, first).renewal == day("2026-11-30")
    odd = {"mrr": "NaN", "currency": 5, "contract_start": "soon", "renewal_date": True, "price_step": "much"}
    assert priority.situation(odd, first) == Situation(since=day("2026-01-04"))
    assert (
        priority.situation({"mrr": "1e999999999", "price_step": {"date": None, "percent": True}}, None) == Situation()
    )


SEVERITIES = ("info", "warning", "critical")
AMOUNTS = st.decimals("0", "1e9", places=2)
DAYS = st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1))
SITUATIONS = st.builds(
    Situation,
    mrr=st.none() | AMOUNTS,
    renewal=st.none() | DAYS,
    contract_start=st.none() | DAYS,
    since=st.none() | DAYS,
    step_date=st.none() | DAYS,
    step_percent=st.none() | st.decimals("-100", "500", places=1),
)
JUDGED = st.builds(
    Judged,
    signal=st.sampled_from(("usage.decline", "critical.compound")),
    kind=st.just("risk"),
    severity=st.sampled_from(SEVERITIES),
    scope=st.sampled_from(("account", "user", "campaign")),
)


def rank_of(known: Situation, judged: Judged, families: int, today: dt.date) -> Decimal:
    return priority.rank(priority.product(priority.weight_of(known, today)), judged, families)


@given(SITUATIONS, JUDGED, st.integers(0, 5), DAYS)
def test_more_severe_never_ranks_lower(known: Situation, judged: Judged, families: int, today: dt.date) -> None:
    ranks = [
        rank_of(
            known, Judged(signal=judged.signal, kind="risk", severity=severity, scope=judged.scope), families, today
        )
        for severity in SEVERITIES
    ]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 3


@given(SITUATIONS, JUDGED, st.integers(0, 5), DAYS, AMOUNTS, AMOUNTS)
def test_more_arr_never_ranks_lower(
    known: Situation, judged: Judged, families: int, today: dt.date, one: Decimal, other: Decimal
) -> None:
    def worth(mrr: Decimal) -> Decimal:
        return rank_of(replaced(known, mrr=mrr), judged, families, today)

    assert worth(min(one, other)) <= worth(max(one, other))


@given(SITUATIONS, JUDGED, st.integers(0, 5), DAYS, st.integers(0, 800), st.integers(0, 800))
def test_a_nearer_renewal_a_younger_account_and_a_greater_rise_never_rank_lower(
    known: Situation, judged: Judged, families: int, today: dt.date, one: int, other: int
) -> None:
    near, far = sorted((one, other))

    def renews(days: int) -> Decimal:
        return rank_of(replaced(known, renewal=today + dt.timedelta(days=days)), judged, families, today)

    def aged(days: int) -> Decimal:
        return rank_of(replaced(known, since=today - dt.timedelta(days=days)), judged, families, today)

    def rises(percent: int) -> Decimal:
        step = today + dt.timedelta(days=30)
        return rank_of(replaced(known, step_date=step, step_percent=Decimal(percent)), judged, families, today)

    assert renews(near) >= renews(far)
    assert aged(near) >= aged(far)
    assert rises(near) <= rises(far)


@given(SITUATIONS, JUDGED, DAYS)
def test_more_families_never_rank_lower_and_the_order_is_total(
    known: Situation, judged: Judged, today: dt.date
) -> None:
    ranks = [rank_of(known, judged, families, today) for families in range(5)]
    assert ranks == sorted(ranks)
    assert all(rank > 0 and rank.as_tuple().exponent == -2 for rank in ranks)


def replaced(known: Situation, **changes: Any) -> Situation:
    return Situation(**{name: getattr(known, name) for name in known.__struct_fields__} | changes)
