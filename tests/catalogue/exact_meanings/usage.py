"""Cases of `usage.decline`, `usage.core_erosion` and `usage.silence`."""

from __future__ import annotations

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import at, event, profile, use

DECLINE = "usage.decline"
EROSION = "usage.core_erosion"
SILENCE = "usage.silence"

BUSY_WEEK = [use(at(day)) for day in range(5)]

CASES = [
    # Uses on D0 are in the previous 28 days for D29..D56, uses on D28 in the last 28 for the same days.
    Case(
        "decline: a quarter less is enough, half less is critical, and 90 days are the new normal",
        [use(at(0), 20), use(at(28), 15)],
        {DECLINE: ["D29 raised warning", "D57 escalated critical", "D119 cleared critical new_normal"]},
    ),
    Case("decline: just under a quarter less is not", [use(at(0), 100), use(at(28), 76)], {DECLINE: []}, until=55),
    Case("decline: a baseline of 19 is too little", [use(at(0), 19)], {DECLINE: []}),
    Case(
        "decline: half at the raise is critical at once",
        [use(at(0), 20), use(at(28), 10)],
        {DECLINE: ["D29 raised critical", "D119 cleared critical new_normal"]},
    ),
    Case(
        "decline: just over half is a warning until the uses leave the window",
        [use(at(0), 20), use(at(28), 11)],
        {DECLINE: ["D29 raised warning", "D57 escalated critical", "D119 cleared critical new_normal"]},
    ),
    Case(
        "decline: clears at 0.85 of the frozen baseline, at the midnight after",
        [use(at(0), 20), use(at(28), 15), use(at(35), 2)],
        {DECLINE: ["D29 raised warning", "D36 cleared warning recovered"]},
        until=55,
    ),
    Case(
        "decline: stays just under 0.85",
        [use(at(0), 20), use(at(28), 15), use(at(35), 1)],
        {DECLINE: ["D29 raised warning"]},
        until=55,
    ),
    Case(
        "decline: the baseline is frozen at the raise",
        # From D57 the previous 28 days hold only 20; the episode still compares with 40.
        [use(at(0), 20), use(at(8), 20), use(at(36), 30)],
        {DECLINE: ["D37 raised warning"]},
        until=63,
    ),
    Case(
        "decline: today does not count",
        [use(at(0), 20), use(at(28), 15), use(at(29, "00:00:00"), 50)],
        {DECLINE: ["D29 raised warning", "D30 cleared warning recovered"]},
        until=56,
    ),
    Case(
        "decline: trial use, errors and page views are no usage",
        [
            use(at(0), 20, environment="production"),
            use(at(0), 80, environment="trial"),
            use(at(28), 15),
            use(at(28), 80, environment="trial"),
            event("usage.page_viewed", at(28), user="ann"),
            event("usage.error_seen", at(28), user="ann"),
        ],
        {DECLINE: ["D29 raised warning"]},
        until=55,
    ),
    Case(
        "decline: a late use that fills the gap clears it at the clock",
        [use(at(0), 20), use(at(28), 15), profile(at(29), name="Acme"), use(at(27), 2)],
        {DECLINE: ["D29 raised warning", "D29 10:00 cleared warning late_event"]},
        until=40,
    ),
    Case(
        "decline: a late use that raises the baseline raises it at the clock, and 90 days count from there",
        [use(at(0), 19), use(at(28), 15), profile(at(40), name="Acme"), use(at(0, "11:00:00"), 1)],
        {DECLINE: ["D40 10:00 raised warning", "D57 escalated critical", "D130 10:00 cleared critical new_normal"]},
    ),
    Case(
        "decline: what still holds when the account is won back is raised at the next day roll",
        [
            use(at(0), 20),
            event("account.churned", at(20), reason="no ROI"),
            event("account.renewed", at(40)),
        ],
        {DECLINE: ["D41 raised critical"]},
        until=60,
    ),
    Case(
        "decline: an event in order never raises it off midnight",
        [use(at(0), 20), use(at(28), 15), use(at(28, "23:59:59"), 1), use(at(29), 1), use(at(30), 1)],
        {DECLINE: []},
        until=56,
    ),
    # Week 0 begins on D0 and is in the base for weeks 27..30 (D189..D216).
    Case(
        "core_erosion: four fifths of the base is enough, and 90 days are the new normal",
        [use(at(6, "23:59:59"), 20, core=True), use(at(182), 16, core=True)],
        {EROSION: ["D189 raised warning", "D279 cleared warning new_normal"]},
        until=300,
    ),
    Case(
        "core_erosion: just over four fifths is not",
        [use(at(6), 100, core=True), use(at(182), 81, core=True)],
        {EROSION: []},
        until=216,
    ),
    Case("core_erosion: a base of 19 is too little", [use(at(6), 19, core=True)], {EROSION: []}, until=230),
    Case(
        "core_erosion: features that are not core do not count",
        [use(at(6), 20), use(at(6), 20, core=True, environment="trial")],
        {EROSION: []},
        until=230,
    ),
    Case(
        "core_erosion: the running week does not count, and it clears at 0.9 when the week is complete",
        [use(at(0), 20, core=True), use(at(182), 16, core=True), use(at(189, "00:00:00"), 2, core=True)],
        {EROSION: ["D189 raised warning", "D196 cleared warning recovered"]},
        until=209,
    ),
    Case(
        "core_erosion: stays just under 0.9",
        [use(at(0), 20, core=True), use(at(182), 16, core=True), use(at(189), 1, core=True)],
        {EROSION: ["D189 raised warning"]},
        until=216,
    ),
    Case(
        "core_erosion: late use of half a year ago still makes the base",
        [profile(at(189, "12:00:00"), name="Acme"), use(at(3), 20, core=True)],
        {EROSION: ["D189 12:00 raised warning", "D279 12:00 cleared warning new_normal"]},
        until=300,
    ),
    Case(
        "silence: N times 24 hours after the last usage event, once, until the next",
        [*BUSY_WEEK, use(at(100)), use(at(101))],
        {SILENCE: ["D34 10:00 raised warning", "D100 10:00 cleared warning recovered", "D131 10:00 raised warning"]},
    ),
    Case("silence: four days of use are too few", [*BUSY_WEEK[:4], use(at(3, "11:00:00"))], {SILENCE: []}),
    Case(
        "silence: the fifth day may be a page view",
        [*BUSY_WEEK[:4], event("usage.page_viewed", at(4), user="ann")],
        {SILENCE: ["D34 10:00 raised warning"]},
    ),
    Case(
        "silence: trial use and errors are no sign of life",
        [*BUSY_WEEK, use(at(20), environment="trial"), event("usage.error_seen", at(21), user="ann")],
        {SILENCE: ["D34 10:00 raised warning"]},
    ),
    Case(
        "silence: a late use before the first one is the fifth day, long after the last use",
        # Tenure begins earlier with it: every deadline is named anew, and this one has passed already.
        [*(use(at(day)) for day in range(1, 5)), profile(at(40, "11:00:00"), name="Late"), use(at(0))],
        {SILENCE: ["D40 11:00 raised warning opened D34 10:00"]},
        until=44,
    ),
    Case(
        "silence: 14 days for high touch",
        [profile(at(0), tier="high"), *BUSY_WEEK],
        {SILENCE: ["D18 10:00 raised warning"]},
    ),
    Case(
        "silence: 60 days for tech touch",
        [profile(at(0), tier="tech"), *BUSY_WEEK],
        {SILENCE: ["D64 10:00 raised warning"]},
    ),
    Case(
        "silence: a use exactly then comes after the deadline",
        [*BUSY_WEEK, use(at(34))],
        {SILENCE: ["D34 10:00 raised warning", "D34 10:00 cleared warning recovered"]},
        until=60,
    ),
    Case(
        "silence: a use a microsecond before is in time",
        [*BUSY_WEEK, use(at(34, "09:59:59.999999"))],
        {SILENCE: []},
        until=60,
    ),
    Case(
        "silence: a tier with less patience raises it when it is told, open since it was due",
        [*BUSY_WEEK, profile(at(20), tier="high")],
        {SILENCE: ["D20 10:00 raised warning opened D18 10:00"]},
    ),
    Case(
        "silence: a tier with more patience does not end it; only use does",
        [profile(at(0), tier="high"), *BUSY_WEEK, profile(at(20), tier="low"), use(at(40))],
        {SILENCE: ["D18 10:00 raised warning", "D40 10:00 cleared warning recovered"]},
        until=60,
    ),
    Case(
        "silence: a late use clears it, and the silence after that is a new one",
        [*BUSY_WEEK, profile(at(36), name="Acme"), use(at(10))],
        {
            SILENCE: [
                "D34 10:00 raised warning",
                "D36 10:00 cleared warning late_event",
                "D40 10:00 raised warning",
            ]
        },
    ),
    Case(
        "silence: a late use that is old itself ends nothing",
        [*BUSY_WEEK, profile(at(60), name="Acme"), use(at(10))],
        {SILENCE: ["D34 10:00 raised warning"]},
    ),
]
