"""Topic `tickets`: the life of support tickets."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.envelope import Identifier, LongText, Text, event_type

TOPIC = "tickets"

Priority = Literal["P1", "P2", "P3", "P4"]
Category = Literal["how_to", "bug", "feature_request", "pricing", "performance", "other"]


class TicketOpened(Struct, kw_only=True):
    """A ticket was opened."""

    ticket_id: Identifier
    priority: Priority
    user: Identifier | None = None
    severity: Text | None = None
    topic: Text | None = None
    category: Category | None = None


class TicketUpdated(Struct, kw_only=True):
    """Priority, severity, topic or category of a ticket changed; absent members stay as they were."""

    ticket_id: Identifier
    priority: Priority | None = None
    severity: Text | None = None
    topic: Text | None = None
    category: Category | None = None


class TicketStep(Struct, kw_only=True):
    """A ticket was escalated, answered, resolved, reopened or closed: the type says which."""

    ticket_id: Identifier
    note: LongText | None = None


class TicketRated(Struct, kw_only=True):
    """The customer rated a ticket, 1 (worst) to 5."""

    ticket_id: Identifier
    score: Annotated[int, Meta(ge=1, le=5)]


TYPES = (
    event_type(TOPIC, "ticket.opened", TicketOpened),
    event_type(TOPIC, "ticket.updated", TicketUpdated),
    *(
        event_type(TOPIC, f"ticket.{step}", TicketStep)
        for step in ("escalated", "responded", "resolved", "reopened", "closed")
    ),
    event_type(TOPIC, "ticket.rated", TicketRated),
)
