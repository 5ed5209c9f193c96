"""usage.silence: an account that was active sends nothing any more."""

from __future__ import annotations

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    on,
    times,
)
from services.signals.core.days import DAY_US, day_of


def _silent_from(c: Context) -> int:
    """The instant at which the account has been silent for too long, 0 where it was never active enough to tell."""
    hot = c.account.hot
    if hot.last_usage < 0 or len(hot.usage_days) < c.p["active_days_min"]:
        return 0
    # While its source was stale nothing could be heard of it: the count starts when the source is back.
    return max(hot.last_usage, c.fed_again("usage")) + int(c.p["days"]) * DAY_US


def _raises(c: Context) -> Finding | None:
    due = _silent_from(c)
    if not due or c.now < due:
        return None
    return Finding("warning", opened_at=due, frozen={"last_usage": c.account.hot.last_usage})


def _clears(c: Context) -> str | None:
    used_again = c.account.hot.last_usage > c.open.frozen["last_usage"]
    return "recovered" if used_again and c.now < _silent_from(c) else None


def _due(c: Context) -> int:
    return _silent_from(c) if c.episode is None else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    last = c.account.hot.last_usage
    days = (c.now - last) // DAY_US
    sentence = (
        f"Last used on {on(day_of(last))}, {times(days, 'day')} ago; the limit for this tier is {c.p['days']} days."
    )
    return sentence, [evidence("days_since_usage", days, "days", threshold=c.p["days"], window=(last, c.now))]


SIGNAL = Signal(
    id="usage.silence",
    version=2,
    title="Nobody uses the product any more",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The account clock is N × 24 h or more past the last usage event (tech touch 60 days, low 30, high 14), and "
        "there were usage events on at least 5 distinct days. Opened at that due instant; clears on the next usage event. "
        "Held while a source of its usage is stale; the days then count from when that is back."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3",
    reads=Fact.PROFILE,
    reads_open=Fact.LAST_USAGE,
    arms=Fact.LAST_USAGE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in", "usage.value_reached"),
    warming_days=5,
    action=Action(
        title="Reach a person at the account and ask whether the product is still needed",
        owner="csm",
        playbook="silence",
        runbook="usage.silence",
    ),
    thresholds={"default": {"days": 30, "active_days_min": 5}, "high": {"days": 14}, "tech": {"days": 60}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    describe=_describe,
)


def _days(month: str, first: int, count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{month}-{first + n:02d}T09:30:00Z", "usage.feature_used", {"feature": "report"}) for n in range(count)]


def _tier(tier: str) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T00:00:00Z", "account.updated", {"tier": tier})


CASES = [
    Case(
        name="low touch: to the second 30 days after the last use, cleared by the next",
        events=[*_days("2026-01", 5, 5), ("2026-02-10T12:00:00Z", "usage.logged_in", {"user": "ana"})],
        until="2026-02-10",
        expect=[("2026-02-08T09:30:00Z", "raised", "warning"), ("2026-02-10T12:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="used again at the very instant: the deadline is judged first",
        events=[*_days("2026-01", 5, 5), *_days("2026-02", 8, 1)],
        until="2026-02-08",
        expect=[("2026-02-08T09:30:00Z", "raised", "warning"), ("2026-02-08T09:30:00Z", "cleared", "warning")],
    ),
    Case(
        name="high touch: 14 days",
        events=[_tier("high"), *_days("2026-01", 5, 5)],
        until="2026-01-31",
        expect=[("2026-01-23T09:30:00Z", "raised", "warning")],
    ),
    Case(
        name="tech touch: not before 60 days",
        events=[_tier("tech"), *_days("2026-01", 5, 5)],
        until="2026-03-09",
        expect=[],
    ),
    Case(
        name="four active days are too few to miss",
        events=_days("2026-01", 5, 4),
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="an error is no usage",
        events=[*_days("2026-01", 5, 5), ("2026-02-01T00:00:00Z", "usage.error_seen", {"kind": "outage"})],
        until="2026-02-08",
        expect=[("2026-02-08T09:30:00Z", "raised", "warning")],
    ),
]
