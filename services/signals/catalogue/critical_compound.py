"""critical.compound: several independent risks at once."""

from __future__ import annotations

from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US, day_of

ASIDE = ("critical", "lifecycle")
SELF_MADE = ("renewal.unsecured",)
DIGITS = 9


def _open(c: Context) -> dict[str, tuple[float, int]]:
    """Weight and opening day of each open account-scope risk; of one that is open on several things the heaviest."""
    hot = c.account.hot
    entries = [(name, episode.severity, episode.opened_at) for name, episode in hot.episodes.items()]
    entries += [(e.signal, e.severity, e.opened_at) for e in hot.user_episodes.values() if not e.user]
    found: dict[str, tuple[float, int]] = {}
    for name, severity, opened_at in entries:
        signal = c.catalogue.by_id.get(name)  # gone from the catalogue, it ends at the next midnight
        if signal is None or signal.kind != "risk" or signal.family in ASIDE or signal.id in SELF_MADE:
            continue
        if signal.scope not in ("account", "user"):
            continue
        risk = (float(c.p["weights"][severity]), day_of(opened_at))
        before = found.get(name)
        if before is None or _worth(c, risk, c.today) > _worth(c, before, c.today):
            found[name] = risk
    return found


def _worth(c: Context, risk: tuple[float, int], today: int) -> float:
    weight, opened = risk
    return float(weight * 0.5 ** ((today - opened) / c.p["half_life_days"]))


def _sum(c: Context, risks: dict[str, tuple[float, int]], today: int) -> float:
    """The decayed sum, rounded so that it does not depend on the order of the terms."""
    return round(sum(_worth(c, risk, today) for _, risk in sorted(risks.items())), DIGITS)


def _families(c: Context, risks: dict[str, tuple[float, int]]) -> list[str]:
    return sorted({c.catalogue.by_id[name].family for name in risks})


def _raises(c: Context) -> Finding | None:
    risks = _open(c)
    if len(risks) < c.p["families"] or len(_families(c, risks)) < c.p["families"]:
        return None
    return Finding("critical", frozen={"risks": sorted(risks)}) if _sum(c, risks, c.today) >= c.p["raise_at"] else None


def _clears(c: Context) -> str | None:
    return "recovered" if _sum(c, _open(c), c.today) < c.p["clear_at"] else None


def _due(c: Context) -> int:
    """Time only makes the sum smaller: open, the first midnight at which it is below the bar."""
    if c.episode is None:
        return 0
    risks = _open(c)
    day = c.today + 1
    while _sum(c, risks, day) >= c.p["clear_at"]:
        day += 1
    return day * DAY_US


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    risks = _open(c)
    total = round(_sum(c, risks, c.today), 1)
    names = ", ".join(sorted(risks, key=lambda name: (-_worth(c, risks[name], c.today), name)))
    of = len(_families(c, risks))
    sentence = f"{len(risks)} open risks of {of} families weigh {total} together (limit {c.p['raise_at']}): {names}."
    proofs = [
        evidence("decayed_weight", total, "points", threshold=c.p["raise_at"]),
        evidence("open_risks", names, "signals"),
    ]
    return sentence, proofs


SIGNAL = Signal(
    id="critical.compound",
    version=2,
    title="Several risks at once",
    kind="risk",
    family="critical",
    scope="account",
    severity="critical",
    pages=True,
    composite=True,
    meaning=(
        "The open account-scope risks of at least 3 families weigh at least 9 together: each info 1, warning 3, critical 6, "
        "halved with every 60 days between the day it opened and today. Risks of users and campaigns, critical.* themselves, "
        "renewal.unsecured and reminders are left out; a signal open on several things counts once, with the heaviest. "
        "Clears when the sum falls below 6. Judged when risks open, get worse or clear, and at midnights."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), ch. 17",
    reads=Fact.RISKS,
    inputs=("usage.feature_used", "ticket.opened", "invoice.issued", "account.contact_left", "survey.answered"),
    action=Action(
        title="Bring everybody who owns one of these risks together, and make one plan with the sponsor",
        owner="csm",
        playbook="compound",
        runbook="critical.compound",
    ),
    thresholds={
        "default": {
            "weights": {"info": 1, "warning": 3, "critical": 6},
            "half_life_days": 60,
            "families": 3,
            "raise_at": 9,
            "clear_at": 6,
        }
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
)


def _tickets(day: str) -> list[tuple[str, str, dict[str, object]]]:
    """Five on one day: `support.burst`, open for as long as they are."""
    return [(f"{day}T1{n}:00:00Z", "ticket.opened", {"ticket_id": f"T{n}", "priority": "P4"}) for n in range(5)]


def _evaluates(day: str) -> tuple[str, str, dict[str, object]]:
    return (f"{day}T08:00:00Z", "evaluation.announced", {})


def _slips(day: str) -> list[tuple[str, str, dict[str, object]]]:
    """A promise made and moved: `commitment.slipped`."""
    made = {"commitment": "single sign-on"}
    return [
        ("2026-01-01T08:00:00Z", "account.commitment_made", {**made, "due": "2026-02-20"}),
        (f"{day}T09:00:00Z", "account.commitment_made", {**made, "due": "2026-03-20"}),
    ]


def _champion(day: str) -> list[tuple[str, str, dict[str, object]]]:
    return [
        ("2026-01-01T09:00:00Z", "account.contact_changed", {"contact_id": "c1", "roles": ["champion"]}),
        (f"{day}T07:00:00Z", "account.contact_left", {"contact_id": "c1"}),
    ]


def _in_order(*parts: list[tuple[str, str, dict[str, object]]]) -> list[tuple[Any, ...]]:
    return sorted((event for part in parts for event in part), key=lambda event: event[0])


_STUCK: tuple[str, str, dict[str, object]] = ("2026-01-04T08:00:00Z", "usage.logged_in", {"user": "ana"})

CASES = [
    Case(
        name="three warnings of one day weigh exactly 9; 36 days later less than 6",
        events=_in_order([_evaluates("2026-01-12")], _slips("2026-01-12"), _tickets("2026-01-12")),
        until="2026-02-16",
        expect=[("2026-01-12T14:00:00Z", "raised", "critical"), ("2026-02-17T00:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="one of them is a day older",
        events=_in_order([_evaluates("2026-01-11")], _slips("2026-01-12"), _tickets("2026-01-12")),
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a critical and two warnings; two warnings of a day before are less than 6 when it clears",
        events=_in_order(
            _champion("2026-01-12"),
            _slips("2026-01-12"),
            _tickets("2026-01-12"),
            [("2026-01-13T08:00:00Z", "account.contact_changed", {"contact_id": "c2", "roles": ["champion"]})],
        ),
        until="2026-01-13",
        expect=[("2026-01-12T14:00:00Z", "raised", "critical"), ("2026-01-13T08:00:00Z", "cleared", "critical")],
    ),
    Case(
        name="a critical and two warnings of two families",
        events=[*_champion("2026-01-12"), _evaluates("2026-01-12"), *_tickets("2026-01-12")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="a user's risk is not the account's",
        events=_in_order([_evaluates("2026-01-11"), _STUCK], _slips("2026-01-12"), _tickets("2026-01-12")),
        until="2026-01-31",
        expect=[],
    ),
]
