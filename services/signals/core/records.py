"""Sub-records of an account: one per user, and one per ticket and invoice that is no longer open. Loaded when touched."""

from __future__ import annotations

from bisect import insort
from typing import Final

from msgspec import Struct

from services.signals.core.days import NEVER
from services.signals.core.episodes import Episode, Past

MAX_STEPS: Final = 10


class User(Struct, array_like=True):
    """One user of an account. `""` stands for answers and events that name no user. Times in µs, days since 1970.

    `early_views` counts page views in the 7 × 24 h from the first login; `views_at` holds the latest few view times.
    """

    last_active_day: int = -1
    first_login: int = -1
    logins: int = 0
    views: int = 0
    early_views: int = 0
    views_at: list[int] = []
    nps: list[tuple[int, int, str]] = []  # (time, score, event id) of the latest answers, by time
    login_event: str = ""
    answered: list[str] = []
    episodes: dict[str, Episode] = {}
    past: dict[str, Past] = {}
    due: dict[str, int] = {}

    def next_due(self) -> int:
        """The earliest instant at which time alone may change a signal of this user, or 0."""
        return min(self.due.values(), default=0)


class Ticket(Struct, array_like=True):
    """A ticket. `critical_since` is when it last became P1 or P2, -1 while it is neither.

    `ends` are the times of its resolves and closes, `reopened` those at which it came back, the last `MAX_STEPS` of each;
    `escalated_at` is the latest escalation. Where no time set a field, its `_at` is -1.
    """

    opened_at: int
    priority: str
    priority_at: int
    critical_since: int
    is_open: bool
    state_at: int
    event_id: str
    topic: str | None = None
    category: str | None = None
    topic_at: int = -1
    category_at: int = -1
    ends: list[int] = []
    reopened: list[int] = []
    escalated_at: int = -1
    escalated_event: str = ""

    def end(self, at: int) -> None:
        """Note a resolve or close."""
        insort(self.ends, at)
        del self.ends[:-MAX_STEPS]

    def reopen(self, at: int) -> None:
        """Note that it came back."""
        insort(self.reopened, at)
        del self.reopened[:-MAX_STEPS]

    def solved(self) -> list[int]:
        """When it was solved each time: the first resolve or close since it was opened, or reopened."""
        starts = [self.opened_at, *self.reopened]
        firsts = (
            next((at for at in self.ends if start <= at < until), -1)
            for start, until in zip(starts, [*self.reopened, NEVER], strict=True)
        )
        return [at for at in firsts if at >= 0] or ([] if self.is_open else [self.state_at])

    @property
    def solved_at(self) -> int:
        """When it was solved last; it may be open again. -1 for never."""
        return max(self.solved(), default=-1)


class Invoice(Struct, array_like=True):
    """An invoice. `issued` is false while only a payment of it was seen. Amounts are decimal strings.

    `issued_at` is the issuing event's time; `paid_at` the last payment's, -1 where a credit came after it or none did.
    """

    issued: bool = False
    due_day: int = 0
    amount: str = "0"
    currency: str = ""
    recurring: bool = True
    paid: str = "0"
    settled: bool = False
    event_id: str = ""
    issued_at: int = -1
    paid_at: int = -1
