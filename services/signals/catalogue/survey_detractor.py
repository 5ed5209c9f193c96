"""survey.detractor: someone answered an NPS survey with 6 or less."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US


def _since(c: Context) -> int:
    """Time of the first answer of 6 or less that still counts, -1 where there is none.

    An answer of 7 or more ends it, and so do 90 days: the next answer of 6 or less then starts anew.
    """
    since = -1
    for at, score, _ in c.person.nps:
        if score > c.p["score_max"]:
            since = -1
        elif since < 0 or at >= since + c.p["expires_days"] * DAY_US:
            since = at
    return since


def _expired(c: Context, since: int) -> bool:
    return bool(c.now >= since + c.p["expires_days"] * DAY_US)


def _raises(c: Context) -> Finding | None:
    since = _since(c)
    return Finding("warning") if since >= 0 and not _expired(c, since) else None


def _clears(c: Context) -> str | None:
    since = _since(c)
    if since < 0:
        return "recovered"
    return "expired" if _expired(c, since) else None


def _due(c: Context) -> int:
    since = _since(c)
    return since + int(c.p["expires_days"]) * DAY_US if since >= 0 else 0


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    at, score, event_id = c.person.nps[-1]
    who = c.user_id or "Someone at the account"
    proof = evidence("nps", score, "points", threshold=c.p["score_max"], window=(at, c.now), event_ids=[event_id])
    return f"{who} last answered the NPS survey with {score}; {c.p['score_max']} or less is a detractor.", [proof]


SIGNAL = Signal(
    id="survey.detractor",
    version=1,
    title="A detractor answered",
    kind="risk",
    family="survey",
    scope="user",
    severity="warning",
    pages=False,
    meaning=(
        "An NPS answer of 6 or less, per user; of the account where the answer names no user. An answer is identified by "
        "survey and user. Clears on a later answer of 7 or more by the same user, or 90 days after the first."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17, law 4",
    reads=Fact.SURVEY,
    inputs=("survey.answered",),
    needs=("survey.answered",),
    action=Action(
        title="Call the person within two days, listen, and write down the cause",
        owner="csm",
        playbook="detractor",
        runbook="survey.detractor",
    ),
    thresholds={"default": {"score_max": 6, "expires_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _answer(
    at: str, survey: str, score: int, user: str | None = "ana", kind: str = "nps"
) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"survey_id": survey, "kind": kind, "score": score}
    return (f"{at}T10:00:00Z", "survey.answered", data if user is None else {**data, "user": user})


CASES = [
    Case(
        name="a 6, cleared by a later 7",
        events=[_answer("2026-01-05", "S1", 6), _answer("2026-02-05", "S2", 7)],
        until="2026-02-05",
        expect=[
            ("2026-01-05T10:00:00Z", "raised", "warning", "ana"),
            ("2026-02-05T10:00:00Z", "cleared", "warning", "ana"),
        ],
    ),
    Case(
        name="90 days after the first, whatever came between",
        events=[_answer("2026-01-05", "S1", 4), _answer("2026-03-05", "S2", 3)],
        until="2026-06-30",
        expect=[
            ("2026-01-05T10:00:00Z", "raised", "warning", "ana"),
            ("2026-04-05T10:00:00Z", "cleared", "warning", "ana"),
        ],
    ),
    Case(
        name="a 7",
        events=[_answer("2026-01-05", "S1", 7)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a low csat is no NPS",
        events=[_answer("2026-01-05", "S1", 1, kind="csat")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="the same answer again changes nothing",
        events=[_answer("2026-01-05", "S1", 8), _answer("2026-01-06", "S1", 2)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="another user's 9 does not clear it",
        events=[_answer("2026-01-05", "S1", 0), _answer("2026-01-06", "S1", 9, user="bo")],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning", "ana")],
    ),
    Case(
        name="without a user it is the account's",
        events=[_answer("2026-01-05", "S1", 5, user=None)],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning", "")],
    ),
]
