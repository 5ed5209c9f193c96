"""expansion.new_team: a team that never used the product begins to."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.breadth import teams_known
from services.signals.core.days import DAY_US


def _teams(c: Context) -> dict[str, tuple[int, int]]:
    return teams_known(c.account.hot.noted, c.dossier.breadth)


def _subjects(c: Context) -> list[str]:
    return [team for team, (first, _) in _teams(c).items() if first > c.today - c.p["days"]]


def _is_new(c: Context) -> bool:
    """Whether the team began long enough after the account's first one."""
    teams = _teams(c)
    first = teams.get(c.subject, (0, 0))[0]
    return bool(first >= min(began for began, _ in teams.values()) + c.p["roll_out_days"])


def _raises(c: Context) -> Finding | None:
    return Finding("info", frozen={"first": _teams(c)[c.subject][0]}) if _is_new(c) else None


def _clears(c: Context) -> str | None:
    if not _is_new(c):
        return "recovered"
    return "noted" if c.now >= _ends(c) else None


def _ends(c: Context) -> int:
    return int(c.open.opened_at + c.p["days"] * DAY_US)


def _due(c: Context) -> int:
    return 0 if c.episode is None else _ends(c)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    teams = _teams(c)
    first, last = teams[c.subject]
    others = len(teams) - 1
    there = "1 other uses it" if others == 1 else f"{others} others use it"
    sentence = f"The team {c.subject} first used the product on {on(first)}; {there}."
    return sentence, [evidence("teams", len(teams), "teams", baseline=others, days=(first, last))]


SIGNAL = Signal(
    id="expansion.new_team",
    version=1,
    title="Another team begins to use the product",
    kind="opportunity",
    family="expansion",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The first use in production that names a team, on a day at least 28 days after the first day of the account's "
        "first team: until then teams are part of the roll-out. Once per team. Clears 30 days after. Of an account 216 "
        "teams are told apart."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 3",
    reads=Fact.TEAM,
    inputs=("usage.feature_used",),
    action=Action(
        title="Find out who leads the new team and what it wants to reach",
        owner="sales",
        playbook="new-team",
        runbook="expansion.new_team",
    ),
    thresholds={"default": {"roll_out_days": 28, "days": 30}},
    once=True,
    subjects=_subjects,
    needs=("usage.feature_used",),
    warming_days=28,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _used(at: str, team: str, **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "usage.feature_used", {"feature": "report", "team": team, **more})


CASES = [
    Case(
        name="28 days after the first team; noted for 30 days, and once for ever",
        events=[
            _used("2026-01-05T23:00:00Z", "ops"),
            _used("2026-02-02T01:00:00Z", "finance"),
            _used("2026-06-01T10:00:00Z", "finance"),
        ],
        until="2026-06-02",
        expect=[("2026-02-02T01:00:00Z", "raised", "info"), ("2026-03-04T01:00:00Z", "cleared", "info")],
    ),
    Case(
        name="27 days after it is still the roll-out",
        events=[_used("2026-01-05T10:00:00Z", "ops"), _used("2026-02-01T10:00:00Z", "finance")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="the first team is nobody's addition",
        events=[("2026-01-05T10:00:00Z", "usage.logged_in", {"user": "ana"}), _used("2026-03-05T10:00:00Z", "ops")],
        until="2026-04-30",
        expect=[],
    ),
    Case(
        name="outside production it is a trial",
        events=[_used("2026-01-05T10:00:00Z", "ops"), _used("2026-03-05T10:00:00Z", "finance", environment="trial")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="a late use shows that the team was there from the start",
        events=[
            _used("2026-01-05T10:00:00Z", "ops"),
            _used("2026-02-03T10:00:00Z", "finance"),
            _used("2026-01-10T10:00:00Z", "finance"),
        ],
        until="2026-02-03",
        expect=[("2026-02-03T10:00:00Z", "raised", "info"), ("2026-02-03T10:00:00Z", "cleared", "info")],
    ),
]
