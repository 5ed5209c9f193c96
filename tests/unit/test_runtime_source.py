"""The guard, the holes and the bounds of the source, on its own bookkeeping: no broker, no Faust app running."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from services.signals.runtime import source as source_module
from services.signals.runtime.source import SourceConsumer

USAGE = TP("usage", 0)
TICKETS = TP("tickets", 0)


class Bare(SourceConsumer):
    """The consumer without Faust's construction: only what its bookkeeping touches."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(  # type: ignore[assignment]
            rebalancing=False,
            in_recovery=False,
            should_stop=False,
            consumer_generation_id=1,
            input_topics=("usage", "tickets"),
        )
        self.flow_active = True
        self._unacked_messages = set()
        self._waiting_for_ack = None
        self._active_partitions = {USAGE, TICKETS}
        self._paused_partitions = set()
        self._buffered_partitions = set()
        self._book()
        self.states: dict[TP, Any] = {}
        self.sought: list[tuple[TP, int]] = []

    def assignment(self) -> set[TP]:
        return {USAGE, TICKETS}

    def _state_of(self, tp: TP) -> Any:
        return self.states.get(tp)

    async def seek(self, partition: TP, offset: int) -> None:
        self.sought.append((partition, offset))
        self._expected[partition] = offset
        if partition in self.states:
            self.states[partition].position = offset

    def at(self, tp: TP, position: int, highwater: int | None = None) -> None:
        self.states[tp] = SimpleNamespace(position=position, highwater=highwater, has_valid_position=True)


def records(*offsets: int, size: int = 10) -> list[Any]:
    return [SimpleNamespace(offset=offset, value=b"x" * size) for offset in offsets]


@pytest.fixture
def source() -> Bare:
    consumer = Bare()
    consumer._expected.update({USAGE: 0, TICKETS: 0})
    consumer._settled = True
    return consumer


def popped(source: Bare) -> list[int]:
    out = []
    while (chunk := source.pop()) is not None:
        out += [record.offset for record in chunk.records]
    return out


def test_fetched_records_come_out_in_chunks_and_in_order(source: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "CHUNK", 2)
    source._accept(USAGE, records(0, 1, 2))
    assert [len(chunk.records) for chunk in source._chunks] == [2, 1]
    assert popped(source) == [0, 1, 2]
    assert source._expected[USAGE] == 3


def test_what_was_fetched_before_is_left_out(source: Bare) -> None:
    source._accept(USAGE, records(0, 1, 2))
    source._accept(USAGE, records(1, 2))
    source._accept(USAGE, records(2, 3))
    assert popped(source) == [0, 1, 2, 3]


async def test_a_gap_is_fetched_again_once_and_then_believed(source: Bare) -> None:
    source.at(USAGE, 9)
    source._accept(USAGE, records(5, 6))
    assert popped(source) == []
    source._accept(USAGE, records(7))
    assert popped(source) == [], "nothing is taken while a rewind is due"
    await source._wind_back()
    assert source.sought == [(USAGE, 0)]
    source._accept(USAGE, records(5, 6))
    assert popped(source) == [5, 6]
    assert source.holes == {("usage", 0, 0): 5}


async def test_a_gap_that_was_a_lost_fetch_is_filled(source: Bare) -> None:
    source.at(USAGE, 9)
    source._accept(USAGE, records(5, 6))
    await source._wind_back()
    source._accept(USAGE, records(0, 1, 2, 3, 4, 5, 6))
    assert popped(source) == [0, 1, 2, 3, 4, 5, 6]
    assert source.holes == {}


def test_holes_inside_a_fetch_are_verified_by_it(source: Bare) -> None:
    source._accept(USAGE, records(0, 1, 4, 6))
    assert source.holes == {("usage", 0, 2): 4, ("usage", 0, 5): 6}


async def test_a_position_past_the_expected_record_is_wound_back_once_and_then_believed(source: Bare) -> None:
    source.at(USAGE, 4)
    await source._wind_back()
    assert source.sought == [(USAGE, 0)]
    source.at(USAGE, 4)
    await source._wind_back()
    assert source.sought == [(USAGE, 0)]
    assert source.holes == {("usage", 0, 0): 4}
    assert source._expected[USAGE] == 4


def test_after_an_assignment_nothing_of_before_is_left(source: Bare) -> None:
    source._accept(USAGE, records(0, 1))
    source.applied("usage", 0, 1, source.epoch)
    epoch = source.epoch
    source._reset()
    assert source.epoch == epoch + 1
    assert popped(source) == []
    assert not source.active
    assert source._new_offset(USAGE) is None
    assert source.behind("usage", 0), "unknown until the first fetch"


def test_the_applied_position_is_what_is_committed(source: Bare) -> None:
    source.applied("usage", 0, 7, source.epoch)
    source.applied("usage", 0, 9, source.epoch)
    source.applied("tickets", 0, 5, source.epoch - 1)
    assert list(source._filter_tps_with_pending_acks()) == [USAGE]
    assert list(source._filter_tps_with_pending_acks({"tickets"})) == []
    assert source._new_offset(USAGE) == 9
    assert source._new_offset(USAGE) is None


@pytest.mark.parametrize(
    ("position", "highwater", "queued", "answer"),
    [(3, None, 0, True), (3, 5, 0, True), (3, 3, 0, False), (3, 3, 2, True)],
)
def test_behind_is_what_the_stream_does_not_have_yet(
    source: Bare, position: int, highwater: int | None, queued: int, answer: bool
) -> None:
    source.at(USAGE, position, highwater)
    source._expected[USAGE] = position - queued
    if queued:
        source._accept(USAGE, records(*range(position - queued, position)))
    assert source.behind("usage", 0) is answer


def test_a_partition_that_is_ahead_is_paused_and_resumed_at_half(source: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "MIN_HELD_PER_PARTITION", 10)
    monkeypatch.setattr(source_module, "HELD_RECORDS", 20)
    source._accept(USAGE, records(*range(10)))
    assert USAGE in source._active_partitions
    source._accept(USAGE, records(10))
    assert USAGE not in source._active_partitions
    assert TICKETS in source._active_partitions
    popped(source)
    source.took("usage", 0, 5)
    assert USAGE not in source._active_partitions
    source.took("usage", 0, 1)
    assert USAGE in source._active_partitions
    assert all(isinstance(tp, TP) for tp in source._active_partitions)


def test_large_records_count_by_their_bytes(source: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "HELD_BYTES", 2000)
    source._accept(USAGE, records(0, 1, size=501))
    assert USAGE not in source._active_partitions
    source.took("usage", 0, 2)
    assert USAGE in source._active_partitions


def test_nothing_is_resumed_while_partitions_move(source: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "HELD_BYTES", 2000)
    source._accept(USAGE, records(0, 1, size=501))
    source._engine_app.rebalancing = True
    source.took("usage", 0, 2)
    assert USAGE not in source._active_partitions


async def test_a_batch_in_hand_is_waited_for(source: Bare) -> None:
    token = source.begin()
    assert source._unacked_messages == {token}
    source._waiting_for_ack = asyncio.get_running_loop().create_future()
    source.finish(token)
    assert source._unacked_messages == set()
    assert source._waiting_for_ack.done()


async def test_waiting_ends_with_the_next_chunk(source: Bare) -> None:
    waiting = asyncio.ensure_future(source.arrival(5))
    await asyncio.sleep(0)
    source._accept(USAGE, records(0))
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(source.arrival(5), 1)


class Drain(Bare):
    """Its drain loop, fed by hand: each fetch may change the world before it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: list[Any] = []
        self._stopped = asyncio.Event()  # type: ignore[assignment]
        self._crashed = asyncio.Event()  # type: ignore[assignment]

    async def _fetch(self, calm: bool) -> tuple[Any, set[TP]]:
        if not self.fetches:
            self._stopped.set()
            return {}, set()
        fetch = self.fetches.pop(0)
        return fetch() if callable(fetch) else fetch, self._active_partitions

    async def drain(self) -> None:
        await self._drain_messages(SimpleNamespace(_stopped=asyncio.Event()))


@pytest.fixture
async def draining() -> Drain:
    consumer = Drain()
    consumer._expected.update({USAGE: 0, TICKETS: 0})
    consumer._settled = True
    return consumer


async def test_what_is_fetched_over_a_change_of_generation_is_fetched_again(draining: Drain) -> None:
    def moved() -> Any:
        draining._engine_app.consumer_generation_id = 2
        return {USAGE: records(0, 1)}

    draining.fetches = [moved, {USAGE: records(0, 1, 2, 3)}]
    await draining.drain()
    assert draining.sought == [(USAGE, 0)]
    assert draining.counts["dropped"] == 2
    assert popped(draining) == [0, 1, 2, 3]


async def test_what_is_fetched_while_rebalancing_is_dropped_and_wound_back_afterwards(draining: Drain) -> None:
    def starts() -> Any:
        draining._engine_app.rebalancing = True
        return {USAGE: records(0, 1)}

    def ends() -> Any:
        draining._engine_app.rebalancing = False
        return {USAGE: records(2)}

    draining.fetches = [starts, {TICKETS: records(0)}, ends, {}, {USAGE: records(0, 1, 2), TICKETS: records(0)}]
    await draining.drain()
    assert sorted(draining.sought) == [(TICKETS, 0), (USAGE, 0)]
    assert draining.counts["dropped"] == 4
    assert popped(draining) == [0, 1, 2, 0]


async def test_a_partition_paused_while_its_fetch_was_under_way_keeps_the_fetch(draining: Drain) -> None:
    def paused() -> Any:
        draining.pause_partitions({USAGE})
        return {USAGE: records(0, 1)}

    draining.fetches = [paused]
    await draining.drain()
    assert popped(draining) == [0, 1]
