"""Every event type, once: `EVENT_TYPES` by name, `INPUT_TOPICS` in the order in which equal times are applied last to first."""

from __future__ import annotations

from schemas.envelope import EventType
from schemas.events import accounts, control, engagement, invoices, tickets, usage

INPUT_TOPICS = (usage.TOPIC, tickets.TOPIC, invoices.TOPIC, accounts.TOPIC, engagement.TOPIC)
"""The five input topics. They have the same number of partitions and the same key: the account id."""

EVENT_TYPES: dict[str, EventType] = {
    event.name: event
    for event in (
        *usage.TYPES,
        *tickets.TYPES,
        *invoices.TYPES,
        *accounts.TYPES,
        *engagement.TYPES,
        control.TICK,
    )
}
"""Event type by name. The tick's topic is `*`: it travels on every input topic."""
