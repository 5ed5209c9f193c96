"""What an account's history says of its revenue, whatever order it came in."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from services.signals.recorder.revenue import Fact, Mark, Revenue, derive, mark_of, repeats

D = Decimal


def at(day: str, hour: int = 9) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")


def fact(time: dt.datetime, type_: str, **data: Any) -> Fact:
    return Fact(time, f"account.{type_}", json.dumps(data))


def movements(found: Revenue) -> list[tuple[str, str, Decimal]]:
    return [(move.time.date().isoformat(), move.kind, move.amount) for move in found.movements]


def signed(**more: Any) -> Fact:
    data = {
        "tier": "low",
        "currency": "EUR",
        "mrr": "1000",
        "contract_start": "2025-01-01",
        "renewal_date": "2026-01-01",
    }
    return fact(at("2025-01-01"), "updated", **(data | more))


def test_an_account_begins_where_its_contract_does() -> None:
    found = derive([fact(at("2025-06-01"), "updated", contract_start="2024-03-15", mrr="10", currency="EUR")])
    assert [(span.since, span.until, span.mrr) for span in found.spans] == [(at("2024-03-15", 0), None, D(10))]
    assert found.spans[0].signed == dt.date(2024, 3, 15)
    assert movements(found) == [("2024-03-15", "new", D(10))]


def test_spans_follow_the_profile_and_change_only_where_it_does() -> None:
    found = derive(
        [
            signed(csm="Ana"),
            fact(at("2025-03-01"), "updated", seats=12),
            fact(at("2025-04-01"), "updated", csm="Ben", size=250),
            fact(at("2025-05-01"), "updated", csm=None),
        ]
    )
    assert [(span.since.date().isoformat(), span.csm, span.size) for span in found.spans] == [
        ("2025-01-01", "Ana", None),
        ("2025-04-01", "Ben", "250"),
        ("2025-05-01", None, "250"),
    ]
    assert [span.until for span in found.spans] == [at("2025-04-01"), at("2025-05-01"), None]


@pytest.mark.parametrize(
    ("event", "kind", "amount"),
    [
        (fact(at("2025-05-01"), "updated", mrr="1500"), "upsell", D(500)),
        (fact(at("2025-05-01"), "updated", mrr="700"), "downsell", D(-300)),
        (fact(at("2025-05-01"), "updated", mrr="0"), "cancelled", D(-1000)),
        (fact(at("2025-05-01"), "churned", reason="no ROI"), "cancelled", D(-1000)),
    ],
)
def test_what_the_profile_states_moves_revenue(event: Fact, kind: str, amount: Decimal) -> None:
    found = derive([signed(), event])
    assert movements(found) == [("2025-01-01", "new", D(1000)), ("2025-05-01", kind, amount)]
    assert found.spans[-1].mrr == D(1000) + amount


def subscription(day: str, mrr: str, *, name: str = "s1", kind: str | None = None, **more: Any) -> Fact:
    given = {"subscription_id": name, "product": name.upper(), "mrr": mrr} | ({} if kind is None else {"kind": kind})
    return fact(at(day), "subscription_changed", **(given | more))


def test_subscriptions_alone_state_the_revenue() -> None:
    found = derive(
        [
            fact(at("2025-01-01"), "updated", currency="USD"),
            subscription("2025-01-02", "100", kind="new"),
            subscription("2025-02-01", "40", name="s2"),
            subscription("2025-03-01", "130"),
            subscription("2025-04-01", "90", kind="renewal"),
            subscription("2025-05-01", "0", name="s2", kind="cancel"),
            subscription("2025-06-01", "80", kind="archive"),
        ]
    )
    assert [(kind, amount) for _, kind, amount in movements(found)] == [
        ("new", D(100)),
        ("add_on", D(40)),
        ("upsell", D(30)),
        ("downsell", D(-40)),  # a renewal at less is no renewal of that part
        ("cancelled", D(-40)),
        ("archive", D(-10)),
    ]
    assert found.spans[-1].mrr == D(80)


def test_what_the_profile_has_stated_a_subscription_explains_and_does_not_add() -> None:
    found = derive(
        [
            signed(),
            subscription("2025-01-02", "600"),
            subscription("2025-01-03", "400", name="s2"),
            fact(at("2025-06-01"), "updated", mrr="1200"),
            subscription("2025-06-02", "800"),
            subscription("2025-07-01", "300", name="s2"),
        ]
    )
    assert movements(found) == [
        ("2025-01-01", "new", D(1000)),
        ("2025-06-01", "upsell", D(200)),
        ("2025-07-01", "downsell", D(-100)),
    ]


def test_a_part_of_the_revenue_that_no_subscription_explains_stays() -> None:
    found = derive(
        [signed(), subscription("2025-02-01", "200", name="addon"), subscription("2025-03-01", "100", name="addon")]
    )
    assert found.spans[-1].mrr == D(900)


def test_an_early_renewal_counts_from_the_day_it_was_due() -> None:
    found = derive([signed(), fact(at("2025-11-10"), "renewed", mrr="1100", term_months=12)])
    (term,) = found.terms
    assert (term.due, term.decided_at, term.renewed) == (dt.date(2026, 1, 1), at("2025-11-10"), True)
    assert (term.mrr_before, term.mrr_after) == (D(1000), D(1100))
    assert movements(found)[1:] == [("2026-01-01", "renewal", D(100))]
    assert [(span.since, span.mrr, span.renewal_date) for span in found.spans[1:]] == [
        (at("2025-11-10"), D(1000), dt.date(2027, 1, 1)),
        (at("2026-01-01", 0), D(1100), dt.date(2027, 1, 1)),
    ]


def test_a_late_renewal_keeps_its_dates() -> None:
    found = derive([signed(), fact(at("2026-02-20"), "renewed", mrr="900")])
    (term,) = found.terms
    assert (term.due, term.decided_at) == (dt.date(2026, 1, 1), at("2026-02-20"))
    assert found.spans[-1].renewal_date == dt.date(2027, 1, 1)
    assert movements(found)[1:] == [("2026-02-20", "downsell", D(-100))]


def test_a_customer_that_left_and_came_back() -> None:
    found = derive(
        [
            signed(),
            subscription("2025-01-02", "1000"),
            fact(at("2025-05-01"), "churned", reason="bankruptcy", avoidable=False),
            fact(at("2025-06-01"), "updated", csm="Ben"),
            fact(at("2025-08-01"), "renewed", mrr="400"),
        ]
    )
    assert [(term.term, term.renewed, term.mrr_after) for term in found.terms] == [(1, False, D(0)), (2, True, D(400))]
    assert movements(found)[1:] == [("2025-05-01", "cancelled", D(-1000)), ("2025-08-01", "new", D(400))]
    left = next(span for span in found.spans if span.churned)
    assert (left.churn_reason, left.avoidable, left.mrr) == ("bankruptcy", False, D(0))
    assert not found.spans[-1].churned
    assert found.subscriptions[-1].mrr == 0


def test_another_currency_puts_away_the_one_and_takes_up_the_other() -> None:
    found = derive([signed(), fact(at("2025-05-01"), "updated", currency="USD", mrr="1100")])
    assert [(move.currency, move.kind, move.amount) for move in found.movements[1:]] == [
        ("EUR", "archive", D(-1000)),
        ("USD", "archive", D(1100)),
    ]


def test_a_subscriptions_discounts_are_kept_apart_by_renewals() -> None:
    found = derive(
        [
            signed(),
            subscription("2025-01-02", "1000", discount=20),
            subscription("2026-01-01", "1000", kind="renewal", discount="12.5"),
        ]
    )
    assert [(span.discount, span.renewal) for span in found.subscriptions] == [(D(20), False), (D("12.5"), True)]
    assert found.subscriptions[0].until == found.subscriptions[1].since == at("2026-01-01")


def test_dates_that_no_contract_has_are_unknown() -> None:
    found = derive([signed(renewal_date="9999-12-31"), fact(at("2025-02-01"), "renewed")])
    assert found.spans[0].renewal_date is None
    assert found.terms[0].due == dt.date(2025, 2, 1)


PROFILES = (
    {"mrr": "1000.00"},
    {"mrr": "1000", "currency": "EUR", "csm": None, "size": None},
    {"contract_start": "2025-01-01", "contract_end": "2026-01-01", "renewal_date": "2026-01-01"},
    {"seats": 500},
    {"csm": "Ana"},
    {"mrr": "999"},
    {"mrr": None},
    {"currency": "USD"},
    {"currency": None},
    {"renewal_date": "2026-02-01"},
    {"contract_end": "2026-02-01"},
    {"contract_start": "2024-01-01"},
    {"size": 12},
    {"tier": None},
)


@pytest.mark.parametrize("said", PROFILES, ids=str)
@pytest.mark.parametrize("day", ["2025-01-01", "2025-06-01", "2025-11-01"])
def test_only_what_changes_nothing_is_a_repeat(said: dict[str, Any], day: str) -> None:
    history = [
        signed(),
        fact(at("2025-01-02"), "updated", size=None),
        subscription("2025-02-01", "400", name="part"),
        fact(at("2025-06-01", 8), "updated", plan="pro"),
        fact(at("2025-08-01"), "updated", seats=9),
    ]
    known = derive(history)
    more = fact(at(day), "updated", **said)
    after = derive(sorted([*history, more], key=lambda entry: entry.time))
    if repeats(known.spans[-1], more):
        assert after == known
    assert repeats(known.spans[-1], more) == (said in PROFILES[:4] and day != "2025-01-01")


def test_events_that_are_no_profile_and_profiles_of_who_left_are_no_repeats() -> None:
    known = derive([signed()])
    assert not repeats(known.spans[-1], fact(at("2025-05-01"), "renewed"))
    assert not repeats(known.spans[-1], subscription("2025-05-01", "1000"))
    gone = derive([signed(), fact(at("2025-05-01"), "churned", reason="no ROI")])
    assert not repeats(gone.spans[-1], fact(at("2025-06-01"), "updated", csm=None))


@pytest.mark.parametrize(
    ("type_", "data", "mark"),
    [
        ("usage.value_reached", {"goal": "g"}, Mark("value", "")),
        ("account.goal_achieved", {"goal": "g"}, Mark("value", "")),
        ("reference.given", {}, Mark("reference", "ab")),
        (
            "ticket.opened",
            {"ticket_id": "t1", "category": "feature_request", "topic": "x"},
            Mark("feature_request", "t1", "x"),
        ),
        ("ticket.updated", {"ticket_id": "t1", "category": "feature_request"}, Mark("feature_request", "t1")),
        ("ticket.opened", {"ticket_id": "t1", "category": "bug"}, None),
        ("ticket.closed", {"ticket_id": "t1"}, None),
    ],
)
def test_what_leaves_a_mark(type_: str, data: dict[str, Any], mark: Mark | None) -> None:
    assert mark_of(type_, b"\xab", json.dumps(data)) == mark
