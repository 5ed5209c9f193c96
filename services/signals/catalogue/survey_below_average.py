"""survey.below_average: the account answers a kind of survey below what the portfolio answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.events.engagement import SCORE_RANGE
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
from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US
from services.signals.core.surveys import Answer, mean_score

ANSWERED = 1 << SEEN.index("survey.answered")


def _subjects(c: Context) -> list[str]:
    if not c.account.hot.seen & ANSWERED:
        return []
    return list(c.dossier.engagement.surveys.answers)


def _standing(c: Context) -> list[Answer]:
    return c.dossier.engagement.surveys.standing(c.subject, c.now, c.p["days"])


def _average(c: Context) -> float:
    """The portfolio's mean of this kind of survey, or what is expected while it was not measured."""
    benchmarks = c.world.benchmark(c.now)
    measured = {"nps": benchmarks.nps_mean, "csat": benchmarks.csat_mean}.get(c.subject)
    return float(c.p["means"][c.subject]) if measured is None else measured


def _unhealthy(c: Context) -> bool:
    """Whether health does not speak against it: it is low enough, or not known, or not asked for."""
    score, limit = c.account.hot.score, c.p["health_below"]
    return limit is None or score < 0 or score < limit


def _raises(c: Context) -> Finding | None:
    own, average = mean_score(c.dossier.engagement.surveys, c.subject, c.now, c.p["days"]), _average(c)
    if own is None or own >= average or not _unhealthy(c):
        return None
    return Finding("info", frozen={"average": average})


def _clears(c: Context) -> str | None:
    own = mean_score(c.dossier.engagement.surveys, c.subject, c.now, c.p["days"])
    if own is None:
        return "expired"
    return "recovered" if own >= c.open.frozen["average"] else None


def _due(c: Context) -> int:
    return min((answer.at + c.p["days"] * DAY_US for answer in _standing(c)), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    found, average = _standing(c), c.open.frozen["average"]
    own = mean_score(c.dossier.engagement.surveys, c.subject, c.now, c.p["days"])
    window = (c.now - c.p["days"] * DAY_US, c.now)
    if own is None:
        return f"Nobody answered the {c.subject} survey in {c.p['days']} days.", [
            evidence(f"{c.subject}_mean", None, "points", threshold=round(average, 2), window=window)
        ]
    sentence = (
        f"The {c.subject} survey was answered with {own:.1f} on average ({times(len(found), 'person')} in "
        f"{c.p['days']} days), below the portfolio's {average:.1f}."
    ).replace("persons", "people")
    proof = evidence(
        f"{c.subject}_mean",
        round(own, 2),
        "points",
        baseline=round(average, 2),
        threshold=round(average, 2),
        window=window,
        event_ids=[answer.event_id for answer in found[-20:]],
    )
    return sentence, [proof]


def _refuses(p: Mapping[str, Any]) -> str:
    missing = sorted(set(SCORE_RANGE) - set(p["means"]))
    return f"means: {missing[0]} is missing; give one for each kind of survey" if missing else ""


SIGNAL = Signal(
    id="survey.below_average",
    version=1,
    title="Answers below the portfolio's average",
    kind="risk",
    family="survey",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The mean of the latest answers of each person of the account in the trailing 90 × 24 h is below the portfolio's "
        "mean of that kind of survey; the episode is about the kind (nps, csat, ces, onboarding, goals). Low and tech touch: "
        "only while health is under 70 or not known. The portfolio's mean is the measured one (nps, csat); where none is, "
        "7.5 for nps and 4 for the others. It is frozen at the raise. Clears when the account's mean reaches it, or when the "
        "last answer is 90 × 24 h old."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.SURVEYS | Fact.SCORE | Fact.PORTFOLIO | Fact.TIER,
    inputs=("survey.answered",),
    needs=("survey.answered",),
    action=Action(
        title="Read the answers together, and agree with the account on the one thing to change first",
        owner="csm",
        playbook="below-average",
        runbook="survey.below_average",
    ),
    thresholds={
        "default": {
            "days": 90,
            "health_below": 70,
            "means": {"nps": 7.5, "csat": 4, "ces": 4, "onboarding": 4, "goals": 4},
        },
        "high": {"health_below": None},
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
    subjects=_subjects,
)


def _answer(
    day: str, survey: str, score: int, user: str = "ana", kind: str = "csat"
) -> tuple[str, str, dict[str, object]]:
    data = {"survey_id": survey, "kind": kind, "score": score, "user": user}
    return (f"2026-{day}T10:00:00Z", "survey.answered", data)


_HIGH = ("2026-01-01T00:00:00Z", "account.updated", {"tier": "high"})
_MEASURED = (
    "2026-01-05T00:30:00Z",
    "portfolio.measured",
    {"day": "2026-01-04", "accounts": 40, "nps_mean": 8.2, "csat_mean": 4.4},
)

CASES = [
    Case(
        name="a 3 of 5 where 4 is expected; the same person's 4 clears it",
        events=[_HIGH, _answer("01-05", "S1", 3), _answer("02-05", "S2", 4)],
        until="2026-06-30",
        expect=[("2026-01-05T10:00:00Z", "raised", "info"), ("2026-02-05T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="exactly the mean",
        events=[
            _HIGH,
            _answer("01-05", "S1", 4),
            _answer("01-06", "N1", 8, "bo", "nps"),
            _answer("01-06", "N1", 7, kind="nps"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="the people's mean counts, and each person's latest answer",
        events=[
            _HIGH,
            _answer("01-05", "S1", 5),
            _answer("01-06", "S1", 3, "bo"),
            _answer("01-20", "S2", 4),
        ],
        until="2026-01-31",
        expect=[("2026-01-20T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="a good answer grows old: what is left is below the mean, and grows old as well",
        events=[_HIGH, _answer("01-05", "S1", 5), _answer("02-05", "S1", 3, "bo")],
        until="2026-06-30",
        expect=[("2026-04-05T10:00:00Z", "raised", "info"), ("2026-05-06T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the portfolio's own mean, where it was measured: 8 of 10 is below 8.2",
        events=[_HIGH, _MEASURED, _answer("01-05", "S1", 8, kind="nps")],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="low touch with a good health",
        events=[
            ("2026-01-01T10:00:00Z", "usage.feature_used", {"feature": "report", "count": 50}),
            ("2026-01-02T10:00:00Z", "account.updated", {"mrr": "100.00"}),
            (
                "2026-01-02T11:00:00Z",
                "invoice.issued",
                {"invoice_id": "I1", "amount": "100.00", "currency": "EUR", "due": "2026-06-30"},
            ),
            _answer("01-05", "S1", 3),
        ],
        until="2026-01-06",
        expect=[],
    ),
    Case(
        name="low touch about whom nothing else is known",
        events=[_answer("01-05", "S1", 2)],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "info")],
    ),
]
