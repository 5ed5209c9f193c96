"""Who belongs to which account: the compacted topic `attribution`, read whole before ingest is ready, then followed.

A link is in Kafka before the request that made it is answered. Several processes share the topic; `catch_up` makes what any
of them has answered visible here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog
from aiokafka import TopicPartition

from services.ingest.collector import Record
from services.ingest.names import Link, Name

TOPIC: Final = "attribution"
RECONNECT_S = 1.0
CATCH_UP_S = 2.0
CLOSE_S = 5.0

log = structlog.get_logger()
_ENCODER: Final = msgspec.json.Encoder()
_NAME: Final = msgspec.json.Decoder(Name)
_LINK: Final = msgspec.json.Decoder(Link)


def record(name: Name, link: Link | None) -> Record:
    """The record that makes (or, without a link, withdraws) a link."""
    return Record(TOPIC, _ENCODER.encode(name), None if link is None else _ENCODER.encode(link))


class Attribution:
    """All links, in memory. `make_consumer` gives a started consumer of the whole topic, without group, that commits nothing."""

    def __init__(self, make_consumer: Callable[[], Awaitable[Any]]) -> None:
        self._make_consumer = make_consumer
        self._links: dict[Name, Link] = {}
        self._consumer: Any = None
        # A broker answers one connection's requests in turn: behind a fetch that waits for news, a look would wait too.
        self._looker: Any = None
        self._partitions: list[TopicPartition] = []
        self._positions: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None
        self.ready = False
        self.version = 0

    def __len__(self) -> int:
        return len(self._links)

    def get(self, name: Name) -> Link | None:
        """The link of `name`, or None."""
        return self._links.get(name)

    def names_of(self, account: str) -> list[Name]:
        """Every name that is linked to `account`."""
        return [name for name, link in self._links.items() if link.account == account]

    def learn(self, links: Mapping[Name, Link | None] | Iterable[tuple[Name, Link | None]]) -> None:
        """Take over links that Kafka acknowledged; None withdraws one."""
        changes = links.items() if isinstance(links, Mapping) else list(links)
        for name, link in changes:
            if link is None:
                self._links.pop(name, None)
                continue
            known = self._links.get(name)
            if known is None or known.yields_to(link):
                self._links[name] = link
        self.version += bool(changes)

    def start(self) -> None:
        """Begin to read; `ready` turns true when everything written before was read."""
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following and close the consumer."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._close()

    async def catch_up(self) -> bool:
        """Read everything that was in the topic when this was called. False when Kafka did not let us in time."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                ends = await self._looker.end_offsets(self._partitions)
                async with self._moved:
                    await self._moved.wait_for(lambda: self._at_least(ends))
        except Exception as error:
            log.warning("cannot catch up with the attribution topic", error=repr(error))
            return False
        return True

    def _at_least(self, ends: dict[TopicPartition, int]) -> bool:
        return all(self._positions.get(partition, 0) >= end for partition, end in ends.items())

    async def _follow(self) -> None:
        while True:
            try:
                await self._open()
                ends = await self._consumer.end_offsets(self._partitions)
                while True:
                    if not self.ready and self._at_least(ends):
                        self.ready = True
                        log.info("attribution read", links=len(self._links))
                    batches = await self._consumer.getmany(timeout_ms=1000)
                    for records in batches.values():
                        self.learn(_decoded(records))
                    # The position moves past what holds no record (compaction, markers) too.
                    for partition in self._partitions:
                        self._positions[partition] = await self._consumer.position(partition)
                    async with self._moved:
                        self._moved.notify_all()
            except Exception as error:
                log.warning("attribution cannot be read now", error=repr(error))
                await self._close()
                await asyncio.sleep(RECONNECT_S)

    async def _open(self) -> None:
        self._consumer = await self._make_consumer()
        self._looker = await self._make_consumer()
        self._partitions = sorted(self._consumer.assignment())
        if not self._partitions:
            raise LookupError(f"no topic {TOPIC}; make the topics with `ebbtide topics apply`")
        for partition in self._partitions:
            # After a reconnect from where it was; an offset that is gone is an error and starts over from the beginning.
            self._consumer.seek(partition, self._positions.get(partition, 0))

    async def _close(self) -> None:
        clients = (self._consumer, self._looker)
        self._consumer = self._looker = None
        for client in clients:
            if client is not None:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(client.stop(), CLOSE_S)


def _decoded(records: Iterable[Any]) -> list[tuple[Name, Link | None]]:
    found: list[tuple[Name, Link | None]] = []
    for item in records:
        try:
            found.append((_NAME.decode(item.key), None if item.value is None else _LINK.decode(item.value)))
        except (msgspec.MsgspecError, TypeError):
            log.error("a record of the attribution topic is not understood", offset=item.offset)
    return found
