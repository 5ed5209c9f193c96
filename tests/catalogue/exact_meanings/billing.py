"""Cases of `billing.overdue` and `critical.support_and_billing`."""

from __future__ import annotations

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import at, invoice, opened, payment, step

OVERDUE = "billing.overdue"
CRITICAL = "critical.support_and_billing"

LADDER = ["D1 raised info", "D15 escalated warning", "D30 escalated critical", "D60 escalated critical"]
DUE_D0 = invoice(at(-20), "i0", 0)

CASES = [
    Case("overdue: the steps", [DUE_D0], {OVERDUE: LADDER}),
    Case("overdue: paid on the due date", [DUE_D0, payment("paid", at(0, "23:59:59.999999"), "i0")], {OVERDUE: []}),
    Case(
        "overdue: paid exactly at the midnight comes after the deadline",
        [DUE_D0, payment("paid", at(1, "00:00:00"), "i0")],
        {OVERDUE: ["D1 raised info", "D1 cleared info recovered"]},
    ),
    Case(
        "overdue: late already when issued, one raise at the highest step",
        [invoice(at(40), "i0", 0)],
        {OVERDUE: ["D40 10:00 raised critical", "D60 escalated critical"]},
    ),
    Case(
        "overdue: 29 days late when issued is the step of 15",
        [invoice(at(29), "i0", 0)],
        {OVERDUE: ["D29 10:00 raised warning", "D30 escalated critical", "D60 escalated critical"]},
    ),
    Case(
        "overdue: the latest due date decides, and a step never falls",
        [DUE_D0, invoice(at(2), "i1", 20)],
        {
            OVERDUE: [
                "D1 raised info",
                "D15 escalated warning",
                "D50 escalated critical",
                "D80 escalated critical",
            ]
        },
    ),
    Case(
        "overdue: with the later one paid the older decides again",
        [DUE_D0, invoice(at(2), "i1", 20), payment("paid", at(40), "i1")],
        {
            OVERDUE: [
                "D1 raised info",
                "D15 escalated warning",
                "D40 10:00 escalated critical",
                "D60 escalated critical",
            ]
        },
    ),
    Case(
        "overdue: clears when no recurring invoice is unpaid",
        [DUE_D0, invoice(at(2), "i1", 3), payment("paid", at(5), "i1"), payment("paid", at(6), "i0")],
        {OVERDUE: ["D1 raised info", "D6 10:00 cleared info recovered"]},
    ),
    Case("overdue: one-off invoices never count", [invoice(at(-20), "i0", 0, recurring=False)], {OVERDUE: []}),
    Case("overdue: paid settles whatever the amount", [DUE_D0, payment("paid", at(0), "i0", "1.00")], {OVERDUE: []}),
    Case("overdue: voided settles", [DUE_D0, payment("voided", at(0), "i0", None)], {OVERDUE: []}),
    Case(
        "overdue: parts and credits settle when their sum reaches the amount",
        [
            DUE_D0,
            payment("partly_paid", at(-1), "i0", "60.00"),
            payment("credited", at(2), "i0", "39.99"),
            payment("partly_paid", at(3), "i0", "0.01"),
        ],
        {OVERDUE: ["D1 raised info", "D3 10:00 cleared info recovered"]},
    ),
    Case(
        "overdue: a failed payment settles nothing",
        [DUE_D0, payment("payment_failed", at(0), "i0", None)],
        {OVERDUE: LADDER},
    ),
    Case(
        "overdue: an invoice issued again is the first one",
        [DUE_D0, payment("paid", at(-1), "i0"), invoice(at(0), "i0", 5)],
        {OVERDUE: []},
    ),
    Case(
        "overdue: a late payment clears it at the clock",
        [DUE_D0, invoice(at(3), "i1", 90), payment("paid", at(0), "i0")],
        {OVERDUE: ["D1 raised info", "D3 10:00 cleared info late_event"]},
        until=80,
    ),
    Case(
        "overdue: cleared and late again on one day, raised at midnight",
        [DUE_D0, payment("paid", at(6), "i0"), invoice(at(6, "11:00:00"), "i1", 2), payment("paid", at(9), "i1")],
        {
            OVERDUE: [
                "D1 raised info",
                "D6 10:00 cleared info recovered",
                "D7 raised info",
                "D9 10:00 cleared info recovered",
            ]
        },
    ),
    Case(
        "support_and_billing: when the invoice comes to 30 days last",
        [DUE_D0, opened(at(0), "t", "P1"), step("resolved", at(50), "t")],
        {CRITICAL: ["D30 raised critical", "D50 10:00 cleared critical recovered"]},
    ),
    Case(
        "support_and_billing: when the ticket comes to ten days last",
        [DUE_D0, opened(at(25), "t", "P2"), payment("paid", at(50), "i0")],
        {CRITICAL: ["D35 10:00 raised critical", "D50 10:00 cleared critical recovered"]},
    ),
    Case(
        "support_and_billing: nine days or 29 days are near misses",
        [
            DUE_D0,
            opened(at(25), "t", "P1"),
            step("resolved", at(35, "09:59:59"), "t"),
            invoice(at(35, "11:00:00"), "i1", 34),
            opened(at(36), "s", "P1"),
            payment("paid", at(63), "i0"),
            payment("paid", at(63), "i1"),
        ],
        {CRITICAL: []},
    ),
    Case(
        "support_and_billing: a newer invoice past due takes it away before, not after the raise",
        [
            DUE_D0,
            opened(at(0), "t", "P1"),
            invoice(at(31), "i1", 35),
            payment("paid", at(70), "i0"),
            payment("paid", at(71), "i1"),
        ],
        {CRITICAL: ["D30 raised critical", "D71 10:00 cleared critical recovered"]},
    ),
    Case(
        "support_and_billing: the newer invoice decides before the raise",
        [DUE_D0, opened(at(25), "t", "P1"), invoice(at(26), "i1", 30)],
        {CRITICAL: ["D60 raised critical"]},
    ),
    Case(
        "support_and_billing: a part that may not be shown again today counts all the same",
        [
            DUE_D0,
            opened(at(25), "t", "P1"),
            step("resolved", at(40), "t"),
            step("reopened", at(41), "t"),
            payment("paid", at(42), "i0"),
            invoice(at(42, "11:00:00"), "i1", 1),
        ],
        {
            OVERDUE: [
                *LADDER[:3],
                "D42 10:00 cleared critical recovered",
                "D43 raised critical",
                "D61 escalated critical",
            ],
            CRITICAL: [
                "D35 10:00 raised critical",
                "D40 10:00 cleared critical recovered",
                "D41 10:00 raised critical",
                "D42 10:00 cleared critical recovered",
                "D43 raised critical",
            ],
        },
    ),
    Case(
        "support_and_billing: raised while one part waits for midnight to be shown",
        [
            invoice(at(-20), "i0", 20),
            payment("paid", at(40), "i0"),
            opened(at(20), "t", "P1"),
            invoice(at(40, "11:00:00"), "i1", 5),
        ],
        {
            OVERDUE: [
                "D21 raised info",
                "D35 escalated warning",
                "D40 10:00 cleared warning recovered",
                "D41 raised critical",
                "D65 escalated critical",
            ],
            CRITICAL: ["D40 11:00 raised critical"],
        },
    ),
]
