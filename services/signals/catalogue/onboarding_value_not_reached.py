"""onboarding.value_not_reached: the term runs and value was not reached."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.contract import DEFAULT_TERM_MONTHS
from services.signals.core.days import DAY_US, add_months, day_of
from services.signals.core.signal import SEVERITY_RANK


def _term(c: Context) -> tuple[int, int]:
    """First and last day of the running term."""
    profile = c.account.hot.profile
    start = day_of(profile.tenure_start(c.account.hot.first_event))
    end = profile.renewal_day
    return start, end if end is not None and end > start else add_months(start, DEFAULT_TERM_MONTHS)


def _tracked_from(c: Context) -> int:
    """The day on which the first goal was set."""
    return min((day_of(goal.set_at) for goal in c.dossier.onboarding.goals.values() if goal.set_at >= 0), default=-1)


def _steps(c: Context) -> list[tuple[int, str]]:
    """(day from which it holds, severity) of each step, mildest first."""
    start, end = _term(c)
    known = max(day_of(c.account.hot.first_event), _tracked_from(c))
    first = (start if known <= start + c.p["days"] else known) + c.p["days"]
    shares = (("warning", c.p["warning_at"]), ("critical", c.p["critical_at"]))
    return [(first, "info"), *((max(first, start - int(-share * (end - start) // 1)), name) for name, share in shares)]


def _found(c: Context) -> Finding | None:
    hot = c.account.hot
    if not c.midnight or hot.value_reached or not hot.goals_tracked:
        return None
    holding = [severity for day, severity in _steps(c) if day <= c.today]
    return Finding(max(holding, key=SEVERITY_RANK.__getitem__)) if holding else None  # type: ignore[arg-type]


def _escalates(c: Context) -> Finding | None:
    found = _found(c)
    return found if found and SEVERITY_RANK[found.severity] > SEVERITY_RANK[c.open.severity] else None


def _clears(c: Context) -> str | None:
    return "recovered" if c.account.hot.value_reached else None


def _due(c: Context) -> int:
    """The next midnight at which a step is reached that is worse than what is open."""
    hot = c.account.hot
    if hot.value_reached or not hot.goals_tracked:
        return 0
    reached = SEVERITY_RANK[c.open.severity] if c.episode is not None else -1
    days = (max(day, c.today + 1) for day, severity in _steps(c) if SEVERITY_RANK[severity] > reached)
    return min(days, default=0) * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    start, end = _term(c)
    passed, length = c.today - start, end - start
    share = round(100 * passed / length)
    proof = evidence("days_of_term", passed, "days", baseline=length, threshold=c.p["days"], days=(start, end - 1))
    if c.account.hot.value_reached:
        return f"Value was reached by day {passed} of a term of {length} days ({share} %).", [proof]
    sentence = (
        f"No value was reached in {passed} of {length} days of the term that ends on {on(end)} ({share} %); "
        f"{c.p['days']} days are enough where onboarding goes well."
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="onboarding.value_not_reached",
    version=1,
    title="No value yet",
    kind="risk",
    family="onboarding",
    scope="account",
    severity="info from day 60, warning from half of the term, critical from 11 of 12 months",
    pages=False,
    meaning=(
        "Goals are tracked (one was set) and value was never reached: no goal achieved, no value event. From day 60 of the "
        "term as a hint, from half of the term as a warning, from 11 twelfths of it as critical (never before day 60). Where "
        "the first goal was set, or the account's first event came, after day 60 only, not within 60 days of that: what was "
        "reached before, nobody knows. The term begins with the contract, or else with the first event, and ends at the "
        "renewal, or else 12 months later. Raised and escalated at midnights; clears when value is reached."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3, law 7",
    reads=Fact.VALUE | Fact.PROFILE | Fact.CONTRACT,
    inputs=("usage.value_reached", "account.goal_achieved", "account.goal_set", "account.updated"),
    needs=("account.goal_set",),
    action=Action(
        title="Pick one result that can be had this month, and work on nothing else until it is there",
        owner="csm",
        playbook="first-value",
        runbook="onboarding.value_not_reached",
    ),
    thresholds={"default": {"days": 60, "warning_at": 0.5, "critical_at": 11 / 12}},
    raises=_found,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    held_by=("accounts", "usage"),
    describe=_describe,
)


def _contract(**more: object) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-01T09:00:00Z", "account.updated", {"contract_start": "2026-01-01", **more})


_GOAL = ("2026-01-05T09:00:00Z", "account.goal_set", {"goal": "faster close"})

CASES = [
    Case(
        name="day 60, half of twelve months (182.5 days), eleven months (334.6 days)",
        events=[_contract(), _GOAL],
        until="2026-12-31",
        expect=[
            ("2026-03-02T00:00:00Z", "raised", "info"),
            ("2026-07-03T00:00:00Z", "escalated", "warning"),
            ("2026-12-02T00:00:00Z", "escalated", "critical"),
        ],
    ),
    Case(
        name="value on day 59",
        events=[_contract(), _GOAL, ("2026-03-01T23:59:59Z", "usage.value_reached", {"goal": "faster close"})],
        until="2026-12-31",
        expect=[],
    ),
    Case(
        name="value on day 60",
        events=[_contract(), _GOAL, ("2026-03-02T00:00:00Z", "account.goal_achieved", {"goal": "faster close"})],
        until="2026-12-31",
        expect=[("2026-03-02T00:00:00Z", "raised", "info"), ("2026-03-02T00:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a short term is half over by day 60",
        events=[_contract(renewal_date="2026-05-01"), _GOAL],
        until="2026-03-31",
        expect=[("2026-03-02T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="without goals nobody says what value is",
        events=[_contract()],
        until="2026-12-31",
        expect=[],
    ),
    Case(
        name="goals tracked from the fifth month on: 60 days of their own, which end past half of the term",
        events=[_contract(), ("2026-05-05T09:00:00Z", "account.goal_set", {"goal": "faster close"})],
        until="2026-07-31",
        expect=[("2026-07-04T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="an account that is known since the eighth month only",
        events=[
            ("2026-08-10T09:00:00Z", "account.updated", {"contract_start": "2026-01-01"}),
            ("2026-08-10T10:00:00Z", "account.goal_set", {"goal": "faster close"}),
        ],
        until="2026-10-31",
        expect=[("2026-10-09T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="a late word that value was reached",
        events=[
            _contract(),
            _GOAL,
            ("2026-03-05T09:00:00Z", "account.updated", {"name": "Acme"}),
            ("2026-02-28T09:00:00Z", "usage.value_reached", {"goal": "faster close"}),
        ],
        until="2026-03-31",
        expect=[("2026-03-02T00:00:00Z", "raised", "info"), ("2026-03-05T09:00:00Z", "cleared", "info")],
    ),
]
