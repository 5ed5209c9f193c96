"""The Faust app of one engine worker: its topics, its table, its one agent over all input topics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import faust
import mode
from faust.transport.drivers.aiokafka import Transport

from services.common.settings import Settings
from services.signals.runtime.chunked import ChunkedConsumer
from services.signals.runtime.guarded import GuardedConsumer
from services.signals.runtime.source import InputConsumer
from services.signals.runtime.stores import PartitionStores
from services.signals.runtime.stream import MergedStream
from services.signals.runtime.table import StateTable
from services.signals.runtime.worker import Worker

TABLE: Final = "state"
COMMIT_EVERY_S: Final = 0.5
BEHIND: Final = 4
"""How many times larger a batch may be while more records wait."""

MAX_POLL_RECORDS: Final = 2000
"""Most records of one fetch: by so much the queues' bound may be exceeded."""


def changelog_topic(app_id: str) -> str:
    """The topic that Faust keeps the table of app `app_id` in."""
    return f"{app_id}-{TABLE}-changelog"


class ChunkedTransport(Transport):
    """Private names, whole lists of records: see `chunked`."""

    Consumer = ChunkedConsumer


class GuardedTransport(Transport):
    """Public names, message by message: see `guarded`."""

    Consumer = GuardedConsumer


RUNTIMES: Final = {"chunked": ChunkedTransport, "guarded": GuardedTransport}
"""What `EBBTIDE_ENGINE_RUNTIME` chooses from. All else is the same in both."""


class EngineApp(faust.App):
    """The app with what its consumer and its table need."""

    input_topics: tuple[str, ...]
    stores: PartitionStores
    epoch_of: Callable[[bytes], int]
    _cause: BaseException | None = None

    @property
    def crash_reason(self) -> BaseException | None:
        """What crashed the app first. A crash cancels the rest, and Faust takes the last of these for the reason."""
        return self._cause

    @crash_reason.setter
    def crash_reason(self, reason: BaseException | None) -> None:
        if reason is None or self._cause is None or isinstance(self._cause, asyncio.CancelledError):
            self._cause = reason

    @property
    def source(self) -> InputConsumer:
        """The consumer, as what it is."""
        return cast(InputConsumer, self.consumer)


def build(
    config: Settings,
    *,
    topics: Sequence[str],
    order: Sequence[int],
    partitions: int,
    stores: PartitionStores,
    epoch_of: Callable[[bytes], int],
    folder: Path,
    worker: Callable[[EngineApp], Worker],
    poison: Callable[[str, int], frozenset[int]],
) -> EngineApp:
    """The app, not started. `folder` is this process's own; `worker` is called with the app once."""
    app = EngineApp(
        config.engine_app_id,
        broker=";".join(f"kafka://{server.strip()}" for server in config.bootstrap.split(",")),
        # Workers find each other through Kafka only; the address just has to be unique.
        canonical_url=f"http://{uuid.uuid4().hex}",
        web_enabled=False,
        datadir=folder / "faust",
        store="memory://",
        Table=StateTable,
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_recovery_delay=0.0,
        stream_wait_empty=True,
        broker_commit_interval=COMMIT_EVERY_S,
        broker_session_timeout=config.engine_session_timeout_s,
        broker_heartbeat_interval=min(3.0, config.engine_session_timeout_s / 3),
        broker_request_timeout=max(40.0, config.engine_session_timeout_s + 10.0),
        broker_rebalance_timeout=max(20.0, config.engine_session_timeout_s),
        broker_max_poll_records=MAX_POLL_RECORDS,
        worker_redirect_stdouts=False,
    )
    app.input_topics = tuple(topics)
    app.stores = stores
    app.epoch_of = epoch_of
    app.transport = RUNTIMES[config.engine_runtime](app.conf.broker_consumer, app)
    source = app.topic(*topics, key_type=bytes, value_type=bytes)
    app.Table(TABLE, key_type=bytes, value_type=bytes)
    engines = worker(app)

    async def engine(stream: Any) -> None:
        await stream.maybe_start()
        await engines.run(
            MergedStream(
                app.source,
                topics,
                order,
                engines.open_partitions,
                limit=config.engine_batch,
                most=config.engine_batch * BEHIND,
                stopping=lambda: bool(app.should_stop or stream.should_stop),
                poison=poison,
            )
        )

    # A failed batch is not acknowledged: the process has to end, or the stream would stand still for good.
    app.agent(source, name="engine", supervisor_strategy=mode.CrashingSupervisor)(engine)
    return app
