"""Unattributed dead letters are sent again by themselves once a link says whose they are.

One process of ingest does it at a time: the one that holds the advisory lock, on the connection that says so. Before a
letter's events are sent that is written down, and again once they are acknowledged: a letter goes once, also beside
`ebbtide dead-letters replay`. After a crash in between it goes again with the same event ids, which is a duplicate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.dead_letters import DEAD_LETTER_TOPIC
from services.common import dead_letters, metrics
from services.common.dead_letters import Letter
from services.ingest import attribution, letters
from services.ingest.attribution import Attribution
from services.ingest.collector import Collector, Record
from services.ingest.intake import record_of
from services.ingest.letters import Waiting
from services.ingest.mapping import Mapping
from services.ingest.names import Link, Name, Overlay

TOPIC: Final = DEAD_LETTER_TOPIC
MOST_BYTES: Final = 64 * 1024 * 1024
"""Calls that wait for a link, in bytes held. Older ones stay in the topic: `ebbtide dead-letters replay` reaches them."""
AT_ONCE: Final = 200
LOOK_MS: Final = 500
STANDBY_S: Final = 5.0
PAUSE_S: Final = 5.0

log = structlog.get_logger()


class NotAcknowledged(Exception):
    """Kafka did not take the events in time; the letters wait on."""


class Redeemer:
    """`make_consumer` gives a started consumer of all of the topic from its beginning, `connect` a database connection."""

    def __init__(
        self,
        make_consumer: Callable[[], Awaitable[Any]],
        connect: Callable[[], Awaitable[Any]],
        engine: AsyncEngine,
        known: Attribution,
        collector: Collector,
        mapping: Mapping,
    ) -> None:
        self._make_consumer = make_consumer
        self._connect = connect
        self._engine = engine
        self._attribution = known
        self._collector = collector
        self._mapping = mapping

    async def run(self) -> None:
        """Redeem until cancelled. Whatever fails is waited out: ingest goes on without."""
        while True:
            try:
                await self._session()
            except Exception as error:
                log.warning("dead letters cannot be redeemed now", error=repr(error))
            metrics.INGEST_LETTERS_WAITING.set(0)
            await asyncio.sleep(PAUSE_S)

    async def _session(self) -> None:
        connection = await self._connect()
        try:
            while not await dead_letters.lock_redeeming(connection):  # noqa: ASYNC110 # another process holds it
                await asyncio.sleep(STANDBY_S)
            consumer = await self._make_consumer()
            try:
                await self._follow(connection, consumer)
            finally:
                await consumer.stop()
        finally:
            connection.terminate()

    async def _follow(self, connection: Any, consumer: Any) -> None:
        waiting = Waiting(MOST_BYTES)
        seen = -1
        while True:
            batches = await consumer.getmany(timeout_ms=LOOK_MS, max_records=1000)
            for records in batches.values():
                for record in records:
                    let_go = waiting.add(dead_letters.letter(record))
                    metrics.INGEST_LETTERS.labels("let_go").inc(let_go)
            metrics.INGEST_LETTERS_WAITING.set(len(waiting))
            version = self._attribution.version
            # Only a question shows that the lock is still held.
            await connection.fetchval("SELECT 1")
            can = self._attribution.ready and self._collector.connected
            if can and (batches or version != seen) and await self.redeem(waiting):
                seen = version

    async def redeem(self, waiting: Waiting) -> bool:
        """Send the events of at most `AT_ONCE` letters that found their account. False while there may be more.

        Raises NotAcknowledged, and what the database raises: the letters wait on.
        """
        due = list(islice(waiting.due(self._attribution), AT_ONCE))
        if not due:
            return True
        sent = await dead_letters.replays_of(self._engine, [letter.identity for letter in due])
        ready: list[Letter] = []
        records: list[Record] = []
        links = Overlay(self._attribution)
        for letter in due:
            if sent.get(letter.identity):
                metrics.INGEST_LETTERS.labels("replayed_before").inc()
                continue
            made = letters.outcome(letter, self._mapping, links)
            if isinstance(made, str):
                metrics.INGEST_LETTERS.labels("refused").inc()
                log.warning("a dead letter found its account and makes no event", letter=str(letter.identity), why=made)
            else:
                ready.append(letter)
                links.made |= made.links
                records += [record_of(each) for each in made.ready]
        if ready:
            await self._send(ready, records, links.made)
        for letter in due:
            waiting.remove(letter.identity)
        return len(due) < AT_ONCE

    async def _send(self, ready: list[Letter], records: list[Record], links: dict[Name, Link]) -> None:
        identities = [letter.identity for letter in ready]
        await dead_letters.begin(self._engine, identities)
        everything = records + [attribution.record(name, link) for name, link in links.items()]
        if not all(await self._collector.send(everything)):
            raise NotAcknowledged(f"{len(ready)} letters")
        self._attribution.learn(links)
        await dead_letters.finish(self._engine, identities)
        metrics.INGEST_LETTERS.labels("replayed").inc(len(ready))
        for family in {letters.family_of(letter) for letter in ready}:
            log.info("dead letters found their account", family=family, letters=len(ready))
