"""Webhooks: a worker for each enabled endpoint, so that a slow one delays no other, and what all of them need."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.metadata
import time
from typing import Any, Final

import structlog

from services.common import metrics
from services.common.addresses import base_urls
from services.common.settings import Settings
from services.delivery.duty import Duty, sleep
from services.delivery.ledger import Ledger
from services.delivery.sender import Clock, Sender
from services.delivery.worker import Worker

log = structlog.get_logger()

NAME: Final = "webhooks"
POLL_S: Final = 0.25
MEASURED_EVERY_S: Final = 5.0
TRIMMED_EVERY_S: Final = 600.0
# Of the stack's patience at the end: what a receiver answers by then is still recorded.
LAST_ANSWERS_S: Final = 5.0


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Webhooks(Duty):
    """Sends what happens to those who subscribed."""

    def __init__(self, config: Settings, *, clock: Clock = _now) -> None:
        super().__init__(NAME, config, self._send)
        self._allow_private = config.webhook_allow_private
        self._console_url = config.console_url or base_urls(config)["api"]
        self._clock = clock

    async def _send(self, connection: Any, stop: asyncio.Event) -> None:
        ledger = Ledger(connection)
        sender = Sender(
            allow_private=self._allow_private, clock=self._clock, version=importlib.metadata.version("ebbtide")
        )
        running = _Running(ledger, sender, self._clock, self._console_url)
        measured = trimmed = float("-inf")
        try:
            while not stop.is_set():
                await running.follow()
                if time.monotonic() - measured >= MEASURED_EVERY_S:
                    await self._measure(ledger)
                    measured = time.monotonic()
                if time.monotonic() - trimmed >= TRIMMED_EVERY_S and not await ledger.trim(self._clock()):
                    trimmed = time.monotonic()
                await sleep(stop, POLL_S)
            await running.retire()
        finally:
            await running.end()
            await sender.close()
            metrics.WEBHOOK_ENDPOINTS.clear()
            metrics.WEBHOOK_BEHIND.set(0)

    async def _measure(self, ledger: Ledger) -> None:
        found = await ledger.standing()
        for state in ("well", "failing", "disabled"):
            metrics.WEBHOOK_ENDPOINTS.labels(state).set(found[state])
        oldest = found["oldest"]
        behind = 0.0 if oldest is None else max((self._clock() - oldest).total_seconds(), 0.0)
        metrics.WEBHOOK_BEHIND.set(behind)


class _Running:
    """The workers that there are."""

    def __init__(self, ledger: Ledger, sender: Sender, clock: Clock, console_url: str) -> None:
        self._ledger = ledger
        self._sender = sender
        self._clock = clock
        self._console_url = console_url
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._newest = 0

    async def follow(self) -> None:
        """Start, change, wake and retire workers as the tables say. Raises what made a worker fail."""
        wanted = await self._ledger.revisions()
        newest = await self._ledger.newest()
        for webhook_id, (worker, task) in list(self._workers.items()):
            if task.done():
                # Not started anew in this turn: whoever disabled the endpoint has yet to be seen in the table.
                del self._workers[webhook_id]
                wanted.pop(webhook_id, None)
                task.result()
            elif webhook_id not in wanted:
                worker.retire()
            elif newest != self._newest:
                worker.wake()
        self._newest = newest
        for webhook_id, revision in wanted.items():
            held = self._workers.get(webhook_id)
            if held is not None and held[0].revision == revision:
                continue
            endpoint = await self._ledger.endpoint(webhook_id)
            if endpoint is None:
                continue
            if held is not None:
                held[0].change(endpoint)
                continue
            worker = Worker(endpoint, self._ledger, self._sender, clock=self._clock, console_url=self._console_url)
            self._workers[webhook_id] = worker, asyncio.create_task(worker.run())

    async def retire(self) -> None:
        """Let every worker end after the message in hand, for as long as that may take."""
        for worker, _ in self._workers.values():
            worker.retire()
        if self._workers:
            await asyncio.wait([task for _, task in self._workers.values()], timeout=LAST_ANSWERS_S)

    async def end(self) -> None:
        """End whatever still runs."""
        tasks = [task for _, task in self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
