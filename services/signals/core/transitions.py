"""Transitions as they are published: the same change gives the same bytes on every run."""

from __future__ import annotations

import datetime as dt
from typing import Final

import msgspec
from msgspec import UNSET

from schemas.envelope import from_us
from schemas.signals import AccountBrief, Evidence, Severity, Transition, TransitionData, TransitionType, topic_of
from services.signals.core.days import date_of
from services.signals.core.episodes import Episode, transition_id
from services.signals.core.signal import Signal
from services.signals.core.state import Account

_encode: Final = msgspec.json.Encoder().encode

CLEARED_WORDS: Final = {
    "recovered": "the condition no longer holds",
    "late_event": "a late event showed that it does not hold",
    "new_normal": "90 days have passed: this is the new normal",
    "expired": "its time has passed",
    "noted": "it was noted",
    "goal_set": "the next goal is set",
    "done": "it was done",
    "renewed": "the contract was renewed",
    "churned": "the account churned",
    "converted": "the pilot became a contract",
    "erased": "the account was erased",
    "no_seats": "no seats are known any more",
    "not_applicable": "it no longer applies to this account",
    "below_threshold": "the share fell below the threshold",
    "usual": "this is usual for the account by now",
    "switched_off": "the operators switched the signal off",
}
"""Why an episode ends, as a word of the contract and as words for people."""


def brief(account: Account, now: int) -> AccountBrief:
    """The account as it is known at `now`."""
    profile = account.hot.profile
    fields, day = profile.fields, profile.renewal_day
    return AccountBrief(
        name=fields.get("name"),
        tier=fields.get("tier"),
        mrr=fields.get("mrr"),
        currency=fields.get("currency"),
        csm=fields.get("csm"),
        renewal_date=None if day is None else date_of(day),
        days_to_renewal=profile.days_to_renewal(now),
    )


def transition(
    account: Account,
    signal: Signal,
    episode: Episode,
    *,
    what: TransitionType,
    user: str,
    about: str,
    now: int,
    severity: Severity,
    previous: Severity | None,
    reason: str,
    evidence: list[Evidence],
    because: str | None,
    historical: bool,
    catalogue: str,
) -> tuple[str, Transition]:
    """The topic and the transition for one change of one episode."""
    at: dt.datetime = from_us(now)
    scope = "account" if signal.scope == "user" and not user else signal.scope
    data = TransitionData(
        episode_id=episode.episode_id,
        signal=signal.id,
        version=signal.version,
        kind=signal.kind,
        severity=severity,
        previous_severity=UNSET if previous is None else previous,
        scope=scope,
        user=user or UNSET,
        about=about or UNSET,
        reason=reason,
        evidence=evidence,
        pages=signal.pages,
        historical=historical,
        action=signal.action,
        account=brief(account, now),
        opened_at=from_us(episode.opened_at),
        cleared_at=UNSET if because is None else at,
        cleared_because=UNSET if because is None else because,
        catalogue=catalogue,
    )
    change = Transition(
        id=transition_id(episode.episode_id, episode.changes), type=what, subject=account.id, time=at, data=data
    )
    return topic_of(signal.kind), change


def encode(change: Transition) -> bytes:
    """The transition's bytes, as on the topic and in a backtest's output."""
    return _encode(change)
