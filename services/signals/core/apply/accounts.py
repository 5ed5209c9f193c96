"""Topic `accounts` into state: profile, contacts, goals, renewal and churn."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.envelope import Event
from schemas.events.accounts import AccountUpdated, Commitment, Contact, Goal, Milestone, Renewed, SubscriptionChanged
from services.signals.core import onboarding
from services.signals.core.advocacy import Moved
from services.signals.core.apply.handler import Handler, Records, note_value
from services.signals.core.contacts import MAX_CONTACTS
from services.signals.core.days import day_of_date
from services.signals.core.signal import Fact
from services.signals.core.state import Account
from services.signals.core.subscriptions import CONTRACT, STATED, SUBSCRIPTION, Level


def account_updated(account: Account, event: Event, at: int, records: Records) -> int:
    """Sets the fields that are there; null clears one."""
    data: AccountUpdated = event.data
    profile = account.hot.profile
    tier = profile.tier
    for name in data.__struct_fields__:
        value = getattr(data, name)
        if value is not UNSET and profile.put(name, _plain(value), at):
            account.health_urgent = True
            if name == "pilot":
                account.change_dossier().onboarding.note_pilot(profile.fields.get("pilot"))
            elif name == "use_case":
                account.change_dossier().onboarding.note_use_case(at)
    facts = _note_contract(account, data.mrr, data.seats, at, event.id)
    return facts | (Fact.PROFILE if profile.tier == tier else Fact.PROFILE | Fact.TIER)


def _note_contract(
    account: Account, mrr: str | UnsetType | None, seats: int | UnsetType | None, at: int, event_id: str
) -> int:
    """What the account pays in all and for how many seats, as its profile states it. Null says nothing of either."""
    if not isinstance(mrr, str) and not isinstance(seats, int):
        return 0
    line = account.change_dossier().billing.subscriptions.line(STATED, "", CONTRACT)
    if line is None:
        account.hot.over_cap += 1
        return 0
    stated = mrr if isinstance(mrr, str) else None
    line.say(Level(at, mrr=stated, quantity=str(seats) if isinstance(seats, int) else None, event_id=event_id))
    return Fact.SUBSCRIPTIONS


def subscription_changed(account: Account, event: Event, at: int, records: Records) -> int:
    """What is paid for one subscription. Under another product it goes on there, and the one before is not paid any more."""
    data: SubscriptionChanged = event.data
    paid = account.change_dossier().billing.subscriptions
    name = f"{data.subscription_id}\x1f"
    for key, known in paid.lines.items():
        if key.startswith(SUBSCRIPTION + name) and known.product != data.product and known.at(at) is not None:
            known.say(Level(at, mrr="0", event_id=event.id))
    line = paid.line(SUBSCRIPTION, name + data.product, data.product)
    if line is None:
        account.hot.over_cap += 1
        return Fact.SUBSCRIPTIONS
    discount = data.discount if data.discount is not None or line.at(at) is not None else 0
    line.say(
        Level(
            at,
            mrr=data.mrr,
            quantity=None if data.quantity is None else str(data.quantity),
            unit_price=data.unit_price,
            discount=None if discount is None else str(discount),
            event_id=event.id,
        )
    )
    return Fact.SUBSCRIPTIONS


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
    _note_move(account, data, at, event.id)
    contacts.change(data.contact_id, at, event.id, name=data.name, email=data.email, roles=roles, gone=gone)
    return Fact.CONTACTS


def _note_move(account: Account, data: Contact, at: int, event_id: str) -> None:
    """Keep where a champion went. Who held the role when last heard of is one, though he left before it was known where to."""
    person = account.hot.contacts.people.get(data.contact_id)
    roles = {*(data.roles or ()), *(() if person is None else person.roles)}
    if data.moved_to is not None and "champion" in roles:
        name = data.name or (None if person is None else person.name) or data.contact_id
        moved = Moved(name, data.moved_to, at, event_id)
        account.change_dossier().engagement.advocacy.move(data.contact_id, moved)


def contact_left(account: Account, event: Event, at: int, records: Records) -> int:
    """A known contact left."""
    data: Contact = event.data
    if data.contact_id not in account.hot.contacts.people:
        account.hot.unknown_entities += 1
        return 0
    _note_move(account, data, at, event.id)
    account.hot.contacts.change(data.contact_id, at, event.id, name=data.name, gone=True)
    return Fact.CONTACTS


def goal_set(account: Account, event: Event, at: int, records: Records) -> int:
    """What was agreed of a goal. From here on, goals are tracked for the account."""
    data: Goal = event.data
    account.hot.goals_tracked = True
    due = None if data.due is None else day_of_date(data.due)
    goal = _goal(account, data.goal)
    if goal is not None:
        goal.agree(
            at, event.id, metric=data.metric, baseline=_float(data.baseline), target=_float(data.target), due=due
        )
    return Fact.VALUE | Fact.GOALS


def goal_measured(account: Account, event: Event, at: int, records: Records) -> int:
    """A measure of a goal, which may be known from it alone."""
    data: Goal = event.data
    goal = _goal(account, data.goal)
    if goal is None or data.value is None:
        return 0
    goal.measure(float(data.value), at)
    return Fact.GOALS


def goal_achieved(account: Account, event: Event, at: int, records: Records) -> int:
    """Value was reached at least once."""
    data: Goal = event.data
    goal = _goal(account, data.goal)
    if goal is not None:
        goal.achieve(at)
        if data.value is not None:
            goal.measure(float(data.value), at)
    note_value(account, at)
    return Fact.VALUE | Fact.GOALS


def _float(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _goal(account: Account, name: str) -> onboarding.Goal | None:
    return _entry(account, account.change_dossier().onboarding.goals, name, onboarding.Goal, onboarding.MAX_GOALS)


def milestone_planned(account: Account, event: Event, at: int, records: Records) -> int:
    """A milestone's date; none takes the date away."""
    data: Milestone = event.data
    milestone = _milestone(account, data, at)
    if milestone is not None:
        milestone.plan(-1 if data.due is None else day_of_date(data.due), at, event.id)
    return Fact.MILESTONES


def milestone_done(account: Account, event: Event, at: int, records: Records) -> int:
    """A milestone was reached, planned or not."""
    milestone = _milestone(account, event.data, at)
    if milestone is not None:
        milestone.finish(at)
    return Fact.MILESTONES


def _milestone(account: Account, data: Milestone, at: int) -> onboarding.Promise | None:
    table = account.change_dossier().onboarding.milestones
    milestone = _entry(account, table, data.milestone, onboarding.Promise, onboarding.MAX_MILESTONES)
    if milestone is not None and data.kind is not None:
        milestone.name_kind(data.kind, at)
    return milestone


def commitment_made(account: Account, event: Event, at: int, records: Records) -> int:
    """A promise and its date; a later date for the same promise is a slip."""
    data: Commitment = event.data
    commitment = _commitment(account, data)
    if commitment is not None:
        commitment.plan(-1 if data.due is None else day_of_date(data.due), at, event.id)
    return Fact.COMMITMENTS


def commitment_kept(account: Account, event: Event, at: int, records: Records) -> int:
    """A promise was kept."""
    commitment = _commitment(account, event.data)
    if commitment is not None:
        commitment.finish(at)
    return Fact.COMMITMENTS


def _commitment(account: Account, data: Commitment) -> onboarding.Promise | None:
    table = account.change_dossier().onboarding.commitments
    return _entry(account, table, data.commitment, onboarding.Promise, onboarding.MAX_COMMITMENTS)


def _entry[T: (onboarding.Promise, onboarding.Goal)](
    account: Account, table: dict[str, T], name: str, new: type[T], limit: int
) -> T | None:
    """The entry of this name, a new one where there is none; None where there are too many that are open."""
    found = table.get(name)
    if found is None:
        if len(table) >= limit:
            account.hot.over_cap += 1
            if not onboarding.make_room(table):
                return None
        found = table[name] = new()
    return found


def renewed(account: Account, event: Event, at: int, records: Records) -> int:
    """Moves the renewal date by the term; a churned account is a customer again."""
    data: Renewed = event.data
    hot = account.hot
    hot.profile.renew(data.term_months, data.mrr, at)
    hot.renewals += 1
    if at >= hot.churn_known_at:
        hot.churned, hot.churn_known_at = False, at
    account.health_urgent = True
    return Fact.PROFILE | Fact.CONTRACT | _note_contract(account, data.mrr, None, at, event.id)


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
    "account.goal_measured": goal_measured,
    "account.goal_achieved": goal_achieved,
    "account.commitment_made": commitment_made,
    "account.commitment_kept": commitment_kept,
    "account.subscription_changed": subscription_changed,
    "account.milestone_planned": milestone_planned,
    "account.milestone_done": milestone_done,
    "account.renewed": renewed,
    "account.churned": churned,
}
