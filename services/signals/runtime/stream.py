"""Batches of merged records: what may be applied now, in order, and what was applied told back to the source.

Asynchronous but free of Kafka: the source is anything with the methods of `Source`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from services.signals.runtime.effects import ForeignWrite
from services.signals.runtime.merge import PartitionMerge
from services.signals.runtime.records import Item, prepare

Batch = dict[int, list[Item]]
"""Per partition the records to apply, in order. Never longer in total than the batch limit; may be empty."""

Opened = Mapping[int, tuple[Sequence[int], Sequence[bool]]]
"""Per partition the last applied offset and the historical mode of each topic, as the recovered state has them."""

MOVED_S = 3.0
"""How long a partition that turned out to be somebody else's may still count as assigned: a heartbeat, in practice."""

POLL_S = 0.02
"""How often queues that must wait look again: a high water mark may rise without a record arriving."""

DECODED_AT_ONCE = 4000
"""Records decoded before other tasks get a turn."""


class HoleError(Exception):
    """An offset is missing between records that were applied and the next one. Restarting reads from the last commit."""


class Source(Protocol):
    """What fetches: see `source.InputConsumer`."""

    epoch: int
    holes: dict[tuple[str, int, int], int]

    @property
    def active(self) -> bool: ...
    def partitions(self) -> list[int]: ...
    def begin_at(self, topic: str, partition: int, offset: int) -> None: ...
    def pop(self) -> Any: ...
    async def arrival(self, seconds: float) -> None: ...
    def behind(self, topic: str, partition: int) -> bool: ...
    def took(self, topic: str, partition: int, records: int) -> None: ...
    def begin(self) -> Any: ...
    def applied(self, topic: str, partition: int, next_offset: int, epoch: int) -> None: ...
    def finish(self, token: Any) -> None: ...


class MergedStream:
    """Merges what the source fetches and yields batches until `stopping()`.

    `topics` are the input topics by index, `order` their indices in the order of equal times. `open_partitions` is
    awaited after each assignment, once its state is recovered, and returns where each partition stands.
    A batch has up to `limit` records, and up to `most` when more are queued: behind the live edge a record's effects may
    wait for others, and an account that is touched twice is written once.
    `poison(topic, partition)` gives the offsets that must not be decoded.
    """

    def __init__(
        self,
        source: Source,
        topics: Sequence[str],
        order: Sequence[int],
        open_partitions: Callable[[list[int]], Awaitable[Opened]],
        *,
        limit: int,
        most: int,
        stopping: Callable[[], bool],
        poison: Callable[[str, int], frozenset[int]],
    ) -> None:
        self.merges: dict[int, PartitionMerge] = {}
        self.epoch = -1
        """Epoch of the source that the merges belong to."""
        self._source = source
        self._topics = tuple(topics)
        self._order = tuple(order)
        self._index = {topic: index for index, topic in enumerate(topics)}
        self._open = open_partitions
        self._limit = limit
        self._most = most
        self._stopping = stopping
        self._poison = poison
        self.behind = False
        """Whether more was queued than a batch has at the live edge when the last one was taken."""
        self._next: dict[int, list[int]] = {}
        self._turn = 0

    @property
    def settled(self) -> bool:
        """Whether partitions are open and none is moving."""
        return self._source.active and self.epoch == self._source.epoch

    async def batches(self, idle: Callable[[], float]) -> AsyncIterator[Batch]:
        """Batches to apply. A batch counts as applied when the next one is asked for; an exception leaves it undone.

        `idle()` is how many seconds to wait for records when there is nothing to do; then an empty batch is yielded.
        """
        source = self._source
        while not self._stopping():
            if not source.active:
                await asyncio.sleep(0.005)
                continue
            if self.epoch != source.epoch and not await self._reopen():
                continue
            while self._queue_fetched() and self._queued() < self._most:
                await asyncio.sleep(0)
                if not self.settled:
                    break
            if not self.settled:
                continue
            batch = self._take()
            if not batch:
                held = self._queued() > 0
                await source.arrival(min(idle(), POLL_S) if held else idle())
                if not self.settled:
                    continue
                self._queue_fetched()
                batch = self._take()
            token = source.begin()
            try:
                yield batch
                self._applied(batch)
            finally:
                source.finish(token)
            await asyncio.sleep(0)

    async def _reopen(self) -> bool:
        """Start anew after an assignment. False when the next one came meanwhile."""
        epoch = self._source.epoch
        self.merges = {}
        try:
            opened = await self._open(self._source.partitions())
        except ForeignWrite:
            # The next owner was first, and the news of it is under way: nothing was applied, so there is nothing to end for.
            if await self._moved(epoch):
                return False
            raise
        if self._source.epoch != epoch or not self._source.active:
            return False
        self.merges = {
            number: PartitionMerge(applied, historical, self._order) for number, (applied, historical) in opened.items()
        }
        self._next = {number: [-1] * len(self._topics) for number in opened}
        for number, (applied, _) in opened.items():
            for topic, offset in zip(self._topics, applied, strict=True):
                self._source.begin_at(topic, number, offset + 1)
        self.epoch = epoch
        return True

    async def _moved(self, epoch: int) -> bool:
        """Whether the assignment of that epoch is over, or is seen to be within a moment."""
        source = self._source
        for _ in range(round(MOVED_S / POLL_S)):
            if source.epoch != epoch or not source.active or self._stopping():
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _queue_fetched(self) -> bool:
        """Decode and queue what was fetched, a few thousand records at most. False when nothing more is there."""
        decoded = 0
        while decoded < DECODED_AT_ONCE:
            chunk = self._source.pop()
            if chunk is None:
                return False
            index = self._index[chunk.topic]
            poison = self._poison(chunk.topic, chunk.partition)
            sequences, items = prepare(index, chunk.topic, chunk.partition, chunk.records, poison)
            self.merges[chunk.partition].push(index, sequences, items)
            decoded += len(items)
        return True

    def _queued(self) -> int:
        return sum(merge.queued for merge in self.merges.values())

    def _take(self) -> Batch:
        """Beginning with another partition each time."""
        batch: Batch = {}
        self.behind = self._queued() > self._limit
        room = self._most if self.behind else self._limit
        numbers = sorted(self.merges)
        self._turn += 1
        for place in range(len(numbers)):
            number = numbers[(place + self._turn) % len(numbers)]
            items = self.merges[number].take(room, partial(self._behind, number))
            if items:
                self._follow(number, items)
                batch[number] = items
                room -= len(items)
                if not room:
                    break
        return batch

    def _behind(self, number: int, topic: int) -> bool:
        return self._source.behind(self._topics[topic], number)

    def _follow(self, number: int, items: list[Item]) -> None:
        """Every offset must come, once and in order; holes that the source has verified are passed over."""
        following = self._next[number]
        counts = [0] * len(following)
        for item in items:
            topic, offset = item[0], item[1]
            if offset != following[topic]:
                self._pass_hole(number, topic, following[topic], offset)
            following[topic] = offset + 1
            counts[topic] += 1
        for topic, count in enumerate(counts):
            if count:
                self._source.took(self._topics[topic], number, count)

    def _pass_hole(self, number: int, topic: int, expected: int, found: int) -> None:
        if expected < 0:
            return  # the first record since the assignment
        name = self._topics[topic]
        reached = expected
        while reached != found:
            past = self._source.holes.pop((name, number, reached), None)
            if past is None or past > found:
                raise HoleError(f"{name}-{number}: expected offset {expected}, got {found}, with no verified hole")
            reached = past

    def _applied(self, batch: Batch) -> None:
        for number, items in batch.items():
            last: dict[int, int] = {}
            for item in items:
                last[item[0]] = item[1]
            for topic, offset in last.items():
                self._source.applied(self._topics[topic], number, offset + 1, self.epoch)
