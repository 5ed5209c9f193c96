"""survey.unanswered: a survey went out two weeks ago and nobody answered it."""

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
    on,
    times,
)
from services.signals.core.days import DAY_US, day_of


def _silent(c: Context) -> list[tuple[int, str]]:
    """(sent, id) of the surveys that have gone unanswered for long enough and are not forgotten yet, by time."""
    newest, oldest = c.now - c.p["days"] * DAY_US, c.now - c.p["expires_days"] * DAY_US
    return [(at, name) for at, name in c.dossier.engagement.surveys.waiting() if oldest < at <= newest]


def _raises(c: Context) -> Finding | None:
    return Finding("info") if _silent(c) else None


def _clears(c: Context) -> str | None:
    if _silent(c):
        return None
    waiting = c.dossier.engagement.surveys.waiting()
    expired = any(at <= c.now - c.p["expires_days"] * DAY_US for at, _ in waiting)
    return "expired" if expired else "recovered"


def _due(c: Context) -> int:
    steps = (c.p["days"], c.p["expires_days"])
    ends = (at + step * DAY_US for at, _ in c.dossier.engagement.surveys.waiting() for step in steps)
    return min((at for at in ends if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    surveys, found = c.dossier.engagement.surveys, _silent(c)
    if not found:
        return "No survey is waiting for an answer.", [
            evidence("surveys_unanswered", 0, "surveys", threshold=1),
        ]
    at, name = found[0]
    kind, days = surveys.known[name].kind, (c.now - at) // DAY_US
    more = f"; {times(len(found), 'survey')} in all" if len(found) > 1 else ""
    sentence = f"The {kind} survey {name}, sent on {on(day_of(at))}, has gone unanswered for {days} days{more}."
    events = [surveys.known[survey].event_id for _, survey in found[:20]]
    return sentence, [
        evidence("days_unanswered", days, "days", threshold=c.p["days"], window=(at, c.now), event_ids=events),
        evidence("surveys_unanswered", len(found), "surveys", threshold=1),
    ]


SIGNAL = Signal(
    id="survey.unanswered",
    version=1,
    title="A survey goes unanswered",
    kind="risk",
    family="survey",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "A survey was sent at least 14 × 24 h and less than 90 × 24 h ago, and nobody of the account has answered it, nor any "
        "other survey of its kind since. A survey is its id, whoever it was sent to; sent again, it waits since the first "
        "time. Clears when it is answered, or 90 × 24 h after it was sent."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 16",
    reads=Fact.SURVEYS | Fact.TIER,
    inputs=("survey.sent", "survey.answered"),
    needs=("survey.sent",),
    warming_days=14,
    held_by=("engagement",),
    hole_days="days",
    action=Action(
        title="Ask the question in person at the next contact",
        owner="csm",
        playbook="survey-unanswered",
        runbook="survey.unanswered",
    ),
    thresholds={"default": {"days": 14, "expires_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _sent(at: str, name: str = "S1", kind: str = "nps", **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "survey.sent", {"survey_id": name, "kind": kind, **more})


def _answered(at: str, name: str = "S1", kind: str = "nps", **more: object) -> tuple[str, str, dict[str, object]]:
    return (at, "survey.answered", {"survey_id": name, "kind": kind, **more})


CASES = [
    Case(
        name="14 × 24 h, then answered, without a score",
        events=[_sent("2026-01-05T10:00:00Z"), _answered("2026-01-21T10:00:00Z")],
        until="2026-01-31",
        expect=[("2026-01-19T10:00:00Z", "raised", "info"), ("2026-01-21T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="answered a second before, by one of two",
        events=[
            _sent("2026-01-05T10:00:00Z", user="ana"),
            _sent("2026-01-05T10:00:00Z", user="bo"),
            _answered("2026-01-19T09:59:59Z", user="bo", score=9),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="forgotten after 90 × 24 h",
        events=[_sent("2026-01-05T10:00:00Z")],
        until="2026-05-31",
        expect=[("2026-01-19T10:00:00Z", "raised", "info"), ("2026-04-05T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="sent again: it waits since the first time",
        events=[_sent("2026-01-05T10:00:00Z"), _sent("2026-01-12T10:00:00Z")],
        until="2026-01-19",
        expect=[("2026-01-19T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="a later survey of the kind is answered, one of another kind is no answer",
        events=[
            _sent("2026-01-05T10:00:00Z"),
            _sent("2026-01-20T10:00:00Z", "S2", "csat"),
            _answered("2026-01-21T10:00:00Z", "S2", "csat", score=5),
            _answered("2026-01-22T10:00:00Z", "S3", score=9),
        ],
        until="2026-02-28",
        expect=[("2026-01-19T10:00:00Z", "raised", "info"), ("2026-01-22T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="a late answer",
        events=[
            _sent("2026-01-05T10:00:00Z"),
            ("2026-01-20T10:00:00Z", "account.updated", {"name": "Acme"}),
            _answered("2026-01-18T10:00:00Z", score=8),
        ],
        until="2026-01-31",
        expect=[("2026-01-19T10:00:00Z", "raised", "info"), ("2026-01-20T10:00:00Z", "cleared", "info")],
    ),
]
