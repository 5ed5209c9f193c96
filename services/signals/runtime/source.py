"""Fetching the input topics in chunks without losing a record at a rebalance. Private attributes of faust and aiokafka.

Stock Faust hands over one object per record and loses what it fetched while partitions move: the records vanish from its
queues, later offsets are applied, and the gap is committed over. Here the consumer's drain loop puts whole lists of
records into a queue of its own, under three rules:

* the guard: records fetched while rebalancing, or across a change of generation, are dropped, and the partition is
  wound back to the next record that is expected. The rewind is kept until it was done, paused or not;
* holes: offsets of a partition have no gap. At a gap the partition is wound back once; the same gap again is real
  (compaction, a transaction marker, a deleted segment), is remembered as verified and passed over;
* bounds: a partition that is ahead is paused between fetches, by this loop only. (Pausing it from elsewhere while a
  fetch is under way loses that fetch: Faust's set of active partitions is one mutable object.)

Offsets are committed up to what the stream said was applied. Everything private that is touched here is held by
tests/contract/test_runtime_contract.py; docs/decisions/0003-chunked-source.md says why.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

import faust
from aiokafka import TopicPartition
from faust.events import Event as FaustEvent
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

CHUNK: Final = 1000
"""Most records in one chunk: what is decoded without giving way to other tasks."""

FETCH_WAIT_MS: Final = 100
"""How long the broker may hold an empty fetch. Faust's 1,500 would be waited out by every resumed partition."""

PAUSED_POLL_S: Final = 0.02
"""Poll while partitions are paused: the data that aiokafka prefetched of a resumed one wakes nobody."""

HELD_RECORDS: Final = 160_000
HELD_BYTES: Final = 192 * 1024 * 1024
"""Bounds of what is fetched and not yet applied, over all partitions of this worker. One fetch may exceed them."""

MAX_HELD_PER_PARTITION: Final = 8000
MIN_HELD_PER_PARTITION: Final = 200


@dataclass(slots=True)
class Chunk:
    """Consecutive records of one topic-partition as fetched. Void once the source's epoch has moved on."""

    topic: str
    partition: int
    records: list[Any]
    epoch: int


class Token:
    """Stands in for a Faust message: while one is tracked, a revocation or a stop waits for the batch in hand."""

    __slots__ = ("__weakref__", "acked", "refcount")

    def __init__(self) -> None:
        self.acked = False
        self.refcount = 1


class SourceConsumer(driver.Consumer):
    """Faust's consumer with a drain loop of its own for the input topics, and a fast one for the changelog.

    The stream's side (`pop`, `behind`, `took`, `begin`, `applied`, `finish`) runs in the same event loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._book()

    def _book(self) -> None:
        """Begin the bookkeeping: nothing is fetched, nothing expected."""
        self.input_topics: tuple[str, ...] = self._engine_app.input_topics
        self.epoch = 0
        self.holes: dict[tuple[str, int, int], int] = {}
        """Verified holes: (topic, partition, first offset that does not exist) to the next offset that does."""
        self.counts: Counter[str] = Counter()
        """How often: `dropped` records under the guard, `rewinds`, `holes`, `pauses`."""
        self._chunks: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._expected: dict[TP, int] = {}
        self._rewinds: dict[TP, int] = {}
        self._retried: dict[TP, int] = {}
        self._waiting: Counter[TP] = Counter()
        self._held: Counter[TP] = Counter()
        self._held_bytes: Counter[TP] = Counter()
        self._paused: set[TP] = set()
        self._done: dict[TP, int] = {}
        self._settled = False

    @property
    def _engine_app(self) -> Any:
        """The app, untyped: Faust's interfaces leave out most of what is used here."""
        return self.app

    @property
    def _aiokafka(self) -> Any:
        """aiokafka's consumer, which lives in a thread of its own; None before it was started."""
        return self._thread._consumer

    # -- the stream's side ----------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether partitions are assigned, their state is recovered, and nothing is moving or stopping."""
        app = self.app
        return bool(
            self.flow_active and not app.rebalancing and not app.in_recovery and not app.should_stop and self._settled
        )

    def partitions(self) -> list[int]:
        """Numbers of the partitions this worker has of every input topic."""
        return sorted({tp.partition for tp in self.assignment() if tp.topic in self.input_topics})

    def pop(self) -> Chunk | None:
        """The next fetched chunk."""
        while self._chunks:
            chunk = self._chunks.popleft()
            if chunk.epoch == self.epoch:
                self._waiting[TP(chunk.topic, chunk.partition)] -= len(chunk.records)
                return chunk
        return None

    async def arrival(self, seconds: float) -> None:
        """Return when a chunk is there, or after `seconds`."""
        if self._chunks or seconds <= 0:
            return
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    def behind(self, topic: str, partition: int) -> bool:
        """Whether the broker has records of it that the stream does not have yet, or that is unknown."""
        tp = TP(topic, partition)
        if self._waiting[tp] > 0:
            return True
        state = self._state_of(tp)
        mark = None if state is None else state.highwater
        expected = self._expected.get(tp)
        return bool(mark is None or expected is None or expected < mark)

    def lag(self, topic: str, partition: int, applied: int) -> int | None:
        """Records on the broker past the offset `applied`, None while unknown."""
        state = self._state_of(TP(topic, partition))
        mark = None if state is None else state.highwater
        return None if mark is None else max(0, mark - applied - 1)

    async def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every input topic-partition of this worker, asked of the broker."""
        own = [TopicPartition(tp.topic, tp.partition) for tp in self.assignment() if self._is_input(tp)]
        found = await self._thread.highwaters(*own) if own else {}
        return {(tp.topic, tp.partition): end for tp, end in found.items()}

    def took(self, topic: str, partition: int, records: int) -> None:
        """`records` fetched records left the queues; a paused partition with room again is resumed."""
        tp = TP(topic, partition)
        held = self._held[tp]
        if held:
            # The share of bytes is near enough for a bound, and costs nothing per record.
            self._held_bytes[tp] -= self._held_bytes[tp] * min(records, held) // held
            self._held[tp] = max(0, held - records)
        if tp in self._paused and not self._over(tp, 0.5) and self.active:
            self._paused.discard(tp)
            self.resume_partitions({tp})

    def begin(self) -> Token:
        """A batch is in hand: a revocation waits until `finish`."""
        token = Token()
        cast(set[Any], self._unacked_messages).add(token)
        return token

    def applied(self, topic: str, partition: int, next_offset: int, epoch: int) -> None:
        """All effects of the records before `next_offset` are durable: it may be committed."""
        if epoch == self.epoch:
            self._done[TP(topic, partition)] = next_offset

    def finish(self, token: Token) -> None:
        """The batch in hand is done."""
        token.acked = True
        cast(set[Any], self._unacked_messages).discard(token)
        waiter = self._waiting_for_ack
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- commits: the applied position, where Faust would look for a prefix of single acknowledgements ---------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.pop(tp, None)

    async def verify_all_partitions_active(self) -> None:
        """Faust would log partitions that are paused or idle as stuck; lag is a metric here."""

    # -- assignment -----------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._reset()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        self._reset()
        await super().perform_seek()
        own = [TP(tp.topic, tp.partition) for tp in self.assignment() if self._is_input(tp)]
        unknown = []
        for tp in own:
            committed = self._read_offset[tp]
            if committed is None:
                unknown.append(tp)
            else:
                self._expected[tp] = committed
        if unknown:
            # Nothing is committed: stock leaves the position where a fetch that was dropped meanwhile has put it.
            starts = await self._thread.earliest_offsets(*(TopicPartition(*tp) for tp in unknown))
            for tp in unknown:
                await self.seek(tp, starts[tp])
        self._settled = True

    async def seek(self, partition: TP, offset: int) -> None:
        await super().seek(partition, offset)
        self._expected[partition] = offset

    def _reset(self) -> None:
        """Everything fetched and not applied will be fetched again."""
        self.epoch += 1
        self._settled = False
        self._chunks.clear()
        self._arrived.set()
        for counts in (self._waiting, self._held, self._held_bytes):
            counts.clear()
        for marks in (self._expected, self._rewinds, self._retried, self.holes, self._done):
            marks.clear()
        self._paused.clear()

    def _is_input(self, tp: TP) -> bool:
        return tp.topic in self.input_topics

    def _state_of(self, tp: TP) -> Any:
        """aiokafka's state of an assigned partition: position and high water mark."""
        try:
            return self._aiokafka._subscription.subscription.assignment.state_value(tp)
        except (AttributeError, KeyError):
            return None

    # -- the drain loop -------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        app = self.app
        stopped, fetcher_stopped = self._stopped.is_set, fetcher._stopped.is_set
        try:
            while not (stopped() or fetcher_stopped()):
                calm = self.flow_active and not app.rebalancing
                if calm:
                    await self._wind_back()
                generation = app.consumer_generation_id
                records, active = await self._fetch(calm)
                await asyncio.sleep(0)
                if self.should_stop:
                    continue
                for tp, fetched in (records or {}).items():
                    if not fetched:
                        continue
                    if not self._is_input(tp):
                        if tp in active or tp in self._buffered_partitions:
                            await app.flow_control.acquire()
                            await self._changelog(tp, fetched)
                        continue
                    fresh = calm and self.flow_active and not app.rebalancing
                    if fresh and app.consumer_generation_id == generation:
                        self._accept(TP(tp.topic, tp.partition), fetched)
                    else:
                        self._rewinds.setdefault(TP(tp.topic, tp.partition), fetched[0].offset)
                        self.counts["dropped"] += len(fetched)
        except self.consumer_stopped_errors:
            if not app.should_stop:
                raise
        except asyncio.CancelledError:
            if not app.should_stop:
                raise

    async def _fetch(self, calm: bool) -> tuple[Any, set[TP]]:
        """One stock fetch from the partitions that are not paused."""
        if self._aiokafka is not None:
            self._aiokafka._fetcher._fetch_max_wait_ms = FETCH_WAIT_MS
        active = self._get_active_partitions()
        if self._paused and not active and calm:
            await asyncio.sleep(PAUSED_POLL_S)  # the stock loop sleeps a second when all are paused
            return {}, active
        records, _ = await self._wait_next_records(PAUSED_POLL_S if self._paused else 1.0)
        return records, active

    async def _wind_back(self) -> None:
        """Do the rewinds that are due, and look for positions that ran past records we never got. No fetch is on."""
        own = {TP(tp.topic, tp.partition) for tp in self.assignment() if self._is_input(tp)}
        for tp, offset in list(self._rewinds.items()):
            del self._rewinds[tp]
            if tp in own:
                await self.seek(tp, self._expected.get(tp, offset))
                self.counts["rewinds"] += 1
        for tp in own:
            state = self._state_of(tp)
            if state is None or not state.has_valid_position:
                continue
            position = state.position
            expected = self._expected.setdefault(tp, position)
            if position > expected and self._gap_is_real(tp, expected, position):
                self._expected[tp] = position
            elif position > expected:
                await self.seek(tp, expected)

    def _gap_is_real(self, tp: TP, expected: int, found: int) -> bool:
        """At a gap: False the first time (fetch again), True when it is still there, which verifies the hole."""
        if self._retried.get(tp) != expected:
            self._retried[tp] = expected
            return False
        self._hole(tp, expected, found)
        return True

    def _hole(self, tp: TP, first: int, following: int) -> None:
        self.holes[tp.topic, tp.partition, first] = following
        self.counts["holes"] += 1

    def _accept(self, tp: TP, records: list[Any]) -> None:
        """Queue what was fetched of an input partition."""
        if tp in self._rewinds:
            return
        expected = self._expected.get(tp)
        first = records[0].offset
        if expected is not None and first < expected:
            records = [record for record in records if record.offset >= expected]
            if not records:
                return
            first = records[0].offset
        if expected is not None and first > expected and not self._gap_is_real(tp, expected, first):
            self._rewinds[tp] = expected
            return
        last = records[-1].offset
        if last - first + 1 != len(records):
            for record, following in pairwise(records):
                if following.offset - record.offset > 1:
                    self._hole(tp, record.offset + 1, following.offset)
        for start in range(0, len(records), CHUNK):
            self._chunks.append(Chunk(tp.topic, tp.partition, records[start : start + CHUNK], self.epoch))
        self._arrived.set()
        self._waiting[tp] += len(records)
        self._held[tp] += len(records)
        self._held_bytes[tp] += sum(len(record.value) for record in records if record.value is not None)
        self._expected[tp] = last + 1
        self._retried.pop(tp, None)
        if tp not in self._paused and self._over(tp, 1.0):
            self._paused.add(tp)
            self.pause_partitions({tp})
            self.counts["pauses"] += 1

    def _over(self, tp: TP, share: float) -> bool:
        """Whether more is held of the partition than `share` of its part of the budget."""
        parts = max(1, len(self._expected))
        records = min(MAX_HELD_PER_PARTITION, max(MIN_HELD_PER_PARTITION, HELD_RECORDS // parts))
        return self._held[tp] > records * share or self._held_bytes[tp] > HELD_BYTES // parts * share

    # -- the changelog: recovery ------------------------------------------------------------------------------------

    async def _changelog(self, tp: TP, records: list[Any]) -> None:
        """All but the last record go straight into the table; the last one the stock way, which ends the recovery."""
        recovery = self._engine_app.tables.recovery
        table = recovery.tp_to_table.get(tp)
        if table is not None and tp in recovery.active_tps and recovery.in_recovery:
            if recovery.buffers.get(table):
                recovery.flush_buffers()
            seen = recovery.active_offsets.get(tp)
            head = [record for record in records[:-1] if seen is None or record.offset > seen]
            if head:
                table.apply_records(tp.partition, head)
                recovery.active_offsets[tp] = head[-1].offset
            records = records[-1:]
        channels = list(self._engine_app.topics._tp_index.get(tp) or ())
        for record in records:
            message = self._to_message(tp, record)
            message.refcount = len(channels)
            for channel in channels:
                event = FaustEvent(self.app, message.key, message.value, message.headers, message)
                while channel.queue.full() and self.flow_active:  # noqa: ASYNC110  # the queue has no event for room
                    await asyncio.sleep(0.001)
                channel.queue.force_put_nowait(event)
        await asyncio.sleep(0)


class SourceTransport(driver.Transport):
    """The aiokafka transport with the consumer above."""

    Consumer = SourceConsumer


class SourceApp(faust.App):
    """A Faust app that fetches through `SourceConsumer`. `input_topics` must be set before it starts."""

    input_topics: tuple[str, ...] = ()

    def _new_transport(self) -> Any:
        return SourceTransport(self.conf.broker_consumer, self)
