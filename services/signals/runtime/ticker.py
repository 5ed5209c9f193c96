"""Live ticks: every few seconds each worker says, on every input topic of its partitions, how far time has come.

A tick says now minus the grace that records in flight are given. It is left out wherever it could be wrong: while
partitions move or recover, while a replay runs in the partition, and while the machine's clock does not run evenly.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog

from schemas.envelope import from_us
from schemas.events.control import TICK_TYPE

log = structlog.get_logger()

SOURCE: Final = "ebbtide/engine"
CLOCK_TOLERANCE_S: Final = 1.0
CLOCK_PROBATION_S: Final = 60.0
"""How long the two clocks must run together again after they did not."""


class ClockGuard:
    """Compares how far the wall clock and the monotonic clock have come. Pure: readings are given."""

    def __init__(self, wall: float, monotonic: float) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._trusted_from = monotonic

    def agrees(self, wall: float, monotonic: float) -> bool:
        """Whether the wall clock has run evenly, for a minute if it jumped before. Seconds."""
        jump = (wall - self._wall) - (monotonic - self._monotonic)
        if abs(jump) > CLOCK_TOLERANCE_S:
            log.warning("the wall clock jumped; no ticks until it runs evenly", seconds=round(jump, 3))
            self._trusted_from = monotonic + CLOCK_PROBATION_S
        # Compared with the last reading, not the first: slewing a clock right is no jump.
        self._wall, self._monotonic = wall, monotonic
        return monotonic >= self._trusted_from


def tick_value(now_us: int) -> bytes:
    """A live tick as a CloudEvent."""
    now = from_us(now_us)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": SOURCE,
            "type": TICK_TYPE,
            "time": now,
            "data": {"now": now, "historical": False},
        }
    )


class Partitions(Protocol):
    """What the ticker asks the worker."""

    def tickable(self, *, seen_live: bool) -> list[int]:
        """Partitions that may be ticked now; with `seen_live` only those that a live tick has reached already."""


class Ticker:
    """Sends the live ticks of this worker's partitions.

    `mode` is the setting: `off`, `on`, or `after-replay`, which leaves a partition alone until its first live tick (the
    one that ends a replay) has been seen.
    """

    def __init__(
        self,
        producer: Any,
        topics: Sequence[str],
        partitions: Partitions,
        *,
        mode: Literal["on", "off", "after-replay"],
        interval_s: float,
        grace_s: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_us = 0
        """What the last ticks said, 0 before the first."""
        self._producer = producer
        self._topics = tuple(topics)
        self._partitions = partitions
        self._mode = mode
        self._interval_s = interval_s
        self._grace_s = grace_s
        self._wall = wall
        self._monotonic = monotonic
        self._guard = ClockGuard(wall(), monotonic())

    async def run(self) -> None:
        """Tick until cancelled. A tick that cannot be sent is left out: the next one says more."""
        if self._mode == "off":
            return
        while True:
            try:
                await self.tick()
            except Exception as error:
                log.warning("could not send the clock ticks", error=repr(error))
            await asyncio.sleep(self._interval_s)

    async def tick(self) -> int:
        """Send one round. Returns how many ticks were sent."""
        wall = self._wall()
        if not self._guard.agrees(wall, self._monotonic()):
            return 0
        now_us = round((wall - self._grace_s) * 1e6)
        numbers = self._partitions.tickable(seen_live=self._mode == "after-replay")
        if not numbers or now_us <= self.last_us:
            return 0
        value = tick_value(now_us)
        sent = [
            await self._producer.send(topic, value=value, partition=number)
            for topic in self._topics
            for number in numbers
        ]
        await asyncio.gather(*sent)
        self.last_us = now_us
        return len(sent)
