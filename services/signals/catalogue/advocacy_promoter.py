"""advocacy.promoter: someone answered an NPS survey with 9 or 10."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US


def _since(c: Context) -> int:
    """Time of the first answer of 9 or more that still counts, -1 where there is none.

    An answer of 8 or less ends it, and so do 90 days: the next answer of 9 or more then starts anew.
    """
    since = -1
    for at, score, _ in c.person.nps:
        if score < c.p["score_min"]:
            since = -1
        elif since < 0 or at >= since + c.p["expires_days"] * DAY_US:
            since = at
    return since


def _ends(c: Context) -> int:
    since = _since(c)
    return since + int(c.p["expires_days"]) * DAY_US if since >= 0 else 0


def _raises(c: Context) -> Finding | None:
    return Finding("info") if c.now < _ends(c) else None


def _clears(c: Context) -> str | None:
    ends = _ends(c)
    if not ends:
        return "recovered"
    return "expired" if c.now >= ends else None


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    at, score, event_id = c.person.nps[-1]
    who = c.user_id or "Someone at the account"
    proof = evidence("nps", score, "points", threshold=c.p["score_min"], window=(at, c.now), event_ids=[event_id])
    return f"{who} last answered the NPS survey with {score}; {c.p['score_min']} or more is a promoter.", [proof]


SIGNAL = Signal(
    id="advocacy.promoter",
    version=1,
    title="A promoter answered",
    kind="opportunity",
    family="advocacy",
    scope="user",
    severity="info",
    pages=False,
    meaning=(
        "An NPS answer of 9 or 10, per user; of the account where the answer names no user. An answer is identified by "
        "survey and user. Clears on a later answer of 8 or less by the same user, or 90 days after the first."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.SURVEY,
    inputs=("survey.answered",),
    needs=("survey.answered",),
    action=Action(
        title="Thank the person, and ask for a review, a referral or a quote",
        owner="csm",
        playbook="promoter",
        runbook="advocacy.promoter",
    ),
    thresholds={"default": {"score_min": 9, "expires_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_ends,
    describe=_describe,
)


def _answer(
    at: str, survey: str, score: int, user: str | None = "ana", kind: str = "nps"
) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"survey_id": survey, "kind": kind, "score": score}
    return (f"{at}T10:00:00Z", "survey.answered", data if user is None else {**data, "user": user})


CASES = [
    Case(
        name="a 9, cleared by a later 8",
        events=[_answer("2026-01-05", "S1", 9), _answer("2026-02-05", "S2", 8)],
        until="2026-02-05",
        expect=[("2026-01-05T10:00:00Z", "raised", "info", "ana"), ("2026-02-05T10:00:00Z", "cleared", "info", "ana")],
    ),
    Case(
        name="90 days after the first",
        events=[_answer("2026-01-05", "S1", 10), _answer("2026-03-05", "S2", 9)],
        until="2026-04-30",
        expect=[("2026-01-05T10:00:00Z", "raised", "info", "ana"), ("2026-04-05T10:00:00Z", "cleared", "info", "ana")],
    ),
    Case(
        name="an 8",
        events=[_answer("2026-01-05", "S1", 8)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="the same survey answered again by the same user changes nothing",
        events=[_answer("2026-01-05", "S1", 8), _answer("2026-01-06", "S1", 10)],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a 5 of 5 in a CSAT survey is no NPS",
        events=[_answer("2026-01-05", "S1", 5, kind="csat")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="without a user it is the account's; a user's 3 does not clear it",
        events=[_answer("2026-01-05", "S1", 9, user=None), _answer("2026-01-06", "S1", 3, user="bo")],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "info", "")],
    ),
    Case(
        name="told 90 days late",
        events=[
            ("2026-04-05T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _answer("2026-01-05", "S1", 9),
        ],
        until="2026-04-30",
        expect=[],
    ),
]
