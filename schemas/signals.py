"""Signal transitions: what the engine says on `signals.risk` and `signals.opportunity`, as CloudEvents keyed by account id."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from schemas.envelope import Instant

RISK_TOPIC = "signals.risk"
OPPORTUNITY_TOPIC = "signals.opportunity"
PORTFOLIO_ACCOUNT = "_portfolio"
SOURCE = "ebbtide/engine"

Kind = Literal["risk", "opportunity"]
Severity = Literal["info", "warning", "critical"]
Scope = Literal["account", "user", "campaign", "portfolio"]
TransitionType = Literal["signal.raised", "signal.escalated", "signal.cleared"]
Owner = Literal["csm", "support", "finance", "sales", "product"]


class Evidence(Struct, kw_only=True):
    """One number behind a signal, with what it is compared to and the window it was taken over (half open, UTC).

    Every member is written: null says that there is nothing to compare with, or no window.
    """

    measure: str
    value: float | int | str | None
    baseline: float | int | str | None = None
    threshold: float | int | str | None = None
    unit: str
    window_start: Instant | None = None
    window_end: Instant | None = None
    event_ids: list[str] | None = None


class Action(Struct, kw_only=True):
    """The recommended next step and who should take it. `playbook` and `runbook` are names of documents."""

    title: str
    owner: Owner
    playbook: str
    runbook: str


class AccountBrief(Struct, kw_only=True):
    """The account as it was known when the signal changed."""

    name: str | None = None
    tier: str | None = None
    mrr: str | None = None
    currency: str | None = None
    csm: str | None = None
    renewal_date: dt.date | None = None
    days_to_renewal: int | None = None


class TransitionData(Struct, kw_only=True):
    """What changed, why, and what to do. `opened_at` and `cleared_at` are event time.

    `about` names the topic, product, feature or promise where a signal can be open on several of one account at once.
    """

    episode_id: str
    signal: str
    version: int
    kind: Kind
    severity: Severity
    previous_severity: Severity | UnsetType = UNSET
    scope: Scope
    user: str | UnsetType = UNSET
    about: str | UnsetType = UNSET
    reason: str
    evidence: list[Evidence]
    pages: bool
    historical: bool
    action: Action
    account: AccountBrief
    opened_at: Instant
    cleared_at: Instant | UnsetType = UNSET
    cleared_because: str | UnsetType = UNSET
    catalogue: str


class Transition(Struct, kw_only=True):
    """A signal was raised, escalated or cleared. `id` is deterministic: the same change has the same id on every run."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = SOURCE
    type: TransitionType
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    data: TransitionData


def topic_of(kind: Kind) -> str:
    """The topic that transitions of this kind are published on."""
    return RISK_TOPIC if kind == "risk" else OPPORTUNITY_TOPIC
