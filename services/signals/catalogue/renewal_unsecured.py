"""renewal.unsecured: the renewal is within 90 days and a risk is open."""

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
from services.signals.core.days import DAY_US
from services.signals.core.signal import SEVERITY_RANK

SELF = "renewal.unsecured"
ASIDE = ("lifecycle",)


def open_risks(c: Context) -> list[str]:
    """Open account-scope risks of severity warning or worse, this one and reminders aside."""
    hot = c.account.hot
    found = [(name, episode.severity) for name, episode in hot.episodes.items()]
    found += [(entry.signal, entry.severity) for entry in hot.user_episodes.values() if not entry.user]
    return sorted(
        name
        for name, severity in found
        if name != SELF
        and SEVERITY_RANK[severity] >= SEVERITY_RANK["warning"]
        and (signal := c.catalogue.by_id.get(name)) is not None  # gone from the catalogue, it ends at the next midnight
        and signal.kind == "risk"
        and signal.scope in ("account", "user")
        and signal.family not in ASIDE
    )


def _raises(c: Context) -> Finding | None:
    days = c.account.hot.profile.days_to_renewal(c.now)
    if days is None or not 0 <= days <= c.p["days"] or not (risks := open_risks(c)):
        return None
    return Finding(
        "critical" if days <= c.p["critical_days"] else "warning",
        frozen={"risks": risks, "renewals": c.account.hot.renewals},
    )


def _escalates(c: Context) -> Finding | None:
    days = c.account.hot.profile.days_to_renewal(c.now)
    due = days is not None and days <= c.p["critical_days"] and c.open.severity != "critical"
    return Finding("critical") if due else None


def _clears(c: Context) -> str | None:
    if c.account.hot.renewals > c.open.frozen["renewals"]:
        return "renewed"
    return None if open_risks(c) else "recovered"


def _due(c: Context) -> int:
    day = c.account.hot.profile.renewal_day
    if day is None:
        return 0
    steps = ((day - before) * DAY_US for before in (c.p["days"], c.p["critical_days"]))
    return min((at for at in steps if at > c.now), default=0)


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    profile = c.account.hot.profile
    day, days = profile.renewal_day, profile.days_to_renewal(c.now)
    risks = open_risks(c) or c.open.frozen.get("risks", [])
    if day is None or days is None:
        return "No renewal date is known.", [evidence("days_to_renewal", None, "days", threshold=c.p["days"])]
    when = f"in {times(days, 'day')}" if days >= 0 else f"{times(-days, 'day')} ago"
    money = (
        f", {profile.fields['mrr']} {profile.fields.get('currency', '')} a month".rstrip()
        if "mrr" in profile.fields
        else ""
    )
    sentence = f"Renewal is {when} ({on(day)}{money}) with {times(len(risks), 'risk')}: {', '.join(risks)}."
    proofs = [
        evidence("days_to_renewal", days, "days", threshold=c.p["days"]),
        evidence("open_risks", ", ".join(risks), "signals"),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id=SELF,
    version=2,
    title="The renewal is near and not secured",
    kind="risk",
    family="renewal",
    scope="account",
    severity="warning; critical from 30 days on",
    pages=True,
    composite=True,
    meaning=(
        "0 to 90 days to the renewal date (the contract's end where no renewal date is known) and at least one open "
        "account-scope risk of severity warning or worse. Critical at 30 days or fewer. Stays past the date until renewed "
        "or churned, also when the date is put off; clears when renewed or when no such risk is open."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 8, law 9",
    reads=Fact.RISKS | Fact.PROFILE | Fact.CONTRACT,
    inputs=("account.updated", "account.renewed"),
    needs=("profile.renewal_date",),
    action=Action(
        title="Write the rescue plan with the sponsor: what must be true to renew, by when, by whom",
        owner="csm",
        playbook="renewal-rescue",
        runbook="renewal.unsecured",
    ),
    thresholds={"default": {"days": 90, "critical_days": 30}},
    raises=_raises,
    escalates=_escalates,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _renews(on_: str, at: str = "2026-01-01") -> tuple[str, str, dict[str, object]]:
    return (f"{at}T08:00:00Z", "account.updated", {"renewal_date": on_})


def _sponsor_leaves(day: str) -> list[tuple[str, str, dict[str, object]]]:
    return [
        ("2026-01-01T09:00:00Z", "account.contact_changed", {"contact_id": "c1", "roles": ["champion"]}),
        (f"{day}T10:00:00Z", "account.contact_left", {"contact_id": "c1"}),
    ]


CASES = [
    Case(
        name="a risk is open when the 90 days begin; critical at 30; cleared by the renewal",
        events=[
            _renews("2026-06-30"),
            *_sponsor_leaves("2026-03-01"),
            ("2026-06-20T10:00:00Z", "account.renewed", {"term_months": 12}),
        ],
        until="2026-06-20",
        expect=[
            ("2026-04-01T00:00:00Z", "raised", "warning"),
            ("2026-05-31T00:00:00Z", "escalated", "critical"),
            ("2026-06-20T10:00:00Z", "cleared", "critical"),
        ],
    ),
    Case(
        name="91 days are too early",
        events=[_renews("2026-06-30"), *_sponsor_leaves("2026-03-01")],
        until="2026-03-30",
        expect=[],
    ),
    Case(
        name="no open risk",
        events=[_renews("2026-06-30")],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="opened inside 30 days it is critical at once, and stays past the date",
        events=[_renews("2026-06-30"), *_sponsor_leaves("2026-06-10")],
        until="2026-08-31",
        expect=[("2026-06-10T10:00:00Z", "raised", "critical")],
    ),
    Case(
        name="the last risk clears",
        events=[
            _renews("2026-06-30"),
            *_sponsor_leaves("2026-05-01"),
            ("2026-05-09T10:00:00Z", "account.contact_changed", {"contact_id": "c2", "roles": ["champion"]}),
        ],
        until="2026-05-31",
        expect=[("2026-05-01T10:00:00Z", "raised", "warning"), ("2026-05-09T10:00:00Z", "cleared", "warning")],
    ),
    Case(
        name="a risk after the date has passed",
        events=[_renews("2026-06-30"), *_sponsor_leaves("2026-07-01")],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="a user's risk is not the account's",
        events=[
            _renews("2026-06-30"),
            ("2026-05-01T10:00:00Z", "survey.answered", {"survey_id": "S", "kind": "nps", "score": 2, "user": "ana"}),
        ],
        until="2026-07-31",
        expect=[],
    ),
    Case(
        name="churned",
        events=[
            _renews("2026-06-30"),
            *_sponsor_leaves("2026-06-10"),
            ("2026-06-12T10:00:00Z", "account.churned", {"reason": "bankruptcy", "avoidable": False}),
        ],
        until="2026-07-31",
        expect=[("2026-06-10T10:00:00Z", "raised", "critical"), ("2026-06-12T10:00:00Z", "cleared", "critical")],
    ),
]
