"""Batches from a source that is driven by hand: order, holes, acknowledgement, and what happens when partitions move."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from services.signals.runtime import stream
from services.signals.runtime.effects import ForeignWrite
from services.signals.runtime.records import Item
from services.signals.runtime.stream import Batch, HoleError, MergedStream, Opened
from tests.faults.bench import event

TOPICS = ("usage", "tickets")
T = 1_700_000_000.0


class FakeSource:
    def __init__(self, *partitions: int) -> None:
        self.epoch = 1
        self.holes: dict[tuple[str, int, int], int] = {}
        self.active = True
        self.numbers = list(partitions)
        self.chunks: list[Any] = []
        self.more: set[tuple[str, int]] = set()
        self.taken: list[tuple[str, int, int]] = []
        self.done: dict[tuple[str, int], int] = {}
        self.starts: dict[tuple[str, int], int] = {}
        self.in_hand = 0
        self.waits: list[float] = []

    def partitions(self) -> list[int]:
        return self.numbers

    def begin_at(self, topic: str, partition: int, offset: int) -> None:
        self.starts[topic, partition] = offset

    def feed(self, topic: str, partition: int, offsets: Sequence[int], *, start: float = T) -> None:
        records = [
            SimpleNamespace(
                offset=offset,
                key=b"a",
                value=event(topic, "a", f"{topic}{offset}", start + offset),
                headers=(),
                timestamp=0,
            )
            for offset in offsets
        ]
        self.chunks.append(SimpleNamespace(topic=topic, partition=partition, records=records))

    def pop(self) -> Any:
        return self.chunks.pop(0) if self.chunks else None

    async def arrival(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    def behind(self, topic: str, partition: int) -> bool:
        return (topic, partition) in self.more

    def took(self, topic: str, partition: int, records: int) -> None:
        self.taken.append((topic, partition, records))

    def begin(self) -> object:
        self.in_hand += 1
        return object()

    def applied(self, topic: str, partition: int, next_offset: int, epoch: int) -> None:
        if epoch == self.epoch:
            self.done[topic, partition] = next_offset

    def finish(self, token: object) -> None:
        self.in_hand -= 1


class Driver:
    """Takes batches until there is nothing more, then stops the stream."""

    def __init__(self, source: FakeSource, *, limit: int = 100, most: int = 0, applied: int = -1) -> None:
        self.source = source
        self.opened: list[list[int]] = []
        self.batches: list[Batch] = []
        self.stopping = False
        self.applied = applied
        self.stream = MergedStream(
            source,
            TOPICS,
            (1, 0),
            self._open,
            limit=limit,
            most=most or limit,
            stopping=lambda: self.stopping,
            poison=lambda topic, partition: frozenset(),
        )

    async def _open(self, numbers: list[int]) -> Opened:
        self.opened.append(numbers)
        return {number: ([self.applied] * 2, [False] * 2) for number in numbers}

    async def run(self) -> list[Batch]:
        async for batch in self.stream.batches(lambda: 0.25):
            if not batch:
                self.stopping = True
            else:
                self.batches.append(batch)
        return self.batches


def places(items: list[Item]) -> list[tuple[int, int]]:
    return [(item[0], item[1]) for item in items]


async def test_what_was_fetched_is_yielded_in_order_and_acknowledged_when_the_next_batch_is_asked_for() -> None:
    source = FakeSource(0, 1)
    source.feed("usage", 0, [5, 6])
    source.feed("tickets", 0, [6])
    source.feed("usage", 1, [1])
    driver = Driver(source)
    (batch,) = await driver.run()
    assert places(batch[0]) == [(0, 5), (1, 6), (0, 6)]
    assert places(batch[1]) == [(0, 1)]
    assert source.done == {("usage", 0): 7, ("tickets", 0): 7, ("usage", 1): 2}
    assert sorted(source.taken) == [("tickets", 0, 1), ("usage", 0, 2), ("usage", 1, 1)]
    assert source.in_hand == 0
    assert driver.opened == [[0, 1]]
    assert set(source.starts.values()) == {0}


async def test_the_limit_holds_over_all_partitions_and_each_gets_its_turn() -> None:
    source = FakeSource(0, 1)
    source.feed("usage", 0, range(10))
    source.feed("usage", 1, range(10))
    driver = Driver(source, limit=4)
    batches = await driver.run()
    assert all(sum(map(len, batch.values())) <= 4 for batch in batches)
    assert {number for batch in batches[:2] for number in batch} == {0, 1}
    assert source.done == {("usage", 0): 10, ("usage", 1): 10}


async def test_a_batch_is_larger_while_more_is_queued() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, range(20))
    batches = await Driver(source, limit=4, most=12).run()
    assert [len(batch[0]) for batch in batches] == [12, 8]
    source = FakeSource(0)
    source.feed("usage", 0, range(4))
    assert [len(batch[0]) for batch in await Driver(source, limit=4, most=12).run()] == [4]


async def test_a_missing_offset_is_never_passed_over() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [5, 7])
    with pytest.raises(HoleError, match="usage-0: expected offset 6, got 7"):
        await Driver(source).run()
    assert source.done == {}


async def test_a_repeated_offset_is_noticed_too() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [5, 5])
    with pytest.raises(HoleError):
        await Driver(source).run()


async def test_verified_holes_are_passed_over() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [5, 8])
    source.feed("usage", 0, [12])
    source.holes = {("usage", 0, 6): 8, ("usage", 0, 9): 10, ("usage", 0, 10): 12}
    await Driver(source).run()
    assert source.done == {("usage", 0): 13}
    assert source.holes == {}


async def test_a_batch_whose_effects_failed_is_not_acknowledged() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [0])
    driver = Driver(source)
    batches = driver.stream.batches(lambda: 0.25)
    assert await anext(batches)
    with pytest.raises(RuntimeError, match="effects"):
        await batches.athrow(RuntimeError("effects"))
    assert source.done == {}
    assert source.in_hand == 0, "a revocation does not wait for a batch that will never end"


async def test_after_an_assignment_everything_is_opened_anew_and_old_work_counts_for_nothing() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [0, 1])
    driver = Driver(source, limit=1)
    batches = driver.stream.batches(lambda: 0.25)
    assert places((await anext(batches))[0]) == [(0, 0)]
    source.epoch, source.numbers = 2, [1]
    source.feed("usage", 1, [7])
    assert {number: places(items) for number, items in (await anext(batches)).items()} == {1: [(0, 7)]}
    assert source.done == {}, "the position belongs to another assignment"
    assert driver.opened == [[0], [1]]
    await batches.aclose()


async def test_nothing_is_taken_while_partitions_move() -> None:
    source = FakeSource(0)
    source.active = False
    source.feed("usage", 0, [0])
    driver = Driver(source)
    waiting = asyncio.ensure_future(anext(driver.stream.batches(lambda: 0.25)))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert driver.opened == []
    source.active = True
    assert await waiting
    assert driver.stream.settled


async def test_queues_that_must_wait_are_looked_at_again_soon() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [0])
    source.more = {("tickets", 0)}
    driver = Driver(source)
    assert await driver.run() == []
    assert source.waits == [0.02]
    assert not source.chunks


async def test_rereads_do_not_wait() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [0, 1])
    source.more = {("tickets", 0)}
    driver = Driver(source, applied=1)
    (batch,) = await driver.run()
    assert places(batch[0]) == [(0, 0), (0, 1)]


class Late(Driver):
    """The first opening finds that another worker was first; `moves` says whether the assignment turns out to be over."""

    def __init__(self, source: FakeSource, *, moves: bool) -> None:
        super().__init__(source)
        self.moves = moves

    async def _open(self, numbers: list[int]) -> Opened:
        if not self.opened:
            self.opened.append(numbers)
            if self.moves:
                asyncio.get_running_loop().call_later(0.05, setattr, self.source, "epoch", 2)
            raise ForeignWrite("somebody else was first")
        return await super()._open(numbers)


async def test_an_opening_that_lost_the_race_waits_for_its_next_assignment() -> None:
    source = FakeSource(0)
    source.feed("usage", 0, [0])
    driver = Late(source, moves=True)
    assert [places(batch[0]) for batch in await driver.run()] == [[(0, 0)]]
    assert driver.opened == [[0], [0]]


async def test_a_foreign_write_into_what_stays_assigned_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOVED_S", 0.1)
    with pytest.raises(ForeignWrite):
        await Late(FakeSource(0), moves=False).run()
