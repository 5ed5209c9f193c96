"""The fourteen signals, each as one function that says what must happen to it now.

A function gets the facts, what made the oracle look, and the open episode or None. It answers `Raise`, `Escalate`,
`Clear` or None. Rules that hold for every signal (churn, one raise a day, late events) are the oracle's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.facts import Facts
from tests.oracle.records import DAY, Record

SEVERITIES = ("info", "warning", "critical")
ONCE_PER_USER = ("adoption.user_stuck", "advocacy.power_user")


@dataclass
class Episode:
    """One open episode. `memory` is what was frozen or gathered for it; `raised_seq` the last record before it."""

    ordinal: int
    opened_at: int
    severity: str
    raised_seq: int
    scope: str
    memory: Any = None


@dataclass(frozen=True)
class Look:
    """What made the oracle look: a midnight or another instant passing, or `event` (late if behind the clock)."""

    midnight: bool = False
    event: Record | None = None
    late: bool = False


@dataclass(frozen=True)
class Raise:
    """Raise. `opened_at` where it is not the time of the raise."""

    severity: str
    memory: Any = None
    opened_at: int | None = None


@dataclass(frozen=True)
class Escalate:
    """Escalate to this severity (or the same one, where a step rises)."""

    severity: str
    memory: Any = None


@dataclass(frozen=True)
class Clear:
    """Clear for this reason."""

    because: str


@dataclass
class Context:
    """What a signal is judged on: the facts, the look, whom it is about, and the account's other episodes."""

    facts: Facts
    look: Look
    subject: str = ""
    open_risks: list[Episode] = field(default_factory=list)
    low_days: int = 0


Answer = Raise | Escalate | Clear | None
Rule = Callable[[Context, Episode | None], Answer]


def usage_decline(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    cur = f.usage_between(f.today - 28, f.today - 1)
    prev = f.usage_between(f.today - 56, f.today - 29)
    judged = c.look.midnight or c.look.late
    if episode is None:
        if judged and prev >= 20 and 4 * cur <= 3 * prev:
            return Raise("critical" if 2 * cur <= prev else "warning", memory=prev)
        return None
    if judged and 100 * cur >= 85 * episode.memory:
        return Clear("recovered")
    if f.now >= episode.opened_at + 90 * DAY:
        return Clear("new_normal")
    if judged and 2 * cur <= episode.memory and episode.severity != "critical":
        return Escalate("critical", memory=episode.memory)
    return None


def usage_core_erosion(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    cur = f.core_usage_in_weeks(f.week - 4, f.week - 1)
    base = f.core_usage_in_weeks(f.week - 30, f.week - 27)
    judged = c.look.midnight or c.look.late
    if episode is None:
        return Raise("warning", memory=base) if judged and base >= 20 and 10 * cur <= 8 * base else None
    if judged and 10 * cur >= 9 * episode.memory:
        return Clear("recovered")
    return Clear("new_normal") if f.now >= episode.opened_at + 90 * DAY else None


def usage_silence(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    if f.last_usage is None:
        return None
    due = f.last_usage + {"tech": 60, "low": 30, "high": 14}[f.tier] * DAY
    silent = f.distinct_usage_days >= 5 and f.now >= due
    if episode is None:
        return Raise("warning", memory=f.last_usage, opened_at=due) if silent else None
    used = c.look.event in f.usage_events and f.last_usage > episode.memory
    return Clear("recovered") if used and not silent else None


def adoption_shelfware(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    if episode is None:
        grown = f.seats >= 5 and f.per_seat and f.now >= f.tenure_start + 60 * DAY
        return Raise("warning") if c.look.midnight and c.low_days >= 14 and grown else None
    if f.seats < 1:
        return Clear("no_seats")
    if not f.per_seat:
        return Clear("not_applicable")
    return Clear("recovered") if 10 * f.active_users_28d >= 6 * f.seats else None


def expansion_seats(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    if episode is None:
        full = f.per_seat and f.seats >= 1 and 10 * f.active_users_28d >= 8 * f.seats
        return Raise("info") if full and not f.value_wanted_and_missing else None
    if f.seats < 1:
        return Clear("no_seats")
    if not f.per_seat:
        return Clear("not_applicable")
    return Clear("below_threshold") if 10 * f.active_users_28d < 7 * f.seats else None


def adoption_user_stuck(c: Context, episode: Episode | None) -> Answer:
    f, user = c.facts, c.subject
    if user not in f.logins:
        return None
    first = min(f.logins[user])
    early = sum(first <= t < first + 7 * DAY for t in f.views.get(user, []))
    if episode is None:
        return Raise("info") if f.now >= first + 7 * DAY and early < 3 else None
    since = [t for t in f.views_after(user, episode.raised_seq) if t >= episode.opened_at]
    if early >= 3 or sum(f.now - 7 * DAY < t <= f.now for t in since) >= 3:
        return Clear("recovered")
    return Clear("expired") if f.now >= episode.opened_at + 60 * DAY else None


def advocacy_power_user(c: Context, episode: Episode | None) -> Answer:
    f, user = c.facts, c.subject
    if episode is None:
        powerful = len(f.logins.get(user, [])) >= 50 and len(f.views.get(user, [])) >= 500
        return Raise("info") if powerful else None
    return Clear("noted") if f.now >= (episode.opened_at // DAY + 1) * DAY else None


BURSTS = {"low": ((7, 5), (30, 20)), "tech": ((30, 20),), "high": ((7, 3), (30, 10))}


def support_burst(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    opened = [(f.opened_within(days), least) for days, least in BURSTS[f.tier]]
    bursting = {ticket for tickets, least in opened if len(tickets) >= least for ticket in tickets}
    if episode is None:
        return Raise("warning", memory=bursting) if bursting else None
    episode.memory |= bursting
    return Clear("recovered") if not bursting and not any(f.tickets[t].open for t in episode.memory) else None


def support_aged_critical(c: Context, episode: Episode | None) -> Answer:
    if episode is None:
        return Raise("critical") if c.facts.aged_critical else None
    return None if c.facts.aged_critical else Clear("recovered")


STEPS = ((60, "critical"), (30, "critical"), (15, "warning"), (1, "info"))


def billing_overdue(c: Context, episode: Episode | None) -> Answer:
    overdue = c.facts.overdue_days
    if not overdue:
        return Clear("recovered") if episode else None
    step, severity = next((step, severity) for step, severity in STEPS if overdue[0] >= step)
    if episode is None:
        return Raise(severity, memory=step)
    return Escalate(severity, memory=step) if step > episode.memory else None


def survey_detractor(c: Context, episode: Episode | None) -> Answer:
    since = c.facts.detractors.get(c.subject)
    if episode is None:
        return Raise("warning") if since is not None else None
    if since is not None:
        return None
    return Clear("recovered" if c.look.event else "expired")


def relationship_sponsor_lost(c: Context, episode: Episode | None) -> Answer:
    if episode is None:
        return Raise("critical") if c.facts.lost_roles else None
    return None if c.facts.lost_roles else Clear("recovered")


def critical_support_and_billing(c: Context, episode: Episode | None) -> Answer:
    f = c.facts
    if episode is None:
        return Raise("critical") if f.aged_critical and f.overdue_days and f.overdue_days[0] >= 30 else None
    return None if f.aged_critical and f.overdue_days else Clear("recovered")


def renewal_unsecured(c: Context, episode: Episode | None) -> Answer:
    days = c.facts.days_to_renewal
    at_risk = any(SEVERITIES.index(risk.severity) >= 1 for risk in c.open_risks)
    if episode is None:
        if days is not None and 0 <= days <= 90 and at_risk:
            return Raise("critical" if days <= 30 else "warning")
        return None
    if c.look.event is not None and c.look.event.type == "account.renewed":
        return Clear("renewed")
    if not at_risk:
        return Clear("recovered")
    if days is not None and days <= 30 and episode.severity != "critical":
        return Escalate("critical")
    return None


@dataclass(frozen=True)
class Signal:
    """A signal's name, kind, rule, and whom it can be about: `subjects` lists them ("" is the account itself)."""

    name: str
    kind: str
    rule: Rule
    subjects: Callable[[Facts], set[str]] = lambda facts: {""}


PARTS = (
    Signal("adoption.shelfware", "risk", adoption_shelfware),
    Signal("adoption.user_stuck", "risk", adoption_user_stuck, lambda f: set(f.logins)),
    Signal("advocacy.power_user", "opportunity", advocacy_power_user, lambda f: set(f.logins)),
    Signal("billing.overdue", "risk", billing_overdue),
    Signal("expansion.seats", "opportunity", expansion_seats),
    Signal("relationship.sponsor_lost", "risk", relationship_sponsor_lost),
    Signal("support.aged_critical", "risk", support_aged_critical),
    Signal("support.burst", "risk", support_burst),
    Signal("survey.detractor", "risk", survey_detractor, lambda f: set(f.detractors)),
    Signal("usage.core_erosion", "risk", usage_core_erosion),
    Signal("usage.decline", "risk", usage_decline),
    Signal("usage.silence", "risk", usage_silence),
)
COMPOSITES = (
    Signal("critical.support_and_billing", "risk", critical_support_and_billing),
    Signal("renewal.unsecured", "risk", renewal_unsecured),
)
SIGNALS = PARTS + COMPOSITES


AFTER = {"usage": (7, 14, 30, 60), "ticket": (7, 10, 30), "survey": (90,)}
"""Days after an event at which something may be due, by the first word of its type."""


def deadlines(records: list[Record]) -> set[int]:
    """Every instant off midnight at which the passing of time alone may change a condition; open episodes have more.

    More than needed does no harm: a condition judged at an instant that is nobody's deadline does not change there.
    """
    return {r.t + days * DAY for r in records for days in AFTER.get(r.type.partition(".")[0], ())}
