"""The replay driver: recorded events through the real topics, with the ticks of their own time between them.

It decides nothing about signals. It sends every step of `services.common.recording.steps` in order: events to the
partition of their account, ticks to every partition of every input topic, each with its place in the run as header
`sequence`, so that the engine can put the topics together again exactly. Everything it sends also carries `run-start`,
the instant that "future" is judged against.

A run opens with a historical tick and closes with a live one on every topic-partition. While it is open the engine
takes the recording's time for the time; a run that was killed is closed by `finish`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.codec import Refusal
from schemas.envelope import Event, from_us
from schemas.events import EVENT_TYPES, INPUT_TOPICS
from schemas.events.control import TICK_TYPE
from services.common.kafka import (
    MAX_REQUEST_BYTES,
    UnknownTopic,
    partition_counts,
    partition_of,
    producer,
)
from services.common.recording import Line, Midnight, Step, merge, read, steps
from services.common.settings import Settings
from services.demo.events import stamp
from services.demo.progress import behind
from services.demo.tails import RUN_START, SEQUENCE, Tail, read_tails
from services.signals.backtest.broadcasts import Said, with_broadcasts

SOURCE = "ebbtide/replay"
Say = Callable[[str], None]
Header = tuple[str, bytes]

# A record's own framing and headers, on top of key and value, stay far below this.
LARGEST_LINE = MAX_REQUEST_BYTES - 8192
STEPS_BETWEEN_FLUSHES = 4000
BATCHES_IN_FLIGHT = 256
STEPS_BETWEEN_PAUSES = 500
PROGRESS_EVERY_S = 2.0
CLOSE_WITHIN_S = 30.0
SETTLE_S = 0.5


class Stop(Protocol):
    """Whatever can say that it is time to stop: an event of threading or of asyncio."""

    def is_set(self) -> bool: ...


class ReplayRefused(Exception):
    """The replay cannot be done; nothing was sent. The message says why and what to do."""


@dataclass(frozen=True)
class Overview:
    """A recording seen as a whole: its steps, its lines by refusal reason, the midnight that opens it, and the place in
    the run of the midnight that ends it."""

    steps: int
    events: int
    refused: Counter[str]
    too_large: int
    opens_us: int
    last_midnight: int


@dataclass(frozen=True)
class Outcome:
    """What a replay did. `events` and `refused` count the recording; `sent` counts the lines sent by this call."""

    complete: bool
    sent: int
    events: int
    refused: dict[str, int]
    not_sent_too_large: int
    run_start: str
    clock: str
    seconds: float


@dataclass(frozen=True)
class Target:
    """Where one line goes: topic, partitions (all of them for a broadcast) and key."""

    topic: str
    partitions: Sequence[int]
    key: bytes | None


def target(line: Line, partitions: int) -> Target:
    """The place of a line. A refused one goes as near to its place as can be told, to become a dead letter there."""
    event = line.event
    if isinstance(event, Event):
        topic = EVENT_TYPES[event.type].topic
        if event.subject is None:
            return Target(topic, range(partitions), None)
        key = event.subject.encode()
        return Target(topic, (partition_of(key, partitions),), key)
    name, subject = _claimed(line.raw)
    kind = EVENT_TYPES.get(name or "")
    topic = kind.topic if kind is not None and kind.topic in INPUT_TOPICS else INPUT_TOPICS[0]
    if subject is None:
        return Target(topic, (0,), None)
    return Target(topic, (partition_of(subject, partitions),), subject)


def _claimed(raw: bytes) -> tuple[str | None, bytes | None]:
    """Type and subject that a refused line names, where it is JSON and names them."""
    try:
        members = msgspec.json.decode(raw)
        name, subject = members.get("type"), members.get("subject")
        return (
            name if isinstance(name, str) else None,
            subject.encode() if isinstance(subject, str) and subject else None,
        )
    except (msgspec.MsgspecError, ValueError, AttributeError, RecursionError):
        return None, None


def tick(now_us: int, *, historical: bool, run_start_us: int) -> bytes:
    """A tick of this run as the record's value."""
    now = stamp(from_us(now_us))
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"replay-{run_start_us}-{now_us}-{'historical' if historical else 'live'}",
            "source": SOURCE,
            "type": TICK_TYPE,
            "time": now,
            "data": {"now": now, "historical": historical},
        }
    )


def overview(paths: Sequence[Path], run_start_us: int, until_us: int | None) -> Overview:
    """Read the whole recording once. Raises ReplayRefused when no line of it is a usable event, OSError."""
    count = events = too_large = 0
    refused: Counter[str] = Counter()
    opens = last = None
    for step in _steps(paths, run_start_us, until_us):
        count += 1
        if isinstance(step.what, Midnight):
            opens = step.what.now_us if opens is None else opens
            last = step.sequence
        elif isinstance(step.what.event, Refusal):
            refused[step.what.event.reason] += 1
            too_large += len(step.what.raw) > LARGEST_LINE
        else:
            events += not isinstance(step.what, Said)
    if opens is None or last is None:
        why = ", ".join(f"{number} {reason}" for reason, number in refused.items()) or "nothing there"
        before = "" if until_us is None else f" before {stamp(from_us(until_us))}"
        raise ReplayRefused(f"{', '.join(map(str, paths))}: no usable event{before} ({why}); nothing was sent")
    return Overview(count, events, refused, too_large, opens, last)


def _steps(paths: Sequence[Path], run_start_us: int, until_us: int | None) -> Iterator[Step]:
    """The run's steps without midnights that are still to come: nobody's clock may be past the present.

    Between them stands what the guards say of the recording, as in a backtest.
    """
    recorded = steps(merge([read(path) for path in paths]), run_start_us=run_start_us, until_us=until_us)
    passed = (step for step in recorded if not isinstance(step.what, Midnight) or step.what.now_us <= run_start_us)
    return with_broadcasts(passed, run_start_us=run_start_us)


def now_us() -> int:
    """The present, in microseconds since 1970."""
    return time.time_ns() // 1000


async def replay(
    paths: Sequence[Path],
    settings: Settings,
    say: Say,
    stop: Stop,
    *,
    until_us: int | None = None,
    run_start_us: int | None = None,
    resume: bool = False,
    stay_open: bool = False,
) -> Outcome:
    """Send the recording and tell about it by `say`, until its end or until `stop` is set.

    `until_us` leaves out events at or past it. `resume` goes on exactly where the run of the same `run_start_us` (and
    the same files) broke off, as the topics themselves tell. `stay_open` sends the closing live ticks only at the end
    of the recording, so that a stopped run can be resumed; without it they are sent however the run ends.

    Raises ReplayRefused before anything is sent, BrokerUnreachable, and KafkaError when the broker fails on the way.
    """
    run = now_us() if run_start_us is None else run_start_us
    whole = overview(paths, run, until_us)
    partitions = await _partitions(settings)
    tails = await (_settled_tails(settings, partitions, run) if resume else read_tails(settings.bootstrap, partitions))
    sent_to = {place: -1 if tail.sequence is None else tail.sequence for place, tail in tails.items()}
    resumed = resume and max(sent_to.values()) >= 0
    count = partitions[INPUT_TOPICS[0]]
    if not resumed:
        _refuse_if_past(tails, whole.opens_us)
    elif any(_closed(tail) for tail in tails.values()) and min(sent_to.values()) < whole.last_midnight:
        raise ReplayRefused("this run was closed before its end, and what is left of it would be late by now")
    for reason, number in sorted(whole.refused.items()):
        say(f"{number} lines are no usable events ({reason}); they become dead letters")
    if whole.too_large:
        say(f"{whole.too_large} of these are larger than the broker takes ({LARGEST_LINE} bytes) and are not sent")
    if resumed:
        say("going on where the run broke off")
    started = time.monotonic()
    client = await producer(settings, linger_ms=0)
    sender = _Sender(client, run)
    position = _Position(whole.steps)
    clock = min((tail.tick_us for tail in tails.values() if tail.tick_us is not None), default=whole.opens_us)
    reporter = asyncio.create_task(_report(position, settings, say))
    complete = False
    try:
        for step in _steps(paths, run, until_us):
            if isinstance(step.what, Midnight):
                value = tick(step.what.now_us, historical=True, run_start_us=run)
                for place in tails:
                    if step.sequence > sent_to[place]:
                        await sender.put(place, None, value, step.sequence)
                clock = max(clock, step.what.now_us)
            elif len(step.what.raw) <= LARGEST_LINE:
                where = target(step.what, count)
                fresh = [
                    place
                    for number in where.partitions
                    if step.sequence > sent_to[place := TopicPartition(where.topic, number)]
                ]
                for place in fresh:
                    await sender.put(place, where.key, step.what.raw, step.sequence)
                position.lines += bool(fresh) and not isinstance(step.what, Said)
            position.steps += 1
            if position.steps % STEPS_BETWEEN_FLUSHES == 0:
                await sender.flush()
            if position.steps % STEPS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
                if stop.is_set():
                    break
        else:
            complete = True
        await sender.settle()
    finally:
        await _end(reporter)
        try:
            if complete or not stay_open:
                await _close(sender, tails, clock, say)
        finally:
            await client.stop()
    return Outcome(
        complete=complete,
        sent=position.lines,
        events=whole.events,
        refused=dict(whole.refused),
        not_sent_too_large=whole.too_large,
        run_start=stamp(from_us(run)),
        clock=stamp(from_us(clock)),
        seconds=round(time.monotonic() - started, 3),
    )


async def finish(settings: Settings, say: Say) -> bool:
    """Close a run whose driver was killed: live ticks where the last tick is historical. False when there was none."""
    tails = await read_tails(settings.bootstrap, await _partitions(settings))
    if not any(tail.historical for tail in tails.values()):
        say("no replay is open")
        return False
    clock = min(tail.tick_us for tail in tails.values() if tail.tick_us is not None)
    client = await producer(settings, linger_ms=0)
    try:
        await _close(_Sender(client, now_us()), tails, clock, say)
    finally:
        await client.stop()
    return True


async def _settled_tails(settings: Settings, partitions: dict[str, int], run: int) -> dict[TopicPartition, Tail]:
    """The tails once they stand still: the broker may still be taking what a killed driver had on the wire."""
    tails = await read_tails(settings.bootstrap, partitions, run)
    while True:
        await asyncio.sleep(SETTLE_S)
        again = await read_tails(settings.bootstrap, partitions, run)
        if [tail.sequence for tail in again.values()] == [tail.sequence for tail in tails.values()]:
            return again
        tails = again


async def _partitions(settings: Settings) -> dict[str, int]:
    """Partition counts of the input topics. Raises ReplayRefused when they are missing or differ."""
    try:
        counts = await partition_counts(settings.bootstrap, INPUT_TOPICS)
    except UnknownTopic as problem:
        raise ReplayRefused(str(problem)) from problem
    if len(set(counts.values())) != 1:
        shown = ", ".join(f"{topic} {count}" for topic, count in counts.items())
        raise ReplayRefused(
            f"the input topics have different numbers of partitions ({shown}); see `ebbtide topics check`"
        )
    return {topic: counts[topic] for topic in INPUT_TOPICS}


async def _end(task: asyncio.Task[None], patience: int = 20) -> None:
    """Cancel a task that only shows progress until it has ended; at most for some seconds.

    aiokafka's stop() now and then swallows a cancellation: awaiting the task after one cancel() hung the whole replay
    with everything sent but the closing ticks.
    """
    for _ in range(patience):
        task.cancel()
        await asyncio.wait({task}, timeout=0.25)
        if task.done():
            break
    if task.done() and not task.cancelled():
        task.exception()  # taken, so that asyncio does not report it: what it could not show is not worth a failure


def _closed(tail: Tail) -> bool:
    return tail.tick_us is not None and not tail.historical


def _refuse_if_past(tails: Mapping[TopicPartition, Tail], opens_us: int) -> None:
    """Refuse a recording that begins before a partition's clock, or while another run is open."""
    for place, tail in tails.items():
        where = f"{place.topic}, partition {place.partition}"
        if tail.historical:
            raise ReplayRefused(
                f"{where}: another replay is open; end it with `ebbtide replay --finish`, then try again"
            )
        if tail.tick_us is not None and tail.tick_us > opens_us:
            raise ReplayRefused(
                f"{where}: its clock is at {stamp(from_us(tail.tick_us))} already, and the recording begins on "
                f"{stamp(from_us(opens_us))}: all of it would be late. Replay it into topics of its own (another "
                "broker, or EBBTIDE_DATA_DIR for another local one), with EBBTIDE_TICKS=after-replay for the engine"
            )


async def _close(sender: _Sender, tails: Mapping[TopicPartition, Tail], clock_us: int, say: Say) -> None:
    """Live ticks on every topic-partition: from here on the clock on the wall counts."""
    value = tick(clock_us, historical=False, run_start_us=sender.run_start_us)
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S):
            for place in tails:
                await sender.put(place, None, value, None)
            await sender.settle()
    except (KafkaError, OSError, TimeoutError) as problem:
        say(f"the closing ticks could not be sent ({problem!r}); send them with `ebbtide replay --finish`")
        raise


@dataclass
class _Position:
    """How far a run is: steps gone through, of how many, and lines sent."""

    of: int
    steps: int = 0
    lines: int = 0


async def _report(position: _Position, settings: Settings, say: Say) -> None:
    """Say every few seconds how far the run is, and how far behind the engine is, if one is there."""
    before, at = 0, time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        lag = await behind(settings)
        now = time.monotonic()
        rate = (position.lines - before) / (now - at)
        before, at = position.lines, now
        engine = "" if lag is None else f"; the engine is {lag:,} records behind"
        say(f"{position.lines:,} events sent, {100 * position.steps // position.of} %, {rate:,.0f}/s{engine}")


class _Sender:
    """Record batches per topic-partition, each partition's in order, a bounded number under way."""

    def __init__(self, client: AIOKafkaProducer, run_start_us: int) -> None:
        self._client = client
        self.run_start_us = run_start_us
        self._run_start: Header = (RUN_START, b"%d" % run_start_us)
        self._building: dict[TopicPartition, Any] = {}
        self._sent: deque[asyncio.Future[Any]] = deque()

    async def put(self, place: TopicPartition, key: bytes | None, value: bytes, sequence: int | None) -> None:
        """Append one record; sends the partition's batch when it is full. Raises an earlier batch's KafkaError."""
        headers = [self._run_start]
        if sequence is not None:
            headers.append((SEQUENCE, b"%d" % sequence))
        batch = self._building.get(place)
        if batch is not None and batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            await self._send(place)
            batch = None
        if batch is None:
            batch = self._building[place] = self._client.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)

    async def flush(self) -> None:
        """Send every batch that is being built."""
        for place in tuple(self._building):
            await self._send(place)

    async def settle(self) -> None:
        """Send everything and wait until all of it is acknowledged. Raises the first KafkaError."""
        await self.flush()
        while self._sent:
            await self._sent.popleft()

    async def _send(self, place: TopicPartition) -> None:
        batch = self._building.pop(place)
        batch.close()
        self._sent.append(await self._client.send_batch(batch, place.topic, partition=place.partition))
        while len(self._sent) > BATCHES_IN_FLIGHT or (self._sent and self._sent[0].done()):
            await self._sent.popleft()
