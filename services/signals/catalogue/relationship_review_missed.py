"""relationship.review_missed: a business review did not take place, or took place without the sponsor."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of
from services.signals.core.touches import Miss, made_up_for, misses

WORDS = {
    "missed": "A business review was missed on {}.",
    "not_held": "A business review was planned and not held by the start of {}.",
    "no_sponsor": "A business review was held without the sponsor, on the day before {}.",
}


def _unmade(c: Context) -> list[Miss]:
    """What went wrong and was not made up for, and what will have at its instant. By time."""
    reviews = c.dossier.engagement.touches.reviews
    return [miss for miss in misses(reviews) if not made_up_for(reviews, miss)]


def _ends(c: Context, miss: Miss) -> int:
    return miss.at + int(c.p["expires_days"]) * DAY_US


def _current(c: Context) -> list[Miss]:
    return [miss for miss in _unmade(c) if miss.at <= c.now < _ends(c, miss)]


def _raises(c: Context) -> Finding | None:
    current = _current(c)
    if not current:
        return None
    last = current[-1]
    return Finding("warning", frozen={"at": last.at, "how": last.how, "event": last.event_id})


def _clears(c: Context) -> str | None:
    if _current(c):
        return None
    return "expired" if any(miss.at <= c.now for miss in _unmade(c)) else "recovered"


def _due(c: Context) -> int:
    unmade = _unmade(c)
    steps = [miss.at for miss in unmade]
    if c.episode is not None:
        steps += [_ends(c, miss) for miss in unmade]
    return min((at for at in steps if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    frozen = c.open.frozen
    days = (c.now - frozen["at"]) // DAY_US
    proof = evidence(
        "days_since_review_missed",
        days,
        "days",
        threshold=c.p["expires_days"],
        window=(frozen["at"], c.now),
        event_ids=[frozen["event"]],
    )
    return WORDS[frozen["how"]].format(on(day_of(frozen["at"]))), [proof]


SIGNAL = Signal(
    id="relationship.review_missed",
    version=1,
    title="The business review did not take place as planned",
    kind="risk",
    family="relationship",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "A business review was missed; or one was planned for a day, and none was held from the plan (or that day, where it "
        "was told later) to the midnight that ends that day: the latest plan counts; or one was held with a contact who is "
        "not an executive sponsor although the account has one, and none of that day was held with a sponsor: judged at the "
        "midnight that ends the day, with the roles known when the review was told. A review that names no contact is in "
        "order. Clears when a later review is held, not without the sponsor, or 90 d after."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 3",
    reads=Fact.TOUCH,
    inputs=("touchpoint.held", "touchpoint.planned", "touchpoint.missed"),
    needs=("touchpoint.planned",),
    action=Action(
        title="Ask the sponsor for a new date within two weeks, and send the results ahead",
        owner="csm",
        playbook="review-missed",
        runbook="relationship.review_missed",
    ),
    thresholds={"default": {"expires_days": 90}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    held_by=("engagement",),
    hole_days=1,
)


def _review(day: str, what: str, kind: str = "business_review", **more: object) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T10:00:00Z", f"touchpoint.{what}", {"kind": kind, **more})


def _contact(who: str, role: str) -> tuple[str, str, dict[str, object]]:
    return ("2026-01-02T09:00:00Z", "account.contact_changed", {"contact_id": who, "roles": [role]})


CASES = [
    Case(
        name="missed, and held two weeks later",
        events=[_review("2026-02-03", "missed"), _review("2026-02-17", "held")],
        until="2026-02-17",
        expect=[("2026-02-03T10:00:00Z", "raised", "warning"), ("2026-02-17T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="planned for the 3rd and not heard of: raised when that day ends, cleared after 90 days",
        events=[_review("2026-01-10", "planned", due="2026-02-03")],
        until="2026-05-05",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-05-05T00:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="held on the planned day",
        events=[_review("2026-01-10", "planned", due="2026-02-03"), _review("2026-02-03", "held")],
        until="2026-05-31",
        expect=[],
    ),
    Case(
        name="planned anew before the day",
        events=[
            _review("2026-01-10", "planned", due="2026-02-03"),
            _review("2026-02-02", "planned", due="2026-02-12"),
            _review("2026-02-12", "held"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="held with somebody else than the sponsor",
        events=[
            _contact("s1", "executive_sponsor"),
            _contact("a1", "admin"),
            _review("2026-02-03", "held", contact_id="a1"),
        ],
        until="2026-02-03",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning")],
    ),
    Case(
        name="the sponsor was there too",
        events=[
            _contact("s1", "executive_sponsor"),
            _contact("a1", "admin"),
            _review("2026-02-03", "held", contact_id="a1"),
            _review("2026-02-03", "held", contact_id="s1"),
        ],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="no sponsor is known: nobody is missing",
        events=[_contact("a1", "admin"), _review("2026-02-03", "held", contact_id="a1")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a call is no review",
        events=[_review("2026-02-03", "missed", "call"), _review("2026-01-10", "planned", "call", due="2026-02-03")],
        until="2026-02-28",
        expect=[],
    ),
    Case(
        name="a review that is told late clears it",
        events=[
            _review("2026-01-10", "planned", due="2026-02-03"),
            ("2026-02-06T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _review("2026-02-03", "held"),
        ],
        until="2026-02-28",
        expect=[("2026-02-04T00:00:00Z", "raised", "warning"), ("2026-02-06T10:00:00Z", "cleared", "warning")],
    ),
]
