"""adoption.user_stuck: a new user looked at fewer than three pages in the first week."""

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
    times,
)
from services.signals.core.activity import EARLY_US
from services.signals.core.days import DAY_US


def _raises(c: Context) -> Finding | None:
    user = c.person
    if user.first_login < 0 or c.now < user.first_login + EARLY_US or user.early_views >= c.p["views_min"]:
        return None
    return Finding("info")


def _clears(c: Context) -> str | None:
    user, opened = c.person, c.open.opened_at
    if user.early_views >= c.p["views_min"]:
        return "recovered"
    since = c.now - EARLY_US
    if sum(at >= opened and at > since for at in user.views_at) >= c.p["views_min"]:
        return "recovered"
    return "expired" if c.now >= opened + c.p["expires_days"] * DAY_US else None


def _due(c: Context) -> int:
    if c.episode is not None:
        return int(c.open.opened_at + c.p["expires_days"] * DAY_US)
    return c.person.first_login + EARLY_US if c.person.first_login >= 0 else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    user = c.person
    sentence = (
        f"{c.user_id} viewed {times(user.early_views, 'page')} in the 7 days after the first login; "
        f"{c.p['views_min']} show that a user found the way in."
    )
    proof = evidence(
        "page_views_first_week",
        user.early_views,
        "pages",
        threshold=c.p["views_min"],
        window=(user.first_login, user.first_login + EARLY_US),
        event_ids=[user.login_event] if user.login_event else None,
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="adoption.user_stuck",
    version=2,
    title="A new user does not get going",
    kind="risk",
    family="adoption",
    scope="user",
    severity="info",
    pages=False,
    meaning=(
        "7 × 24 h after a user's first login the user had viewed fewer than 3 pages since. Clears when the user views 3 "
        "pages, counted after the raise, within 7 × 24 h, or 60 days after the raise. Once per user."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.LOGIN,
    reads_open=Fact.USER,
    inputs=("usage.logged_in", "usage.page_viewed"),
    needs=("usage.logged_in",),
    action=Action(
        title="Send the user the getting-started path and offer a short call",
        owner="csm",
        playbook="user-stuck",
        runbook="adoption.user_stuck",
    ),
    thresholds={"default": {"views_min": 3, "expires_days": 60}},
    raises=_raises,
    clears=_clears,
    due=_due,
    held_by=("usage",),
    hole_days=7,
    describe=_describe,
    once=True,
)

_LOGIN = ("2026-01-05T10:00:00Z", "usage.logged_in", {"user": "ana"})


def _views(*times_: str) -> list[tuple[str, str, dict[str, object]]]:
    return [(at, "usage.page_viewed", {"user": "ana"}) for at in times_]


CASES = [
    Case(
        name="two pages in the week; three a day later clear it",
        events=[
            _LOGIN,
            *_views("2026-01-05T10:01:00Z", "2026-01-12T09:59:59Z"),
            *_views("2026-01-12T10:00:00Z", "2026-01-13T10:00:00Z", "2026-01-13T10:01:00Z"),
        ],
        until="2026-01-13",
        expect=[
            ("2026-01-12T10:00:00Z", "raised", "info", "ana"),
            ("2026-01-13T10:01:00Z", "cleared", "info", "ana"),
        ],
    ),
    Case(
        name="three pages in the week",
        events=[_LOGIN, *_views("2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z", "2026-01-12T09:59:59Z")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="pages before the first login do not count, and it expires after 60 days",
        events=[*_views("2026-01-04T10:00:00Z", "2026-01-04T10:01:00Z", "2026-01-04T10:02:00Z"), _LOGIN],
        until="2026-04-30",
        expect=[
            ("2026-01-12T10:00:00Z", "raised", "info", "ana"),
            ("2026-03-13T10:00:00Z", "cleared", "info", "ana"),
        ],
    ),
    Case(
        name="a late page of the first week",
        events=[
            _LOGIN,
            *_views("2026-01-05T10:01:00Z", "2026-01-05T10:02:00Z"),
            ("2026-01-14T00:00:00Z", "usage.feature_used", {"feature": "report"}),
            *_views("2026-01-06T10:00:00Z"),
        ],
        until="2026-01-14",
        expect=[
            ("2026-01-12T10:00:00Z", "raised", "info", "ana"),
            ("2026-01-14T00:00:00Z", "cleared", "info", "ana"),
        ],
    ),
    Case(
        name="a user who never logged in",
        events=_views("2026-01-05T10:00:00Z"),
        until="2026-04-30",
        expect=[],
    ),
]
