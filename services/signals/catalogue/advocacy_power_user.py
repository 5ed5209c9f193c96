"""advocacy.power_user: a user with 50 logins and 500 page views, once."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, day_of


def _raises(c: Context) -> Finding | None:
    user = c.person
    return Finding("info") if user.logins >= c.p["logins"] and user.views >= c.p["page_views"] else None


def _next_day(c: Context) -> int:
    return (day_of(c.open.opened_at) + 1) * DAY_US


def _clears(c: Context) -> str | None:
    return "noted" if c.now >= _next_day(c) else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else _next_day(c)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    user = c.person
    sentence = f"{c.user_id} has {user.logins} logins and {user.views} page views: someone to ask for a reference."
    proofs = [
        evidence("logins", user.logins, "logins", threshold=c.p["logins"]),
        evidence("page_views", user.views, "pages", threshold=c.p["page_views"]),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="advocacy.power_user",
    version=1,
    title="A user has become an expert",
    kind="opportunity",
    family="advocacy",
    scope="user",
    severity="info",
    pages=False,
    meaning="The event with which a user has at least 50 logins and at least 500 page views. Clears at the next midnight.",
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.USER,
    inputs=("usage.logged_in", "usage.page_viewed"),
    needs=("usage.logged_in", "usage.page_viewed"),
    action=Action(
        title="Thank the user and ask for a story, a review or a place on the user board",
        owner="csm",
        playbook="power-user",
        runbook="advocacy.power_user",
    ),
    thresholds={"default": {"logins": 50, "page_views": 500}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    once=True,
)


def _views(count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [
        (f"2026-01-05T{8 + n // 60:02d}:{n % 60:02d}:00Z", "usage.page_viewed", {"user": "ana"}) for n in range(count)
    ]


def _logins(count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"2026-01-05T20:{n:02d}:00Z", "usage.logged_in", {"user": "ana"}) for n in range(count)]


CASES = [
    Case(
        name="the fiftieth login after 500 pages, and never again",
        events=[*_views(500), *_logins(55)],
        until="2026-01-06",
        expect=[
            ("2026-01-05T20:49:00Z", "raised", "info", "ana"),
            ("2026-01-06T00:00:00Z", "cleared", "info", "ana"),
        ],
    ),
    Case(
        name="499 pages",
        events=[*_views(499), *_logins(55)],
        until="2026-01-07",
        expect=[],
    ),
    Case(
        name="49 logins",
        events=[*_views(510), *_logins(49)],
        until="2026-01-07",
        expect=[],
    ),
]
