"""adoption.shelfware: fewer than half of the licences bought are used."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.activity import LOW_ADOPTION, WINDOW
from services.signals.core.days import DAY_US


def _raises(c: Context) -> Finding | None:
    hot, p = c.account.hot, c.p
    profile = hot.profile
    if not c.midnight or hot.low_adoption_since < 0 or c.today - hot.low_adoption_since < p["low_days"]:
        return None
    if profile.seats < p["seats_min"] or not profile.per_seat:
        return None
    if c.now < profile.tenure_start(hot.first_event) + p["tenure_days"] * DAY_US:
        return None
    return Finding("warning")


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if not profile.seats:
        return "no_seats"
    if not profile.per_seat:
        return "not_applicable"
    return "recovered" if c.account.hot.activity.in_28 / profile.seats >= c.p["clear_at"] else None


def _due(c: Context) -> int:
    """The midnight that would complete the low days if nobody became active before it."""
    hot = c.account.hot
    seats = hot.profile.seats
    if c.episode is not None or seats < c.p["seats_min"] or not hot.profile.per_seat:
        return 0
    since = hot.low_adoption_since
    if since < 0:
        activity = hot.activity
        ahead = next((n for n in range(WINDOW) if activity.in_28_ahead(n) / seats < LOW_ADOPTION), WINDOW)
        since = c.today + ahead
    tenured = hot.profile.tenure_start(hot.first_event) + c.p["tenure_days"] * DAY_US
    return int(max(since + c.p["low_days"], -(-tenured // DAY_US), c.today + 1) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    hot = c.account.hot
    seats, active = hot.profile.seats, hot.activity.in_28
    share = f" ({round(100 * active / seats)} %)" if seats else ""
    sentence = f"{active} of {seats} licences were active in 28 days{share}; half is the limit for 14 days in a row."
    proof = evidence(
        "active_users",
        active,
        "users",
        baseline=seats,
        threshold=0.5 * seats,
        days=(c.today - 27, c.today),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="adoption.shelfware",
    version=2,
    title="Licences are bought and not used",
    kind="risk",
    family="adoption",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "Raised at the midnight after 14 complete days in a row at whose end active users over 28 days, divided by the "
        "seats of that day, were below 0.5; with, now, at least 5 seats, a tenure of 60 days and per-seat pricing. "
        "Clears at 0.6 with today included."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.PROFILE,
    reads_open=Fact.ACTIVE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in", "account.updated"),
    needs=("profile.seats",),
    warming_days=74,
    action=Action(
        title="Plan the roll-out to the people who have a licence and never started",
        owner="csm",
        playbook="shelfware",
        runbook="adoption.shelfware",
    ),
    thresholds={"default": {"low_days": 14, "seats_min": 5, "tenure_days": 60, "clear_at": 0.6}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=42,
    describe=_describe,
)


def _profile(**more: object) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T09:00:00Z", "account.updated", {"seats": 10, "contract_start": "2026-01-01", **more})


def _login(day: str, user: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.logged_in", {"user": user})


CASES = [
    Case(
        name="nobody ever came: raised when the tenure is 60 days",
        events=[_profile()],
        until="2026-03-02",
        expect=[("2026-03-02T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="half of the seats is enough",
        events=[_profile(), *(_login(f"2026-{m}-10", f"u{n}") for m in ("01", "02", "03") for n in range(5))],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="six of ten users clear it",
        events=[_profile(), *(_login("2026-03-05", f"u{n}") for n in range(6))],
        until="2026-03-05",
        expect=[("2026-03-02T00:00:00Z", "raised", "warning"), ("2026-03-05T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="thirteen low days are not fourteen",
        events=[_profile(), *(_login(d, f"u{n}") for d in ("2026-01-28", "2026-02-12") for n in range(5))],
        until="2026-03-24",
        expect=[],
    ),
    Case(
        name="four seats are too few to judge",
        events=[_profile(seats=4)],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="a price that does not follow seats welcomes every user",
        events=[_profile(pricing="value")],
        until="2026-04-30",
        expect=[],
    ),
]
