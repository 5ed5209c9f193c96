"""The JSON of the queue, the views, coverage and scores by day: shapes for `/openapi.json`, and how they are filled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel

from schemas.lifecycle import Status
from schemas.priority import Part
from services.api.answers import HandlingShown, OpenCounts, handling_shown
from services.api.coverage import SignalState, State, summary
from services.api.queries import AccountRecord, SignalRecord
from services.api.queue_queries import Cohort

Severity = Literal["info", "warning", "critical"]
Kind = Literal["risk", "opportunity"]
Band = Literal["thriving", "healthy", "watch", "critical"]

# --- shapes --------------------------------------------------------------------------------------------------------


class PartShown(BaseModel):
    """One factor of a rank, and why it is what it is."""

    part: Literal["severity", "value", "renewal", "tenure", "price_step", "confidence"]
    factor: float
    words: str


class QueuedAccount(BaseModel):
    """The account of a place in the queue, as it is now. `arr` is MRR × 12."""

    account_id: str
    name: str | None
    tier: str | None
    csm: str | None
    mrr: str | None
    arr: str | None
    currency: str | None
    renewal_date: dt.date | None
    score: float | None
    band: Band | None


class Hidden(BaseModel):
    """How many signals are left out because they are snoozed or closed; without those that are asked for."""

    snoozed: int | None = None
    closed: int | None = None


class QueuedSignal(BaseModel):
    """A signal that is not cleared, with its rank, its reason, the next step, and what people said of it."""

    episode_id: str
    signal: str
    kind: Kind
    severity: Severity
    scope: Literal["account", "user", "campaign"]
    user: str | None
    about: str | None
    opened_at: dt.datetime
    status: Status
    handling: HandlingShown
    ordinal: int
    rank: float
    reason: str
    action: dict[str, Any]


class QueueItem(BaseModel):
    """One place in the queue. `rank` is the product of `parts`, those of the signal `because`; `as_of` is their day.

    `signals` holds the highest 20 signals of the account that are open or acknowledged, or as was asked for; the one
    signal where the queue is by signal. `open_counts` counts what the engine says is open, whatever people did.
    """

    account: QueuedAccount
    rank: float
    parts: list[PartShown]
    because: str
    as_of: dt.date | None
    open_counts: OpenCounts
    hidden: Hidden
    signals: list[QueuedSignal]


class QueuePage(BaseModel):
    """A page of the queue, highest rank first. `hidden` is of the whole queue with these filters, on its first page."""

    items: list[QueueItem]
    next_cursor: str | None
    hidden: Hidden | None


class ViewItem(BaseModel):
    """An account in a view. `rank` and `because` are null where nothing is open; `weight` is value and urgency alone.

    `first` says whether the view puts the account before others. `usage_seen`: whether it ever sent the use of a feature.
    """

    account: QueuedAccount
    rank: float | None
    weight: float
    parts: list[PartShown]
    because: str | None
    as_of: dt.date | None
    first: bool
    usage_seen: bool
    open_counts: OpenCounts
    hidden: Hidden
    signals: list[QueuedSignal]


class Released(BaseModel):
    """A released feature."""

    feature: str
    released_at: dt.datetime


class ViewDescription(BaseModel):
    """A saved view: what is in it, in which order, what may be asked, and where it is."""

    name: str
    title: str
    meaning: str
    order: str
    source: str
    signals: list[str] | None
    parameters: dict[str, str]
    path: str


class ViewList(BaseModel):
    """The saved views."""

    items: list[ViewDescription]
    next_cursor: None


class ViewPage(BaseModel):
    """A page of a view. `release` is the feature that it is about, null in views that are about none."""

    view: str
    title: str
    meaning: str
    release: Released | None
    items: list[ViewItem]
    next_cursor: str | None


class CoverageItem(BaseModel):
    """Whether one signal can be said of the account, and what it says."""

    signal: str
    title: str
    kind: Kind
    family: str
    scope: Literal["account", "user", "campaign"]
    state: State
    missing: list[str]
    until: dt.datetime | None
    episodes: list[str]


class Coverage(BaseModel):
    """Every signal of the catalogue for one account, and how many are in each state."""

    account_id: str
    as_of: dt.datetime
    summary: dict[str, int]
    items: list[CoverageItem]
    next_cursor: None


class ScoreOfDay(BaseModel):
    """The score as a UTC day ended."""

    day: dt.date
    score: float | None
    band: Band | None
    coverage: float


class CohortPlace(BaseModel):
    """Where a score stands among the accounts, not churned, that signed in the same quarter and have one.

    `percentile`: of 100 others, how many score lower, those with the same score counted half; null where there is no other.
    """

    quarter: str
    accounts: int
    percentile: float | None


# --- rows into shapes ----------------------------------------------------------------------------------------------


def queued_account(account_id: str, found: AccountRecord | None) -> dict[str, Any]:
    """A `QueuedAccount`; one without a health record is known by its id only."""
    names = ("name", "tier", "csm", "mrr", "currency", "renewal_date")
    shown: dict[str, Any] = {"account_id": account_id}
    shown |= {name: None if found is None else getattr(found, name) for name in names}
    return shown | {
        "arr": None if found is None or found.mrr is None else found.mrr * 12,
        "score": None if found is None else found.health.score,
        "band": None if found is None else found.health.band,
    }


def queued_signal(found: SignalRecord, rank: Decimal) -> dict[str, Any]:
    """A `QueuedSignal`."""
    row = found.episode
    return {
        "episode_id": row.episode_id,
        "signal": row.signal,
        "kind": row.kind,
        "severity": row.severity,
        "scope": row.scope,
        "user": row.user,
        "about": found.last.about,
        "opened_at": row.opened_at,
        "status": found.status,
        "handling": handling_shown(found),
        "ordinal": row.last_ordinal,
        "rank": float(rank),
        "reason": found.last.reason,
        "action": found.last.action,
    }


def parts_shown(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """`PartShown`s."""
    return [{"part": part.part, "factor": float(part.factor), "words": part.words} for part in parts]


def coverage_answer(account_id: str, as_of: dt.datetime, states: list[SignalState]) -> dict[str, Any]:
    """A `Coverage`."""
    return {
        "account_id": account_id,
        "as_of": as_of,
        "summary": summary(states),
        "items": states,
        "next_cursor": None,
    }


def cohort_place(found: Cohort | None) -> dict[str, Any] | None:
    """A `CohortPlace`, or None."""
    if found is None:
        return None
    others = found.size - 1
    return {
        "quarter": f"{found.quarter.year}-Q{(found.quarter.month + 2) // 3}",
        "accounts": found.size,
        "percentile": round(100 * (found.lower + found.same / 2) / others, 1) if others else None,
    }
