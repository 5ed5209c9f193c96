"""The latest input events and what became of each, for a few who watch: nobody is counted as a consumer, nothing is kept.

What is shown is read from the end of the input topics, without a group, only while somebody watches. What became of an
event is told by two facts: the engine writes a dead letter before it commits a position. So once the committed position
is past an event and the dead letters of that moment are read, there is one of it, or it was applied.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from msgspec import Struct

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from schemas.events.control import TICK_TYPE
from services.common import kafka
from services.common.dead_letters import Identity, letter
from services.common.kafka import BrokerUnreachable, UnknownTopic
from services.common.problems import unavailable
from services.common.settings import Settings

WATCHERS: Final = 5
KEPT: Final = 500
SHOWN_PER_S: Final = 20
BURST: Final = 40
LOOK_MS: Final = 250
READ_AT_ONCE: Final = 2000
TOO_FAR_BEHIND: Final = 20_000
"""Records behind the end after which the tail jumps to it: what it passes over is counted, not shown."""
JUDGE_S: Final = 0.5
FLOW_S: Final = 5.0
LINGER_S: Final = 5.0

log = structlog.get_logger()

Verdict = Literal["waiting", "applied", "dead_letter"]


class _Head(Struct):
    type: str = ""
    source: str = ""
    id: str = ""
    time: str = ""


_HEAD: Final = msgspec.json.Decoder(_Head)


class Seen(Struct):
    """An input event that is shown. Its verdict comes later."""

    place: Identity
    at: dt.datetime
    key: str | None
    type: str
    source: str
    event_id: str
    time: str
    value: bytes
    verdict: Verdict = "waiting"
    reason: str = ""
    field: str = ""


class Judged(Struct, frozen=True):
    """What became of an event that was shown."""

    place: Identity
    verdict: Verdict
    reason: str
    field: str


class Flow(Struct, frozen=True):
    """How much of what matched was shown in the last `seconds`."""

    matched: int
    shown: int
    seconds: float

    @property
    def one_in(self) -> int:
        """Of how many one was shown, about."""
        return max(1, round(self.matched / self.shown)) if self.shown else max(1, self.matched)


Told = Seen | Judged | Flow


class Wanted(Struct, frozen=True, kw_only=True):
    """Which events are watched."""

    source: str | None = None
    type: str | None = None
    account: str | None = None

    def takes(self, seen: Seen) -> bool:
        """Whether an event is one of these. `type` may be the first part of the type's name."""
        return (
            self.account in (None, seen.key)
            and self.source in (None, seen.source)
            and (self.type is None or seen.type == self.type or seen.type.startswith(f"{self.type}."))
        )


class Watcher:
    """One who watches: an iterator of what to tell, until it is closed or the tail ends."""

    def __init__(self, tail: Tail, wanted: Wanted) -> None:
        self.wanted = wanted
        self.trouble: str | None = None
        """Why it ended, where that is not its own doing."""
        self._tail = tail
        self._told: deque[Told] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._waiting: set[Identity] = set()
        self._allowed = float(BURST)
        self._matched = self._shown = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Told:
        while not self._told:
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._told.popleft()

    async def aclose(self) -> None:
        """Watch no more."""
        self._tail.leave(self)

    def end(self, trouble: str | None = None) -> None:
        """Tell nothing further."""
        self._over, self.trouble = True, trouble
        self._news.set()

    def offer(self, seen: Iterable[Seen], passed_over: int, elapsed: float) -> list[Seen]:
        """Show of these as many as may be, evenly; returns those that are."""
        matching = [one for one in seen if self.wanted.takes(one)]
        self._allowed = min(float(BURST), self._allowed + SHOWN_PER_S * elapsed)
        shown = spread(matching, int(self._allowed))
        self._allowed -= len(shown)
        # Of what was passed over nobody knows whether it matched: it counts where everything does.
        self._matched += len(matching) + (passed_over if self.wanted == Wanted() else 0)
        self._shown += len(shown)
        self.show(shown)
        return shown

    def show(self, seen: Iterable[Seen]) -> None:
        """Tell of these."""
        for one in seen:
            self.tell([one])
            if one.verdict == "waiting":
                self._waiting.add(one.place)

    def judged(self, seen: Iterable[Seen]) -> None:
        """Tell what became of those among these that were told of."""
        for one in seen:
            if one.place in self._waiting:
                self._waiting.discard(one.place)
                self.tell([Judged(one.place, one.verdict, one.reason, one.field)])

    def tell(self, told: Iterable[Told]) -> None:
        """Put into what is told next. One who does not listen loses the oldest."""
        self._told.extend(told)
        while len(self._told) > 2 * KEPT:
            self._told.popleft()
        if self._told:
            self._news.set()

    def forget(self, place: Identity) -> None:
        """It was so long ago that no verdict is waited for any more."""
        self._waiting.discard(place)

    def flow(self, seconds: float) -> None:
        """Say how much was shown since this was last called."""
        self.tell([Flow(self._matched, self._shown, seconds)])
        self._matched = self._shown = 0


def spread[T](items: list[T], most: int) -> list[T]:
    """At most `most` of `items`, evenly chosen, in order."""
    if len(items) <= most:
        return items
    return [items[i * len(items) // most] for i in range(most)]


class Tail:
    """One reader for all who watch; it runs from the first until a little after the last."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._stopping = stopping
        self._watchers: list[Watcher] = []
        self._running: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._shown: OrderedDict[Identity, Seen] = OrderedDict()

    async def watch(self, wanted: Wanted) -> Watcher:
        """Begin to watch. Raises Problem 503 where too many do, or where Kafka does not answer."""
        if len(self._watchers) >= WATCHERS:
            raise unavailable(f"{WATCHERS} watch already, and more would slow Kafka for all; close one and try again")
        watcher = Watcher(self, wanted)
        self._watchers.append(watcher)
        try:
            await self._begun()
        except (BrokerUnreachable, UnknownTopic) as error:
            self.leave(watcher)
            raise unavailable(str(error)) from error
        except BaseException:
            self.leave(watcher)
            raise
        watcher.show(one for one in self._shown.values() if wanted.takes(one))
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Count one less."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        watcher.end()

    async def _begun(self) -> None:
        if self._running is None or self._running.done():
            self._started = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._started))
        assert self._started is not None
        await asyncio.shield(self._started)

    async def _run(self, started: asyncio.Future[None]) -> None:
        trouble = None
        try:
            topics = (*INPUT_TOPICS, DEAD_LETTER_TOPIC)
            async with (
                kafka.reader(
                    self._settings.bootstrap, *topics, auto_offset_reset="latest", fetch_max_wait_ms=LOOK_MS
                ) as consumer,
                kafka.admin(self._settings.bootstrap) as admin,
            ):
                await consumer.seek_to_end()
                started.set_result(None)
                await self._follow(consumer, admin)
        except (BrokerUnreachable, UnknownTopic, KafkaError) as error:
            trouble = str(error)
            if not started.done():
                started.set_exception(error)
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise
        finally:
            self._shown.clear()
            for watcher in self._watchers:
                watcher.end(trouble)

    async def _follow(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        letters = [place for place in consumer.assignment() if place.topic == DEAD_LETTER_TOPIC]
        inputs = [place for place in consumer.assignment() if place.topic != DEAD_LETTER_TOPIC]
        refused: OrderedDict[Identity, tuple[str, str]] = OrderedDict()
        judged = told = last = watched = time.monotonic()
        due: tuple[dict[TopicPartition, int], dict[TopicPartition, int]] | None = None
        while not self._stopping.is_set():
            batches = await consumer.getmany(timeout_ms=LOOK_MS, max_records=READ_AT_ONCE)
            now = time.monotonic()
            for record in _of(batches, letters):
                dead = letter(record)
                refused[dead.identity] = (dead.reason, dead.field)
                if len(refused) > READ_AT_ONCE * 2:
                    refused.popitem(last=False)
            self._show([one for record in _of(batches, inputs) if (one := seen(record)) is not None], 0, now - last)
            await self._catch_up(consumer, inputs)
            last = now
            if (
                due is None
                and now - judged >= JUDGE_S
                and any(one.verdict == "waiting" for one in self._shown.values())
            ):
                # In this order: what is committed has its dead letters before these ends.
                offsets = await admin.list_consumer_group_offsets(self._settings.engine_app_id)
                due = {place: entry.offset for place, entry in offsets.items()}, await consumer.end_offsets(letters)
                judged = now
            if due is not None and all([await consumer.position(place) >= due[1][place] for place in letters]):
                found = judge(self._shown.values(), due[0], refused)
                for watcher in self._watchers:
                    watcher.judged(found)
                due = None
            if now - told >= FLOW_S:
                for watcher in self._watchers:
                    watcher.flow(now - told)
                told = now
            if self._watchers:
                watched = now
            elif now - watched >= LINGER_S:
                return

    def _show(self, found: list[Seen], passed_over: int, elapsed: float) -> None:
        for watcher in self._watchers:
            for one in watcher.offer(found, passed_over, elapsed):
                self._shown[one.place] = one
        while len(self._shown) > KEPT:
            place, _ = self._shown.popitem(last=False)
            for watcher in self._watchers:
                watcher.forget(place)

    async def _catch_up(self, consumer: AIOKafkaConsumer, inputs: list[TopicPartition]) -> None:
        behind = {place: (consumer.highwater(place) or 0) - await consumer.position(place) for place in inputs}
        if sum(behind.values()) > TOO_FAR_BEHIND:
            await consumer.seek_to_end(*inputs)
            self._show([], sum(behind.values()), 0.0)


def seen(record: Any) -> Seen | None:
    """What is shown of a record. None for a tick: nobody sent it."""
    value = record.value or b""
    try:
        head = _HEAD.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        head = _Head()
    if head.type == TICK_TYPE:
        return None
    return Seen(
        Identity(record.topic, record.partition, record.offset),
        dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC),
        None if record.key is None else record.key.decode("utf-8", "replace"),
        head.type,
        head.source,
        head.id,
        head.time,
        value,
    )


def judge(
    shown: Iterable[Seen], committed: Mapping[TopicPartition, int], refused: Mapping[Identity, tuple[str, str]]
) -> list[Seen]:
    """Give a verdict to those that wait for one and can have it; returns them.

    `committed` is the engine's next offset by partition, `refused` the reason and field of dead letters, all of them
    up to when `committed` was asked.
    """
    found = []
    for one in shown:
        if one.verdict != "waiting":
            continue
        dead = refused.get(one.place)
        if dead is not None:
            one.verdict, (one.reason, one.field) = "dead_letter", dead
            found.append(one)
        elif committed.get(TopicPartition(one.place.topic, one.place.partition), -1) > one.place.offset:
            one.verdict = "applied"
            found.append(one)
    return found


def _of(batches: Mapping[TopicPartition, list[Any]], places: Iterable[TopicPartition]) -> list[Any]:
    return [record for place in places for record in batches.get(place, ())]
