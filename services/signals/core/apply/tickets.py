"""Topic `tickets` into state."""

from __future__ import annotations

from schemas.envelope import Event
from schemas.events.tickets import TicketOpened, TicketStep, TicketUpdated
from services.signals.core.apply.handler import Handler, Records
from services.signals.core.records import Ticket
from services.signals.core.signal import Fact
from services.signals.core.state import MAX_OPEN_TICKETS, OPENINGS_KEPT_US, Account

CRITICAL_PRIORITIES = ("P1", "P2")


def ticket_opened(account: Account, event: Event, at: int, records: Records) -> int:
    """A ticket opens once: the same id again changes nothing."""
    data: TicketOpened = event.data
    hot = account.hot
    if records.ticket(account, data.ticket_id) is not None:
        return 0
    if len(hot.tickets) >= MAX_OPEN_TICKETS:
        hot.over_cap += 1
        return 0
    hot.tickets[data.ticket_id] = Ticket(
        opened_at=at,
        priority=data.priority,
        priority_at=at,
        critical_since=at if data.priority in CRITICAL_PRIORITIES else -1,
        is_open=True,
        state_at=at,
        event_id=event.id,
        topic=data.topic,
        category=data.category,
    )
    horizon = hot.clock - OPENINGS_KEPT_US
    hot.openings = sorted([*(entry for entry in hot.openings if entry[0] > horizon), (at, data.ticket_id)])
    return Fact.TICKETS


def ticket_updated(account: Account, event: Event, at: int, records: Records) -> int:
    """A new priority counts unless a later event set one already. An unknown ticket: nothing happens, and it is counted."""
    data: TicketUpdated = event.data
    ticket = records.ticket(account, data.ticket_id)
    if ticket is None:
        account.hot.unknown_entities += 1
        return 0
    ticket.topic = data.topic or ticket.topic
    ticket.category = data.category or ticket.category
    if data.priority is not None and at >= ticket.priority_at:
        if data.priority not in CRITICAL_PRIORITIES:
            ticket.critical_since = -1
        elif ticket.critical_since < 0:
            ticket.critical_since = at
        ticket.priority, ticket.priority_at = data.priority, at
    _keep_ticket(account, data.ticket_id, ticket)
    return Fact.TICKETS


def _set_open(is_open: bool) -> Handler:
    def step(account: Account, event: Event, at: int, records: Records) -> int:
        data: TicketStep = event.data
        ticket = records.ticket(account, data.ticket_id)
        if ticket is None:
            account.hot.unknown_entities += 1
            return 0
        if at >= ticket.state_at:
            ticket.is_open, ticket.state_at = is_open, at
            _keep_ticket(account, data.ticket_id, ticket)
        return Fact.TICKETS

    return step


def _keep_ticket(account: Account, ticket_id: str, ticket: Ticket) -> None:
    """Open tickets live in the account's own record, the others in records of their own."""
    if ticket.is_open:
        account.hot.tickets[ticket_id] = ticket
        account.tickets.pop(ticket_id, None)
        account.dirty_tickets.discard(ticket_id)
        return
    account.hot.tickets.pop(ticket_id, None)
    account.tickets[ticket_id] = ticket
    account.dirty_tickets.add(ticket_id)


def known_ticket(account: Account, event: Event, at: int, records: Records) -> int:
    """A step that changes nothing a signal reads: only an unknown ticket is counted."""
    if records.ticket(account, event.data.ticket_id) is None:
        account.hot.unknown_entities += 1
    return 0


BY_TYPE: dict[str, Handler] = {
    "ticket.opened": ticket_opened,
    "ticket.updated": ticket_updated,
    "ticket.escalated": known_ticket,
    "ticket.responded": known_ticket,
    "ticket.rated": known_ticket,
    "ticket.resolved": _set_open(False),
    "ticket.closed": _set_open(False),
    "ticket.reopened": _set_open(True),
}
