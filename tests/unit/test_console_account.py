"""What the account page works out of a health record: parts, the change by parts, and what stays unsaid."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.api.console.account import PartsThen, fall, nearest, part_rows, would_change
from services.api.console.told import told

DAY = dt.date(2026, 3, 1)


def component(name: str, points: float | None, weight: float) -> dict[str, Any]:
    score = None if points is None else 100 * points / weight
    return {"name": name, "score": score, "weight": weight, "contribution": points or 0.0, "why": "w", "action": "a"}


RECORD: dict[str, Any] = {
    "score": 50.0,
    "band": "watch",
    "coverage": 0.9,
    "largest_detractor": "adoption",
    "components": [component("adoption", 20.0, 60.0), component("support", 30.0, 40.0), component("survey", None, 0.0)],
    "would_change": [{"change": "all pay", "score": 72.0}, {"change": "one more", "score": 55.0}],
}


def test_a_missing_part_says_what_was_shared_out_and_changes_nothing() -> None:
    adoption, support, survey = part_rows(RECORD, PartsThen(DAY, [25.0, 30.0, None]))
    assert (adoption.points, adoption.possible, adoption.change, adoption.worst) == (20.0, 60.0, -5.0, True)
    assert support.change == 0.0
    assert (survey.points, survey.possible, survey.change) == (None, 10.0, None)
    # Another set of components then: nothing is compared.
    assert [row.change for row in part_rows(RECORD, PartsThen(DAY, [1.0]))] == [None] * 3


def test_steps_lead_from_the_score_then_to_the_score_now() -> None:
    found = fall(RECORD, PartsThen(DAY, [25.0, None, 3.0]))
    assert found is not None
    assert found.then.total + sum(step.change for step in found.steps) == pytest.approx(found.score)
    assert [(step.name, step.change) for step in found.steps] == [
        ("Support, new", 30.0),
        ("Adoption", -5.0),
        ("Survey, no data now", -3.0),
    ]
    assert fall(RECORD, None) is None
    assert fall(RECORD | {"score": None}, PartsThen(DAY, [25.0, None, 3.0])) is None


def test_the_day_is_that_of_the_score_that_the_change_is_measured_from() -> None:
    one = dt.timedelta(days=1)
    found = [PartsThen(DAY - one, [10.0]), PartsThen(DAY, [20.0]), PartsThen(DAY + one, [30.0])]
    assert nearest(found, DAY, 30.0) == PartsThen(DAY, [30.0])  # the next day's first record is this day's end
    assert nearest(found, DAY, None) == PartsThen(DAY, [20.0])
    assert nearest(found[:1], DAY, 99.0) == PartsThen(DAY - one, [10.0])
    # Where that day has no record the nearest stands for itself, whatever it sums to; of two as near the older.
    far = [PartsThen(DAY + 5 * one, [30.0]), PartsThen(DAY - 5 * one, [1.0])]
    assert nearest(far, DAY, 30.0) == PartsThen(DAY - 5 * one, [1.0])
    assert nearest([], DAY, 1.0) is None


def test_another_band_is_named_and_the_same_one_is_still_it() -> None:
    assert [(one.band, one.better) for one in would_change(RECORD)] == [("healthy", True), ("watch", False)]


@pytest.mark.parametrize(
    ("type_", "data", "said"),
    [
        ("ticket.opened", {"ticket_id": "T1", "priority": "P2", "topic": "exports"}, "Ticket T1 opened: P2, exports"),
        (
            "invoice.issued",
            {"invoice_id": "I1", "amount": "20000.50", "currency": "EUR", "due": "2026-11-03"},
            "Invoice I1 issued: 20,000.50 EUR, due 3 Nov 2026",
        ),
        ("invoice.paid", {"invoice_id": "I1", "amount": "ten"}, "Invoice I1 paid: ten"),
        ("survey.answered", {"kind": "nps", "user": "ana", "score": 0}, "NPS survey answered by ana: 0"),
        ("touchpoint.held", {"kind": "email", "answered": False}, "Email, not answered"),
        ("account.updated", {"seats": 5, "auto_renew": False}, "Profile changed: seats 5, auto renew no"),
        ("account.churned", {"reason": "no_roi"}, "Churned: no roi"),
        ("some.thing", {}, "some.thing"),
    ],
)
def test_an_event_is_a_sentence(type_: str, data: dict[str, Any], said: str) -> None:
    assert told(type_, data) == said
