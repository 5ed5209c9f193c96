"""What both runtimes share of reading the input topics: nothing is lost at a rebalance, no offset is passed over.

Stock Faust hands over one object per record and loses what it fetched while partitions move: the records vanish from its
queues, later offsets are applied, and the gap is committed over. Here input records never enter Faust's queues. They are
taken out of the consumer's fetches into a queue of our own, under three rules:

* the guard: records fetched while rebalancing, or across a change of generation, are dropped, and the partition is
  wound back to the next record that is expected. The rewind is kept until it was done, paused or not;
* holes: offsets of a partition have no gap. At a gap the partition is wound back once; the same gap again is real
  (compaction, a transaction marker, a deleted segment), is remembered as verified and passed over;
* bounds: a partition that is ahead is paused between fetches, by the fetching side only. (Pausing it from elsewhere while
  a fetch is under way loses that fetch: Faust's set of active partitions is one mutable object.)

Where to begin is for the recovered state to say, not for what was committed: see `begin_at`. Only public names of Faust are
used here; how fetches are come by, and what else each runtime must touch for it, is in `chunked` and `guarded`.
"""

from __future__ import annotations

import abc
import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, cast

import structlog
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

log = structlog.get_logger()

CHUNK: Final = 1000
"""Most records in one chunk: what is decoded without giving way to other tasks."""

PAUSED_POLL_S: Final = 0.02
"""Poll while partitions are paused: the data that aiokafka prefetched of a resumed one wakes nobody."""

HELD_RECORDS: Final = 160_000
HELD_BYTES: Final = 192 * 1024 * 1024
"""Bounds of what is fetched and not yet applied, over all partitions of this worker. One fetch may exceed them."""

HOLE_TOLD_EVERY_S: Final = 60.0
"""A topic written in transactions has a hole for each of them: one line a partition in so many seconds."""

MAX_HELD_PER_PARTITION: Final = 8000
MIN_HELD_PER_PARTITION: Final = 200


@dataclass(slots=True)
class Chunk:
    """Consecutive records of one topic-partition as fetched. Void once the source's epoch has moved on.

    A record has `offset`, `key`, `value`, `headers` and `timestamp` (ms), as aiokafka's have.
    """

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


class InputConsumer(driver.Consumer):
    """Faust's consumer with a queue of its own for the input topics.

    The stream's side (`pop`, `behind`, `took`, `begin`, `applied`, `finish`, `begin_at`) runs in the same event loop as the
    fetching side, which calls `_wind_back` before each fetch and `_accept` or `_refuse` after it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._book()

    def _book(self) -> None:
        """Begin the bookkeeping: nothing is fetched, nothing expected."""
        self.input_topics: tuple[str, ...] = cast(Any, self.app).input_topics
        self.epoch = 0
        """How often everything fetched became void: a chunk or an acknowledgement of an earlier epoch counts for nothing."""
        self.holes: dict[tuple[str, int, int], int] = {}
        """Verified holes: (topic, partition, first offset that does not exist) to the next offset that does."""
        self._hole_told: dict[TP, float] = {}
        self.counts: Counter[str] = Counter()
        """How often: `dropped` records under the guard, `rewinds`, `holes`, `pauses`."""
        self._chunks: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._committed: Mapping[Any, int | None] = {}
        self._reached: dict[TP, int] = {}
        self._began: dict[TP, int] = {}
        self._expected: dict[TP, int] = {}
        self._rewinds: dict[TP, int] = {}
        self._retried: dict[TP, int] = {}
        self._waiting: Counter[TP] = Counter()
        self._held: Counter[TP] = Counter()
        self._held_bytes: Counter[TP] = Counter()
        self._paused: set[TP] = set()
        self._resumable: set[TP] = set()
        self._assigned = False
        self._settled = False

    # -- the stream's side ----------------------------------------------------------------------------------------

    @property
    def assigned(self) -> bool:
        """Whether the group has given this worker its partitions, be it none, at least once."""
        return self._assigned

    @property
    def active(self) -> bool:
        """Whether partitions are assigned, their state is recovered, and nothing is moving or stopping."""
        app = self.app
        return bool(
            self.flow_active and not app.rebalancing and not app.in_recovery and not app.should_stop and self._settled
        )

    def partitions(self) -> list[int]:
        """Numbers of the partitions this worker has of every input topic."""
        return sorted({tp.partition for tp in self._own()})

    def counts_of_partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Partitions of each of `topics` that this worker reads, as the client knows it now; unknown ones are left out."""
        found = {topic: self.topic_partitions(topic) for topic in topics}
        return {topic: count for topic, count in found.items() if count is not None}

    def begin_at(self, topic: str, partition: int, offset: int) -> None:
        """The recovered state holds all before `offset`: that record and none after it is the next one needed.

        Positions are committed after their effects, so this changes nothing, but when the state was lost, restored from a
        copy, or Faust committed more than was applied. Then what was committed would pass over records for good.
        """
        tp = TP(topic, partition)
        self._reached[tp] = offset
        past = self._past_holes(topic, partition, offset)
        if past > offset:
            self._commit_to(tp, past)
        if self._began.get(tp, -1) <= offset:
            return
        self._expected[tp] = self._rewinds[tp] = offset
        self._chunks = deque(chunk for chunk in self._chunks if (chunk.topic, chunk.partition) != tp)
        for counts in (self._waiting, self._held, self._held_bytes):
            counts.pop(tp, None)
        self._forget(tp)

    def _forget(self, tp: TP) -> None:
        """What was queued of it is void."""

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
        mark = self._mark(tp)
        expected = self._expected.get(tp)
        return bool(mark is None or expected is None or expected < mark)

    def lag(self, topic: str, partition: int, applied: int) -> int | None:
        """Records on the broker past the offset `applied`, None while unknown."""
        mark = self._mark(TP(topic, partition))
        return None if mark is None else max(0, mark - self._past_holes(topic, partition, applied + 1))

    def _past_holes(self, topic: str, partition: int, offset: int) -> int:
        """`offset`, or where the verified hole that begins there ends: a log may end in one."""
        while (past := self.holes.get((topic, partition, offset))) is not None:
            offset = past
        return offset

    async def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every input topic-partition of this worker, asked of the broker."""
        own = self._own()
        found = await self.highwaters(*own) if own else {}
        return {(tp.topic, tp.partition): end for tp, end in found.items()}

    def took(self, topic: str, partition: int, records: int) -> None:
        """`records` fetched records left the queues; a paused partition with room again is resumed before the next fetch."""
        tp = TP(topic, partition)
        held = self._held[tp]
        if held:
            # The share of bytes is near enough for a bound, and costs nothing per record.
            self._held_bytes[tp] -= self._held_bytes[tp] * min(records, held) // held
            self._held[tp] = max(0, held - records)
        if tp in self._paused and not self._over(tp, 0.5):
            self._resumable.add(tp)

    def begin(self) -> Token:
        """A batch is in hand: a revocation waits until `finish`."""
        token = Token()
        cast(set[Any], self.unacked).add(token)
        return token

    def finish(self, token: Token) -> None:
        """The batch in hand is done."""
        token.acked = True
        cast(set[Any], self.unacked).discard(token)

    def applied(self, topic: str, partition: int, next_offset: int, epoch: int) -> None:
        """All effects of the records before `next_offset` are durable: it may be committed, and a hole that follows."""
        if epoch == self.epoch:
            tp = TP(topic, partition)
            self._reached[tp] = next_offset
            self._commit_to(tp, self._past_holes(topic, partition, next_offset))

    @abc.abstractmethod
    def _commit_to(self, tp: TP, next_offset: int) -> None:
        """Nothing before `next_offset` is needed any more: the next commit may say so."""

    @abc.abstractmethod
    def _mark(self, tp: TP) -> int | None:
        """The broker's high water mark as of the last fetch, None while unknown."""

    @abc.abstractmethod
    async def _positions(self, own: list[TP]) -> Mapping[TP, int]:
        """Where the client fetches next, of those partitions of which that is known and of use."""

    async def verify_all_partitions_active(self) -> None:
        """Faust would log partitions that are paused or idle as stuck; lag is a metric here."""

    # -- assignment -----------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._reset()
        self._assigned = True
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        self._committed = found = await super().seek_to_committed()
        return found

    async def perform_seek(self) -> None:
        self._reset()
        await super().perform_seek()
        unknown = []
        for tp in self._own():
            committed = self._committed.get(tp)
            if committed is None or committed < 0:
                unknown.append(tp)
            else:
                self._expected[tp] = committed
        if unknown:
            # Nothing is committed: stock leaves the position where a fetch that was dropped meanwhile has put it.
            starts = await self.earliest_offsets(*unknown)
            for tp in unknown:
                await self.seek(tp, starts[tp])
        self._began = dict(self._expected)
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
        for marks in (self._began, self._expected, self._reached, self._rewinds, self._retried, self.holes):
            marks.clear()
        self._paused.clear()
        self._resumable.clear()

    def _is_input(self, tp: TP) -> bool:
        return tp.topic in self.input_topics

    def _own(self) -> list[TP]:
        return [TP(tp.topic, tp.partition) for tp in self.assignment() if self._is_input(tp)]

    # -- the fetching side ----------------------------------------------------------------------------------------

    def _calm(self) -> bool:
        """Whether what is fetched now may be kept: positions are known, and none is moving."""
        return bool(self._settled and self.flow_active and not self.app.rebalancing)

    def _fresh(self, calm: bool, generation: int, epoch: int) -> bool:
        """Whether a fetch that began with `calm` under this generation and epoch may be kept now that it is here."""
        return calm and self._calm() and self.app.consumer_generation_id == generation and self.epoch == epoch

    async def _wind_back(self) -> None:
        """Between fetches: do the rewinds that are due, and look for positions that ran past records we never got."""
        if self._resumable:
            self._paused -= self._resumable
            self.resume_partitions(self._resumable)
            self._resumable = set()
        own = self._own()
        for tp, offset in list(self._rewinds.items()):
            del self._rewinds[tp]
            if tp in own:
                await self.seek(tp, self._expected.get(tp, offset))
                self.counts["rewinds"] += 1
        for tp, position in (await self._positions(own)).items():
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
        reached = self._reached.get(tp)
        if reached is not None and self._past_holes(*tp, reached) == following:
            # Nothing may ever follow it: a transaction's mark at the end of a log.
            self._commit_to(tp, following)
        now = time.monotonic()
        if now >= self._hole_told.get(tp, now):
            self._hole_told[tp] = now + HOLE_TOLD_EVERY_S
            log.warning(
                "offsets that cannot be read any more are passed over: deleted before they were applied (retention is "
                "too short, or the engine was away too long), or marks of a producer's transactions",
                topic=tp.topic,
                partition=tp.partition,
                first=first,
                missing=following - first,
            )

    def _refuse(self, tp: TP, records: list[Any]) -> None:
        """Drop what was fetched while partitions moved; it is fetched again."""
        self._rewinds.setdefault(tp, records[0].offset)
        self.counts["dropped"] += len(records)

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
