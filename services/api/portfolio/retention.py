"""How much of what there was at the start of a period is still there at its end: customers and revenue."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from services.api.portfolio.money import share

ZERO = Decimal(0)


class Revenue(Struct, frozen=True, kw_only=True):
    """MRR of the customers that a period opened with, in one currency.

    `kept` is what these pay at the end, `kept_gross` the same with no account counted above what it paid at the start.
    Accounts that pay in another currency at the end are in none of the three.
    """

    opening: Decimal
    kept: Decimal
    kept_gross: Decimal

    @property
    def net(self) -> float | None:
        """Net revenue retention: with upsell. 1.1 is 110 %."""
        return share(self.kept, self.opening)

    @property
    def gross(self) -> float | None:
        """Gross revenue retention: what was lost or reduced, whatever others added. Never above 1."""
        return share(self.kept_gross, self.opening)


def revenue(accounts: list[tuple[Decimal, Decimal]]) -> Revenue:
    """Retention of accounts given as (MRR at the start, MRR at the end); 0 at the end is a customer that left."""
    return Revenue(
        opening=sum((before for before, _ in accounts), ZERO),
        kept=sum((after for _, after in accounts), ZERO),
        kept_gross=sum((min(before, after) for before, after in accounts), ZERO),
    )


class Customers(Struct, frozen=True, kw_only=True):
    """Customers at the start of a period, and what became of their number.

    `lost_avoidable` of the lost left for a reason that could have been prevented.
    """

    opening: int
    new: int
    lost: int
    lost_avoidable: int

    @property
    def closing(self) -> int:
        """Customers at the end."""
        return self.opening + self.new - self.lost

    @property
    def churn(self) -> float | None:
        """Logo churn: the share of the opening customers that left."""
        return share(self.lost, self.opening)

    @property
    def avoidable_churn(self) -> float | None:
        """The part of logo churn that could have been prevented."""
        return share(self.lost_avoidable, self.opening)

    @property
    def unavoidable_churn(self) -> float | None:
        """The part of logo churn that nobody could have prevented: bankruptcy, acquisition."""
        return share(self.lost - self.lost_avoidable, self.opening)


RISING = ("new", "add_on", "renewal", "upsell")
FALLING = ("downsell", "cancelled", "archive")


class RollForward(Struct, frozen=True, kw_only=True):
    """CMRR from the start of a period to its end. Movements carry their sign: what fell is negative."""

    opening: Decimal
    new: Decimal = ZERO
    add_on: Decimal = ZERO
    renewal: Decimal = ZERO
    upsell: Decimal = ZERO
    downsell: Decimal = ZERO
    cancelled: Decimal = ZERO
    archive: Decimal = ZERO

    @property
    def closing(self) -> Decimal:
        """CMRR at the end."""
        return self.opening + sum((getattr(self, kind) for kind in (*RISING, *FALLING)), ZERO)
