"""advocacy.reference_candidate: healthy for two quarters, recommended by its people, and not used as a reference lately."""

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
from services.signals.core.apply import SEEN
from services.signals.core.days import DAY_US, NEVER, day_of
from services.signals.core.surveys import Answer

HIGH = ("thriving", "healthy")
ANSWERED = 1 << SEEN.index("survey.answered")


def _high_since(c: Context) -> int:
    """Since when (µs) health has been high without a break, NEVER where it is not."""
    since = NEVER
    for at, band in reversed(c.dossier.bands):
        if band not in HIGH:
            break
        since = at
    return since


def _answers(c: Context) -> list[Answer]:
    """The latest NPS answer of each person that still counts."""
    return c.dossier.engagement.surveys.standing("nps", c.now, c.p["answer_days"])


def _recommended(answers: list[Answer], c: Context) -> bool:
    """Whether somebody would recommend us and nobody would warn of us."""
    scores = [answer.score for answer in answers]
    return bool(scores) and max(scores) >= c.p["promoter_min"] and min(scores) > c.p["detractor_max"]


def _last_reference(c: Context) -> int:
    given = c.dossier.engagement.advocacy.references
    return given[-1] if given else -NEVER


def _possible(c: Context) -> bool:
    """What can be told without a look at the dossier: most accounts end here."""
    return c.account.hot.band in HIGH and bool(c.account.hot.seen & ANSWERED)


def _raises(c: Context) -> Finding | None:
    if not _possible(c):
        return None
    proven = c.now >= _high_since(c) + c.p["high_days"] * DAY_US
    rested = c.now >= _last_reference(c) + c.p["rest_days"] * DAY_US
    if not (proven and rested and _recommended(_answers(c), c)):
        return None
    return Finding("info", frozen={"high_since": _high_since(c)})


def _clears(c: Context) -> str | None:
    if c.now < _last_reference(c) + c.p["rest_days"] * DAY_US:
        return "done"
    return None if c.account.hot.band in HIGH and _recommended(_answers(c), c) else "recovered"


def _due(c: Context) -> int:
    if c.episode is None and not _possible(c):
        return 0
    days = c.p["answer_days"] * DAY_US
    steps = [answer.at + days for answer in _answers(c)]
    if c.episode is None:
        steps += [_high_since(c) + c.p["high_days"] * DAY_US, _last_reference(c) + c.p["rest_days"] * DAY_US]
    return min((at for at in steps if c.now < at < NEVER), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    answers = _answers(c)
    promoters = [answer for answer in answers if answer.score >= c.p["promoter_min"]]
    since = c.open.frozen["high_since"]
    sentence = (
        f"Health has been high since {on(day_of(since))} and is {c.account.hot.band or 'unknown'} now; "
        f"{times(len(promoters), 'promoter')} among {times(len(answers), 'answer')} of the last {c.p['answer_days']} days."
    )
    proofs = [
        evidence("days_of_high_health", (c.now - since) // DAY_US, "days", threshold=c.p["high_days"]),
        evidence(
            "promoters",
            len(promoters),
            "people",
            threshold=1,
            event_ids=[answer.event_id for answer in promoters[-20:]],
        ),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="advocacy.reference_candidate",
    version=1,
    title="Someone to name as a reference",
    kind="opportunity",
    family="advocacy",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The health band has been thriving or healthy for 180 × 24 h without a break (two quarters), somebody's latest NPS "
        "answer of the last 365 d is 9 or 10 and nobody's is 6 or less, and no reference was given in the last 180 d. "
        "Clears when a reference is given, the band falls, or the answers do not say so any more."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 15",
    reads=Fact.SCORE | Fact.SURVEYS | Fact.ADVOCACY,
    inputs=("survey.answered", "reference.given"),
    needs=("survey.answered",),
    warming_days=180,
    action=Action(
        title="Ask whether they would take a call from a prospect of their industry, once a quarter at most",
        owner="sales",
        playbook="reference",
        runbook="advocacy.reference_candidate",
    ),
    thresholds={
        "default": {"high_days": 180, "answer_days": 365, "rest_days": 180, "promoter_min": 9, "detractor_max": 6}
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)

_INVOICE = (
    "2026-01-05T09:00:00Z",
    "invoice.issued",
    {"invoice_id": "I1", "amount": "100.00", "currency": "EUR", "due": "2026-12-05"},
)


def _answer(day: str, score: int, user: str = "ana") -> tuple[str, str, dict[str, object]]:
    data = {"survey_id": f"{day}-{user}", "kind": "nps", "score": score, "user": user}
    return (f"{day}T10:00:00Z", "survey.answered", data)


def _reference(day: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", "reference.given", {})


CASES = [
    Case(
        name="180 days of high health to the second, and a reference given",
        events=[_INVOICE, _answer("2026-06-01", 9), _reference("2026-07-20")],
        until="2026-07-31",
        expect=[("2026-07-04T09:00:00Z", "raised", "info"), ("2026-07-20T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the answer comes last; it counts for a year",
        events=[_INVOICE, _answer("2026-07-10", 10)],
        until="2026-07-10",
        expect=[("2026-07-10T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="a day before the 180 days",
        events=[_INVOICE, _answer("2026-06-01", 9)],
        until="2026-07-02",
        expect=[],
    ),
    Case(
        name="an 8 is no promoter",
        events=[_INVOICE, _answer("2026-06-01", 8)],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="a promoter and a detractor",
        events=[_INVOICE, _answer("2026-06-01", 9), _answer("2026-06-02", 6, "bo")],
        until="2026-08-31",
        expect=[],
    ),
    Case(
        name="a reference was given 180 days before, and a day less",
        events=[_INVOICE, _reference("2026-01-15"), _answer("2026-06-01", 9)],
        until="2026-07-14",
        expect=[("2026-07-14T10:00:00Z", "raised", "info")],
    ),
]
