"""Time to value: days from the signature to the first value reached, by quarter, and what the trend saves."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from services.api.portfolio.money import EXACT


class Quarter(Struct, frozen=True):
    """Accounts that reached their first value in a quarter (such as 2026-Q1), and their days to it in all."""

    quarter: str
    accounts: int
    days: Decimal


class Step(Struct, frozen=True):
    """A quarter's mean days to value beside those of the quarter before in the list.

    `days_saved` is the change, turned round and multiplied by the accounts: negative where it took longer.
    """

    quarter: str
    accounts: int
    mean_days: Decimal
    change: Decimal | None
    days_saved: Decimal | None


def trend(quarters: list[Quarter]) -> list[Step]:
    """The quarters in their order, each with its change. A quarter in which nobody reached value is not there."""
    found: list[Step] = []
    for quarter in sorted((q for q in quarters if q.accounts), key=lambda q: q.quarter):
        mean = EXACT.divide(quarter.days, Decimal(quarter.accounts))
        change = EXACT.subtract(mean, found[-1].mean_days) if found else None
        saved = None if change is None else -change * quarter.accounts
        found.append(Step(quarter.quarter, quarter.accounts, mean, change, saved))
    return found
