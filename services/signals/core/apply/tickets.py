"""Topic `tickets` into state."""

from __future__ import annotations

from bisect import bisect_right, insort

from schemas.envelope import Event
from schemas.events.tickets import TicketOpened, TicketRated, TicketStep, TicketUpdated
from services.signals.core.apply.handler import Handler, Records
from services.signals.core.open_tickets import INSTANT
from services.signals.core.records import Ticket
from services.signals.core.signal import Fact
from services.signals.core.state import MAX_OPEN_TICKETS, OPENINGS_KEPT_US, Account
from services.signals.core.support import Rated, Reopened, Request
from services.signals.core.troubles import Trouble, remember

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
    ticket = hot.tickets[data.ticket_id] = Ticket(
        opened_at=at,
        priority=data.priority,
        priority_at=at,
        critical_since=at if data.priority in CRITICAL_PRIORITIES else -1,
        is_open=True,
        state_at=at,
        event_id=event.id,
        topic=data.topic,
        category=data.category,
        topic_at=-1 if data.topic is None else at,
        category_at=-1 if data.category is None else at,
    )
    account.open_tickets.put(data.ticket_id, ticket)
    request = Request(at, data.priority, data.topic, data.category, event.id)
    hot.over_cap += account.change_dossier().support.open(data.ticket_id, request, hot.clock)
    del hot.openings[: bisect_right(hot.openings, hot.clock - OPENINGS_KEPT_US, key=INSTANT)]
    insort(hot.openings, (at, data.ticket_id))
    return Fact.TICKETS


def ticket_updated(account: Account, event: Event, at: int, records: Records) -> int:
    """What is given counts unless a later event set it already. An unknown ticket: nothing happens, and it is counted."""
    data: TicketUpdated = event.data
    ticket = records.ticket(account, data.ticket_id)
    if ticket is None:
        account.hot.unknown_entities += 1
        return 0
    if data.topic is not None and at >= ticket.topic_at:
        ticket.topic, ticket.topic_at = data.topic, at
    if data.category is not None and at >= ticket.category_at:
        ticket.category, ticket.category_at = data.category, at
    if data.priority is not None and at >= ticket.priority_at:
        if data.priority not in CRITICAL_PRIORITIES:
            ticket.critical_since = -1
        elif ticket.critical_since < 0:
            ticket.critical_since = at
        ticket.priority, ticket.priority_at = data.priority, at
    account.change_dossier().support.update(data.ticket_id, ticket)
    _keep_ticket(account, data.ticket_id, ticket)
    return Fact.TICKETS


def ticket_ended(account: Account, event: Event, at: int, records: Records) -> int:
    """Resolved or closed: not open from then on, unless a later event says otherwise. The first such step solved it."""
    data: TicketStep = event.data
    ticket = records.ticket(account, data.ticket_id)
    if ticket is None:
        account.hot.unknown_entities += 1
        return 0
    ticket.end(at)
    if at >= ticket.state_at:
        ticket.is_open, ticket.state_at = False, at
    _keep_ticket(account, data.ticket_id, ticket)
    account.hot.over_cap += account.change_dossier().support.end(data.ticket_id, ticket, account.hot.clock)
    return Fact.TICKETS


def ticket_reopened(account: Account, event: Event, at: int, records: Records) -> int:
    """Open again, unless a later event already ended it: then it was solved by that one."""
    data: TicketStep = event.data
    ticket = records.ticket(account, data.ticket_id)
    if ticket is None:
        account.hot.unknown_entities += 1
        return 0
    ticket.reopen(at)
    if at >= ticket.state_at:
        ticket.is_open, ticket.state_at = True, at
    support = account.change_dossier().support
    account.hot.over_cap += support.reopen(Reopened(at, data.ticket_id, event.id), account.hot.clock)
    account.hot.over_cap += support.end(data.ticket_id, ticket, account.hot.clock)
    _keep_ticket(account, data.ticket_id, ticket)
    return Fact.TICKETS


def ticket_escalated(account: Account, event: Event, at: int, records: Records) -> int:
    """Escalated: it counts while the ticket is open."""
    data: TicketStep = event.data
    ticket = records.ticket(account, data.ticket_id)
    if ticket is None:
        account.hot.unknown_entities += 1
        return 0
    if at >= ticket.escalated_at:
        ticket.escalated_at, ticket.escalated_event = at, event.id
        _keep_ticket(account, data.ticket_id, ticket)
    return Fact.TICKETS


def ticket_rated(account: Account, event: Event, at: int, records: Records) -> int:
    """The customer's rating of a ticket: of one ticket the latest counts."""
    data: TicketRated = event.data
    if records.ticket(account, data.ticket_id) is None:
        account.hot.unknown_entities += 1
        return 0
    support = account.change_dossier().support
    account.hot.over_cap += support.rate(data.ticket_id, Rated(at, data.score), account.hot.clock)
    return Fact.TICKETS


def _keep_ticket(account: Account, ticket_id: str, ticket: Ticket) -> None:
    """Open tickets live in the account's own record, the others in records of their own."""
    _keep_trouble(account, ticket_id, ticket)
    if ticket.is_open:
        account.hot.tickets[ticket_id] = ticket
        account.open_tickets.put(ticket_id, ticket)
        account.tickets.pop(ticket_id, None)
        account.dirty_tickets.pop(ticket_id, None)
        return
    account.hot.tickets.pop(ticket_id, None)
    account.open_tickets.drop(ticket_id)
    account.tickets[ticket_id] = ticket
    account.dirty_tickets[ticket_id] = None


def _keep_trouble(account: Account, ticket_id: str, ticket: Ticket) -> None:
    """A ticket that is critical, or was ever escalated, is a trouble that ended once it is solved."""
    name = f"Ticket {ticket_id}"
    if not ticket.is_open and (ticket.critical_since >= 0 or ticket.escalated_at >= 0):
        trouble = Trouble(ticket.opened_at, ticket.solved_at)
        dossier = account.change_dossier()
        dossier.troubles = remember(dossier.troubles, name, trouble, account.hot.clock)
    elif name in account.dossier.troubles:
        del account.change_dossier().troubles[name]


def known_ticket(account: Account, event: Event, at: int, records: Records) -> int:
    """A step that changes nothing a signal reads: only an unknown ticket is counted."""
    if records.ticket(account, event.data.ticket_id) is None:
        account.hot.unknown_entities += 1
    return 0


BY_TYPE: dict[str, Handler] = {
    "ticket.opened": ticket_opened,
    "ticket.updated": ticket_updated,
    "ticket.escalated": ticket_escalated,
    "ticket.responded": known_ticket,
    "ticket.rated": ticket_rated,
    "ticket.resolved": ticket_ended,
    "ticket.closed": ticket_ended,
    "ticket.reopened": ticket_reopened,
}
