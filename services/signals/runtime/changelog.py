"""Reading a stretch of the changelog again, when somebody else has written to it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

READ_WITHIN_S: Final = 30.0


class ChangelogReader:
    """Reads records of a changelog partition by their offsets, with a client of its own that lives as long as that takes."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic

    async def __call__(self, partition: int, first: int, end: int) -> list[Any]:
        """Records at offsets `first` to `end` - 1, as aiokafka's. Raises TimeoutError, KafkaError."""
        if first >= end:
            return []
        place = TopicPartition(self._topic, partition)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, client_id="ebbtide", enable_auto_commit=False)
        found: list[Any] = []
        async with asyncio.timeout(READ_WITHIN_S):
            try:
                await consumer.start()
                consumer.assign([place])
                consumer.seek(place, first)
                while await consumer.position(place) < end:
                    fetched = await consumer.getmany(place, timeout_ms=500)
                    found += [record for record in fetched.get(place, ()) if record.offset < end]
            finally:
                await consumer.stop()
        return found
