"""critical.usage_and_survey: core use has eroded, and the latest survey was not answered or answered badly."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, week_of
from services.signals.core.surveys import Survey
from services.signals.core.windows import CORE

EROSION = "usage.core_erosion"


def _latest(c: Context) -> tuple[str, Survey] | None:
    return c.dossier.engagement.surveys.latest()


def _bad(c: Context, survey: Survey) -> bool:
    """Whether it was answered badly, or not at all for long enough."""
    if survey.answered_at < 0:
        return bool(c.now >= survey.sent_at + c.p["unanswered_days"] * DAY_US)
    limit = c.p["nps_max"] if survey.kind == "nps" else c.p["score_max"]
    return survey.score is not None and survey.score <= limit


def _both(c: Context) -> bool:
    if EROSION not in c.account.hot.episodes:
        return False
    latest = _latest(c)
    return latest is not None and _bad(c, latest[1])


def _raises(c: Context) -> Finding | None:
    if not _both(c):
        return None
    return Finding("critical", frozen={"baseline": c.account.hot.episodes[EROSION].frozen["baseline"]})


def _clears(c: Context) -> str | None:
    return None if _both(c) else "recovered"


def _due(c: Context) -> int:
    if EROSION not in c.account.hot.episodes:
        return 0
    latest = _latest(c)
    if latest is None or latest[1].answered_at >= 0:
        return 0
    return latest[1].sent_at + int(c.p["unanswered_days"]) * DAY_US


def _survey_words(c: Context) -> tuple[str, Evidence]:
    latest = _latest(c)
    if latest is None:
        return "there is no survey", evidence("latest_survey", None, "points")
    name, survey = latest
    if survey.answered_at < 0:
        days = (c.now - survey.sent_at) // DAY_US
        proof = evidence(
            "days_unanswered",
            days,
            "days",
            threshold=c.p["unanswered_days"],
            window=(survey.sent_at, c.now),
            event_ids=[survey.event_id],
        )
        return f"the latest survey, {survey.kind} {name}, has gone unanswered for {days} days", proof
    limit = c.p["nps_max"] if survey.kind == "nps" else c.p["score_max"]
    proof = evidence(
        survey.kind,
        survey.score,
        "points",
        threshold=limit,
        window=(survey.answered_at, c.now),
        event_ids=[survey.answer_event],
    )
    said = "without a score" if survey.score is None else f"with {survey.score}"
    return f"the latest survey, {survey.kind} {name}, was answered {said}", proof


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    current, baseline = c.account.windows.complete_weeks(CORE, 1, 4), c.open.frozen["baseline"]
    monday = week_of(c.today) * 7 - 3
    change = round(100 * (current / baseline - 1))
    words, proof = _survey_words(c)
    sentence = (
        f"Core features were used {change:+d} % against half a year before ({current} against {baseline}), and {words}."
    )
    usage = evidence("core_usage", current, "uses", baseline=baseline, days=(monday - 28, monday - 1))
    return sentence, [usage, proof]


SIGNAL = Signal(
    id="critical.usage_and_survey",
    version=1,
    title="Core use erodes, and the survey says nothing good",
    kind="risk",
    family="critical",
    scope="account",
    severity="critical",
    pages=True,
    composite=True,
    meaning=(
        "usage.core_erosion holds (core use at most 80 % of half a year before, until it clears), and the latest survey, by "
        "when it was last sent or answered, has gone unanswered for 14 × 24 h since it was first sent, or its latest answer "
        "is negative: nps 6 or less, the others 2 or less. Answers do not age. The time is that of the later part. Clears "
        "when one part does."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.RISKS | Fact.SURVEYS | Fact.TIER,
    inputs=("usage.feature_used", "survey.sent", "survey.answered"),
    needs=("usage.feature_used",),
    warming_days=210,
    held_by=("usage", "engagement"),
    hole_days="unanswered_days",
    action=Action(
        title="Call the sponsor this week: which work moved away from the product, and what would bring it back",
        owner="csm",
        playbook="usage-and-survey",
        runbook="critical.usage_and_survey",
    ),
    thresholds={"default": {"unanswered_days": 14, "nps_max": 6, "score_max": 2}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _core(day: str, count: int) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "usage.feature_used", {"feature": "plan", "core": True, "count": count})


def _sent(day: str, name: str = "S1", kind: str = "nps") -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "survey.sent", {"survey_id": name, "kind": kind})


def _answered(day: str, score: int, name: str = "S1", kind: str = "nps") -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "survey.answered", {"survey_id": name, "kind": kind, "score": score, "user": "ana"})


# 25 core uses a week; on Monday 2026-08-03 the four weeks before are compared with those of January.
_JANUARY = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02", "2026-02-09")
_SUMMER = ("2026-06-15", "2026-06-22", "2026-06-29", "2026-07-06", "2026-07-13", "2026-07-20")
_BASE = [_core(week, 25) for week in (*_JANUARY, *_SUMMER)]
_DOWN = _core("2026-07-27", 5)

CASES = [
    Case(
        name="the survey is the later part: unanswered for 14 × 24 h; a good answer clears it",
        events=[*_BASE, _sent("2026-07-21"), _DOWN, _answered("2026-08-05", 9)],
        until="2026-08-05",
        expect=[("2026-08-04T10:00:00Z", "raised", "critical"), ("2026-08-05T10:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="unanswered long since: core use 20 % down is the later part",
        events=[*_BASE, _sent("2026-07-19"), _DOWN],
        until="2026-08-03",
        expect=[("2026-08-03T00:00:00Z", "raised", "critical")],
    ),
    Case(
        name="an nps of 6",
        events=[*_BASE, _DOWN, _answered("2026-08-04", 6)],
        until="2026-08-04",
        expect=[("2026-08-04T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="an nps of 7, and a csat of 3",
        events=[*_BASE, _DOWN, _answered("2026-08-04", 7), _answered("2026-08-05", 3, "S2", "csat")],
        until="2026-08-09",
        expect=[],
    ),
    Case(
        name="a bad answer counts however old it is, until something newer is heard",
        events=[_answered("2026-01-02", 2, "S0", "csat"), *_BASE, _DOWN, _sent("2026-08-05", "S2")],
        until="2026-08-09",
        expect=[("2026-08-03T00:00:00Z", "raised", "critical"), ("2026-08-05T10:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="core use 19 % down",
        events=[_answered("2026-01-02", 2), *_BASE, _core("2026-07-27", 6)],
        until="2026-08-08",
        expect=[],
    ),
    Case(
        name="core use 20 % down, and no survey at all",
        events=[*_BASE, _DOWN],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="core use recovers to 90 %",
        events=[_answered("2026-01-02", 2), *_BASE, _DOWN, _core("2026-08-03", 35)],
        until="2026-08-10",
        expect=[("2026-08-03T00:00:00Z", "raised", "critical"), ("2026-08-10T00:00:00Z", "cleared", "critical")],
    ),
]
