"""fit.out_of_profile: not the customer the product is made for, or one who asks mostly for something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.signals.catalogue.definition import Action, Case, Context, Evidence, Fact, Finding, Signal, evidence
from services.signals.core.days import DAY_US
from services.signals.core.support import KEPT_DAYS, next_crossing

OUTSIDE = ("feature_request", "other")
"""Categories of tickets that are about what the product does not do."""


def _poor_fit(c: Context) -> bool:
    """Whether the profile says that the account is outside the ideal customer's."""
    fit = c.account.hot.profile.fields.get("fit")
    if isinstance(fit, bool):
        return not fit
    if isinstance(fit, int | float):
        return bool(fit < (c.p["fit_min"] if fit <= 1 else 100 * c.p["fit_min"]))
    return isinstance(fit, str) and fit.strip().casefold() in c.p["poor"]


def _requests(c: Context) -> tuple[int, int, list[str]]:
    """Tickets with a category in the trailing window, those of them outside the core use, and their event ids."""
    found = [known for _, known in c.dossier.support.within(c.now, c.p["days"]) if known.category is not None]
    outside = sorted((known.opened_at, known.event_id) for known in found if known.category in OUTSIDE)
    return len(found), len(outside), [event_id for _, event_id in outside]


def _mostly_outside(c: Context, share: float) -> bool:
    known, outside, _ = _requests(c)
    return known >= c.p["tickets"] and outside >= share * known


def _raises(c: Context) -> Finding | None:
    return Finding("info") if _poor_fit(c) or _mostly_outside(c, c.p["raise_at"]) else None


def _clears(c: Context) -> str | None:
    return None if _poor_fit(c) or _mostly_outside(c, c.p["clear_at"]) else "recovered"


def _due(c: Context) -> int:
    return next_crossing(c.dossier.support, c.now, (c.p["days"],))


def _describe(c: Context) -> tuple[str, list[Evidence]]:
    known, outside, events = _requests(c)
    fit = c.account.hot.profile.fields.get("fit")
    stated = "not stated" if fit is None else f"stated as {str(fit).lower()}"
    sentence = (
        f"Fit with the ideal customer is {stated}; {outside} of {known} tickets in {c.p['days']} days ask for what is "
        "outside the core use."
    )
    window = (c.now - c.p["days"] * DAY_US, c.now)
    return sentence, [
        evidence("fit", None if fit is None else str(fit).lower(), "stated"),
        evidence(
            "requests_outside_core_use",
            outside,
            "tickets",
            baseline=known,
            threshold=round(c.p["raise_at"] * known, 2),
            window=window,
            event_ids=events[-20:],
        ),
    ]


def _refuses(p: Mapping[str, Any]) -> str:
    return f"days: tickets are remembered for {KEPT_DAYS} days" if p["days"] > KEPT_DAYS else ""


SIGNAL = Signal(
    id="fit.out_of_profile",
    version=1,
    title="Outside the ideal customer profile",
    kind="risk",
    family="fit",
    scope="account",
    severity="info",
    pages=False,
    meaning=(
        "The profile's fit says no (false; a number under 0.5 of 1 or, above 1, of 100; one of the words poor, bad, low, weak, "
        "no, none, out, outside), or of at least 6 tickets with a category that were opened in the trailing 90 × 24 h at "
        "least 60 % are feature requests or of category other. Clears when the fit does not say no, and the share is under "
        "40 % or the tickets are fewer."
    ),
    source="Customer Success (Mehta, Steinman, Murphy), law 1; Fourteen commandments of customer success (S. Abdullah), 13",
    reads=Fact.PROFILE | Fact.TICKETS | Fact.TIER,
    inputs=("account.updated", "ticket.opened", "ticket.updated"),
    action=Action(
        title="Decide with sales whether the account can succeed, and with what; tell sales what was sold amiss",
        owner="csm",
        playbook="out-of-profile",
        runbook="fit.out_of_profile",
    ),
    thresholds={
        "default": {
            "fit_min": 0.5,
            "poor": ["poor", "bad", "low", "weak", "no", "none", "out", "outside"],
            "days": 90,
            "tickets": 6,
            "raise_at": 0.6,
            "clear_at": 0.4,
        }
    },
    raises=_raises,
    clears=_clears,
    due=_due,
    describe=_describe,
    refuses=_refuses,
)


def _fit(day: str, fit: object) -> tuple[str, str, dict[str, object]]:
    return (f"2026-{day}T10:00:00Z", "account.updated", {"fit": fit})


def _tickets(*categories: str, month: str = "02") -> list[tuple[str, str, dict[str, object]]]:
    """One ticket of each category, on the days from the first of the month on."""
    return [
        (
            f"2026-{month}-{number:02d}T10:00:00Z",
            "ticket.opened",
            {"ticket_id": f"T{month}{number}", "priority": "P4", "category": category},
        )
        for number, category in enumerate(categories, 1)
    ]


CASES = [
    Case(
        name="a poor fit, until it is looked at again",
        events=[_fit("01-05", "Poor"), _fit("02-05", "good")],
        until="2026-02-28",
        expect=[("2026-01-05T10:00:00Z", "raised", "info"), ("2026-02-05T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="0.49 of 1",
        events=[_fit("01-05", 0.49)],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "info")],
    ),
    Case(
        name="0.5 of 1, 50 of 100, true, and a word nobody listed",
        events=[_fit("01-05", 0.5), _fit("01-06", 50), _fit("01-07", True), _fit("01-08", "strategic")],
        until="2026-01-31",
        expect=[],
    ),
    Case(
        name="fit is not asked about when it is withdrawn",
        events=[_fit("01-05", False), _fit("01-06", None)],
        until="2026-01-31",
        expect=[("2026-01-05T10:00:00Z", "raised", "info"), ("2026-01-06T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="six of ten tickets outside the core use; then too few are left",
        events=_tickets(*["bug"] * 4, *["feature_request"] * 5, "other"),
        until="2026-05-31",
        expect=[("2026-02-10T10:00:00Z", "raised", "info"), ("2026-05-06T10:00:00Z", "cleared", "info")],
    ),
    Case(
        name="five of nine, and five of five",
        events=_tickets(*["bug"] * 4, *["feature_request"] * 5),
        until="2026-05-01",
        expect=[],
    ),
]
