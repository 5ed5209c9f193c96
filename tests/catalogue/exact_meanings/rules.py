"""Cases of the reading rules that hold for every signal: churn, erasure, repeats, late and future events, ticks."""

from __future__ import annotations

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import at, contact, date, event, invoice, left, login, nps, opened, profile, step, use, view

AGED = "support.aged_critical"
OVERDUE = "billing.overdue"
CRITICAL = "critical.support_and_billing"
RENEWAL = "renewal.unsecured"
SILENCE = "usage.silence"
DETRACTOR = "survey.detractor"

TROUBLE = [
    profile(at(0), renewal_date=date(100)),
    invoice(at(0), "i", 0),
    opened(at(0), "t", "P1"),
    nps(at(20), 1),
]
CHURN = event("account.churned", at(40), reason="no ROI")
RAISED = {
    AGED: ["D10 10:00 raised critical"],
    OVERDUE: ["D1 raised info", "D15 escalated warning", "D30 escalated critical"],
    CRITICAL: ["D30 raised critical"],
    RENEWAL: ["D10 10:00 raised warning"],
    DETRACTOR: ["D20 10:00 (ann) raised warning"],
}


def ended(because: str) -> dict[str, list[str]]:
    """Everything that was raised clears on D40 for one reason."""
    severities = {AGED: "critical", OVERDUE: "critical", CRITICAL: "critical", RENEWAL: "warning", DETRACTOR: "(ann)"}
    last = {
        name: f"D40 10:00 (ann) cleared warning {because}"
        if severity == "(ann)"
        else f"D40 10:00 cleared {severity} {because}"
        for name, severity in severities.items()
    }
    return {name: [*raised, last[name]] for name, raised in RAISED.items()}


CASES = [
    Case(
        "churned: every open episode clears, and nothing is raised",
        [*TROUBLE, CHURN, opened(at(50), "s", "P1")],
        ended("churned"),
    ),
    Case("erased: every open episode clears", [*TROUBLE, event("account.erased", at(40))], ended("erased")),
    Case(
        "erased: nothing is remembered, and what comes after is a new account",
        [login(at(0)), view(at(1)), event("account.erased", at(20)), login(at(30)), use(at(40))],
        {
            "adoption.user_stuck": [
                "D7 10:00 (ann) raised info",
                "D20 10:00 (ann) cleared info erased",
                "D37 10:00 (ann) raised info",
            ],
        },
        until=60,
    ),
    Case(
        "churned, then renewed: what still holds is raised at the renewal",
        [*TROUBLE, CHURN, event("account.renewed", at(60))],
        {
            AGED: [*ended("churned")[AGED], "D60 10:00 raised critical"],
            OVERDUE: [*ended("churned")[OVERDUE], "D60 10:00 raised critical"],
            CRITICAL: [*ended("churned")[CRITICAL], "D60 10:00 raised critical"],
            DETRACTOR: [
                *ended("churned")[DETRACTOR],
                "D60 10:00 (ann) raised warning",
                "D110 10:00 (ann) cleared warning expired",
            ],
        },
    ),
    Case(
        "churned and renewed on one day: raised again at midnight",
        [*TROUBLE, CHURN, event("account.renewed", at(40, "11:00:00"))],
        {AGED: [*ended("churned")[AGED], "D41 raised critical"]},
    ),
    Case(
        "churned: whoever got stuck meanwhile is shown when the account is won back",
        [login(at(35)), CHURN, event("account.renewed", at(60)), login(at(61), "bob")],
        {"adoption.user_stuck": ["D60 10:00 (ann) raised info", "D68 10:00 (bob) raised info"]},
        until=70,
    ),
    Case(
        "one user, two signals: each has its own end",
        [login(at(0)), nps(at(16), 5), nps(at(1), 3, "bob"), login(at(74), "bob")],
        {
            DETRACTOR: [
                "D16 10:00 (ann) raised warning",
                "D16 10:00 (bob) raised warning",
                "D91 10:00 (bob) cleared warning expired",
                "D106 10:00 (ann) cleared warning expired",
            ],
            "adoption.user_stuck": [
                "D7 10:00 (ann) raised info",
                "D67 10:00 (ann) cleared info expired",
                "D81 10:00 (bob) raised info",
                "D141 10:00 (bob) cleared info expired",
            ],
        },
    ),
    Case(
        "repeats: the same source and id within a day is one event",
        [
            *[event("account.updated", at(0), name="Acme")],
            {**use(at(0), 20), "id": "same"},
            {**use(at(0), 20), "id": "same"},
            use(at(28), 16),
        ],
        {"usage.decline": []},
        until=55,
    ),
    Case(
        "repeats: another source's same id is another event",
        [{**use(at(0), 10), "id": "same"}, {**use(at(0), 10), "id": "same", "source": "other"}, use(at(28), 15)],
        {"usage.decline": ["D29 raised warning"]},
        until=55,
    ),
    Case(
        "repeats: exactly a day behind the clock is still checked",
        [{**use(at(0), 10), "id": "same"}, profile(at(1), name="Acme"), {**use(at(0), 10), "id": "same"}],
        {"usage.decline": []},
        until=55,
    ),
    Case(
        "repeats: older than a day is counted again",
        [
            {**use(at(0), 10), "id": "same"},
            profile(at(1, "10:00:00.000001"), name="Acme"),
            {**use(at(0), 10), "id": "same"},
        ],
        {"usage.decline": ["D29 raised critical"]},
        until=55,
    ),
    Case(
        "too old: use 56 weeks back is refused, 55 is not",
        [
            profile(at(56 * 7), name="Acme"),
            use(at(6, "23:59:59"), 20, core=True),
            *[use(at(7 + day, "00:00:00")) for day in range(4)],
            use(at(56 * 7), core=True),
        ],
        {SILENCE: [f"D{56 * 7 + 30} 10:00 raised warning"]},
        until=500,
    ),
    Case(
        "too old: only five days of which four are kept",
        [
            profile(at(56 * 7), name="Acme"),
            use(at(6, "23:59:59")),
            *[use(at(7 + day, "00:00:00")) for day in range(4)],
        ],
        {SILENCE: []},
        until=500,
    ),
    Case(
        "ticks: another account's event lets an absent one fall silent",
        [*[use(at(day)) for day in range(5)], use(at(50), account="other")],
        {SILENCE: ["D34 10:00 raised warning"]},
        until=50,
    ),
    Case(
        "ticks: a new account's old event is late",
        [use(at(20, "12:00:00"), account="other"), opened(at(5), "t", "P1")],
        {AGED: ["D20 raised critical"]},
        until=30,
    ),
    Case(
        "late: an episode cleared by a late event takes its composites with it",
        [*TROUBLE[:3], step("reopened", at(31), "t"), profile(at(35), name="Acme"), step("resolved", at(32), "t")],
        {
            AGED: ["D10 10:00 raised critical", "D35 10:00 cleared critical late_event"],
            CRITICAL: ["D30 raised critical", "D35 10:00 cleared critical late_event"],
            RENEWAL: ["D10 10:00 raised warning"],
        },
        until=40,
    ),
    Case(
        "profile: the latest event time wins, a null clears",
        [
            profile(at(10), tier="high"),
            profile(at(5), tier="tech"),
            *[use(at(10 + day)) for day in range(5)],
            profile(at(16), tier=None),
        ],
        {SILENCE: ["D44 10:00 raised warning"]},
    ),
    Case(
        "time zones: an instant is an instant",
        [{**opened(at(0), "t", "P1"), "time": "2024-01-01T12:30:00+02:30"}],
        {AGED: ["D10 10:00 raised critical"]},
    ),
    Case(
        "sponsor and champion of two accounts are two matters",
        [
            contact(at(0), "c1", ["champion"]),
            {**contact(at(0), "c2", ["champion"]), "subject": "other"},
            left(at(5), "c1"),
        ],
        {"relationship.sponsor_lost": ["D5 10:00 raised critical"]},
    ),
]
