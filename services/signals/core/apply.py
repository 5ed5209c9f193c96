"""Events into state: one function per type says what it changes in the account and which facts signals must look at again.

An event is in time (`at` is the account clock) or late (`at` is before it). Nothing here judges anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Struct

from schemas.envelope import Event
from schemas.events import EVENT_TYPES
from schemas.events.accounts import AccountUpdated, Contact, Renewed
from schemas.events.engagement import Survey
from schemas.events.invoices import InvoiceIssued, InvoicePayment, InvoiceReduced
from schemas.events.tickets import TicketOpened, TicketStep, TicketUpdated
from schemas.events.usage import FeatureUsed, LoggedIn, PageViewed, ValueReached
from services.signals.core.activity import EARLY_US, KEPT_VIEWS
from services.signals.core.contacts import MAX_CONTACTS
from services.signals.core.days import DAY_US, day_of_date
from services.signals.core.records import Invoice, Ticket, User
from services.signals.core.signal import Fact
from services.signals.core.state import MAX_OPEN_INVOICES, MAX_OPEN_TICKETS, OPENINGS_KEPT_US, Account
from services.signals.core.windows import CORE, USAGE

PRODUCTION = "production"
CRITICAL_PRIORITIES = ("P1", "P2")
KEPT_ANSWERS = 16


class Records(Protocol):
    """Sub-records of the account under work, loaded when touched."""

    def user(self, account: Account, user_id: str) -> User:
        """The user's record, a new one if there is none."""

    def changed(self, account: Account, user_id: str) -> None:
        """The user's record, which `user` gave, was changed and is to be stored."""

    def active(self, account: Account, user_id: str, day: int) -> int:
        """Note that a user was active on a day. The user's last active day before, -1 for none; `day` may be older."""

    def ticket(self, account: Account, ticket_id: str) -> Ticket | None:
        """The ticket, open or not."""

    def invoice(self, account: Account, invoice_id: str) -> Invoice | None:
        """The invoice, open or not."""


Handler = Callable[[Account, Event, int, Records], int]


def _used(account: Account, user_id: str | None, at: int, records: Records) -> int:
    """A usage event in production: the account was used, and its user was active."""
    hot = account.hot
    facts = 0
    if at > hot.last_usage:
        hot.last_usage = at
        facts = Fact.LAST_USAGE
    day = at // DAY_US
    if len(hot.usage_days) < 5 and day not in hot.usage_days:
        hot.usage_days.append(day)
        facts = Fact.LAST_USAGE
    if user_id is not None:
        before = hot.users_active.get(user_id)
        if before is None or day > before:
            before = records.active(account, user_id, day)
            if day > before and hot.activity.move(before, day):
                facts |= Fact.ACTIVE
    return facts


def feature_used(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts in the windows when it happened in production; elsewhere it is a trial and says nothing."""
    data: FeatureUsed = event.data
    if data.environment is not None and data.environment != PRODUCTION:
        return 0
    facts = _used(account, data.user, at, records) | Fact.USAGE
    day, windows = at // DAY_US, account.windows
    if day == windows.today:
        now = windows.now
        now[USAGE] += data.count
        if data.core:
            now[CORE] += data.count
    else:
        windows.add(USAGE, day, data.count)
        if data.core:
            windows.add(CORE, day, data.count)
        facts |= Fact.LATE_USAGE
    changed = account.hot.changed_days
    if day not in changed:
        changed.append(day)
    return facts


def page_viewed(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts for the user: in all, and in the week from the first login."""
    data: PageViewed = event.data
    facts = _used(account, data.user, at, records)
    user = records.user(account, data.user)
    user.views += 1
    if user.first_login >= 0 and user.first_login <= at < user.first_login + EARLY_US:
        user.early_views += 1
    viewed = user.views_at
    if viewed and at < viewed[-1]:
        viewed.append(at)
        viewed.sort()
    else:
        viewed.append(at)
    if len(viewed) > KEPT_VIEWS:
        del viewed[0]
    records.changed(account, data.user)
    return facts | Fact.USER


def logged_in(account: Account, event: Event, at: int, records: Records) -> int:
    """Counts for the user; the earliest login starts the user's first week."""
    data: LoggedIn = event.data
    facts = _used(account, data.user, at, records) | Fact.USER
    user = records.user(account, data.user)
    user.logins += 1
    if user.first_login < 0 or at < user.first_login:
        user.first_login = at
        user.login_event = event.id
        user.early_views = sum(at <= viewed < at + EARLY_US for viewed in user.views_at)
        facts |= Fact.LOGIN
    records.changed(account, data.user)
    return facts


def error_seen(account: Account, event: Event, at: int, records: Records) -> int:
    """Known, and read by no signal yet. It makes nobody active."""
    return 0


def value_reached(account: Account, event: Event, at: int, records: Records) -> int:
    """Value was reached at least once."""
    data: ValueReached = event.data
    account.hot.value_reached = True
    return _used(account, data.user, at, records) | Fact.VALUE


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


def invoice_issued(account: Account, event: Event, at: int, records: Records) -> int:
    """An invoice is issued once. What was paid before it was known counts."""
    data: InvoiceIssued = event.data
    hot = account.hot
    invoice = records.invoice(account, data.invoice_id) or Invoice()
    if invoice.issued:
        return 0
    if len(hot.invoices) >= MAX_OPEN_INVOICES:
        hot.over_cap += 1
        return 0
    invoice.issued = True
    invoice.due_day = day_of_date(data.due)
    invoice.amount, invoice.currency = data.amount, data.currency
    invoice.recurring = data.recurring
    invoice.event_id = event.id
    if Decimal(invoice.paid) >= Decimal(invoice.amount) and Decimal(invoice.paid) > 0:
        invoice.settled = True
    _keep_invoice(account, data.invoice_id, invoice)
    return Fact.INVOICES


def invoice_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice whatever the amount."""
    return _settle(account, event.data.invoice_id, records, None)


def invoice_partly_paid(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice when all parts and credits together reach its amount."""
    data: InvoicePayment = event.data
    return _settle(account, data.invoice_id, records, data.amount)


def invoice_reduced(account: Account, event: Event, at: int, records: Records) -> int:
    """A credit counts like a payment; without an amount it is the whole invoice."""
    data: InvoiceReduced = event.data
    return _settle(account, data.invoice_id, records, data.amount)


def invoice_voided(account: Account, event: Event, at: int, records: Records) -> int:
    """Settles the invoice."""
    return _settle(account, event.data.invoice_id, records, None)


def _settle(account: Account, invoice_id: str, records: Records, amount: str | None) -> int:
    invoice = records.invoice(account, invoice_id) or Invoice()
    if amount is None:
        invoice.settled = True
    else:
        invoice.paid = str(Decimal(invoice.paid) + Decimal(amount))
        if invoice.issued and Decimal(invoice.paid) >= Decimal(invoice.amount):
            invoice.settled = True
    _keep_invoice(account, invoice_id, invoice)
    return Fact.INVOICES


def _keep_invoice(account: Account, invoice_id: str, invoice: Invoice) -> None:
    """Unpaid invoices live in the account's own record, the others in records of their own."""
    if invoice.issued and not invoice.settled:
        account.hot.invoices[invoice_id] = invoice
        account.invoices.pop(invoice_id, None)
        account.dirty_invoices.discard(invoice_id)
        return
    account.hot.invoices.pop(invoice_id, None)
    account.invoices[invoice_id] = invoice
    account.dirty_invoices.add(invoice_id)


def account_updated(account: Account, event: Event, at: int, records: Records) -> int:
    """Sets the fields that are there; null clears one."""
    data: AccountUpdated = event.data
    profile = account.hot.profile
    tier = profile.tier
    for name in data.__struct_fields__:
        value = getattr(data, name)
        if value is not UNSET and profile.put(name, _plain(value), at):
            account.health_urgent = True
    return Fact.PROFILE if profile.tier == tier else Fact.PROFILE | Fact.TIER


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date):
        return value.isoformat()
    return msgspec.to_builtins(value) if isinstance(value, Struct) else value


def contact_changed(account: Account, event: Event, at: int, records: Records) -> int:
    """A contact's name and roles; `moved_to` says that the person left, roles without it that the person is here."""
    data: Contact = event.data
    contacts = account.hot.contacts
    if data.contact_id not in contacts.people and len(contacts.people) >= MAX_CONTACTS:
        account.hot.over_cap += 1
        return 0
    gone = True if data.moved_to is not None else (None if data.roles is None else False)
    roles: list[str] | None = None if data.roles is None else [*data.roles]
    contacts.change(data.contact_id, at, event.id, name=data.name, roles=roles, gone=gone)
    return Fact.CONTACTS


def contact_left(account: Account, event: Event, at: int, records: Records) -> int:
    """A known contact left."""
    data: Contact = event.data
    if data.contact_id not in account.hot.contacts.people:
        account.hot.unknown_entities += 1
        return 0
    account.hot.contacts.change(data.contact_id, at, event.id, name=data.name, gone=True)
    return Fact.CONTACTS


def goal_set(account: Account, event: Event, at: int, records: Records) -> int:
    """From here on, goals are tracked for the account."""
    account.hot.goals_tracked = True
    return Fact.VALUE


def goal_achieved(account: Account, event: Event, at: int, records: Records) -> int:
    """Value was reached at least once."""
    account.hot.value_reached = True
    return Fact.VALUE


def renewed(account: Account, event: Event, at: int, records: Records) -> int:
    """Moves the renewal date by the term; a churned account is a customer again."""
    data: Renewed = event.data
    hot = account.hot
    hot.profile.renew(data.term_months, data.mrr, at)
    hot.renewals += 1
    if at >= hot.churn_known_at:
        hot.churned, hot.churn_known_at = False, at
    account.health_urgent = True
    return Fact.PROFILE | Fact.CONTRACT


def churned(account: Account, event: Event, at: int, records: Records) -> int:
    """The account left, unless a later event already said that it renewed."""
    hot = account.hot
    if at >= hot.churn_known_at:
        hot.churned, hot.churn_known_at = True, at
        account.health_urgent = True
    return 0


def survey_answered(account: Account, event: Event, at: int, records: Records) -> int:
    """An NPS answer counts once per (survey, user). The answer with the latest time decides."""
    data: Survey = event.data
    if data.kind != "nps" or data.score is None:
        return 0
    user = records.user(account, data.user or "")
    if data.survey_id in user.answered:
        return 0
    user.answered = [*user.answered, data.survey_id]
    user.nps = sorted([*user.nps, (at, data.score, event.id)], key=lambda answer: answer[0])[-KEPT_ANSWERS:]
    records.changed(account, data.user or "")
    return Fact.SURVEY


def known(account: Account, event: Event, at: int, records: Records) -> int:
    """Accepted, and read by no signal yet."""
    return 0


_BY_TYPE: dict[str, Handler] = {
    "usage.feature_used": feature_used,
    "usage.page_viewed": page_viewed,
    "usage.logged_in": logged_in,
    "usage.error_seen": error_seen,
    "usage.value_reached": value_reached,
    "ticket.opened": ticket_opened,
    "ticket.updated": ticket_updated,
    "ticket.escalated": known_ticket,
    "ticket.responded": known_ticket,
    "ticket.rated": known_ticket,
    "ticket.resolved": _set_open(False),
    "ticket.closed": _set_open(False),
    "ticket.reopened": _set_open(True),
    "invoice.issued": invoice_issued,
    "invoice.paid": invoice_paid,
    "invoice.partly_paid": invoice_partly_paid,
    "invoice.voided": invoice_voided,
    "invoice.credited": invoice_reduced,
    "invoice.payment_failed": known,
    "account.updated": account_updated,
    "account.contact_changed": contact_changed,
    "account.contact_left": contact_left,
    "account.goal_set": goal_set,
    "account.goal_achieved": goal_achieved,
    "account.renewed": renewed,
    "account.churned": churned,
    "survey.answered": survey_answered,
}
HANDLERS: dict[type[Event], Handler] = {EVENT_TYPES[name].event: handler for name, handler in _BY_TYPE.items()}
"""By event class. A type that is not here is accepted and changes nothing yet."""
