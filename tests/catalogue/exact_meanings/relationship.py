"""Cases of `survey.detractor` and `relationship.sponsor_lost`."""

from __future__ import annotations

from tests.catalogue.exact_meanings import Case
from tests.oracle.build import at, contact, event, left, nps, profile

DETRACTOR = "survey.detractor"
SPONSOR = "relationship.sponsor_lost"

CHAMPION = contact(at(0), "c1", ["champion", "admin"])
SPONSOR_HERE = contact(at(0), "s1", ["executive_sponsor"])

CASES = [
    Case(
        "detractor: a six",
        [nps(at(0), 6)],
        {DETRACTOR: ["D0 10:00 (ann) raised warning", "D90 10:00 (ann) cleared warning expired"]},
    ),
    Case("detractor: a seven is none", [nps(at(0), 7)], {DETRACTOR: []}),
    Case(
        "detractor: a bad score of another kind is none",
        [event("survey.answered", at(0), survey_id="s", kind="csat", score=1, user="ann")],
        {DETRACTOR: []},
    ),
    Case(
        "detractor: a survey sent is no answer",
        [event("survey.sent", at(0), survey_id="s", kind="nps", user="ann")],
        {DETRACTOR: []},
    ),
    Case(
        "detractor: a later seven of the same user clears it, another user's does not",
        [nps(at(0), 0), nps(at(1), 9, "bob"), nps(at(2), 6), nps(at(3), 7)],
        {DETRACTOR: ["D0 10:00 (ann) raised warning", "D3 10:00 (ann) cleared warning recovered"]},
    ),
    Case(
        "detractor: without user it is the account's",
        [nps(at(0), 3, None), nps(at(5), 9, None, "later")],
        {DETRACTOR: ["D0 10:00 raised warning", "D5 10:00 cleared warning recovered"]},
    ),
    Case(
        "detractor: 90 days from the first; a bad answer within them does not extend",
        [nps(at(0), 6), nps(at(80), 2)],
        {DETRACTOR: ["D0 10:00 (ann) raised warning", "D90 10:00 (ann) cleared warning expired"]},
    ),
    Case(
        "detractor: a bad answer exactly then is a new one, shown at midnight",
        [nps(at(0), 6), nps(at(90), 2)],
        {
            DETRACTOR: [
                "D0 10:00 (ann) raised warning",
                "D90 10:00 (ann) cleared warning expired",
                "D91 (ann) raised warning",
                "D180 10:00 (ann) cleared warning expired",
            ]
        },
        until=200,
    ),
    Case(
        "detractor: an answer to the same survey again is ignored, of another user not",
        [nps(at(0), 6, survey="q1"), nps(at(2), 10, survey="q1"), nps(at(3), 5, "bob", survey="q1")],
        {
            DETRACTOR: [
                "D0 10:00 (ann) raised warning",
                "D3 10:00 (bob) raised warning",
                "D90 10:00 (ann) cleared warning expired",
                "D93 10:00 (bob) cleared warning expired",
            ]
        },
    ),
    Case(
        "detractor: a late bad answer before a good one raises nothing", [nps(at(5), 8), nps(at(3), 2)], {DETRACTOR: []}
    ),
    Case(
        "detractor: a late bad answer holds 90 days from its own time",
        [profile(at(5), name="Acme"), nps(at(3), 2)],
        {DETRACTOR: ["D5 10:00 (ann) raised warning", "D93 10:00 (ann) cleared warning expired"]},
    ),
    Case(
        "detractor: a late good answer after the bad one clears it at the clock",
        [nps(at(0), 2), profile(at(5), name="Acme"), nps(at(3), 8)],
        {DETRACTOR: ["D0 10:00 (ann) raised warning", "D5 10:00 (ann) cleared warning late_event"]},
    ),
    Case(
        "sponsor_lost: the only champion leaves, another takes the role",
        [CHAMPION, left(at(5), "c1"), contact(at(9), "c2", ["champion"])],
        {SPONSOR: ["D5 10:00 raised critical", "D9 10:00 cleared critical recovered"]},
    ),
    Case(
        "sponsor_lost: somebody else holds the role",
        [CHAMPION, contact(at(0), "c2", ["champion"]), left(at(5), "c1")],
        {SPONSOR: []},
    ),
    Case(
        "sponsor_lost: role taken away",
        [SPONSOR_HERE, contact(at(5), "s1", ["user"])],
        {SPONSOR: ["D5 10:00 raised critical"]},
    ),
    Case(
        "sponsor_lost: moved elsewhere",
        [SPONSOR_HERE, contact(at(5), "s1", moved_to="Globex")],
        {SPONSOR: ["D5 10:00 raised critical"]},
    ),
    Case(
        "sponsor_lost: a change of name takes nothing away",
        [SPONSOR_HERE, contact(at(5), "s1", name="Sam")],
        {SPONSOR: []},
    ),
    Case(
        "sponsor_lost: an admin is no sponsor",
        [contact(at(0), "a1", ["admin", "buyer"]), left(at(5), "a1")],
        {SPONSOR: []},
    ),
    Case("sponsor_lost: never held, never lost", [contact(at(0), "a1", ["user"]), left(at(5), "x")], {SPONSOR: []}),
    Case(
        "sponsor_lost: a change of name brings nobody back who moved",
        [SPONSOR_HERE, contact(at(5), "s1", moved_to="Globex"), contact(at(6), "s1", name="Sam")],
        {SPONSOR: ["D5 10:00 raised critical"]},
    ),
    Case(
        "sponsor_lost: clears when every lost role is held again",
        [
            CHAMPION,
            SPONSOR_HERE,
            left(at(5), "c1"),
            left(at(6), "s1"),
            contact(at(7), "c2", ["champion"]),
            contact(at(8), "c2", ["champion", "executive_sponsor"]),
        ],
        {SPONSOR: ["D5 10:00 raised critical", "D8 10:00 cleared critical recovered"]},
    ),
    Case(
        "sponsor_lost: the one who left comes back",
        [CHAMPION, left(at(5), "c1"), contact(at(6), "c1", ["champion"])],
        {SPONSOR: ["D5 10:00 raised critical", "D6 10:00 cleared critical recovered"]},
    ),
    Case(
        "sponsor_lost: the latest statement by event time wins",
        [CHAMPION, contact(at(9), "c1", ["champion"]), left(at(5), "c1")],
        {SPONSOR: []},
    ),
    Case(
        "sponsor_lost: a late successor clears it at the clock",
        [CHAMPION, left(at(5), "c1"), profile(at(7), name="Acme"), contact(at(4), "c2", ["champion"])],
        {SPONSOR: ["D5 10:00 raised critical", "D7 10:00 cleared critical late_event"]},
    ),
    Case(
        "sponsor_lost: found and lost again on one day, raised at midnight",
        [CHAMPION, left(at(5), "c1"), contact(at(9), "c2", ["champion"]), left(at(9, "11:00:00"), "c2")],
        {SPONSOR: ["D5 10:00 raised critical", "D9 10:00 cleared critical recovered", "D10 raised critical"]},
    ),
]
