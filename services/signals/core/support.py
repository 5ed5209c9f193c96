"""Tickets beyond the open ones: what was opened, solved, reopened and rated, in bounded form.

Windows are trailing: (now − N × 24 h, now]. A ticket counts with its priority, topic and category as they are known now.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from heapq import nsmallest
from itertools import accumulate
from operator import attrgetter, itemgetter
from statistics import mean, median
from typing import Any, Final

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
_INSTANT: Final = itemgetter(0)


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


class Support(Struct, array_like=True, dict=True):
    """What support knows of an account, each collection for as long as its constant says and up to its cap.

    `last_opened` (µs, -1 for never) is when a ticket was last opened, `opened` how many ever were.

    Many signals ask for the same few orders of it after each event: those are worked out once, and kept beside the fields
    (never stored) until a ticket changes. So whatever changes a ticket does it through these methods.
    """

    requests: dict[str, Request] = {}
    solved: dict[str, Solved] = {}
    reopened: list[Reopened] = []
    rated: dict[str, Rated] = {}
    last_opened: int = -1
    opened: int = 0

    def open(self, ticket_id: str, request: Request, clock: int) -> int:
        """Note that a ticket was opened. How many were dropped although they are inside retention."""
        self._forget_orders()
        self.opened += 1
        self.last_opened = max(self.last_opened, request.opened_at)
        since = clock - KEPT_DAYS * DAY_US
        if request.opened_at <= since:
            return 0
        kept = self.requests = {name: known for name, known in self.requests.items() if known.opened_at > since}
        kept[ticket_id] = request
        return _drop_oldest(kept, MAX_REQUESTS, lambda name: (kept[name].opened_at, name))

    def update(self, ticket_id: str, ticket: Ticket) -> None:
        """Note the priority, topic and category that a ticket has now."""
        self._forget_orders()
        if (request := self.requests.get(ticket_id)) is not None:
            request.priority, request.topic, request.category = ticket.priority, ticket.topic, ticket.category
        if (solved := self.solved.get(ticket_id)) is not None:
            solved.topic = ticket.topic

    def end(self, ticket_id: str, ticket: Ticket, clock: int) -> int:
        """Note whether a ticket is open, and when it ended. How many were dropped although they are inside retention."""
        self._forget_orders()
        ends = ticket.solved()
        since = clock - SOLVED_DAYS * DAY_US
        kept = {name: entry for name, entry in self.solved.items() if entry.at > since}
        kept.pop(ticket_id, None)
        if ends:
            kept[ticket_id] = Solved(ticket.opened_at, ends, ticket.topic, not ticket.is_open)
        self.solved = kept
        return _drop_oldest(kept, MAX_SOLVED, lambda name: (kept[name].at, name))

    def reopen(self, reopened: Reopened, clock: int) -> int:
        """Note that a ticket came back. How many were dropped although they are inside retention."""
        self._forget_orders()
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
        kept = self.rated = {name: entry for name, entry in self.rated.items() if entry.at > since}
        kept[ticket_id] = rated
        return _drop_oldest(kept, MAX_RATED, lambda name: (kept[name].at, name))

    def within(self, now: int, days: int, before: int = 0) -> list[tuple[str, Request]]:
        """Tickets opened in the `days` that end `before` days ago, by the time they were opened."""
        first, end = self.span(now, days, before)
        return self.by_time[1][first:end]

    def on_topic(self, topic: str, now: int, days: int) -> list[tuple[int, str]]:
        """(opened, event id) of the tickets on a topic that were opened in the trailing `days`, in order."""
        found = self.by_topic.get(topic, [])
        since = bisect_right(found, now - days * DAY_US, key=_INSTANT)
        return found[since : bisect_right(found, now, key=_INSTANT)]

    def topics(self, now: int, days: int, at_least: int) -> list[str]:
        """The topics of so many of the tickets that were opened in the trailing `days`, in no particular order."""
        long_enough = (topic for topic, found in self.by_topic.items() if len(found) >= at_least)
        return [topic for topic in long_enough if len(self.on_topic(topic, now, days)) >= at_least]

    def returns(self, now: int, days: int, again_days: int) -> list[Reopened]:
        """Tickets reopened in the trailing `days`, and those opened then on a topic that another was solved on.

        The other was solved at most `again_days` before (an instant exactly that far back is outside). By time.
        """
        asked = (now, days, again_days)
        found = self._returns.get(asked)
        if found is None:
            self._returns.clear()
            found = self._returns[asked] = self._returned(now, days, again_days * DAY_US)
        return found

    def _returned(self, now: int, days: int, again: int) -> list[Reopened]:
        since = now - days * DAY_US
        found = [known for known in self.reopened if since < known.at <= now]
        solved = self._ends_by_topic
        for name, request in self.within(now, days):
            if ends := solved.get(request.topic or ""):
                at = request.opened_at
                for place in range(bisect_right(ends, at, key=_INSTANT) - 1, -1, -1):
                    ended_at, other = ends[place]
                    if ended_at <= at - again:
                        break
                    if other != name:
                        found.append(Reopened(at, name, request.event_id))
                        break
        return sorted(found, key=attrgetter("at", "ticket_id"))

    def span(self, now: int, days: int, before: int = 0) -> tuple[int, int]:
        """Where in `by_time` the tickets begin and end that were opened in the `days` that end `before` days ago."""
        times = self.by_time[0]
        until = now - before * DAY_US
        return bisect_right(times, until - days * DAY_US), bisect_right(times, until)

    def _forget_orders(self) -> None:
        self.__dict__.clear()

    @cached_property
    def by_time(self) -> tuple[list[int], list[tuple[str, Request]]]:
        """The times at which the remembered tickets were opened, and the tickets, in the same order."""
        known = sorted(self.requests.items(), key=lambda entry: entry[1].opened_at)
        return [request.opened_at for _, request in known], known

    @cached_property
    def loads(self) -> list[int]:
        """What the first n tickets weigh together, for each n."""
        return list(accumulate((LOAD[request.priority] for _, request in self.by_time[1]), initial=0))

    @cached_property
    def by_topic(self) -> dict[str, list[tuple[int, str]]]:
        """(opened, event id) of the tickets of each topic, in order."""
        found: dict[str, list[tuple[int, str]]] = {}
        for _, request in self.by_time[1]:
            if request.topic is not None:
                found.setdefault(request.topic, []).append((request.opened_at, request.event_id))
        for tickets in found.values():
            tickets.sort()
        return found

    @cached_property
    def _ends_by_topic(self) -> dict[str, list[tuple[int, str]]]:
        """(when, ticket id) of each time that a ticket of the topic ended, in order."""
        found: dict[str, list[tuple[int, str]]] = {}
        for name, solved in self.solved.items():
            if solved.topic is not None:
                ends = found.setdefault(solved.topic, [])
                for at in solved.ends:
                    ends.append((at, name))
        for ends in found.values():
            ends.sort()
        return found

    @cached_property
    def _returns(self) -> dict[tuple[int, int, int], list[Reopened]]:
        """What `returns` said last."""
        return {}


def _drop_oldest(kept: dict[str, Any], most: int, age: Callable[[str], tuple[int, str]]) -> int:
    """Drop what is more than `most`, the oldest first. How many were dropped."""
    over = max(0, len(kept) - most)
    for name in nsmallest(over, kept, key=age):
        del kept[name]
    return over


def tickets_opened(support: Support, now: int, days: int, before: int = 0) -> int:
    """How many tickets were opened in the `days` that end `before` days ago; together at most `KEPT_DAYS`."""
    return len(support.within(now, days, before))


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
    first, end = support.span(now, days, before)
    return support.loads[end] - support.loads[first]


def next_crossing(support: Support, now: int, days: tuple[int, ...]) -> int:
    """The next instant at which a ticket leaves one of these trailing windows, or 0."""
    times = support.by_time[0]
    first = ((bisect_right(times, now - reach * DAY_US), reach) for reach in days)
    return min((times[place] + reach * DAY_US for place, reach in first if place < len(times)), default=0)
