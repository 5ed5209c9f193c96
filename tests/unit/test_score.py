"""The health score: weights, missing data, contributions, bands, what would change it, and its days."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Refusal, decode_any
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.health import Health
from services.signals.backtest.run import MemoryStore
from services.signals.catalogue import load
from services.signals.core.apply import SEEN
from services.signals.core.health import Record, health
from services.signals.core.partition import PartitionEngine
from services.signals.core.score import BANDS, WEIGHTS, band_of, check_weights, combine, contributions
from services.signals.core.scores import KEPT_DAYS, ended, settle
from services.signals.core.state import Hot, fresh_account
from services.signals.core.world import World

FAR = 1 << 60


def said(events: list[tuple[str, str, dict[str, Any]]], *, until: str) -> Health:
    """The health record of one account after these events, as of midnight `until`."""
    engine = PartitionEngine(0, INPUT_TOPICS, load(), MemoryStore(), partitions=1)
    for number, (time, kind, data) in enumerate(events):
        line = {"specversion": "1.0", "id": str(number), "source": "t", "type": kind, "subject": "acme", "time": time}
        event = decode_any(json.dumps({**line, "data": data}).encode())
        assert not isinstance(event, Refusal), event
        engine.apply(INPUT_TOPICS.index(EVENT_TYPES[kind].topic), number, b"acme", b"", event, FAR)
    now = int(dt.datetime.fromisoformat(until).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000
    for topic in range(len(INPUT_TOPICS)):
        engine.tick(topic, now, False)
    engine.work(1000)
    published = engine.take(0, 1e9).health
    assert published[-1][1] is not None
    return msgspec.json.decode(published[-1][1], type=Health)


def test_weights_sum_to_a_hundred() -> None:
    assert check_weights(WEIGHTS) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"adoption": 36.0}, "sum to 101"),
        ({"adoption": 40.0, "support": 20.0, "payment": 5.0, "survey": -5.0, "advocacy": 16.0}, "survey: is negative"),
        ({"happiness": 0.0}, "happiness: no such component"),
    ],
)
def test_bad_weights_are_refused(change: dict[str, float], told: str) -> None:
    assert told in str(check_weights(WEIGHTS | change))


def test_a_component_left_out_is_refused() -> None:
    assert "community: is missing" in str(check_weights({k: v for k, v in WEIGHTS.items() if k != "community"}))


def test_missing_data_is_shared_out_and_told() -> None:
    """Adoption (35) at 80 and payment (15) at 40: (35 × 80 + 15 × 40) ÷ 50 = 68, on half of the weights."""
    parts = [80.0, None, 40.0, *[None] * 7]
    assert combine(parts, list(WEIGHTS.values())) == (680, 0.5)
    assert contributions(parts, list(WEIGHTS.values()), 680)[:3] == [560, 0, 120]


def test_no_data_is_no_score() -> None:
    assert combine([None] * 10, list(WEIGHTS.values())) == (-1, 0.0)


@given(st.lists(st.none() | st.floats(0, 100), min_size=10, max_size=10))
def test_contributions_sum_to_the_score(parts: list[float | None]) -> None:
    tenths, coverage = combine(parts, list(WEIGHTS.values()))
    given_ = contributions(parts, list(WEIGHTS.values()), tenths)
    assert sum(given_) == max(0, tenths)
    assert 0 <= coverage <= 1
    assert all(share >= 0 for share in given_)


@pytest.mark.parametrize(
    ("points", "before", "band"),
    [
        (85.0, "", "thriving"),
        (84.9, "", "healthy"),
        (84.9, "thriving", "thriving"),
        (83.0, "thriving", "thriving"),
        (82.9, "thriving", "healthy"),
        (85.0, "healthy", "thriving"),
        (70.0, "watch", "healthy"),
        (69.9, "watch", "watch"),
        (68.0, "healthy", "healthy"),
        (67.9, "healthy", "watch"),
        (67.9, "thriving", "watch"),
        (38.0, "watch", "watch"),
        (37.9, "watch", "critical"),
        (0.0, "thriving", "critical"),
    ],
)
def test_bands_hold_two_points_below_where_they_begin(points: float, before: str, band: str) -> None:
    assert band_of(points, before) == band


def test_bands_begin_where_the_texts_have_their_gates() -> None:
    assert BANDS == (("thriving", 85.0), ("healthy", 70.0), ("watch", 40.0), ("critical", 0.0))


def test_days_that_rested_have_the_score_that_held() -> None:
    hot = Hot(score=70.5, coverage=0.5)
    settle(hot, 100)
    hot.score = 80.0
    settle(hot, 103)
    assert [(d.day, d.points) for d in ended(hot, 90, 105)] == [
        (100, 70.5),
        (101, 80.0),
        (102, 80.0),
        (103, 80.0),
        (104, 80.0),
        (105, 80.0),
    ]
    hot.score = 10.0
    hot.scores_told = 103
    settle(hot, 103 + 3 * KEPT_DAYS)
    assert {d.points for d in ended(hot, 104, 103 + 3 * KEPT_DAYS)} == {10.0}
    assert len(ended(hot, 104, 103 + 3 * KEPT_DAYS)) == 3 * KEPT_DAYS  # nobody was told of them yet
    hot.scores_told = 103 + 3 * KEPT_DAYS
    settle(hot, 104 + 3 * KEPT_DAYS)
    assert len(hot.scores) == 3 * KEPT_DAYS  # three bytes each


def _active(users: int, day: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [(f"{day}T10:00:00Z", "usage.feature_used", {"feature": "report", "user": f"u{n}"}) for n in range(users)]


def test_thirteen_of_a_hundred_licences_and_what_sixty_would_give() -> None:
    """Only adoption is known. 13 of 100 seats: 0.6 × 13/80 × 100 + 0.4 × 100 = 49.75; 60 of 100: 45 + 40 = 85."""
    seats = ("2026-01-05T08:00:00Z", "account.updated", {"seats": 100})
    before = said([seats, *_active(13, "2026-01-06")], until="2026-01-20")
    adoption = before.components[0]
    assert (before.score, adoption.score, before.band) == (49.8, 49.8, "watch")
    assert adoption.why.startswith("13 of 100 seats active")
    (shown,) = before.would_change
    assert shown.change == "60 of 100 seats active adds 35.2 points"
    after = said([seats, *_active(13, "2026-01-06"), *_active(60, "2026-01-07")], until="2026-01-20")
    assert after.score == shown.score == 85.0


def test_a_record_says_how_the_score_came_about() -> None:
    record = said(
        [
            ("2026-01-05T08:00:00Z", "account.updated", {"seats": 10}),
            *_active(8, "2026-01-06"),
            ("2026-01-06T11:00:00Z", "ticket.opened", {"ticket_id": "T1", "priority": "P1"}),
            (
                "2026-01-07T08:00:00Z",
                "invoice.issued",
                {"invoice_id": "I1", "amount": "10", "currency": "EUR", "due": "2026-01-09"},
            ),
            ("2026-01-08T08:00:00Z", "survey.answered", {"survey_id": "S1", "kind": "nps", "score": 9, "user": "u1"}),
        ],
        until="2026-01-12",
    )
    by_name = {component.name: component for component in record.components}
    assert list(by_name) == list(WEIGHTS)
    assert by_name["adoption"].score == 100.0
    assert by_name["support"].score == 85.0, "one urgent ticket is open"
    assert by_name["payment"].score == 70.0, "three days past due"
    assert by_name["survey"].score == 90.0
    assert by_name["executive_relationship"].score is None
    assert record.score == pytest.approx(sum(component.contribution for component in record.components))
    assert record.largest_detractor == "payment"
    assert sum(component.weight for component in record.components) == pytest.approx(100, abs=0.3)
    assert record.inputs_seen == [
        "usage.feature_used",
        "ticket.opened",
        "invoice.issued",
        "account.updated",
        "survey.answered",
    ]
    assert [entry.day.isoformat() for entry in record.score_days][-1] == "2026-01-11"


def test_what_is_told_is_the_record_of_the_contract() -> None:
    """It is encoded from a struct of its own, in part from JSON: field by field it must read as the contract says."""
    assert Record.__struct_fields__ == Health.__struct_fields__
    account = fresh_account(b"acme", 86_400_000_000, len(INPUT_TOPICS))
    account.hot.first_event = 0
    told = health(account, World(), WEIGHTS, historical=False, all_days=True)
    read = msgspec.json.decode(msgspec.json.encode(told), type=Health)
    assert [(day.day, day.usage, day.core) for day in read.usage_days] == [
        (dt.date(1970, 1, 1), 0, 0),
        (dt.date(1970, 1, 2), 0, 0),
    ]
    assert [component.name for component in read.components] == list(WEIGHTS)


def test_where_only_what_weighs_nothing_is_known_there_is_no_score() -> None:
    account = fresh_account(b"acme", 0, len(INPUT_TOPICS))
    account.hot.seen = 1 << SEEN.index("invoice.issued")
    weights = WEIGHTS | {"payment": 0.0, "adoption": 50.0}
    told = health(account, World(), weights, historical=False, all_days=False)
    read = msgspec.json.decode(msgspec.json.encode(told), type=Health)
    assert (read.score, read.coverage, read.largest_detractor) == (None, 0.0, None)
    payment = read.components[2]
    assert (payment.name, payment.score, payment.weight, payment.contribution) == ("payment", 100.0, 0.0, 0.0)
