"""expansion.overage: more people use the product than seats were bought."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.state import Account


def _sold_by_seat(account: Account) -> bool:
    return account.hot.profile.seats > 0 and account.hot.profile.per_seat


def _raises(c: Context) -> Finding | None:
    over = _sold_by_seat(c.account) and c.account.hot.activity.in_28 > c.account.hot.profile.seats
    return Finding("info") if over else None


def _clears(c: Context) -> str | None:
    profile = c.account.hot.profile
    if not profile.seats:
        return "no_seats"
    if not profile.per_seat:
        return "not_applicable"
    return "below_threshold" if c.account.hot.activity.in_28 <= c.p["clear_at"] * profile.seats else None


def _due(c: Context) -> int:
    """Open: the next midnight at which somebody leaves the 28 days."""
    if c.episode is None:
        return 0
    return int((c.today + (c.account.hot.activity.next_change() or 1)) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    seats, active = c.account.hot.profile.seats, c.account.hot.activity.in_28
    sentence = (
        f"{active} users were active in 28 days on {seats} licences, {max(0, active - seats)} more than were bought."
    )
    proof = evidence("active_users", active, "users", baseline=seats, threshold=seats, days=(c.today - 27, c.today))
    return sentence, [proof]


SIGNAL = Signal(
    id="expansion.overage",
    version=1,
    title="More users than licences",
    kind="opportunity",
    family="expansion",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Per-seat pricing, and more users were active in the 28 days including today than seats were bought. Clears at 90 % "
        "of the seats or fewer. Limits of a plan other than seats are not among the inputs."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 7",
    reads=Fact.ACTIVE | Fact.PROFILE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in", "account.updated"),
    action=Action(
        title="Offer the missing seats before anybody is locked out",
        owner="sales",
        playbook="overage",
        runbook="expansion.overage",
    ),
    thresholds={"default": {"clear_at": 0.9}},
    where=_sold_by_seat,
    needs=("profile.seats",),
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _profile(seats: int | None, at: str = "2026-01-01", **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{at}T09:00:00Z", "account.updated", {"seats": seats, **more})


def _logins(day: str, first: int, count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{day}T10:{n:02d}:00Z", "usage.logged_in", {"user": f"u{n}"}) for n in range(first, first + count)]


CASES = [
    Case(
        name="the eleventh user of ten seats; cleared when nine are left",
        events=[_profile(10), *_logins("2026-01-05", 0, 2), *_logins("2026-01-10", 2, 9)],
        until="2026-02-02",
        expect=[("2026-01-10T10:10:00Z", "raised", "info"), ("2026-02-02T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="ten users of ten seats",
        events=[_profile(10), *_logins("2026-01-05", 0, 10)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="ten are left: still open",
        events=[_profile(10), *_logins("2026-01-05", 0, 1), *_logins("2026-01-10", 1, 10)],
        until="2026-02-05",
        expect=[("2026-01-10T10:10:00Z", "raised", "info")],
    ),
    Case(
        name="a price that does not follow seats welcomes every user",
        events=[_profile(10, pricing="value"), *_logins("2026-01-05", 0, 11)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="seats were bought",
        events=[_profile(10), *_logins("2026-01-05", 0, 11), _profile(13, "2026-01-06")],
        until="2026-01-06",
        expect=[("2026-01-05T10:10:00Z", "raised", "info"), ("2026-01-06T09:00:00Z", "cleared", "info")],
    ),
]
