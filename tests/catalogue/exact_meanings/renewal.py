"""Cases of `renewal.unsecured`. D100 is 2024-04-10."""

from __future__ import annotations

from typing import Any

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import Events, at, contact, date, event, invoice, left, nps, opened, payment, profile, step

RENEWAL = "renewal.unsecured"


def due(day: int = 100, **fields: Any) -> dict[str, Any]:
    """A profile with its renewal on a day."""
    return profile(at(0), renewal_date=date(day), **fields)


def sponsor_lost(day: int) -> Events:
    """A critical risk of the account opens."""
    return [contact(at(0), "c1", ["champion"]), left(at(day), "c1")]


def successor(day: int) -> dict[str, Any]:
    """The critical risk clears."""
    return contact(at(day), "c2", ["champion"])


def renewed(time: str, **data: Any) -> dict[str, Any]:
    """The contract was renewed."""
    return event("account.renewed", time, **data)


CASES = [
    Case(
        "renewal: 90 days before with a risk open, critical at 30, past the date until renewed",
        [due(), *sponsor_lost(5), renewed(at(110))],
        {RENEWAL: ["D10 raised warning", "D70 escalated critical", "D110 10:00 cleared critical renewed"]},
        until=200,
    ),
    Case("renewal: 91 days before is too early", [due(), *sponsor_lost(5)], {RENEWAL: []}, until=8),
    Case(
        "renewal: a risk that opens within the window",
        [due(), *sponsor_lost(20), successor(25)],
        {RENEWAL: ["D20 10:00 raised warning", "D25 10:00 cleared warning recovered"]},
    ),
    Case(
        "renewal: critical at once within 30 days", [due(), *sponsor_lost(70)], {RENEWAL: ["D70 10:00 raised critical"]}
    ),
    Case(
        "renewal: 31 days before is a warning",
        [due(), *sponsor_lost(69)],
        {RENEWAL: ["D69 10:00 raised warning", "D70 escalated critical"]},
    ),
    Case("renewal: on the day itself", [due(), *sponsor_lost(100)], {RENEWAL: ["D100 10:00 raised critical"]}),
    Case("renewal: a risk that opens after the date raises nothing", [due(), *sponsor_lost(101)], {RENEWAL: []}),
    Case("renewal: no risk, no signal", [due(), opened(at(20), "t", "P4")], {RENEWAL: []}),
    Case("renewal: no date, no signal", sponsor_lost(20), {RENEWAL: []}),
    Case(
        "renewal: the contract's end where no renewal date is known",
        [profile(at(0), contract_end=date(100)), *sponsor_lost(5)],
        {RENEWAL: ["D10 raised warning", "D70 escalated critical"]},
    ),
    Case(
        "renewal: the renewal date before the contract's end",
        [due(200, contract_end=date(100)), *sponsor_lost(5)],
        {RENEWAL: ["D110 raised warning", "D170 escalated critical"]},
        until=200,
    ),
    Case(
        "renewal: a risk of severity info does not count until it is a warning",
        [due(), invoice(at(0), "i", 20), payment("paid", at(40), "i")],
        {RENEWAL: ["D35 raised warning", "D40 10:00 cleared warning recovered"]},
    ),
    Case("renewal: a user's risk does not count", [due(), nps(at(20), 0)], {RENEWAL: []}),
    Case(
        "renewal: the account's own detraction does",
        [due(), nps(at(20), 0, None), nps(at(30), 9, None)],
        {RENEWAL: ["D20 10:00 raised warning", "D30 10:00 cleared warning recovered"]},
    ),
    Case(
        "renewal: one risk of two is enough to keep it",
        [due(), *sponsor_lost(20), opened(at(12), "t", "P1"), successor(25), step("closed", at(26), "t")],
        {RENEWAL: ["D20 10:00 raised warning", "D26 10:00 cleared warning recovered"]},
    ),
    Case(
        "renewal: renewing moves the date by the term, to the month's last day at most",
        [
            profile(at(0), renewal_date="2024-01-31"),
            *sponsor_lost(5),
            renewed(at(9), term_months=1),
        ],
        # 2024-01-31 and one month is 2024-02-29, D59: within 90 days at once, so shown again at midnight.
        {
            RENEWAL: [
                "D5 10:00 raised critical",
                "D9 10:00 cleared critical renewed",
                "D10 raised warning",
                "D29 escalated critical",
            ]
        },
    ),
    Case(
        "renewal: raised by the renewal itself, where the next date is near, it stays",
        [due(10), *sponsor_lost(5), successor(6), left(at(20), "c2"), renewed(at(30), term_months=1)],
        {
            RENEWAL: [
                "D5 10:00 raised critical",
                "D6 10:00 cleared critical recovered",
                "D30 10:00 raised critical",
            ]
        },
        until=39,
    ),
    Case(
        "renewal: twelve months where no term is said",
        [due(), *sponsor_lost(5), renewed(at(20))],
        # 2025-04-10 is D465.
        {RENEWAL: ["D10 raised warning", "D20 10:00 cleared warning renewed", "D375 raised warning"]},
        until=375,
    ),
    Case(
        "renewal: a date put off does not clear it",
        [due(), *sponsor_lost(20), profile(at(30), renewal_date=date(300)), successor(40)],
        {RENEWAL: ["D20 10:00 raised warning", "D40 10:00 cleared warning recovered"]},
    ),
    Case(
        "renewal: a date drawn nearer escalates",
        [due(), *sponsor_lost(20), profile(at(30), renewal_date=date(60))],
        {RENEWAL: ["D20 10:00 raised warning", "D30 10:00 escalated critical"]},
    ),
    Case(
        "renewal: critical.* counts among the risks",
        [
            due(),
            invoice(at(0), "i", 15),
            opened(at(0), "t", "P1"),
            payment("paid", at(60), "i"),
            step("closed", at(61), "t"),
        ],
        {
            RENEWAL: ["D10 10:00 raised warning", "D61 10:00 cleared warning recovered"],
            "critical.support_and_billing": ["D45 raised critical", "D60 10:00 cleared critical recovered"],
        },
    ),
]
