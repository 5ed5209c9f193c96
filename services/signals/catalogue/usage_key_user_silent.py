"""usage.key_user_silent: the one who used the core features most has not used them for two weeks."""

from __future__ import annotations

from typing import Any

from services.signals.catalogue.definition import (
    Action,
    Case,
    Context,
    Evidence,
    Fact,
    Finding,
    Signal,
    evidence,
    remembered,
    times,
)
from services.signals.core.breadth import age_of_last, core_users, mask_within
from services.signals.core.days import DAY_US, day_of


def _main(users: dict[str, int], newest: int, oldest: int, least: int) -> tuple[str, int]:
    """Who used core features on the most days, with the number of days; nobody where two are equal or it is too few."""
    mask = mask_within(newest, oldest)
    most, first, tied = -1, "", False
    for user, days in users.items():
        count = (days & mask).bit_count()
        if count > most:
            most, first, tied = count, user, False
        elif count == most:
            tied = True
    return ("", 0) if tied or most < least else (first, most)


def _users(c: Context) -> dict[str, int]:
    return core_users(c.account.hot.noted, c.dossier.breadth, c.today)


def _told_from(c: Context) -> int:
    """The first day at which every core user of the days that are compared was noted."""
    return int(c.account.hot.noted.users_since + c.p["days"] + c.p["main_days"])


def _first(c: Context) -> int:
    """The first day at which there can be a main user: their days of use lie before those of silence."""
    return int(day_of(c.account.hot.first_event) + c.p["days"] + c.p["main_min"])


def _raises(c: Context) -> Finding | None:
    silent, days = c.p["days"], c.p["main_days"]
    if c.today < _first(c):
        return None
    users = _users(c)
    if c.today < _told_from(c):
        return None
    user, count = _main(users, silent + 1, silent + days, c.p["main_min"])
    return (
        Finding("warning", frozen={"user": user, "days": count}) if user and age_of_last(users[user]) > silent else None
    )


def _clears(c: Context) -> str | None:
    if c.account.hot.noted.users_since > c.today:
        return "not_applicable"
    if age_of_last(_users(c).get(c.open.frozen["user"], 0)) <= c.p["days"]:
        return "recovered"
    return "new_normal" if c.now >= _new_normal(c) else None


def _new_normal(c: Context) -> int:
    return int(c.open.opened_at + c.p["new_normal_days"] * DAY_US)


def _due(c: Context) -> int:
    """Closed: the first midnight at which it would hold if nobody used a core feature any more.

    Uses from today on can only put that off, until they are compared themselves, when they are 15 days old.
    """
    if c.episode is not None:
        return _new_normal(c)
    if c.today < _first(c):
        return _first(c) * DAY_US
    silent, days, least = c.p["days"], c.p["main_days"], c.p["main_min"]
    users = _users(c)
    lately = mask_within(0, silent + days)
    if not any(used & lately for used in users.values()):
        return 0
    oldest = max([age_of_last(used) for used in users.values() if used.bit_count() >= least], default=0)
    for ahead in range(max(1, silent + 1 - oldest, _told_from(c) - c.today), silent + 1):
        user, _ = _main(users, silent + 1 - ahead, silent + days - ahead, least)
        if user and age_of_last(users[user]) + ahead > silent:
            return int((c.today + ahead) * DAY_US)
    return int((c.today + silent + 1) * DAY_US)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    user, count = c.open.frozen["user"], c.open.frozen["days"]
    age = age_of_last(_users(c).get(user, 0))
    ago = f"more than {age - 1} days ago" if age > c.p["days"] + c.p["main_days"] else f"{times(age, 'day')} ago"
    sentence = (
        f"{user} used core features on {count} of {c.p['main_days']} days, more than anyone else, and last did {ago}; "
        f"the limit is {c.p['days']} days."
    )
    proofs = [
        evidence("days_since_core_use", age, "days", threshold=c.p["days"], days=(c.today - age, c.today)),
        evidence("key_user", user, "user", baseline=count),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="usage.key_user_silent",
    version=1,
    title="The main user of the core features went quiet",
    kind="risk",
    family="usage",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "The main user is who used core features in production on the most days of the 28 that end 14 days before today: "
        "on at least 8 of them, and on more than anyone else. Raised at the midnight after 14 complete days without a core "
        "use of theirs. Clears when they use a core feature again, or after 90 days as the new normal. An account with "
        "more than 50 core users within about nine weeks has no main user, until ten weeks after it last had so many."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.LATE_USAGE,
    reads_open=Fact.BREADTH,
    arms=Fact.BREADTH,
    inputs=("usage.feature_used",),
    action=Action(
        title="Ask whether they left, changed jobs or gave up, and who takes over",
        owner="csm",
        playbook="key-user",
        runbook="usage.key_user_silent",
    ),
    thresholds={"default": {"days": 14, "main_days": 28, "main_min": 8, "new_normal_days": 90}},
    needs=("usage.feature_used",),
    warming_days=42,
    held_by=("usage",),
    hole_days="days",
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=remembered((62, "days", "main_days")),
)


def _uses(user: str, first: int, count: int, month: str = "2026-01") -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"{month}-{first + n:02d}T10:00:00Z", "usage.feature_used", {"feature": "report", "core": True, "user": user})
        for n in range(count)
    ]


def _in_order(*uses: list[tuple[str, str, dict[str, object]]]) -> list[tuple[Any, ...]]:
    return sorted((use for some in uses for use in some), key=lambda use: use[0])


# ana's last use on 2026-01-15: fourteen complete days without one are over at the midnight of 2026-01-30.
CASES = [
    Case(
        name="eight days of use, then fourteen without; cleared by the next use",
        events=[*_uses("ana", 8, 8), *_uses("ana", 2, 1, "2026-02")],
        until="2026-02-02",
        expect=[("2026-01-30T00:00:00Z", "raised", "warning"), ("2026-02-02T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="seven days are no main user",
        events=_uses("ana", 9, 7),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="back on the fourteenth day",
        events=[*_uses("ana", 8, 8), *_uses("ana", 29, 1)],
        until="2026-02-10",
        expect=[],
    ),
    Case(
        name="two who are equal: neither is the one",
        events=_in_order(_uses("ana", 8, 8), _uses("bob", 8, 8), _uses("bob", 20, 12)),
        until="2026-02-03",
        expect=[],
    ),
    Case(
        name="somebody else goes on",
        events=_in_order(_uses("ana", 8, 8), _uses("bob", 9, 7), _uses("bob", 16, 15)),
        until="2026-01-30",
        expect=[("2026-01-30T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="after 90 days it is the new normal",
        events=_uses("ana", 8, 8),
        until="2026-04-30",
        expect=[("2026-01-30T00:00:00Z", "raised", "warning"), ("2026-04-30T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a late use clears it",
        events=[
            *_uses("ana", 8, 8),
            ("2026-01-31T09:00:00Z", "usage.logged_in", {"user": "bob"}),
            *_uses("ana", 28, 1),
        ],
        until="2026-01-31",
        expect=[("2026-01-30T00:00:00Z", "raised", "warning"), ("2026-01-31T09:00:00Z", "cleared", "warning")],
    ),
]
