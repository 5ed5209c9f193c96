"""The stream of the feed: where one goes on, who gets what, and how it is sent."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from msgspec import structs

from services.api.endpoints.stream import event_of
from services.api.feed_queries import Bounds, Entry
from services.api.sse import encode
from services.api.stream import Gap, Mark, Wanted, resume

AT = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
ENTRY = Entry(
    7, "signal.raised", "acme", "e1", "usage.decline", "risk", "warning", "high", "Ana", '{"id":"e1-1","data":{}}'
)


@pytest.mark.parametrize(
    ("after", "bounds", "position", "gap"),
    [
        pytest.param(None, Bounds(5, AT, 9, 9), 9, False, id="from now on"),
        pytest.param(6, Bounds(5, AT, 9, 9), 6, False, id="kept"),
        pytest.param(4, Bounds(5, AT, 9, 9), 4, False, id="the oldest that is kept is the next"),
        pytest.param(3, Bounds(5, AT, 9, 9), 4, True, id="one is missing"),
        pytest.param(9, Bounds(5, AT, 9, 11), 9, False, id="nothing is missing at the end"),
        pytest.param(10, Bounds(5, AT, 9, 11), 10, False, id="another process was quicker"),
        pytest.param(12, Bounds(5, AT, 9, 11), 9, True, id="of another database"),
        pytest.param(0, Bounds(None, None, 0, 0), 0, False, id="nothing was ever told"),
        pytest.param(3, Bounds(None, None, 0, 8), 8, True, id="nothing is kept"),
    ],
)
def test_where_one_goes_on(after: int | None, bounds: Bounds, position: int, gap: bool) -> None:
    found, missing = resume(after, bounds)
    assert found == position
    assert missing == (Gap(after or 0, position, bounds.since) if gap else None)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(kind="risk", severity="warning", signal="usage.decline", tier="high", csm="Ana", account="acme"),
    ],
)
def test_who_asks_for_it_gets_it(wanted: Wanted) -> None:
    assert wanted.has(ENTRY)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(kind="opportunity"),
        Wanted(severity="critical"),
        Wanted(signal="usage.silence"),
        Wanted(tier="low"),
        Wanted(csm="Ben"),
        Wanted(account="acme2"),
        Wanted(kind="risk", account="birk"),
    ],
)
def test_who_asks_for_something_else_does_not(wanted: Wanted) -> None:
    assert not wanted.has(ENTRY)


def test_a_name_is_compared_as_it_is_kept() -> None:
    assert Wanted(csm="x" * 300).has(structs.replace(ENTRY, csm="x" * 256))


def test_an_entry_is_one_line_of_data_under_its_id() -> None:
    assert encode(event_of(ENTRY)) == b'id: 7\nevent: signal.raised\ndata: {"id":"e1-1","data":{}}\n\n'
    broken = structs.replace(ENTRY, body='{\n  "reason": "a\\nb"\n}')
    assert encode(event_of(broken)).splitlines()[2] == b'data: {"reason":"a\\nb"}'


def test_a_gap_says_from_where_to_start_over() -> None:
    sent = event_of(Gap(3, 40, AT))
    assert (sent.event, sent.id) == ("gap", "40")
    assert json.loads(sent.data or "") == {
        "asked": 3,
        "continues_after": 40,
        "kept_since": "2026-05-01T00:00:00Z",
        "resync": "/v1/signals?status=open,acknowledged,snoozed,closed",
    }


def test_a_mark_moves_the_id_and_is_no_event() -> None:
    assert encode(event_of(Mark(41))) == b"id: 41\n\n"
