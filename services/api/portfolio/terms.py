"""Contract terms that end: what a period was expected to renew, and what look-alikes did at their renewals."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from services.api.portfolio.money import share


class Expected(Struct, frozen=True, kw_only=True):
    """CMRR up for renewal in a period, locked at its start, in one currency.

    `due`: terms that end in the period, those renewed early among them; `carried_over`: terms that ended before and
    were still undecided.
    """

    due: Decimal
    carried_over: Decimal

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.due + self.carried_over


class LookAlikes(Struct, frozen=True, kw_only=True):
    """What accounts of one kind did at their renewals. Each account is in one of the five.

    `renewed_change` is the mean change of MRR at the last renewal of those that renewed and stayed, as a ratio.
    """

    left_at_first: int = 0
    left_at_second: int = 0
    left_later: int = 0
    not_yet_due: int = 0
    renewed: int = 0
    renewed_change: float | None = None

    @property
    def accounts(self) -> int:
        """All of them."""
        return self.lost + self.remaining

    @property
    def lost(self) -> int:
        """How many left, at whichever renewal."""
        return self.left_at_first + self.left_at_second + self.left_later

    @property
    def lost_share(self) -> float | None:
        """The share of all that left."""
        return share(self.lost, self.accounts)

    @property
    def first_due(self) -> int:
        """How many came to a first renewal."""
        return self.lost + self.renewed

    @property
    def first_lost_share(self) -> float | None:
        """The share of those that came to a first renewal and left at it."""
        return share(self.left_at_first, self.first_due)

    @property
    def remaining(self) -> int:
        """How many are still customers."""
        return self.not_yet_due + self.renewed
