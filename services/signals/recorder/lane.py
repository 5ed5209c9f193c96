"""One lane: a set of topics read in order and written to Postgres, each record in effect exactly once.

The offsets stand in Postgres and move in the transaction that writes the rows. A lane is written by one process, with
one connection or with several that share its partitions out. Whoever writes holds an advisory lock on the very connection
that writes: a process that lost the connection can no longer write, and another one takes over where the table says. Any
failure ends the session; the next one starts from the table again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.common import metrics
from services.common.db import UNREACHABLE, connect
from services.common.kafka import BrokerUnreachable, UnknownTopic, partition_counts
from services.common.settings import Settings
from services.signals.recorder import writer
from services.signals.recorder.records import Record, RefusedRow, printable
from services.signals.recorder.writer import Position

log = structlog.get_logger()

MOST_RECORDS = 4000
POLL_MS = 250
# Between two of these the loop serves the connection to Postgres.
DECODED_AT_ONCE = 250
PING_S = 2.0
STANDBY_S = 1.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0

# A server that is killed says so out of turn; asyncpg meets the next statement with an InternalClientError then.
RETRIED = (*UNREACHABLE, asyncpg.InternalClientError, KafkaError, BrokerUnreachable, UnknownTopic)
# A value that Postgres will not take will not be taken next time either: the record is set aside, not retried.
UNRECORDABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    OverflowError,
    UnicodeEncodeError,
)


class Kept(NamedTuple):
    """A record that has a row to write, and that row."""

    record: Record
    row: Any


class _Inbox:
    """What was read and is not being written yet: rows, and the offsets up to which they are complete."""

    def __init__(self, taken: asyncio.Event) -> None:
        self.kept: list[Kept] = []
        self.read: dict[Position, int] = {}
        self.since = 0.0
        self._some = asyncio.Event()
        self._taken = taken

    def put(self, rows: list[Kept], place: Position, next_offset: int) -> None:
        """Add what was decoded of one partition, in its order."""
        if not self.read:
            self.since = time.monotonic()
        self.kept += rows
        self.read[place] = next_offset
        self._some.set()

    def take(self) -> tuple[list[Kept], dict[Position, int]]:
        """All of it; the inbox is empty then."""
        taken = self.kept, self.read
        self.kept, self.read = [], {}
        self._some.clear()
        self._taken.set()
        return taken

    async def wait(self, seconds: float, *others: asyncio.Task[Any]) -> None:
        """Return when there is something, when one of `others` has ended, or after so long."""
        if self._some.is_set():
            return
        some = asyncio.create_task(self._some.wait())
        try:
            await asyncio.wait((some, *others), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(some)


class Lane:
    """Reads `topics`; `row_of` says what a record comes to (None: nothing), `write` writes the rows of a batch and
    returns what counts them once they are committed.

    At most `batch` rows are written at once, and none waits longer than `linger_s` for others. With several `writers` the
    lane has as many connections, and `write` runs on each for partitions of its own, see `sharing`: rows of different keys
    must have nothing to do with each other.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        row_of: Callable[[Record], Any],
        write: Callable[[Any, list[Any]], Awaitable[Callable[[], None]]],
        config: Settings,
        *,
        batch: int = 2000,
        linger_s: float = 0.0,
        writers: int = 1,
    ) -> None:
        self.name = name
        self.topics = tuple(topics)
        self._row_of = row_of
        self._write = write
        self._config = config
        self._batch = batch
        self._linger_s = linger_s
        self._writers = writers
        self._stop = asyncio.Event()
        self._recorded: dict[Position, int] = {}
        self._newest: dict[Position, float] = {}
        self.ready = False
        self.detail = "starting"
        self.caught_up = False
        """Whether everything that is on the topics was recorded, as of a few seconds ago."""

    async def run(self, stop: asyncio.Event) -> None:
        """Record until told to stop. Failures of Postgres or Kafka are waited out, whatever they take."""
        self._stop = stop
        pause = FIRST_PAUSE_S
        while not stop.is_set():
            began = time.monotonic()
            try:
                await self._session()
                return
            except RETRIED as error:
                self.caught_up = False
                self._set(False, f"{type(error).__name__}: {error}")
            if time.monotonic() - began > LONGEST_PAUSE_S * 2:
                pause = FIRST_PAUSE_S
            metrics.RECORDER_RETRIES.labels(self.name).inc()
            log.warning("recording stopped, will go on", lane=self.name, problem=self.detail, pause_s=round(pause, 1))
            await _sleep(stop, pause * random.uniform(0.7, 1.3))
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _set(self, ready: bool, detail: str) -> None:
        self.ready, self.detail = ready, detail.splitlines()[0][:300]

    async def _session(self) -> None:
        self.caught_up = False
        connections: list[Any] = []
        consumer: AIOKafkaConsumer | None = None
        try:
            # In one order, so that of two processes the one that has the first lock gets the others.
            for number in range(self._writers):
                connections.append(await connect(self._config.database, process=f"recorder-{self.name}"))
                while not await writer.lock(connections[-1], self.name if number == 0 else f"{self.name} {number}"):
                    self._set(True, "standing by: another recorder is writing")
                    await _sleep(self._stop, STANDBY_S)
                    if self._stop.is_set():
                        return
            self._set(False, "connecting to Kafka")
            counts = await partition_counts(self._config.bootstrap, self.topics)
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._config.bootstrap,
                client_id=f"ebbtide-recorder-{self.name}",
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=100,
                max_partition_fetch_bytes=4 * 1024 * 1024,
            )
            await consumer.start()
            partitions = [TopicPartition(topic, number) for topic in self.topics for number in range(counts[topic])]
            consumer.assign(partitions)
            await self._position(connections[0], consumer, partitions)
            self._set(True, "recording")
            await self._record(connections[: sharing(self._writers, counts.values())], consumer)
        finally:
            if consumer is not None:
                await _stop(consumer)
            await asyncio.gather(*map(_close, connections))

    async def _position(self, connection: Any, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        known = await writer.read_offsets(connection, self.topics)
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        for partition in partitions:
            place = (partition.topic, partition.partition)
            wanted = known.get(place, first[partition])
            if wanted < first[partition]:
                # Gone by retention while nobody read: said, counted, and no reason to stand still.
                missed = first[partition] - wanted
                metrics.RECORDER_SKIPPED.labels(partition.topic).inc(missed)
                log.error("offsets are gone from the broker", topic=place[0], partition=place[1], missed=missed)
                wanted = first[partition]
            elif wanted > end[partition]:
                log.error("the topic was made anew: reading it from its start", topic=place[0], partition=place[1])
                wanted = first[partition]
            consumer.seek(partition, wanted)
            self._recorded[place] = wanted

    async def _record(self, connections: Sequence[Any], consumer: AIOKafkaConsumer) -> None:
        # Postgres writes one batch while the next one is fetched and decoded.
        taken = asyncio.Event()
        inboxes = [_Inbox(taken) for _ in connections]
        reading = asyncio.create_task(self._read(consumer, inboxes, taken))
        told = asyncio.create_task(self._stop.wait())
        pairs = list(zip(connections, inboxes, strict=True))
        writing = [asyncio.create_task(self._work_off(*pair, consumer, reading, told)) for pair in pairs]
        try:
            await asyncio.gather(*writing)
            await _ended(reading)
            for connection, inbox in pairs:
                await self._flush_all(connection, inbox)
        finally:
            # A failure of one ends all. What the others had begun is committed whole or not at all, as in a crash.
            for task in (*writing, reading, told):
                await _ended(task)

    async def _work_off(
        self,
        connection: Any,
        inbox: _Inbox,
        consumer: AIOKafkaConsumer,
        reading: asyncio.Task[None],
        told: asyncio.Task[Any],
    ) -> None:
        """Write what comes to `inbox` until told to stop."""
        while not self._stop.is_set():
            await inbox.wait(PING_S, reading, told)
            if reading.done():
                await reading
            if not inbox.read:
                # Only a question shows that an idle connection is gone.
                await connection.fetchval("SELECT 1")
            else:
                if self._linger_s and len(inbox.kept) < self._batch:
                    await _sleep(self._stop, inbox.since + self._linger_s - time.monotonic())
                await self._flush_all(connection, inbox)
            self._measure(consumer)

    async def _read(self, consumer: AIOKafkaConsumer, inboxes: Sequence[_Inbox], taken: asyncio.Event) -> None:
        """Fetch and decode into `inboxes`, without end; it waits while they hold two batches."""
        while True:
            found = await consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_RECORDS)
            for partition, records in found.items():
                place = (partition.topic, partition.partition)
                inbox = inboxes[partition.partition % len(inboxes)]
                self._newest[place] = records[-1].timestamp / 1000
                metrics.RECORDER_RECORDS.labels(partition.topic).inc(len(records))
                for start in range(0, len(records), DECODED_AT_ONCE):
                    part = records[start : start + DECODED_AT_ONCE]
                    rows = [Kept(record, row) for record in part if (row := self._row_of(record)) is not None]
                    inbox.put(rows, place, part[-1].offset + 1)
                    await asyncio.sleep(0)
            while sum(len(inbox.kept) for inbox in inboxes) >= self._batch * 2:
                taken.clear()
                await taken.wait()

    async def _flush_all(self, connection: Any, inbox: _Inbox) -> None:
        kept, read = inbox.take()
        await self._flush(connection, kept, read)
        self._recorded.update(read)

    async def _flush(self, connection: Any, kept: list[Kept], read: dict[Position, int]) -> None:
        for start in range(0, len(kept), self._batch):
            rows = kept[start : start + self._batch]
            last = start + self._batch >= len(kept)
            await self._transact(connection, rows, read if last else _next_offsets(rows))
        if not kept and read:
            await self._transact(connection, [], read)

    async def _transact(self, connection: Any, rows: list[Kept], offsets: dict[Position, int]) -> None:
        try:
            with metrics.RECORDER_WRITE_SECONDS.labels(self.name).time():
                async with connection.transaction():
                    # What `write` appends to the feed must come right before the commit.
                    await writer.write_offsets(connection, offsets)
                    count = await self._write(connection, [item.row for item in rows])
            count()
        except UNRECORDABLE as error:
            if not rows:
                raise
            if len(rows) == 1:
                await self._set_aside(connection, rows[0].record, error, offsets)
                return
            half = len(rows) // 2
            await self._transact(connection, rows[:half], _next_offsets(rows[:half]))
            await self._transact(connection, rows[half:], offsets)

    async def _set_aside(self, connection: Any, record: Record, error: Exception, offsets: dict[Position, int]) -> None:
        row = RefusedRow(record, "unrecordable", printable(str(error)))
        async with connection.transaction():
            await writer.write_refused(connection, [row])
            await writer.write_offsets(connection, offsets)
        count_refused([row])

    def _measure(self, consumer: AIOKafkaConsumer) -> None:
        behind = 0.0
        caught_up = True
        for place, offset in self._recorded.items():
            end = consumer.highwater(TopicPartition(*place))
            caught_up = caught_up and end is not None and offset >= end
            lag = 0 if end is None else max(end - offset, 0)
            metrics.RECORDER_LAG.labels(*place).set(lag)
            if lag and place in self._newest:
                behind = max(behind, time.time() - self._newest[place])
        self.caught_up = caught_up
        metrics.RECORDER_BEHIND.labels(self.name).set(behind)


def sharing(writers: int, counts: Iterable[int]) -> int:
    """How many of `writers` can share out partitions by number modulo their own: all or one. `counts`: the topics'.

    A key's partition is its hash modulo the count. Where the writers divide every count, one key has one writer on every
    topic, and had it before the count was raised; elsewhere two could write one account.
    """
    return writers if all(count % writers == 0 for count in counts) else 1


def count_refused(rows: Sequence[RefusedRow]) -> None:
    """Count and log records that are set aside."""
    for row in rows:
        metrics.RECORDER_REFUSED.labels(row.reason).inc()
        log.error(
            "a record is set aside",
            reason=row.reason,
            detail=row.detail,
            topic=row.record.topic,
            partition=row.record.partition,
            offset=row.record.offset,
        )


def _next_offsets(rows: list[Kept]) -> dict[Position, int]:
    return {(record.topic, record.partition): record.offset + 1 for record, _ in rows}


async def _ended(task: asyncio.Task[Any]) -> None:
    """End a task whose outcome nobody needs any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _stop(consumer: AIOKafkaConsumer) -> None:
    # In a task of its own: aiokafka cancels whoever waits for the end of a consumer that was just started.
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping])
    if not stopping.cancelled() and stopping.exception() is not None:
        log.warning("the Kafka consumer did not close well", error=repr(stopping.exception()))


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=2)
    except (*UNREACHABLE, TimeoutError):
        connection.terminate()
