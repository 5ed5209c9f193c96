"""expansion.growth: active users or core usage grew by a quarter, twice in a row."""

from __future__ import annotations

from collections.abc import Callable

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, day_of
from services.signals.core.windows import CORE

UNITS = {"core_usage": "core uses", "active_users": "users"}


def _core(c: Context, ago: int) -> int:
    """Core usage over the four complete weeks that ended `ago` weeks before the running one."""
    return c.account.windows.complete_weeks(CORE, 1 + ago, 4 + ago)


def _users(c: Context, ago: int) -> int:
    """Active users over the 28 days that ended `ago` weeks before the running one."""
    return c.account.hot.activity.settled_ago(ago)


MEASURES: dict[str, Callable[[Context, int], int]] = {"core_usage": _core, "active_users": _users}


def _grew(c: Context, measure: str, share: float, newest: int, shared: float = 0.0) -> bool:
    """Whether a measure grew by a share from the four weeks before to those that ended `newest` weeks ago, and by as much
    beyond what all grew."""
    of = MEASURES[measure]
    return of(c, newest) >= round((1 + share) * (1 + shared), 9) * of(c, newest + 4)


def _rise(c: Context, newest: int) -> float:
    """What all grew by in the four weeks that ended `newest` weeks ago, where that is half of what is growth or more."""
    sunday = c.today - (c.today + 3) % 7 - 1
    shared = c.shared(sunday - 7 * newest)
    least = c.catalogue.guard["share"] * c.p["raise_at"]
    return shared if shared is not None and round(shared, 9) >= round(least, 9) else 0.0


def _growing(c: Context, before: float = 0.0, now: float = 0.0) -> list[str]:
    """The measures that grew in both times four weeks, beyond what all grew in each."""
    up = c.p["raise_at"]
    return [
        name
        for name in MEASURES
        if _enough(c, name, 8) and _grew(c, name, up, 4, before) and _grew(c, name, up, 0, now)
    ]


def _growing_alone(c: Context) -> list[str]:
    return _growing(c, _rise(c, 4), _rise(c, 0))


def _explained(c: Context) -> bool:
    return not _growing_alone(c)


def _enough(c: Context, measure: str, oldest: int) -> bool:
    return bool(MEASURES[measure](c, oldest) >= c.p[f"{measure}_min"])


def _first(c: Context) -> int:
    """The Monday from which anything can lie in the first of the three times four weeks."""
    day = day_of(c.account.hot.first_event)
    return day - (day + 3) % 7 + 63


def _raises(c: Context) -> Finding | None:
    if c.today < _first(c):
        return None
    found = _growing(c)
    return Finding("info", frozen={"measure": (_growing_alone(c) or found)[0]}) if found else None


def _clears(c: Context) -> str | None:
    if not _grew(c, c.open.frozen["measure"], c.p["clear_at"], 0):
        return "below_threshold"
    return "expired" if c.now >= c.open.opened_at + c.p["expires_days"] * DAY_US else None


def _due(c: Context) -> int:
    """Closed: the first Monday at which it would hold if the weeks to come grew enough; open: the next."""
    monday = c.today + 7 - (c.today + 3) % 7
    if c.episode is not None:
        return monday * DAY_US
    if c.today < _first(c):
        return _first(c) * DAY_US
    for ahead in range(1, 4):  # the four weeks before the last four, and those before them, lie behind already
        for name in MEASURES:
            if _enough(c, name, 8 - ahead) and _grew(c, name, c.p["raise_at"], 4 - ahead):
                return (monday + 7 * (ahead - 1)) * DAY_US
    dormant = c.account.hot.last_usage < c.now - 28 * DAY_US
    return 0 if dormant else (monday + 7 * 3) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    name = c.open.frozen["measure"]
    of = MEASURES[name]
    now, before, first = of(c, 0), of(c, 4), of(c, 8)
    monday = c.today - (c.today + 3) % 7
    what = "Core usage" if name == "core_usage" else "The number of active users"
    sentence = f"{what} over four complete weeks was {now}, against {before} and {first} in the four weeks before each."
    proof = evidence(
        name,
        now,
        UNITS[name],
        baseline=before,
        threshold=(1 + c.p["raise_at"]) * before,
        days=(monday - 28, monday - 1),
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="expansion.growth",
    version=2,
    title="Use grows fast",
    kind="opportunity",
    family="expansion",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "Core usage over the last 4 complete ISO weeks is at least 25 % above that of the 4 weeks before, and that as much "
        "above the 4 before those, which had at least 20; or the same of users active in 28 days as each of these weeks "
        "ended, from at least 5. The number of users is settled as a week ends. Judged as weeks begin and at late "
        "events. Clears when the growth of what raised it falls below 10 %, or after 90 days. Where the portfolio's usage "
        "grew by 12.5 % or more over one of these times 4 weeks, what raises it grew by 25 % beyond that."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.LATE_USAGE,
    arms=Fact.USAGE | Fact.ACTIVE,
    inputs=("usage.feature_used", "usage.page_viewed", "usage.logged_in"),
    action=Action(
        title="Ask what drives the growth, and plan the next step with them",
        owner="sales",
        playbook="growth",
        runbook="expansion.growth",
    ),
    thresholds={
        "default": {"raise_at": 0.25, "clear_at": 0.1, "core_usage_min": 20, "active_users_min": 5, "expires_days": 90}
    },
    warming_days=84,
    raises=_raises,
    clears=_clears,
    due=_due,
    explained=_explained,
    describe=_describe,
)


def _used(day: str, count: int, **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "count": count, "core": True, **more})


def _logins(day: str, count: int) -> list[tuple[str, str, dict[str, object]]]:
    return [(f"{day}T11:00:{n:02d}Z", "usage.logged_in", {"user": f"u{n}"}) for n in range(count)]


# Four weeks apart: on the Mondays from 2026-03-09 to 2026-03-30 each of the days is in four weeks of its own.
_DAYS = ("2026-01-05", "2026-02-02", "2026-03-02")


def _three(*counts: int, **more: object) -> list[tuple[str, str, dict[str, object]]]:
    return [_used(day, count, **more) for day, count in zip(_DAYS, counts, strict=True)]


def _users_of(*counts: int) -> list[tuple[str, str, dict[str, object]]]:
    return [login for day, count in zip(_DAYS, counts, strict=True) for login in _logins(day, count)]


CASES = [
    Case(
        name="core usage up by a quarter twice; cleared when it no longer grows by a tenth",
        events=_three(80, 100, 125),
        until="2026-04-05",
        expect=[("2026-03-09T00:00:00Z", "raised", "info"), ("2026-04-06T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="one use fewer in the last four weeks",
        events=_three(80, 100, 124),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="one use fewer in the four weeks between",
        events=_three(80, 99, 200),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="from 19 it is too little to tell",
        events=_three(19, 40, 80),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="use of other features does not count",
        events=_three(80, 160, 320, core=False),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="five, seven, nine users",
        events=_users_of(5, 7, 9),
        until="2026-03-31",
        expect=[("2026-03-09T00:00:00Z", "raised", "info")],
    ),
    Case(
        name="four, six, eight users are too few to tell",
        events=_users_of(4, 6, 8),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="five, seven, eight users: the last step is less than a quarter",
        events=_users_of(5, 7, 8),
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="what comes late is counted in its week",
        events=[*_three(80, 100, 124), _used("2026-03-10", 1), _used("2026-03-03", 1)],
        until="2026-03-10",
        expect=[("2026-03-10T10:00:00Z", "raised", "info")],
    ),
]
