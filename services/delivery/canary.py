"""The canary: a synthetic account's event each minute, and how long until its signal is recorded.

It goes the whole way: ingest, Kafka, the engine, the recorder, Postgres. A probe is two events: the account is live, which
clears what the probe before it raised, and it is in a pilot that nobody prepared, which raises `pilot.unready` at once.
Both are said by the profile, so the account's state does not grow however long this runs. The recorder keeps nothing of
the account and says what it recorded on a channel of Postgres, with the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
import uuid
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from schemas.canary import CANARY_ACCOUNT, CHANNEL, Heard
from services.common import metrics
from services.common.addresses import base_urls
from services.common.settings import Settings
from services.delivery.duty import Duty, sleep

log = structlog.get_logger()

NAME: Final = "canary"
SOURCE: Final = "ebbtide/canary"
SIGNAL: Final = "pilot.unready"
ACCEPT_WITHIN_S: Final = 10.0
SIGNAL_WITHIN_S: Final = 30.0

_encode: Final = msgspec.json.Encoder().encode
_heard: Final = msgspec.json.Decoder(Heard).decode


class _Result(Struct):
    status: str
    reason: str | None = None
    detail: str | None = None


class _Answer(Struct):
    results: list[_Result]


_answer: Final = msgspec.json.Decoder(_Answer).decode


class NotAccepted(Exception):
    """Ingest did not take the events. The message says why."""


def probe(at: dt.datetime, name: str) -> list[dict[str, Any]]:
    """The events of one probe; the signal is raised by the last of them, at `at`. `name` is part of their ids."""
    pilot = {"start": at.date(), "paid": True, "readiness": {}}
    steps = [
        (at - dt.timedelta(microseconds=1), {"stage": "live"}),
        (at, {"name": "Canary", "stage": "pilot", "pilot": pilot}),
    ]
    return [
        {
            "specversion": "1.0",
            "id": f"{name}-{number}",
            "source": SOURCE,
            "type": "account.updated",
            "subject": CANARY_ACCOUNT,
            "time": time_,
            "data": data,
        }
        for number, (time_, data) in enumerate(steps, 1)
    ]


def answers(heard: Heard, at: dt.datetime) -> bool:
    """Whether this is the signal of the probe of `at`, or of a later one."""
    return heard.signal == SIGNAL and heard.type == "signal.raised" and heard.time >= at


class Canary:
    """Probes one after the other, each `canary_interval_s`."""

    def __init__(self, config: Settings, write_key: str, *, signal_within_s: float = SIGNAL_WITHIN_S) -> None:
        ingest = (config.canary_ingest_url or base_urls(config)["ingest"]).rstrip("/")
        self._url = f"{ingest}/v1/events"
        self._headers = {"authorization": f"Bearer {write_key}", "content-type": "application/cloudevents-batch+json"}
        self._interval_s = config.canary_interval_s
        self._signal_within_s = signal_within_s
        self._heard: asyncio.Queue[tuple[Heard, float]] = asyncio.Queue()

    async def work(self, connection: Any, stop: asyncio.Event) -> None:
        """Probe until told to stop. A failure of the database is raised."""
        await connection.add_listener(CHANNEL, self._hear)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ACCEPT_WITHIN_S)) as client:
            while not stop.is_set():
                next_probe = time.monotonic() + self._interval_s
                await self._probe(client, stop)
                await sleep(stop, next_probe - time.monotonic())
                # Only a question shows that the connection, on which nothing may come for long, is gone.
                await connection.fetchval("SELECT 1")

    def _hear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # whoever else says something there
            self._heard.put_nowait((_heard(payload), time.monotonic()))

    async def _probe(self, client: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        while not self._heard.empty():
            self._heard.get_nowait()
        at = dt.datetime.now(dt.UTC)
        try:
            await self._send(client, probe(at, uuid.uuid4().hex))
        except NotAccepted as error:
            metrics.CANARY_FAILURES.labels("accept").inc()
            log.warning("ingest does not accept the canary's event", problem=str(error))
            return
        accepted = time.monotonic()
        waiting = asyncio.create_task(self._answer_to(at))
        told = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((waiting, told), timeout=self._signal_within_s, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                metrics.CANARY_SECONDS.observe(max(waiting.result() - accepted, 0.0))
                metrics.CANARY_LAST_SUCCESS.set_to_current_time()
            elif not stop.is_set():
                metrics.CANARY_FAILURES.labels("signal").inc()
                log.warning("the canary's event gave no signal", waited_s=self._signal_within_s)
        finally:
            for task in (waiting, told):
                task.cancel()
            await asyncio.gather(waiting, told, return_exceptions=True)

    async def _answer_to(self, at: dt.datetime) -> float:
        while True:
            heard, when = await self._heard.get()
            if answers(heard, at):
                return when

    async def _send(self, client: aiohttp.ClientSession, events: list[dict[str, Any]]) -> None:
        try:
            async with client.post(
                self._url, data=_encode(events), headers=self._headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise NotAccepted(f"{self._url} answers {answer.status}: {body[:300]!r}")
                refused = [result for result in _answer(body).results if result.status != "accepted"]
                if refused:
                    raise NotAccepted(f"{self._url} says {refused[0].status}: {refused[0].reason} {refused[0].detail}")
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise NotAccepted(f"{self._url}: {error!r}") from error


def canary(config: Settings, write_key: str) -> Duty:
    """The part of the process that probes."""
    return Duty(NAME, config, Canary(config, write_key).work)
