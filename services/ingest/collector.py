"""Records to Kafka, acknowledged by all replicas or honestly not, within a bounded time and bounded memory.

Group commit per partition: while one batch of a partition is on its way the next one fills, so a request costs one
future per partition it touches and no await per event.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import structlog

from services.common.kafka import partition_of

log = structlog.get_logger()

RECONNECT_S = 1.0


class Record(NamedTuple):
    """One record to produce. A null `key` with no `partition` goes to every partition (a broadcast)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


Lane = tuple[str, int]
"""A topic and one of its partitions."""


class _Parcel:
    """The records of one request for one partition, and the future that says that all of them were acknowledged."""

    __slots__ = ("acknowledged", "records", "taken")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.taken = 0
        self.acknowledged: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def settle(self, acknowledged: bool) -> None:
        if not self.acknowledged.done():
            self.acknowledged.set_result(acknowledged)


class Collector:
    """Owns the producer. `make_producer` starts one (acks=all, idempotent); it is made anew after a fatal error.

    `topics` are the topics that will be produced to. `patience_s` bounds how long `send` waits.
    """

    def __init__(
        self,
        make_producer: Callable[[], Awaitable[Any]],
        topics: Iterable[str],
        patience_s: float,
        *,
        observe_produce: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._make_producer = make_producer
        self._topics = tuple(topics)
        self._patience_s = patience_s
        self._observe = observe_produce
        self._producer: Any = None
        # Every partition of each topic, so that records of one partition share one key.
        self._lanes: dict[str, tuple[Lane, ...]] = {}
        self._waiting: dict[Lane, deque[_Parcel]] = {}
        self._pumps: dict[Lane, asyncio.Task[None]] = {}
        # The batch on its way, by partition: which producer has it, and since when (monotonic seconds).
        self._in_hand: dict[Lane, tuple[Any, float]] = {}
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect. Returns at once; `connected` tells when the producer is there."""
        self._connecting = asyncio.create_task(self._connect())

    async def stop(self) -> None:
        """Give up what is waiting and close the producer; what is on its way gets `patience_s` to be acknowledged."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._pumps:
            await asyncio.wait(self._pumps.values(), timeout=self._patience_s)
        for pump in self._pumps.values():
            pump.cancel()
        await asyncio.gather(*self._pumps.values(), return_exceptions=True)
        if self._producer is not None:
            await _close(self._producer, self._patience_s)
            self._producer = None

    @property
    def connected(self) -> bool:
        """There is a producer."""
        return self._producer is not None

    @property
    def acknowledging(self) -> bool:
        """There is a producer, and not every batch on its way is overdue."""
        return self.connected and (not self._in_hand or not all(self._overdue(lane) for lane in self._in_hand))

    def _overdue(self, lane: Lane) -> bool:
        """A batch of this partition waits longer than the patience: to wait behind it would be in vain."""
        since = self._in_hand.get(lane)
        return since is not None and time.monotonic() - since[1] > self._patience_s

    async def send(self, records: Sequence[Record]) -> list[bool]:
        """Produce `records`; for each, whether Kafka acknowledged it within the patience.

        False means unknown, not lost: the record may still arrive. Records of one partition keep their order.
        """
        if not self.connected:
            return [False] * len(records)
        parcels: dict[Lane, _Parcel] = {}
        sent_to: list[tuple[Lane, ...]] = []
        for record in records:
            lanes = self._lanes[record.topic]
            key = record.key
            if key is not None:
                at = partition_of(key, len(lanes))
                lanes = lanes[at : at + 1]
            sent_to.append(lanes)
            for lane in lanes:
                parcel = parcels.get(lane)
                if parcel is None:
                    parcel = parcels[lane] = _Parcel()
                parcel.records.append(record)
        for lane, parcel in parcels.items():
            if self._overdue(lane):
                parcel.settle(False)
                continue
            self._waiting.setdefault(lane, deque()).append(parcel)
            if lane not in self._pumps:
                self._pumps[lane] = asyncio.create_task(self._pump(lane))
        if parcels:
            await asyncio.wait([parcel.acknowledged for parcel in parcels.values()], timeout=self._patience_s)
        for parcel in parcels.values():
            if not parcel.acknowledged.done():
                # What no batch has taken yet is withdrawn by this: its client is told to send again.
                parcel.settle(False)
                parcel.records.clear()
        good = {lane for lane, parcel in parcels.items() if parcel.acknowledged.result()}
        if len(good) == len(parcels):
            return [True] * len(records)
        return [all(lane in good for lane in lanes) for lanes in sent_to]

    async def _pump(self, lane: Lane) -> None:
        """Send what waits for one partition, one batch at a time, until nothing waits."""
        waiting = self._waiting[lane]
        topic, partition = lane
        try:
            while waiting:
                producer = self._producer
                if producer is None:
                    waiting.popleft().settle(False)
                    continue
                whole: list[_Parcel] = []
                try:
                    batch = producer.create_batch()
                    _fill(batch, waiting, whole)
                    if batch.record_count() == 0:
                        continue
                    begun = time.monotonic()
                    self._in_hand[lane] = (producer, begun)
                    await (await producer.send_batch(batch, topic, partition=partition))
                except asyncio.CancelledError:
                    for parcel in (*whole, *waiting):
                        parcel.settle(False)
                    waiting.clear()
                    raise
                except Exception as error:
                    log.error("kafka refused a batch", topic=topic, partition=partition, error=repr(error))
                    for parcel in whole:
                        parcel.settle(False)
                    if waiting and waiting[0].taken:
                        waiting.popleft().settle(False)
                    self._replace(producer)
                else:
                    for parcel in whole:
                        parcel.settle(True)
                    self._observe(time.monotonic() - begun)
        finally:
            self._in_hand.pop(lane, None)
            del self._pumps[lane]

    def _replace(self, broken: Any) -> None:
        """An idempotent producer whose batch was refused has a gap in its sequence numbers: only a new one can go on."""
        if self._producer is broken:
            self._producer = None
            self._connecting = asyncio.create_task(self._connect(broken))

    async def _connect(self, broken: Any = None) -> None:
        if broken is not None:
            await _close(broken, self._patience_s)
            # What it did not finish it never will.
            for lane, (producer, _) in list(self._in_hand.items()):
                if producer is broken:
                    self._pumps[lane].cancel()
        while True:
            producer = None
            try:
                producer = await self._make_producer()
                self._lanes = {
                    topic: tuple((topic, number) for number in sorted(await producer.partitions_for(topic)))
                    for topic in self._topics
                }
            except Exception as error:
                log.warning("kafka is not there yet", error=repr(error))
                if producer is not None:
                    await _close(producer, self._patience_s)
                await asyncio.sleep(RECONNECT_S)
                continue
            self._producer = producer
            return


def _fill(batch: Any, waiting: deque[_Parcel], whole: list[_Parcel]) -> None:
    """Move records into `batch` until it is full; parcels whose last record went in move to `whole`."""
    while waiting:
        parcel = waiting[0]
        if parcel.acknowledged.done():
            waiting.popleft()
            continue
        records = parcel.records
        for at in range(parcel.taken, len(records)):
            record = records[at]
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers)) is None:
                parcel.taken = at
                return
        parcel.taken = len(records)
        whole.append(waiting.popleft())


async def _close(producer: Any, within: float) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.stop(), within)
