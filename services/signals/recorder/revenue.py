"""What an account's history says of its contract: how it stood and when, what moved its revenue, how its terms ended.

Pure. Everything is derived from the whole history in the order of event time, so that neither the order of arrival nor
repeats mean anything.

Two things state revenue: the account's profile (`mrr`) and its subscriptions. What the profile states prevails, and the
subscriptions explain it: a change of a subscription moves the account's MRR as far as the profile has not stated that
change already. An early renewal's price holds from the day that the renewal was due.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from schemas.events.accounts import AccountUpdated, Churned, Renewed, SubscriptionChanged
from services.signals.core.days import add_months, date_of, day_of_date
from services.signals.recorder.records import key_text, printable

DEFAULT_TERM_MONTHS: Final = 12
NO_CURRENCY: Final = "XXX"
# Dates outside are typing errors, and the edges of the calendar stand for infinity in the database.
FIRST_DAY, LAST_DAY = dt.date(1900, 1, 1), dt.date(2999, 12, 31)
ZERO: Final = Decimal(0)
RISING: Final = ("new", "add_on", "renewal", "upsell")
FALLING: Final = {"cancel": "cancelled", "downsell": "downsell", "archive": "archive"}
PROFILE: Final = ("name", "tier", "csm", "industry", "size", "region", "plan", "partner", "use_case")

DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "account.updated": msgspec.json.Decoder(AccountUpdated),
    "account.renewed": msgspec.json.Decoder(Renewed),
    "account.churned": msgspec.json.Decoder(Churned),
    "account.subscription_changed": msgspec.json.Decoder(SubscriptionChanged),
}


class Fact(Struct, frozen=True):
    """One event of a contract, with its data as JSON text."""

    time: dt.datetime
    type: str
    data: str


class Span(Struct, frozen=True):
    """How the account stood from `since` until `until`, which is None for the last."""

    since: dt.datetime
    until: dt.datetime | None
    name: str | None
    tier: str | None
    csm: str | None
    industry: str | None
    size: str | None
    region: str | None
    plan: str | None
    partner: str | None
    use_case: str | None
    currency: str
    mrr: Decimal | None
    signed: dt.date
    renewal_date: dt.date | None
    churned: bool
    churn_reason: str | None
    avoidable: bool | None


class SubscriptionSpan(Struct, frozen=True):
    """What one subscription brought from `since` until `until`; `renewal`: it began with a renewal."""

    subscription_id: str
    since: dt.datetime
    until: dt.datetime | None
    product: str
    mrr: Decimal
    discount: Decimal | None
    renewal: bool


class Movement(Struct, frozen=True):
    """One change of MRR; the amount is negative where it fell."""

    time: dt.datetime
    kind: str
    currency: str
    amount: Decimal


class TermEnd(Struct, frozen=True):
    """How a contract term ended. `term` 1 is the first."""

    term: int
    due: dt.date
    decided_at: dt.datetime
    renewed: bool
    currency: str
    mrr_before: Decimal | None
    mrr_after: Decimal | None


class Revenue(Struct):
    """All that is derived of one account."""

    spans: list[Span] = []
    subscriptions: list[SubscriptionSpan] = []
    movements: list[Movement] = []
    terms: list[TermEnd] = []


def derive(facts: Sequence[Fact]) -> Revenue:
    """What the history says. `facts` are all those of one account, by time."""
    account = _Account()
    for fact in facts:
        account.hear(fact)
    return account.end()


def repeats(last: Span, fact: Fact) -> bool:
    """Whether a fact says what is known already: no span, movement or term would be another with it.

    `last` is the account's last span. Systems send whole profiles again and again; this tells without the history. False
    where that is not certain.
    """
    data = DECODERS[fact.type].decode(fact.data)
    if not isinstance(data, AccountUpdated) or fact.time < last.since or last.churned:
        return False
    return (
        all(getattr(data, name) is UNSET or _profile(data, name) == getattr(last, name) for name in PROFILE)
        and (data.currency is UNSET or (data.currency or NO_CURRENCY) == last.currency)
        and (data.mrr is UNSET or _money(data.mrr) == last.mrr)
        and (data.contract_start is UNSET or _known(data.contract_start) in (None, last.signed))
        and all(date is UNSET or _known(date) == last.renewal_date for date in (data.renewal_date, data.contract_end))
    )


def _profile(data: AccountUpdated, name: str) -> str | None:
    value = getattr(data, name)
    return None if value is None else key_text(str(value))


class _Account:
    """One account, fact by fact."""

    def __init__(self) -> None:
        self.told = Revenue()
        self.profile: dict[str, str | None] = dict.fromkeys(PROFILE)
        self.currency = NO_CURRENCY
        self.signed: dt.date | None = None
        self.renewal_date: dt.date | None = None
        self.contract_end: dt.date | None = None
        self.mrr: Decimal | None = None
        self.unexplained = ZERO  # what the profile stated beyond the sum of the subscriptions
        self.stated = False
        self.subscriptions: dict[str, SubscriptionSpan] = {}
        self.churned = False
        self.left: Churned | None = None
        self.before_leaving: Decimal | None = None
        self.deferred: list[tuple[dt.datetime, int, Renewed | SubscriptionChanged]] = []
        self.put_off = 0
        self.origin: dt.datetime | None = None

    # --- events

    def hear(self, fact: Fact) -> None:
        """Take in one fact; what was put off until then comes first."""
        self._until(fact.time)
        data = DECODERS[fact.type].decode(fact.data)
        time = fact.time
        if self.origin is None:
            time = self.origin = _signature(fact.time, data)
            self.signed = time.date()
        match data:
            case AccountUpdated():
                self._updated(time, data)
            case Renewed():
                self._renewed(time, data)
            case Churned():
                self._churned(time, data)
            case SubscriptionChanged():
                due = self._early(time) if data.kind == "renewal" else None
                self._put_off(due, data) if due else self._subscribed(time, data)
        self._note(time)

    def end(self) -> Revenue:
        """What was heard, with what was put off."""
        self._until(None)
        self.told.subscriptions += self.subscriptions.values()
        self.told.subscriptions.sort(key=lambda span: (span.subscription_id, span.since))
        return self.told

    def _put_off(self, until: dt.datetime, data: Renewed | SubscriptionChanged) -> None:
        self.put_off += 1
        heapq.heappush(self.deferred, (until, self.put_off, data))

    def _until(self, time: dt.datetime | None) -> None:
        while self.deferred and (time is None or self.deferred[0][0] <= time):
            at, _, data = heapq.heappop(self.deferred)
            if isinstance(data, Renewed):
                self._state(at, _money(data.mrr), "renewal")
            else:
                self._subscribed(at, data)
            self._note(at)

    def _early(self, time: dt.datetime) -> dt.datetime | None:
        """Midnight of the day for which the last renewal was due, where that is still to come."""
        if not self.told.terms or not self.told.terms[-1].renewed:
            return None
        due = _midnight(self.told.terms[-1].due)
        return due if due > time else None

    def _updated(self, time: dt.datetime, data: AccountUpdated) -> None:
        for name in PROFILE:
            if getattr(data, name) is not UNSET:
                self.profile[name] = _profile(data, name)
        # After the first term a start is that of a later contract: the customer signed when it first did.
        if not self.told.terms and (start := _known(data.contract_start)) is not None:
            self.signed = start
        if data.contract_end is not UNSET:
            self.contract_end = _known(data.contract_end)
        if data.renewal_date is not UNSET:
            self.renewal_date = _known(data.renewal_date)
        if data.currency is not UNSET:
            self._denominate(time, data.currency or NO_CURRENCY, _money(data.mrr))
        if data.mrr is not UNSET:
            self._state(time, _money(data.mrr))

    def _renewed(self, time: dt.datetime, data: Renewed) -> None:
        due = self.renewal_date or self.contract_end or time.date()
        before = self.before_leaving if self.churned else self.mrr
        stated = _money(data.mrr)
        after = before if stated is None else stated
        self.told.terms.append(TermEnd(len(self.told.terms) + 1, due, time, True, self.currency, before, after))
        if self.renewal_date or self.contract_end:
            self.renewal_date = _later(due, data.term_months or DEFAULT_TERM_MONTHS)
        if self.churned:
            self.churned, self.left = False, None
            self._state(time, after)
        elif stated is not None:
            early = self._early(time)
            self._put_off(early, data) if early else self._state(time, stated, "renewal")

    def _churned(self, time: dt.datetime, data: Churned) -> None:
        if not self.churned:
            due = self.renewal_date or self.contract_end or time.date()
            number = len(self.told.terms) + 1
            self.told.terms.append(TermEnd(number, due, time, False, self.currency, self.mrr, ZERO))
            self.before_leaving = self.mrr
            for subscription in list(self.subscriptions.values()):
                self._subscription(time, msgspec.structs.replace(subscription, mrr=ZERO, renewal=False))
            self._move(time, ZERO, "cancelled")
            self.unexplained = ZERO
            self.deferred.clear()
        self.churned, self.left = True, data

    def _subscribed(self, time: dt.datetime, data: SubscriptionChanged) -> None:
        known = self.subscriptions.get(data.subscription_id)
        mrr = Decimal(data.mrr)
        discount = None if data.discount is None else Decimal(str(data.discount))
        product = key_text(data.product) or ""
        renewal = data.kind == "renewal"
        self._subscription(
            time, SubscriptionSpan(printable(data.subscription_id), time, None, product, mrr, discount, renewal)
        )
        change = mrr - (known.mrr if known else ZERO)
        if self.churned:
            return
        if self.stated:
            # The part of the change that the profile has stated already moves nothing.
            same = self.unexplained * change > 0
            explained = min(abs(change), abs(self.unexplained)).copy_sign(change) if same else ZERO
            self.unexplained -= explained
            change -= explained
        before = self.mrr or ZERO
        first = "add_on" if before > 0 else "new"
        self._move(time, before + change, _kind(data.kind, change, "upsell" if known else first, gone=mrr == 0))
        if renewal and self.told.terms and self.told.terms[-1].renewed and change:
            last = self.told.terms[-1]
            self.told.terms[-1] = msgspec.structs.replace(last, mrr_after=self.mrr)

    # --- revenue

    def _state(self, time: dt.datetime, mrr: Decimal | None, up: str = "upsell") -> None:
        """The account's MRR as its profile states it."""
        if self.churned:
            self.before_leaving = mrr
            return
        self.stated = mrr is not None
        explained = sum((subscription.mrr for subscription in self.subscriptions.values()), ZERO)
        if mrr is None:
            mrr = explained if self.subscriptions else None
        self.unexplained = ZERO if mrr is None else mrr - explained
        before, after = self.mrr or ZERO, mrr or ZERO
        self._move(time, mrr, _kind(None, after - before, up if before > 0 else "new", gone=after == 0))

    def _move(self, time: dt.datetime, mrr: Decimal | None, kind: str) -> None:
        amount = (mrr or ZERO) - (self.mrr or ZERO)
        self.mrr = mrr
        if amount:
            self.told.movements.append(Movement(time, kind, self.currency, amount))

    def _denominate(self, time: dt.datetime, currency: str, restated: Decimal | None) -> None:
        """The same contract in another currency: put away in the one, taken up in the other."""
        if currency == self.currency:
            return
        held = self.mrr
        if held:
            self._move(time, ZERO, "archive")
        self.currency = currency
        if held:
            self._move(time, held if restated is None else restated, "archive")

    # --- spans

    def _subscription(self, time: dt.datetime, new: SubscriptionSpan) -> None:
        new = msgspec.structs.replace(new, since=time)
        old = self.subscriptions.get(new.subscription_id)
        if old is not None and old.since < time:
            self.told.subscriptions.append(msgspec.structs.replace(old, until=time))
        self.subscriptions[new.subscription_id] = new

    def _note(self, time: dt.datetime) -> None:
        """Begin a span where the account stands otherwise than before."""
        span = Span(
            since=time,
            until=None,
            currency=self.currency,
            mrr=ZERO if self.churned else self.mrr,
            signed=self.signed or time.date(),
            renewal_date=self.renewal_date or self.contract_end,
            churned=self.churned,
            churn_reason=None if self.left is None else key_text(self.left.reason),
            avoidable=None if self.left is None else self.left.avoidable,
            **self.profile,
        )
        spans = self.told.spans
        if spans and spans[-1].since == time:
            spans.pop()
            if spans:
                spans[-1] = msgspec.structs.replace(spans[-1], until=None)
        if spans:
            last = spans[-1]
            if msgspec.structs.replace(last, since=time, until=None) == span:
                return
            spans[-1] = msgspec.structs.replace(last, until=time)
        spans.append(span)


def _kind(stated: str | None, change: Decimal, rise: str, *, gone: bool = False) -> str:
    """The kind of a movement: the stated one where it goes with the direction."""
    if change >= 0:
        return stated if stated in RISING else rise
    return FALLING.get(stated or "", "cancelled" if gone else "downsell")


def _signature(time: dt.datetime, data: object) -> dt.datetime:
    """When the account began: at its contract's start, where its first fact tells of an earlier one."""
    if isinstance(data, AccountUpdated) and isinstance(data.contract_start, dt.date):
        start = _known(data.contract_start)
        if start is not None:
            return min(time, _midnight(start))
    return time


def _known(date: dt.date | msgspec.UnsetType | None) -> dt.date | None:
    return date if isinstance(date, dt.date) and FIRST_DAY <= date <= LAST_DAY else None


def _later(day: dt.date, months: int) -> dt.date | None:
    return _known(date_of(add_months(day_of_date(day), months)))


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _money(text: str | msgspec.UnsetType | None) -> Decimal | None:
    return Decimal(text) if isinstance(text, str) else None


# --- what an account is counted by ---------------------------------------------------------------------------------


class Mark(Struct, frozen=True):
    """Something counted once per `name`."""

    kind: str
    name: str
    topic: str | None = None


class _Ticket(Struct):
    ticket_id: str
    category: str | None = None
    topic: str | None = None


_ticket: Final = msgspec.json.Decoder(_Ticket).decode
MARKED: Final = {
    "usage.value_reached": "value",
    "account.goal_achieved": "value",
    "reference.given": "reference",
    "review.given": "review",
    "referral.made": "referral",
    "ticket.opened": "feature_request",
    "ticket.updated": "feature_request",
}
"""Types of events that may leave a mark, and of which kind."""


def mark_of(type_: str, entry: bytes, data: str) -> Mark | None:
    """The mark that an event leaves, if any. `entry` tells it from others of its account."""
    kind = MARKED.get(type_)
    if kind is None:
        return None
    if kind == "value":
        return Mark(kind, "")
    if kind != "feature_request":
        return Mark(kind, entry.hex())
    ticket = _ticket(data)
    if ticket.category != "feature_request":
        return None
    return Mark(kind, printable(ticket.ticket_id), None if ticket.topic is None else printable(ticket.topic))


def marks_of(events: Iterable[tuple[str, bytes, dt.datetime, str]]) -> dict[tuple[str, str], tuple[Mark, dt.datetime]]:
    """Marks by kind and name, each with its earliest time. `events`: type, entry, time, data."""
    found: dict[tuple[str, str], tuple[Mark, dt.datetime]] = {}
    for type_, entry, time, data in events:
        mark = mark_of(type_, entry, data)
        if mark is None:
            continue
        held = found.get((mark.kind, mark.name))
        if held is None or time < held[1]:
            found[mark.kind, mark.name] = (mark, time)
    return found
