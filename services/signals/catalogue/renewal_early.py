"""renewal.early: a healthy account could renew before its date."""

from __future__ import annotations

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence, on
from services.signals.catalogue.renewal_unsecured import open_risks
from services.signals.core.days import DAY_US


def _raises(c: Context) -> Finding | None:
    hot = c.account.hot
    days = hot.profile.days_to_renewal(c.now)
    if days is None or not 1 <= days <= c.p["days"] or hot.score < c.p["health"] or open_risks(c):
        return None
    return Finding("info", frozen={"renewals": hot.renewals})


def _clears(c: Context) -> str | None:
    hot = c.account.hot
    days = hot.profile.days_to_renewal(c.now)
    if hot.renewals > c.open.frozen["renewals"]:
        return "renewed"
    if days is None or days > c.p["days"]:
        return "not_applicable"
    if days < 1:
        return "expired"
    return "recovered" if hot.score < c.p["clear_health"] or open_risks(c) else None


def _due(c: Context) -> int:
    day = c.account.hot.profile.renewal_day
    if day is None:
        return 0
    steps = ((day - c.p["days"]) * DAY_US, day * DAY_US)
    return min((at for at in steps if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    hot = c.account.hot
    day, days = hot.profile.renewal_day, hot.profile.days_to_renewal(c.now)
    risks = open_risks(c)
    when = "no renewal date is known" if day is None else f"the renewal is on {on(day)}, {days} days from today"
    risky = f"open: {', '.join(risks[:3])}" if risks else "no risk is open"
    score = round(hot.score, 1) if hot.score >= 0 else None
    sentence = f"Health is {'not known' if score is None else f'{score:g}'}, {when}, and {risky}."
    return sentence, [
        evidence("health", score, "points", threshold=c.p["health"]),
        evidence("days_to_renewal", days, "days", threshold=c.p["days"]),
        evidence("open_risks", len(risks), "risks", threshold=0),
    ]


SIGNAL = Signal(
    id="renewal.early",
    version=1,
    title="Healthy enough to renew early",
    kind="opportunity",
    family="renewal",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "1 to 120 days to the renewal date (the contract's end where no renewal date is known), health is 85 or more, and no "
        "account-scope risk of severity warning or worse is open, reminders aside. Clears when health falls under 80, when "
        "such a risk opens, when the account renews, and on the day of the renewal."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 8",
    reads=Fact.SCORE | Fact.RISKS | Fact.PROFILE | Fact.CONTRACT,
    inputs=("account.updated", "account.renewed"),
    needs=("profile.renewal_date",),
    action=Action(
        title="Offer to renew now, with the results of the year on one page",
        owner="csm",
        playbook="early-renewal",
        runbook="renewal.early",
    ),
    thresholds={"default": {"days": 120, "health": 85, "clear_health": 80}},
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _account(day: str) -> tuple[str, str, dict[str, object]]:
    return ("2025-01-01T09:00:00Z", "account.updated", {"renewal_date": day})


_PAYING = [
    (
        "2025-01-01T10:00:00Z",
        "invoice.issued",
        {"invoice_id": "I1", "amount": "100.00", "currency": "EUR", "due": "2025-01-31"},
    ),
    ("2025-01-02T10:00:00Z", "invoice.paid", {"invoice_id": "I1", "amount": "100.00"}),
]
_LATE = (
    "2025-04-10T10:00:00Z",
    "invoice.issued",
    {"invoice_id": "I2", "amount": "100.00", "currency": "EUR", "due": "2025-03-20"},
)

CASES = [
    Case(
        name="120 days before, until the day of the renewal",
        events=[_account("2025-06-30"), *_PAYING],
        until="2025-07-31",
        expect=[("2025-03-02T00:00:00Z", "raised", "info"), ("2025-06-30T00:00:00Z", "cleared", "info")],
    ),
    Case(name="121 days before", events=[_account("2025-06-30"), *_PAYING], until="2025-02-28", expect=[]),
    Case(name="health is not known", events=[_account("2025-06-30")], until="2025-07-31", expect=[]),
    Case(
        name="an invoice 21 days overdue: a risk, and less health",
        events=[_account("2025-06-30"), *_PAYING, _LATE],
        until="2025-05-31",
        expect=[("2025-03-02T00:00:00Z", "raised", "info"), ("2025-04-10T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="renewed",
        events=[_account("2025-06-30"), *_PAYING, ("2025-04-01T10:00:00Z", "account.renewed", {})],
        until="2025-07-31",
        expect=[("2025-03-02T00:00:00Z", "raised", "info"), ("2025-04-01T10:00:00Z", "cleared", "info")],
    ),
]
