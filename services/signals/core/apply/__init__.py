"""Events into state: one function per type says what it changes in the account and which facts signals must look at again.

An event is in time (`at` is the account clock) or late (`at` is before it). Nothing here judges anything. One file per
topic; `HANDLERS` puts them together.
"""

from __future__ import annotations

from typing import Final

from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from services.signals.core.apply import accounts, engagement, invoices, tickets, usage
from services.signals.core.apply.handler import Handler, Records

__all__ = ["HANDLERS", "SEEN", "Handler", "Records"]

_BY_TYPE: Final = {
    **usage.BY_TYPE,
    **tickets.BY_TYPE,
    **invoices.BY_TYPE,
    **accounts.BY_TYPE,
    **engagement.BY_TYPE,
}
SEEN: Final = (
    "usage.feature_used",
    "usage.page_viewed",
    "usage.logged_in",
    "usage.error_seen",
    "usage.value_reached",
    "ticket.opened",
    "ticket.updated",
    "ticket.escalated",
    "ticket.responded",
    "ticket.rated",
    "ticket.resolved",
    "ticket.closed",
    "ticket.reopened",
    "invoice.issued",
    "invoice.paid",
    "invoice.partly_paid",
    "invoice.voided",
    "invoice.credited",
    "invoice.payment_failed",
    "account.updated",
    "account.contact_changed",
    "account.contact_left",
    "account.goal_set",
    "account.goal_measured",
    "account.goal_achieved",
    "account.commitment_made",
    "account.commitment_kept",
    "account.subscription_changed",
    "account.milestone_planned",
    "account.milestone_done",
    "account.renewed",
    "account.churned",
    "survey.sent",
    "survey.answered",
    "touchpoint.held",
    "touchpoint.planned",
    "touchpoint.missed",
    "complaint.made",
    "mail.opened",
    "mail.clicked",
    "mail.bounced",
    "mail.unsubscribed",
    "training.attended",
    "community.active",
    "reference.given",
    "review.given",
    "referral.made",
    "evaluation.announced",
    "contact.away",
)
"""Event types in the order of their bits in `Hot.seen`. Append only: the order is in stored state."""

HANDLERS: Final[dict[type[Event], tuple[Handler, int]]] = {
    EVENT_TYPES[name].event: (handler, 1 << SEEN.index(name)) for name, handler in _BY_TYPE.items()
}
"""By event class: the function, and the type's bit. A type that is not here is accepted and changes nothing."""
