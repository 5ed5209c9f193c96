"""Cases of `adoption.shelfware`, `adoption.user_stuck`, `expansion.seats` and `advocacy.power_user`."""

from __future__ import annotations

from typing import Any

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import at, event, login, profile, use, users, view

SHELFWARE = "adoption.shelfware"
STUCK = "adoption.user_stuck"
SEATS = "expansion.seats"
POWER = "advocacy.power_user"


def customer(seats: int | None = 10, start: str | None = "2023-01-01", **fields: Any) -> dict[str, Any]:
    """The profile of a customer with seats, on D0."""
    return profile(at(0, "00:00:01"), seats=seats, contract_start=start, **fields)


THREE_VIEWS = [view(at(0)), view(at(1)), view(at(7, "09:59:59.999999"))]
MANY_VIEWS = [view(at(0, "12:00:00"))] * 499

CASES = [
    Case(
        "shelfware: at the midnight after 14 days that ended under one half",
        [customer(), *users(at(0), 1, 4)],
        {SHELFWARE: ["D14 raised warning"]},
    ),
    Case(
        "shelfware: one half is enough, for as long as it is within 28 days",
        [customer(), *users(at(0), 1, 5)],
        {SHELFWARE: ["D42 raised warning"]},
    ),
    Case(
        "shelfware: clears at 0.6, with the event that brings it there",
        [customer(), *users(at(0), 1, 4), *users(at(20), 5, 5), *users(at(20, "11:00:00"), 6, 6)],
        {SHELFWARE: ["D14 raised warning", "D20 11:00 cleared warning recovered"]},
        until=40,
    ),
    Case("shelfware: four seats are too few", [customer(seats=4)], {SHELFWARE: []}),
    Case(
        "shelfware: the days before are counted with the seats of then, the raise with those of now",
        [customer(seats=4), profile(at(20), seats=5)],
        {SHELFWARE: ["D21 raised warning"]},
    ),
    Case(
        "shelfware: a midnight without seats begins the count anew",
        [customer(), profile(at(9), seats=None), profile(at(10), seats=10)],
        {SHELFWARE: ["D24 raised warning"]},
    ),
    Case(
        "shelfware: not before 60 days of tenure, from the contract's start",
        [customer(start="2024-01-01")],
        {SHELFWARE: ["D60 raised warning"]},
    ),
    Case(
        "shelfware: without contract start tenure counts from the first event",
        [customer(start=None)],
        {SHELFWARE: ["D61 raised warning"]},
    ),
    Case(
        "shelfware: only where seats are paid for",
        [customer(pricing="value"), profile(at(30), pricing="per_seat")],
        {SHELFWARE: ["D31 raised warning"]},
    ),
    Case(
        "shelfware: seats gone",
        [customer(), profile(at(20), seats=0), profile(at(30), seats=10)],
        {SHELFWARE: ["D14 raised warning", "D20 10:00 cleared warning no_seats", "D44 raised warning"]},
        until=60,
    ),
    Case(
        "shelfware: pricing changed",
        [customer(), profile(at(20), pricing="usage")],
        {SHELFWARE: ["D14 raised warning", "D20 10:00 cleared warning not_applicable"]},
    ),
    Case(
        "shelfware: fewer seats may cure it",
        [customer(), *users(at(10), 1, 3), profile(at(20), seats=5)],
        {SHELFWARE: ["D14 raised warning", "D20 10:00 cleared warning recovered"]},
        until=37,
    ),
    Case(
        "shelfware: a late active user clears it at the clock",
        [customer(), *users(at(0), 1, 4), *users(at(15), 5, 5), profile(at(16), name="Acme"), *users(at(12), 6, 6)],
        {SHELFWARE: ["D14 raised warning", "D16 10:00 cleared warning late_event"]},
        until=27,
    ),
    Case(
        "expansion.seats: at the user who makes it four fifths, cleared under 0.7",
        [customer(), *users(at(0), 1, 8), *users(at(10), 1, 7)],
        {SEATS: ["D0 10:00 raised info", "D38 cleared info below_threshold"]},
    ),
    Case(
        "expansion.seats: under four fifths is not, and 0.7 still holds",
        [customer(), *users(at(0), 1, 7), *users(at(1), 8, 8), *users(at(20), 1, 7), *users(at(30), 1, 6)],
        {SEATS: ["D1 10:00 raised info", "D48 cleared info below_threshold"]},
        until=60,
    ),
    Case(
        "expansion.seats: with goals, only after value was reached",
        [
            customer(),
            event("account.goal_set", at(0), goal="faster"),
            *users(at(0), 1, 9),
            event("usage.value_reached", at(5), goal="faster"),
        ],
        {SEATS: ["D5 10:00 raised info", "D28 cleared info below_threshold"]},
    ),
    Case(
        "expansion.seats: a goal achieved is value reached",
        [
            event("account.goal_achieved", at(0), goal="faster"),
            customer(),
            event("account.goal_set", at(0), goal="cheaper"),
            *users(at(0), 1, 8),
        ],
        {SEATS: ["D0 10:00 raised info", "D28 cleared info below_threshold"]},
    ),
    Case(
        "expansion.seats: a goal without value holds it back",
        [customer(), event("account.goal_set", at(0), goal="faster"), *users(at(0), 1, 9)],
        {SEATS: []},
    ),
    Case(
        "expansion.seats: seats bought or gone",
        [
            customer(),
            *users(at(0), 1, 8),
            profile(at(1), seats=20),
            profile(at(2), seats=8),
            profile(at(3), seats=None),
        ],
        {
            SEATS: [
                "D0 10:00 raised info",
                "D1 10:00 cleared info below_threshold",
                "D2 10:00 raised info",
                "D3 10:00 cleared info no_seats",
            ]
        },
    ),
    Case(
        "expansion.seats: pricing changed",
        [customer(), *users(at(0), 1, 8), profile(at(1), pricing="value")],
        {SEATS: ["D0 10:00 raised info", "D1 10:00 cleared info not_applicable"]},
    ),
    Case(
        "expansion.seats: without a user, in trial, or by an error nobody is active",
        [
            customer(),
            *users(at(0), 1, 7),
            use(at(0)),
            use(at(0), user="u8", environment="trial"),
            event("usage.error_seen", at(0), user="u8"),
        ],
        {SEATS: []},
    ),
    Case(
        "user_stuck: two views in the first seven days",
        [login(at(0)), *THREE_VIEWS[:2], login(at(5)), view(at(7))],
        {STUCK: ["D7 10:00 (ann) raised info", "D67 10:00 (ann) cleared info expired"]},
    ),
    Case("user_stuck: three views are enough", [login(at(0)), *THREE_VIEWS], {STUCK: []}),
    Case(
        "user_stuck: views before the first login do not count",
        [view(at(0, "09:59:59")), login(at(0)), *THREE_VIEWS[1:]],
        {STUCK: ["D7 10:00 (ann) raised info", "D67 10:00 (ann) cleared info expired"]},
    ),
    Case(
        "user_stuck: three views after it within seven days clear it, the instant itself included",
        [login(at(0)), view(at(1)), view(at(7)), view(at(9)), view(at(14, "09:59:59.999999"))],
        {STUCK: ["D7 10:00 (ann) raised info", "D14 09:59:59.999999 (ann) cleared info recovered"]},
    ),
    Case(
        "user_stuck: a view exactly seven days old is outside",
        [login(at(0)), view(at(7)), view(at(9)), view(at(14)), view(at(15))],
        {STUCK: ["D7 10:00 (ann) raised info", "D15 10:00 (ann) cleared info recovered"]},
    ),
    Case(
        "user_stuck: views before it do not help to clear it",
        [login(at(0)), view(at(6)), view(at(6)), view(at(8)), view(at(9))],
        {STUCK: ["D7 10:00 (ann) raised info", "D67 10:00 (ann) cleared info expired"]},
    ),
    Case(
        "user_stuck: a late early view clears it at the clock; once per user for ever",
        [login(at(0)), view(at(1)), view(at(2)), view(at(8)), view(at(3)), login(at(30))],
        {STUCK: ["D7 10:00 (ann) raised info", "D8 10:00 (ann) cleared info late_event"]},
    ),
    Case(
        "user_stuck: one for each user",
        [login(at(0)), login(at(1), "bob"), *[view(at(2), "bob")] * 3, login(at(3), "cy")],
        {
            STUCK: [
                "D7 10:00 (ann) raised info",
                "D10 10:00 (cy) raised info",
                "D67 10:00 (ann) cleared info expired",
                "D70 10:00 (cy) cleared info expired",
            ]
        },
    ),
    Case(
        "power_user: with the event that makes both numbers, noted at midnight, once",
        [
            *[login(at(0))] * 50,
            *MANY_VIEWS,
            view(at(0, "13:00:00")),
            login(at(5)),
            view(at(5)),
        ],
        {POWER: ["D0 13:00 (ann) raised info", "D1 (ann) cleared info noted"]},
        until=10,
    ),
    Case("power_user: 499 views are too few", [*[login(at(0))] * 60, *MANY_VIEWS], {POWER: []}, until=10),
    Case(
        "power_user: 49 logins are too few; at midnight it is that day's",
        [*[login(at(0))] * 49, *MANY_VIEWS, view(at(0, "13:00:00")), login(at(1, "00:00:00"))],
        {POWER: ["D1 (ann) raised info", "D2 (ann) cleared info noted"]},
        until=10,
    ),
]
