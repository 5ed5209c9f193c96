"""Links and erasures that were sent straight to the topic `accounts`, past ingest: they count as if they had come by HTTP.

One consumer group for all processes of ingest: each partition is read by one of them. An event may be read twice; what it
says is then known already and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import structlog

from schemas.codec import Refusal, decode
from schemas.events import accounts
from services.common import metrics
from services.ingest import attribution, names
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector
from services.ingest.names import Link, Name

TOPIC: Final = accounts.TOPIC
GROUP: Final = "ebbtide-ingest-links"
POLL_MS: Final = 500
PAUSE_S: Final = 2.0
# Of all that is said about accounts only this matters here: look before decoding.
_LINKED, _ERASED = b"account.linked", b"account.erased"

log = structlog.get_logger()


class NotAcknowledged(Exception):
    """Kafka did not take a link in time; the events are read again."""


def changes(records: Iterable[Any], known: Attribution) -> dict[Name, Link | None]:
    """The links that records of the topic make or withdraw beyond what is known, the last word on each name."""
    found: dict[Name, Link | None] = {}
    for record in records:
        value = record.value
        if value is None or (_LINKED not in value and _ERASED not in value):
            continue
        event = decode(TOPIC, record.key, value)
        if isinstance(event, Refusal) or event.subject is None:
            continue
        if event.type == "account.linked":
            name = names.external(event.data.system, event.data.external_id)
            new = Link(event.subject, event.time_us, names.LINKED)
            held = found[name] if name in found else known.get(name)
            if held is None or (held != new and held.yields_to(new)):
                found[name] = new
        elif event.type == "account.erased":
            # What was linked after the erasure belongs to whoever has the account's id now.
            made = {name: link for name, link in found.items() if link is not None and link.account == event.subject}
            held_links = {name: link for name in known.names_of(event.subject) if (link := known.get(name)) is not None}
            for name, link in (held_links | made).items():
                if link.at_us <= event.time_us:
                    found[name] = None
    return found


class StraightLinks:
    """Follows the topic and writes what it says to `attribution`. `make_consumer` gives a started consumer of `GROUP`."""

    def __init__(self, make_consumer: Callable[[], Awaitable[Any]], known: Attribution, collector: Collector) -> None:
        self._make_consumer = make_consumer
        self._attribution = known
        self._collector = collector

    async def run(self) -> None:
        """Follow until cancelled. Whatever fails is waited out: ingest goes on without."""
        while True:
            try:
                await self._session()
            except Exception as error:
                log.warning("links on the topic accounts cannot be followed now", error=repr(error))
                await asyncio.sleep(PAUSE_S)

    async def _session(self) -> None:
        while not (self._attribution.ready and self._collector.connected):  # noqa: ASYNC110 # neither has an event
            await asyncio.sleep(0.1)
        consumer = await self._make_consumer()
        try:
            while True:
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=1000)
                if not batches:
                    continue
                await self._keep([record for records in batches.values() for record in records])
                await consumer.commit()
        finally:
            await consumer.stop()

    async def _keep(self, records: list[Any]) -> None:
        found = changes(records, self._attribution)
        if not found:
            return
        if not all(await self._collector.send([attribution.record(name, link) for name, link in found.items()])):
            raise NotAcknowledged(f"{len(found)} links")
        self._attribution.learn(found)
        metrics.INGEST_STRAIGHT_LINKS.inc(len(found))
