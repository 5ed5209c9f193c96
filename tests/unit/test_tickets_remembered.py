"""Tickets as support remembers them: bounded, exact in their windows, and the same whatever the order of arrival."""

from __future__ import annotations

import datetime as dt
import itertools
import json

import pytest

from schemas.codec import decode_any
from services.common.recording import Line
from services.signals.backtest.run import Backtest
from services.signals.core import codec
from services.signals.core.days import DAY_US
from services.signals.core.dossier import Dossier
from services.signals.core.records import Ticket
from services.signals.core.support import (
    KEPT_DAYS,
    MAX_REQUESTS,
    Rated,
    Reopened,
    Request,
    Support,
    load,
    questions_asked,
    rating,
    resolution_days,
    severe_share,
    tickets_opened,
)

NOW = 1000 * DAY_US


def test_the_oldest_is_dropped_and_counted_where_there_is_no_room() -> None:
    support = Support()
    dropped = [support.open(f"t{n}", Request(NOW - n, "P3"), NOW) for n in range(MAX_REQUESTS + 2)]
    assert sum(dropped) == 2
    assert len(support.requests) == MAX_REQUESTS
    assert "t0" in support.requests
    assert f"t{MAX_REQUESTS + 1}" not in support.requests
    assert support.opened == MAX_REQUESTS + 2


def test_what_is_past_retention_is_dropped_in_silence() -> None:
    support = Support()
    assert support.open("old", Request(NOW - KEPT_DAYS * DAY_US, "P3"), NOW) == 0
    assert support.open("kept", Request(NOW - KEPT_DAYS * DAY_US + 1, "P3"), NOW) == 0
    assert list(support.requests) == ["kept"]
    assert support.last_opened == NOW - KEPT_DAYS * DAY_US + 1


def test_windows_are_open_at_their_beginning_and_closed_at_their_end() -> None:
    support = Support()
    for name, at in (("in", NOW), ("edge", NOW - 30 * DAY_US), ("before", NOW - 30 * DAY_US - 1)):
        support.open(name, Request(at, "P1" if name == "in" else "P4", category="how_to"), NOW)
    assert tickets_opened(support, NOW, 30) == 1
    assert tickets_opened(support, NOW, 30, 30) == 2
    assert load(support, NOW, 30) == 8
    assert load(support, NOW, 30, 30) == 2
    assert severe_share(support, NOW, 60) == pytest.approx(1 / 3)
    assert severe_share(support, NOW - 100 * DAY_US, 10) is None
    assert questions_asked(support, NOW, 30) == 1


def test_a_rating_that_is_older_than_the_known_one_changes_nothing() -> None:
    support = Support()
    support.rate("t", Rated(NOW, 5), NOW)
    support.rate("t", Rated(NOW - 1, 1), NOW)
    support.rate("u", Rated(NOW - 1, 2), NOW)
    assert rating(support, NOW) == 3.5


def test_reopened_beyond_retention_is_forgotten() -> None:
    support = Support()
    support.reopen(Reopened(NOW - 30 * DAY_US, "t", "e1"), NOW)
    support.reopen(Reopened(NOW, "t", "e2"), NOW)
    assert [known.event_id for known in support.returns(NOW, 30, 14)] == ["e2"]


def test_a_topic_is_back_less_than_so_many_days_after_another_ticket_on_it_ended() -> None:
    ended = NOW - 14 * DAY_US
    support = Support()
    support.end("first", Ticket(ended - 1, "P3", ended - 1, -1, False, ended, "e1", "login"), NOW)
    support.open("fourteen days later", Request(NOW, "P3", "login"), NOW)
    support.open("just before", Request(NOW - 1, "P3", "login"), NOW)
    support.open("solved at once", Request(ended, "P3", "export"), NOW)
    support.end("solved at once", Ticket(ended, "P3", ended, -1, False, ended, "e4", "export"), NOW)
    assert [known.ticket_id for known in support.returns(NOW, 30, 14)] == ["just before"]


LIFE = [
    ("2026-01-05T10:00:00Z", "opened", {"priority": "P3", "topic": "login"}),
    ("2026-01-07T10:00:00Z", "resolved", {}),
    ("2026-01-09T10:00:00Z", "closed", {}),
    ("2026-01-12T10:00:00Z", "reopened", {}),
    ("2026-01-13T10:00:00Z", "updated", {"topic": "export"}),
    ("2026-01-14T10:00:00Z", "updated", {"topic": "reporting", "category": "bug"}),
    ("2026-01-15T10:00:00Z", "resolved", {}),
    ("2026-01-17T10:00:00Z", "closed", {}),
]


def remembered(steps: list[tuple[str, str, dict[str, str]]]) -> Dossier:
    """What is stored of an account whose only ticket went through these steps, in this order of arrival."""
    run = Backtest(run_start_us=round(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp() * 1e6))
    raw = [
        json.dumps(
            {
                "specversion": "1.0",
                "id": f"{kind} at {at}",
                "source": "desk",
                "type": f"ticket.{kind}",
                "subject": "acme",
                "time": at,
                "data": {"ticket_id": "t", **data},
            }
        ).encode()
        for at, kind, data in steps
    ]
    list(run.run(Line(line, decode_any(line)) for line in raw))
    for key, value in run.engine.take(0, 0.0).state:
        if key[:1] == codec.DOSSIER and value is not None:
            return codec.decode_dossier(key, value)
    raise AssertionError("nothing was stored")


def test_steps_in_any_order_come_to_the_same() -> None:
    """Solved on the 15th, ten days after it was opened, by the latest topic: however the later steps arrive."""
    first, rest = LIFE[0], LIFE[1:]
    for order in itertools.islice(itertools.permutations(rest), 0, None, 97):
        support = remembered([first, *order]).support
        (request,) = support.requests.values()
        (solved,) = support.solved.values()
        assert (request.topic, request.category) == ("reporting", "bug"), order
        assert (solved.topic, solved.stands) == ("reporting", True), order
        assert resolution_days(support, solved.at) == (10.0, 10.0), order


def test_an_open_ticket_is_not_solved() -> None:
    support = remembered(LIFE[:4]).support
    assert [known.stands for known in support.solved.values()] == [False]
    assert resolution_days(support, NOW * 100) is None
