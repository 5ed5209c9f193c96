"""adoption.single_threaded: the account hangs on one person, or on one team."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    times,
)
from services.signals.core.breadth import teams_known
from services.signals.core.days import DAY_US

DAYS = 28


def _users(c: Context) -> int:
    """Users active in the 28 complete days before today."""
    first = c.today - DAYS
    return sum([users for day, users in c.account.hot.activity.last_active.items() if day >= first])


def _last_days(c: Context) -> list[int]:
    """The last day of use of each team."""
    noted = c.account.hot.noted
    teams = teams_known(noted, c.dossier.breadth) if noted.more_teams else noted.teams
    return [last for _, last in teams.values()]


def _teams(c: Context, ahead: int) -> int:
    """Teams active in the 28 complete days before the midnight `ahead` days from today if none comes any more."""
    first = c.today + ahead - DAYS
    return sum([1 for last in _last_days(c) if last >= first])


def _may_be(c: Context) -> tuple[bool, bool]:
    """Whether one user, and whether one team, would be too few for an account of this size."""
    seats = c.account.hot.profile.seats
    return seats != 1, seats >= c.p["team_seats_min"]


def _tenured(c: Context) -> int:
    """The instant from which it counts: a customer of long ago is watched for the 28 days first."""
    hot = c.account.hot
    tenured = hot.profile.tenure_start(hot.first_event) + int(c.p["tenure_days"]) * DAY_US
    return max(tenured, hot.first_event + DAYS * DAY_US)


def _raises(c: Context) -> Finding | None:
    if not c.midnight or c.now < _tenured(c):
        return None
    users, teams = _may_be(c)
    if users and _users(c) == 1:
        return Finding("info", frozen={"by": "user"})
    return Finding("info", frozen={"by": "team"}) if teams and _teams(c, 0) == 1 else None


def _clears(c: Context) -> str | None:
    users, teams = _may_be(c)
    if c.open.frozen["by"] == "user":
        return "recovered" if c.account.hot.activity.in_28 > 1 else None if users else "not_applicable"
    return "recovered" if _teams(c, 1) > 1 else None if teams else "not_applicable"


def _one_left(c: Context, last: Mapping[int, int], first: int) -> int:
    """From the day `first` on, the first one whose midnight leaves one at most if nobody comes any more; 0 if none was there
    in the last 28 days. `last` is for how many each day was their last.
    """
    left = 0
    for day in sorted([day for day in last if day >= c.today - DAYS], reverse=True):
        left += last[day]
        if left > 1:
            return max(first, day + DAYS + 1)
    return first if left else 0


def _due(c: Context) -> int:
    """The first midnight at which one user or one team would be left if nobody came any more."""
    if c.episode is not None:
        return 0
    first = max(c.today + 1, -(-_tenured(c) // DAY_US))
    if first > c.today + 1:
        return first * DAY_US
    by_user, by_team = _may_be(c)
    found: list[int] = []
    if by_user:
        found.append(_one_left(c, c.account.hot.activity.last_active, first))
    if by_team:
        found.append(_one_left(c, Counter(_last_days(c)), first))
    nobody = 0 in found
    found = [day for day in found if day]
    if found and nobody:
        found.append(first)  # whoever comes next may be the only one
    return min(found, default=0) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    users, teams = c.account.hot.activity.in_28, _teams(c, 1)
    window = (c.today - DAYS + 1, c.today)
    if c.open.frozen["by"] == "team":
        proof = evidence("active_teams", teams, "teams", threshold=2, days=window)
        return f"{times(teams, 'team')} used the product in 28 days; a second one would carry the account.", [proof]
    who = "1 person" if users == 1 else f"{users} people"
    seats = c.account.hot.profile.seats
    proof = evidence("active_users", users, "users", threshold=2, baseline=seats or None, days=window)
    return f"{who} used the product in 28 days; an account that hangs on one leaves with them.", [proof]


SIGNAL = Signal(
    id="adoption.single_threaded",
    version=1,
    title="The account hangs on one person or one team",
    kind="risk",
    family="adoption",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "At a midnight, with a tenure of 60 days and 28 days after the first event: exactly one user was active in the 28 "
        "complete days before, unless the account bought exactly one seat; or, with at least 20 seats, exactly one team was "
        "named by the uses in production. Clears as soon as two users, or two teams, were active in the 28 days with today."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 1; Seven reasons customers leave after a pilot (Shin), reason 2",
    reads=Fact.PROFILE | Fact.TEAM,
    reads_open=Fact.ACTIVE | Fact.BREADTH,
    arms=Fact.ACTIVE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in", "account.updated"),
    action=Action(
        title="Win a second person, or a second team, with a use case of their own",
        owner="csm",
        playbook="multi-thread",
        runbook="adoption.single_threaded",
    ),
    thresholds={"default": {"tenure_days": 60, "team_seats_min": 20}},
    warming_days=60,
    held_by=("usage",),
    hole_days=DAYS,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _profile(**more: object) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T09:00:00Z", "account.updated", {"contract_start": "2026-01-01", **more})


def _login(at: str, user: str) -> tuple[str, str, dict[str, object]]:
    return (f"{at}:00Z", "usage.logged_in", {"user": user})


def _used(day: str, team: str, user: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "team": team, "user": user})


# 60 days after the contract's start is the midnight of 2026-03-02: the 28 days before it begin on 2026-02-02.
CASES = [
    Case(
        name="one user at 60 days; cleared when a second comes",
        events=[_profile(), _login("2026-02-20T10:00", "ana"), _login("2026-03-10T10:00", "bob")],
        until="2026-03-10",
        expect=[("2026-03-02T00:00:00Z", "raised", "info"), ("2026-03-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a second user on the first of the 28 days",
        events=[_profile(), _login("2026-02-02T00:00", "bob"), _login("2026-02-20T10:00", "ana")],
        until="2026-03-01",
        expect=[],
    ),
    Case(
        name="the second user on the day before them",
        events=[_profile(), _login("2026-02-01T23:59", "bob"), _login("2026-02-20T10:00", "ana")],
        until="2026-03-01",
        expect=[("2026-03-02T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="a customer of long ago is watched for 28 days first",
        events=[_profile(contract_start="2025-01-01"), _login("2026-01-20T10:00", "ana")],
        until="2026-01-31",
        expect=[("2026-01-30T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="59 days are too early to tell",
        events=[_profile(), _login("2026-02-20T10:00", "ana")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="one seat was bought: one user is all there is",
        events=[_profile(seats=1), _login("2026-02-20T10:00", "ana")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="nobody at all is another matter",
        events=[_profile(seats=20), _login("2026-01-10T10:00", "ana")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="after a silence one user comes back: said at the end of that day",
        events=[_profile(), _login("2026-01-10T10:00", "ana"), _login("2026-04-10T10:00", "ana")],
        until="2026-04-10",
        expect=[("2026-04-11T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="20 seats and one team of two; cleared by another team",
        events=[
            _profile(seats=20),
            _used("2026-02-20", "ops", "ana"),
            _used("2026-02-21", "ops", "bob"),
            _used("2026-03-10", "finance", "eva"),
        ],
        until="2026-03-10",
        expect=[("2026-03-02T00:00:00Z", "raised", "info"), ("2026-03-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="19 seats are one team's",
        events=[_profile(seats=19), _used("2026-02-20", "ops", "ana"), _used("2026-02-21", "ops", "bob")],
        until="2026-03-15",
        expect=[],
    ),
    Case(
        name="the first team that is named, long after the users",
        events=[
            _profile(seats=20),
            *(_login(f"2026-0{month}-20T10:00", user) for month in (2, 3, 4) for user in ("ana", "bob")),
            _used("2026-04-22", "ops", "ana"),
        ],
        until="2026-04-22",
        expect=[("2026-04-23T00:00:00Z", "raised", "info")],
    ),
]
