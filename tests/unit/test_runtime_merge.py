"""When the merge hands a record over, and when it waits."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.codec import Refusal
from services.signals.runtime.merge import PartitionMerge
from services.signals.runtime.records import FUTURE_US, Item, prepare
from tests.faults.bench import event, tick

A, B = 0, 1
TOPICS = ("usage", "tickets")
T = 1_700_000_000.0
OWN_ORDER = (1, 0)  # tickets before usage at equal times


def record(value: bytes, offset: int, *, key: bytes | None = b"a", headers: Any = (), append_ms: int = 0) -> Any:
    return SimpleNamespace(offset=offset, key=key, value=value, headers=headers, timestamp=append_ms)


Entry = tuple[int | None, Item]


def prepared(topic: int, name: str, each: Any, poison: frozenset[int] = frozenset()) -> Entry:
    """One record's place in a replay and the record."""
    sequences, items = prepare(topic, name, 0, [each], poison)
    return (None if sequences is None else sequences[0]), items[0]


def push(merge: PartitionMerge, topic: int, entries: list[Entry]) -> None:
    sequences = [sequence for sequence, _ in entries]
    merge.push(topic, sequences if any(each is not None for each in sequences) else None, [item for _, item in entries])


def entry(topic: int, offset: int, at: float, sequence: int | None = None) -> Entry:
    headers = () if sequence is None else (("sequence", b"%d" % sequence),)
    name = TOPICS[topic]
    return prepared(topic, name, record(event(name, "a", f"{name}-{offset}", at), offset, headers=headers))


def ticked(topic: int, offset: int, at: float, *, historical: bool, sequence: int | None = None) -> Entry:
    headers = () if sequence is None else (("sequence", b"%d" % sequence),)
    value = tick(at, historical=historical)
    return prepared(topic, TOPICS[topic], record(value, offset, key=None, headers=headers))


def live(topic: int) -> bool:
    return False


def taken(merge: PartitionMerge, behind: Any = live, limit: int = 100) -> list[tuple[int, int]]:
    return [(item[0], item[1]) for item in merge.take(limit, behind)]


@pytest.fixture
def merge() -> PartitionMerge:
    return PartitionMerge([-1, -1], [False, False], OWN_ORDER)


def test_live_records_come_by_time_and_equal_times_in_the_order_of_topics(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T + 1), entry(A, 1, T + 2), entry(A, 2, T + 4)])
    push(merge, B, [entry(B, 0, T + 2), entry(B, 1, T + 3)])
    assert taken(merge) == [(A, 0), (B, 0), (A, 1), (B, 1), (A, 2)]
    assert merge.queued == 0


def test_a_late_record_follows_the_tick_that_it_came_after_on_every_topic(merge: PartitionMerge) -> None:
    """Fetched together or one by one: otherwise its account's clock would depend on the batch."""
    push(merge, A, [ticked(A, 0, T, historical=False)])
    push(merge, B, [ticked(B, 0, T, historical=False), entry(B, 1, T - 5)])
    assert taken(merge) == [(B, 0), (A, 0), (B, 1)]


def test_live_records_do_not_wait_for_an_idle_topic(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T)])
    assert taken(merge) == [(A, 0)]


def test_live_records_wait_for_a_topic_that_has_more_on_the_broker(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T)])
    assert taken(merge, lambda topic: topic == B) == []
    push(merge, B, [entry(B, 0, T - 1)])
    assert taken(merge) == [(B, 0), (A, 0)]


def test_a_topic_with_more_to_come_is_a_bound_with_its_last_record(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T), entry(A, 1, T + 9)])
    push(merge, B, [entry(B, 0, T + 1), entry(B, 1, T + 5)])
    assert taken(merge, lambda topic: topic == B) == [(A, 0), (B, 0), (B, 1)]
    assert taken(merge, lambda topic: topic == B) == []


def test_a_late_record_stays_in_its_place_on_the_topic(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T + 5), entry(A, 1, T)])
    push(merge, B, [entry(B, 0, T + 5), entry(B, 1, T + 6)])
    assert taken(merge) == [(B, 0), (A, 0), (A, 1), (B, 1)]


def test_the_limit_cuts_and_nothing_is_lost(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, offset, T + offset) for offset in range(10)])
    push(merge, B, [entry(B, offset, T + offset) for offset in range(10)])
    whole = [place for _ in range(7) for place in taken(merge, limit=3)]
    assert whole == [(topic, offset) for offset in range(10) for topic in (B, A)]


def test_rereads_come_first_and_wait_for_nothing() -> None:
    merge = PartitionMerge([4, -1], [False, False], OWN_ORDER)
    push(merge, A, [entry(A, offset, T + offset) for offset in range(3, 7)])
    assert taken(merge, lambda topic: True) == [(A, 3), (A, 4)]
    assert taken(merge) == [(A, 5), (A, 6)]


def test_in_a_replay_every_topic_must_show_what_comes_next(merge: PartitionMerge) -> None:
    push(merge, A, [ticked(A, 0, T, historical=True, sequence=0), entry(A, 1, T + 9, 2)])
    assert taken(merge) == []
    assert merge.is_historical
    push(merge, B, [ticked(B, 0, T, historical=True, sequence=0), entry(B, 1, T + 1, 3)])
    assert taken(merge) == [(B, 0), (A, 0), (A, 1)]
    push(merge, A, [ticked(A, 2, T + 20, historical=True, sequence=4)])
    assert taken(merge) == [(B, 1)]


def test_a_replay_keeps_the_files_order_whatever_the_times_say(merge: PartitionMerge) -> None:
    push(merge, A, [ticked(A, 0, T, historical=True, sequence=0), entry(A, 1, T + 50, 1), entry(A, 2, T + 1, 3)])
    push(merge, B, [ticked(B, 0, T, historical=True, sequence=0), entry(B, 1, T + 2, 2)])
    push(merge, A, [ticked(A, 3, T + 60, historical=False)])
    push(merge, B, [ticked(B, 2, T + 60, historical=False)])
    assert taken(merge) == [(B, 0), (A, 0), (A, 1), (B, 1), (A, 2), (B, 2), (A, 3)]
    assert not merge.is_historical


def test_after_a_tick_was_taken_the_topic_is_still_waited_for(merge: PartitionMerge) -> None:
    for topic in (A, B):
        push(merge, topic, [ticked(topic, 0, T, historical=True, sequence=0)])
    assert taken(merge) == [(B, 0)], "the next of B may belong before A's tick"
    push(merge, A, [entry(A, 1, T + 1, 1)])
    assert taken(merge) == []
    push(merge, B, [ticked(B, 1, T + 2, historical=False)])
    assert taken(merge) == [(A, 0), (A, 1)]


def test_the_mode_survives_a_restart_through_the_state() -> None:
    merge = PartitionMerge([5, 5], [True, True], OWN_ORDER)
    push(merge, A, [entry(A, 6, T, 7)])
    assert taken(merge) == []
    push(merge, B, [entry(B, 6, T, 6)])
    assert taken(merge) == [(B, 6)]


def test_the_first_live_tick_lets_live_records_flow_again(merge: PartitionMerge) -> None:
    for topic in (A, B):
        push(
            merge,
            topic,
            [ticked(topic, 0, T, historical=True, sequence=0), ticked(topic, 1, T + 1, historical=False)],
        )
    assert len(taken(merge)) == 4
    push(merge, A, [entry(A, 2, T + 5)])
    assert taken(merge) == [(A, 2)]


def test_a_live_record_does_not_disturb_the_order_of_a_replay_under_way(merge: PartitionMerge) -> None:
    push(merge, A, [ticked(A, 0, T, historical=True, sequence=0), entry(A, 1, T + 1e6), entry(A, 2, T + 1, 3)])
    push(merge, B, [ticked(B, 0, T, historical=True, sequence=0), entry(B, 1, T + 1, 2), entry(B, 2, T + 1, 4)])
    assert taken(merge) == [(B, 0), (A, 0), (A, 1), (B, 1), (A, 2)]


def test_a_sequence_header_means_nothing_outside_a_replay(merge: PartitionMerge) -> None:
    push(merge, A, [entry(A, 0, T, 17)])
    assert taken(merge) == [(A, 0)]


def test_a_record_that_could_not_be_decoded_keeps_its_place(merge: PartitionMerge) -> None:
    bad = prepared(A, "usage", record(b"{", 1))
    assert isinstance(bad[1][4], Refusal)
    push(merge, A, [entry(A, 0, T), bad, entry(A, 2, T + 2)])
    push(merge, B, [entry(B, 0, T + 1)])
    assert taken(merge) == [(A, 0), (A, 1), (B, 0), (A, 2)]


def test_prepare_judges_the_future_by_append_time_or_the_runs_start() -> None:
    value = event("usage", "a", "x", T)
    assert prepared(A, "usage", record(value, 0, append_ms=5))[1][5] == 5000 + FUTURE_US
    headers = (("sequence", b"3"), ("run-start", b"77"))
    sequence, item = prepared(A, "usage", record(value, 0, headers=headers))
    assert (sequence, item[5]) == (3, 77 + FUTURE_US)


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1" * 30, None, "²".encode()])
def test_a_sequence_that_is_no_number_is_ignored(value: bytes | None) -> None:
    assert prepared(A, "usage", record(b"{}", 0, headers=(("sequence", value),)))[0] is None


def test_a_poison_offset_is_refused_unread() -> None:
    item = prepared(A, "usage", record(event("usage", "a", "x", T), 9), frozenset({9}))[1]
    assert isinstance(item[4], Refusal)
    assert item[4].reason == "poison"


def test_the_test_events_are_valid() -> None:
    for topic in TOPICS:
        assert not isinstance(prepared(0, topic, record(event(topic, "a", "x", T), 0))[1][4], Refusal)
    assert json.loads(event("usage", "a", "x", T))["time"] == dt.datetime.fromtimestamp(T, dt.UTC).isoformat()
