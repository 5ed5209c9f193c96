"""What an account pays, by time: late words count in their place, money is exact, collections are bounded."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from services.signals.core.billing import Billing, Failure, Order, Payment, days_to_pay, usual_interval
from services.signals.core.days import DAY_US
from services.signals.core.subscriptions import (
    CONTRACT,
    MAX_LEVELS,
    MAX_LINES,
    STATED,
    SUBSCRIPTION,
    Level,
    Line,
    Subscriptions,
    falls,
    first_contract,
    growth_base,
    recurring,
    standing,
    yearly_growth,
    years_of_growth,
)

YEAR = 365 * DAY_US


def amount(line: Line, at: int) -> Decimal | None:
    found = standing([line], at)
    return None if found is None else found.mrr


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_levels_said_in_any_order_hold_at_their_times(order: tuple[int, ...]) -> None:
    said = [Level(10, mrr="100", quantity="5"), Level(20, mrr="80"), Level(30, quantity="4"), Level(40, mrr="80")]
    line = Line("desk")
    for place in order:
        line.say(said[place])
    assert [amount(line, at) for at in (9, 10, 20, 30, 40)] == [None, *map(Decimal, ("100", "80", "80", "80"))]
    assert [standing([line], at).quantity for at in (10, 20, 30)] == [Decimal(5), Decimal(5), Decimal(4)]  # type: ignore[union-attr]


def test_what_is_said_again_keeps_one_level_and_still_ends_a_late_word() -> None:
    line = Line("desk")
    for at in range(10, 50, 10):
        line.say(Level(at, mrr="100"))
    assert len(line.levels) == 1
    line.say(Level(25, mrr="80"))
    assert [amount(line, at) for at in (20, 25, 39, 40)] == list(map(Decimal, ("100", "80", "80", "100")))


def test_beyond_the_cap_the_oldest_levels_become_one() -> None:
    line = Line("desk")
    line.say(Level(0, quantity="7"))
    for at in range(1, MAX_LEVELS + 10):
        line.say(Level(at, mrr=str(at)))
    assert len(line.levels) == MAX_LEVELS
    found = standing([line], MAX_LEVELS + 9)
    assert found is not None
    assert (found.mrr, found.quantity) == (Decimal(MAX_LEVELS + 9), Decimal(7))


def test_no_line_beyond_the_cap() -> None:
    paid = Subscriptions()
    lines = [paid.line(SUBSCRIPTION, f"s{n}", "desk") for n in range(MAX_LINES + 1)]
    assert lines[-1] is None
    assert None not in lines[:-1]
    assert paid.line(SUBSCRIPTION, "s0", "desk") is lines[0]


def test_what_ended_first_makes_room() -> None:
    paid = Subscriptions()
    for n in range(MAX_LINES):
        line = paid.line(SUBSCRIPTION, f"s{n}", "desk")
        assert line is not None
        line.say(Level(n, mrr="0" if n in (7, 5) else "10"))
    assert paid.line(SUBSCRIPTION, "new", "desk") is not None
    assert SUBSCRIPTION + "s5" not in paid.lines
    assert SUBSCRIPTION + "s7" in paid.lines


def test_quantity_and_price_fall_apart() -> None:
    line = Line("desk", [Level(0, "1000.00", "10", "100.00", "0"), Level(DAY_US, "1000.10", "11", "90.92", "5")])
    found = {fall.measure: (fall.before, fall.now) for fall in falls([line], DAY_US, 90)}
    assert found == {"unit_price": (Decimal("100.00"), Decimal("90.92")), "discount": (Decimal(0), Decimal(5))}
    assert falls([line], 91 * DAY_US, 90) == []


def test_a_cancelled_product_has_no_quantity_and_no_price() -> None:
    line = Line("desk", [Level(0, "1000.00", "10", "100.00"), Level(DAY_US, "0")])
    assert {fall.measure: fall.now for fall in falls([line], DAY_US, 90)} == {"mrr": Decimal(0), "quantity": Decimal(0)}


def test_subscriptions_say_what_is_paid_before_the_profile_does() -> None:
    paid = Subscriptions()
    stated, sold = paid.line(STATED, "", CONTRACT), paid.line(SUBSCRIPTION, "s", "desk")
    assert stated is not None
    assert sold is not None
    stated.say(Level(0, mrr="900.00"))
    sold.say(Level(0, mrr="0.10"))
    sold.say(Level(5, mrr="0.30"))
    assert recurring(paid, 5) == Decimal("0.30")
    assert list(paid.products(metered=False)) == ["desk"]


def test_growth_counts_from_a_year_ago_or_from_the_settled_contract() -> None:
    line = Line("desk", [Level(0, "100"), Level(10 * DAY_US, "200"), Level(YEAR, "220"), Level(2 * YEAR, "242")])
    paid = Subscriptions({SUBSCRIPTION + "s": line})
    assert first_contract(paid) == Decimal(200)
    assert growth_base(paid, 29 * DAY_US) is None
    assert growth_base(paid, 300 * DAY_US) == Decimal(200)
    assert yearly_growth(paid, YEAR - 1) is None
    assert yearly_growth(paid, YEAR + 11 * DAY_US) == Decimal("0.1")
    assert years_of_growth(paid, 2 * YEAR + 11 * DAY_US) == 2
    assert years_of_growth(paid, 3 * YEAR + 11 * DAY_US) == 0


def test_days_to_pay_and_orders() -> None:
    billing = Billing()
    for month, days in enumerate((0, 10, 20, 30)):
        issued = month * 30 * DAY_US
        billing.pay(Payment(issued, issued + days * DAY_US, f"i{month}"))
        billing.order(Order(month * 30, f"i{month}"))
    assert days_to_pay(billing) == 20
    assert days_to_pay(billing, 5) is None
    assert usual_interval(billing) == (90, 30)
    billing.withdraw("i3")
    assert usual_interval(billing) == (60, 30)


def test_one_attempt_fails_once() -> None:
    billing = Billing()
    billing.fail(Failure(1, "i", "e1", attempt=1), 1)
    billing.fail(Failure(2, "i", "e2", attempt=1), 2)
    billing.fail(Failure(3, "i", "e3"), 3)
    billing.settle("i")
    assert [(known.event_id, known.settled) for known in billing.failures] == [("e1", True), ("e3", True)]
