"""Work that one process does at a time: whoever holds the advisory lock, on the very connection that it works with.

A process that lost the connection can no longer write, and another one takes over from what the tables say. Any failure
of the database ends the session; the next one starts from the tables again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
import structlog

from services.common import metrics
from services.common.db import UNREACHABLE, connect
from services.common.settings import Settings

log = structlog.get_logger()

LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
STANDBY_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0

# A server that is killed says so out of turn; asyncpg meets the next statement with an InternalClientError then.
RETRIED: Final = (*UNREACHABLE, asyncpg.InternalClientError)

Work = Callable[[Any, asyncio.Event], Awaitable[None]]
"""Given the connection that holds the lock and the event that says stop; returns soon after that."""


class Duty:
    """Does `work` while this process is the one that may. A process that stands by is ready, too."""

    def __init__(self, name: str, config: Settings, work: Work) -> None:
        self.name = name
        self._config = config
        self._work = work
        self.ready = False
        self.detail = "starting"

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop. Failures of the database are waited out, whatever they take."""
        pause = FIRST_PAUSE_S
        while not stop.is_set():
            began = time.monotonic()
            try:
                await self._session(stop)
                return
            except RETRIED as error:
                self._set(False, f"{type(error).__name__}: {error}")
            if time.monotonic() - began > LONGEST_PAUSE_S * 2:
                pause = FIRST_PAUSE_S
            metrics.DELIVERY_RETRIES.labels(self.name).inc()
            log.warning("the database failed, will go on", part=self.name, problem=self.detail, pause_s=round(pause, 1))
            await sleep(stop, pause * random.uniform(0.7, 1.3))
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _session(self, stop: asyncio.Event) -> None:
        connection = await connect(self._config.database, process=f"delivery-{self.name}")
        try:
            while not await connection.fetchval(LOCK, f"ebbtide delivery {self.name}"):
                self._set(True, "standing by: another process does it")
                await sleep(stop, STANDBY_S)
                if stop.is_set():
                    return
            self._set(True, "working")
            await self._work(connection, stop)
        finally:
            with contextlib.suppress(*RETRIED, TimeoutError):
                await connection.close(timeout=2)
            connection.terminate()

    def _set(self, ready: bool, detail: str) -> None:
        self.ready, self.detail = ready, (detail.splitlines() or [""])[0][:300]


async def sleep(stop: asyncio.Event, seconds: float) -> None:
    """Return after so long, or as soon as `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
