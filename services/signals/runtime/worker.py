"""One engine per partition: records in, effects out, and what may be said about it from outside.

It decides nothing about accounts; it holds engines to the order restore, apply, take, publish, and gives other tasks
their turn.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol

import structlog

from schemas.codec import Refusal
from schemas.envelope import Event
from services.common import metrics
from services.signals.core.caps import CAPS
from services.signals.core.codec import StateError
from services.signals.runtime import checks
from services.signals.runtime.effects import CUT_BYTES, Effect, EffectsLike, Publisher
from services.signals.runtime.failpoints import Failpoints
from services.signals.runtime.fence import next_epoch
from services.signals.runtime.poison import TRIES, PoisonLog
from services.signals.runtime.records import FUTURE_US, Item, RecordError
from services.signals.runtime.stores import PartitionStore, PartitionStores, StoreError
from services.signals.runtime.stream import Batch, MergedStream, Opened

log = structlog.get_logger()

WAKE_AT_ONCE: Final = 50
"""Due accounts woken before the clock is looked at again."""

WORK_S: Final = 0.05
"""How long due accounts may be woken before records get their turn."""

APPLY_AT_ONCE: Final = 128
"""Records applied before the size of the changed state and the time are looked at again."""

APPLY_S: Final = 0.05
"""How long records may be applied before other tasks (heartbeats, health, ticks) get their turn."""

IDLE_S: Final = 0.25
OVER_CAP: Final = "over cap"
HEALTH_EVERY_S: Final = 1.0


class PartitionEngineLike(Protocol):
    """The pure engine's seam: `services.signals.core.partition.PartitionEngine`."""

    pending_bytes: int
    clock: int

    @property
    def applied(self) -> list[int]: ...
    @property
    def historical(self) -> list[bool]: ...
    @property
    def counters(self) -> dict[str, list[int]]: ...
    @property
    def dead_by_reason(self) -> dict[str, int]: ...
    @property
    def over_cap(self) -> int: ...
    @property
    def near_cap(self) -> dict[str, int]: ...
    def restore(self) -> None: ...
    def in_turn(self, items: list[Item], /) -> Iterator[Item]: ...
    def apply(
        self,
        topic: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        event: Event | Refusal,
        not_after: int,
        /,
    ) -> None: ...
    def work(self, limit: int) -> bool: ...
    def take(self, epoch: int, now_s: float, *, behind: bool) -> EffectsLike: ...
    def health_due(self) -> bool: ...


EngineFactory = Callable[[int, PartitionStore], PartitionEngineLike]
"""Makes the engine of one partition over its store."""


class Recovered(Protocol):
    """What recovery left behind: see `table.StateTable`."""

    failure: Exception | None

    def log_end(self, partition: int) -> int: ...
    def fence(self, partition: int) -> Any: ...


async def restored(engine: PartitionEngineLike, store: PartitionStore) -> None:
    """Let the engine read its state in a thread of its own, that the loop may answer meanwhile. Raises what that raises.

    Where the caller is cancelled the reading is abandoned and its end is awaited, which takes one record: RocksDB does not
    bear that a copy is closed while it is read, it takes the process down.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        problem = None
        try:
            engine.restore()
        except Exception as error:
            problem = error
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(tell, problem)

    store.abandoned = False
    thread = threading.Thread(target=run, name="restore", daemon=True)
    thread.start()
    try:
        await done
    except asyncio.CancelledError:
        store.abandoned = True
        thread.join()
        raise


class Worker:
    """The engines of this process's partitions."""

    def __init__(
        self,
        topics: Sequence[str],
        make_engine: EngineFactory,
        stores: PartitionStores,
        publisher: Publisher,
        poison: PoisonLog,
        failpoints: Failpoints,
        *,
        generation: Callable[[], int],
        recovered: Callable[[], Recovered],
        ends: Callable[[], Awaitable[Mapping[tuple[str, int], int]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engines: dict[int, PartitionEngineLike] = {}
        self.stream: MergedStream | None = None
        self._topics = tuple(topics)
        self._make_engine = make_engine
        self._stores = stores
        self._publisher = publisher
        self._poison = poison
        self._reach = failpoints.reach
        self._generation = generation
        self._recovered = recovered
        self._ends = ends
        self._monotonic = monotonic
        self._epochs: dict[int, int] = {}
        self._busy: set[int] = set()
        self._health_at = 0.0
        self._counted: dict[tuple[int, str, int], int] = {}
        self.appended_us = 0
        """When the last record applied was appended (of a replay: when the run began), 0 before the first."""

    async def open_partitions(self, numbers: list[int]) -> Opened:
        """Make engines over the recovered state. Raises what the table or an engine found wrong with it."""
        recovered = self._recovered()
        if recovered.failure is not None:
            raise recovered.failure
        self.engines.clear()
        self._busy.clear()
        self._counted.clear()
        self._poison.reload()
        started = self._monotonic()
        generation = self._generation()
        self._publisher.opened({number: recovered.log_end(number) for number in numbers})
        ends = await self._ends()
        engines: dict[int, PartitionEngineLike] = {}
        for number in numbers:
            store = self._stores[number]
            epoch = self._epochs[number] = next_epoch(store.epoch, generation)
            refused = recovered.fence(number).refused
            if refused:
                log.warning("a worker wrote state after it had lost the partition", partition=number, keys=len(refused))
                metrics.ENGINE_REFUSED_STATE.inc(len(refused))
            await self._publisher.claim(number, epoch, refused)
            refused.clear()
            engine = engines[number] = self._make_engine(number, store)
            async with self._stores.reading:
                if self._generation() != generation:
                    return {}  # partitions moved: they are opened again
                await restored(engine, store)
            applied = zip(self._topics, engine.applied, strict=True)
            checks.not_cut({(topic, number): offset for topic, offset in applied}, ends)
            self._busy.add(number)
            for kind, values in engine.counters.items():
                for topic, value in enumerate(values):
                    self._grown((number, kind, topic), value)
            for reason, value in engine.dead_by_reason.items():
                self._grown((number, reason, -1), value)
            self._grown((number, OVER_CAP, -1), engine.over_cap)
            await asyncio.sleep(0)
        self.engines = engines
        metrics.ENGINE_LAG.clear()
        metrics.ENGINE_PARTITIONS.set(len(numbers))
        metrics.ENGINE_OPEN_SECONDS.set(self._monotonic() - started)
        log.info("partitions ready", partitions=len(numbers), generation=generation)
        return {number: (list(engine.applied), list(engine.historical)) for number, engine in engines.items()}

    async def run(self, stream: MergedStream) -> None:
        """Apply batches until the stream ends."""
        self.stream = stream
        async with aclosing(stream.batches(self._idle)) as batches:  # type: ignore[type-var]
            try:
                async for batch in batches:
                    await self.process(batch)
            except RecordError as error:
                self._failed(*error.position, error)
                raise

    def _idle(self) -> float:
        return 0.0 if self._busy else IDLE_S

    async def process(self, batch: Batch) -> None:
        """Apply a batch, wake due accounts, and carry out the effects."""
        started = self._monotonic()
        rest = {number: self.engines[number].in_turn(items) for number, items in batch.items()}
        while rest:
            effects = []
            for number in list(rest):
                engine = self.engines[number]
                while not self._apply(number, engine, rest[number]):
                    await asyncio.sleep(0)
                    if engine.pending_bytes >= CUT_BYTES:
                        break
                else:
                    del rest[number]
                effects.append(self._take(number))
                self._busy.add(number)
            await self._publish(effects)
        await self._work()
        self._reach("applied")
        if batch:
            metrics.ENGINE_BATCH_SECONDS.observe(self._monotonic() - started)
            metrics.ENGINE_BATCH_RECORDS.observe(sum(map(len, batch.values())))
            self._count(batch)

    def _apply(self, number: int, engine: PartitionEngineLike, items: Iterator[Item]) -> bool:
        """Apply records until there are no more (True), or enough state has changed, or others need a turn (False)."""
        item: Item | None = None
        apply = engine.apply
        until = self._monotonic() + APPLY_S
        try:
            while engine.pending_bytes < CUT_BYTES and self._monotonic() < until:
                for count, item in enumerate(items, 1):
                    apply(*item)
                    if count == APPLY_AT_ONCE:
                        break
                else:
                    return True
        except (StoreError, StateError):
            raise  # the disk's or the state's doing, and no reason to put a good record aside
        except Exception as error:
            assert item is not None
            self._failed(self._topics[item[0]], number, item[1], error)
            raise
        return False

    def _failed(self, topic: str, partition: int, offset: int, error: Exception) -> None:
        tries = self._poison.failed(topic, partition, offset)
        log.error(
            "the engine failed on a record and restarts"
            + ("; next time it goes to dead-letters as poison" if tries >= TRIES else ""),
            topic=topic,
            partition=partition,
            offset=offset,
            tries=tries,
            error=repr(error),
        )

    async def _work(self) -> None:
        """Wake due accounts for a while, and write health that was held back."""
        until = self._monotonic() + WORK_S
        touched = set()
        for number in sorted(self._busy):
            engine = self.engines[number]
            touched.add(number)
            more = True
            while more and engine.pending_bytes < CUT_BYTES and self._monotonic() < until:
                more = engine.work(WAKE_AT_ONCE)
            if not more:
                self._busy.discard(number)
        now = self._monotonic()
        if now >= self._health_at + HEALTH_EVERY_S:
            self._health_at = now
            touched.update(number for number, engine in self.engines.items() if engine.health_due())
        await self._publish([self._take(number) for number in sorted(touched)])

    def _take(self, number: int) -> Effect:
        epoch = self._epochs[number]
        behind = self.stream is not None and self.stream.behind
        effects = self.engines[number].take(epoch, self._monotonic(), behind=behind)
        for near in effects.near_cap:
            log.warning(
                "an account has nearly as much open as is kept of it; what comes beyond that is passed over and counted",
                account=near.account,
                collection=near.collection,
                open=near.count,
                kept=near.cap,
            )
        return Effect(number, epoch, effects)

    async def _publish(self, taken: list[Effect]) -> None:
        effects = [effect for effect in taken if effect.effects]
        if effects:
            await self._publisher.publish(effects)
            metrics.ENGINE_TRANSITIONS.inc(sum(len(effect.effects.signals) for effect in effects))

    # -- seen from outside ----------------------------------------------------------------------------------------

    def tickable(self, *, seen_live: bool) -> list[int]:
        """See `ticker.Partitions`. No partition while assignments move."""
        stream = self.stream
        if stream is None or not stream.settled:
            return []
        return [
            number
            for number, engine in self.engines.items()
            if number in stream.merges
            and not stream.merges[number].is_historical
            and not any(engine.historical)
            and (engine.clock > 0 or not seen_live)
        ]

    def positions(self) -> Iterable[tuple[str, int, int]]:
        """Topic, partition and last applied offset, of every open partition."""
        for number, engine in self.engines.items():
            for topic, offset in zip(self._topics, engine.applied, strict=True):
                yield topic, number, offset

    def clock_us(self) -> int:
        """The least clock of the open partitions, 0 when one has none or none is open."""
        return min((engine.clock for engine in self.engines.values()), default=0)

    def _count(self, batch: Batch) -> None:
        """Add to the metrics what the engines' own counters have grown by: nothing is counted per record."""
        for number in batch:
            engine = self.engines.get(number)
            if engine is None:
                continue
            for kind, values in engine.counters.items():
                for topic, value in enumerate(values):
                    grown = self._grown((number, kind, topic), value)
                    if grown:
                        metrics.ENGINE_RECORDS.labels(kind, self._topics[topic]).inc(grown)
            for reason, value in engine.dead_by_reason.items():
                grown = self._grown((number, reason, -1), value)
                if grown:
                    metrics.ENGINE_DEAD_LETTERS.labels(reason).inc(grown)
            grown = self._grown((number, OVER_CAP, -1), engine.over_cap)
            if grown:
                metrics.ENGINE_OVER_CAP.inc(grown)
        near = Counter[str]()
        for engine in self.engines.values():
            near.update(engine.near_cap)
        for collection in CAPS:
            metrics.ENGINE_NEAR_CAP.labels(collection).set(near[collection])
        self.appended_us = min(items[-1][5] for items in batch.values()) - FUTURE_US

    def _grown(self, place: tuple[int, str, int], value: int) -> int:
        """By how much a counter is past what was seen of it; it is seen now."""
        grown = value - self._counted.get(place, 0)
        self._counted[place] = value
        return grown
