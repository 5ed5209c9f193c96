"""Tickets beyond the open ones: what was opened, solved, reopened and rated, in bounded form.

Windows are trailing: (now − N × 24 h, now]. A ticket counts with its priority, topic and category as they are known now.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean, median
from typing import Final

from msgspec import Struct

from services.signals.core.days import DAY_US
from services.signals.core.records import Ticket

KEPT_DAYS: Final = 120
"""How long a ticket is remembered after it was opened: a month, and the three months before it as the account's norm."""
SOLVED_DAYS: Final = 90
RATED_DAYS: Final = 90
REOPENED_DAYS: Final = 30
MAX_REQUESTS: Final = 300
MAX_SOLVED: Final = 150
MAX_REOPENED: Final = 100
MAX_RATED: Final = 100
LOAD: Final = {"P1": 8, "P2": 4, "P3": 2, "P4": 1}
"""What a ticket of each priority weighs in an account's load."""
SEVERE: Final = ("P1",)
QUESTION: Final = "how_to"


class Request(Struct, array_like=True):
    """A ticket that was opened, at `opened_at` (µs)."""

    opened_at: int
    priority: str
    topic: str | None = None
    category: str | None = None
    event_id: str = ""


class Solved(Struct, array_like=True):
    """A ticket that was resolved or closed: when it was opened, when it ended (each time, the last few), and its topic.

    `stands` is false while it is open again.
    """

    opened_at: int
    ends: list[int]
    topic: str | None = None
    stands: bool = True

    @property
    def at(self) -> int:
        """When it last ended."""
        return self.ends[-1]


class Reopened(Struct, array_like=True):
    """A ticket came back, at `at` (µs)."""

    at: int
    ticket_id: str
    event_id: str


class Rated(Struct, array_like=True):
    """What the customer thought of a ticket, 1 (worst) to 5."""

    at: int
    score: int


class Support(Struct, array_like=True):
    """What support knows of an account, each collection for as long as its constant says and up to its cap.

    `last_opened` (µs, -1 for never) is when a ticket was last opened, `opened` how many ever were.
    """

    requests: dict[str, Request] = {}
    solved: dict[str, Solved] = {}
    reopened: list[Reopened] = []
    rated: dict[str, Rated] = {}
    last_opened: int = -1
    opened: int = 0

    def open(self, ticket_id: str, request: Request, clock: int) -> int:
        """Note that a ticket was opened. How many were dropped although they are inside retention."""
        self.opened += 1
        self.last_opened = max(self.last_opened, request.opened_at)
        since = clock - KEPT_DAYS * DAY_US
        if request.opened_at <= since:
            return 0
        kept = {name: known for name, known in self.requests.items() if known.opened_at > since}
        kept[ticket_id] = request
        over = len(kept) - MAX_REQUESTS
        for name in sorted(kept, key=lambda name: (kept[name].opened_at, name))[: max(0, over)]:
            del kept[name]
        self.requests = kept
        return max(0, over)

    def end(self, ticket_id: str, ticket: Ticket, clock: int) -> int:
        """Note whether a ticket is open, and when it ended. How many were dropped although they are inside retention."""
        ends = ticket.solved()
        since = clock - SOLVED_DAYS * DAY_US
        kept = {name: entry for name, entry in self.solved.items() if entry.at > since}
        kept.pop(ticket_id, None)
        if ends:
            kept[ticket_id] = Solved(ticket.opened_at, ends, ticket.topic, not ticket.is_open)
        over = len(kept) - MAX_SOLVED
        for name in sorted(kept, key=lambda name: (kept[name].at, name))[: max(0, over)]:
            del kept[name]
        self.solved = kept
        return max(0, over)

    def reopen(self, reopened: Reopened, clock: int) -> int:
        """Note that a ticket came back. How many were dropped although they are inside retention."""
        since = clock - REOPENED_DAYS * DAY_US
        kept = sorted(
            [*(known for known in self.reopened if known.at > since), reopened],
            key=lambda known: (known.at, known.ticket_id),
        )
        self.reopened = kept[-MAX_REOPENED:]
        return max(0, len(kept) - MAX_REOPENED)

    def rate(self, ticket_id: str, rated: Rated, clock: int) -> int:
        """Note a rating; of one ticket the latest counts. How many were dropped although they are inside retention."""
        known = self.rated.get(ticket_id)
        if known is not None and rated.at < known.at:
            return 0
        since = clock - RATED_DAYS * DAY_US
        kept = {name: entry for name, entry in self.rated.items() if entry.at > since}
        kept[ticket_id] = rated
        over = len(kept) - MAX_RATED
        for name in sorted(kept, key=lambda name: (kept[name].at, name))[: max(0, over)]:
            del kept[name]
        self.rated = kept
        return max(0, over)

    def within(self, now: int, days: int, before: int = 0) -> Iterator[tuple[str, Request]]:
        """Tickets opened in the `days` that end `before` days ago, in no particular order."""
        until = now - before * DAY_US
        since = until - days * DAY_US
        return ((name, known) for name, known in self.requests.items() if since < known.opened_at <= until)

    def returns(self, now: int, days: int, again_days: int) -> list[Reopened]:
        """Tickets reopened in the trailing `days`, and those opened then on a topic that another was solved on.

        The other was solved at most `again_days` before (an instant exactly that far back is outside). By time.
        """
        since = now - days * DAY_US
        found = [known for known in self.reopened if since < known.at <= now]
        solved: dict[str, list[tuple[int, str]]] = {}
        for name, ended in self.solved.items():
            if ended.topic is not None:
                solved.setdefault(ended.topic, []).extend((at, name) for at in ended.ends)
        for name, request in self.within(now, days):
            at = request.opened_at
            before = solved.get(request.topic or "", ())
            if any(other != name and at - again_days * DAY_US < ended_at <= at for ended_at, other in before):
                found.append(Reopened(at, name, request.event_id))
        return sorted(found, key=lambda known: (known.at, known.ticket_id))


def tickets_opened(support: Support, now: int, days: int, before: int = 0) -> int:
    """How many tickets were opened in the `days` that end `before` days ago; together at most `KEPT_DAYS`."""
    return sum(1 for _ in support.within(now, days, before))


def severe_share(support: Support, now: int, days: int) -> float | None:
    """Share of P1 among the tickets opened in the trailing `days`, None where there were none."""
    found = [known.priority in SEVERE for _, known in support.within(now, days)]
    return sum(found) / len(found) if found else None


def resolution_days(support: Support, now: int, days: int = SOLVED_DAYS) -> tuple[float, float] | None:
    """Mean and median days from opening to resolution of what was solved in the trailing `days` (up to 90), or None."""
    since = now - days * DAY_US
    solved = [known for known in support.solved.values() if known.stands and since < known.at <= now]
    took = [(known.at - known.opened_at) / DAY_US for known in solved]
    return (sum(took) / len(took), median(took)) if took else None  # statistics.mean goes through fractions


def questions_asked(support: Support, now: int, days: int) -> int:
    """How many how-to questions were opened as tickets in the trailing `days`, up to `KEPT_DAYS`."""
    return sum(known.category == QUESTION for _, known in support.within(now, days))


def rating(support: Support, now: int, days: int = RATED_DAYS) -> float | None:
    """Mean rating, 1 to 5, of the tickets rated in the trailing `days` (up to 90), or None."""
    since = now - days * DAY_US
    scores = [known.score for known in support.rated.values() if since < known.at <= now]
    return mean(scores) if scores else None


def load(support: Support, now: int, days: int, before: int = 0) -> int:
    """Tickets opened in the `days` that end `before` days ago, weighed by priority."""
    return sum(LOAD[known.priority] for _, known in support.within(now, days, before))


def next_crossing(support: Support, now: int, days: tuple[int, ...]) -> int:
    """The next instant at which a ticket leaves one of these trailing windows, or 0."""
    crossings = (known.opened_at + reach * DAY_US for known in support.requests.values() for reach in days)
    return min((at for at in crossings if at > now), default=0)
