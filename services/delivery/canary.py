"""The canary: a synthetic account's event each minute, and how long until its signal is recorded.

It goes the whole way: ingest, Kafka, the engine, the recorder, Postgres. A probe is two events: an account is in a pilot
that nobody prepared, which raises `pilot.unready` at once, and it is live, which clears it.

A signal is not raised twice on one day, so the day is divided into slots and each has an account of its own: 1,440 with a
probe each minute, which lie in all partitions and never become more. All that is said is in the profile, so none of them
grows, however long this runs. The recorder keeps nothing of them and says what it recorded on a channel of Postgres, with
the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from schemas.canary import CANARY_PREFIX, CHANNEL, Heard
from services.common import metrics
from services.common.addresses import base_urls
from services.common.settings import Settings
from services.delivery.duty import Duty, sleep

log = structlog.get_logger()

NAME: Final = "canary"
SOURCE: Final = "ebbtide/canary"
SIGNAL: Final = "pilot.unready"
DAY_S: Final = 86_400.0
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


def slot(at: dt.datetime, interval_s: float) -> tuple[int, float]:
    """Which slot of its day (UTC) an instant is in, and the seconds until the next one begins."""
    passed = (at - at.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    number = int(passed // interval_s)
    return number, min((number + 1) * interval_s, DAY_S) - passed


def probe(account: str, at: dt.datetime) -> list[dict[str, Any]]:
    """The events of one probe. The first raises the signal, at `at`."""
    pilot = {"start": at.date(), "paid": True, "readiness": {}}
    steps = [
        (at, {"name": "Canary", "stage": "pilot", "pilot": pilot}),
        (at + dt.timedelta(microseconds=1), {"stage": "live"}),
    ]
    return [
        {
            "specversion": "1.0",
            "id": f"{account} {when.isoformat()}",
            "source": SOURCE,
            "type": "account.updated",
            "subject": account,
            "time": when,
            "data": data,
        }
        for when, data in steps
    ]


def answers(heard: Heard, account: str, at: dt.datetime) -> bool:
    """Whether this is the signal of the probe of `at`."""
    return (heard.account, heard.signal, heard.type) == (account, SIGNAL, "signal.raised") and heard.time >= at


class Canary:
    """Probes one after the other, each as its slot of the day begins."""

    def __init__(self, config: Settings, write_key: str, *, signal_within_s: float = SIGNAL_WITHIN_S) -> None:
        ingest = (config.canary_ingest_url or base_urls(config)["ingest"]).rstrip("/")
        self._url = f"{ingest}/v1/events"
        self._headers = {"authorization": f"Bearer {write_key}", "content-type": "application/cloudevents-batch+json"}
        self._interval_s = config.canary_interval_s
        self._signal_within_s = signal_within_s
        self._heard: asyncio.Queue[tuple[Heard, float]] = asyncio.Queue()
        for stage in ("accept", "signal"):  # the first failure is an increase, too
            metrics.CANARY_FAILURES.labels(stage)

    async def work(self, connection: Any, stop: asyncio.Event) -> None:
        """Probe until told to stop. A failure of the database is raised."""
        await connection.add_listener(CHANNEL, self._hear)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ACCEPT_WITHIN_S)) as client:
            # The slot that is now may have had its probe, by a process that ended: the next one has not.
            last, rest_s = slot(dt.datetime.now(dt.UTC), self._interval_s)
            while not stop.is_set():
                await sleep(stop, rest_s)
                number, rest_s = slot(dt.datetime.now(dt.UTC), self._interval_s)
                if number == last or stop.is_set():
                    continue
                last = number
                # Only a question shows that the connection, on which nothing may come for long, is gone.
                await connection.fetchval("SELECT 1")
                await self._probe(client, number, stop)
                rest_s = slot(dt.datetime.now(dt.UTC), self._interval_s)[1]

    def _hear(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # whoever else says something there
            self._heard.put_nowait((_heard(payload), time.monotonic()))

    async def _probe(self, client: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        while not self._heard.empty():
            self._heard.get_nowait()
        at = dt.datetime.now(dt.UTC)
        account = f"{CANARY_PREFIX}{number:04}"
        try:
            await self._send(client, probe(account, at))
        except NotAccepted as error:
            metrics.CANARY_FAILURES.labels("accept").inc()
            log.warning("ingest does not accept the canary's event", account=account, problem=str(error))
            return
        accepted = time.monotonic()
        waiting = asyncio.create_task(self._answer_to(account, at))
        told = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((waiting, told), timeout=self._signal_within_s, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                metrics.CANARY_SECONDS.observe(max(waiting.result() - accepted, 0.0))
                metrics.CANARY_LAST_SUCCESS.set_to_current_time()
            elif not stop.is_set():
                metrics.CANARY_FAILURES.labels("signal").inc()
                log.warning("the canary's event gave no signal", account=account, waited_s=self._signal_within_s)
        finally:
            for task in (waiting, told):
                task.cancel()
            await asyncio.gather(waiting, told, return_exceptions=True)

    async def _answer_to(self, account: str, at: dt.datetime) -> float:
        while True:
            heard, when = await self._heard.get()
            if answers(heard, account, at):
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
