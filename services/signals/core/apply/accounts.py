"""Topic `accounts` into state: profile, contacts, goals, renewal and churn."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from schemas.envelope import Event
from schemas.events.accounts import AccountUpdated, Contact, Renewed
from services.signals.core.apply.handler import Handler, Records, known
from services.signals.core.contacts import MAX_CONTACTS
from services.signals.core.signal import Fact
from services.signals.core.state import Account


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


BY_TYPE: dict[str, Handler] = {
    "account.updated": account_updated,
    "account.contact_changed": contact_changed,
    "account.contact_left": contact_left,
    "account.goal_set": goal_set,
    "account.goal_measured": known,
    "account.goal_achieved": goal_achieved,
    "account.commitment_made": known,
    "account.commitment_kept": known,
    "account.subscription_changed": known,
    "account.milestone_planned": known,
    "account.milestone_done": known,
    "account.renewed": renewed,
    "account.churned": churned,
}
