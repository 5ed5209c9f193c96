"""Distinct users, exact and cheap: a histogram of each user's last active day. A window's users are a sum over it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

RING: Final = 92
EARLY_US: Final = 7 * 86_400_000_000
KEPT_VIEWS: Final = 8


class Activity(Struct, array_like=True):
    """How many users were last active on each of the last 92 days. `in_28` counts those of the last 28 including today."""

    today: int = 0
    last_active: list[int] = []
    in_28: int = 0

    def advance(self, today: int) -> None:
        """Move to a later day."""
        step = today - self.today
        if step <= 0:
            return
        if not self.last_active or step >= RING:
            self.last_active = [0] * RING
            self.in_28 = 0
        else:
            ring = self.last_active
            for new in range(self.today + 1, today + 1):
                self.in_28 -= ring[(new - 28) % RING]
                ring[new % RING] = 0
        self.today = today

    def move(self, before: int, day: int) -> None:
        """A user last active on day `before` (-1: never) is now last active on `day`, which is later and not in the future."""
        if before >= 0 and self.today - before < RING:
            self.last_active[before % RING] -= 1
            if self.today - before < 28:
                self.in_28 -= 1
        if self.today - day < RING:
            self.last_active[day % RING] += 1
            if self.today - day < 28:
                self.in_28 += 1

    def next_change(self) -> int:
        """In how many days a midnight first changes `in_28`, 0 if none does."""
        return next((28 - age for age in range(27, -1, -1) if self.last_active[(self.today - age) % RING]), 0)
