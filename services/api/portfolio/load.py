"""How much one customer success manager carries."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from services.api.portfolio.money import EXACT, share

ACCOUNTS_PER_CSM: Final = 40
USUAL: Final[dict[str, tuple[int, int]]] = {"high": (5, 15), "low": (20, 50)}
"""Fewest and most accounts that one manager looks after, by tier. Tech touch has no limit."""
TIERS: Final = ("high", "low", "tech")

State = Literal["under", "usual", "over"]


class Book(Struct, frozen=True):
    """Accounts in the care of so many managers, by tier."""

    by_tier: dict[str, int]
    managers: int = 1

    @property
    def accounts(self) -> int:
        """All accounts."""
        return sum(self.by_tier.values())

    @property
    def each(self) -> Decimal:
        """Accounts for one manager. Raises ZeroDivisionError without managers."""
        return EXACT.divide(Decimal(self.accounts), Decimal(self.managers))

    def filled(self, most: int = ACCOUNTS_PER_CSM) -> float | None:
        """The share of the stated most that one manager carries; tech touch fills nothing."""
        return share(self.accounts - self.by_tier.get("tech", 0), most * self.managers)

    def state(self, most: int = ACCOUNTS_PER_CSM) -> State:
        """`over` where a tier is above its usual most or all together above `most`.

        `under` where no tier that is there reaches its usual fewest, a manager of tech touch alone is `usual`.
        """
        present = {tier: count for tier, count in self.by_tier.items() if count and tier in USUAL}
        touched = sum(present.values())
        if touched > most * self.managers or any(n > USUAL[tier][1] * self.managers for tier, n in present.items()):
            return "over"
        if present and all(n < USUAL[tier][0] * self.managers for tier, n in present.items()):
            return "under"
        return "usual"


def mean(total: Decimal, accounts: int) -> Decimal | None:
    """The mean amount of an account, to the cent; None without accounts."""
    return None if not accounts else EXACT.divide(total, Decimal(accounts)).quantize(Decimal("0.01"), context=EXACT)
