"""Cases of `support.burst` and `support.aged_critical`."""

from __future__ import annotations

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import Events, at, opened, prioritised, profile, step

BURST = "support.burst"
AGED = "support.aged_critical"


def tickets(first: int, *times: str) -> Events:
    """A ticket opened at each of the times, numbered from `first`."""
    return [opened(time, f"t{first + place}") for place, time in enumerate(times)]


def resolve(time: str, first: int, last: int) -> Events:
    """The tickets `first` to `last` are resolved."""
    return [step("resolved", time, f"t{n}") for n in range(first, last + 1)]


FOUR = tickets(1, at(0), at(1), at(2), at(3))
# Twenty in 30 days with never five in 7: four on each of D0, D7, D14, D21, D28.
TWENTY = tickets(1, *[at(day) for day in (0, 7, 14, 21, 28) for _ in range(4)])
# Ten in 30 days with never three in 7.
TEN = tickets(1, *[at(day) for day in (0, 7, 14, 21, 28) for _ in range(2)])

CASES = [
    Case(
        "burst: the fifth in seven days, cleared when none holds and all are closed",
        [*FOUR, *tickets(5, at(7, "09:59:59.999999")), *resolve(at(8), 1, 4), *resolve(at(20), 5, 5)],
        {BURST: ["D7 09:59:59.999999 raised warning", "D20 10:00 cleared warning recovered"]},
    ),
    Case(
        "burst: a ticket exactly seven days old is outside",
        [*FOUR, *tickets(5, at(7))],
        {BURST: []},
    ),
    Case(
        "burst: with all closed it clears when the window does",
        [*FOUR, *tickets(5, at(4)), *resolve(at(5), 1, 5)],
        {BURST: ["D4 10:00 raised warning", "D7 10:00 cleared warning recovered"]},
    ),
    Case(
        "burst: tickets that joined it later must be closed too, others not",
        [
            *FOUR,
            *tickets(5, at(4), at(6)),
            *resolve(at(6, "11:00:00"), 1, 5),
            *tickets(7, at(20)),
            *resolve(at(21), 6, 6),
        ],
        {BURST: ["D4 10:00 raised warning", "D21 10:00 cleared warning recovered"]},
    ),
    Case(
        "burst: a ticket reopened keeps it open",
        [*FOUR, *tickets(5, at(4)), *resolve(at(5), 1, 5), step("reopened", at(6), "t1"), step("closed", at(30), "t1")],
        {BURST: ["D4 10:00 raised warning", "D30 10:00 cleared warning recovered"]},
    ),
    Case(
        "burst: reopening is not opening, nor is a repeated opening or an update",
        [
            *FOUR,
            *resolve(at(4), 1, 1),
            step("reopened", at(5), "t1"),
            opened(at(5), "t2"),
            prioritised(at(5), "t3", "P1"),
        ],
        {BURST: []},
    ),
    Case(
        "burst: a new one after the window cleared",
        [*FOUR, *tickets(5, at(4)), *resolve(at(5), 1, 5), *tickets(6, *[at(50)] * 5)],
        {BURST: ["D4 10:00 raised warning", "D7 10:00 cleared warning recovered", "D50 10:00 raised warning"]},
    ),
    Case("burst: low touch, 19 in 30 days", TWENTY[:19], {BURST: []}),
    Case(
        "burst: low touch, 20 in 30 days",
        [profile(at(0), tier="low"), *TWENTY],
        {BURST: ["D28 10:00 raised warning"]},
    ),
    Case(
        "burst: tech touch, 20 in 30 days",
        [profile(at(0), tier="tech"), *TWENTY],
        {BURST: ["D28 10:00 raised warning"]},
    ),
    Case("burst: tech touch has no week", [profile(at(0), tier="tech"), *tickets(1, *[at(0)] * 19)], {BURST: []}),
    Case(
        "burst: high touch, three in seven days",
        [profile(at(0), tier="high"), *FOUR[:3]],
        {BURST: ["D2 10:00 raised warning"]},
    ),
    Case("burst: high touch, nine in 30 days", [profile(at(0), tier="high"), *TEN[:9]], {BURST: []}),
    Case(
        "burst: high touch fires at ten in 30 days",
        [profile(at(0), tier="high"), *TEN],
        {BURST: ["D28 10:00 raised warning"]},
    ),
    Case("burst: low touch does not fire at ten in 30 days", TEN, {BURST: []}),
    Case(
        "burst: the tier of now decides",
        [*FOUR[:3], profile(at(3), tier="high"), *resolve(at(4), 1, 3), profile(at(5), tier="low")],
        {BURST: ["D3 10:00 raised warning", "D5 10:00 cleared warning recovered"]},
    ),
    Case(
        "aged_critical: ten days after it was opened",
        [
            opened(at(0), "t", "P1"),
            step("responded", at(1), "t"),
            step("escalated", at(2), "t"),
            step("closed", at(20), "t"),
        ],
        {AGED: ["D10 10:00 raised critical", "D20 10:00 cleared critical recovered"]},
    ),
    Case("aged_critical: a P2 too", [opened(at(0), "t", "P2")], {AGED: ["D10 10:00 raised critical"]}),
    Case("aged_critical: a P3 never", [opened(at(0), "t", "P3")], {AGED: []}),
    Case(
        "aged_critical: resolved exactly then comes after the deadline",
        [opened(at(0), "t", "P1"), step("resolved", at(10), "t")],
        {AGED: ["D10 10:00 raised critical", "D10 10:00 cleared critical recovered"]},
    ),
    Case(
        "aged_critical: resolved a microsecond before is in time",
        [opened(at(0), "t", "P1"), step("resolved", at(10, "09:59:59.999999"), "t")],
        {AGED: []},
    ),
    Case(
        "aged_critical: from P3 to P1 the ten days begin then",
        [opened(at(0), "t", "P4"), prioritised(at(1), "t", "P3"), prioritised(at(5), "t", "P1")],
        {AGED: ["D15 10:00 raised critical"]},
    ),
    Case(
        "aged_critical: from P1 to P2 they go on",
        [opened(at(0), "t", "P1"), prioritised(at(5), "t", "P2")],
        {AGED: ["D10 10:00 raised critical"]},
    ),
    Case(
        "aged_critical: down to P3 clears it, up again begins anew",
        [opened(at(0), "t", "P1"), prioritised(at(12), "t", "P3"), prioritised(at(13), "t", "P2")],
        {
            AGED: [
                "D10 10:00 raised critical",
                "D12 10:00 cleared critical recovered",
                "D23 10:00 raised critical",
            ]
        },
    ),
    Case(
        "aged_critical: reopening keeps the old age",
        [opened(at(0), "t", "P1"), step("resolved", at(3), "t"), step("reopened", at(20), "t")],
        {AGED: ["D20 10:00 raised critical"]},
    ),
    Case(
        "aged_critical: one of two keeps it open",
        [
            opened(at(0), "t", "P1"),
            opened(at(1), "s", "P2"),
            step("resolved", at(12), "t"),
            step("resolved", at(13), "s"),
        ],
        {AGED: ["D10 10:00 raised critical", "D13 10:00 cleared critical recovered"]},
    ),
    Case(
        "aged_critical: cleared and due again on one day, raised at midnight",
        [opened(at(0), "t", "P1"), step("resolved", at(12), "t"), step("reopened", at(12, "11:00:00"), "t")],
        {AGED: ["D10 10:00 raised critical", "D12 10:00 cleared critical recovered", "D13 raised critical"]},
    ),
    Case(
        "aged_critical: an update of an unknown ticket does nothing",
        [step("reopened", at(0), "x"), prioritised(at(0), "x", "P1"), profile(at(1), name="Acme")],
        {AGED: []},
    ),
    Case(
        "aged_critical: a late resolve clears it at the clock",
        [opened(at(0), "t", "P1"), profile(at(12), name="Acme"), step("resolved", at(9), "t")],
        {AGED: ["D10 10:00 raised critical", "D12 10:00 cleared critical late_event"]},
    ),
    Case(
        "aged_critical: the latest statement by event time wins",
        [opened(at(0), "t", "P1"), step("reopened", at(8), "t"), step("resolved", at(7), "t")],
        {AGED: ["D10 10:00 raised critical"]},
    ),
    Case(
        "aged_critical: a late resolve may raise, then clear",
        [opened(at(0), "t", "P1"), step("resolved", at(11), "t")],
        {AGED: ["D10 10:00 raised critical", "D11 10:00 cleared critical recovered"]},
    ),
]
