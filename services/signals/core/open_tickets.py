"""The open tickets of an account in the orders that signals ask for, so that none of them looks through all of them.

Derived from `Hot.tickets` when first asked for, told of each change from then on, and never stored.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from services.signals.core.days import NEVER
from services.signals.core.records import Ticket

INSTANT: Final = itemgetter(0)


class OpenTickets:
    """Sorted lists over the open tickets, for reading.

    `critical` has (critical since, ticket id) of each that is P1 or P2, `escalated` (when, ticket id, event id) of each that
    was escalated; instants in µs.
    """

    __slots__ = ("_on_topics", "_places", "critical", "escalated")

    def __init__(self, tickets: Mapping[str, Ticket]) -> None:
        self.critical: list[tuple[int, str]] = []
        self.escalated: list[tuple[int, str, str]] = []
        self._on_topics: list[tuple[str, int]] = []  # with when each was opened
        # Where each ticket stands: it may have changed since, so its entries cannot be told from itself.
        self._places: dict[str, list[tuple[list[Any], Any]]] = {}
        for ticket_id, ticket in tickets.items():
            self._places[ticket_id] = places = self._places_of(ticket_id, ticket)
            for order, entry in places:
                order.append(entry)
        orders: tuple[list[Any], ...] = (self.critical, self.escalated, self._on_topics)
        for order in orders:
            order.sort()

    def put(self, ticket_id: str, ticket: Ticket) -> None:
        """An open ticket is new, or may have changed."""
        before = self._places.get(ticket_id, [])
        places = self._places[ticket_id] = self._places_of(ticket_id, ticket)
        for order, entry in before:
            del order[bisect_left(order, entry)]
        for order, entry in places:
            insort(order, entry)

    def drop(self, ticket_id: str) -> None:
        """A ticket is not open any more."""
        for order, entry in self._places.pop(ticket_id, []):
            del order[bisect_left(order, entry)]

    def critical_for(self, now: int, age: int) -> int:
        """How many have been P1 or P2 for `age` µs or longer: the first so many of `critical`."""
        return bisect_right(self.critical, now - age, key=INSTANT)

    def next_critical_for(self, now: int, age: int) -> int:
        """The next instant at which one more will have been P1 or P2 for `age` µs, or 0."""
        place = self.critical_for(now, age)
        return self.critical[place][0] + age if place < len(self.critical) else 0

    def on_topic_since(self, topic: str, since: int) -> int:
        """How many tickets on a topic were opened later than `since` (µs)."""
        return bisect_right(self._on_topics, (topic, NEVER)) - bisect_right(self._on_topics, (topic, since))

    def _places_of(self, ticket_id: str, ticket: Ticket) -> list[tuple[list[Any], Any]]:
        """The lists that a ticket belongs in as it is, with its entry in each."""
        places: list[tuple[list[Any], Any]] = []
        if ticket.critical_since >= 0:
            places.append((self.critical, (ticket.critical_since, ticket_id)))
        if ticket.escalated_at >= 0:
            places.append((self.escalated, (ticket.escalated_at, ticket_id, ticket.escalated_event)))
        if ticket.topic is not None:
            places.append((self._on_topics, (ticket.topic, ticket.opened_at)))
        return places
