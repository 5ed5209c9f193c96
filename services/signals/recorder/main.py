"""The recorder: what the engine says, and what happened to each account, from Kafka to Postgres."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from services.common import collector, kafka_connections, logs, metrics
from services.common.lifecycle import HealthServer, serve_until_stopped
from services.common.settings import Settings, settings
from services.signals.recorder import canary, feed, writer
from services.signals.recorder.canary import CanaryRow
from services.signals.recorder.fold import fold_events, fold_signals
from services.signals.recorder.guards import Guards
from services.signals.recorder.lane import Lane, count_refused
from services.signals.recorder.records import SIGNAL_TOPICS, TIMELINE_TOPICS, event_row

log = structlog.get_logger()

# Signals are wanted at once. History may wait for company: one transaction then serves many events.
TIMELINE_LINGER_S = 0.3
# Of a backlog. The more at once, the more of them are about one episode or account, which is then written once.
SIGNALS_AT_ONCE = 4000
# Signals and health of an account touch rows of that account alone, but for the feed, which has its own lock.
SIGNAL_WRITERS = 2
NOTIFY_WITHIN = dt.timedelta(hours=24)


async def write_signals(
    connection: Any, rows: list[Any], *, notify_within: dt.timedelta = NOTIFY_WITHIN
) -> Callable[[], None]:
    """Write a batch of the signal topics and `health`, and tell what is news. The feed comes last: see `APPEND_LOCK`.

    What is returned counts it, once it is committed.
    """
    batch = fold_signals(row for row in rows if not isinstance(row, CanaryRow))
    await canary.tell(connection, (row for row in rows if isinstance(row, CanaryRow)))
    done = await writer.write_signals(connection, batch)
    await writer.write_refused(connection, batch.refused)
    now = dt.datetime.now(dt.UTC)
    news = [row for row in done.recorded if feed.is_news(row, now, notify_within)]
    told = await feed.tell(connection, news, done.healed)

    def count() -> None:
        count_refused(batch.refused)
        metrics.RECORDER_ROWS.labels("transition").inc(len(batch.transitions))
        metrics.RECORDER_ROWS.labels("health").inc(len(batch.health) - done.stale)
        metrics.RECORDER_ROWS.labels("erasure").inc(len(batch.erased))
        metrics.RECORDER_STALE_HEALTH.inc(done.stale)
        metrics.RECORDER_RECONCILED.inc(len(done.healed))
        metrics.RECORDER_ROWS.labels("feed").inc(told)

    return count


async def write_events(connection: Any, rows: list[Any]) -> Callable[[], None]:
    """Write a batch of the input topics. What is returned counts it, once it is committed."""
    batch = fold_events(rows)
    await writer.write_events(connection, batch)
    return lambda: metrics.RECORDER_ROWS.labels("timeline").inc(len(batch.entries))


def lanes(config: Settings, guards: Guards | None = None) -> list[Lane]:
    """Both lanes. They are apart so that a backlog of events never delays a signal. `guards` see what happened."""
    row = event_row if guards is None else guards.row
    write = partial(write_signals, notify_within=dt.timedelta(hours=config.notify_within_hours))
    return [
        Lane(
            "signals",
            SIGNAL_TOPICS,
            canary.signal_or_canary_row,
            write,
            config,
            batch=SIGNALS_AT_ONCE,
            writers=SIGNAL_WRITERS,
        ),
        Lane("timeline", TIMELINE_TOPICS, canary.without_canary(row), write_events, config, linger_s=TIMELINE_LINGER_S),
    ]


async def serve(config: Settings) -> None:
    """Record until told to stop."""
    guards = Guards(config)
    running = lanes(config, guards)

    def ready() -> tuple[bool, str]:
        return all(lane.ready for lane in running), "; ".join(f"{lane.name}: {lane.detail}" for lane in running)

    async with HealthServer(config.metrics_host, config.metrics_port_recorder, ready, process="recorder"):
        await serve_until_stopped(*(lane.run for lane in running), lambda stop: guards.run(stop, running))


def run() -> None:
    """Run the process until SIGTERM or SIGINT."""
    logs.configure("recorder")
    kafka_connections.mend()
    collector.collect_seldom()
    asyncio.run(serve(settings()))
