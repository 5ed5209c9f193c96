"""The JSON of answers: shapes for `/openapi.json`, and how recorded rows are put into them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw
from pydantic import BaseModel
from starlette.responses import Response

from schemas.lifecycle import ActName, Cause, ChurnReason, Handling, Outcome, Status
from services.api.lifecycle import Act, in_words, taken_back
from services.api.queries import AccountRecord, Found, SignalRecord

_encode = msgspec.json.Encoder().encode


def answer(body: object, *, status: int = 200) -> Response:
    """`body` as JSON: times as RFC 3339 in UTC, decimals as strings."""
    return Response(_encode(body), status, media_type="application/json")


# --- shapes --------------------------------------------------------------------------------------------------------


class OpenCounts(BaseModel):
    """Open risks by severity, and open opportunities."""

    critical: int
    warning: int
    info: int
    opportunity: int


class Windows(BaseModel):
    """Headline numbers at `as_of`. Usage windows include today (UTC); `tickets_opened_7d` is the trailing 7 × 24 h."""

    as_of: dt.datetime
    usage_7d: int
    usage_28d: int
    usage_prev_28d: int
    usage_90d: int
    active_users_28d: int
    open_tickets: int
    tickets_opened_7d: int
    oldest_overdue_days: int | None
    last_seen: dt.datetime | None


class AccountItem(BaseModel):
    """One account in a list."""

    account_id: str
    name: str | None
    tier: str | None
    csm: str | None
    mrr: str | None
    currency: str | None
    renewal_date: dt.date | None
    churned: bool
    score: float | None
    band: Literal["thriving", "healthy", "watch", "critical"] | None
    open_counts: OpenCounts
    windows: Windows


class AccountPage(BaseModel):
    """A page of accounts."""

    items: list[AccountItem]
    next_cursor: str | None


class AccountBrief(BaseModel):
    """The account that a signal is about, as it is now."""

    account_id: str
    name: str | None
    tier: str | None
    csm: str | None
    mrr: str | None
    currency: str | None
    renewal_date: dt.date | None


class HandlingShown(BaseModel):
    """What people said of a signal. `version` is how many acts there are: an act carries it.

    `escalated_since`: something was said before the last escalation and holds no longer; what it was stays here.
    `acknowledged_age_s` is seconds since `acknowledged_at`. Actors are user ids, or `key:NAME`.
    """

    version: int
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    acknowledged_age_s: int | None
    snoozed_at: dt.datetime | None
    snoozed_by: str | None
    snoozed_until: dt.datetime | None
    snooze_reason: str | None
    assignee: str | None
    pool: str | None
    closed_at: dt.datetime | None
    closed_by: str | None
    outcome: Outcome | None
    churn_reason: ChurnReason | None
    avoidable: bool | None
    cause: Cause | None
    first_acknowledged_at: dt.datetime | None
    escalated_since: bool


SAID: Final = tuple(name for name in HandlingShown.model_fields if name in Handling.__slots__)
"""What of a handling is shown as it is."""


class ActShown(BaseModel):
    """One act. `data` is what it carries; `undone_by` is the version of the undo that took it back."""

    version: int
    act: ActName
    actor: str
    at: dt.datetime
    severity: Literal["info", "warning", "critical"]
    data: dict[str, Any]
    undoes: int | None
    undone_by: int | None
    words: str


class Signal(BaseModel):
    """One signal from its raise to its clear. `reason`, `evidence` and `action` are those of its last change.

    `about` is the topic, product, feature or promise that it is about, where there can be several at once. `status` is
    how it stands now, by what the engine says and what people did; `version` is the rule's, `handling.version` that of
    what people did. `ordinal` is that of the last change: 1 is the raise.
    """

    episode_id: str
    account: AccountBrief
    signal: str
    version: int
    kind: Literal["risk", "opportunity"]
    severity: Literal["info", "warning", "critical"]
    scope: Literal["account", "user", "campaign", "portfolio"]
    user: str | None
    about: str | None
    status: Status
    handling: HandlingShown
    ordinal: int
    pages: bool
    historical: bool
    opened_at: dt.datetime
    changed_at: dt.datetime
    cleared_at: dt.datetime | None
    cleared_because: str | None
    reason: str
    evidence: list[dict[str, Any]]
    action: dict[str, Any]


class SignalPage(BaseModel):
    """A page of signals, newest `opened_at` first."""

    items: list[Signal]
    next_cursor: str | None


class SignalDetail(Signal):
    """One signal with its changes, as they were published, and what people did, each first to last."""

    transitions: list[dict[str, Any]]
    acts: list[ActShown]


class AccountDetail(AccountItem):
    """One account. `open_signals` holds the newest 200 open signals."""

    profile: dict[str, Any]
    coverage: float
    first_event_at: dt.datetime | None
    open_signals: list[Signal]


class Erasing(BaseModel):
    """An erasure that was sent, as the event `event_id`."""

    account_id: str
    event_id: str


class TimelineItem(BaseModel):
    """One event of an account's history, as it was sent."""

    time: dt.datetime
    type: str
    source: str
    id: str
    data: dict[str, Any]


class TimelinePage(BaseModel):
    """A page of an account's history, newest first."""

    items: list[TimelineItem]
    next_cursor: str | None


class UsageItem(BaseModel):
    """Feature uses in production on one UTC day, and those of core features."""

    day: dt.date
    usage: int
    core: int


class Usage(BaseModel):
    """Usage by day, oldest first; days without usage are 0."""

    account_id: str
    items: list[UsageItem]
    next_cursor: None


class CatalogueCase(BaseModel):
    """One of the cases that a signal is held to: whether it fires in it, or stays silent."""

    name: str
    fires: bool


class CatalogueEntry(BaseModel):
    """One signal of the catalogue."""

    id: str
    title: str
    version: int
    kind: Literal["risk", "opportunity"]
    family: str
    scope: str
    severity: str
    pages: bool
    meaning: str
    source: str
    thresholds: dict[str, Any]
    reads: list[str]
    action: dict[str, Any]
    cases: list[CatalogueCase] = []


class CataloguePage(BaseModel):
    """The signals in force."""

    items: list[CatalogueEntry]
    next_cursor: None


class FieldProblem(BaseModel):
    """One field that is refused, and why."""

    field: str
    detail: str


class ProblemDetails(BaseModel):
    """RFC 9457. `type` names the kind of problem; `field` is there when exactly one is meant."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    errors: list[FieldProblem] | None = None


# --- rows into shapes ----------------------------------------------------------------------------------------------


def page(items: list[Any], cursor: str | None) -> dict[str, Any]:
    """A page."""
    return {"items": items, "next_cursor": cursor}


def account_item(found: AccountRecord, counts: dict[str, int]) -> dict[str, Any]:
    """An `AccountItem`."""
    return {
        "account_id": found.account_id,
        "name": found.name,
        "tier": found.tier,
        "csm": found.csm,
        "mrr": found.mrr,
        "currency": found.currency,
        "renewal_date": found.renewal_date,
        "churned": found.churned,
        "score": found.health.score,
        "band": found.health.band,
        "open_counts": counts,
        "windows": found.health.windows,
    }


def account_detail(found: AccountRecord, counts: dict[str, int], signals: list[SignalRecord]) -> dict[str, Any]:
    """An `AccountDetail`."""
    return account_item(found, counts) | {
        "profile": found.health.profile,
        "coverage": found.health.coverage,
        "first_event_at": found.health.first_event_at,
        "open_signals": [signal_item(signal) for signal in signals],
    }


def signal_item(found: SignalRecord) -> dict[str, Any]:
    """A `Signal`. An account that has no health record yet is shown as the signal knew it."""
    row, now, then = found.episode, found.account, found.last.account
    return {
        "episode_id": row.episode_id,
        "account": {
            "account_id": row.account_id,
            "name": then.get("name") if now is None else now.account_name,
            "tier": then.get("tier") if now is None else now.account_tier,
            "csm": then.get("csm") if now is None else now.account_csm,
            "mrr": then.get("mrr") if now is None else now.mrr,
            "currency": then.get("currency") if now is None else now.currency,
            "renewal_date": then.get("renewal_date") if now is None else now.renewal_date,
        },
        "signal": row.signal,
        "version": row.version,
        "kind": row.kind,
        "severity": row.severity,
        "scope": row.scope,
        "user": row.user,
        "about": found.last.about,
        "status": found.status,
        "handling": handling_shown(found),
        "ordinal": row.last_ordinal,
        "pages": row.pages,
        "historical": row.historical,
        "opened_at": row.opened_at,
        "changed_at": row.changed_at,
        "cleared_at": row.cleared_at,
        "cleared_because": row.cleared_because,
        "reason": found.last.reason,
        "evidence": found.last.evidence,
        "action": found.last.action,
    }


def handling_shown(found: SignalRecord) -> dict[str, Any]:
    """A `HandlingShown`."""
    said = found.handling
    told: dict[str, Any] = {name: getattr(said, name) for name in SAID}
    ordinals = (said.acknowledged_ordinal, said.snoozed_ordinal, said.closed_ordinal)
    last: int = found.episode.last_ordinal
    return told | {
        "acknowledged_age_s": None
        if said.acknowledged_at is None
        else max(0, int((found.now - said.acknowledged_at).total_seconds())),
        "escalated_since": found.status != "cleared" and any(at is not None and at < last for at in ordinals),
    }


def act_shown(act: Act, gone: dict[int, int], now: dt.datetime) -> dict[str, Any]:
    """An `ActShown`. `gone` is `taken_back` of all acts on the signal."""
    return {
        "version": act.version,
        "act": act.act,
        "actor": act.actor,
        "at": act.at,
        "severity": act.severity,
        "data": act.data,
        "undoes": act.undoes,
        "undone_by": gone.get(act.version),
        "words": in_words(act, now),
    }


def acts_shown(acts: list[Act], now: dt.datetime) -> list[dict[str, Any]]:
    """Every act on a signal, as `ActShown`s."""
    gone = taken_back(acts)
    return [act_shown(act, gone, now) for act in acts]


def signal_detail(found: SignalRecord, transitions: list[str], acts: list[Act]) -> dict[str, Any]:
    """A `SignalDetail`."""
    return signal_item(found) | {
        "transitions": [Raw(text.encode()) for text in transitions],
        "acts": acts_shown(acts, found.now),
    }


def timeline_item(row: Found) -> dict[str, Any]:
    """A `TimelineItem`."""
    return {
        "time": row.time,
        "type": row.type,
        "source": row.source,
        "id": row.event_id,
        "data": Raw(row.data.encode()),
    }


def usage_items(rows: dict[dt.date, Found], first: dt.date, last: dt.date) -> list[dict[str, Any]]:
    """Every day from `first` to `last`, with 0 where nothing was used."""
    days = (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
    return [
        {"day": day, "usage": rows[day].usage if day in rows else 0, "core": rows[day].core if day in rows else 0}
        for day in days
    ]
