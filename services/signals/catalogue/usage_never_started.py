"""usage.never_started: the contract runs and nobody uses the product in production."""

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
from services.signals.core.state import Account


def _signed_contract(account: Account) -> bool:
    return "contract_start" in account.hot.profile.fields


def _late_from(c: Context) -> int:
    """The instant from which the start is overdue, 0 where no contract start is known.

    Of the time before the account's first event nothing is known: it may have been used then.
    """
    hot = c.account.hot
    if not _signed_contract(c.account):
        return 0
    return max(hot.profile.tenure_start(hot.first_event), hot.first_event) + int(c.p["days"]) * DAY_US


def _raises(c: Context) -> Finding | None:
    late = _late_from(c)
    return Finding("warning") if late and c.now >= late and c.account.hot.last_usage < 0 else None


def _clears(c: Context) -> str | None:
    if c.account.hot.last_usage >= 0:
        return "recovered"
    late = _late_from(c)
    return None if late and c.now >= late else "not_applicable"


def _due(c: Context) -> int:
    return _late_from(c) if c.account.hot.last_usage < 0 and c.episode is None else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    hot = c.account.hot
    start = hot.profile.tenure_start(hot.first_event)
    days = max(0, (c.now - start) // DAY_US)
    proof = evidence(
        "days_since_contract_start", days, "days", threshold=c.p["days"], window=(min(start, c.now), c.now)
    )
    since = f"The contract began on {on(day_of(start))}, {times(days, 'day')} ago"
    if hot.last_usage >= 0:
        return f"{since}, and the product is in use.", [proof]
    tried = "it was only tried outside production" if hot.noted.trial_at >= 0 else "nobody has used the product"
    return f"{since}, and {tried}; the limit for this tier is {c.p['days']} days.", [proof]


SIGNAL = Signal(
    id="usage.never_started",
    version=1,
    title="Signed, and never started",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "There was never a usage event in production, and the account clock is N × 24 h or more past both the midnight of "
        "the contract's start and the account's first event (high touch 14 days, others 30). Without a contract start "
        "nothing is said; use outside production does not count and is named. Clears with the first usage event in "
        "production."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.PROFILE,
    reads_open=Fact.LAST_USAGE,
    inputs=("account.updated", "usage.feature_used", "usage.page_viewed", "usage.logged_in", "usage.value_reached"),
    action=Action(
        title="Find out what blocks the start, and agree on a date for the first use in production",
        owner="csm",
        playbook="never-started",
        runbook="usage.never_started",
    ),
    thresholds={"default": {"days": 30}, "high": {"days": 14}},
    where=_signed_contract,
    needs=("profile.contract_start",),
    held_by=("usage",),
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _signed(at: str = "2026-01-01T09:00:00Z", **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "account.updated", {"contract_start": "2026-01-05", **more})


def _used(at: str, **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "usage.feature_used", {"feature": "report", **more})


CASES = [
    Case(
        name="30 days after the start, cleared by the first use",
        events=[_signed(), _used("2026-02-10T10:00:00Z")],
        until="2026-02-10",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-10T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="used in the last moment before",
        events=[_signed(), _used("2026-02-03T23:59:59Z")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="used at the very instant: the deadline is judged first",
        events=[_signed(), _used("2026-02-04T00:00:00Z")],
        until="2026-02-04",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-04T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a trial is no start in production",
        events=[_signed(), _used("2026-01-10T10:00:00Z", environment="trial")],
        until="2026-02-04",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="high touch: 14 days",
        events=[_signed(tier="high")],
        until="2026-01-31",
        expect=[("2026-01-19T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a customer of long ago who is known since today may have used it before",
        events=[_signed(contract_start="2025-03-01")],
        until="2026-01-31",
        expect=[("2026-01-31T09:00:00Z", "raised", "warning")],
    ),
    Case(
        name="no contract start is known",
        events=[("2026-01-01T09:00:00Z", "account.updated", {"tier": "high", "seats": 10})],
        until="2026-06-30",
        expect=[],
    ),
    Case(
        name="a use that comes late clears it",
        events=[_signed(), ("2026-02-05T10:00:00Z", "account.updated", {"plan": "pro"}), _used("2026-01-20T10:00:00Z")],
        until="2026-02-05",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-05T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="the start was put off",
        events=[_signed(), ("2026-02-05T10:00:00Z", "account.updated", {"contract_start": "2026-02-01"})],
        until="2026-03-01",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-05T10:00:00Z", "cleared", "warning")],
    ),
]
