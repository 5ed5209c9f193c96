"""Topic `accounts`: who the customer is, what they bought and promised, and broadcasts about all of them.

In `account.updated` an absent member stays as it was and a null clears it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.envelope import Count, Currency, Decimal, Identifier, Instant, LongText, Number, Text, event_type

TOPIC = "accounts"

Role = Literal["executive_sponsor", "champion", "admin", "buyer", "user"]
Tier = Literal["high", "low", "tech"]


class PriceStep(Struct, kw_only=True):
    """A scheduled change of price, in percentage points."""

    date: dt.date
    percent: Number


class PilotReadiness(Struct, kw_only=True):
    """What a pilot needs to become a contract."""

    budget: bool | None = None
    owner: bool | Text | None = None
    process: bool | None = None
    kpi: bool | Text | None = None


class Pilot(Struct, kw_only=True):
    """A pilot's dates, whether it is paid, and its readiness."""

    start: dt.date | None = None
    end: dt.date | None = None
    paid: bool | None = None
    readiness: PilotReadiness | None = None


class Handover(Struct, kw_only=True):
    """What sales told customer success."""

    goal: LongText | None = None
    pain_point: LongText | None = None
    scope: LongText | None = None
    notes: LongText | None = None


class AccountUpdated(Struct, kw_only=True):
    """The profile, in whole or in part."""

    name: Text | UnsetType | None = UNSET
    tier: Tier | UnsetType | None = UNSET
    industry: Text | UnsetType | None = UNSET
    region: Text | UnsetType | None = UNSET
    size: Text | Count | UnsetType | None = UNSET
    plan: Text | UnsetType | None = UNSET
    seats: Count | UnsetType | None = UNSET
    mrr: Decimal | UnsetType | None = UNSET
    currency: Currency | UnsetType | None = UNSET
    contract_start: dt.date | UnsetType | None = UNSET
    contract_end: dt.date | UnsetType | None = UNSET
    renewal_date: dt.date | UnsetType | None = UNSET
    auto_renew: bool | UnsetType | None = UNSET
    opt_out_by: dt.date | UnsetType | None = UNSET
    pricing: Literal["per_seat", "value", "usage"] | UnsetType | None = UNSET
    use_case: LongText | UnsetType | None = UNSET
    fit: Text | float | bool | UnsetType | None = UNSET
    parent: Identifier | UnsetType | None = UNSET
    partner: Text | UnsetType | None = UNSET
    price_step: PriceStep | UnsetType | None = UNSET
    stage: Literal["pilot", "live"] | UnsetType | None = UNSET
    pilot: Pilot | UnsetType | None = UNSET
    csm: Text | UnsetType | None = UNSET
    sales_owner: Text | UnsetType | None = UNSET
    finance_owner: Text | UnsetType | None = UNSET
    handover: Handover | UnsetType | None = UNSET


class Contact(Struct, kw_only=True):
    """A contact, changed or left. `roles` is the whole new list; `moved_to` says that the person left for elsewhere."""

    contact_id: Identifier
    name: Text | None = None
    email: Text | None = None
    roles: list[Role] | None = None
    moved_to: Text | None = None


class Goal(Struct, kw_only=True):
    """A goal set, measured or achieved."""

    goal: Text
    metric: Text | None = None
    baseline: Number | None = None
    target: Number | None = None
    due: dt.date | None = None
    value: Number | None = None


class Commitment(Struct, kw_only=True):
    """A promise to the account; a later date for the same promise is a slip."""

    commitment: Text
    due: dt.date | None = None


class SubscriptionChanged(Struct, kw_only=True):
    """One product's recurring revenue changed; `mrr` is the new value."""

    subscription_id: Identifier
    product: Text
    mrr: Decimal
    quantity: Number | None = None
    unit_price: Decimal | None = None
    discount: Number | None = None
    reason: LongText | None = None
    kind: Literal["new", "add_on", "renewal", "upsell", "downsell", "cancel", "archive"] | None = None


class Milestone(Struct, kw_only=True):
    """A planned or completed step of onboarding."""

    milestone: Text
    due: dt.date | None = None
    kind: Literal["onboarding", "kickoff", "launch", "other"] | None = None


class Linked(Struct, kw_only=True):
    """Another system's name for this account."""

    system: Text
    external_id: Identifier


class Renewed(Struct, kw_only=True):
    """The contract was renewed for `term_months` (12 when absent)."""

    mrr: Decimal | None = None
    term_months: Annotated[int, Meta(ge=1, le=240)] | None = None


class Churned(Struct, kw_only=True):
    """The account left."""

    reason: LongText
    avoidable: bool = True


class Nothing(Struct, kw_only=True):
    """No data."""


class FeatureReleased(Struct, kw_only=True):
    """A feature was released to every account."""

    feature: Text
    advanced: bool = False


class SourceState(Struct, kw_only=True):
    """A source of events went stale, or is fresh again, since an instant."""

    source: Text
    topic: Text
    since: Instant


class TierMeasure(Struct, kw_only=True):
    """The portfolio's change within one tier, as ratios minus one."""

    usage_change: float | None = None
    usage_change_day: float | None = None


class PortfolioMeasured(Struct, kw_only=True):
    """The portfolio's own movement on one day. `late_sources` had not sent anything for longer than usual as it ended."""

    day: dt.date
    accounts: Count
    usage_change: float | None = None
    usage_change_day: float | None = None
    by_tier: dict[str, TierMeasure] | None = None
    nps_mean: float | None = None
    csat_mean: float | None = None
    growth_mean_by_segment: dict[str, float] | None = None
    late_sources: list[SourceState] | None = None


TYPES = (
    event_type(TOPIC, "account.updated", AccountUpdated),
    event_type(TOPIC, "account.contact_changed", Contact),
    event_type(TOPIC, "account.contact_left", Contact),
    event_type(TOPIC, "account.goal_set", Goal),
    event_type(TOPIC, "account.goal_measured", Goal),
    event_type(TOPIC, "account.goal_achieved", Goal),
    event_type(TOPIC, "account.commitment_made", Commitment),
    event_type(TOPIC, "account.commitment_kept", Commitment),
    event_type(TOPIC, "account.subscription_changed", SubscriptionChanged),
    event_type(TOPIC, "account.milestone_planned", Milestone),
    event_type(TOPIC, "account.milestone_done", Milestone),
    event_type(TOPIC, "account.linked", Linked),
    event_type(TOPIC, "account.renewed", Renewed),
    event_type(TOPIC, "account.churned", Churned),
    event_type(TOPIC, "account.erased", Nothing),
    event_type(TOPIC, "feature.released", FeatureReleased, broadcast=True),
    event_type(TOPIC, "source.stale", SourceState, broadcast=True),
    event_type(TOPIC, "source.fresh", SourceState, broadcast=True),
    event_type(TOPIC, "portfolio.measured", PortfolioMeasured, broadcast=True),
)
