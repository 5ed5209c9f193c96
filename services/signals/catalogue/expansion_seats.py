"""expansion.seats: four of five licences are in use, and value was reached."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US


def _share(c: Context) -> float:
    return c.account.hot.activity.in_28 / c.account.hot.profile.seats


def _raises(c: Context) -> Finding | None:
    hot = c.account.hot
    if not hot.profile.seats or not hot.profile.per_seat or _share(c) < c.p["raise_at"]:
        return None
    return Finding("info") if hot.value_reached or not hot.goals_tracked else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if not profile.seats:
        return "no_seats"
    if not profile.per_seat:
        return "not_applicable"
    return "below_threshold" if _share(c) < c.p["clear_at"] else None


def _due(c: Context) -> int:
    """Open: the next midnight at which somebody leaves the 28 days."""
    if c.episode is None:
        return 0
    return int((c.today + (c.account.hot.activity.next_change() or 1)) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    seats, active = c.account.hot.profile.seats, c.account.hot.activity.in_28
    share = f" ({round(100 * active / seats)} %)" if seats else ""
    sentence = f"{active} of {seats} licences were active in 28 days{share}; 80 % is where more seats are worth a talk."
    proof = evidence(
        "active_users",
        active,
        "users",
        baseline=seats,
        threshold=c.p["raise_at"] * seats,
        days=(c.today - 27, c.today),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="expansion.seats",
    version=1,
    title="Nearly all licences are in use",
    kind="opportunity",
    family="expansion",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Per-seat pricing, and active users over the 28 days including today divided by seats are at least 0.8; where "
        "goals are tracked, only after value was reached once. Clears below 0.7."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17, law 7",
    reads=Fact.ACTIVE | Fact.PROFILE | Fact.VALUE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in", "usage.value_reached", "account.updated"),
    needs=("profile.seats",),
    action=Action(
        title="Offer the next block of seats before the team runs out",
        owner="sales",
        playbook="seat-expansion",
        runbook="expansion.seats",
    ),
    thresholds={"default": {"raise_at": 0.8, "clear_at": 0.7}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _profile(**more: object) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T09:00:00Z", "account.updated", {"seats": 5, **more})


def _logins(count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"2026-01-05T10:{n:02d}:00Z", "usage.logged_in", {"user": f"u{n}"}) for n in range(count)]


CASES = [
    Case(
        name="the fourth of five users; cleared when the 28 days have passed",
        events=[_profile(), *_logins(4)],
        until="2026-02-01",
        expect=[("2026-01-05T10:03:00Z", "raised", "info"), ("2026-02-02T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="three of five",
        events=[_profile(), *_logins(3)],
        until="2026-02-01",
        expect=[],
    ),
    Case(
        name="goals are tracked: not before value is reached",
        events=[
            ("2026-01-01T08:00:00Z", "account.goal_set", {"goal": "close faster"}),
            _profile(),
            *_logins(4),
            ("2026-01-07T10:00:00Z", "usage.value_reached", {"goal": "close faster"}),
        ],
        until="2026-01-07",
        expect=[("2026-01-07T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="usage pricing has no seats to sell",
        events=[_profile(pricing="usage"), *_logins(5)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="no seats known any more",
        events=[_profile(), *_logins(4), ("2026-01-06T00:00:00Z", "account.updated", {"seats": None})],
        until="2026-01-06",
        expect=[("2026-01-05T10:03:00Z", "raised", "info"), ("2026-01-06T00:00:00Z", "cleared", "info")],
    ),
]
