"""Events and dead letters as tests of operations put them on a broker."""

from __future__ import annotations

import asyncio
import json
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.kafka import LocalKafka
from services.common.kafka import partition_of
from services.common.settings import Settings

PARTITIONS: int = Settings.model_fields["topic_partitions"].default
GROUP: str = Settings.model_fields["engine_app_id"].default


def used(n: int, *, count: object = 1, account: str = "acme", source: str = "app-eu") -> bytes:
    """A use of a feature by one of the account's people, just now."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"use-{n}",
            "source": source,
            "type": "usage.feature_used",
            "subject": account,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": {"user_id": "jane@acme.example", "feature": "reports", "count": count},
        }
    ).encode()


def refused(offset: int, *, reason: str = "invalid", field: str = "data.count", key: str = "acme") -> dict[str, str]:
    """The headers of a dead letter that came from the topic usage."""
    return {
        "reason": reason,
        "field": field,
        "detail": "mend it",
        "source_topic": "usage",
        "source_partition": str(partition_of(key.encode(), PARTITIONS)),
        "source_offset": str(offset),
        "failed_at": "2026-05-01T00:00:00Z",
    }


def produce(kafka: LocalKafka, *records: tuple[str, bytes | None, bytes, dict[str, str]]) -> None:
    """Append records (topic, key, value, headers), one after the other."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        for topic, key, value, headers in records:
            await producer.send_and_wait(
                topic, value, key, headers=[(name, text.encode()) for name, text in headers.items()]
            )
        await producer.stop()

    asyncio.run(send())


def commit(kafka: LocalKafka, positions: dict[tuple[str, int], int]) -> None:
    """Say that the engine's group has everything before these behind it."""

    async def say() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=GROUP, enable_auto_commit=False)
        await consumer.start()
        consumer.assign([TopicPartition(*place) for place in positions])
        await consumer.commit({TopicPartition(*place): offset for place, offset in positions.items()})
        await consumer.stop()

    asyncio.run(say())
