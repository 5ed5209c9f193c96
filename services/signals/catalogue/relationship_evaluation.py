"""relationship.evaluation: the customer announced that it looks at alternatives."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.core.days import DAY_US, day_of


def _ends(c: Context) -> int:
    """The instant at which the latest announcement is no news any more, 0 where there is none."""
    at = c.dossier.engagement.evaluation.at
    return at + int(c.p["expires_days"]) * DAY_US if at >= 0 else 0


def _renewed_since(c: Context) -> bool:
    """Whether the customer has signed since: a customer who is not churned was last heard of by a renewal, if at all."""
    return c.account.hot.churn_known_at >= c.dossier.engagement.evaluation.at


def _raises(c: Context) -> Finding | None:
    return None if c.now >= _ends(c) or _renewed_since(c) else Finding("warning")


def _clears(c: Context) -> str | None:
    if _renewed_since(c):
        return "renewed"
    return "expired" if c.now >= _ends(c) else None


def _due(c: Context) -> int:
    return 0 if c.episode is None else _ends(c)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    said = c.dossier.engagement.evaluation
    days = (c.now - said.at) // DAY_US
    rival = f" The rival is {said.rival}." if said.rival else ""
    sentence = f"An evaluation of alternatives was announced on {on(day_of(said.at))}, {days} days ago.{rival}"
    proof = evidence(
        "days_since_announced",
        days,
        "days",
        threshold=c.p["expires_days"],
        window=(said.at, c.now),
        event_ids=[said.event_id],
    )
    return sentence, [proof]


SIGNAL = Signal(
    id="relationship.evaluation",
    version=1,
    title="The customer evaluates alternatives",
    kind="risk",
    family="relationship",
    scope="account",
    severity="warning",
    pages=False,
    meaning=(
        "A request for proposals or an evaluation was announced in the last 180 × 24 h, or that a user of a rival's product "
        "acquires the customer: that is announced as an evaluation, with the rival's name. The latest announcement counts. "
        "Clears when the contract is renewed after it, or 180 d after it."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 2",
    reads=Fact.EVALUATION | Fact.CONTRACT,
    inputs=("evaluation.announced", "account.renewed"),
    needs=("evaluation.announced",),
    action=Action(
        title="Meet the sponsor this week: learn what is missing, and bring the results reached so far",
        owner="csm",
        playbook="evaluation",
        runbook="relationship.evaluation",
    ),
    thresholds={"default": {"expires_days": 180}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _announced(at: str, **data: object) -> tuple[str, str, dict[str, object]]:
    return (at, "evaluation.announced", data)


CASES = [
    Case(
        name="announced, and renewed all the same",
        events=[_announced("2026-01-05T10:00:00Z", rival="Globex"), ("2026-03-01T09:00:00Z", "account.renewed", {})],
        until="2026-03-01",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning"), ("2026-03-01T09:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="180 days after the latest announcement",
        events=[_announced("2026-01-05T10:00:00Z"), _announced("2026-02-05T10:00:00Z", rival="Globex")],
        until="2026-08-04",
        expect=[("2026-01-05T10:00:00Z", "raised", "warning"), ("2026-08-04T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="announced before the renewal, and told after it",
        events=[("2026-03-01T09:00:00Z", "account.renewed", {}), _announced("2026-02-28T10:00:00Z")],
        until="2026-03-31",
        expect=[],
    ),
    Case(
        name="told 180 days late",
        events=[
            ("2026-07-04T10:00:00Z", "usage.feature_used", {"feature": "report"}),
            _announced("2026-01-05T10:00:00Z"),
        ],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="told a second before the 180 days are over",
        events=[
            ("2026-07-04T09:59:59Z", "usage.feature_used", {"feature": "report"}),
            _announced("2026-01-05T10:00:00Z"),
        ],
        until="2026-07-04",
        expect=[("2026-07-04T09:59:59Z", "raised", "warning"), ("2026-07-04T10:00:00Z", "cleared", "warning")],
    ),
]
