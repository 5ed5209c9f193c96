"""Keeps the gauges of what is open up to date, in one delivery process at a time, and asks whether the servers answer.

It decides nothing. Figures that could not be taken are not shown: no alert is made of old ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from services.common import kafka, metrics
from services.common.settings import Settings
from services.delivery import figures
from services.delivery.duty import Duty, sleep

NAME: Final = "gauges"
PROCESS: Final = "delivery"
WITHIN_S: Final = 10.0
"""Longest that one measurement, or one question to Kafka, may take."""
RESTS: Final = 20
"""A measurement that took t seconds is followed by a rest of at least this many times t."""
OWNERS_FOR_S: Final = 3600.0


class Gauges(Duty):
    """What is open, counted each `gauges_interval_s`, and whether Kafka and Postgres answer this process."""

    def __init__(self, config: Settings) -> None:
        super().__init__(NAME, config, self._measure)
        self._config = config
        self._measured = time.monotonic()
        self._measuring = False

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until told to stop. Whatever Kafka and Postgres do is waited out."""
        metrics.OPEN_MEASURED.labels(PROCESS).set_function(self._age)
        metrics.REACHABLE.labels("postgres").set_function(lambda: float(self.ready))
        asking = asyncio.create_task(self._ask_kafka(stop))
        try:
            await super().run(stop)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _age(self) -> float:
        standing_by = self.ready and not self._measuring
        return 0.0 if standing_by else time.monotonic() - self._measured

    async def _measure(self, connection: Any, stop: asyncio.Event) -> None:
        owners: dict[str, str] = {}
        known_since = time.monotonic()
        self._measuring = True
        try:
            while not stop.is_set():
                began = time.monotonic()
                if began - known_since > OWNERS_FOR_S:  # an operators' file may have given a signal to others
                    owners, known_since = {}, began
                async with asyncio.timeout(WITHIN_S):
                    reading = await figures.read(connection, owners)
                figures.show(reading)
                self._measured = time.monotonic()
                took = self._measured - began
                metrics.OPEN_SECONDS.labels(PROCESS).set(took)
                await sleep(stop, max(self._config.gauges_interval_s, took * RESTS))
        finally:
            self._measuring = False
            figures.forget()

    async def _ask_kafka(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with asyncio.timeout(WITHIN_S):
                    await kafka.partition_counts(self._config.bootstrap, [])
                answers = 1
            except (kafka.BrokerUnreachable, TimeoutError):
                answers = 0
            metrics.REACHABLE.labels("kafka").set(answers)
            await sleep(stop, self._config.gauges_interval_s)
