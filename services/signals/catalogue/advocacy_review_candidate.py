"""advocacy.review_candidate: healthy, nothing open with support, and not asked for a review yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from services.signals.core.days import day_of, midnight

SELF = "advocacy.review_candidate"


def _holds(c: Context) -> bool:
    hot = c.account.hot
    return (
        hot.score > c.p["score_above"]
        and hot.coverage >= c.p["coverage_min"]
        and not hot.tickets
        and not c.dossier.engagement.advocacy.reviews
    )


def _first_day(c: Context) -> int:
    """The first day on which it may be raised: once the account is known, and not soon after it was withdrawn."""
    known = day_of(c.account.hot.first_event) + int(c.p["known_days"])
    past = c.account.hot.past.get(SELF)
    return known if past is None or past.cleared_day < 0 else max(known, past.cleared_day + int(c.p["again_days"]))


def _raises(c: Context) -> Finding | None:
    return Finding("info") if c.today >= _first_day(c) and _holds(c) else None


def _clears(c: Context) -> str | None:
    hot = c.account.hot
    if c.dossier.engagement.advocacy.reviews:
        return "done"
    return "recovered" if hot.tickets or hot.score < c.p["clear_below"] else None


def _due(c: Context) -> int:
    first = _first_day(c) if c.episode is None else -1
    return midnight(first) if first > c.today and _holds(c) else 0


def _refuses(p: Mapping[str, Any]) -> str:
    if p["clear_below"] > p["score_above"]:
        return f"clear_below is {p['clear_below']} and must not be above score_above, {p['score_above']}"
    return ""


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    hot = c.account.hot
    given = len(c.dossier.engagement.advocacy.reviews)
    review = "a review was given" if given else "no review was given yet"
    tickets = times(len(hot.tickets), "open ticket")
    sentence = f"Health is {hot.score:g} (asked for: above {c.p['score_above']}), {tickets}, {review}."
    proofs = [
        evidence("health", hot.score, "points", threshold=c.p["score_above"]),
        evidence("open_tickets", len(hot.tickets), "tickets", threshold=0),
        evidence("reviews_given", given, "reviews", threshold=0),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id=SELF,
    version=2,
    title="Someone to ask for a review",
    kind="opportunity",
    family="advocacy",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The health score is above 85 (85 itself is not) and rests on data for half of its weights at least (use alone is "
        "35 of 100), no ticket is open, and no review was ever given. Nobody is asked in the first 28 days after the "
        "account's first event: a score of a few days says little, and on the day that a source is connected every "
        "account would be a candidate. Clears when a review is given, a ticket is open, or the score is below 80. After "
        "that it is not raised again for 90 days."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 4",
    reads=Fact.SCORE | Fact.TICKETS | Fact.ADVOCACY,
    inputs=("ticket.opened", "ticket.resolved", "ticket.closed", "review.given"),
    action=Action(
        title="Ask the champion for a public review, with two questions to start from",
        owner="csm",
        playbook="ask-for-review",
        runbook="advocacy.review_candidate",
    ),
    thresholds={
        "default": {"score_above": 85, "coverage_min": 0.5, "clear_below": 80, "again_days": 90, "known_days": 28}
    },
    warming_days=28,
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
)


def _use(at: str) -> tuple[str, str, dict[str, object]]:
    return (f"2026-{at}T08:00:00Z", "usage.feature_used", {"feature": "report"})


_INVOICE = (
    "2026-01-05T09:00:00Z",
    "invoice.issued",
    {"invoice_id": "I1", "amount": "100.00", "currency": "EUR", "due": "2026-12-05"},
)
_KNOWN = [_use("01-05"), _INVOICE, _use("01-30")]


def _ticket(at: str, what: str) -> tuple[str, str, dict[str, object]]:
    data: dict[str, object] = {"ticket_id": "T1"}
    return (f"2026-{at}T10:00:00Z", f"ticket.{what}", {**data, "priority": "P4"} if what == "opened" else data)


CASES = [
    Case(
        name="in use and nothing overdue is a health of 100, for 28 days; a review is given",
        events=[*_KNOWN, ("2026-02-10T10:00:00Z", "review.given", {"user": "ana"})],
        until="2026-02-28",
        expect=[("2026-02-02T00:00:00Z", "raised", "info"), ("2026-02-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="the same on the 27th day",
        events=_KNOWN,
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a ticket withdraws it for 90 days",
        events=[*_KNOWN, _ticket("02-08", "opened"), _ticket("02-08", "closed"), _use("03-28"), _use("04-25")],
        until="2026-05-08",
        expect=[
            ("2026-02-02T00:00:00Z", "raised", "info"),
            ("2026-02-08T10:00:00Z", "cleared", "info"),
            ("2026-05-09T00:00:00Z", "raised", "info"),
        ],
    ),
    Case(
        name="a review was given before",
        events=[("2026-01-02T10:00:00Z", "review.given", {}), *_KNOWN],
        until="2026-02-20",
        expect=[],
    ),
    Case(
        name="a ticket is open",
        events=[_ticket("01-02", "opened"), *_KNOWN],
        until="2026-02-12",
        expect=[],
    ),
    Case(
        name="all that is known is that nothing is overdue",
        events=[_INVOICE],
        until="2026-02-20",
        expect=[],
    ),
]
