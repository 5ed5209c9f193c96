"""Recurring revenue: monthly to yearly, whole contracts to a year, and what a customer is worth over years."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

MONTHS: Final = 12
SHARE_PLACES: Final = Decimal("0.000001")
# Wide enough that no sum of amounts (15 digits, 9 places) is ever rounded.
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


def yearly(mrr: Decimal) -> Decimal:
    """ARR of a monthly amount: twelve times."""
    return EXACT.multiply(mrr, Decimal(MONTHS))


def yearly_of_contract(total: Decimal, years: Decimal | int) -> Decimal:
    """ARR of a contract over several years: its total divided by them. Raises ValueError unless `years` is positive."""
    if years <= 0:
        raise ValueError(f"years: a contract lasts longer than {years}")
    return EXACT.divide(total, Decimal(years))


def share(part: Decimal | int, whole: Decimal | int) -> float | None:
    """`part` ÷ `whole` to six places; None where there is nothing to divide by."""
    if not whole:
        return None
    return float(EXACT.divide(Decimal(part), Decimal(whole)).quantize(SHARE_PLACES, context=EXACT))


def lifetime_multiple(growth_percent: Decimal, years: int) -> Decimal:
    """What a customer pays over `years`, in multiples of its first year, growing by so many percent each year."""
    factor = 1 + EXACT.divide(growth_percent, Decimal(100))
    return sum((EXACT.power(factor, year) for year in range(years)), Decimal(0))


def renewal_bases(arr: Decimal, new_by_year: list[Decimal], net_retention: Decimal) -> list[Decimal]:
    """What each year's opening ARR is worth after a year at a net retention (1.10 is 110 %).

    `new_by_year` is sold in each of those years and is part of the next one's opening.
    """
    found = []
    opening = arr
    for new in new_by_year:
        found.append(EXACT.multiply(opening, net_retention))
        opening = found[-1] + new
    return found


def text(amount: Decimal) -> str:
    """An amount as it is written in answers: plain digits, no exponent."""
    return f"{amount:f}"
