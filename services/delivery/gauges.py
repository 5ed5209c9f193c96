"""Keeps the gauges of what is open up to date, in one delivery process at a time, and asks whether the servers answer.

It decides nothing. Figures that could not be taken are not shown: an alert is never made of old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog

from services.common import kafka, metrics
from services.common.db import UNREACHABLE, connect
from services.common.settings import Settings
from services.delivery import figures

log = structlog.get_logger()

PROCESS: Final = "delivery"
LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('ebbtide gauges', 0))"
WITHIN_S: Final = 10.0
"""Longest that a measurement or a question may take."""
SHARE: Final = 20
"""A measurement that took t seconds is followed by a rest of at least this many times t."""
OWNERS_FOR_S: Final = 3600.0


class Gauges:
    """What is open, every `gauges_interval_s`, and whether Kafka and Postgres answer."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._since = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until told to stop. Whatever Kafka and Postgres do is waited out."""
        self._since = time.monotonic()
        self._in_charge()
        asking = asyncio.create_task(self._ask_kafka(stop))
        try:
            while not stop.is_set():
                try:
                    await self._session(stop)
                except (*UNREACHABLE, TimeoutError) as error:
                    figures.forget()
                    metrics.REACHABLE.labels("postgres").set(0)
                    log.warning("what is open cannot be measured, will try again", problem=type(error).__name__)
                await _sleep(stop, self._config.gauges_interval_s)
        finally:
            figures.forget()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _in_charge(self) -> None:
        metrics.OPEN_MEASURED.labels(PROCESS).set_function(lambda: time.monotonic() - self._since)

    async def _session(self, stop: asyncio.Event) -> None:
        connection = await connect(self._config.database, process="delivery-gauges", statement_timeout_s=WITHIN_S)
        try:
            while not stop.is_set():
                metrics.REACHABLE.labels("postgres").set(1)
                if await connection.fetchval(LOCK):
                    break
                # Another delivery process measures: sums would be there twice, and nobody waits for these.
                figures.forget()
                with contextlib.suppress(KeyError):
                    metrics.OPEN_MEASURED.remove(PROCESS)
                await _sleep(stop, self._config.gauges_interval_s)
            self._in_charge()
            await self._measure(connection, stop)
        finally:
            with contextlib.suppress(*UNREACHABLE):
                await connection.close(timeout=2)

    async def _measure(self, connection: Any, stop: asyncio.Event) -> None:
        owners: dict[str, str] = {}
        known_since = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            if began - known_since > OWNERS_FOR_S:  # an operators' file may have given a signal to others
                owners, known_since = {}, began
            async with asyncio.timeout(WITHIN_S):
                reading = await figures.read(connection, owners)
            figures.show(reading)
            self._since = time.monotonic()
            took = self._since - began
            metrics.REACHABLE.labels("postgres").set(1)
            metrics.OPEN_SECONDS.labels(PROCESS).set(took)
            await _sleep(stop, max(self._config.gauges_interval_s, took * SHARE))

    async def _ask_kafka(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with asyncio.timeout(WITHIN_S):
                    await kafka.partition_counts(self._config.bootstrap, [])
                answers = 1
            except (kafka.BrokerUnreachable, TimeoutError):
                answers = 0
            metrics.REACHABLE.labels("kafka").set(answers)
            await _sleep(stop, self._config.gauges_interval_s)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
