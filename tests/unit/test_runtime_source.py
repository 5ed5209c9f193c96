"""The guard, the holes and the bounds of both runtimes' sources, on their own bookkeeping: no broker, no Faust running."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from services.signals.runtime import source as source_module
from services.signals.runtime.chunked import ChunkedConsumer
from services.signals.runtime.guarded import GuardedConsumer
from services.signals.runtime.source import InputConsumer

USAGE = TP("usage", 0)
TICKETS = TP("tickets", 0)


class Bare(InputConsumer):
    """A consumer without Faust's construction: only what its bookkeeping touches."""

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
        self.positions: dict[TP, int] = {}
        self.marks: dict[TP, int | None] = {}
        self.sought: list[tuple[TP, int]] = []

    def assignment(self) -> set[TP]:
        return {USAGE, TICKETS}

    def _mark(self, tp: TP) -> int | None:
        return self.marks.get(tp)

    async def _positions(self, own: list[TP]) -> dict[TP, int]:
        return self.positions

    async def seek(self, partition: TP, offset: int) -> None:
        self.sought.append((partition, offset))
        self._expected[partition] = offset
        if partition in self.positions:
            self.positions[partition] = offset


class BareChunked(Bare, ChunkedConsumer):
    """The chunked one."""


class BareGuarded(Bare, GuardedConsumer):
    """The guarded one. `acked` are the offsets that Faust was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.acked: list[int] = []

    def ack(self, message: Any) -> bool:
        self.acked.append(message.offset)
        return True


def records(*offsets: int, size: int = 10) -> list[Any]:
    return [
        SimpleNamespace(offset=offset, key=b"a", value=b"x" * size, headers=(), timestamp=1.5, acked=False)
        for offset in offsets
    ]


@pytest.fixture(params=[BareChunked, BareGuarded])
def source(request: pytest.FixtureRequest) -> Bare:
    consumer: Bare = request.param()
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
    source.positions[USAGE] = 9
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
    source.positions[USAGE] = 9
    source._accept(USAGE, records(5, 6))
    await source._wind_back()
    source._accept(USAGE, records(0, 1, 2, 3, 4, 5, 6))
    assert popped(source) == [0, 1, 2, 3, 4, 5, 6]
    assert source.holes == {}


def test_holes_inside_a_fetch_are_verified_by_it(source: Bare) -> None:
    source._accept(USAGE, records(0, 1, 4, 6))
    assert source.holes == {("usage", 0, 2): 4, ("usage", 0, 5): 6}


async def test_a_position_past_the_expected_record_is_wound_back_once_and_then_believed(source: Bare) -> None:
    source.positions[USAGE] = 4
    await source._wind_back()
    assert source.sought == [(USAGE, 0)]
    source.positions[USAGE] = 4
    await source._wind_back()
    assert source.sought == [(USAGE, 0)]
    assert source.holes == {("usage", 0, 0): 4}
    assert source._expected[USAGE] == 4


def test_after_an_assignment_nothing_of_before_is_left(source: Bare) -> None:
    source._accept(USAGE, records(0, 1))
    epoch = source.epoch
    source._reset()
    assert source.epoch == epoch + 1
    assert popped(source) == []
    assert not source.active
    assert source.behind("usage", 0), "unknown until the first fetch"


@pytest.mark.parametrize(
    ("position", "highwater", "queued", "answer"),
    [(3, None, 0, True), (3, 5, 0, True), (3, 3, 0, False), (3, 3, 2, True)],
)
def test_behind_is_what_the_stream_does_not_have_yet(
    source: Bare, position: int, highwater: int | None, queued: int, answer: bool
) -> None:
    source.marks[USAGE] = highwater
    source._expected[USAGE] = position - queued
    if queued:
        source._accept(USAGE, records(*range(position - queued, position)))
    assert source.behind("usage", 0) is answer


async def test_a_partition_that_is_ahead_is_paused_and_resumed_at_half(
    source: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MIN_HELD_PER_PARTITION", 10)
    monkeypatch.setattr(source_module, "HELD_RECORDS", 20)
    source._accept(USAGE, records(*range(10)))
    assert USAGE in source._active_partitions
    source._accept(USAGE, records(10))
    assert USAGE not in source._active_partitions
    assert TICKETS in source._active_partitions
    popped(source)
    source.took("usage", 0, 5)
    await source._wind_back()
    assert USAGE not in source._active_partitions
    source.took("usage", 0, 1)
    await source._wind_back()
    assert USAGE in source._active_partitions
    assert all(isinstance(tp, TP) for tp in source._active_partitions)


async def test_large_records_count_by_their_bytes(source: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "HELD_BYTES", 2000)
    source._accept(USAGE, records(0, 1, size=501))
    assert USAGE not in source._active_partitions
    source.took("usage", 0, 2)
    assert USAGE not in source._active_partitions, "a fetch may be under way"
    await source._wind_back()
    assert USAGE in source._active_partitions


async def test_a_batch_in_hand_is_waited_for(source: Bare) -> None:
    token = source.begin()
    assert source.unacked == {token}
    source.finish(token)
    assert source.unacked == set()


async def test_waiting_ends_with_the_next_chunk(source: Bare) -> None:
    waiting = asyncio.ensure_future(source.arrival(5))
    await asyncio.sleep(0)
    source._accept(USAGE, records(0))
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(source.arrival(5), 1)


async def test_the_state_says_where_to_begin_when_more_was_committed(source: Bare) -> None:
    source._began.update({USAGE: 5, TICKETS: 0})
    source._expected[USAGE] = 5
    source._accept(USAGE, records(5, 6))
    source._accept(TICKETS, records(0, 1))
    source.begin_at("usage", 0, 3)
    source.begin_at("tickets", 0, 4)
    source._accept(USAGE, records(7))
    assert popped(source) == [0, 1], "nothing of it is taken while the rewind is due"
    await source._wind_back()
    assert source.sought == [(USAGE, 3)]
    source._accept(USAGE, records(3, 4))
    assert popped(source) == [3, 4]


def committed(source: Bare) -> int:
    """What the source would let Faust commit of usage, Faust's bookkeeping being as plain as can be."""
    if isinstance(source, BareChunked):
        return source._done.get(USAGE, -1)
    assert isinstance(source, BareGuarded)
    offset = source._began[USAGE]
    while offset in source.acked:
        offset += 1
    return offset


async def test_a_hole_at_the_end_is_committed_once_all_before_it_is_applied(source: Bare) -> None:
    """A transaction's mark is an offset without a record: whatever is said of it after it, nothing need ever follow."""
    source._began[USAGE] = 0
    fetched = records(0, 1, 2)
    source._accept(USAGE, fetched)
    if isinstance(source, BareGuarded):
        source._unapplied.setdefault(USAGE, deque()).extend(fetched)
    source.begin_at("usage", 0, 0)
    source.applied("usage", 0, 2, source.epoch)
    source.marks[USAGE] = 6
    source.positions[USAGE] = 6
    await source._wind_back()
    source.positions[USAGE] = 6
    await source._wind_back()
    assert source.holes == {("usage", 0, 3): 6}
    assert committed(source) == 2, "a record before the hole is not applied yet"
    assert source.lag("usage", 0, 1) == 4
    source.applied("usage", 0, 3, source.epoch)
    assert committed(source) == 6
    assert source.lag("usage", 0, 2) == 0
    source._hole(USAGE, 6, 8)
    assert committed(source) == 8, "nothing was in between"
    source._hole(USAGE, 9, 12)
    assert committed(source) == 8, "the record at 8 is not here"


async def test_nothing_is_committed_past_what_the_state_needs(source: Bare) -> None:
    source._began[USAGE] = source._expected[USAGE] = 5
    source._hole(USAGE, 5, 9)
    assert committed(source) in (-1, 5), "the state has not been asked"
    source.begin_at("usage", 0, 3)
    assert committed(source) in (-1, 5)
    source.begin_at("usage", 0, 5)
    assert committed(source) == 9


def test_the_chunked_source_commits_the_applied_position() -> None:
    source = BareChunked()
    source.applied("usage", 0, 7, source.epoch)
    source.applied("usage", 0, 9, source.epoch)
    source.applied("tickets", 0, 5, source.epoch - 1)
    assert list(source._filter_tps_with_pending_acks()) == [USAGE]
    assert list(source._filter_tps_with_pending_acks({"tickets"})) == []
    assert source._new_offset(USAGE) == 9
    assert source._new_offset(USAGE) is None
    source.applied("usage", 0, 11, source.epoch)
    source._reset()
    assert source._new_offset(USAGE) is None


async def test_the_chunked_source_tells_whoever_waits_for_the_batch_in_hand() -> None:
    source = BareChunked()
    source._waiting_for_ack = asyncio.get_running_loop().create_future()
    source.finish(source.begin())
    assert source._waiting_for_ack.done()


# -- fetches that return into a world that has changed: both runtimes, each through its own loop -----------------------


class ChunkedLoop(BareChunked):
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


class GuardedLoop(BareGuarded):
    """Its `getmany`, fed by hand, as Faust's own loop calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: list[Any] = []
        self.acked: list[int] = []
        self.passed: list[int] = []

    def ack(self, message: Any) -> bool:
        self.acked.append(message.offset)
        return True

    async def drain(self) -> None:
        while self.fetches:
            async for _, message in self.getmany(1.0):
                self.passed.append(message.offset)


@pytest.fixture(params=[ChunkedLoop, GuardedLoop])
async def draining(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    consumer = request.param()

    async def stock(self: Any, seconds: float) -> AsyncIterator[tuple[TP, Any]]:
        fetch = self.fetches.pop(0)
        for tp, messages in (fetch() if callable(fetch) else fetch).items():
            for message in messages:
                yield tp, message

    monkeypatch.setattr(driver.Consumer, "getmany", stock)
    consumer._expected.update({USAGE: 0, TICKETS: 0})
    consumer._settled = True
    return consumer


async def test_what_is_fetched_over_a_change_of_generation_is_fetched_again(draining: Any) -> None:
    def moved() -> Any:
        draining.app.consumer_generation_id = 2
        return {USAGE: records(0, 1)}

    draining.fetches = [moved, {USAGE: records(0, 1, 2, 3)}]
    await draining.drain()
    assert draining.sought == [(USAGE, 0)]
    assert draining.counts["dropped"] == 2
    assert popped(draining) == [0, 1, 2, 3]


async def test_what_was_fetched_when_positions_were_sought_anew_is_fetched_again(draining: Any) -> None:
    """A fetch that began before a seek to the committed positions and returns after it, both in calm."""

    def sought() -> Any:
        draining._reset()
        draining._expected.update({USAGE: 1, TICKETS: 0})
        draining._settled = True
        return {USAGE: records(4, 5)}

    draining.fetches = [sought, {USAGE: records(1, 2)}]
    await draining.drain()
    assert draining.sought == [(USAGE, 1)]
    assert popped(draining) == [1, 2]


async def test_nothing_is_kept_before_positions_are_known(draining: Any) -> None:
    draining._settled = False
    draining.fetches = [{USAGE: records(0, 1)}]
    await draining.drain()
    assert popped(draining) == []


async def test_what_is_fetched_while_rebalancing_is_dropped_and_wound_back_afterwards(draining: Any) -> None:
    def starts() -> Any:
        draining.app.rebalancing = True
        return {USAGE: records(0, 1)}

    def ends() -> Any:
        draining.app.rebalancing = False
        return {USAGE: records(2)}

    draining.fetches = [starts, {TICKETS: records(0)}, ends, {}, {USAGE: records(0, 1, 2), TICKETS: records(0)}]
    await draining.drain()
    assert sorted(draining.sought) == [(TICKETS, 0), (USAGE, 0)]
    assert draining.counts["dropped"] == 4
    assert popped(draining) == [0, 1, 2, 0]


async def test_a_partition_paused_while_its_fetch_was_under_way_keeps_the_fetch(draining: Any) -> None:
    def paused() -> Any:
        draining.pause_partitions({USAGE})
        return {USAGE: records(0, 1)}

    draining.fetches = [paused]
    await draining.drain()
    assert popped(draining) == [0, 1]


async def test_the_guarded_source_acknowledges_what_was_applied_and_passes_the_changelog_on() -> None:
    source = GuardedLoop()
    source._expected[USAGE] = source._began[USAGE] = 0
    source._settled = True
    changelog = TP("changelog", 0)

    async def stock() -> AsyncIterator[tuple[TP, Any]]:
        for tp, message in [(USAGE, 0), (changelog, 7), (USAGE, 1), (USAGE, 2)]:
            yield tp, records(message)[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver.Consumer, "getmany", lambda self, seconds: stock())
        assert [tp async for tp, _ in source.getmany(1.0)] == [changelog]
    chunk = source.pop()
    assert chunk is not None
    assert [(record.offset, record.timestamp) for record in chunk.records] == [(0, 1500), (1, 1500), (2, 1500)]
    source.applied("usage", 0, 2, source.epoch)
    assert source.acked == [0, 1]
    source.applied("usage", 0, 3, source.epoch - 1)
    assert source.acked == [0, 1], "of an earlier assignment"
    source._began[USAGE] = 2
    source.begin_at("usage", 0, 1)
    assert source.acked == [0, 1], "it is fetched again"
    source._accept(USAGE, records(1, 2))
    source.applied("usage", 0, 3, source.epoch)
    assert source.acked == [0, 1, 2]
