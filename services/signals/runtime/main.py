"""The engine as a process: `ebbtide serve engine`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from schemas.dead_letters import DEAD_LETTER_TOPIC
from schemas.events import INPUT_TOPICS
from schemas.health import HEALTH_TOPIC
from schemas.signals import OPPORTUNITY_TOPIC, RISK_TOPIC
from services.common import collector, kafka, kafka_connections, logs, metrics
from services.common.lifecycle import HealthServer, stop_event
from services.common.settings import Settings, settings
from services.signals.core.codec import StateError
from services.signals.runtime import checks, quiet, slots, stores
from services.signals.runtime.app import EngineApp, build, changelog_topic
from services.signals.runtime.changelog import ChangelogReader
from services.signals.runtime.effects import MAX_BATCH_BYTES, EffectTooLarge, ForeignWrite, Publisher
from services.signals.runtime.failpoints import Failpoints
from services.signals.runtime.poison import PoisonLog
from services.signals.runtime.stream import HoleError
from services.signals.runtime.ticker import Ticker
from services.signals.runtime.worker import EngineFactory, Worker

log = structlog.get_logger()

EQUAL_TIMES: Final = ("accounts", "invoices", "tickets", "engagement", "usage")
"""Live records of equal time are applied in this order of their topics."""

OUTPUT_TOPICS: Final = (RISK_TOPIC, OPPORTUNITY_TOPIC, HEALTH_TOPIC, DEAD_LETTER_TOPIC)
RETRY_BROKER_S: Final = 2.0
LEAVE_WITHIN_S: Final = 2.0
"""How long commits and leaving the group may take after SIGTERM."""

STOP_WITHIN_S: Final = 2.6
"""How long all of stopping may take. A worker that is cut off from here loses nothing: others wait for its session to end."""

COUNTS_EVERY_S: Final = 30.0
"""How often the topics' partition counts are looked at again."""
METRICS_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Core:
    """The pure engine as the shell needs it. `engines(partitions)` makes engines for topics of that many partitions."""

    engines: Callable[[int], EngineFactory]
    epoch_of: Callable[[bytes], int]


class Failed(Exception):
    """The engine cannot go on. The message says why and what to do."""


EXPECTED: Final = (
    Failed,
    checks.TopicsMismatch,
    checks.InputCut,
    kafka.UnknownTopic,
    kafka.BrokerUnreachable,
    slots.NoSlot,
    EffectTooLarge,
    ForeignWrite,
    HoleError,
    StateError,
    stores.StoreError,
)
"""What ends the process with a message that says why: no traceback would add to it."""


class Process:
    """One engine worker: what is started, in order, and taken down again."""

    def __init__(self, config: Settings, core: Core) -> None:
        self._config = config
        self._core = core
        self._state = "starting"
        self._app: EngineApp | None = None
        self._worker: Worker | None = None
        self._ticker: Ticker | None = None

    def ready(self) -> tuple[bool, str]:
        """Whether partitions are assigned and their state is recovered, and what is going on."""
        app, worker = self._app, self._worker
        if app is None or worker is None or not app.started:
            return False, self._state
        if app.rebalancing or app.in_recovery:
            return False, "partitions are being assigned and their state is read"
        if worker.stream is None:
            return False, "waiting for partitions"
        if worker.stream.settled:
            return True, f"{len(worker.engines)} partitions"
        if not app.source.assigned:
            return False, "waiting for partitions"
        if not app.source.partitions():
            return True, "no partitions: there are more workers than partitions"
        return False, "partitions are being opened"

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`. Raises Failed, and what crashed the worker."""
        config = self._config
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    HealthServer(config.metrics_host, config.metrics_port_engine, self.ready, process="engine")
                )
            except OSError as error:
                raise Failed(
                    f"cannot listen on {config.metrics_host}:{config.metrics_port_engine} ({error.strerror}); "
                    "set EBBTIDE_METRICS_PORT_ENGINE to a free port"
                ) from error
            self._state = "waiting for Kafka"
            counts = await self._counts(stop)
            if counts is None:
                return
            changelog = changelog_topic(config.engine_app_id)
            partitions = checks.copartitioned(counts, (*INPUT_TOPICS, changelog))
            folder = config.data_dir.resolve() / "engine" / config.engine_app_id
            metrics.watch_disk("state", folder)
            slot = slots.claim(folder)
            stack.callback(slot.release)
            copies = await self._stores(slot.folder / "state", changelog)
            stack.callback(copies.close)
            producer = await kafka.producer(
                config, linger_ms=0, max_batch_size=MAX_BATCH_BYTES, max_request_size=MAX_BATCH_BYTES + 1024 * 1024
            )
            stack.push_async_callback(producer.stop)
            poison = PoisonLog(folder / "poison.json")
            failpoints = Failpoints.from_environment()
            publisher = Publisher(
                producer,
                inputs=INPUT_TOPICS,
                changelog=changelog,
                counts=counts,
                stores=copies,
                failpoints=failpoints,
                read=ChangelogReader(config.bootstrap, changelog),
                epoch_of=self._core.epoch_of,
            )

            def make_worker(app: EngineApp) -> Worker:
                return Worker(
                    INPUT_TOPICS,
                    self._core.engines(partitions),
                    copies,
                    publisher,
                    poison,
                    failpoints,
                    generation=lambda: int(app.consumer_generation_id),
                    recovered=lambda: next(iter(app.tables.values())),
                    ends=lambda: app.source.ends(),
                )

            worker: Worker | None = None

            def keep_worker(app: EngineApp) -> Worker:
                nonlocal worker
                worker = make_worker(app)
                return worker

            app = build(
                config,
                topics=INPUT_TOPICS,
                order=[INPUT_TOPICS.index(topic) for topic in EQUAL_TIMES],
                partitions=partitions,
                stores=copies,
                epoch_of=self._core.epoch_of,
                folder=slot.folder,
                worker=keep_worker,
                poison=poison.diverted,
            )
            assert worker is not None
            self._app, self._worker = app, worker
            self._ticker = Ticker(
                producer,
                INPUT_TOPICS,
                worker,
                mode=config.ticks,
                interval_s=config.tick_interval_s,
                grace_s=config.tick_grace_s,
            )
            self._state = "joining the group"
            await self._until_stopped(app, stop, self._watch_counts((*INPUT_TOPICS, changelog), partitions))

    async def _counts(self, stop: asyncio.Event) -> dict[str, int] | None:
        """Partitions of every topic that is used, once a broker answers. None when told to stop before that."""
        names = (*INPUT_TOPICS, *OUTPUT_TOPICS, changelog_topic(self._config.engine_app_id))
        said = False
        while not stop.is_set():
            try:
                return await kafka.partition_counts(self._config.bootstrap, names)
            except kafka.BrokerUnreachable as error:
                if not said:
                    log.warning("waiting for Kafka", problem=str(error))
                    said = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_BROKER_S)
        return None

    async def _stores(self, folder: Path, changelog: str) -> stores.PartitionStores:
        if self._config.engine_store == "memory":
            return stores.in_memory()
        if await asyncio.to_thread(folder.exists):
            ends = await kafka.end_offsets(self._config.bootstrap, [changelog])
            gone = stores.discard_foreign(folder, {tp.partition: end for tp, end in ends.items()})
            if gone:
                log.warning(
                    "local state was of another changelog and is read anew", partitions=gone, folder=str(folder)
                )
        return stores.on_disk(folder)

    async def _watch_counts(self, topics: Sequence[str], partitions: int) -> None:
        """Raise TopicsMismatch when topics are given other partition counts while the engine runs. Never returns."""
        while True:
            await asyncio.sleep(COUNTS_EVERY_S)
            try:
                counts = await kafka.partition_counts(self._config.bootstrap, topics)
            except (kafka.BrokerUnreachable, kafka.UnknownTopic):
                continue  # what is read tells of that
            checks.unchanged(counts, topics, partitions)

    async def _until_stopped(self, app: EngineApp, stop: asyncio.Event, watch: Coroutine[Any, Any, None]) -> None:
        """Run the app until `stop`, until it crashes or cannot start, or until `watch` raises."""
        told = asyncio.ensure_future(stop.wait())
        starting = asyncio.ensure_future(app.start())
        crashed = asyncio.ensure_future(app.wait_until_stopped())
        watching = asyncio.ensure_future(watch)
        side = [asyncio.ensure_future(self._run_ticker()), asyncio.ensure_future(self._measure())]
        ends = {told, crashed, watching}
        try:
            await asyncio.wait({*ends, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled() and starting.exception() is None:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            problem = starting.exception() if starting.done() and not starting.cancelled() else None
            self._state = "stopping"
            for task in (*side, told, watching):
                task.cancel()
            try:
                async with asyncio.timeout(LEAVE_WITHIN_S):
                    await app.stop()
            except TimeoutError:
                log.warning(
                    "could not commit and leave the group in time: others take over when the session ends",
                    seconds=LEAVE_WITHIN_S,
                    session_timeout_s=self._config.engine_session_timeout_s,
                )
            except (Exception, asyncio.CancelledError) as error:
                # An app that crashed stops badly: that must not take the place of why it crashed.
                log.warning("could not stop in order", error=repr(error))
            for task in (starting, crashed):
                task.cancel()
            await asyncio.gather(*side, told, watching, starting, crashed, return_exceptions=True)
        reason = app.crash_reason or problem
        if reason is not None and not isinstance(reason, asyncio.CancelledError):
            raise reason
        if not stop.is_set():
            raise Failed(
                "Faust stopped by itself and does not say why; start the engine again, it goes on where it was"
            )

    async def _run_ticker(self) -> None:
        assert self._ticker is not None
        await self._ticker.run()

    async def _measure(self) -> None:
        """Bring the gauges up to date every second."""
        assert self._worker is not None
        app, worker, ticker = self._app, self._worker, self._ticker
        assert app is not None
        assert ticker is not None
        before: dict[str, int] = {}
        while True:
            await asyncio.sleep(METRICS_EVERY_S)
            stream = worker.stream
            if stream is None or not stream.settled:
                continue
            source = app.source
            waiting = 0
            for topic, partition, offset in worker.positions():
                lag = source.lag(topic, partition, offset)
                if lag is not None:
                    metrics.ENGINE_LAG.labels(topic, str(partition)).set(lag)
                    waiting += lag
            metrics.ENGINE_BEHIND.set(max(0.0, time.time() - worker.appended_us / 1e6) if waiting else 0.0)
            for kind, total in source.counts.items():
                metrics.ENGINE_SOURCE.labels(kind).inc(total - before.get(kind, 0))
                before[kind] = total
            metrics.ENGINE_CLOCK.set(worker.clock_us() / 1e6)
            metrics.ENGINE_TICKED.set(ticker.last_us / 1e6)
            metrics.ENGINE_REPLAYING.set(sum(any(engine.historical) for engine in worker.engines.values()))


def real_core(config: Settings) -> Core:
    """The engine with the catalogue that the settings name."""
    from services.signals.catalogue import load
    from services.signals.core.codec import epoch_of
    from services.signals.core.partition import PartitionEngine

    catalogue = load(config.catalogue_file)

    def engines(partitions: int) -> EngineFactory:
        return lambda partition, store: PartitionEngine(
            partition,
            INPUT_TOPICS,
            catalogue,
            store,
            partitions=partitions,
            dedupe_hours=config.dedupe_hours,
            # Health goes by sequence. State that is rebuilt must not say less than the state that was there before, nor
            # that one less than the rebuilt one, should it be taken up again. A millisecond is less than any effect takes.
            sequence_after=time.time_ns() // 1_000_000,
        )

    return Core(engines, epoch_of)


def run(core: Callable[[Settings], Core] = real_core) -> None:
    """Run one engine worker until SIGTERM or SIGINT. Exits with 1 when it failed; restarting it is safe at any time."""
    config = settings()
    logs.configure("engine")
    kafka_connections.mend()
    quiet.install()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # also for the consumer's thread
    collector.collect_seldom()
    asyncio.run(_run_and_leave(config, core))


async def _run_and_leave(config: Settings, core: Callable[[Settings], Core]) -> None:
    """Run, and end the process from within the loop.

    All is closed and said by then. Closing the loop would wait for every task that is left, and a commit to a broker that
    hangs does not end when it is cancelled; taking the interpreter apart would cost seconds that a takeover waits.
    """
    code = await _run(config, core)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _run(config: Settings, core: Callable[[Settings], Core]) -> int:
    stop = stop_event()
    told = asyncio.ensure_future(stop.wait())
    running = asyncio.ensure_future(Process(config, core(config)).run(stop))
    await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
    orderly = stop.is_set()
    if not running.done():
        # Whatever it waits for, a broker that is away or a lock, must not keep whoever runs it waiting.
        await asyncio.wait({running}, timeout=STOP_WITHIN_S)
        if not running.done():
            log.warning("stopped in the middle of something; nothing is lost by that", seconds=STOP_WITHIN_S)
            return 0
    try:
        running.result()
    except EXPECTED as error:
        log.error("the engine ends", reason=str(error))
    except Exception as error:
        log.error("the engine ends; start it again and it goes on where it was", error=repr(error), exc_info=error)
    else:
        return 0
    return 0 if orderly else 1
